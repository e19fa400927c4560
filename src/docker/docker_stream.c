/* SPDX-License-Identifier: MPL-2.0 */
/* The hijacked connection: a connection that carries raw bytes in both directions after
 * the request.
 *
 * docker_exec.c calls it. curl only makes the connection (unix socket or TLS, CONNECT_ONLY). The
 * request is written and the head of its answer is read here, because curl does not support an
 * Upgrade that stays open in both directions. */
#include "src/docker/docker_stream.h"
#include "paddock/clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define HEAD_MAX 16384

struct docker_stream {
    CURLM *multi; /* owns the connection as long as the easy handle is in it */
    CURL *easy;
    bool added;
    int fd;           /* curl's */
    struct buf early; /* bytes that arrived together with the head */
    char detail[CURL_ERROR_SIZE];
};

void docker_stream_free(struct docker_stream *s) {
    if (!s)
        return;
    int keep = errno;
    if (s->added)
        curl_multi_remove_handle(s->multi, s->easy);
    curl_easy_cleanup(s->easy);
    curl_multi_cleanup(s->multi);
    buf_done(&s->early);
    free(s);
    errno = keep;
}

int docker_stream_fd(const struct docker_stream *s) {
    return s->fd;
}

static ssize_t read_raw(struct docker_stream *s, void *out, size_t size) {
    size_t n = 0;
    CURLcode c = curl_easy_recv(s->easy, out, size, &n);
    if (c == CURLE_OK)
        return (ssize_t)n;
    return c == CURLE_AGAIN ? -EAGAIN : -ECONNRESET;
}

ssize_t docker_stream_read(struct docker_stream *s, void *out, size_t size) {
    if (s->early.len == 0)
        return read_raw(s, out, size);
    size_t n = s->early.len < size ? s->early.len : size;
    memcpy(out, s->early.data, n);
    buf_consume(&s->early, n);
    if (s->early.len == 0)
        buf_done(&s->early);
    return (ssize_t)n;
}

ssize_t docker_stream_write(struct docker_stream *s, const void *data, size_t len) {
    size_t n = 0;
    CURLcode c = curl_easy_send(s->easy, data, len, &n);
    if (c == CURLE_OK)
        return (ssize_t)n;
    return c == CURLE_AGAIN ? -EAGAIN : -EPIPE;
}

int docker_stream_close_write(struct docker_stream *s) {
    /* With TLS no close_notify is sent before it. dockerd ends the command's stdin nevertheless. */
    return shutdown(s->fd, SHUT_WR) < 0 ? -errno : 0;
}

/* ---- opening ---- */

