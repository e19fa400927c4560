/* SPDX-License-Identifier: MPL-2.0 */
/* Runs streams on an event loop. curl's sockets are watches of the loop, and its timeouts are
 * one timer.
 *
 * curl must not be called from within its own callbacks, and our callers' callbacks run there
 * (on_data). So opening, resuming, handing over and cancelling from a callback are only noted. The
 * kick timer does them later. */
#include "paddock/docker_multi.h"
#include "src/docker/docker_priv.h"
#include "src/docker/docker_tail.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define PING_TIMEOUT_MS 10000L

struct docker_multi {
    struct docker *docker;
    CURLM *curl;
    struct loop_timer *timer; /* curl's */
    struct loop_timer *kick;
    struct docker_socks socks;
    struct docker_get *first;
    struct docker_get *fed; /* got data since its last on_pause */
    bool in_curl;
};

enum get_state {
    GET_NEW,  /* waits for the kick timer */
    GET_PING, /* the version is not known yet */
    GET_OPEN,
};

struct docker_get {
    struct docker_multi *multi;
    struct docker_get *prev, *next;
    const struct docker_get_ops *ops;
    void *ctx;
    char *path;
    bool post;
    CURL *easy;               /* NULL in GET_NEW, and with a tail */
    struct docker_tail *tail; /* reads the body instead of curl */
    curl_socket_t fd;         /* curl's, while it reads from it */
    int status;               /* of the answer; valid with a tail */
    enum get_state state;
    bool dead;   /* cancelled from a callback */
    bool hand;   /* curl has read the head, and a tail can read the rest */
    bool resume; /* docker_multi_get_resume() was called */
    bool opened; /* on_open was called */
    int minor;   /* of the API, in this request */
    uint64_t start_us;
    bool negotiated; /* negotiated again after a refused version, which is done once */
    int r;           /* the error of on_data that ended the stream */
    struct buf error_body;
    char detail[CURL_ERROR_SIZE];
};

static void timer_now(struct docker_multi *m) {
    loop_timer_at(m->kick, clock_now_us());
}

/* ---- one stream: start and end ---- */

static void drop_easy(struct docker_get *g) {
    if (!g->easy)
        return;
    curl_multi_remove_handle(g->multi->curl, g->easy);
    curl_easy_cleanup(g->easy);
    g->easy = NULL;
}

static void get_free(struct docker_get *g) {
    if (g->multi->fed == g)
        g->multi->fed = NULL;
    drop_easy(g);
    docker_tail_free(g->tail);
    if (g->prev)
        g->prev->next = g->next;
    else if (g->multi->first == g)
        g->multi->first = g->next;
    if (g->next)
        g->next->prev = g->prev;
    buf_done(&g->error_body);
    free(g->path);
    free(g);
}

/* From on_done the owner may open another stream or cancel others. It must not use this stream
 * any more. */
static void get_finish(struct docker_get *g, int r, int status, const struct err *err) {
    struct docker_counts *counts = &g->multi->docker->counts;
    drop_easy(g);
    docker_tail_free(TAKE_PTR(g->tail));
    if (g->post)
        docker_count_end(counts, "POST", g->path, r, status, clock_now_us() - g->start_us);
    bool tell = !g->dead;
    g->dead = true; /* docker_multi_get_cancel() from on_done does nothing */
    if (tell)
        g->ops->on_done(g->ctx, r, status, err);
    get_free(g);
}

static void get_status(struct docker_get *g, int *ret_status) {
    long status = g->status;
    if (g->easy)
        curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &status);
    *ret_status = (int)status;
}

static void report_open(struct docker_get *g, int status) {
    if (g->opened || g->state != GET_OPEN)
        return;
    g->opened = true;
    g->hand = g->ops->unframed && docker_has_socket(g->multi->docker);
    if (g->hand)
        timer_now(g->multi);
    if (g->ops->on_open)
        g->ops->on_open(g->ctx, status);
}

/* The blank line ends the head. Each 1xx answer has a head of its own. */
static size_t on_header(char *data, size_t one, size_t len, void *arg) {
    struct docker_get *g = arg;
    (void)one;
    int status;
    get_status(g, &status);
    if (len <= 2 && data[0] == '\r' && status >= 200 && status <= 299 && !g->dead)
        report_open(g, status);
    return g->dead ? 0 : len;
}

