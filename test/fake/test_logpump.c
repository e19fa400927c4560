/* SPDX-License-Identifier: MPL-2.0 */
/* What arrives at the readers of the FIFOs: each line once and in order, whatever process is
 * killed and whatever connection is cut. A reader that stops does not delay any other. A FIFO is
 * closed when everything is delivered. */
#include "fake/pump_world.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- Without faults ---- */

static void test_logs__both_streams__delivered_and_closed(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    pump_world_lines(x, 400, 200);
    pump_world_end(x, 300, 100);
}

static void test_logs__long_lines__whole(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    pump_world_lines(x, 40, 60000);
    pump_world_end(x, 30, 10);
}

static void test_logs__tty_long_lines__whole(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    AUTO_FREE char *line = calloc(1, 40002);
    memset(line, 'y', 40000);
    line[40000] = '\n';
    char *piece = calloc(1, 16385);
    for (size_t at = 0; at < 40001; at += 16384) {
        snprintf(piece, 16385, "%s", line + at);
        pump_world_print(x, piece);
    }
    free(piece);
    reader_until_len(&x->out, 40001);
    size_t len;
    AUTO_FREE char *text = reader_text(&x->out, &len);
    assert_int_equal(len, 40001);
    assert_string_equal(text, line);
}

static bool is_full(void *ctx) {
    AUTO_FD int fd = open(ctx, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return fd >= 0 && poll(&p, 1, 0) == 0;
}

static void test_logs__reader_comes_late__has_all(void **state) {
    struct pump_world *x = *state;
    pump_world_lines(x, 4000, 200); /* more than fits into a FIFO */
    world_until(is_full, x->task.stdout_path, "a full FIFO");
    pump_world_read(x);
    pump_world_end(x, 3000, 1000);
}

/* The last bytes are in the FIFO before it ends. */
static void test_logs__reader_slow_at_the_end__drained(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    reader_pause(&x->out, true);
    pump_world_lines(x, 2000, 200);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    reader_until_len(&x->err, 20000);
    reader_pause(&x->out, false);
    reader_until_eof(&x->out);
    reader_until_eof(&x->err);
    assert_int_equal(pump_world_count(&x->out), 1500);
    assert_int_equal(pump_world_count(&x->err), 500);
}

/* ---- Killed processes and cut streams ---- */

static void test_logs__stream_cut_in_the_middle__each_line_once(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    for (int i = 0; i < 20; i++) {
        pump_world_lines(x, 200, 300);
        fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    }
    pump_world_end(x, 3000, 1000);
}

static void test_logs__cut_at_any_byte__each_line_once(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    reader_pause(&x->out, true); /* so that this much is on the way when the stream is cut */
    for (int i = 0; i < 10; i++) {
        pump_world_lines(x, 400, 2000);
        pump_world_lines(x, 40, 60000); /* several messages each, with one time */
        fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
        if (i == 5)
            reader_pause(&x->out, false);
    }
    pump_world_end(x, 3300, 1100);
}

/* A long line is several messages with one time. The stream is cut between them and within them. */
static void test_logs__cut_within_long_lines__each_line_once(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    for (unsigned i = 0; i < 8; i++) {
        reader_pause(&x->out, true);
        pump_world_lines(x, 16, 50000 + 3333 * i);
        world_until(is_full, x->task.stdout_path, "a full FIFO");
        fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
        reader_pause(&x->out, false);
        char last[16];
        snprintf(last, sizeof(last), "%08u ", 12 * i + 11);
        reader_until(&x->out, last);
    }
    pump_world_end(x, 96, 32);
}

/* A dockerd that shuts down ends its streams correctly, even when more output would follow. */
static void test_logs__stream_ends_early_at_the_end__last_pass_has_all(void **state) {
    struct pump_world *x = *state;
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    pump_world_read(x);
    fake_rules(&x->w.fake,
               "GET /containers/*/logs times=1 delay=1000 status=200 type=application/x body=\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, request, 2);
    pump_world_lines(x, 40, 80);
    pump_world_end(x, 30, 10);
}

static void set_clock(struct pump_world *x, int ms) {
    char path[64];
    snprintf(path, sizeof(path), "clock/web-a1?ms=%d", ms);
    fake_control(&x->w.fake, "POST", path, "", NULL, 0);
}

/* Waits until everything up to that line is delivered on stdout, and a third of it on stderr. */
static void until_line(struct pump_world *x, unsigned out) {
    char last[16];
    snprintf(last, sizeof(last), "%08u ", out);
    reader_until(&x->out, last);
    snprintf(last, sizeof(last), "%08u ", out / 3);
    reader_until(&x->err, last);
}

/* The machine's clock is set back, and catches up later. The stream is cut in each part, but not
 * just before the clock changes: the pump then uses its own clock, which this test cannot set. */
static void clock_set_back(struct pump_world *x, void (*cut)(struct pump_world *x)) {
    static const int clock_ms[] = {0, -1000, -600000, -590000, -600000, 0, 10000, 9000};
    pump_world_read(x);
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(clock_ms); i++) {
        set_clock(x, clock_ms[i]);
        for (int part = 0; part < 3; part++) {
            pump_world_lines(x, 40, 300);
            n += 30;
            until_line(x, n - 1);
            if (part < 2)
                cut(x);
        }
    }
    pump_world_end(x, n, n / 3);
}

static void cut_stream(struct pump_world *x) {
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
}

static void kill_pump(struct pump_world *x) {
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
    struct pump_world *x = *state;
    const char *seed_text = getenv("PADDOCK_SEED"), *rounds_text = getenv("PADDOCK_ROUNDS");
    unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : 20231;
    unsigned rounds = rounds_text ? (unsigned)strtoul(rounds_text, NULL, 10) : 40, printed = 0;
    print_message("seed %u, %u rounds\n", seed, rounds);
    pump_world_read(x);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned now = 40 + (unsigned)rand_r(&seed) % 400 / 4 * 4;
        now -= now % 4;
        pump_world_lines(x, now, 300);
        printed += now;
        struct timespec random_moment = {.tv_nsec = (long)(rand_r(&seed) % 30000) * 1000};
        nanosleep(&random_moment, NULL);
        world_pump_kill(&x->w);
        if (rand_r(&seed) % 4 == 0)
            fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    }
    pump_world_end(x, printed / 4 * 3, printed / 4);
}

