/* The log pump, as the plugin sees it: each line once and in order, whatever is killed or cut; a
 * reader that stops holds up nobody else; the FIFOs end when all is delivered. */
#include "fake/task_world.h"

#include "paddock/logpump.h"
#include "paddock/loop.h"
#include "paddock/pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define RUNS "{\"image\":\"busybox\",\"command\":\"sleep\"}"
#define TERMINAL "{\"image\":\"busybox\",\"command\":\"sleep\",\"tty\":true}"

/* the container that is created as the Nth */
#define ID_OF(n) "/containers/c0de0000000" n "000000000000000000000000000000000000000000000000feed"

struct fixture {
    struct world w;
    struct task_config task;
    struct reader out, err;
};

#define RIVAL_LOOK_US (100 * US_PER_MS) /* from an opening to the look for the built-in driver */
#define HASTY_MS 200
#define ALONE_US                                                                                   \
    (10 * HASTY_MS * US_PER_MS) /* without plugin and Docker: ten times its patience               \
                                 */

static int setup_job(void **state, const char *job, unsigned timeout_ms) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    world_start(&x->w, "{}", timeout_ms);
    world_task(&x->w, &x->task, "web", job);
    world_run(&x->w, &x->task, NULL);
    *state = x;
    return 0;
}

static int setup(void **state) {
    return setup_job(state, RUNS, 0);
}

static int setup_hasty(void **state) {
    return setup_job(state, RUNS, HASTY_MS);
}

static int setup_tty(void **state) {
    return setup_job(state, TERMINAL, 0);
}

static int teardown(void **state) {
    struct fixture *x = *state;
    reader_done(&x->out);
    reader_done(&x->err);
    world_done(&x->w);
    task_config_done(&x->task);
    free(x);
    return 0;
}

static void read_both(struct fixture *x) {
    reader_start(&x->out, x->task.stdout_path);
    reader_start(&x->err, x->task.stderr_path);
}

static void print(struct fixture *x, const char *text) {
    fake_control(&x->w.fake, "POST", "print/web-a1", text, NULL, 0);
}

static void lines(struct fixture *x, unsigned count, unsigned max) {
    char path[96];
    snprintf(path, sizeof(path), "lines/web-a1?count=%u&max=%u", count, max);
    fake_control(&x->w.fake, "POST", path, "", NULL, 0);
}

/* The numbered lines of the fake: from 0 on, each once, whole. Returns how many. */
static unsigned count_lines(struct reader *r) {
    size_t len;
    unsigned n = 0;
    AUTO_FREE char *text = reader_text(r, &len);
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, n++) {
        char want[16];
        snprintf(want, sizeof(want), "%08u ", n);
        if (strncmp(at, want, 9) != 0)
            fail_msg("%s: line %u is \"%.40s\"", r->path, n, at);
        for (char *p = at + 9; p < end; p++)
            if (*p != 'a' + (int)(n % 26))
                fail_msg("%s: line %u is torn", r->path, n);
    }
    return n;
}

static void end_and_check(struct fixture *x, unsigned out, unsigned err) {
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    reader_until_eof(&x->out);
    reader_until_eof(&x->err);
    assert_int_equal(count_lines(&x->out), out);
    assert_int_equal(count_lines(&x->err), err);
}

/* ---- the ordinary ---- */

static void test_logs__both_streams__delivered_and_closed(void **state) {
    struct fixture *x = *state;
    read_both(x);
    lines(x, 400, 200);
    end_and_check(x, 300, 100);
}

static void test_logs__long_lines__whole(void **state) {
    struct fixture *x = *state;
    read_both(x);
    lines(x, 40, 60000);
    end_and_check(x, 30, 10);
}

static void test_logs__tty_long_lines__whole(void **state) {
    struct fixture *x = *state;
    read_both(x);
    AUTO_FREE char *line = calloc(1, 40002);
    memset(line, 'y', 40000);
    line[40000] = '\n';
    char *piece = calloc(1, 16385);
    for (size_t at = 0; at < 40001; at += 16384) {
        snprintf(piece, 16385, "%s", line + at);
        print(x, piece);
    }
    free(piece);
    reader_until_len(&x->out, 40001);
    size_t len;
    AUTO_FREE char *text = reader_text(&x->out, &len);
    assert_int_equal(len, 40001);
    assert_string_equal(text, line);
}

static void test_logs__reader_comes_late__has_all(void **state) {
    struct fixture *x = *state;
    lines(x, 4000, 200); /* beyond what a FIFO takes */
    world_until_count(&x->w, "GET /events", 1);
    read_both(x);
    end_and_check(x, 3000, 1000);
}

/* The last bytes are there before the FIFO ends. */
static void test_logs__reader_slow_at_the_end__drained(void **state) {
    struct fixture *x = *state;
    read_both(x);
    reader_pause(&x->out, true);
    lines(x, 2000, 200);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    reader_until_len(&x->err, 20000);
    reader_pause(&x->out, false);
    reader_until_eof(&x->out);
    reader_until_eof(&x->err);
    assert_int_equal(count_lines(&x->out), 1500);
    assert_int_equal(count_lines(&x->err), 500);
}

/* ---- what is killed and cut ---- */

static void test_logs__stream_cut_in_the_middle__each_line_once(void **state) {
    struct fixture *x = *state;
    read_both(x);
    for (int i = 0; i < 20; i++) {
        lines(x, 200, 300);
        fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    }
    end_and_check(x, 3000, 1000);
}

static void test_logs__cut_at_any_byte__each_line_once(void **state) {
    struct fixture *x = *state;
    read_both(x);
    reader_pause(&x->out, true); /* so that much is on its way when it is cut */
    for (int i = 0; i < 10; i++) {
        lines(x, 400, 2000);
        lines(x, 40, 60000); /* several messages of one time each */
        fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
        if (i == 5)
            reader_pause(&x->out, false);
    }
    end_and_check(x, 3300, 1100);
}

