/* SPDX-License-Identifier: MPL-2.0 */
/* pin_bench [--json FILE]: how fast cpusets are corrected and what it costs, compared with the two
 * algorithms that paddock replaces. Both are reimplemented here from their description:
 *   seed     Every second the source's set is copied to each container's file without a check
 *            (Nomad 1.3 - 1.6).
 *   builtin  Every 3 s the source is compared with the last write. The container is never read
 *            (>= 1.7).
 * It runs on plain files in memory (TREE_DIR, default /dev/shm). JSON: one object a line. */
#include "paddock/clock.h"
#include "unit/pin/tree.h"

#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define TASKS 200u /* overwritten tasks, each too few times to be contested */
#define SAMPLES 1000u
#define POOL_TASKS 100u
#define POOL_ROUNDS 20u
#define MANY 1000u
#define SEED_US US_PER_SEC
#define BUILTIN_US (3 * US_PER_SEC)
#define NEVER_US (7 * US_PER_SEC) /* more than two periods of the slowest algorithm */
#define NEVER (-1.0)

/* ---- Counted allocations ---- */

static atomic_ulong allocations;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS false
#else
#define COUNTS_ALLOCATIONS true
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(p, n);
}
#endif

/* ---- Algorithms ---- */

enum mode { PADDOCK, SEED, BUILTIN };

static struct tree tree;

struct runner {
    enum mode mode;
    struct pin *pin;
    pthread_t thread;
    atomic_bool stop;
    char last[TREE_TASKS_MAX][64];
};

static void nap(uint64_t us) {
    struct timespec t = {.tv_sec = (time_t)(us / US_PER_SEC),
                         .tv_nsec = (long)(us % US_PER_SEC * 1000)};
    nanosleep(&t, NULL);
}

static void copy_one(struct runner *r, size_t i) {
    char path[512], set[64];
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", tree.tasks[i].source);
    tree_get(&tree, path, set, sizeof(set));
    if (r->mode == BUILTIN && strcmp(r->last[i], set) == 0)
        return;
    snprintf(r->last[i], sizeof(r->last[i]), "%s", set);
    snprintf(path, sizeof(path), "%s/cpuset.cpus", tree.tasks[i].cgroup);
    tree_put(&tree, path, set);
}

static void *peer(void *arg) {
    struct runner *r = arg;
    uint64_t period = r->mode == SEED ? SEED_US : BUILTIN_US, next = clock_now_us();
    while (!atomic_load(&r->stop)) {
        if (clock_now_us() >= next) {
            for (size_t i = 0; i < tree.n; i++)
                copy_one(r, i);
            next += period;
        }
        nap(5000);
    }
    return NULL;
}

static void runner_start(struct runner *r, enum mode mode, uint64_t interval_us) {
    *r = (struct runner){.mode = mode};
    struct pin_options o = tree_options(&tree);
    o.interval_us = interval_us;
    int e = mode == PADDOCK ? pin_new(&o, &r->pin) : -pthread_create(&r->thread, NULL, peer, r);
    if (e < 0) {
        fprintf(stderr, "pin_bench: %s\n", strerror(-e));
        exit(1);
    }
}

static void runner_stop(struct runner *r) {
    atomic_store(&r->stop, true);
    if (r->mode == PADDOCK)
        pin_free(r->pin);
    else
        pthread_join(r->thread, NULL);
}

/* ---- Measurements ---- */