static void report_pause(struct docker_multi *m) {
    struct docker_get *g = TAKE_PTR(m->fed);
    if (g && !g->dead && g->ops->on_pause)
        g->ops->on_pause(g->ctx);
}

/* Gives a piece of the body to the owner. Returns as on_data does. */
static int give_data(struct docker_get *g, const char *data, size_t len) {
    if (g->multi->fed != g) /* the data before was another stream's */
        report_pause(g->multi);
    g->multi->fed = g;
    int r = g->ops->on_data ? g->ops->on_data(g->ctx, data, len) : 0;
    g->r = r < 0 ? r : 0;
    return g->dead ? -ECANCELED : r;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg) {
    struct docker_get *g = arg;
    (void)one;
    int status;
    get_status(g, &status);
    if (g->dead)
        return CURL_WRITEFUNC_ERROR;
    if (g->state == GET_PING || status < 200 || status > 299) {
        /* The part that does not fit is not needed to report the error. */
        int r = buf_append(&g->error_body, data, len);
        return r == -ENOMEM ? CURL_WRITEFUNC_ERROR : len;
    }
    int r = give_data(g, data, len);
    if (r != DOCKER_GET_PAUSE)
        return r < 0 ? CURL_WRITEFUNC_ERROR : len;
    g->hand = false; /* curl keeps the piece, so it keeps the stream, too */
    return CURL_WRITEFUNC_PAUSE;
}

static int start_easy(struct docker_get *g, int minor) {
    struct docker_multi *m = g->multi;
    g->easy = curl_easy_init();
    if (!g->easy)
        return -ENOMEM;
    CURL *e = g->easy;
    int r = docker_transfer_prepare(m->docker, e, minor, minor ? g->path : "/_ping");
    CURLcode c = curl_easy_setopt(e, CURLOPT_PRIVATE, (void *)g);
    c |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    c |= curl_easy_setopt(e, CURLOPT_WRITEDATA, g);
    c |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    c |= curl_easy_setopt(e, CURLOPT_HEADERDATA, g);
    c |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, g->detail);
    if (!minor)
        c |= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, PING_TIMEOUT_MS);
    else if (g->post)
        c |= curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, ""); /* sets the method, without a body */
    else if (g->ops->unframed)
        c |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_0);
    if (r < 0 || c != CURLE_OK)
        return -ENOMEM;
    g->state = minor ? GET_OPEN : GET_PING;
    g->minor = minor;
    g->detail[0] = '\0';
    buf_consume(&g->error_body, g->error_body.len);
    m->in_curl = true;
    bool added = curl_multi_add_handle(m->curl, e) == CURLM_OK;
    m->in_curl = false;
    return added ? 0 : -ENOMEM;
}

static void get_start(struct docker_get *g) {
    if (start_easy(g, docker_minor(g->multi->docker)) < 0) {
        struct err err = {0};
        get_finish(g, err_oom(&err), 0, &err);
    }
}

/* Starts again from GET_NEW, after the version was negotiated or dropped. */
static void start_over(struct docker_get *g) {
    drop_easy(g);
    g->state = GET_NEW;
    timer_now(g->multi);
}

static void after_ping(struct docker_get *g, CURLcode code, int status) {
    struct docker *d = g->multi->docker;
    struct err err = {0};
    struct curl_header *h = NULL;
    int r = docker_failure_of_curl(d, g->easy, code, g->detail, &err);
    if (r == 0)
        r = docker_failure_of_status(status, &g->error_body, "GET", "/_ping", &err);
    if (r == 0) {
        bool named = curl_easy_header(g->easy, "Api-Version", 0, CURLH_HEADER, -1, &h) == CURLHE_OK;
        r = docker_minor_take(d, named ? h->value : NULL, &err);
    }
    if (r < 0)
        get_finish(g, r, status, &err);
    else
        start_over(g);
}

static const char *method_of(const struct docker_get *g) {
    return g->post ? "POST" : "GET";
}

