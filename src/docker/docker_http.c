/* SPDX-License-Identifier: MPL-2.0 */
/* One blocking call to dockerd: negotiates the API version, sends the request and parses
 * the answer.
 *
 * The other files of this folder and the modules above use docker_http_do(). It runs on the
 * caller's thread. When dockerd was replaced by another version between two calls, it refuses the
 * version of the request before it does anything; the call is then repeated once, with
 * the new version. */
#include "src/docker/docker_priv.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define AUTO_TRANSFER __attribute__((cleanup(docker_transfer_done)))

/* ---- version ---- */

static int negotiate_version(struct docker *d, const struct call *call, struct err *err) {
    int minor = docker_minor(d);
    if (minor)
        return minor;
    struct docker_request rq = {.method = "GET", .path = "/_ping"};
    AUTO_TRANSFER struct docker_transfer x = {0};
    buf_init(&x.body, DOCKER_ERROR_MAX);
    int status = 0;
    if (docker_transfer_send(&x, d, &rq, 0) < 0)
        return err_oom(err);
    int r = docker_transfer_wait(&x, call, &status, err);
    if (r < 0)
        return r;
    struct curl_header *h = NULL;
    bool named = curl_easy_header(x.easy, "Api-Version", 0, CURLH_HEADER, -1, &h) == CURLHE_OK;
    return docker_minor_take(d, named ? h->value : NULL, err);
}

int docker_http_api_minor(struct docker *d, const struct call *call, struct err *err) {
    struct call mine = call ? *call : (struct call){0};
    if (!mine.deadline_us)
        mine.deadline_us = clock_now_us() + d->timeout_us;
    return negotiate_version(d, &mine, err);
}

/* ---- the call ---- */

static int parse_reply(struct docker_transfer *x, json_t **ret, struct err *err) {
    const char *type = NULL;
    char why[JSON_ERROR_TEXT_LENGTH];
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
    *ret = NULL;
    if (x->body.len == 0 || !type || strncasecmp(type, "application/json", 16) != 0)
        return 0;
    *ret = json_value_parse(buf_text(&x->body), x->body.len, why, sizeof(why));
    if (!*ret)
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's answer to %s %.200s is no valid JSON: %s",
                       x->rq->method, x->rq->path, why);
    return 0;
}

static int take_answer(struct docker_transfer *x, const struct call *call, int *ret_status,
                       json_t **ret_body, struct err *err) {
    int r = docker_transfer_wait(x, call, ret_status, err);
    if (r == -ENOTCONN)
        docker_minor_forget(x->docker);
    return r == 0 && ret_body ? parse_reply(x, ret_body, err) : r;
}

/* Sets *@ret_again when the same request may succeed with another version of the API. */
static int attempt_once(struct docker *d, const struct call *call, const struct docker_request *rq,
                        int *ret_status, json_t **ret_body, bool *ret_again, struct err *err) {
    *ret_again = false;
    int minor = negotiate_version(d, call, err);
    if (minor < 0)
        return minor;
    AUTO_TRANSFER struct docker_transfer x = {0};
    buf_init(&x.body, rq->reply_max ? rq->reply_max : DOCKER_REPLY_MAX);
    if (docker_transfer_send(&x, d, rq, minor) < 0)
        return err_oom(err);
    int r = take_answer(&x, call, ret_status, ret_body, err);
    *ret_again = r < 0 && docker_minor_refused(d, minor, *ret_status, &r, err);
    return r;
}

int docker_http_do(struct docker *d, const struct call *call, const struct docker_request *rq,
                   int *ret_status, json_t **ret_body, struct err *err) {
    struct call mine = call ? *call : (struct call){0};
    if (!mine.deadline_us && !rq->on_data)
        mine.deadline_us = clock_now_us() + d->timeout_us;
    struct err failed = {0};
    uint64_t start_us = clock_now_us();
    int status = 0;
    bool again;
    int r = attempt_once(d, &mine, rq, &status, ret_body, &again, &failed);
    if (again) { /* the request was refused before dockerd did anything */
        err_clear(&failed);
        r = attempt_once(d, &mine, rq, &status, ret_body, &again, &failed);
    }
    docker_count_end(&d->counts, rq->method, rq->path, r, status, clock_now_us() - start_us);
    if (ret_status)
        *ret_status = status;
    if (r < 0)
        err_set(err, failed.cls, -r, "%s", failed.text);
    return r;
}

int docker_http_get_json(struct docker *d, const struct call *call, const char *path, json_t **ret,
                         struct err *err) {
    struct docker_request rq = {.method = "GET", .path = path};
    json_t *j = NULL;
    int r = docker_http_do(d, call, &rq, NULL, &j, err);
    if (r < 0)
        return r;
    if (!json_is_object(j) && !json_is_array(j)) {
        json_decref(j);
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's answer to GET %.200s is no JSON object",
                       path);
    }
    *ret = j;
    return 0;
}

/* ---- a call in two steps ---- */

struct docker_begun {
    char *path;
    int minor; /* of the API */
    uint64_t start_us;
    struct docker_request rq;
    struct docker_transfer transfer;
};

void docker_http_begun_free(struct docker_begun *b) {
    if (!b)
        return;
    docker_transfer_done(&b->transfer);
    free(b->path);
    free(b);
}

struct docker_begun *docker_http_begin(struct docker *d, const char *method, const char *path) {
    int minor = docker_minor(d), running;
    struct docker_begun *b = minor ? calloc(1, sizeof(*b)) : NULL;
    if (!b)
        return NULL;
    buf_init(&b->transfer.body, DOCKER_REPLY_MAX);
    b->path = strdup(path);
    b->minor = minor;
    b->start_us = clock_now_us();
    b->rq = (struct docker_request){.method = method, .path = b->path};
    if (b->path && docker_transfer_send(&b->transfer, d, &b->rq, minor) == 0 &&
        curl_multi_perform(b->transfer.multi, &running) == CURLM_OK)
        return b;
    docker_http_begun_free(b);
    return NULL;
}

int docker_http_end(struct docker_begun *b, const struct call *call, json_t **ret_body,
                    struct err *err) {
    struct err failed = {0};
    int status = 0;
    struct docker *d = b->transfer.docker;
    int r = take_answer(&b->transfer, call, &status, ret_body, &failed);
    docker_count_end(&d->counts, b->rq.method, b->path, r, status, clock_now_us() - b->start_us);
    if (r < 0 && docker_minor_refused(d, b->minor, status, &r, &failed)) {
        err_clear(&failed);
        r = docker_http_do(d, call, &b->rq, NULL, ret_body, &failed);
    }
    if (r < 0)
        err_set(err, failed.cls, -r, "%s", failed.text);
    docker_http_begun_free(b);
    return r;
}

char *docker_http_escape(const char *text) {
    static const char hex[] = "0123456789ABCDEF";
    char *out = malloc(strlen(text) * 3 + 1);
    if (!out)
        return NULL;
    char *at = out;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    *at = '\0';
    return out;
}
