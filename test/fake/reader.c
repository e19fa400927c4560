/* SPDX-License-Identifier: MPL-2.0 */
/* The reader of a task's FIFO (reader.h), for the tests of logs. Each is a thread, because the
 * other end must never wait for the test. */
#include "fake/reader.h"

#include "fake/task_world.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reader_take(struct reader *r, const char *data, ssize_t n) {
    pthread_mutex_lock(&r->lock);
    if (n <= 0)
        r->eof = true;
    else if (buf_append(&r->text, data, (size_t)n) < 0)
        abort();
    pthread_mutex_unlock(&r->lock);
}

static bool reader_flag(struct reader *r, const bool *flag) {
    pthread_mutex_lock(&r->lock);
    bool set = *flag;
    pthread_mutex_unlock(&r->lock);
    return set;
}

/* True when the last writer has closed the FIFO, false before the first one has opened it. */
static bool has_hung_up(int fd) {
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

static void *read_fifo(void *arg) {
    struct reader *r = arg;
    char data[65536];
    while (!reader_flag(r, &r->stop) && !reader_flag(r, &r->eof)) {
        if (reader_flag(r, &r->paused)) {
            poll(NULL, 0, 2);
            continue;
        }
        bool ended = has_hung_up(r->fd); /* checked first, so that no data is lost */
        ssize_t n = read(r->fd, data, sizeof(data));
        if (n > 0 || (n == 0 && ended))
            reader_take(r, data, n);
        else
            poll(&(struct pollfd){.fd = r->fd, .events = POLLIN}, 1, 2);
    }
    return NULL;
}

/* Like logmon, it opens the FIFO for reading only, so that it sees the end when the last writer
 * closes. It opens it before anything is written, because that would be lost. */
void reader_start(struct reader *r, const char *path) {
    *r = (struct reader){.runs = true, .lock = PTHREAD_MUTEX_INITIALIZER};
    snprintf(r->path, sizeof(r->path), "%s", path);
    buf_init(&r->text, 1u << 30);
    r->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(r->fd >= 0);
    assert_int_equal(pthread_create(&r->thread, NULL, read_fifo, r), 0);
}

static void reader_set(struct reader *r, bool *flag, bool value) {
    pthread_mutex_lock(&r->lock);
    *flag = value;
    pthread_mutex_unlock(&r->lock);
}

void reader_pause(struct reader *r, bool paused) {
    reader_set(r, &r->paused, paused);
}

struct reader_wait {
    struct reader *r;
    const char *text;
    size_t len;
};

static bool reader_has(void *ctx) {
    struct reader_wait *w = ctx;
    pthread_mutex_lock(&w->r->lock);
    bool has = w->text ? w->r->text.len &&
                             memmem(w->r->text.data, w->r->text.len, w->text, strlen(w->text))
                       : w->r->text.len >= w->len;
    pthread_mutex_unlock(&w->r->lock);
    return has;
}

void reader_until(struct reader *r, const char *text) {
    struct reader_wait w = {.r = r, .text = text};
    world_until(reader_has, &w, text);
}

void reader_until_len(struct reader *r, size_t len) {
    struct reader_wait w = {.r = r, .len = len};
    world_until(reader_has, &w, "enough bytes");
}

static bool reader_at_eof(void *ctx) {
    struct reader *r = ctx;
    return reader_flag(r, &r->eof);
}

void reader_until_eof(struct reader *r) {
    world_until(reader_at_eof, r, "the FIFO's end");
}

char *reader_text(struct reader *r, size_t *ret_len) {
    pthread_mutex_lock(&r->lock);
    char *text = calloc(1, r->text.len + 1);
    if (text && r->text.len)
        memcpy(text, r->text.data, r->text.len);
    if (ret_len)
        *ret_len = r->text.len;
    pthread_mutex_unlock(&r->lock);
    assert_non_null(text);
    return text;
}

void reader_done(struct reader *r) {
    if (!r->runs)
        return;
    reader_set(r, &r->stop, true);
    pthread_join(r->thread, NULL);
    r->fd = fd_close(r->fd);
    buf_done(&r->text);
    r->runs = false;
}
