#include "paddock/loop.h"
#include "paddock/clock.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>

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

/* Removes the other watch: it must not be called although its event is in the same round. */
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

struct posted {
    struct loop *loop;
    int sum; /* the loop's thread alone touches it */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_watch_del__other_of_the_round__not_called),
        cmocka_unit_test(test_loop_timer__two__in_order_and_removable),
        cmocka_unit_test(test_loop_post__four_threads__all_run_in_the_loop),
        cmocka_unit_test(test_loop_free__posted_but_not_run__run_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
