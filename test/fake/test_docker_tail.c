/* SPDX-License-Identifier: MPL-2.0 */
/* Log streams that leave curl when the head of the answer was read (docker_tail.c). The test's own
 * thread runs the loop. curl's memory is counted: a stream that has left keeps none of it. */
#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "paddock/docker_multi.h"
#include "src/docker/docker_tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAMS 40
/* curl needs 32 KiB for the multi handle, and 27 KiB for each stream that it reads. */
#define CURL_MAX (64L << 10)
#define TAIL_FROM_PIECE 3 /* by then the stream has left curl */

static long curl_bytes; /* that curl has allocated and not freed */

struct fixture {
    struct fake fake;
    struct docker *docker;
    struct loop *loop;
    struct loop_timer *deadline, *look, *resume;
    struct docker_multi *multi;
    struct docker_get *get;
    struct docker_tail *tail;
    bool late;
    size_t bytes, pieces, refused, open;
    bool refuse, cancel_in_data, cancel_in_pause;
    int fail; /* on_data returns it */
    long bytes_before;
    int done, done_r, done_status;
    char text[128];
};

/* ---- curl's memory ---- */

static void *counted(void *p) {
    curl_bytes += p ? (long)malloc_usable_size(p) : 0;
    return p;
}

static void *count_malloc(size_t n) {
    return counted(malloc(n));
}

static void *count_calloc(size_t n, size_t size) {
    return counted(calloc(n, size));
}

static void count_free(void *p) {
    curl_bytes -= p ? (long)malloc_usable_size(p) : 0;
    free(p);
}

static void *count_realloc(void *p, size_t n) {
    curl_bytes -= p ? (long)malloc_usable_size(p) : 0;
    return counted(realloc(p, n));
}

static char *count_strdup(const char *s) {
    return counted(strdup(s));
}

/* ---- the loop ---- */

static void on_deadline(void *arg) {
    struct fixture *x = arg;
    x->late = true;
    loop_stop(x->loop);
}

static int setup(void **state) {
    static const char *const none[] = {NULL};
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    fake_start(&x->fake, none);
    x->docker = fake_docker(&x->fake);
    assert_int_equal(loop_new(&x->loop), 0);
    assert_int_equal(loop_timer_new(x->loop, on_deadline, x, &x->deadline), 0);
    loop_timer_at(x->deadline, clock_now_us() + 30 * US_PER_SEC);
    assert_int_equal(docker_multi_new(x->docker, x->loop, &x->multi), 0);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    docker_multi_free(x->multi);
    loop_free(x->loop);
    docker_free(x->docker);
    fake_done(&x->fake);
    free(x);
    return 0;
}

static void run(struct fixture *x) {
    assert_int_equal(loop_run(x->loop), 0);
    assert_false(x->late);
}

/* ---- one stream ---- */

static void on_resume(void *arg) {
    struct fixture *x = arg;
    if (x->get)
        docker_multi_get_resume(x->get);
}

static int on_data(void *ctx, const char *data, size_t len) {
    struct fixture *x = ctx;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(data[i], 'x');
    if (++x->pieces > TAIL_FROM_PIECE) {
        if (x->refuse && x->refused++ % 2 == 0) {
            loop_timer_at(x->resume, clock_now_us() + US_PER_MS);
            return DOCKER_GET_PAUSE;
        }
        if (x->cancel_in_data) {
            docker_multi_get_cancel(TAKE_PTR(x->get));
            loop_stop(x->loop);
            return 0;
        }
        if (x->fail)
            return x->fail;
    }
    x->bytes += len;
    return 0;
}

static void on_pause(void *ctx) {
    struct fixture *x = ctx;
    assert_false(x->done); /* before the end is reported */
    if (x->cancel_in_pause && x->pieces > TAIL_FROM_PIECE) {
        docker_multi_get_cancel(TAKE_PTR(x->get));
        loop_stop(x->loop);
    }
}

static void on_done(void *ctx, int r, int status, const struct err *err) {
    struct fixture *x = ctx;
    x->get = NULL;
    x->done++;
    x->done_r = r;
    x->done_status = status;
    snprintf(x->text, sizeof(x->text), "%.100s", err ? err->text : "");
    loop_stop(x->loop);
}

static const struct docker_get_ops unframed = {
    .unframed = true, .on_data = on_data, .on_pause = on_pause, .on_done = on_done};

static void get_big(struct fixture *x, const char *rule) {
    fake_rules(&x->fake, rule);
    assert_int_equal(loop_timer_new(x->loop, on_resume, x, &x->resume), 0);
    assert_int_equal(docker_multi_get(x->multi, "/big", &unframed, x, &x->get), 0);
    run(x);
}

#define UNFRAMED "GET /big size=300000 chunked"

static void test_docker_tail__large_body__arrives_whole(void **state) {
    struct fixture *x = *state;
    get_big(x, UNFRAMED);
    assert_int_equal(x->done_r, 0);
    assert_int_equal(x->done_status, 200);
    assert_int_equal(x->bytes, 300000);
}