static int open_cpus(size_t i) {
    char path[512];
    snprintf(path, sizeof(path), "%s/cpuset.cpus", tree.tasks[i].cgroup);
    int fd = openat(tree.root_fd, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static bool says(int fd, const char *set) {
    char text[256];
    size_t len = strlen(set);
    ssize_t n = pread(fd, text, sizeof(text), 0);
    return n >= (ssize_t)len && memcmp(text, set, len) == 0 &&
           ((size_t)n == len || text[len] == '\n');
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    /* A repair that never came counts as the longest. */
    return x == y ? 0 : x < 0 ? 1 : y < 0 ? -1 : x < y ? -1 : 1;
}

static double percentile(double *v, size_t n, double p) {
    qsort(v, n, sizeof(*v), by_value);
    size_t i = (size_t)(p * (double)n);
    return v[i < n ? i : n - 1];
}

/* Waits up to NEVER_US until all @n files contain @set. @ret: milliseconds of each. */
static void wait_all(int *fds, size_t n, const char *set, uint64_t start, double *ret) {
    size_t missing = n;
    for (size_t i = 0; i < n; i++)
        ret[i] = NEVER;
    while (missing > 0 && clock_now_us() - start < NEVER_US) {
        for (size_t i = 0; i < n; i++)
            if (ret[i] < 0 && says(fds[i], set)) {
                ret[i] = (double)(clock_now_us() - start) / 1000;
                missing--;
            }
        if (missing > 1)
            nap(100); /* a single file is read without a pause */
    }
}

static void new_tree(size_t tasks) {
    tree_init(&tree);
    tree_share(&tree, "1-3", "\n");
    for (size_t i = 0; i < tasks; i++)
        tree_add(&tree, "", "1-3");
}

static void all_settled(int *fds, size_t n) {
    double ms[MANY];
    wait_all(fds, n, "1-3", clock_now_us(), ms);
    nap(300000); /* the first pass of each algorithm has ended */
}

static void *ask_for_status(void *arg) {
    struct runner *r = arg;
    while (!atomic_load(&r->stop))
        json_decref(pin_show_status(r->pin));
    return NULL;
}

/* With @asked there are 1,000 tasks, and another thread requests their status all the time. */
static void overwrite(enum mode mode, bool asked, double *ret) {
    int fds[TASKS];
    struct runner r;
    pthread_t asker;
    new_tree(asked ? MANY : TASKS);
    for (size_t i = 0; i < TASKS; i++)
        fds[i] = open_cpus(i);
    runner_start(&r, mode, US_PER_SEC);
    all_settled(fds, TASKS);
    if (asked && pthread_create(&asker, NULL, ask_for_status, &r) != 0)
        exit(1);
    /* One at a time for an algorithm that reacts immediately; all together, at a random moment,
     * for an algorithm with a period. */
    size_t step = mode == PADDOCK ? 1
                  : mode == SEED  ? TASKS / 4
                                  : TASKS,
           rounds = mode == BUILTIN ? 1 : SAMPLES / step;
    for (size_t round = 0; round < rounds; round++) {
        if (step > 1)
            nap((uint64_t)(random() % 1000000));
        uint64_t start = clock_now_us();
        for (size_t i = 0; i < step; i++)
            if (pwrite(fds[(round + i) % TASKS], "0-3\n", 4, 0) != 4)
                exit(1);
        wait_all(step == 1 ? &fds[round % TASKS] : fds, step, "1-3", start, ret + round * step);
    }
    for (size_t i = rounds * step; i < SAMPLES; i++)
        ret[i] = ret[i % (rounds * step)];
    if (asked) {
        atomic_store(&r.stop, true);
        pthread_join(asker, NULL);
    }
    runner_stop(&r);
    for (size_t i = 0; i < TASKS; i++)
        close(fds[i]);
    tree_done(&tree);
}

/* Returns the milliseconds until the last of 100 tasks has left the core, in the worst round. */
static double shrink(enum mode mode) {
    int fds[POOL_TASKS];
    double ms[POOL_TASKS], worst = 0;
    struct runner r;
    new_tree(POOL_TASKS);
    for (size_t i = 0; i < POOL_TASKS; i++)
        fds[i] = open_cpus(i);
    runner_start(&r, mode, US_PER_SEC);
    all_settled(fds, POOL_TASKS);
    unsigned rounds = mode == PADDOCK ? POOL_ROUNDS : 3;
    for (unsigned round = 0; round < rounds; round++) {
        for (int back = 0; back < 2; back++) {
            nap((uint64_t)(random() % 300000));
            uint64_t start;
            /* The kernel changes the effective sets during the write, here they are first. */
            tree_share(&tree, back ? "1-3" : "2-3", back ? "\n" : "1");
            start = clock_now_us();
            wait_all(fds, POOL_TASKS, back ? "1-3" : "2-3", start, ms);
            double last = percentile(ms, POOL_TASKS, 1.0);
            if (!back && (last < 0 || (worst >= 0 && last > worst)))
                worst = last;
        }
    }
    runner_stop(&r);
    for (size_t i = 0; i < POOL_TASKS; i++)
        close(fds[i]);
    tree_done(&tree);
    return worst;
}

struct cost {
    double tick_ms, percent, allocations, kib;
};

static struct cost cost_of_many(void) {
    struct runner r;
    struct cost c;
    new_tree(MANY);
    size_t before = mallinfo2().uordblks;
    runner_start(&r, PADDOCK, 100000);
    while (tree_counter(r.pin, "ticks") < 3)
        nap(20000);
    c.kib = (double)(mallinfo2().uordblks - before) / MANY / 1024;
    json_int_t ticks = tree_counter(r.pin, "ticks"), cpu = tree_counter(r.pin, "tick_cpu_ns");
    unsigned long allocated = atomic_load(&allocations);
    nap(3000000);
    allocated = atomic_load(&allocations) - allocated;
    ticks = tree_counter(r.pin, "ticks") - ticks;
    cpu = tree_counter(r.pin, "tick_cpu_ns") - cpu;
    c.tick_ms = (double)cpu / 1e6 / (double)ticks;
    c.percent = c.tick_ms / 1000 * 100; /* with one tick a second */
    c.allocations = (double)allocated / (double)ticks;
    runner_stop(&r);
    tree_done(&tree);
    return c;
}

/* ---- Output ---- */

static FILE *json_out;

static void number(char *out, size_t size, double v, const char *never) {
    if (v < 0)
        snprintf(out, size, "%s", never);
    else
        snprintf(out, size, "%.3f", v);
}

static void row(const char *name, const char *unit, double ours, double theirs, const char *who) {
    char a[32], b[32], ratio[32];
    number(a, sizeof(a), ours, "never");
    number(b, sizeof(b), theirs, who[0] ? "never" : "");
    number(ratio, sizeof(ratio), theirs >= 0 && ours > 0 ? theirs / ours : NEVER, "");
    printf("%-46s  %-8s  %10s  %10s  %-8s  %10s\n", name, unit, a, b, who, ratio);
    if (!json_out)
        return;
    number(a, sizeof(a), ours, "null");
    number(b, sizeof(b), theirs, "null");
    number(ratio, sizeof(ratio), theirs >= 0 && ours > 0 ? theirs / ours : NEVER, "null");
    fprintf(json_out,
            "{\"name\":\"%s\",\"unit\":\"%s\",\"paddock\":%s,\"peer\":%s,\"peer_name\":\"%s\","
            "\"ratio\":%s}\n",
            name, unit, a, b, who, ratio);
}

static void raise_files(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

static void run_all(void) {
    static double ours[SAMPLES], seed[SAMPLES], builtin[SAMPLES];
    overwrite(PADDOCK, false, ours);
    overwrite(SEED, false, seed);
    overwrite(BUILTIN, false, builtin);
    printf("%-46s  %-8s  %10s  %10s  %-8s  %10s\n", "", "unit", "paddock", "peer", "", "ratio");
    for (int i = 0; i < 2; i++) {
        double p = i ? 0.99 : 0.5;
        const char *name =
            i ? "outside overwrite to repair, p99" : "outside overwrite to repair, p50";
        double us = percentile(ours, SAMPLES, p);
        row(name, "ms", us, percentile(seed, SAMPLES, p), "seed");
        row(name, "ms", us, percentile(builtin, SAMPLES, p), "builtin");
    }
    overwrite(PADDOCK, true, ours);
    row("same of 1,000 tasks, status asked for, p99", "ms", percentile(ours, SAMPLES, 0.99), NEVER,
        "");
    double us = shrink(PADDOCK);
    row("pool shrinks, last of 100 off the core", "ms", us, shrink(SEED), "seed");
    row("pool shrinks, last of 100 off the core", "ms", us, shrink(BUILTIN), "builtin");
    struct cost c = cost_of_many();
    row("verifying 1,000 tasks, CPU a tick", "ms", c.tick_ms, NEVER, "");
    row("steady state of 1,000 tasks, of one core", "%", c.percent, NEVER, "");
    if (COUNTS_ALLOCATIONS)
        row("allocations a tick", "count", c.allocations, NEVER, "");
    row("memory a task", "KiB", c.kib, NEVER, "");
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"json", required_argument, NULL, 'j'}, {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c != 'j') {
            fputs("usage: pin_bench [--json FILE]\n", stderr);
            return 2;
        }
        json_out = fopen(optarg, "ae");
        if (!json_out) {
            perror(optarg);
            return 1;
        }
    }
    if (!getenv("TREE_DIR"))
        setenv("TREE_DIR", "/dev/shm", 0);
    raise_files();
    srandom(1);
    run_all();
    return json_out && fclose(json_out) != 0 ? 1 : 0;
}
