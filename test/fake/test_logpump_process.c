/* SPDX-License-Identifier: MPL-2.0 */
/* The pump as a process: when it starts and ends, which plugins watch it, and what it leaves. */
#include "fake/pump_world.h"

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

/* The time between opening a FIFO and the check for the built-in driver. */
#define RIVAL_LOOK_US (100 * US_PER_MS)
/* How long a pump runs without plugin and Docker: ten times its patience. */
#define ALONE_US (10 * PUMP_WORLD_HASTY_MS * US_PER_MS)

/* ---- The process ---- */

static bool folder_is_removed(void *ctx) {
    struct world *w = ctx;
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/docker-????????????????", w->run_dir);
    bool removed = glob(pattern, 0, NULL, &found) == GLOB_NOMATCH;
    globfree(&found);
    return removed;
}

static void test_pump__last_task_ended__ends_and_removes_folder(void **state) {
    struct pump_world *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    pump_world_read(x);
    pid_t pump = world_pump(&x->w);
    assert_true(pump > 1);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    world_driver_free(&x->w);
    uint64_t before = clock_now_us();
    world_until(pump_world_has_ended, &pump, "the pump's end");
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    world_until(folder_is_removed, &x->w, "the folder's end");
    world_driver_new(&x->w, "{}");
}

/* The pump was killed after the last task had ended. The plugin cleans up when it ends. */
static void test_pump__killed_and_last_task_ended__plugin_removes_folder(void **state) {
    struct pump_world *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    pid_t pump = world_pump(&x->w);
    world_pump_kill(&x->w);
    world_until(pump_world_has_ended, &pump, "the pump's end");
    world_driver_free(&x->w);
    world_until(folder_is_removed, &x->w, "the folder's end"); /* no pump removes it */
    world_driver_new(&x->w, "{}");
}

/* Neither Docker nor a plugin comes back. The pump gives up, and the next one continues. */
static void test_pump__docker_away_and_no_plugin__ends_positions_stay(void **state) {
    struct pump_world *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct driver_started s = {0};
    struct task_config two;
    struct reader out;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, &s);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "one\n", NULL, 0);
    reader_until(&out, "one\n");
    AUTO_FD int keep = open(two.stdout_path, O_RDWR | O_CLOEXEC); /* keeps the FIFO from ending */
    assert_true(keep >= 0);
    pid_t pump = world_pump(&x->w);
    world_driver_free(&x->w);
    uint64_t alone_since = clock_now_us();
    fake_control(&x->w.fake, "POST", "print/two-a1", "two\n", NULL, 0);
    reader_until(&out, "two\n"); /* it runs while a stream is open */
    for (; clock_now_us() < alone_since + ALONE_US * 5 / 4; poll(NULL, 0, 20))
        assert_false(pump_world_has_ended(&pump));
    fake_rules(&x->w.fake, "GET /containers/*/logs drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until(pump_world_has_ended, &pump, "the pump's end");
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/two-a1", "three\n", NULL, 0);
    world_driver_new(&x->w, "{}");
    assert_int_equal(task_recover(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    reader_until(&out, "three\n");
    AUTO_FREE char *text = reader_text(&out, NULL);
    assert_string_equal(text, "one\ntwo\nthree\n");
    reader_done(&out);
    task_start_done(&s);
    task_config_done(&two);
}

/* The built-in driver takes over the task. Its docker_logger opens one FIFO after the other,
 * slowly here. The FIFO that the pump still has must not end before that. */
static void test_pump__docker_logger_has_one_fifo__continues_until_it_has_both(void **state) {
    struct pump_world *x = *state;
    char command[1024];
    pump_world_read(x);
    pump_world_print(x, "first\n");
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
        pump_world_print(x, "still\n");
        poll(NULL, 0, 20);
    }
    pump_world_print(x, "last of the pump's\n");
    reader_until(&x->out, "last of the pump's\n");
    assert_true(fputs("\n", logger) >= 0 && fflush(logger) == 0);
    reader_until(&x->err, "has both\n"); /* only a reader that has seen no end gets this */
    world_until(pump_world_has_ended, &pump, "the pump's end");
    assert_int_equal(pclose(logger), 256); /* `read` finds the end of its input */
    reader_until_eof(&x->out);
    reader_until_eof(&x->err);
    world_driver_new(&x->w, "{}");
}

static void test_pump__second_on_one_folder__first_serves(void **state) {
    struct pump_world *x = *state;
    pid_t pump = world_pump(&x->w);
    char command[1024], program[512];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    assert_true(n > 0);
    program[n] = '\0';
    snprintf(command, sizeof(command),
             "exec %s logpump %s/docker-???????????????? \"$(tr '\\0' '\\n' </proc/%d/cmdline | "
             "sed -n 4p)\" succeed",
             program, x->w.run_dir, (int)pump);
    assert_int_equal(system(command), 0); /* it ends immediately, with success */
    assert_int_equal(world_pump(&x->w), pump);
    /* A pump of another version, whose plugin has met a pump before. */
    snprintf(command, sizeof(command), "exec %s logpump %s/docker-???????????????? '{}' join",
             program, x->w.run_dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(world_pump(&x->w), pump);
}

/* /run was cleaned up by another program. The next task still has its logs. */
static void test_pump__folder_removed__made_again(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct reader out;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char command[512];
    pid_t lost = world_pump(&x->w);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    assert_true(snprintf(command, sizeof(command), "rm -r %s/docker-*", x->w.run_dir) > 0);
    assert_int_equal(system(command), 0);
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "on\n", NULL, 0);
    reader_until(&out, "on\n");
    reader_done(&out);
    task_config_done(&two);
    /* The pump can no longer be found. It would also end without a signal. */
    if (waitpid(lost, NULL, WNOHANG) == 0) {
        kill(lost, SIGKILL);
        waitpid(lost, NULL, 0);
    }
}

static bool was_reaped(void *ctx) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t) * (pid_t *)ctx, &info, WEXITED | WNOHANG | WNOWAIT) < 0;
}