static bool is_full(void *ctx) {
    AUTO_FD int fd = open(ctx, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return fd >= 0 && poll(&p, 1, 0) == 0;
}

/* A long line is several messages of one time: cut between them and within them. */
static void test_logs__cut_within_long_lines__each_line_once(void **state) {
    struct fixture *x = *state;
    read_both(x);
    for (unsigned i = 0; i < 8; i++) {
        reader_pause(&x->out, true);
        lines(x, 16, 50000 + 3333 * i);
        world_until(is_full, x->task.stdout_path, "a full FIFO");
        fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
        reader_pause(&x->out, false);
        char last[16];
        snprintf(last, sizeof(last), "%08u ", 12 * i + 11);
        reader_until(&x->out, last);
    }
    end_and_check(x, 96, 32);
}

/* dockerd that goes down ends its streams in good order, whatever was still to come. */
static void test_logs__stream_ends_early_at_the_end__last_pass_has_all(void **state) {
    struct fixture *x = *state;
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    read_both(x);
    fake_rules(&x->w.fake,
               "GET /containers/*/logs times=1 delay=1000 status=200 type=application/x body=\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, request, 2);
    lines(x, 40, 80);
    end_and_check(x, 30, 10);
}

static void set_clock(struct fixture *x, int ms) {
    char path[64];
    snprintf(path, sizeof(path), "clock/web-a1?ms=%d", ms);
    fake_control(&x->w.fake, "POST", path, "", NULL, 0);
}

/* Everything was delivered that far on stdout, and a third of it on stderr. */
static void until_line(struct fixture *x, unsigned out) {
    char last[16];
    snprintf(last, sizeof(last), "%08u ", out);
    reader_until(&x->out, last);
    snprintf(last, sizeof(last), "%08u ", out / 3);
    reader_until(&x->err, last);
}

/* The machine's clock is set back, then caught up with; what follows is cut in each part. Not just
 * before that: the pump looks at its own clock then, which nobody has set. */
static void clock_set_back(struct fixture *x, void (*cut)(struct fixture *x)) {
    static const int clock_ms[] = {0, -1000, -600000, -590000, -600000, 0, 10000, 9000};
    read_both(x);
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(clock_ms); i++) {
        set_clock(x, clock_ms[i]);
        for (int part = 0; part < 3; part++) {
            lines(x, 40, 300);
            n += 30;
            until_line(x, n - 1);
            if (part < 2)
                cut(x);
        }
    }
    end_and_check(x, n, n / 3);
}

static void cut_stream(struct fixture *x) {
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
}

static void kill_pump(struct fixture *x) {
    world_pump_kill(&x->w);
}

static void test_logs__clock_set_back_and_stream_cut__each_line_once(void **state) {
    clock_set_back(*state, cut_stream);
}

static void test_logs__clock_set_back_and_pump_killed__each_line_once(void **state) {
    clock_set_back(*state, kill_pump);
}

/* SIGKILL at random points, seeded: PADDOCK_SEED, rounds: PADDOCK_ROUNDS. */
static void test_logs__pump_killed_at_random__each_line_once(void **state) {
    struct fixture *x = *state;
    const char *seed_text = getenv("PADDOCK_SEED"), *rounds_text = getenv("PADDOCK_ROUNDS");
    unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : 20231;
    unsigned rounds = rounds_text ? (unsigned)strtoul(rounds_text, NULL, 10) : 40, printed = 0;
    print_message("seed %u, %u rounds\n", seed, rounds);
    read_both(x);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned now = 40 + (unsigned)rand_r(&seed) % 400 / 4 * 4;
        now -= now % 4;
        lines(x, now, 300);
        printed += now;
        struct timespec random_moment = {.tv_nsec = (long)(rand_r(&seed) % 30000) * 1000};
        nanosleep(&random_moment, NULL);
        world_pump_kill(&x->w);
        if (rand_r(&seed) % 4 == 0)
            fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    }
    end_and_check(x, printed / 4 * 3, printed / 4);
}

