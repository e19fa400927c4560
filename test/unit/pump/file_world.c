/* SPDX-License-Identifier: MPL-2.0 */
/* One container's log files in a temporary folder, a loop with the reader of these files, and the
 * FIFOs that the reader writes to. The test's thread plays dockerd, which writes and rotates the
 * files, and Nomad, which reads the FIFOs. The tests of pump_file.c use it. */
#include "unit/pump/file_world.h"

#include "paddock/clock.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- The loop's thread ---- */

static void on_drained(void *ctx) {
    struct file_world *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->drained = true;
    pthread_mutex_unlock(&w->lock);
}

static void on_report(void *ctx, const char *text) {
    struct file_world *w = ctx;
    pthread_mutex_lock(&w->lock);
    size_t at = strlen(w->reports);
    snprintf(w->reports + at, sizeof(w->reports) - at, "%s\n", text);
    pthread_mutex_unlock(&w->lock);
}

static void on_room(void *ctx) {
    struct file_world *w = ctx;
    if (w->file)
        pump_file_continue(w->file);
}

static const struct pump_file_ops ops = {.drained = on_drained, .report = on_report};

static void *run_loop(void *loop) {
    return loop_run(loop) < 0 ? loop : NULL;
}

struct errand {
    struct file_world *w;
    void (*what)(struct file_world *w);
    bool done;
};

static void on_errand(void *ctx) {
    struct errand *e = ctx;
    e->what(e->w);
    pthread_mutex_lock(&e->w->lock);
    e->done = true;
    pthread_mutex_unlock(&e->w->lock);
}

void file_world_run(struct file_world *w, void (*what)(struct file_world *w)) {
    struct errand e = {.w = w, .what = what};
    struct timespec moment = {.tv_nsec = 100000};
    assert_int_equal(loop_post(w->loop, on_errand, &e), 0);
    for (bool done = false; !done; nanosleep(&moment, NULL)) {
        pthread_mutex_lock(&w->lock);
        done = e.done;
        pthread_mutex_unlock(&w->lock);
    }
}

static void do_begin(struct file_world *w) {
    struct pump_out *const out[2] = {&w->out[0], &w->out[1]};
    for (int s = 0; s < 2; s++) {
        pump_out_init(&w->out[s], w->loop, &w->record, s, on_room, w);
        assert_int_equal(pump_out_open(&w->out[s]), 0);
    }
    assert_int_equal(pump_file_new(&w->shared, w->dir_fd, FILE_WORLD_LOG, out, &ops, w, &w->file),
                     0);
    pump_file_begin(w->file);
}

/* Like a SIGKILL: bytes that were gathered and not yet written are lost. */
static void do_kill(struct file_world *w) {
    pump_file_free(TAKE_PTR(w->file));
    pump_out_done(&w->out[0]);
    pump_out_done(&w->out[1]);
    pump_record_settle(&w->record);
}

static void do_restart(struct file_world *w) {
    do_kill(w);
    do_begin(w);
}

static void do_finish(struct file_world *w) {
    pump_file_finish(w->file);
}

static void do_status(struct file_world *w) {
    pump_file_status(w->file, &w->status);
}

void file_world_begin(struct file_world *w) {
    file_world_run(w, do_begin);
}

void file_world_kill(struct file_world *w) {
    file_world_run(w, do_kill);
}

void file_world_restart(struct file_world *w) {
    file_world_run(w, do_restart);
}

void file_world_finish(struct file_world *w) {
    file_world_run(w, do_finish);
}

struct pump_file_status file_world_status(struct file_world *w) {
    file_world_run(w, do_status);
    return w->status;
}

/* ---- Setup and teardown ---- */

void file_world_new_log(struct file_world *w) {
    fd_close(w->log_fd);
    w->log_fd = openat(w->dir_fd, FILE_WORLD_LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(w->log_fd >= 0);
}

int file_world_setup(void **state) {
    struct file_world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/paddock-file-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->log_fd = -EBADF;
    w->clock_ns = INT64_C(1700000000123456789);
    pthread_mutex_init(&w->lock, NULL);
    for (int s = 0; s < 2; s++) {
        snprintf(w->record.path[s], sizeof(w->record.path[s]), "%s/fifo%d", w->dir, s);
        assert_int_equal(mkfifo(w->record.path[s], 0600), 0);
        w->fifo[s] = open(w->record.path[s], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        buf_init(&w->got[s], 64 << 20);
        buf_init(&w->want[s], 64 << 20);
    }
    file_world_new_log(w);
    assert_int_equal(loop_new(&w->loop), 0);
    assert_int_equal(pump_files_init(&w->shared, w->loop, FILE_WORLD_BACKLOG), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, run_loop, w->loop), 0);
    *state = w;
    return 0;
}

int file_world_teardown(void **state) {
    struct file_world *w = *state;
    void *failed;
    loop_stop(w->loop);
    pthread_join(w->thread, &failed);
    assert_null(failed);
    do_kill(w);
    pump_files_done(&w->shared);
    loop_free(w->loop);
    for (int s = 0; s < 2; s++) {
        buf_done(&w->got[s]);
        buf_done(&w->want[s]);
        close(w->fifo[s]);
    }
    fd_close(w->log_fd);
    close(w->dir_fd);
    assert_int_equal(tmp_dir_remove(w->dir), 0);
    free(w);
    return 0;
}

/* ---- dockerd ---- */

void file_world_put(const struct file_world *w, const char *text, size_t len) {
    assert_int_equal(write(w->log_fd, text, len), len);
}

void file_world_record(struct file_world *w, int s, const char *text, size_t len) {
    struct buf b;
    char time[32];
    time_t sec = (time_t)(w->clock_ns / 1000000000);
    struct tm tm;
    gmtime_r(&sec, &tm);
    strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &tm);
    bool line = len > 0 && text[len - 1] == '\n';
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_printf(&b,
                                "{\"log\":\"%.*s%s\",\"stream\":\"std%s\",\"time\":\"%s.%09dZ\"}\n",
                                (int)(len - line), text, line ? "\\n" : "", s ? "err" : "out", time,
                                (int)(w->clock_ns % 1000000000)),
                     0);
    w->clock_ns += 1000;
    file_world_put(w, b.data, b.len);
    buf_done(&b);
}