static void after_transfer(struct docker_get *g, CURLcode code) {
    struct docker *d = g->multi->docker;
    struct err err = {0};
    int status, r = g->r;
    get_status(g, &status);
    if (g->dead) {
        get_free(g);
        return;
    }
    if (g->state == GET_PING) {
        after_ping(g, code, status);
        return;
    }
    if (r < 0)
        err_set(&err, ERR_PLAIN, -r, "%s %.200s: %s", method_of(g), g->path, strerror(-r));
    else if ((r = docker_failure_of_curl(d, g->easy, code, g->detail, &err)) == 0)
        r = docker_failure_of_status(status, &g->error_body, method_of(g), g->path, &err);
    if (r == -ENOTCONN)
        docker_minor_forget(d);
    if (r < 0 && docker_minor_refused(d, g->minor, status, &r, &err) && !g->negotiated) {
        g->negotiated = true;
        start_over(g);
        return;
    }
    get_finish(g, r, status, r < 0 ? &err : NULL);
}

/* ---- curl on the loop ---- */

/* Reports the streams that have ended. Each curl message is searched for again, because a callback
 * may have ended other streams. */
static void finish_ended(struct docker_multi *m) {
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(m->curl, &left))) {
        CURLcode code = msg->data.result;
        char *private = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        after_transfer((struct docker_get *)(void *)private, code);
    }
}

static void socket_act(struct docker_multi *m, curl_socket_t fd, int events) {
    int running;
    m->in_curl = true;
    curl_multi_socket_action(m->curl, fd, events, &running);
    m->in_curl = false;
    report_pause(m);
    finish_ended(m);
}

static void on_socket_ready(void *arg, int fd, uint32_t events) {
    socket_act(arg, fd,
               (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events & EPOLLERR ? CURL_CSELECT_ERR : 0));
}

static int sock_set(struct docker_multi *m, curl_socket_t fd, struct docker_sock *s,
                    uint32_t events) {
    if (s && events && docker_sock_set(s, events) == 0)
        return 0;
    if (s) {
        docker_sock_free(s);
        curl_multi_assign(m->curl, fd, NULL);
    }
    if (!events)
        return 0; /* paused: epoll would report a hang-up again and again */
    if (docker_sock_new(&m->socks, fd, events, on_socket_ready, m, &s) < 0)
        return -1;
    curl_multi_assign(m->curl, fd, s);
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock) {
    char *private = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    if (private && what != CURL_POLL_REMOVE) /* that may be a kept connection's */
        ((struct docker_get *)(void *)private)->fd = fd;
    uint32_t events = (what == CURL_POLL_IN || what == CURL_POLL_INOUT ? EPOLLIN : 0) |
                      (what == CURL_POLL_OUT || what == CURL_POLL_INOUT ? EPOLLOUT : 0);
    return sock_set(arg, fd, sock, events);
}

