/* SPDX-License-Identifier: MPL-2.0 */
/* The event loop: watches, timers and posts. Also: a callback that removes another one. */
#include "paddock/loop.h"
#include "paddock/clock.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
    struct loop *loop;
    struct loop_watch *a, *b;
    struct loop_timer *timer;
    int fds[2], calls, order[8];
};

static void stop_cb(void *ctx) {
    struct seen *s = ctx;
    loop_stop(s->loop);
}

/* Removes the other watch, which must not be called although its event came in the same round. */
static void remove_other(void *ctx, uint32_t events) {
    struct seen *s = ctx;
    (void)events;
    s->calls++;
    s->a = loop_watch_del(s->a);
    s->b = loop_watch_del(s->b);
    assert_int_equal(loop_post(s->loop, stop_cb, s), 0);
}

static void test_loop_watch_del__other_of_the_round__not_called(void **state) {
    struct seen s = {0};
    (void)state;
    assert_int_equal(loop_new(&s.loop), 0);
    assert_int_equal(pipe2(s.fds, O_CLOEXEC), 0);
    int twin = fcntl(s.fds[0], F_DUPFD_CLOEXEC, 0);
    assert_int_equal(loop_watch_add(s.loop, s.fds[0], EPOLLIN, remove_other, &s, &s.a), 0);
    assert_int_equal(loop_watch_add(s.loop, twin, EPOLLIN, remove_other, &s, &s.b), 0);
    assert_int_equal(write(s.fds[1], "x", 1), 1);
    assert_int_equal(loop_run(s.loop), 0);
    assert_int_equal(s.calls, 1);
    loop_free(s.loop);
    close(s.fds[0]);
    close(s.fds[1]);
    close(twin);
}

static void second(void *ctx) {
    struct seen *s = ctx;
    s->order[s->calls++] = 2;
    loop_stop(s->loop);
}

static void first(void *ctx) {
    struct seen *s = ctx;
    s->order[s->calls++] = 1;
    s->timer = loop_timer_del(s->timer);
}

static void test_loop_timer__two__in_order_and_removable(void **state) {
    struct seen s = {0};
    struct loop_timer *late;
    (void)state;
    assert_int_equal(loop_new(&s.loop), 0);
    assert_int_equal(loop_timer_new(s.loop, second, &s, &late), 0);
    assert_int_equal(loop_timer_new(s.loop, first, &s, &s.timer), 0);
    loop_timer_at(late, clock_now_us() + 3000);
    loop_timer_at(s.timer, clock_now_us());
    assert_int_equal(loop_run(s.loop), 0);
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.order[0], 1);
    assert_int_equal(s.order[1], 2);
    loop_free(s.loop);
}

/* Timers that are put off, brought forward, disarmed, and armed again by their own callback. */
struct moved {
    struct loop *loop;
    struct loop_timer *put_off, *brought_forward, *disarmed, *again;
    int runs[4];
    uint64_t put_off_us; /* when its callback ran */
};

static void ran(struct moved *m, int which) {
    m->runs[which]++;
    if (m->runs[0] && m->runs[1] && m->runs[3] == 3)
        loop_stop(m->loop);
}

static void on_put_off(void *ctx) {
    struct moved *m = ctx;
    m->put_off_us = clock_now_us();
    ran(m, 0);
}

static void on_brought_forward(void *ctx) {
    ran(ctx, 1);
}

static void on_disarmed(void *ctx) {
    ran(ctx, 2);
}

static void on_again(void *ctx) {
    struct moved *m = ctx;
    ran(m, 3);
    if (m->runs[3] < 3)
        loop_timer_at(m->again, clock_now_us() + 1000);
}

static void test_loop_timer__moved__runs_when_it_is_due(void **state) {
    struct moved m = {0};
    (void)state;
    assert_int_equal(loop_new(&m.loop), 0);
    assert_int_equal(loop_timer_new(m.loop, on_put_off, &m, &m.put_off), 0);
    assert_int_equal(loop_timer_new(m.loop, on_brought_forward, &m, &m.brought_forward), 0);
    assert_int_equal(loop_timer_new(m.loop, on_disarmed, &m, &m.disarmed), 0);
    assert_int_equal(loop_timer_new(m.loop, on_again, &m, &m.again), 0);
    uint64_t begin = clock_now_us();
    loop_timer_at(m.put_off, begin + 1000);
    loop_timer_at(m.brought_forward, begin + 60 * US_PER_SEC);
    loop_timer_at(m.disarmed, begin + 2000);
    loop_timer_at(m.again, begin + 3000);
    loop_timer_at(m.put_off, begin + 30000);
    loop_timer_at(m.brought_forward, begin + 5000);
    loop_timer_at(m.disarmed, 0);
    assert_int_equal(loop_run(m.loop), 0);
    assert_true(clock_now_us() - begin < 30 * US_PER_SEC);
    assert_true(m.put_off_us - begin >= 30000);
    const int once_once_never_thrice[] = {1, 1, 0, 3};
    assert_memory_equal(m.runs, once_once_never_thrice, sizeof(m.runs));
    loop_free(m.loop);
}