static void test_pump__killed__started_again_and_no_zombie(void **state) {
    struct pump_world *x = *state;
    pid_t first = world_pump(&x->w);
    uint64_t before = clock_now_us();
    world_pump_kill(&x->w);
    pump_world_until_other(x, first);
    assert_true(clock_now_us() - before <
                3 * US_PER_SEC); /* immediately, not at the next attempt */
    pump_world_read(x);
    pump_world_print(x, "on\n");
    reader_until(&x->out, "on\n");
    world_until(was_reaped, &first, "no zombie");
}

/* ---- How the plugin watches it ---- */

static atomic_bool unwatched;
static atomic_int watches, refusals;

/* True when @fd is a connection to a pump. */
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
    return pump_world_setup(state);
}

/* The watch failed for want of a descriptor or memory when the first task began. No other task
 * comes. */
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

/* A connection that the pump cannot accept stays pending. It must neither use CPU time for it
 * nor become unreachable. */
static void test_pump__no_fd_free__rests_and_serves_again(void **state) {
    struct pump_world *x = *state;
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
    struct pump_world *x;
    struct task_config task;
    pthread_t thread;
};

static void *begin_thread(void *arg) {
    struct beginner *b = arg;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    int r = task_start(b->x->w.d, &call, &b->task, &s, NULL);
    if (r == 0)
        task_start_reported(b->x->w.d, &s);
    task_start_done(&s);
    return r < 0 ? b : NULL;
}

/* True when no child of ours is a zombie. */
static bool no_zombie(void *ctx) {
    siginfo_t info = {0};
    (void)ctx;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0;
}

