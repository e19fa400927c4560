#include "paddock/pool.h"
#include "unit/cm.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static atomic_int runs;

static void count(void *ctx) {
    (void)ctx;
    atomic_fetch_add(&runs, 1);
}

static void test_pool_free__queued_work__all_run(void **state) {
    struct pool *p;
    (void)state;
    atomic_store(&runs, 0);
    assert_int_equal(pool_new(3, &p), 0);
    for (int i = 0; i < 500; i++)
        assert_int_equal(pool_run(p, count, NULL), 0);
    pool_free(p);
    assert_int_equal(atomic_load(&runs), 500);
}

/* Two that wait for each other: only with two threads do they end. */
static void meet(void *ctx) {
    pthread_barrier_wait(ctx);
}

static void test_pool_run__work_that_blocks__grows(void **state) {
    struct pool *p;
    pthread_barrier_t barrier;
    (void)state;
    pthread_barrier_init(&barrier, NULL, 3);
    assert_int_equal(pool_new(2, &p), 0);
    assert_int_equal(pool_run(p, meet, &barrier), 0);
    assert_int_equal(pool_run(p, meet, &barrier), 0);
    pthread_barrier_wait(&barrier);
    pool_free(p);
    pthread_barrier_destroy(&barrier);
}

/* One idle thread and two pieces of work at once: the idle one is woken for the first only. */
static void test_pool_run__two_for_one_idle__grows(void **state) {
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct pool *p;
        pthread_barrier_t barrier;
        pthread_barrier_init(&barrier, NULL, 3);
        atomic_store(&runs, 0);
        assert_int_equal(pool_new(2, &p), 0);
        assert_int_equal(pool_run(p, count, NULL), 0);
        while (atomic_load(&runs) == 0)
            sched_yield();
        assert_int_equal(pool_run(p, meet, &barrier), 0);
        assert_int_equal(pool_run(p, meet, &barrier), 0);
        pthread_barrier_wait(&barrier);
        pool_free(p);
        pthread_barrier_destroy(&barrier);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_free__queued_work__all_run),
        cmocka_unit_test(test_pool_run__work_that_blocks__grows),
        cmocka_unit_test(test_pool_run__two_for_one_idle__grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