static int stream_new(struct docker *d, struct docker_stream **ret) {
    struct docker_stream *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->fd = -EBADF;
    buf_init(&s->early, HEAD_MAX + DOCKER_ERROR_MAX);
    s->multi = curl_multi_init();
    s->easy = curl_easy_init();
    if (!s->multi || !s->easy || docker_transfer_prepare(d, s->easy, 0, "/") < 0 ||
        curl_easy_setopt(s->easy, CURLOPT_CONNECT_ONLY, 1L) != CURLE_OK ||
        curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->detail) != CURLE_OK) {
        docker_stream_free(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

static int wait_failed(int r, const char *path, struct err *err) {
    if (r == -ETIMEDOUT)
        return err_set(err, ERR_DEADLINE, ETIMEDOUT, "Docker did not answer POST %.200s in time",
                       path);
    if (r == -ECANCELED)
        return err_set(err, ERR_PLAIN, ECANCELED, "POST %.200s was cancelled", path);
    return err_set(err, ERR_PLAIN, r == -ENOMEM ? ENOMEM : ENOTCONN,
                   "the connection to Docker was lost during POST %.200s", path);
}

static int connect_it(struct docker *d, const struct call *call, struct docker_stream *s,
                      const char *path, struct err *err) {
    CURLcode code = CURLE_OK;
    s->added = true;
    int r = docker_transfer_run(s->multi, s->easy, call, NULL, 0, &code);
    if (r < 0)
        return wait_failed(r, path, err);
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (code == CURLE_OK)
        code = curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (code != CURLE_OK) {
        docker_minor_forget(d);
        return docker_failure_of_curl(d, s->easy, code, s->detail, err);
    }
    if (fd == CURL_SOCKET_BAD)
        return wait_failed(-ENOTCONN, path, err);
    s->fd = fd;
    return 0;
}

static int write_all(struct docker_stream *s, const struct call *call, const char *data,
                     size_t len) {
    while (len > 0) {
        ssize_t n = docker_stream_write(s, data, len);
        if (n == -EAGAIN) {
            int r = call_wait_fd(call, s->fd, POLLOUT);
            if (r < 0)
                return r;
            continue;
        }
        if (n < 0)
            return (int)n;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads one more piece into s->early. Returns 1; 0 at the end; -errno. */
static int read_more(struct docker_stream *s, const struct call *call) {
    char piece[4096];
    for (;;) {
        ssize_t n = read_raw(s, piece, sizeof(piece));
        if (n == 0)
            return 0;
        if (n > 0) {
            int r = buf_append(&s->early, piece, (size_t)n);
            return r < 0 ? r : 1;
        }
        if (n != -EAGAIN)
            return (int)n;
        int r = call_wait_fd(call, s->fd, POLLIN);
        if (r < 0)
            return r;
    }
}

/* Reads up to the blank line. @ret_head_len: length of the head with that line. */
static int read_head(struct docker_stream *s, const struct call *call, size_t *ret_head_len) {
    for (;;) {
        const char *end = s->early.len ? memmem(s->early.data, s->early.len, "\r\n\r\n", 4) : NULL;
        if (end) {
            *ret_head_len = (size_t)(end - s->early.data) + 4;
            return 0;
        }
        if (s->early.len > HEAD_MAX)
            return -EPROTO;
        int r = read_more(s, call);
        if (r <= 0)
            return r < 0 ? r : -ENOTCONN;
    }
}

/* Returns the value of a header in the NUL-terminated @head, NULL when absent. */
static const char *find_header(const char *head, const char *name) {
    size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1;
    }
    return NULL;
}

/* Handles a refusal. The reason is in the body, whose end is given by Content-Length or by the end
 * of the connection. */
static int read_refusal(struct docker_stream *s, const struct call *call, int status,
                        const char *head, const char *path, struct err *err) {
    const char *text = find_header(head, "Content-Length");
    size_t want = text ? strtoul(text, NULL, 10) : DOCKER_ERROR_MAX;
    if (want > DOCKER_ERROR_MAX)
        want = DOCKER_ERROR_MAX;
    while (s->early.len < want && read_more(s, call) > 0)
        ;
    int r = docker_failure_of_status(status, &s->early, "POST", path, err);
    return r < 0
               ? r
               : err_set(err, ERR_PLAIN, EPROTO, "Docker answered %d to POST %.200s", status, path);
}

static int read_answer(struct docker_stream *s, const struct call *call, const char *path,
                       struct err *err) {
    size_t head_len = 0;
    int r = read_head(s, call, &head_len);
    if (r == -EPROTO)
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's answer to POST %.200s is no HTTP", path);
    if (r < 0)
        return wait_failed(r, path, err);
    AUTO_FREE char *head = strndup(s->early.data, head_len);
    if (!head)
        return err_oom(err);
    buf_consume(&s->early, head_len);
    int status = 0;
    if (strncmp(head, "HTTP/1.", 7) == 0 && strlen(head) > 12)
        status = (int)strtol(head + 9, NULL, 10);
    if (status < 100 || status > 599)
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's answer to POST %.200s is no HTTP", path);
    return status == 101 || status == 200 ? 0 : read_refusal(s, call, status, head, path, err);
}

static int send_request(struct docker *d, struct docker_stream *s, const struct call *call,
                        int minor, const char *path, const char *body, struct err *err) {
    const char *host = strstr(d->base, "://");
    AUTO_FREE char *text = NULL;
    int n = asprintf(&text,
                     "POST /v1.%d%s HTTP/1.1\r\n"
                     "Host: %s\r\n"
                     "User-Agent: paddock/" PADDOCK_VERSION "\r\n"
                     "Content-Type: application/json\r\n"
                     "Connection: Upgrade\r\n"
                     "Upgrade: tcp\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     minor, path, host + 3, strlen(body), body);
    if (n < 0) {
        text = NULL;
        return err_oom(err);
    }
    int r = write_all(s, call, text, (size_t)n);
    return r < 0 ? wait_failed(r, path, err) : 0;
}

int docker_stream_open(struct docker *d, const struct call *call, int minor, const char *path,
                       const char *body, struct docker_stream **ret, struct err *err) {
    struct call mine = call ? *call : (struct call){0};
    if (!mine.deadline_us)
        mine.deadline_us = clock_now_us() + d->timeout_us;
    struct docker_stream *s = NULL;
    if (stream_new(d, &s) < 0)
        return err_oom(err);
    int r = connect_it(d, &mine, s, path, err);
    if (r == 0)
        r = send_request(d, s, &mine, minor, path, body, err);
    if (r == 0)
        r = read_answer(s, &mine, path, err);
    if (r < 0) {
        docker_stream_free(s);
        return r;
    }
    *ret = s;
    return 0;
}
