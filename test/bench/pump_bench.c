/* SPDX-License-Identifier: MPL-2.0 */
/* pump_bench [--json FILE] PADDOCK: the memory and wake-ups of a log pump that follows 1,000 tasks
 * by their log files.
 *
 * No Docker is needed, because the position files contain the paths of the logs, like those of an
 * earlier pump. Each task has printed one line, which was delivered, and prints nothing more.
 * Memory per task is computed from the Pss of the process with 1,000 tasks and with 100. JSON: one
 * object a line. */
#include "src/pump/pump_dir.h"
#include "src/pump/pump_proto.h"
#include "src/pump/pump_record.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FEW 100
#define MANY 1000
#define WAIT_MS 60000
#define SETTLE_US 3000000
#define REST_US 10000000
#define SETTINGS                                                                                   \
    "{\"endpoint\":\"unix:///"                                                                     \
    "nonexistent\",\"cert\":\"\",\"key\":\"\",\"ca\":\"\",\"allocs\":\"\","                        \
    "\"log_backlog\":0}"

struct bench {
    char dir[64], run[96];
    int fifo[MANY][2]; /* the read ends */
    pid_t pump;
};

static void check(bool well, const char *what) {
    if (well)
        return;
    perror(what);
    exit(1);
}

static void make_task(struct bench *b, int records_fd, int i) {
    char id[65], path[256];
    struct pump_record *r;
    bool fresh;
    snprintf(id, sizeof(id), "%064x", i + 1);
    check(pump_record_open(records_fd, id, &r, &fresh) == 0, "position file");
    snprintf(r->task_id, sizeof(r->task_id), "alloc/task/%d", i);
    snprintf(r->container_id, sizeof(r->container_id), "%s", id);
    snprintf(path, sizeof(path), "%s/root/containers/%s", b->dir, id);
    check(mkdir(path, 0700) == 0, path);
    snprintf(r->log_path, sizeof(r->log_path), "%s/%s-json.log", path, id);
    int fd = open(r->log_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    check(dprintf(fd, "{\"log\":\"hello\\n\",\"stream\":\"stdout\","
                      "\"time\":\"2024-01-02T03:04:05.000000001Z\"}\n") > 0,
          r->log_path);
    close(fd);
    for (int s = 0; s < 2; s++) {
        snprintf(r->path[s], sizeof(r->path[s]), "%s/fifos/%d.%d", b->dir, i, s);
        check(mkfifo(r->path[s], 0600) == 0, r->path[s]);
        b->fifo[i][s] = open(r->path[s], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    r->magic = PUMP_RECORD_MAGIC;
    pump_record_close(r);
}

static void make_folders(struct bench *b, int tasks) {
    static const char run_records[] = "run/" PUMP_RECORDS;
    const char *const names[] = {"root", "root/containers", "fifos", "run", run_records};
    char path[160];
    const char *tmp = getenv("TMPDIR");
    snprintf(b->dir, sizeof(b->dir), "%.40s/pump-bench-XXXXXX", tmp ? tmp : "/tmp");
    check(mkdtemp(b->dir) != NULL, b->dir);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", b->dir, names[i]);
        check(mkdir(path, 0700) == 0, path);
    }
    snprintf(b->run, sizeof(b->run), "%s/run", b->dir);
    int records_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < tasks; i++)
        make_task(b, records_fd, i);
    close(records_fd);
}

/* Starts the pump. Returns when it listens. */
static void start(struct bench *b, const char *paddock) {
    int ready[2];
    char byte;
    check(pipe(ready) == 0, "pipe");
    b->pump = fork();
    if (b->pump == 0) {
        dup2(ready[1], 3);
        execl(paddock, paddock, "logpump", b->run, SETTINGS, "join", (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    check(read(ready[0], &byte, 1) == 1, "the pump's start");
    close(ready[0]);
}

static void wait_for_lines(const struct bench *b, int tasks) {
    for (int i = 0; i < tasks; i++) {
        char text[16];
        struct pollfd p = {.fd = b->fifo[i][0], .events = POLLIN};
        check(poll(&p, 1, WAIT_MS) == 1 && read(p.fd, text, sizeof(text)) == 6, "a task's line");
    }
}

/* Returns the number after @name in a file of the process. */
static long number(const char *path, const char *name) {
    char line[256];
    long n = -1;
    FILE *f = fopen(path, "re");
    while (f && n < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            n = strtol(line + strlen(name), NULL, 10);
    if (f)
        fclose(f);
    check(n >= 0, path);
    return n;
}

static long pss_kib(const struct bench *b) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)b->pump);
    return number(path, "Pss:");
}

static long wakeups(const struct bench *b) {
    char pattern[64];
    glob_t found;
    long sum = 0;
    snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/status", (int)b->pump);
    check(glob(pattern, 0, NULL, &found) == 0, pattern);
    for (size_t i = 0; i < found.gl_pathc; i++)
        sum += number(found.gl_pathv[i], "voluntary_ctxt_switches:");
    globfree(&found);
    return sum;
}

static void finish(struct bench *b, int tasks) {
    kill(b->pump, SIGTERM);
    waitpid(b->pump, NULL, 0);
    for (int i = 0; i < tasks; i++)
        for (int s = 0; s < 2; s++)
            close(b->fifo[i][s]);
    check(tmp_dir_remove(b->dir) == 0, b->dir);
}

static long measure(const char *paddock, int tasks, double *ret_wakeups) {
    static struct bench b;
    make_folders(&b, tasks);
    start(&b, paddock);
    wait_for_lines(&b, tasks);
    usleep(SETTLE_US);
    long kib = pss_kib(&b), before = wakeups(&b);
    usleep(REST_US);
    *ret_wakeups = (double)(wakeups(&b) - before) * 1e6 / REST_US;
    finish(&b, tasks);
    return kib;
}

static void row(FILE *json, const char *name, const char *unit, double value, double most) {
    printf("%-46s  %-8s  %10.3f  <= %g\n", name, unit, value, most);
    if (json)
        fprintf(
            json,
            "{\"name\":\"%s\",\"unit\":\"%s\",\"paddock\":%.3f,\"peer\":null,\"peer_name\":\"\","
            "\"ratio\":null}\n",
            name, unit, value);
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"json", required_argument, NULL, 'j'}, {0}};
    FILE *json = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) == 'j')
        check((json = fopen(optarg, "ae")) != NULL, optarg);
    if (c != -1 || optind != argc - 1) {
        fputs("usage: pump_bench [--json FILE] PADDOCK\n", stderr);
        return 2;
    }
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        check(setrlimit(RLIMIT_NOFILE, &l) == 0, "limit of open files");
    }
    double rest;
    long few = measure(argv[optind], FEW, &rest), many = measure(argv[optind], MANY, &rest);
    row(json, "1,000 tasks by file: memory of the pump a task", "KiB",
        (double)(many - few) / (MANY - FEW), 16);
    row(json, "1,000 silent tasks by file: wake-ups", "/s", rest, 0);
    return json && fclose(json) != 0 ? 1 : 0;
}
