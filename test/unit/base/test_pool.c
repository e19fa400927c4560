/* SPDX-License-Identifier: MPL-2.0 */
/* The thread pool runs all work, grows when its threads are blocked, and returns memory to the
 * kernel when it is idle. */
#include "paddock/pool.h"
#include "paddock/clock.h"
#include "unit/cm.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* Two pieces of work wait for each other. They end only when two threads run them. */
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

/* Two pieces of work arrive together. The idle thread takes one, a new thread takes the other. */
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

/* A sanitizer has an allocator of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_ALLOCATOR 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_ALLOCATOR 1
#endif
#endif

#ifndef OWN_ALLOCATOR
#define PIECES 8192
#define PIECE_BYTES 1024

struct garbage {
    void *kept; /* the topmost piece of the heap, so that free() alone returns no memory */
};

static void make_garbage(void *ctx) {
    struct garbage *g = ctx;
    static void *all[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        all[i] = malloc(PIECE_BYTES);
        assert_non_null(all[i]);
        memset(all[i], 1, PIECE_BYTES);
    }
    g->kept = malloc(PIECE_BYTES);
    for (size_t i = 0; i < PIECES; i++)
        free(all[i]);
    atomic_fetch_add(&runs, 1);
}

static long resident_bytes(void) {
    long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static void test_pool__all_threads_idle__memory_is_given_back(void **state) {
    struct pool *p;
    struct garbage g = {0};
    (void)state;
    atomic_store(&runs, 0);
    assert_int_equal(pool_new(1, &p), 0);
    assert_int_equal(pool_run(p, make_garbage, &g), 0);
    while (atomic_load(&runs) == 0)
        sched_yield();
    long full = resident_bytes();
    uint64_t deadline = clock_now_us() + 30 * US_PER_SEC;
    while (full - resident_bytes() < PIECES * PIECE_BYTES / 2) {
        if (clock_now_us() > deadline)
            fail_msg("%ld bytes of %d are given back", full - resident_bytes(),
                     PIECES * PIECE_BYTES);
        poll(NULL, 0, 20);
    }
    pool_free(p);
    free(g.kept);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifndef OWN_ALLOCATOR
        cmocka_unit_test(test_pool__all_threads_idle__memory_is_given_back),
#endif
        cmocka_unit_test(test_pool_free__queued_work__all_run),
        cmocka_unit_test(test_pool_run__work_that_blocks__grows),
        cmocka_unit_test(test_pool_run__two_for_one_idle__grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