/* Ten timers of 100 us in a row. A loop that counts in milliseconds needs at least 10 ms for them.
 * One row of some thousand is fast enough even on a busy machine. */
#define ROW 10
#define ROW_STEP_US 100
#define ROW_LIMIT_US (ROW * US_PER_MS)

struct row {
    struct loop *loop;
    struct loop_timer *timer;
    uint64_t begin_us, deadline_us;
    int runs;
    bool swift;
};

static void on_row(void *ctx) {
    struct row *r = ctx;
    uint64_t now = clock_now_us();
    if (r->runs++ == ROW) {
        r->swift = now - r->begin_us < ROW_LIMIT_US;
        r->runs = 1;
    }
    if (r->runs == 1)
        r->begin_us = now;
    if (r->swift || now > r->deadline_us)
        loop_stop(r->loop);
    else
        loop_timer_at(r->timer, now + ROW_STEP_US);
}

static void test_loop_timer__under_a_millisecond__not_rounded_up(void **state) {
    struct row r = {.deadline_us = clock_now_us() + 20 * US_PER_SEC};
    (void)state;
    assert_int_equal(loop_new(&r.loop), 0);
    assert_int_equal(loop_timer_new(r.loop, on_row, &r, &r.timer), 0);
    loop_timer_at(r.timer, clock_now_us());
    assert_int_equal(loop_run(r.loop), 0);
    assert_true(r.swift);
    loop_free(r.loop);
}

struct posted {
    struct loop *loop;
    int sum; /* only the loop's thread uses it */
};

static void add_one(void *ctx) {
    struct posted *p = ctx;
    if (++p->sum == 4000)
        loop_stop(p->loop);
}

static void *poster(void *ctx) {
    struct posted *p = ctx;
    for (int i = 0; i < 1000; i++)
        if (loop_post(p->loop, add_one, p) < 0)
            return p;
    return NULL;
}

static void test_loop_post__four_threads__all_run_in_the_loop(void **state) {
    struct posted p = {0};
    pthread_t threads[4];
    (void)state;
    assert_int_equal(loop_new(&p.loop), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, poster, &p), 0);
    assert_int_equal(loop_run(p.loop), 0);
    assert_int_equal(p.sum, 4000);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    loop_free(p.loop);
}

static void count(void *ctx) {
    ++*(int *)ctx;
}

static void test_loop_free__posted_but_not_run__run_once(void **state) {
    struct loop *l;
    int runs = 0;
    (void)state;
    assert_int_equal(loop_new(&l), 0);
    assert_int_equal(loop_post(l, count, &runs), 0);
    loop_free(l);
    assert_int_equal(runs, 1);
}

#ifndef NDEBUG
static void write_byte(void *ctx) {
    const int *fd = ctx;
    (void)!write(*fd, "", 1);
}

static void *run_loop(void *ctx) {
    return loop_run(ctx) == 0 ? NULL : ctx;
}

/* In a child process: a thread that is not the loop's makes a timer. */
static void misuse_loop(void) {
    const struct rlimit none = {0};
    struct loop *l;
    struct loop_timer *t;
    pthread_t thread;
    int fds[2];
    char byte;
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    if (pipe2(fds, O_CLOEXEC) < 0 || loop_new(&l) < 0 || loop_post(l, write_byte, &fds[1]) < 0 ||
        pthread_create(&thread, NULL, run_loop, l) != 0 || read(fds[0], &byte, 1) != 1)
        _exit(2);
    _exit(loop_timer_new(l, write_byte, &fds[1], &t) < 0);
}

static void test_loop_timer_new__other_thread_than_the_loops__process_ends(void **state) {
    int status;
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        misuse_loop();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}
#endif

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
#ifndef NDEBUG
        cmocka_unit_test(test_loop_timer_new__other_thread_than_the_loops__process_ends),
#endif
        cmocka_unit_test(test_loop_watch_del__other_of_the_round__not_called),
        cmocka_unit_test(test_loop_timer__two__in_order_and_removable),
        cmocka_unit_test(test_loop_timer__moved__runs_when_it_is_due),
        cmocka_unit_test(test_loop_timer__under_a_millisecond__not_rounded_up),
        cmocka_unit_test(test_loop_post__four_threads__all_run_in_the_loop),
        cmocka_unit_test(test_loop_free__posted_but_not_run__run_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
