#pragma once
/* What the files of the Docker client share. Order of layers inside: docker.c (endpoint, version) <
 * docker_transfer.c (one request) < docker_http.c (a call) < calls; docker_multi.c beside
 * docker_http.c. */
#include "docker_count.h"
#include "paddock/buf.h"
#include "paddock/docker.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#define DOCKER_MINOR_MIN 41    /* DOCKER_API_MIN */
#define DOCKER_MINOR_MAX 56    /* the newest whose changes we have read: Docker 29 */
#define DOCKER_IDLE_MAX 4      /* connections kept for the next call: three fds each */
#define DOCKER_ERROR_MAX 65536 /* of the body of an answer that is no success */
#define DOCKER_RECEIVE_BYTES 16384L
#define DOCKER_TIMEOUT_US (60 * US_PER_SEC)

struct docker {
    char *base;        /* "http://docker", "https://host:2376" */
    char *socket_path; /* NULL = TCP */
    char *cert, *key, *ca;
    bool tls, verify;
    uint64_t timeout_us;
    pthread_mutex_t lock;         /* of what follows */
    int minor;                    /* API 1.minor; 0 = not negotiated */
    CURLM *idle[DOCKER_IDLE_MAX]; /* each holds one open connection; last in, first out */
    unsigned idle_count;
    atomic_ulong skipped_events, skipped_items; /* parts of answers that could not be parsed */
    struct docker_counts counts;
};

/* ---- docker.c ---- */
/** API 1.minor as negotiated, 0 = not yet. */
int docker_minor(struct docker *d);
/** The connection was lost: dockerd may come back as another version. */
void docker_minor_forget(struct docker *d);
/** Takes the Api-Version of a /_ping (NULL = it had none). Returns the minor to use; -EPROTO. */
int docker_minor_take(struct docker *d, const char *api_version, struct err *err) MUST_CHECK;
/** Judges a failed call that was made with API 1.@minor: @status, *@r and @err are its result.
 * Returns true when Docker refused the version ("client version 1.47 is too new") and another one
 * may do: dockerd was replaced between two calls. The version is forgotten then. When Docker's
 * minimum is above the newest version that we know, it returns false, and *@r (-EPROTO) and @err
 * report that. */
bool docker_minor_refused(struct docker *d, int minor, int status, int *r, struct err *err);

/* ---- docker_transfer.c ---- */

/* A request and what comes of it. Starts as {0} with a body that is initialized. */
struct docker_transfer {
    struct docker *docker;
    const struct docker_request *rq;
    CURLM *multi; /* the connection, while it is this one's */
    CURL *easy;
    struct curl_slist *headers;
    char *body_text;
    struct buf body;  /* of the answer, where it is collected */
    uint64_t last_us; /* when a byte came or went */
    int r;            /* what ended it from inside */
    bool cut;         /* an error's body was longer than we care for */
    char detail[CURL_ERROR_SIZE];
};
/** Makes it ready on a connection of its own; nothing is sent before curl is asked to perform or it
 * is waited for. @rq: borrowed until docker_transfer_done. Returns 0; -ENOMEM. */
int docker_transfer_send(struct docker_transfer *x, struct docker *d,
                         const struct docker_request *rq, int minor) MUST_CHECK;
/** Runs it to its end. Returns 0 with the body; as docker_do. */
int docker_transfer_wait(struct docker_transfer *x, const struct call *call, int *ret_status,
                         struct err *err) MUST_CHECK;
/** Also of one that is under way: it ends with its connection. */
void docker_transfer_done(struct docker_transfer *x);

/** Sets what every transfer has, and the URL: /v1.@minor@path, or @path alone when minor is 0. */
int docker_easy_prepare(struct docker *d, CURL *easy, int minor, const char *path) MUST_CHECK;
/** Runs @easy in @multi to its end. Returns 0 with @ret_code; -ECANCELED; -ETIMEDOUT.
 *  @last_us (NULL = unused): clock of the last byte, for @idle_us. */
int docker_run(CURLM *multi, CURL *easy, const struct call *call, const uint64_t *last_us,
               uint64_t idle_us, CURLcode *ret_code) MUST_CHECK;
/** The answer's status as -errno (0 for 2xx and 304), with the "message" of its body. */
int docker_status_error(int status, const struct buf *body, const char *method, const char *path,
                        struct err *err) MUST_CHECK;
/** The result @code of a transfer as -errno; 0 for CURLE_OK. The text contains nothing that is
 * measured, for it becomes the node's health description: the same fault gives the same text.
 * @detail: CURLOPT_ERRORBUFFER's text, used for TLS errors only. */
int docker_curl_error(const struct docker *d, CURL *easy, CURLcode code, const char *detail,
                      struct err *err) MUST_CHECK;

/* ---- docker_container.c ---- */
/** POSTs @body; the answer's Id. @what: "create", for the error's text. Returns 0; -EPROTO; as
 * docker_do. */
int docker_container_post_for_id(struct docker *d, const struct call *call, const char *path,
                                 const json_t *body, const char *what, char ret_id[65],
                                 struct err *err) MUST_CHECK;
