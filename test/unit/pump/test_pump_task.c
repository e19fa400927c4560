/* SPDX-License-Identifier: MPL-2.0 */
/* A task whose log is read from its file, when another FIFO takes the place of its FIFO.
 * test/fake/test_logpump_begin.c has the same test for the way through the API. */
#include "src/pump/pump_task.h"
#include "unit/cm.h"

#include "paddock/clock.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ID "c0de000000000000000000000000000000000000000000000000000000000001"
#define LINES 200
#define LINE_LEN 1000
#define WAIT_US (30 * US_PER_SEC)
#define LOOK_US (2 * US_PER_MS)

struct world {
    char dir[32];
    int dir_fd, stuck, reader; /* the reading ends: of the first FIFO, then of the second */
    struct pump_task_shared shared;
    struct pump_files files;
    struct pump_task *task;
    struct loop_timer *look;
    uint64_t deadline_us;
    bool replaced, done;
    size_t got;
};

static void on_opened(void *ctx, struct pump_task *t, int r) {
    (void)ctx;
    (void)t;
    assert_int_equal(r, 0);
}

static void on_drained(void *ctx, struct pump_task *t) {
    (void)ctx;
    (void)t;
    fail_msg("drained");
}

static void on_report(void *ctx, struct pump_task *t, const char *text) {
    (void)ctx;
    (void)t;
    fail_msg("%s", text);
}

static const struct pump_task_ops ops = {
    .opened = on_opened, .drained = on_drained, .report = on_report};

static void replace(struct world *w) {
    const char *path = pump_task_record(w->task)->path[0];
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    w->reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(w->reader >= 0);
    /* As the request `carry` does. */
    assert_int_equal(pump_task_reopen(w->task), 0);
    pump_task_begin(w->task);
    w->replaced = true;
}

/* Waits until the FIFO is full, replaces it, then waits for the last line. */
static void on_look(void *arg) {
    struct world *w = arg;
    char data[4096];
    ssize_t n;
    if (!w->replaced && !pump_task_moves(w->task))
        replace(w);
    while (w->replaced && (n = read(w->reader, data, sizeof(data))) > 0) {
        w->got += (size_t)n;
        w->done = w->done || memchr(data, 'E', (size_t)n) != NULL;
    }
    if (w->done || clock_now_us() > w->deadline_us)
        loop_stop(w->shared.loop);
    else
        loop_timer_at(w->look, clock_now_us() + LOOK_US);
}

static void write_log(const struct world *w) {
    AUTO_FD int fd = openat(w->dir_fd, "containers/" ID "/" ID "-json.log",
                            O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    char text[LINE_LEN + 1];
    for (int i = 1; i <= LINES; i++) {
        memset(text, i < LINES ? 'a' : 'E', LINE_LEN);
        text[LINE_LEN] = '\0';
        assert_true(dprintf(fd,
                            "{\"log\":\"%s\\n\",\"stream\":\"stdout\","
                            "\"time\":\"2024-01-02T03:04:05.%09dZ\"}\n",
                            text, i) > 0);
    }
}

static struct pump_record *new_record(const struct world *w) {
    struct pump_record *r;
    bool fresh;
    assert_int_equal(pump_record_open(w->dir_fd, ID, &r, &fresh), 0);
    snprintf(r->task_id, sizeof(r->task_id), "web");
    snprintf(r->container_id, sizeof(r->container_id), ID);
    snprintf(r->log_path, sizeof(r->log_path), "%s/containers/" ID "/" ID "-json.log", w->dir);
    for (int s = 0; s < 2; s++) {
        snprintf(r->path[s], sizeof(r->path[s]), "%s/fifo%d", w->dir, s);
        assert_int_equal(mkfifo(r->path[s], 0600), 0);
    }
    r->magic = PUMP_RECORD_MAGIC;
    return r;
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/paddock-task-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->reader = -EBADF;
    assert_int_equal(mkdirat(w->dir_fd, "containers", 0700), 0);
    assert_int_equal(mkdirat(w->dir_fd, "containers/" ID, 0700), 0);
    write_log(w);
    assert_int_equal(loop_new(&w->shared.loop), 0);
    assert_int_equal(pump_files_init(&w->files, w->shared.loop, UINT64_C(1) << 30), 0);
    w->shared.files = &w->files;
    w->shared.patience_us = WAIT_US;
    assert_int_equal(loop_timer_new(w->shared.loop, on_look, w, &w->look), 0);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    pump_task_free(w->task);
    pump_files_done(&w->files);
    loop_timer_del(w->look);
    loop_free(w->shared.loop);
    fd_close(w->stuck);
    fd_close(w->reader);
    fd_close(w->dir_fd);
    assert_int_equal(tmp_dir_remove(w->dir), 0);
    free(w);
    return 0;
}

/* The record contains the path of the log, so no request to Docker is made. */
static void test_pump_task_reopen__fifo_replaced_while_full__continues(void **state) {
    struct world *w = *state;
    struct pump_record *record = new_record(w);
    w->stuck = open(record->path[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(pump_task_new(&w->shared, record, &ops, w, &w->task), 0);
    pump_task_begin(w->task);
    w->deadline_us = clock_now_us() + WAIT_US;
    loop_timer_at(w->look, clock_now_us());
    assert_int_equal(loop_run(w->shared.loop), 0);
    assert_true(w->replaced);
    assert_true(w->done);
    assert_true(w->got > 0 &&
                w->got < (size_t)LINES * (LINE_LEN + 1)); /* only the rest of the lines */
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pump_task_reopen__fifo_replaced_while_full__continues,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
