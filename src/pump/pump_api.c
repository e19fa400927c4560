/* SPDX-License-Identifier: MPL-2.0 */
/* The reader of one container's output through Docker's API: a log stream, cut into messages.
 *
 * pump_task.c owns the reader and the two FIFOs, and uses it when the log file cannot be read. A
 * lost stream is opened again at the time of the oldest message that is not delivered. log_replay.c
 * finds the messages that were delivered before, and they are skipped. */
#include "src/pump/pump_api.h"

#include "src/pump/log_parser.h"
#include "paddock/buf.h"
#include "paddock/clock.h"
#include "paddock/log.h"

#include "src/pump/log_replay.h"

#include <stdio.h>
#include <string.h>

/* Bytes from Docker that wait for a slow reader. When there are more, the connection is paused. */
#define INBOX_MAX ((size_t)64 << 10)
/* A stream that is opened again begins this long before the oldest message that is not delivered.
 * Two threads of dockerd give stdout and stderr their times, so messages may be a little out of
 * order in the log. Delivered messages are skipped. */
#define NS_PER_SEC INT64_C(1000000000)
#define RESUME_SKEW_NS (2 * NS_PER_SEC)
#define RETRY_FIRST_US (50 * US_PER_MS)
#define RETRY_MAX_US (5 * US_PER_SEC)
/* After `finish`, a stream that is silent for this long is opened again. */
#define FINISH_QUIET_US (2 * US_PER_SEC)
/* At `finish`, a stream that has sent data within this time is read to its own end. */
#define FINISH_BUSY_US (100 * US_PER_MS)

/* stdout or stderr, on this connection. */
struct out {
    struct pump_out *fifo;
    int64_t first_ns; /* no message in the chunk is older */
    int64_t high_ns;  /* no message of this connection is newer */
    int64_t line_ns;  /* not 0: time of the unfinished line; its rest gets the same time */
    struct log_replay replay;
};

struct pump_api {
    struct loop *loop;
    struct docker_multi *http;
    struct pump_record *record;
    struct pump_api_ops ops;
    void *ctx;

    struct docker_get *get;
    struct loop_timer *retry;
    uint64_t backoff_us;
    bool open, paused, opened_reported, finishing, last_pass, ended;
    bool probing; /* the log is read once to see how much of its front is missing */
    bool eof;     /* the stream has ended, but the inbox may still hold some of it */
    int eof_r, eof_status;

    struct log_parser parser;
    struct buf inbox;
    struct out out[2];
    int64_t newest_ns;
    uint64_t heard_us; /* when the last data arrived */
};

static void open_stream(struct pump_api *t);
static void open_log(struct pump_api *t, const uint32_t *missing, bool probing);
static void api_turn(struct pump_api *t);

bool pump_api_is_open(const struct pump_api *t) {
    return t->open;
}

size_t pump_api_waiting(const struct pump_api *t) {
    return t->inbox.len + t->out[0].fifo->len + t->out[1].fifo->len;
}

/* ---- the FIFOs ---- */

void pump_api_continue(struct pump_api *t) {
    api_turn(t);
}

static int64_t top_ns(const struct pump_api *t, int s) {
    return t->record->stream[s].top_sec * NS_PER_SEC;
}

static void note_resume(struct pump_api *t) {
    int64_t oldest = t->newest_ns;
    for (int s = 0; s < 2; s++)
        if (t->out[s].fifo->len > 0 && t->out[s].first_ns < oldest)
            oldest = t->out[s].first_ns;
    for (int s = 0; s < 2; s++)
        if (t->out[s].line_ns && t->out[s].line_ns < oldest)
            oldest = t->out[s].line_ns;
    if (oldest)
        atomic_store(&t->record->resume_ns, oldest);
    /* When the clock has caught up, no message from before it was set back is read again. */
    for (int s = 0; s < 2; s++)
        if (t->record->stream[s].top_sec && oldest - RESUME_SKEW_NS > top_ns(t, s))
            t->record->stream[s].top_sec = 0;
}

/* Writes as much as the FIFO takes. Returns false when the FIFO is full and something is left. */
static bool flush_fifo(struct pump_api *t, int s) {
    struct out *o = &t->out[s];
    bool all = pump_out_flush(o->fifo);
    if (!all && t->record->stream[s].top_sec == 0 &&
        o->first_ns < t->record->stream[s].at.time.time_ns)
        o->first_ns = t->record->stream[s].at.time.time_ns; /* times only rise */
    if (!all && !o->fifo->watch)
        loop_timer_at(t->retry, clock_now_us() + RETRY_FIRST_US); /* out of memory */
    return all;
}

/* ---- messages ---- */

