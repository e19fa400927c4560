/* SPDX-License-Identifier: MPL-2.0 */
/* Runs streams on an event loop. curl's sockets are watches of the loop, and its timeouts are
 * one timer.
 *
 * curl must not be called from within its own callbacks, and our callers' callbacks run there
 * (on_data). So opening, resuming, and cancelling from a callback are only noted. The kick timer
 * does them later. */
#include "paddock/docker_multi.h"
#include "src/docker/docker_priv.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#define PING_TIMEOUT_MS 10000L

struct docker_multi {
    struct docker *docker;
    struct loop *loop;
    CURLM *curl;
    struct loop_timer *timer; /* curl's */
    struct loop_timer *kick;
    struct loop_timer *rest; /* reads the resting sockets again */
    struct sock *resting;
    uint64_t gather_us;
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
    CURL *easy; /* NULL in GET_NEW */
    enum get_state state;
    bool dead;   /* cancelled from a callback */
    bool resume; /* docker_multi_get_resume() was called */
    bool opened; /* on_open was called */
    int minor;   /* of the API, in this request */
    uint64_t start_us;
    bool negotiated; /* negotiated again after a refused version, which is done once */
    int r;           /* the error of on_data that ended the stream */
    struct buf error_body;
    char detail[CURL_ERROR_SIZE];
};

struct sock {
    struct docker_multi *multi;
    curl_socket_t fd;
    struct loop_watch *watch; /* NULL while the socket rests */
    uint32_t events;
    uint64_t read_us; /* time of the last read */
    struct sock *next_resting;
    bool rests;
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
    if (g->post)
        docker_count_end(counts, "POST", g->path, r, status, clock_now_us() - g->start_us);
    bool tell = !g->dead;
    g->dead = true; /* docker_multi_get_cancel() from on_done does nothing */
    if (tell)
        g->ops->on_done(g->ctx, r, status, err);
    get_free(g);
}

static void get_status(struct docker_get *g, int *ret_status) {
    long status = 0;
    curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &status);
    *ret_status = (int)status;
}

static void report_open(struct docker_get *g, int status) {
    if (g->opened || g->state != GET_OPEN)
        return;
    g->opened = true;
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
    if (g->multi->fed != g) /* curl has changed to the socket of another stream */
        report_pause(g->multi);
    g->multi->fed = g;
    int r = g->ops->on_data ? g->ops->on_data(g->ctx, data, len) : 0;
    if (r == DOCKER_GET_PAUSE)
        return CURL_WRITEFUNC_PAUSE;
    g->r = r;
    return r < 0 || g->dead ? CURL_WRITEFUNC_ERROR : len;
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

/* dockerd sends each line of output separately. Reading each line when it arrives costs three
 * system calls per line. A busy socket therefore rests between two reads, and one read gets all
 * lines that have arrived. */
static bool socket_rest(struct sock *s, uint32_t events) {
    struct docker_multi *m = s->multi;
    uint64_t now = clock_now_us();
    int waiting = 0;
    if (!m->gather_us || events != EPOLLIN || now >= s->read_us + m->gather_us ||
        /* enough data for a whole read of curl has arrived */
        ioctl(s->fd, FIONREAD, &waiting) < 0 || waiting >= DOCKER_RECEIVE_BYTES) {
        s->read_us = now;
        return false;
    }
    s->watch = loop_watch_del(s->watch);
    s->rests = true;
    s->next_resting = m->resting;
    m->resting = s;
    loop_timer_at(m->rest, now + m->gather_us); /* one for all: some rest a little longer */
    return true;
}

static void on_socket_ready(void *arg, uint32_t events) {
    struct sock *s = arg; /* may be freed when socket_act() returns */
    if (socket_rest(s, events))
        return;
    socket_act(s->multi, s->fd,
               (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events & EPOLLERR ? CURL_CSELECT_ERR : 0));
}

static void sock_free(struct sock *s) {
    for (struct sock **at = &s->multi->resting; s->rests && *at; at = &(*at)->next_resting) {
        if (*at == s) {
            *at = s->next_resting;
            break;
        }
    }
    loop_watch_del(s->watch);
    free(s);
}

static int sock_watch(struct sock *s) {
    return loop_watch_add(s->multi->loop, s->fd, s->events, on_socket_ready, s, &s->watch);
}

static void on_rested(void *arg) {
    struct docker_multi *m = arg;
    struct sock *s;
    while ((s = m->resting)) {
        m->resting = s->next_resting;
        s->rests = false;
        s->read_us = 0;
        if (sock_watch(s) < 0) { /* out of memory: try again later */
            s->rests = true;
            s->next_resting = m->resting;
            m->resting = s;
            loop_timer_at(m->rest, clock_now_us() + 100 * US_PER_MS);
            return;
        }
    }
}

static int sock_set(struct docker_multi *m, curl_socket_t fd, struct sock *s, uint32_t events) {
    if (s && events) {
        s->events = events;
        if (s->rests || loop_watch_set(s->watch, events) == 0)
            return 0;
    }
    if (s) {
        sock_free(s);
        curl_multi_assign(m->curl, fd, NULL);
    }
    if (!events)
        return 0; /* paused: epoll would report a hang-up again and again */
    s = calloc(1, sizeof(*s));
    if (!s)
        return -1;
    *s = (struct sock){.multi = m, .fd = fd, .events = events};
    if (sock_watch(s) < 0) {
        free(s);
        return -1;
    }
    curl_multi_assign(m->curl, fd, s);
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock) {
    (void)easy;
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

static void get_resume(struct docker_get *g) {
    struct docker_multi *m = g->multi;
    g->resume = false;
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
    while (g && !g->dead && g->state != GET_NEW && !g->resume)
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
        else
            get_resume(g);
    }
}

/* ---- the calls ---- */

int docker_multi_new(struct docker *docker, struct loop *loop, struct docker_multi **ret) {
    struct docker_multi *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    *m = (struct docker_multi){.docker = docker, .loop = loop, .curl = curl_multi_init()};
    int r = m->curl ? loop_timer_new(loop, on_timer, m, &m->timer) : -ENOMEM;
    if (r == 0)
        r = loop_timer_new(loop, on_kick, m, &m->kick);
    if (r == 0)
        r = loop_timer_new(loop, on_rested, m, &m->rest);
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
    loop_timer_del(m->rest);
    free(m);
    errno = keep;
}

void docker_multi_gather(struct docker_multi *m, uint64_t us) {
    m->gather_us = us;
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