/* Many tasks find no pump at the same moment. One is started, not one for each. */
static void test_pump__many_begin_together__one_process(void **state) {
    struct pump_world *x = *state;
    static struct beginner many[16];
    struct call call = call_within(NULL, WORLD_WAIT_US);
    pid_t pump = world_pump(&x->w);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    world_driver_free(&x->w);
    world_until(pump_world_has_ended, &pump, "the pump's end");
    while (waitpid(-1, NULL, WNOHANG) > 0) { /* pumps of drivers that were freed */
    }
    world_driver_new(&x->w, "{}");
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        char name[16];
        many[i].x = x;
        snprintf(name, sizeof(name), "b%zu", i);
        world_task(&x->w, &many[i].task, name, PUMP_WORLD_RUNS);
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

/* What the pump cannot do is an error of the host, not of the job. */
static void test_logs__position_file_cannot_be_made__recoverable(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct err err = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char pattern[128], path[512], inside[520];
    glob_t found;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    snprintf(pattern, sizeof(pattern), "%s/*/positions", x->w.run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    snprintf(path, sizeof(path),
             "%s/c0de00000002000000000000000000000000000000000000000000000000feed",
             found.gl_pathv[0]);
    globfree(&found);
    snprintf(inside, sizeof(inside), "%s/kept", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_true(task_start(x->w.d, &call, &two, &s, &err) < 0);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(path), 0);
    task_config_done(&two);
}

static void test_pump__folder_cannot_be_made__recoverable(void **state) {
    struct pump_world *x = *state;
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
    struct pump_world *x = *state;
    enum { N = 100 };
    static struct task_config many[N];
    pid_t pump = world_pump(&x->w);
    long before = pump_world_rss_kb(pump);
    for (int i = 0; i < N; i++) {
        char name[16], path[64];
        snprintf(name, sizeof(name), "n%d", i);
        world_task(&x->w, &many[i], name, PUMP_WORLD_RUNS);
        world_run(&x->w, &many[i], NULL);
        snprintf(path, sizeof(path), "lines/n%d-a1?count=40&max=80", i);
        fake_control(&x->w.fake, "POST", path, "", NULL, 0);
    }
    struct fd_wait w = {pump, 2 * (N + 1)};
    world_until(has_fifos, &w, "all FIFOs are open");
    unsigned fds = count_fds(pump);
    long kb = pump_world_rss_kb(pump) - before;
    print_message("100 tasks: %u fds, %ld KiB more\n", fds, kb);
    assert_true(kb <= 64 * N || WORLD_SANITIZED);
    for (int i = 0; i < N; i++) {
        struct call call = call_within(NULL, WORLD_WAIT_US);
        assert_int_equal(task_destroy(x->w.d, &call, many[i].id, true, NULL), 0);
        task_config_done(&many[i]);
    }
    /* Three for each task and no more. libcurl keeps two connections for later requests. */
    w.n = fds - 3 * N + 2;
    world_until(has_fds, &w, "each task's fds are closed");
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_pump__last_task_ended__ends_and_removes_folder),
    PUMP_WORLD_T(test_pump__killed_and_last_task_ended__plugin_removes_folder),
    PUMP_WORLD_HASTY(test_pump__docker_away_and_no_plugin__ends_positions_stay),
    PUMP_WORLD_T(test_pump__docker_logger_has_one_fifo__continues_until_it_has_both),
    PUMP_WORLD_T(test_pump__second_on_one_folder__first_serves),
    PUMP_WORLD_T(test_pump__killed__started_again_and_no_zombie),
    cmocka_unit_test_setup_teardown(
        test_pump__could_not_be_watched__watched_later_and_started_again, setup_unwatched,
        pump_world_teardown),
    PUMP_WORLD_T(test_pump__no_fd_free__rests_and_serves_again),
    PUMP_WORLD_T(test_pump__folder_removed__made_again),
    PUMP_WORLD_T(test_pump__many_begin_together__one_process),
    PUMP_WORLD_T(test_logs__position_file_cannot_be_made__recoverable),
    PUMP_WORLD_T(test_pump__folder_cannot_be_made__recoverable),
    PUMP_WORLD_T(test_pump__hundred_tasks__few_fds_little_memory),
};
WORLD_MAIN(tests)