/* Follows the clock. Times only rise within a stream, unless the clock is set back. That is noted
 * before any later message is delivered. */
static void follow_clock(struct pump_api *t, const struct log_piece *p) {
    struct out *o = &t->out[p->channel - 1];
    uint32_t *top = &t->record->stream[p->channel - 1].top_sec;
    bool back = p->time_ns < o->high_ns;
    uint32_t high_sec = (uint32_t)(o->high_ns / NS_PER_SEC + 1);
    if (back && *top < high_sec)
        *top = high_sec;
    if (!back)
        o->high_ns = p->time_ns;
    if (back || p->time_ns > t->newest_ns || p->time_ns < t->newest_ns - RESUME_SKEW_NS)
        t->newest_ns = p->time_ns;
}

static int add_piece(struct pump_api *t, const struct log_piece *p) {
    struct out *o = &t->out[p->channel - 1];
    size_t skip = log_replay_take(&o->replay, p);
    if (t->probing)
        return 0;
    if (log_replay_is_front_lost(&o->replay))
        return -ESTALE;
    follow_clock(t, p);
    if (p->end && p->len > 0)
        o->line_ns = p->data[p->len - 1] == '\n' ? 0 : p->time_ns;
    if (skip == p->len)
        return 0;
    t->backoff_us = RETRY_FIRST_US; /* new output: a lost stream is opened again quickly */
    if (o->fifo->len == 0 || p->time_ns < o->first_ns)
        o->first_ns = p->time_ns;
    struct pump_position after = {.time = log_replay_after(&o->replay, p)};
    return pump_out_add(o->fifo, p->data + skip, p->len - skip, &after);
}

/* Returns the room up to the end of the current block, the smaller one of both streams, because the
 * stream of the next piece is not known yet. */
static size_t room_in_block(const struct pump_api *t) {
    size_t out = pump_out_room(t->out[0].fifo), err = pump_out_room(t->out[1].fifo);
    return out < err ? out : err;
}

/* Makes room by a flush when a chunk is full. Returns true when there is room in both. */
static bool make_room(struct pump_api *t) {
    for (int s = 0; s < 2; s++)
        if (pump_out_room(t->out[s].fifo) == 0 && !flush_fifo(t, s) &&
            pump_out_room(t->out[s].fifo) == 0)
            return false;
    return true;
}

/* Gathers @data, and delivers what is full. Returns 0 when all is taken; -EAGAIN when a FIFO is
 * full; -EPROTO; another -errno. *@ret_taken: number of bytes that were processed. */
static int gather_data(struct pump_api *t, const char *data, size_t len, size_t *ret_taken) {
    size_t taken = 0;
    int r = 0;
    while (taken < len && r == 0) {
        if (!make_room(t)) {
            r = -EAGAIN;
            break;
        }
        struct log_piece piece;
        ssize_t n =
            log_parser_feed(&t->parser, data + taken, len - taken, room_in_block(t), &piece);
        r = n < 0 ? (int)n : piece.channel ? add_piece(t, &piece) : 0;
        if (r == 0)
            taken += (size_t)n;
    }
    *ret_taken = taken;
    return r;
}

/* Delivers what was gathered. Returns true when nothing is left. */
static bool deliver_gathered(struct pump_api *t) {
    bool all = true;
    for (int s = 0; s < 2; s++)
        all = flush_fifo(t, s) && all;
    note_resume(t);
    return all;
}

/* Delivers the inbox, which waited for a slow reader. Releases its memory when it is empty. */
static int deliver_inbox(struct pump_api *t) {
    size_t taken;
    int r = gather_data(t, t->inbox.data, t->inbox.len, &taken);
    buf_consume(&t->inbox, taken);
    if (t->inbox.len == 0)
        buf_done(&t->inbox);
    return !deliver_gathered(t) && r == 0 ? -EAGAIN : r;
}

/* ---- the stream ---- */

static void report_opened(struct pump_api *t, int r) {
    if (!t->opened_reported) {
        t->opened_reported = true;
        t->ops.opened(t->ctx, r);
    }
}

static void end_stream(struct pump_api *t) {
    if (t->ended)
        return;
    t->ended = true;
    report_opened(t, 0);
    t->ops.drained(t->ctx); /* may free t */
}

/* When the stream of a container that has ended is silent, the timer opens it again. */
static void wait_quiet(struct pump_api *t) {
    loop_timer_at(t->retry, clock_now_us() + FINISH_QUIET_US);
}

static void retry_later(struct pump_api *t) {
    loop_timer_at(t->retry, clock_now_us() + t->backoff_us);
    t->backoff_us = t->backoff_us * 2 > RETRY_MAX_US ? RETRY_MAX_US : t->backoff_us * 2;
}

