/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The data and functions that the files of the Docker client share. Order of layers inside:
 * docker.c (endpoint, version), docker_failure.c (errors) < docker_transfer.c (one request) <
 * docker_http.c (a call) < calls; docker_multi.c is in the layer of docker_http.c. */
#include "src/docker/docker_count.h"
#include "paddock/buf.h"
#include "paddock/docker.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#define DOCKER_MINOR_MIN 41    /* DOCKER_API_MIN */
#define DOCKER_MINOR_MAX 56    /* the newest whose changes we have read: Docker 29 */
#define DOCKER_IDLE_MAX 4      /* connections kept for the next call: three fds each */
#define DOCKER_ERROR_MAX 65536 /* limit of the body of an answer that is no success */
#define DOCKER_RECEIVE_BYTES 16384L
#define DOCKER_TIMEOUT_US (60 * US_PER_SEC)

struct docker {
    char *base;        /* "http://docker", "https://host:2376" */
    char *socket_path; /* NULL = TCP */
    char *cert, *key, *ca;
    bool tls, verify;
    uint64_t timeout_us;
    pthread_mutex_t lock;         /* guards the two fields below */
    int minor;                    /* API 1.minor; 0 = not negotiated */
    CURLM *idle[DOCKER_IDLE_MAX]; /* each keeps one open connection; last in, first out */
    unsigned idle_count;
    atomic_ulong skipped_events, skipped_items; /* parts of answers that could not be parsed */
    struct docker_counts counts;
};

/* ---- docker.c ---- */
/** Returns the minor number of the negotiated API version, 0 = not negotiated yet. */
int docker_minor(struct docker *d);
/** Drops the version after a lost connection: dockerd may come back as another version. */
void docker_minor_forget(struct docker *d);
/** Stores the version from the Api-Version header of a /_ping (NULL = no such header). Returns the
 * minor number to use; -EPROTO. */
int docker_minor_take(struct docker *d, const char *api_version, struct err *err) MUST_CHECK;
/** Judges a failed call that was made with API 1.@minor: @status, *@r and @err are its result.
 * Returns true when Docker refused the version ("client version 1.47 is too new") and another
 * version may succeed, because dockerd was replaced between two calls. The version is dropped then.
 * When Docker's minimum is above the newest version that we know, it returns false, and *@r
 * (-EPROTO) and @err report that. */
bool docker_minor_refused(struct docker *d, int minor, int status, int *r, struct err *err);

/* ---- docker_transfer.c ---- */

/* A request and its answer. Starts as {0} with an initialized @body. */
struct docker_transfer {
    struct docker *docker;
    const struct docker_request *rq;
    CURLM *multi; /* the connection, while this transfer uses it */
    CURL *easy;
    struct curl_slist *headers;
    char *body_text;
    struct buf body;  /* the collected body of the answer */
    uint64_t last_us; /* when the last byte was received or sent */
    int r;            /* the error of a callback that ended the transfer */
    bool cut;         /* the body of an error was longer than we keep */
    char detail[CURL_ERROR_SIZE];
};
/** Prepares the request on a connection of its own. It is sent when the caller runs curl or calls
 * docker_transfer_wait(). @rq: borrowed until docker_transfer_done(). Returns 0; -ENOMEM. */
int docker_transfer_send(struct docker_transfer *x, struct docker *d,
                         const struct docker_request *rq, int minor) MUST_CHECK;
/** Runs the transfer to its end. Returns 0 with the body; errors of docker_http_do(). */
int docker_transfer_wait(struct docker_transfer *x, const struct call *call, int *ret_status,
                         struct err *err) MUST_CHECK;
/** Frees the transfer. When it is still running, its connection is closed. */
void docker_transfer_done(struct docker_transfer *x);

/** Sets the options that every transfer needs, and the URL: /v1.@minor@path, or @path alone when
 * @minor is 0. */
int docker_transfer_prepare(struct docker *d, CURL *easy, int minor, const char *path) MUST_CHECK;
/** Runs @easy in @multi to its end. Returns 0 with @ret_code; -ECANCELED; -ETIMEDOUT.
 *  @last_us (NULL = unused): time of the last byte, for @idle_us. */
int docker_transfer_run(CURLM *multi, CURL *easy, const struct call *call, const uint64_t *last_us,
                        uint64_t idle_us, CURLcode *ret_code) MUST_CHECK;

/* ---- docker_failure.c ---- */
/** Returns the answer's status as -errno (0 for 2xx and 304). @err gets the "message" of
 * its body. */
int docker_failure_of_status(int status, const struct buf *body, const char *method,
                             const char *path, struct err *err) MUST_CHECK;
/** Returns the result @code of a transfer as -errno; 0 for CURLE_OK. The text becomes the node's
 * health description, so it contains no measured value: the same fault always gives the same text.
 * @detail: CURLOPT_ERRORBUFFER's text, used for TLS errors only. */
int docker_failure_of_curl(const struct docker *d, CURL *easy, CURLcode code, const char *detail,
                           struct err *err) MUST_CHECK;

/* ---- docker_http.c ---- */
/** Makes a GET request whose answer must be a JSON object or array. Returns 0; -EPROTO; errors of
 * docker_http_do(). Owner of @ret: caller. */
int docker_http_get_json(struct docker *d, const struct call *call, const char *path, json_t **ret,
                         struct err *err) MUST_CHECK;

/* ---- docker_container.c ---- */
/** POSTs @body and reads the answer's Id. @what: "create", for the error's text. Returns 0;
 * -EPROTO; errors of docker_http_do(). */
int docker_container_post_for_id(struct docker *d, const struct call *call, const char *path,
                                 const json_t *body, const char *what, char ret_id[65],
                                 struct err *err) MUST_CHECK;
