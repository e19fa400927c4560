/* SPDX-License-Identifier: MPL-2.0 */
/* One request and its answer, by curl. docker_http.c calls it.
 *
 * Each request has its own easy handle, in a multi handle that keeps one connection. Up to
 * DOCKER_IDLE_MAX multi handles are kept for later calls, so memory and fds do not grow with the
 * number of calls. curl_multi_poll waits for the connection, the deadline and the cancel at the
 * same time. When dockerd has closed a kept connection, curl notices it and sends the request again
 * on a new one. */
#include "src/docker/docker_priv.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- a transfer's settings ---- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a) {
    (void)ctx;
    (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static int set_tls(const struct docker *d, CURL *easy) {
    CURLcode c = CURLE_OK;
    if (d->cert)
        c |= curl_easy_setopt(easy, CURLOPT_SSLCERT, d->cert);
    if (d->key)
        c |= curl_easy_setopt(easy, CURLOPT_SSLKEY, d->key);
    if (d->ca)
        c |= curl_easy_setopt(easy, CURLOPT_CAINFO, d->ca);
    c |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, d->verify ? 1L : 0L);
    c |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, d->verify ? 2L : 0L);
    return c == CURLE_OK ? 0 : -ENOMEM;
}

int docker_transfer_prepare(struct docker *d, CURL *easy, int minor, const char *path) {
    AUTO_FREE char *url = NULL;
    int n = minor ? asprintf(&url, "%s/v1.%d%s", d->base, minor, path)
                  : asprintf(&url, "%s%s", d->base, path);
    if (n < 0) {
        url = NULL;
        return -ENOMEM;
    }
    CURLcode c = curl_easy_setopt(easy, CURLOPT_URL, url);
    if (d->socket_path)
        c |= curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, d->socket_path);
    c |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    c |= curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* http_proxy does not apply to dockerd */
    c |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    c |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    c |= curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    c |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "paddock/" PADDOCK_VERSION);
    c |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, DOCKER_RECEIVE_BYTES);
    c |= curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, DOCKER_RECEIVE_BYTES);
    c |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    c |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    if (c != CURLE_OK)
        return -ENOMEM;
    return d->tls ? set_tls(d, easy) : 0;
}

/* ---- running a request ---- */

/* Returns until when to wait for the next byte: the earlier one of deadline and idle limit. 0 =
 * no limit. */
static uint64_t wait_until(const struct call *call, const uint64_t *last_us, uint64_t idle_us) {
    uint64_t at = call->deadline_us;
    if (last_us && idle_us && (!at || *last_us + idle_us < at))
        at = *last_us + idle_us;
    return at;
}

static int run_added(CURLM *multi, const struct call *call, const uint64_t *last_us,
                     uint64_t idle_us, CURLcode *ret_code) {
    struct curl_waitfd cancel = {.fd = call->cancel ? call->cancel->fd : -1,
                                 .events = CURL_WAIT_POLLIN};
    unsigned extra = cancel.fd >= 0 ? 1 : 0;
    for (;;) {
        int running, left;
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return -ENOMEM;
        CURLMsg *msg = curl_multi_info_read(multi, &left);
        if (msg && msg->msg == CURLMSG_DONE) {
            *ret_code = msg->data.result;
            return 0;
        }
        int ms = call_ms_until(wait_until(call, last_us, idle_us));
        if (ms == 0)
            return -ETIMEDOUT;
        cancel.revents = 0;
        if (curl_multi_poll(multi, &cancel, extra, ms < 0 ? 60000 : ms, NULL) != CURLM_OK)
            return -ENOMEM;
        if (cancel.revents)
            return -ECANCELED;
    }
}

int docker_transfer_run(CURLM *multi, CURL *easy, const struct call *call, const uint64_t *last_us,
                        uint64_t idle_us, CURLcode *ret_code) {
    if (cancel_fired(call->cancel))
        return -ECANCELED;
    if (curl_multi_add_handle(multi, easy) != CURLM_OK)
        return -ENOMEM;
    return run_added(multi, call, last_us, idle_us, ret_code);
}

static CURLM *take_multi(struct docker *d) {
    CURLM *multi = NULL;
    pthread_mutex_lock(&d->lock);
    if (d->idle_count > 0)
        multi = d->idle[--d->idle_count];
    pthread_mutex_unlock(&d->lock);
    if (multi)
        return multi;
    multi = curl_multi_init();
    if (multi)
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 1L);
    return multi;
}

static void give_multi(struct docker *d, CURLM *multi) {
    pthread_mutex_lock(&d->lock);
    if (d->idle_count < DOCKER_IDLE_MAX) {
        d->idle[d->idle_count++] = multi;
        multi = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    if (multi)
        curl_multi_cleanup(multi);
}

/* ---- one request ---- */

void docker_transfer_done(struct docker_transfer *x) {
    if (x->multi) {
        /* Before the end of the answer this closes the connection. */
        curl_multi_remove_handle(x->multi, x->easy);
        give_multi(x->docker, x->multi);
    }
    curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->headers);
    free(x->body_text);
    buf_done(&x->body);
}

static size_t on_body(char *data, size_t one, size_t len, void *arg) {
    struct docker_transfer *x = arg;
    (void)one;
    long status = 0;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    x->last_us = clock_now_us();
    bool success = status >= 200 && status <= 299;
    if (success && x->rq->on_data) {
        x->r = x->rq->on_data(x->rq->ctx, data, len);
        return x->r < 0 ? CURL_WRITEFUNC_ERROR : len;
    }
    size_t limit = x->body.limit < DOCKER_ERROR_MAX ? x->body.limit : DOCKER_ERROR_MAX;
    x->cut = !success && x->body.len + len > limit;
    if (x->cut)
        return CURL_WRITEFUNC_ERROR; /* the received part is enough to report the error */
    x->r = buf_append(&x->body, data, len);
    return x->r < 0 ? CURL_WRITEFUNC_ERROR : len;
}