/* Opens the log again after the probe, which found how much of the front is missing. */
static void go_on_after_probe(struct pump_api *t) {
    uint32_t missing[2] = {0};
    for (int s = 0; s < 2; s++)
        if (log_replay_is_front_lost(&t->out[s].replay))
            missing[s] = log_replay_missing(&t->out[s].replay);
    log_debug("logpump", LOG_KV("container_id", t->record->container_id),
              "the log was rotated in the middle of a long line: reading goes on in what is left");
    open_log(t, missing, false);
}

/* The stream has ended, and everything that arrived is delivered. Decides what comes next. */
static void after_eof(struct pump_api *t) {
    int r = t->eof_r, status = t->eof_status;
    t->eof = false;
    bool probed = t->probing && r == 0;
    t->probing = false;
    if (status == 404 || status == 409 || r == -ENOENT) {
        end_stream(t); /* the container was removed: no more output can come */
    } else if (r == -ESTALE) {
        open_log(t, NULL, true);
    } else if (probed) {
        go_on_after_probe(t);
    } else if (r == -ENOSYS) {
        report_opened(t, r);
        end_stream(t);
    } else if (t->finishing && t->last_pass && (r == 0 || r == -EPROTO)) {
        end_stream(t); /* also when damaged (-EPROTO): all that can be read was read */
    } else if (t->finishing && r == 0) {
        open_stream(t); /* immediately and without follow: the last pass */
    } else {
        retry_later(t);
    }
}

/* The stream has ended. Delivers what arrived before after_eof() decides. */
static void stream_ended(struct pump_api *t, int r, int status) {
    t->paused = t->open = false;
    t->eof = true;
    t->eof_r = r;
    t->eof_status = status;
    if (t->inbox.len == 0 && t->out[0].fifo->len == 0 && t->out[1].fifo->len == 0)
        after_eof(t);
    else
        api_turn(t);
}

/* Delivers as much as the FIFOs take, then goes on with the stream. */
static void api_turn(struct pump_api *t) {
    int r = deliver_inbox(t);
    if (r == -EPROTO)
        log_warn("logpump", LOG_KV("container_id", t->record->container_id),
                 "the log stream is damaged, reading it again, retrying");
    if (r == -EPROTO || r == -ESTALE) {
        docker_multi_get_cancel(TAKE_PTR(t->get));
        buf_done(&t->inbox);
        stream_ended(t, r, 0);
    } else if (r == 0 && t->eof) {
        after_eof(t);
    } else if (r == 0 && t->paused) {
        t->paused = false;
        docker_multi_get_resume(t->get);
    }
}

static int on_data(void *ctx, const char *data, size_t len) {
    struct pump_api *t = ctx;
    if (t->inbox.len >= INBOX_MAX) {
        t->paused = true;
        return DOCKER_GET_PAUSE;
    }
    if (t->finishing)
        wait_quiet(t);
    if (t->inbox.len > 0)
        return buf_append(&t->inbox, data, len);
    size_t taken; /* gathered from Docker's buffer, without a copy to the inbox */
    int r = gather_data(t, data, len, &taken);
    return r == -EAGAIN ? buf_append(&t->inbox, data + taken, len - taken) : r;
}

/* Called after all received data was passed to on_data(). Docker sends each line by itself, so
 * on_data() is called for each line. A write per line would be a system call per line and would
 * wake the reader each time. */
static void on_pause(void *ctx) {
    struct pump_api *t = ctx;
    t->heard_us = clock_now_us();
    api_turn(t);
}

static bool is_unreadable(const struct err *err) {
    return strstr(err->text, "does not support reading") || strstr(err->text, "not implemented");
}

static void on_open(void *ctx, int status) {
    struct pump_api *t = ctx;
    (void)status;
    t->open = true;
    report_opened(t, 0);
}

static void on_done(void *ctx, int r, int status, const struct err *err) {
    struct pump_api *t = ctx;
    t->get = NULL; /* the caller releases it */
    stream_ended(t, r < 0 && err && is_unreadable(err) ? -ENOSYS : r, status);
}

/* A stream that follows is opened again however it ended, so a cut stream need not be recognised
 * (unframed). For the last pass, the real end must be known. */
static const struct docker_get_ops follow_ops = {.unframed = true,
                                                 .on_open = on_open,
                                                 .on_data = on_data,
                                                 .on_pause = on_pause,
                                                 .on_done = on_done};
static const struct docker_get_ops last_pass_ops = {
    .on_open = on_open, .on_data = on_data, .on_pause = on_pause, .on_done = on_done};

/* Returns the time from which the log is requested. After the clock was set back, the position of
 * each stream must be in the requested part. */