/* The first read waits for more (docker_multi_gather), and the rest is read after that time. */
static void test_docker_tail__gathered__arrives_whole(void **state) {
    struct fixture *x = *state;
    docker_multi_gather(x->multi, US_PER_MS / 2);
    get_big(x, UNFRAMED);
    assert_int_equal(x->done_r, 0);
    assert_int_equal(x->bytes, 300000);
}

static void test_docker_tail__refused_pieces__offered_again(void **state) {
    struct fixture *x = *state;
    x->refuse = true;
    get_big(x, UNFRAMED);
    assert_int_equal(x->done_r, 0);
    assert_int_equal(x->bytes, 300000);
    assert_true(x->refused > 4);
}

static void test_docker_tail__cancelled_in_data__no_more_calls(void **state) {
    struct fixture *x = *state;
    x->cancel_in_data = true;
    get_big(x, UNFRAMED);
    assert_int_equal(x->done, 0);
    assert_int_equal(x->pieces, TAIL_FROM_PIECE + 1);
}

static void test_docker_tail__cancelled_in_pause__no_more_calls(void **state) {
    struct fixture *x = *state;
    x->cancel_in_pause = true;
    get_big(x, UNFRAMED);
    assert_int_equal(x->done, 0);
}

static void test_docker_tail__owner_fails__reported(void **state) {
    struct fixture *x = *state;
    x->fail = -ESTALE;
    get_big(x, UNFRAMED);
    assert_int_equal(x->done, 1);
    assert_int_equal(x->done_r, -ESTALE);
    assert_string_equal(x->text, "GET /big: Stale file handle");
}

/* A body with a length has an end of its own, so that a cut is noticed. */
static void test_docker_tail__body_with_length__curl_reads_it(void **state) {
    struct fixture *x = *state;
    get_big(x, "GET /big size=300000 cut=100000");
    assert_int_equal(x->done_r, -ENOTCONN);
    assert_int_equal(x->bytes, 100000);
}

/* ---- memory ---- */

static int count_open(void *ctx, const char *data, size_t len) {
    struct fixture *x = ctx;
    (void)data;
    (void)len;
    x->open++;
    return 0;
}

static const struct docker_get_ops kept_open = {
    .unframed = true, .on_data = count_open, .on_done = on_done};

static void look(void *arg) {
    struct fixture *x = arg;
    if (x->open == STREAMS && curl_bytes - x->bytes_before <= CURL_MAX)
        loop_stop(x->loop);
    else
        loop_timer_at(x->look, clock_now_us() + US_PER_MS);
}

static void test_docker_tail__open_streams__keep_no_memory_of_curl(void **state) {
    struct fixture *x = *state;
    struct docker_get *get;
    fake_rules(&x->fake, "GET /silent every=1 stall body=xxx");
    assert_int_equal(loop_timer_new(x->loop, look, x, &x->look), 0);
    x->bytes_before = curl_bytes;
    for (unsigned i = 0; i < STREAMS; i++)
        assert_int_equal(docker_multi_get(x->multi, "/silent", &kept_open, x, &get), 0);
    loop_timer_at(x->look, clock_now_us() + US_PER_MS);
    run(x);
    assert_int_equal(x->done, 0);
}

/* ---- the tail alone ---- */

static int no_data(void *ctx, const char *data, size_t len) {
    (void)ctx;
    (void)data;
    (void)len;
    fail_msg("data came");
    return 0;
}

static void on_end(void *ctx, int r) {
    struct fixture *x = ctx;
    docker_tail_free(TAKE_PTR(x->tail));
    x->done_r = r;
    loop_stop(x->loop);
}

static void test_docker_tail__reset__reported(void **state) {
    static const struct docker_tail_ops ops = {.data = no_data, .end = on_end};
    struct fixture *x = *state;
    struct docker_socks socks;
    int pair[2];
    assert_int_equal(docker_socks_init(&socks, x->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(docker_tail_new(&socks, pair[0], &ops, x, &x->tail), 0);
    assert_int_equal(send(pair[0], "x", 1, 0), 1); /* what the peer has not read when it closes */
    close(pair[0]);
    close(pair[1]);
    run(x);
    assert_int_equal(x->done_r, -ECONNRESET);
    docker_socks_done(&socks);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        T(test_docker_tail__large_body__arrives_whole),
        T(test_docker_tail__gathered__arrives_whole),
        T(test_docker_tail__refused_pieces__offered_again),
        T(test_docker_tail__cancelled_in_data__no_more_calls),
        T(test_docker_tail__cancelled_in_pause__no_more_calls),
        T(test_docker_tail__owner_fails__reported),
        T(test_docker_tail__body_with_length__curl_reads_it),
        T(test_docker_tail__open_streams__keep_no_memory_of_curl),
        T(test_docker_tail__reset__reported),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, count_malloc, count_free, count_realloc, count_strdup,
                         count_calloc);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