void file_world_print(struct file_world *w, int s, const char *text) {
    file_world_record(w, s, text, strlen(text));
    assert_int_equal(buf_puts(&w->want[s], text), 0);
}

void file_world_rotate(struct file_world *w, unsigned files) {
    for (unsigned k = files - 1; k > 0; k--) {
        char from[32], to[32];
        snprintf(to, sizeof(to), FILE_WORLD_LOG ".%u", k);
        snprintf(from, sizeof(from), k > 1 ? FILE_WORLD_LOG ".%u" : FILE_WORLD_LOG, k - 1);
        unlinkat(w->dir_fd, to, 0);
        renameat(w->dir_fd, from, w->dir_fd, to);
    }
    file_world_new_log(w);
}

/* ---- Nomad ---- */

void file_world_read(struct file_world *w, int s, size_t max) {
    char bytes[65536];
    ssize_t n = read(w->fifo[s], bytes, max < sizeof(bytes) ? max : sizeof(bytes));
    if (n > 0)
        assert_int_equal(buf_append(&w->got[s], bytes, (size_t)n), 0);
}

static bool has(struct file_world *w, const char *report) {
    pthread_mutex_lock(&w->lock);
    bool found = strstr(w->reports, report) != NULL;
    pthread_mutex_unlock(&w->lock);
    return found;
}

static bool is_drained(struct file_world *w) {
    pthread_mutex_lock(&w->lock);
    bool drained = w->drained;
    pthread_mutex_unlock(&w->lock);
    return drained;
}

void file_world_expect(struct file_world *w) {
    uint64_t until = clock_now_us() + FILE_WORLD_WAIT_US;
    for (;;) {
        bool all = true;
        for (int s = 0; s < 2; s++) {
            all = all && w->got[s].len >= w->want[s].len;
            file_world_read(w, s, SIZE_MAX);
        }
        if (all || clock_now_us() > until)
            break;
        struct pollfd p[] = {{.fd = w->fifo[0], .events = POLLIN},
                             {.fd = w->fifo[1], .events = POLLIN}};
        poll(p, 2, 100);
    }
    for (int s = 0; s < 2; s++) {
        size_t n = 0, len = w->got[s].len < w->want[s].len ? w->got[s].len : w->want[s].len;
        while (n < len && w->got[s].data[n] == w->want[s].data[n])
            n++;
        if (n < w->want[s].len || n < w->got[s].len)
            fail_msg(
                "stream %d: %zu bytes of %zu, different from %zu on: \"%.30s\" not \"%.30s\"; %s",
                s, w->got[s].len, w->want[s].len, n, buf_text(&w->got[s]) + n,
                buf_text(&w->want[s]) + n, w->reports);
    }
}

void file_world_expect_drained(struct file_world *w) {
    uint64_t until = clock_now_us() + FILE_WORLD_WAIT_US;
    file_world_expect(w);
    while (!is_drained(w) && clock_now_us() < until)
        file_world_status(w);
    assert_true(is_drained(w));
}

void file_world_expect_lag(struct file_world *w, uint64_t bytes) {
    uint64_t until = clock_now_us() + FILE_WORLD_WAIT_US;
    while (file_world_status(w).lag_bytes < bytes && clock_now_us() < until)
        ;
    assert_true(w->status.lag_bytes >= bytes);
}

void file_world_expect_quiet(void) {
    uint64_t until = clock_now_us() + FILE_WORLD_WAIT_US;
    for (unsigned watches = 0; watches < 2 && clock_now_us() < until;) {
        glob_t found;
        watches = 0;
        assert_int_equal(glob("/proc/self/fdinfo/*", 0, NULL, &found), 0);
        for (size_t i = 0; i < found.gl_pathc; i++) {
            char line[256];
            FILE *f = fopen(found.gl_pathv[i], "re");
            while (f && fgets(line, sizeof(line), f))
                watches += strncmp(line, "inotify wd:", 11) == 0;
            if (f)
                fclose(f);
        }
        globfree(&found);
    }
    assert_true(clock_now_us() < until);
}

void file_world_expect_report(struct file_world *w, const char *text) {
    uint64_t until = clock_now_us() + FILE_WORLD_WAIT_US;
    while (!has(w, text) && clock_now_us() < until)
        file_world_status(w);
    if (!has(w, text))
        fail_msg("no report of \"%s\" in \"%s\"", text, w->reports);
}

void file_world_print_much(struct file_world *w, int s, size_t bytes) {
    char line[101];
    memset(line, 'a', 100);
    line[99] = '\n';
    line[100] = '\0';
    for (size_t n = 0; n < bytes; n += 100) {
        snprintf(line, 16, "%014zu", n);
        line[14] = ' ';
        file_world_print(w, s, line);
    }
}