static int64_t begin_ns(const struct pump_api *t) {
    int64_t begin = atomic_load(&t->record->resume_ns), now = clock_wall_ns();
    if (begin > now)
        begin = now; /* the clock was set back since then */
    for (int s = 0; s < 2; s++) {
        int64_t at = t->record->stream[s].at.time.time_ns;
        if (t->record->stream[s].top_sec && at < begin)
            begin = at;
    }
    return begin - RESUME_SKEW_NS;
}

/* Opens the log. @missing: number of missing messages at the front, for both streams, as a probe
 * found it; NULL: none is known to be missing. @probing: nothing is delivered. */
static void open_log(struct pump_api *t, const uint32_t *missing, bool probing) {
    docker_multi_get_cancel(TAKE_PTR(t->get));
    t->eof = t->paused = t->open = false;
    t->last_pass = t->finishing;
    t->probing = probing;
    log_parser_init(&t->parser, t->record->tty);
    buf_done(&t->inbox);
    int64_t since = begin_ns(t);
    for (int s = 0; s < 2; s++) {
        struct out *o = &t->out[s];
        o->high_ns = 0;
        pump_out_drop(o->fifo);
        log_replay_begin(&o->replay, &t->record->stream[s].at.time, top_ns(t, s),
                         missing ? missing[s] : 0);
    }
    bool follow = !t->last_pass && !probing;
    char path[512];
    int n =
        snprintf(path, sizeof(path), "/containers/%s/logs?stdout=1&stderr=1&timestamps=1&follow=%d",
                 t->record->container_id, follow);
    if (since > 0)
        snprintf(path + n, sizeof(path) - (size_t)n, "&since=%lld.%09lld",
                 (long long)(since / NS_PER_SEC), (long long)(since % NS_PER_SEC));
    if (docker_multi_get(t->http, path, follow ? &follow_ops : &last_pass_ops, t, &t->get) < 0)
        retry_later(t);
    else if (t->finishing)
        wait_quiet(t);
}

static void open_stream(struct pump_api *t) {
    open_log(t, NULL, false);
}

/* Called when it is time to open the stream again. With `finishing`, also when the stream has been
 * silent for long enough. */
static void on_retry(void *arg) {
    struct pump_api *t = arg;
    for (int s = 0; s < 2; s++)
        if (t->out[s].fifo->blocked && !t->out[s].fifo->watch)
            t->out[s].fifo->blocked = false;
    if (t->out[0].fifo->blocked || t->out[1].fifo->blocked || t->eof) {
        if (t->finishing)
            wait_quiet(t);
        api_turn(t); /* the reader of the FIFO is slow, not Docker */
        return;
    }
    if (t->get && t->last_pass) { /* it ends by itself; a new request would start from the front */
        wait_quiet(t);
        return;
    }
    open_stream(t);
}

void pump_api_finish(struct pump_api *t) {
    if (t->finishing)
        return;
    t->finishing = true;
    t->backoff_us = RETRY_FIRST_US;
    /* When dockerd reports the end, all output is in the log, and the end of the follow stream
     * arrives some 10 ms later. After much recent output we wait for that end, because a last pass
     * would read much of it twice. */
    if (t->eof || (t->get && clock_now_us() < t->heard_us + FINISH_BUSY_US))
        wait_quiet(t);
    else
        open_stream(t);
}

/* ---- creation and release ---- */

int pump_api_new(struct loop *loop, struct docker_multi *http, struct pump_out *const out[2],
                 const struct pump_api_ops *ops, void *ctx, struct pump_api **ret) {
    struct pump_api *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    *t = (struct pump_api){.loop = loop,
                           .http = http,
                           .record = out[0]->record,
                           .out = {{.fifo = out[0]}, {.fifo = out[1]}},
                           .ops = *ops,
                           .ctx = ctx,
                           .backoff_us = RETRY_FIRST_US};
    buf_init(&t->inbox, INBOX_MAX * 4);
    t->newest_ns = atomic_load(&t->record->resume_ns);
    int r = loop_timer_new(loop, on_retry, t, &t->retry);
    if (r < 0) {
        pump_api_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void pump_api_begin(struct pump_api *t) {
    /* The last attempt may have come too early, before the container was started. */
    t->backoff_us = RETRY_FIRST_US;
    if (t->get || t->eof || t->finishing)
        return; /* the stream is being opened or read, or its output is not delivered yet */
    loop_timer_at(t->retry, 0);
    open_stream(t);
}

void pump_api_free(struct pump_api *t) {
    if (!t)
        return;
    docker_multi_get_cancel(t->get);
    loop_timer_del(t->retry);
    buf_done(&t->inbox);
    free(t);
}