static void test_logs__plugin_restarted_and_pump_killed__each_line_once(void **state) {
    struct pump_world *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, &s);
    pump_world_read(x);
    reader_done(&x->out);
    reader_done(&x->err);
    struct reader out;
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    pid_t pump = world_pump(&x->w);
    world_driver_free(&x->w); /* the pump continues without a plugin */
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    reader_until(&out, "00000599 ");
    assert_int_equal(world_pump(&x->w), pump);
    world_driver_new(&x->w, "{}");
    assert_int_equal(task_recover(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    assert_int_equal(world_pump(&x->w), pump); /* found, not started again */
    world_pump_kill(&x->w);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    world_exit(&x->w, &two, 0);
    world_wait(&x->w, two.id);
    reader_until_eof(&out);
    assert_int_equal(pump_world_count(&out), 900);
    reader_done(&out);
    task_start_done(&s);
    task_config_done(&two);
}

/* Plugin and agent both die after the last line. What was delivered is not delivered again. */
static void test_recover__delivered_before_the_crash__not_delivered_again(void **state) {
    struct pump_world *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    struct reader out;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, &s);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=40&max=80", "", NULL, 0);
    world_exit(&x->w, &two, 3);
    reader_until_eof(&out);
    assert_int_equal(pump_world_count(&out), 30);
    reader_done(&out);
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    world_driver_new(&x->w, "{}");
    reader_start(&out, two.stdout_path);
    assert_int_equal(task_recover(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    assert_int_equal(world_wait(&x->w, two.id).code, 3);
    reader_until_eof(&out);
    assert_int_equal(pump_world_count(&out), 0);
    reader_done(&out);
    assert_int_equal(task_destroy(x->w.d, &call, two.id, false, NULL), 0);
    assert_int_equal(world_positions(&x->w), 1); /* the fixture's own task */
    task_start_done(&s);
    task_config_done(&two);
}

/* The host was restarted. The container has ended, and the positions are lost with /run. */
static void test_recover__ended_and_no_position__not_sent_again(void **state) {
    struct pump_world *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    struct reader out;
    char command[256];
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, &s);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=40&max=80", "", NULL, 0);
    reader_until(&out, "00000029 ");
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    reader_until_eof(&out);
    reader_done(&out);
    snprintf(command, sizeof(command), "rm -r %s/*", x->w.run_dir);
    assert_int_equal(system(command), 0);
    world_exit(&x->w, &two, 3);
    world_driver_new(&x->w, "{}");
    reader_start(&out, two.stdout_path);
    assert_int_equal(task_recover(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    assert_int_equal(world_wait(&x->w, two.id).code, 3);
    reader_until_eof(&out);
    AUTO_FREE char *text = reader_text(&out, NULL);
    assert_string_equal(text, "");
    reader_done(&out);
    task_start_done(&s);
    task_config_done(&two);
}

/* A newer version has written the task's position. The output continues, and what was delivered
 * does not come again. */
static void test_logs__position_of_other_layout__continues_there(void **state) {
    struct pump_world *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    struct reader out;
    char pattern[256];
    glob_t found;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, &s);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "one\n", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/two-a1", "two\n", NULL, 0);
    reader_until(&out, "two\n");
    snprintf(pattern, sizeof(pattern), "%s/*/positions/%s", x->w.run_dir,
             world_look(&x->w, two.id).container_id);
    AUTO_FD int keep = open(two.stdout_path, O_RDWR | O_CLOEXEC); /* keeps the FIFO from ending */
    assert_true(keep >= 0);
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    AUTO_FD int fd = open(found.gl_pathv[0], O_WRONLY | O_CLOEXEC);
    globfree(&found);
    assert_int_equal(pwrite(fd, "\x7f", 1, 0), 1); /* the number of the layout */
    fake_control(&x->w.fake, "POST", "print/two-a1", "three\n", NULL, 0);
    world_driver_new(&x->w, "{}");
    struct err err = {0};
    if (task_recover(x->w.d, &call, &two, s.state, s.state_len, &err) < 0)
        fail_msg("RecoverTask: %s", err.text);
    reader_until(&out, "three\n");
    AUTO_FREE char *text = reader_text(&out, NULL);
    assert_string_equal(text, "one\ntwo\nthree\n");
    reader_done(&out);
    task_start_done(&s);
    task_config_done(&two);
}

/* ---- Readers that stop ---- */

static void test_logs__stopped_reader__others_go_on_memory_bounded(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct reader out, err;
    char *big = calloc(1, 1000001);
    memset(big, 'z', 1000000);
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    reader_start(&err, two.stderr_path);
    for (int i = 0; i < 30; i++)
        pump_world_print(x, big); /* the first task has no reader */
    free(big);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=4000&max=100", "", NULL, 0);
    world_exit(&x->w, &two, 0);
    world_wait(&x->w, two.id);
    reader_until_eof(&out);
    assert_int_equal(pump_world_count(&out), 3000);
    long kb = pump_world_rss_kb(world_pump(&x->w));
    print_message("pump: %ld KiB\n", kb);
    assert_true(kb < 16 << 10 || WORLD_SANITIZED);
    reader_start(&x->out, x->task.stdout_path);
    reader_until_len(&x->out, 30000000);
    char request[128]; /* the output waits; it is not requested again */
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    assert_int_equal(fake_count(&x->w.fake, request), 1);
    reader_done(&out);
    reader_done(&err);
    task_config_done(&two);
}

static void test_logs__no_reader_at_the_end__closed_at_deadline(void **state) {
    struct pump_world *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    pump_world_lines(x, 4000, 200);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    uint64_t before = clock_now_us();
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, false, NULL), 0);
    assert_true(clock_now_us() - before < 8 * US_PER_SEC);
    char byte; /* no writer is left, and the content of the FIFO is lost with the last one */
    AUTO_FD int fd = open(x->task.stdout_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &byte, 1), 0);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_logs__both_streams__delivered_and_closed),
    PUMP_WORLD_T(test_logs__long_lines__whole),
    PUMP_WORLD_TTY(test_logs__tty_long_lines__whole),
    PUMP_WORLD_T(test_logs__reader_comes_late__has_all),
    PUMP_WORLD_T(test_logs__reader_slow_at_the_end__drained),
    PUMP_WORLD_T(test_logs__stream_cut_in_the_middle__each_line_once),
    PUMP_WORLD_T(test_logs__cut_at_any_byte__each_line_once),
    PUMP_WORLD_T(test_logs__cut_within_long_lines__each_line_once),
    PUMP_WORLD_T(test_logs__stream_ends_early_at_the_end__last_pass_has_all),
    PUMP_WORLD_T(test_logs__clock_set_back_and_stream_cut__each_line_once),
    PUMP_WORLD_T(test_logs__clock_set_back_and_pump_killed__each_line_once),
    PUMP_WORLD_T(test_logs__pump_killed_at_random__each_line_once),
    PUMP_WORLD_T(test_logs__plugin_restarted_and_pump_killed__each_line_once),
    PUMP_WORLD_T(test_recover__ended_and_no_position__not_sent_again),
    PUMP_WORLD_T(test_logs__position_of_other_layout__continues_there),
    PUMP_WORLD_T(test_recover__delivered_before_the_crash__not_delivered_again),
    PUMP_WORLD_T(test_logs__stopped_reader__others_go_on_memory_bounded),
    PUMP_WORLD_T(test_logs__no_reader_at_the_end__closed_at_deadline),
};
WORLD_MAIN(tests)
