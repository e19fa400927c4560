/* SPDX-License-Identifier: MPL-2.0 */
/* OOM kills are read from memory.events, by the loop or by a check that comes before the loop. */
#include "src/task/oom.h"
#include "unit/pin/tree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define QUIET "low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n"
#define KILLED "low 0\nhigh 0\nmax 14\noom 1\noom_kill 1\noom_group_kill 0\n"

struct fixture {
    struct tree tree;
    struct loop *loop;
    struct oom *oom;
    struct tree_task *a, *b;
    char reported[80];
    unsigned times;
};

static void on_oom(void *ctx, const char *container_id) {
    struct fixture *x = ctx;
    snprintf(x->reported, sizeof(x->reported), "%s", container_id);
    x->times++;
    loop_stop(x->loop);
}

static void put_events(struct fixture *x, const struct tree_task *k, const char *text) {
    char path[512];
    snprintf(path, sizeof(path), "%s/memory.events", k->cgroup);
    tree_put(&x->tree, path, text);
}

static int setup(void **state) {
    static struct fixture fixture; /* a tree is large */
    struct fixture *x = &fixture;
    memset(x, 0, sizeof(*x));
    tree_init(&x->tree);
    x->a = tree_add(&x->tree, "", "0-3");
    x->b = tree_add(&x->tree, "", "0-3");
    put_events(x, x->a, QUIET);
    put_events(x, x->b, QUIET);
    assert_int_equal(loop_new(&x->loop), 0);
    assert_int_equal(
        oom_new(x->loop, x->tree.proc_fd, x->tree.root_fd, x->tree.root, on_oom, x, &x->oom), 0);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    oom_free(x->oom);
    loop_free(x->loop);
    tree_done(&x->tree);
    return 0;
}

static void test_oom__a_kill__reported_by_the_loop(void **state) {
    struct fixture *x = *state;
    oom_watch(x->oom, x->a->pid, x->a->id);
    oom_watch(x->oom, x->b->pid, x->b->id);
    put_events(x, x->b, KILLED);
    assert_int_equal(loop_run(x->loop), 0);
    assert_string_equal(x->reported, x->b->id);
}

static void test_oom__checked_before_the_loop__reported(void **state) {
    struct fixture *x = *state;
    oom_watch(x->oom, x->a->pid, x->a->id);
    put_events(x, x->a, KILLED);
    oom_look(x->oom);
    assert_string_equal(x->reported, x->a->id);
}

static void test_oom__killed_before_it_was_watched__reported(void **state) {
    struct fixture *x = *state;
    put_events(x, x->a, KILLED);
    oom_watch(x->oom, x->a->pid, x->a->id);
    assert_string_equal(x->reported, x->a->id);
}

static void test_oom__reclaimed_at_the_limit__not_reported(void **state) {
    struct fixture *x = *state;
    oom_watch(x->oom, x->a->pid, x->a->id);
    put_events(x, x->a, "low 0\nhigh 0\nmax 99\noom 3\noom_kill 0\noom_group_kill 0\n");
    oom_look(x->oom);
    assert_int_equal(x->times, 0);
}

static unsigned queue_max(void) {
    unsigned max = 0;
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &max), 1);
    fclose(f);
    return max;
}

static int open_events(const struct fixture *x, const struct tree_task *k) {
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s/memory.events", x->tree.root, k->cgroup);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* More changes than the kernel queues. The event of the kill is lost. */
static void test_oom__queue_overflows__reported(void **state) {
    struct fixture *x = *state;
    struct tree_task *quiet = tree_add(&x->tree, "", "0-3");
    put_events(x, quiet, QUIET);
    oom_watch(x->oom, x->a->pid, x->a->id);
    oom_watch(x->oom, x->b->pid, x->b->id);
    oom_watch(x->oom, quiet->pid, quiet->id);
    int fds[] = {open_events(x, x->a), open_events(x, quiet)};
    for (unsigned i = 0, n = queue_max() + 1; i < n;
         i++) /* alternating, because the kernel merges equal events */
        assert_int_equal(pwrite(fds[i % 2], "l", 1, 0), 1);
    put_events(x, x->b, KILLED);
    oom_look(x->oom);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(x->times, 1);
    assert_string_equal(x->reported, x->b->id);
}

static void test_oom__forgotten__not_reported(void **state) {
    struct fixture *x = *state;
    oom_watch(x->oom, x->a->pid, x->a->id);
    oom_forget(x->oom, x->a->id);
    oom_forget(x->oom, x->a->id);
    put_events(x, x->a, KILLED);
    oom_look(x->oom);
    assert_int_equal(x->times, 0);
}

static void test_oom__cannot_be_watched__nothing(void **state) {
    struct fixture *x = *state;
    oom_watch(x->oom, 4000000, x->a->id); /* no such process */
    oom_watch(x->oom, x->a->pid, "another container");
    oom_watch(NULL, x->a->pid, x->a->id); /* cgroup v1 */
    oom_look(NULL);
    oom_forget(NULL, x->a->id);
    put_events(x, x->a, KILLED);
    oom_look(x->oom);
    assert_int_equal(x->times, 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_oom__a_kill__reported_by_the_loop),
        T(test_oom__checked_before_the_loop__reported),
        T(test_oom__killed_before_it_was_watched__reported),
        T(test_oom__reclaimed_at_the_limit__not_reported),
        T(test_oom__queue_overflows__reported),
        T(test_oom__forgotten__not_reported),
        T(test_oom__cannot_be_watched__nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