static size_t on_upload(char *out, size_t one, size_t size, void *arg) {
    struct docker_transfer *x = arg;
    ssize_t n;
    do
        n = read(x->rq->upload_fd, out, one * size);
    while (n < 0 && errno == EINTR);
    x->last_us = clock_now_us();
    if (n >= 0)
        return (size_t)n;
    x->r = -errno;
    return CURL_READFUNC_ABORT;
}

static int on_rewind(void *arg, curl_off_t offset, int origin) {
    struct docker_transfer *x = arg;
    return lseek(x->rq->upload_fd, (off_t)offset, origin) < 0 ? CURL_SEEKFUNC_CANTSEEK
                                                              : CURL_SEEKFUNC_OK;
}

static int add_header(struct docker_transfer *x, const char *line) {
    struct curl_slist *more = curl_slist_append(x->headers, line);
    if (!more)
        return -ENOMEM;
    x->headers = more;
    return 0;
}

static CURLcode set_upload(struct docker_transfer *x) {
    struct stat st;
    CURLcode c = curl_easy_setopt(x->easy, CURLOPT_UPLOAD, 1L);
    c |= curl_easy_setopt(x->easy, CURLOPT_READFUNCTION, on_upload);
    c |= curl_easy_setopt(x->easy, CURLOPT_READDATA, x);
    c |= curl_easy_setopt(x->easy, CURLOPT_SEEKFUNCTION, on_rewind);
    c |= curl_easy_setopt(x->easy, CURLOPT_SEEKDATA, x);
    if (fstat(x->rq->upload_fd, &st) == 0 && S_ISREG(st.st_mode))
        c |= curl_easy_setopt(x->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)st.st_size);
    return c;
}

static int set_body(struct docker_transfer *x) {
    const struct docker_request *rq = x->rq;
    const char *type = "Content-Type:"; /* without a body: no header, where curl sends "form" */
    CURLcode c = CURLE_OK;
    if (rq->upload_fd > 0) {
        type = "Content-Type: application/x-tar";
        c = set_upload(x);
    } else if (rq->body || strcmp(rq->method, "POST") == 0) {
        if (rq->body) {
            type = "Content-Type: application/json";
            x->body_text = json_dumps(rq->body, JSON_COMPACT | JSON_ENCODE_ANY);
            if (!x->body_text)
                return -ENOMEM;
        }
        const char *text = x->body_text ? x->body_text : "";
        c = curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, text);
        c |= curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
    }
    if (strcmp(rq->method, "GET") != 0 || rq->body)
        c |= curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, rq->method);
    if (c != CURLE_OK)
        return -ENOMEM;
    return add_header(x, type);
}

static int set_request(struct docker_transfer *x, int minor) {
    x->easy = curl_easy_init();
    if (!x->easy)
        return -ENOMEM;
    int r = docker_transfer_prepare(x->docker, x->easy, minor, x->rq->path);
    if (r == 0)
        r = set_body(x);
    if (r == 0)
        r = add_header(x, "Expect:");
    for (const char *const *h = x->rq->headers; r == 0 && h && *h; h++)
        r = add_header(x, *h);
    if (r < 0)
        return r;
    CURLcode c = curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
    c |= curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
    c |= curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
    c |= curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->detail);
    return c == CURLE_OK ? 0 : -ENOMEM;
}

int docker_transfer_send(struct docker_transfer *x, struct docker *d,
                         const struct docker_request *rq, int minor) {
    x->docker = d;
    x->rq = rq;
    x->last_us = clock_now_us();
    int r = set_request(x, minor);
    if (r < 0)
        return r;
    CURLM *multi = take_multi(d);
    if (multi && curl_multi_add_handle(multi, x->easy) == CURLM_OK) {
        x->multi = multi;
        return 0;
    }
    if (multi)
        give_multi(d, multi);
    return -ENOMEM;
}

static int result_of(struct docker_transfer *x, CURLcode code, int *ret_status, struct err *err) {
    long status = 0;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    *ret_status = (int)status;
    if (x->r == -EMSGSIZE && !x->rq->on_data)
        return err_set(err, ERR_PLAIN, EMSGSIZE,
                       "Docker's answer to %s %.200s is larger than %zu bytes", x->rq->method,
                       x->rq->path, x->body.limit);
    if (x->r < 0)
        return err_set(err, ERR_PLAIN, -x->r, "%s %.200s: %s", x->rq->method, x->rq->path,
                       strerror(-x->r));
    if (code != CURLE_OK && !x->cut)
        return docker_failure_of_curl(x->docker, x->easy, code, x->detail, err);
    return docker_failure_of_status((int)status, &x->body, x->rq->method, x->rq->path, err);
}

int docker_transfer_wait(struct docker_transfer *x, const struct call *call, int *ret_status,
                         struct err *err) {
    CURLcode code = CURLE_OK;
    int r = cancel_fired(call->cancel)
                ? -ECANCELED
                : run_added(x->multi, call, &x->last_us, x->rq->idle_timeout_us, &code);
    if (r == -ETIMEDOUT)
        return err_set(err, ERR_DEADLINE, ETIMEDOUT, "Docker did not answer %s %.200s in time",
                       x->rq->method, x->rq->path);
    if (r == -ECANCELED)
        return err_set(err, ERR_PLAIN, ECANCELED, "%s %.200s was cancelled", x->rq->method,
                       x->rq->path);
    if (r < 0)
        return err_oom(err);
    return result_of(x, code, ret_status, err);
}