static void on_timer(void *arg) {
    socket_act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_set(CURLM *curl, long ms, void *arg) {
    struct docker_multi *m = arg;
    (void)curl;
    loop_timer_at(m->timer, ms < 0 ? 0 : clock_now_us() + (uint64_t)ms * US_PER_MS);
    return 0;
}

/* ---- a body that a tail reads ---- */

static int on_tail_data(void *ctx, const char *data, size_t len) {
    struct docker_get *g = ctx;
    struct docker_multi *m = g->multi;
    m->in_curl = true; /* a cancel is only noted, as in curl's callbacks */
    int r = give_data(g, data, len);
    report_pause(m);
    m->in_curl = false;
    if (r >= 0 && !g->dead)
        return r;
    after_transfer(g, CURLE_WRITE_ERROR);
    return -ECANCELED;
}

static void on_tail_end(void *ctx, int r) {
    after_transfer(ctx, r == 0 ? CURLE_OK : r == -ENOMEM ? CURLE_OUT_OF_MEMORY : CURLE_RECV_ERROR);
}

static const struct docker_tail_ops tail_ops = {.data = on_tail_data, .end = on_tail_end};

static bool has_header(struct docker_get *g, const char *name) {
    struct curl_header *h;
    return curl_easy_header(g->easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK;
}

/* Hands an open stream over to a tail, on a Unix socket: newer versions of curl may read from a TCP
 * socket before they close it. curl has given all that it has read to on_body. When the descriptors
 * are used up, curl goes on. */
static void get_hand_over(struct docker_get *g) {
    g->hand = false;
    if (has_header(g, "Content-Length") || has_header(g, "Transfer-Encoding"))
        return; /* not by Docker itself */
    get_status(g, &g->status);
    if (docker_tail_new(&g->multi->socks, g->fd, &tail_ops, g, &g->tail) == 0)
        drop_easy(g); /* closes curl's descriptor of the connection */
}

/* ---- noted steps ---- */

static void get_resume(struct docker_get *g) {
    struct docker_multi *m = g->multi;
    g->resume = false;
    if (g->tail) {
        docker_tail_resume(g->tail);
        return;
    }
    m->in_curl = true;
    CURLcode c = curl_easy_pause(g->easy, CURLPAUSE_CONT); /* this may call on_body */
    report_pause(m);
    m->in_curl = false;
    if (g->dead)
        return; /* on_kick frees it */
    if (c != CURLE_OK)
        after_transfer(g, c);
}

static struct docker_get *find_noted(struct docker_multi *m) {
    struct docker_get *g = m->first;
    while (g && !g->dead && g->state != GET_NEW && !g->resume && !g->hand)
        g = g->next;
    return g;
}

/* Does the noted steps. Each step may change the list. */
static void on_kick(void *arg) {
    struct docker_multi *m = arg;
    struct docker_get *g;
    while ((g = find_noted(m))) {
        if (g->dead)
            get_free(g);
        else if (g->state == GET_NEW)
            get_start(g);
        else if (g->resume)
            get_resume(g);
        else
            get_hand_over(g);
    }
}

/* ---- the calls ---- */

int docker_multi_new(struct docker *docker, struct loop *loop, struct docker_multi **ret) {
    struct docker_multi *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    *m = (struct docker_multi){.docker = docker, .curl = curl_multi_init()};
    int r = m->curl ? loop_timer_new(loop, on_timer, m, &m->timer) : -ENOMEM;
    if (r == 0)
        r = loop_timer_new(loop, on_kick, m, &m->kick);
    if (r == 0)
        r = docker_socks_init(&m->socks, loop);
    if (r < 0) {
        docker_multi_free(m);
        return r;
    }
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timeout_set);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, 2L); /* kept when unused */
    *ret = m;
    return 0;
}

void docker_multi_free(struct docker_multi *m) {
    if (!m)
        return;
    int keep = errno;
    while (m->first)
        get_free(m->first);
    if (m->curl)
        curl_multi_cleanup(m->curl);
    loop_timer_del(m->timer);
    loop_timer_del(m->kick);
    docker_socks_done(&m->socks);
    free(m);
    errno = keep;
}

void docker_multi_gather(struct docker_multi *m, uint64_t us) {
    m->socks.gather_us = us;
}

static int add_request(struct docker_multi *m, bool post, const char *path,
                       const struct docker_get_ops *ops, void *ctx, struct docker_get **ret) {
    struct docker_get *g = calloc(1, sizeof(*g));
    char *copy = strdup(path);
    if (!g || !copy) {
        free(g);
        free(copy);
        return -ENOMEM;
    }
    *g = (struct docker_get){.multi = m,
                             .ops = ops,
                             .ctx = ctx,
                             .path = copy,
                             .post = post,
                             .start_us = clock_now_us(),
                             .fd = CURL_SOCKET_BAD,
                             .next = m->first};
    buf_init(&g->error_body, DOCKER_ERROR_MAX);
    if (m->first)
        m->first->prev = g;
    m->first = g;
    timer_now(m);
    *ret = g;
    return 0;
}

int docker_multi_get(struct docker_multi *m, const char *path, const struct docker_get_ops *ops,
                     void *ctx, struct docker_get **ret) {
    return add_request(m, false, path, ops, ctx, ret);
}

int docker_multi_post(struct docker_multi *m, const char *path, const struct docker_get_ops *ops,
                      void *ctx, struct docker_get **ret) {
    return add_request(m, true, path, ops, ctx, ret);
}

void docker_multi_get_cancel(struct docker_get *g) {
    if (!g || g->dead)
        return;
    if (g->multi->in_curl) {
        g->dead = true;
        timer_now(g->multi);
    } else {
        get_free(g);
    }
}

void docker_multi_get_resume(struct docker_get *g) {
    if (g->state != GET_OPEN)
        return;
    g->resume = true;
    timer_now(g->multi);
}