static void test_logs__plugin_restarted_and_pump_killed__each_line_once(void **state) {
    struct fixture *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    world_task(&x->w, &two, "two", RUNS);
    world_run(&x->w, &two, &s);
    read_both(x);
    reader_done(&x->out);
    reader_done(&x->err);
    struct reader out;
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    pid_t pump = world_pump(&x->w);
    world_driver_free(&x->w); /* the pump goes on alone */
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    reader_until(&out, "00000599 ");
    assert_int_equal(world_pump(&x->w), pump);
    world_driver_new(&x->w, "{}");
    assert_int_equal(driver_recover_task(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    assert_int_equal(world_pump(&x->w), pump); /* found, not started anew */
    world_pump_kill(&x->w);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    world_exit(&x->w, &two, 0);
    world_wait(&x->w, two.id);
    reader_until_eof(&out);
    assert_int_equal(count_lines(&out), 900);
    reader_done(&out);
    driver_started_done(&s);
    task_config_done(&two);
}

/* Plugin and agent both died behind the last line: what was delivered is not told again. */
static void test_recover__delivered_before_the_crash__not_told_again(void **state) {
    struct fixture *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    struct reader out;
    world_task(&x->w, &two, "two", RUNS);
    world_run(&x->w, &two, &s);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=40&max=80", "", NULL, 0);
    world_exit(&x->w, &two, 3);
    reader_until_eof(&out);
    assert_int_equal(count_lines(&out), 30);
    reader_done(&out);
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    world_driver_new(&x->w, "{}");
    reader_start(&out, two.stdout_path);
    assert_int_equal(driver_recover_task(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    assert_int_equal(world_wait(&x->w, two.id).code, 3);
    reader_until_eof(&out);
    assert_int_equal(count_lines(&out), 0);
    reader_done(&out);
    assert_int_equal(driver_destroy_task(x->w.d, &call, two.id, false, NULL), 0);
    assert_int_equal(world_positions(&x->w), 1); /* the fixture's own task */
    driver_started_done(&s);
    task_config_done(&two);
}

/* A version before or after this one has left the task's position: it goes on, a line may come
 * twice. */
static void test_logs__position_of_other_layout__goes_on(void **state) {
    struct fixture *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    struct reader out;
    char pattern[256];
    glob_t found;
    world_task(&x->w, &two, "two", RUNS);
    world_run(&x->w, &two, &s);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "one\n", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/two-a1", "two\n", NULL, 0);
    reader_until(&out, "two\n");
    snprintf(pattern, sizeof(pattern), "%s/*/positions/%s", x->w.run_dir,
             world_look(&x->w, two.id).container_id);
    AUTO_FD int keep = open(two.stdout_path, O_RDWR | O_CLOEXEC); /* else the reader's end */
    assert_true(keep >= 0);
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    AUTO_FD int fd = open(found.gl_pathv[0], O_WRONLY | O_CLOEXEC);
    globfree(&found);
    assert_int_equal(pwrite(fd, "\x7f", 1, 0), 1); /* the layout's number */
    fake_control(&x->w.fake, "POST", "print/two-a1", "three\n", NULL, 0);
    world_driver_new(&x->w, "{}");
    struct err err = {0};
    if (driver_recover_task(x->w.d, &call, &two, s.state, s.state_len, &err) < 0)
        fail_msg("RecoverTask: %s", err.text);
    reader_until(&out, "three\n");
    size_t len;
    AUTO_FREE char *text = reader_text(&out, &len);
    if (strcmp(text, "one\ntwo\nthree\n") != 0)
        assert_string_equal(text, "one\ntwo\ntwo\nthree\n");
    reader_done(&out);
    driver_started_done(&s);
    task_config_done(&two);
}

/* ---- readers that stop ---- */

static long pump_rss_kb(pid_t pid) {
    char path[64], line[128];
    long kb = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    fclose(f);
    return kb;
}

static void test_logs__stopped_reader__others_go_on_memory_bounded(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct reader out, err;
    char *big = calloc(1, 1000001);
    memset(big, 'z', 1000000);
    world_task(&x->w, &two, "two", RUNS);
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    reader_start(&err, two.stderr_path);
    for (int i = 0; i < 30; i++)
        print(x, big); /* nobody reads the first one's */
    free(big);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=4000&max=100", "", NULL, 0);
    world_exit(&x->w, &two, 0);
    world_wait(&x->w, two.id);
    reader_until_eof(&out);
    assert_int_equal(count_lines(&out), 3000);
    long kb = pump_rss_kb(world_pump(&x->w));
    print_message("pump: %ld KiB\n", kb);
    assert_true(kb < 16 << 10 || WORLD_SANITIZED);
    reader_start(&x->out, x->task.stdout_path);
    reader_until_len(&x->out, 30000000);
    char request[128]; /* held back, not given up and asked for again */
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    assert_int_equal(fake_count(&x->w.fake, request), 1);
    reader_done(&out);
    reader_done(&err);
    task_config_done(&two);
}

static void test_logs__nobody_reads_at_the_end__closed_at_deadline(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    lines(x, 4000, 200);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    uint64_t before = clock_now_us();
    assert_int_equal(driver_destroy_task(x->w.d, &call, x->task.id, false, NULL), 0);
    assert_true(clock_now_us() - before < 8 * US_PER_SEC);
    char byte; /* no writer is left, and what the FIFO held went with the last of them */
    AUTO_FD int fd = open(x->task.stdout_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &byte, 1), 0);
}

struct taking_up {
    struct logpump *pump;
    const struct task_config *task;
};

/* There is no pump and none comes up. */
static void *follow_thread(void *arg) {
    struct taking_up *u = arg;
    struct call call = call_within(NULL, US_PER_SEC);
    struct logpump_task t = {.task_id = u->task->id,
                             .container_id = "c",
                             .stdout_path = u->task->stdout_path,
                             .stderr_path = u->task->stderr_path};
    return logpump_follow(u->pump, &call, &t, NULL) < 0 ? u : NULL;
}

static bool has_writer(void *ctx) {
    char byte;
    return read(*(int *)ctx, &byte, 1) < 0 && errno == EAGAIN;
}

/* A container that ends at once: its end is told while the pump is still being told of its begin.
 * The FIFOs must not end in between, for logmon would not read what comes then. */
static void test_finish__while_follow_is_under_way__fifos_stay_open(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct loop *loop;
    struct pool *pool;
    struct taking_up u = {.task = &two};
    pthread_t thread;
    void *failed;
    world_task(&x->w, &two, "two", RUNS);
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(pool_new(2, &pool), 0);
    struct logpump_options o = {.program = "/bin/true",
                                .run_dir = x->w.dir,
                                .endpoint = x->w.fake.endpoint,
                                .loop = loop,
                                .pool = pool};
    assert_int_equal(logpump_new(&o, &u.pump, NULL), 0);
    AUTO_FD int fd = open(two.stdout_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(pthread_create(&thread, NULL, follow_thread, &u), 0);
    world_until(has_writer, &fd, "the FIFO is held open");
    struct call call = call_within(NULL, 10 * US_PER_MS);
    assert_int_equal(logpump_finish(u.pump, &call, 0, two.id, NULL), 0);
    assert_true(has_writer(&fd));
    pthread_join(thread, &failed);
    assert_non_null(failed);
    assert_false(has_writer(&fd)); /* given up */
    pool_free(pool);
    loop_run_posted(loop);
    logpump_free(u.pump);
    loop_free(loop);
    task_config_done(&two);
}

/* ---- made ready before the container runs ---- */

/* A task whose start is answered, and the pump has not heard of it. */
struct unheard {
    struct task_config task;
    struct driver_started started;
    struct reader out;
};

static void unheard_start(struct fixture *x, struct unheard *u) {
    struct call call = call_within(NULL, WORLD_WAIT_US);
    *u = (struct unheard){0};
    world_task(&x->w, &u->task, "two", RUNS);
    reader_start(&u->out, u->task.stdout_path);
    assert_int_equal(driver_start_task(x->w.d, &call, &u->task, &u->started, NULL), 0);
}

/* With so many lines on stdout when it has ended. */
static void unheard_end(struct fixture *x, struct unheard *u, unsigned lines) {
    world_exit(&x->w, &u->task, 0);
    world_wait(&x->w, u->task.id);
    reader_until_eof(&u->out);
    assert_int_equal(count_lines(&u->out), lines);
}

static void unheard_done(struct unheard *u) {
    driver_started_done(&u->started);
    reader_done(&u->out);
    task_config_done(&u->task);
}

/* A task that ends, and is destroyed, before the pump has heard of its begin: all is delivered, and
 * what is heard then makes nothing. */
static void test_logs__ended_before_the_begin__delivered_and_closed(void **state) {
    struct fixture *x = *state;
    struct unheard u;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    unheard_start(x, &u);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=40&max=80", "", NULL, 0);
    unheard_end(x, &u, 30);
    assert_int_equal(driver_destroy_task(x->w.d, &call, u.task.id, false, NULL), 0);
    driver_started_told(x->w.d, &u.started);
    assert_int_equal(world_positions(&x->w), 1); /* the fixture's own task */
    unheard_done(&u);
}

/* The plugin dies between its answer and the begin: whoever recovers the task begins. */
static void test_logs__plugin_dies_before_the_begin__recovered(void **state) {
    struct fixture *x = *state;
    struct unheard u;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    unheard_start(x, &u);
    task_unref(TAKE_PTR(u.started.task));
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=40&max=80", "", NULL, 0);
    world_driver_free(&x->w);
    world_driver_new(&x->w, "{}");
    assert_int_equal(
        driver_recover_task(x->w.d, &call, &u.task, u.started.state, u.started.state_len, NULL), 0);
    unheard_end(x, &u, 30);
    unheard_done(&u);
}

/* Who prepared it has died, as far as the pump knows: it begins by itself, after its patience. One
 * that has begun is not asked for again by then. */
static void test_prepare__nobody_begins__begun_after_a_while(void **state) {
    struct fixture *x = *state;
    struct unheard u;
    unheard_start(x, &u);
    world_until_count(&x->w, "GET " ID_OF("2") "/logs", 1);
    assert_int_equal(fake_count(&x->w.fake, "GET " ID_OF("1") "/logs"), 1);
    unheard_done(&u);
}

/* A pump that is started again before the container runs asks Docker too early. */
static void test_begin__asked_too_early__asked_at_once(void **state) {
    struct fixture *x = *state;
    struct unheard u;
    fake_rules(&x->w.fake, "GET " ID_OF("2") "/logs times=6 body=\n");
    unheard_start(x, &u);
    world_pump_kill(&x->w);
    world_until_count(&x->w, "GET " ID_OF("2") "/logs", 6);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/two-a1", "hello\n", NULL, 0);
    uint64_t begun = clock_now_us();
    driver_started_told(x->w.d, &u.started);
    reader_until(&u.out, "hello\n");
    assert_true(clock_now_us() - begun < 1200 * US_PER_MS); /* its own next question: 1.6 s */
    unheard_done(&u);
}

/* ---- FIFOs ---- */

static void test_logs__fifo_is_a_link__refused(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct err err = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char target[256];
    world_task(&x->w, &two, "two", RUNS);
    snprintf(target, sizeof(target), "%s/victim", x->w.dir);
    assert_int_equal(mkfifo(target, 0600), 0);
    assert_int_equal(unlink(two.stdout_path), 0);
    assert_int_equal(symlink(target, two.stdout_path), 0);
    assert_int_equal(driver_start_task(x->w.d, &call, &two, &s, &err), -ELOOP);
    assert_non_null(strstr(err.text, "log FIFO"));
    task_config_done(&two);
}

/* A task that has its alloc's folder can put a link in the place of the folder of logs: it would
 * write into the log of another allocation's task of the same name. */
static void test_logs__fifos_folder_is_a_link__refused(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct err err = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char link[256], *fifo = strrchr(x->task.stdout_path, '/');
    world_task(&x->w, &two, "two", RUNS);
    assert_non_null(fifo);
    snprintf(link, sizeof(link), "%s/logs", x->w.dir);
    AUTO_FREE char *folder = strndup(x->task.stdout_path, (size_t)(fifo - x->task.stdout_path));
    assert_int_equal(symlink(folder, link), 0);
    free(two.stdout_path);
    assert_true(asprintf(&two.stdout_path, "%s%s", link, fifo) > 0);
    assert_true(driver_start_task(x->w.d, &call, &two, &s, &err) < 0);
    assert_non_null(strstr(err.text, "log FIFO"));
    task_config_done(&two);
}

static void test_logs__fifo_is_a_file__refused(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    world_task(&x->w, &two, "two", RUNS);
    assert_int_equal(unlink(two.stdout_path), 0);
    int fd = open(two.stdout_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(driver_start_task(x->w.d, &call, &two, &s, NULL), -EINVAL);
    task_config_done(&two);
}

/* Replaced while the pump is away: the next pump does not follow it either. */
static void test_logs__fifo_becomes_a_link__not_followed_by_next_pump(void **state) {
    struct fixture *x = *state;
    struct reader victim;
    char target[256];
    snprintf(target, sizeof(target), "%s/victim", x->w.dir);
    assert_int_equal(mkfifo(target, 0600), 0);
    reader_start(&victim, target);
    assert_int_equal(unlink(x->task.stdout_path), 0);
    assert_int_equal(symlink(target, x->task.stdout_path), 0);
    world_pump_kill(&x->w);
    struct task_config two; /* a follow: there is a pump again */
    struct reader out;
    world_task(&x->w, &two, "two", RUNS);
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    print(x, "secret\n");
    fake_control(&x->w.fake, "POST", "print/two-a1", "open\n", NULL, 0);
    reader_until(&out, "open\n");
    size_t len;
    free(reader_text(&victim, &len));
    assert_int_equal(len, 0);
    reader_done(&victim);
    reader_done(&out);
    task_config_done(&two);
}

/* ---- Docker's answers ---- */

static void test_logs__404_and_409__end_quietly(void **state) {
    struct fixture *x = *state;
    static const char *const rules[] = {
        "GET /containers/*/logs status=404 body={\"message\":\"No such container\"}\n",
        "GET /containers/*/logs status=409 body={\"message\":\"can not get logs from container "
        "which is dead\"}\n"};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct task_config two;
        char name[16];
        snprintf(name, sizeof(name), "t%zu", i);
        world_task(&x->w, &two, name, RUNS);
        fake_rules(&x->w.fake, rules[i]);
        world_run(&x->w, &two, NULL);
        fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
        assert_int_equal(world_look(&x->w, two.id).phase, TASK_RUNNING);
        task_config_done(&two);
    }
}

/* A container that has ended while no plugin is there to finish it: the pump asks at leisure, not
 * in a loop. */
static void test_logs__ended_without_finish__asked_at_leisure(void **state) {
    struct fixture *x = *state;
    char request[128];
    read_both(x);
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    lines(x, 40, 80);
    reader_until(&x->out, "00000029 ");
    world_driver_free(&x->w);
    uint64_t before = clock_now_us();
    world_exit(&x->w, &x->task, 0);
    world_until_count(&x->w, request, 6); /* 50, 100, 200, 400, 800 ms */
    assert_true(clock_now_us() - before >= 1550 * US_PER_MS);
    world_driver_new(&x->w, "{}");
}

static void test_logs__damaged_stream__read_again(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct reader out;
    world_task(&x->w, &two, "two", RUNS);
    fake_rules(
        &x->w.fake,
        "GET /containers/*/logs times=2 status=200 type=application/x body=garbage that is no "
        "frame\n");
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "well\n", NULL, 0);
    reader_until(&out, "well\n");
    reader_done(&out);
    task_config_done(&two);
}

/* What damages the stream stands between lines that a slow reader has not taken yet. */
static void test_logs__damaged_behind_a_slow_reader__each_line_once(void **state) {
    struct fixture *x = *state;
    read_both(x);
    for (unsigned round = 1; round <= 5; round++) {
        reader_pause(&x->out, true);
        lines(x, 1000, 200); /* more than the FIFO takes */
        fake_control(&x->w.fake, "POST", "damage/web-a1", "", NULL, 0);
        lines(x, 1000, 200);
        reader_pause(&x->out, false);
        reader_until_len(&x->out, 1); /* it moves */
        reader_pause(&x->out, true);
        lines(x, 400, 200);
        reader_pause(&x->out, false);
    }
    end_and_check(x, 5 * 1800, 5 * 600);
}

/* StartTask again with the same id after a crash: another container, whose log is another one. */
static void test_logs__same_task_other_container__followed(void **state) {
    struct fixture *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = call_within(NULL, WORLD_WAIT_US);
    read_both(x);
    print(x, "first\n");
    reader_until(&x->out, "first\n");
    world_driver_free(&x->w); /* its pump still follows the first one */
    fake_rules(&x->w.fake, "GET /containers/*/logs times=1 hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(
        &x->w,
        "GET /containers/c0de00000001000000000000000000000000000000000000000000000000feed/logs", 2);
    assert_int_equal(docker_container_remove(docker, &call, "web-a1", true, NULL), 0);
    docker_free(docker);
    world_driver_new(&x->w, "{}");
    world_run(&x->w, &x->task, NULL);
    print(x, "second\n");
    reader_until(&x->out, "second\n");
}

/* What follows is not framed, so a cut looks like an end; the last pass must tell them apart. */
static void test_logs__last_pass_alone__framed(void **state) {
    struct fixture *x = *state;
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    read_both(x);
    lines(x, 40, 80);
    end_and_check(x, 30, 10);
    json_t *log = fake_log(&x->w.fake, request);
    size_t i, follows = 0, passes = 0;
    json_t *row;
    json_array_foreach(log, i, row) {
        const char *query = json_string_value(json_object_get(row, "query"));
        bool unframed = json_is_true(json_object_get(row, "unframed"));
        bool follow = strstr(query, "follow=1");
        follows += follow;
        passes += strstr(query, "follow=0") != NULL;
        assert_int_equal(unframed, follow);
    }
    json_decref(log);
    assert_true(follows > 0 && passes > 0);
}

/* ---- the process ---- */

/* It is this process's child; asking its socket would keep it alive. */
static bool has_ended(void *ctx) {
    siginfo_t info = {0};
    int r = waitid(P_PID, (id_t) * (pid_t *)ctx, &info, WEXITED | WNOHANG | WNOWAIT);
    return r < 0 || info.si_pid != 0;
}

static bool folder_is_gone(void *ctx) {
    struct world *w = ctx;
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*", w->run_dir);
    bool gone = glob(pattern, 0, NULL, &found) == GLOB_NOMATCH;
    globfree(&found);
    return gone;
}

static void test_pump__last_task_gone__ends_and_its_folder_goes(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    read_both(x);
    pid_t pump = world_pump(&x->w);
    assert_true(pump > 1);
    assert_int_equal(driver_destroy_task(x->w.d, &call, x->task.id, true, NULL), 0);
    world_driver_free(&x->w);
    uint64_t before = clock_now_us();
    world_until(has_ended, &pump, "the pump's end");
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    world_until(folder_is_gone, &x->w, "the folder's end");
    world_driver_new(&x->w, "{}");
}

/* The pump was killed behind the last task: the plugin's own end tidies up. */
static void test_pump__killed_and_last_task_gone__folder_goes_with_plugin(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    assert_int_equal(driver_destroy_task(x->w.d, &call, x->task.id, true, NULL), 0);
    pid_t pump = world_pump(&x->w);
    world_pump_kill(&x->w);
    world_until(has_ended, &pump, "the pump's end");
    world_driver_free(&x->w);
    world_until(folder_is_gone, &x->w, "the folder's end"); /* no pump does it */
    world_driver_new(&x->w, "{}");
}

/* Docker does not come back, and no plugin: the pump gives up, and the next one goes on. */
static void test_pump__docker_away_and_no_plugin__ends_positions_stay(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct driver_started s = {0};
    struct task_config two;
    struct reader out;
    world_task(&x->w, &two, "two", RUNS);
    world_run(&x->w, &two, &s);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "one\n", NULL, 0);
    reader_until(&out, "one\n");
    AUTO_FD int keep = open(two.stdout_path, O_RDWR | O_CLOEXEC); /* else the reader's end */
    assert_true(keep >= 0);
    pid_t pump = world_pump(&x->w);
    world_driver_free(&x->w);
    uint64_t gone = clock_now_us();
    fake_control(&x->w.fake, "POST", "print/two-a1", "two\n", NULL, 0);
    reader_until(&out, "two\n"); /* while there is a stream it stays */
    for (; clock_now_us() < gone + ALONE_US * 5 / 4; poll(NULL, 0, 20))
        assert_false(has_ended(&pump));
    fake_rules(&x->w.fake, "GET /containers/*/logs drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until(has_ended, &pump, "the pump's end");
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/two-a1", "three\n", NULL, 0);
    world_driver_new(&x->w, "{}");
    assert_int_equal(driver_recover_task(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    reader_until(&out, "three\n");
    AUTO_FREE char *text = reader_text(&out, NULL);
    assert_string_equal(text, "one\ntwo\nthree\n");
    reader_done(&out);
    driver_started_done(&s);
    task_config_done(&two);
}

/* The built-in driver takes the task over: its docker_logger opens one FIFO after the other, at
 * leisure here. What the pump still has until then must not end. */
static void test_pump__docker_logger_has_one_fifo__goes_on_until_it_has_both(void **state) {
    struct fixture *x = *state;
    char command[1024];
    read_both(x);
    print(x, "first\n");
    reader_until(&x->out, "first\n");
    pid_t pump = world_pump(&x->w);
    world_driver_free(&x->w);
    snprintf(
        command, sizeof(command),
        "exec sh -c 'exec 3>\"$1\"; echo has one >&3; read go; exec 4>\"$2\"; echo has both >&4;"
        " read go' docker_logger '%s' '%s'",
        x->task.stdout_path, x->task.stderr_path);
    FILE *logger = popen(command, "w");
    assert_non_null(logger);
    reader_until(&x->out, "has one\n");
    for (uint64_t begin = clock_now_us(); clock_now_us() < begin + 3 * RIVAL_LOOK_US;) {
        print(x, "still\n");
        poll(NULL, 0, 20);
    }
    print(x, "last of the pump's\n");
    reader_until(&x->out, "last of the pump's\n");
    assert_true(fputs("\n", logger) >= 0 && fflush(logger) == 0);
    reader_until(&x->err, "has both\n"); /* not with a reader that has seen an end */
    world_until(has_ended, &pump, "the pump's end");
    assert_int_equal(pclose(logger), 256); /* `read` finds the end of its input */
    reader_until_eof(&x->out);
    reader_until_eof(&x->err);
    world_driver_new(&x->w, "{}");
}

static void test_pump__second_on_one_folder__first_serves(void **state) {
    struct fixture *x = *state;
    pid_t pump = world_pump(&x->w);
    char command[1024], program[512];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    assert_true(n > 0);
    program[n] = '\0';
    snprintf(command, sizeof(command),
             "exec %s logpump %s/docker-???????????????? \"$(tr '\\0' '\\n' </proc/%d/cmdline | "
             "sed -n 4p)\"",
             program, x->w.run_dir, (int)pump);
    assert_int_equal(system(command), 0); /* it ends at once, well */
    assert_int_equal(world_pump(&x->w), pump);
}

/* Somebody tidied /run: the next task has its logs all the same. */
static void test_pump__folder_removed__made_again(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct reader out;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char command[512];
    pid_t lost = world_pump(&x->w);
    assert_int_equal(driver_destroy_task(x->w.d, &call, x->task.id, true, NULL), 0);
    assert_true(snprintf(command, sizeof(command), "rm -r %s/docker-*", x->w.run_dir) > 0);
    assert_int_equal(system(command), 0);
    world_task(&x->w, &two, "two", RUNS);
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "on\n", NULL, 0);
    reader_until(&out, "on\n");
    reader_done(&out);
    task_config_done(&two);
    if (waitpid(lost, NULL, WNOHANG) == 0) { /* nobody finds it any more; it would end by itself */
        kill(lost, SIGKILL);
        waitpid(lost, NULL, 0);
    }
}

static bool was_reaped(void *ctx) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t) * (pid_t *)ctx, &info, WEXITED | WNOHANG | WNOWAIT) < 0;
}

struct other_pump {
    struct world *w;
    pid_t first;
};

static bool pump_is_other(void *ctx) {
    struct other_pump *o = ctx;
    pid_t now = world_pump(o->w);
    return now && now != o->first;
}

static void test_pump__killed__started_again_and_no_zombie(void **state) {
    struct fixture *x = *state;
    struct other_pump o = {&x->w, world_pump(&x->w)};
    uint64_t before = clock_now_us();
    world_pump_kill(&x->w);
    world_until(pump_is_other, &o, "another pump");
    assert_true(clock_now_us() - before < 3 * US_PER_SEC); /* at once, not at the next attempt */
    read_both(x);
    print(x, "on\n");
    reader_until(&x->out, "on\n");
    world_until(was_reaped, &o.first, "no zombie");
}

/* ---- the plugin's watch over it ---- */

static atomic_bool unwatched;
static atomic_int watches, refusals;

/* Whether @fd is a connection to a pump. */
static bool is_pumps(int fd) {
    struct sockaddr_un a = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof(a);
    return getpeername(fd, (struct sockaddr *)&a, &len) == 0 && a.sun_family == AF_UNIX &&
           strstr(a.sun_path, "/pump.sock");
}

int __real_loop_watch_add(struct loop *l, int fd, uint32_t events,
                          void (*ready)(void *ctx, uint32_t events), void *ctx,
                          struct loop_watch **ret);
int __wrap_loop_watch_add(struct loop *l, int fd, uint32_t events,
                          void (*ready)(void *ctx, uint32_t events), void *ctx,
                          struct loop_watch **ret);
int __wrap_loop_watch_add(struct loop *l, int fd, uint32_t events,
                          void (*ready)(void *ctx, uint32_t events), void *ctx,
                          struct loop_watch **ret) {
    bool pumps = is_pumps(fd);
    if (pumps && atomic_load(&unwatched)) {
        atomic_fetch_add(&refusals, 1);
        return -ENOSPC;
    }
    int r = __real_loop_watch_add(l, fd, events, ready, ctx, ret);
    if (pumps && r == 0)
        atomic_fetch_add(&watches, 1);
    return r;
}

static bool any(void *ctx) {
    return atomic_load((atomic_int *)ctx) > 0;
}

static int setup_unwatched(void **state) {
    atomic_store(&watches, 0);
    atomic_store(&refusals, 0);
    atomic_store(&unwatched, true);
    return setup(state);
}

/* No fd or no memory for the watch when the first task began: no other task comes. */
static void test_pump__could_not_be_watched__watched_later_and_started_again(void **state) {
    world_until(any, &refusals, "the watch was refused");
    assert_int_equal(atomic_load(&watches), 0);
    atomic_store(&unwatched, false);
    world_until(any, &watches, "another attempt");
    test_pump__killed__started_again_and_no_zombie(state);
    assert_int_equal(atomic_load(&refusals), 1);
}

static uint64_t cpu_us(pid_t pid) {
    clockid_t clock;
    struct timespec used;
    assert_int_equal(clock_getcpuclockid(pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * US_PER_SEC + (uint64_t)used.tv_nsec / 1000;
}

/* A connection that it cannot take in stays pending: that must keep it neither busy nor away. */
static void test_pump__no_fd_free__rests_and_serves_again(void **state) {
    struct fixture *x = *state;
    struct rlimit limit, none = {.rlim_cur = 3};
    pid_t pump = world_pump(&x->w);
    assert_int_equal(prlimit(pump, RLIMIT_NOFILE, NULL, &limit), 0);
    none.rlim_max = limit.rlim_max;
    assert_int_equal(prlimit(pump, RLIMIT_NOFILE, &none, NULL), 0);
    uint64_t before = cpu_us(pump);
    struct pollfd answer = {.fd = world_pump_connect(&x->w), .events = POLLIN};
    assert_true(answer.fd >= 0);
    assert_int_equal(send(answer.fd, "{}\n", 3, MSG_NOSIGNAL), 3);
    assert_int_equal(poll(&answer, 1, 500), 0);
    uint64_t used = cpu_us(pump) - before;
    if (used > 100 * US_PER_MS)
        fail_msg("%u ms of CPU time in 500 ms", (unsigned)(used / US_PER_MS));
    assert_int_equal(prlimit(pump, RLIMIT_NOFILE, &limit, NULL), 0);
    assert_int_equal(poll(&answer, 1, WORLD_WAIT_US / US_PER_MS), 1);
    close(answer.fd);
}

struct beginner {
    struct fixture *x;
    struct task_config task;
    pthread_t thread;
};

static void *begin_thread(void *arg) {
    struct beginner *b = arg;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    int r = driver_start_task(b->x->w.d, &call, &b->task, &s, NULL);
    if (r == 0)
        driver_started_told(b->x->w.d, &s);
    driver_started_done(&s);
    return r < 0 ? b : NULL;
}

/* No child of ours has ended without being waited for. */
static bool no_zombie(void *ctx) {
    siginfo_t info = {0};
    (void)ctx;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0;
}

/* Many tasks find no pump at the same moment: one is started, not one for each. */
static void test_pump__many_begin_at_once__one_process(void **state) {
    struct fixture *x = *state;
    static struct beginner many[16];
    struct call call = call_within(NULL, WORLD_WAIT_US);
    pid_t pump = world_pump(&x->w);
    assert_int_equal(driver_destroy_task(x->w.d, &call, x->task.id, true, NULL), 0);
    world_driver_free(&x->w);
    world_until(has_ended, &pump, "the pump's end");
    while (waitpid(-1, NULL, WNOHANG) > 0) { /* pumps of drivers that are gone */
    }
    world_driver_new(&x->w, "{}");
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        char name[16];
        many[i].x = x;
        snprintf(name, sizeof(name), "b%zu", i);
        world_task(&x->w, &many[i].task, name, RUNS);
        assert_int_equal(pthread_create(&many[i].thread, NULL, begin_thread, &many[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        void *failed;
        pthread_join(many[i].thread, &failed);
        assert_null(failed);
        task_config_done(&many[i].task);
    }
    world_until(no_zombie, NULL, "no zombie");
}

/* What the pump cannot do is the machine's fault, not the job's. */
static void test_logs__position_file_cannot_be_made__recoverable(void **state) {
    struct fixture *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct err err = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char pattern[128], path[512], inside[520];
    glob_t found;
    world_task(&x->w, &two, "two", RUNS);
    snprintf(pattern, sizeof(pattern), "%s/*/positions", x->w.run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    snprintf(path, sizeof(path),
             "%s/c0de00000002000000000000000000000000000000000000000000000000feed",
             found.gl_pathv[0]);
    globfree(&found);
    snprintf(inside, sizeof(inside), "%s/kept", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_true(driver_start_task(x->w.d, &call, &two, &s, &err) < 0);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(path), 0);
    task_config_done(&two);
}

static void test_pump__folder_cannot_be_made__recoverable(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    struct logpump *pump = NULL;
    char file[256], dir[300];
    snprintf(file, sizeof(file), "%s/file", x->w.dir);
    snprintf(dir, sizeof(dir), "%s/paddock/docker-1", file);
    AUTO_FD int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    struct logpump_options o = {
        .program = "/bin/true", .run_dir = dir, .endpoint = x->w.fake.endpoint};
    assert_int_equal(logpump_new(&o, &pump, &err), -ENOTDIR);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_non_null(strstr(err.text, dir));
}

static unsigned count_fds(pid_t pid) {
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

struct fd_wait {
    pid_t pid;
    unsigned n;
};

static bool has_fifos(void *ctx) {
    const struct fd_wait *f = ctx;
    char pattern[64], target[512];
    unsigned n = 0;
    glob_t found;
    snprintf(pattern, sizeof(pattern), "/proc/%d/fd/*", (int)f->pid);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        ssize_t len = readlink(found.gl_pathv[i], target, sizeof(target));
        n += len > 5 && memcmp(target + len - 5, ".fifo", 5) == 0;
    }
    globfree(&found);
    return n == f->n;
}

static bool has_fds(void *ctx) {
    const struct fd_wait *f = ctx;
    return count_fds(f->pid) <= f->n;
}

static void test_pump__hundred_tasks__few_fds_little_memory(void **state) {
    struct fixture *x = *state;
    enum { N = 100 };
    static struct task_config many[N];
    pid_t pump = world_pump(&x->w);
    long before = pump_rss_kb(pump);
    for (int i = 0; i < N; i++) {
        char name[16], path[64];
        snprintf(name, sizeof(name), "n%d", i);
        world_task(&x->w, &many[i], name, RUNS);
        world_run(&x->w, &many[i], NULL);
        snprintf(path, sizeof(path), "lines/n%d-a1?count=40&max=80", i);
        fake_control(&x->w.fake, "POST", path, "", NULL, 0);
    }
    struct fd_wait w = {pump, 2 * (N + 1)};
    world_until(has_fifos, &w, "all FIFOs are open");
    unsigned fds = count_fds(pump);
    long kb = pump_rss_kb(pump) - before;
    print_message("100 tasks: %u fds, %ld KiB more\n", fds, kb);
    assert_true(kb <= 64 * N || WORLD_SANITIZED);
    for (int i = 0; i < N; i++) {
        struct call call = call_within(NULL, WORLD_WAIT_US);
        assert_int_equal(driver_destroy_task(x->w.d, &call, many[i].id, true, NULL), 0);
        task_config_done(&many[i]);
    }
    /* Three a task and no more; libcurl keeps two connections for what comes next. */
    w.n = fds - 3 * N + 2;
    world_until(has_fds, &w, "each task's fds are closed");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, teardown)
#define TTY(f) cmocka_unit_test_setup_teardown(f, setup_tty, teardown)
static const struct CMUnitTest tests[] = {
    T(test_logs__both_streams__delivered_and_closed),
    T(test_logs__long_lines__whole),
    TTY(test_logs__tty_long_lines__whole),
    T(test_logs__reader_comes_late__has_all),
    T(test_logs__reader_slow_at_the_end__drained),
    T(test_logs__stream_cut_in_the_middle__each_line_once),
    T(test_logs__cut_at_any_byte__each_line_once),
    T(test_logs__cut_within_long_lines__each_line_once),
    T(test_logs__stream_ends_early_at_the_end__last_pass_has_all),
    T(test_logs__clock_set_back_and_stream_cut__each_line_once),
    T(test_logs__clock_set_back_and_pump_killed__each_line_once),
    T(test_logs__pump_killed_at_random__each_line_once),
    T(test_logs__plugin_restarted_and_pump_killed__each_line_once),
    T(test_logs__position_of_other_layout__goes_on),
    T(test_recover__delivered_before_the_crash__not_told_again),
    T(test_logs__stopped_reader__others_go_on_memory_bounded),
    T(test_logs__nobody_reads_at_the_end__closed_at_deadline),
    T(test_finish__while_follow_is_under_way__fifos_stay_open),
    T(test_logs__ended_before_the_begin__delivered_and_closed),
    T(test_logs__plugin_dies_before_the_begin__recovered),
    HASTY(test_prepare__nobody_begins__begun_after_a_while),
    T(test_begin__asked_too_early__asked_at_once),
    T(test_logs__fifo_is_a_link__refused),
    T(test_logs__fifos_folder_is_a_link__refused),
    T(test_logs__fifo_is_a_file__refused),
    T(test_logs__fifo_becomes_a_link__not_followed_by_next_pump),
    T(test_logs__404_and_409__end_quietly),
    T(test_logs__ended_without_finish__asked_at_leisure),
    T(test_logs__damaged_stream__read_again),
    T(test_logs__damaged_behind_a_slow_reader__each_line_once),
    T(test_logs__same_task_other_container__followed),
    T(test_logs__last_pass_alone__framed),
    T(test_pump__last_task_gone__ends_and_its_folder_goes),
    T(test_pump__killed_and_last_task_gone__folder_goes_with_plugin),
    HASTY(test_pump__docker_away_and_no_plugin__ends_positions_stay),
    T(test_pump__docker_logger_has_one_fifo__goes_on_until_it_has_both),
    T(test_pump__second_on_one_folder__first_serves),
    T(test_pump__killed__started_again_and_no_zombie),
    cmocka_unit_test_setup_teardown(
        test_pump__could_not_be_watched__watched_later_and_started_again, setup_unwatched,
        teardown),
    T(test_pump__no_fd_free__rests_and_serves_again),
    T(test_pump__folder_removed__made_again),
    T(test_pump__many_begin_at_once__one_process),
    T(test_logs__position_file_cannot_be_made__recoverable),
    T(test_pump__folder_cannot_be_made__recoverable),
    T(test_pump__hundred_tasks__few_fds_little_memory),
};
WORLD_MAIN(tests)
