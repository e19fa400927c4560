/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Client of the Docker Engine API over libcurl: unix socket or TCP with TLS. A `struct docker` is
 * shared by all threads; each call runs on a curl handle of its own (kept for reuse), has a
 * deadline and a cancel, reads a reply of limited size, and reports Docker's own message in @err
 * when it fails.
 *
 * Errors of every call below: -ENOENT 404, -EEXIST 409, -EINVAL 400, -EACCES 401/403, -EIO 5xx,
 * -EPROTO no valid answer, -ENOTCONN no connection (refused, no socket, cut off), -ETIMEDOUT
 * deadline (ERR_DEADLINE), -ECANCELED, -EMSGSIZE reply above its limit, -ENOMEM. Context: any
 * thread, blocks up to the call's deadline. The process must call docker_global_init() before its
 * first thread, and must ignore SIGPIPE (TLS writes). For each kept connection libcurl opens two
 * fds that are not close-on-exec. So code that spawns a process must close every descriptor that it
 * does not pass on (posix_spawn_file_actions_addclosefrom_np). */
#include "paddock/buf.h"
#include "paddock/call.h"
#include "paddock/err.h"
#include "paddock/json_value.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DOCKER_API_MIN "1.41" /* Debian 12's dockerd, 20.10 */
#define DOCKER_REPLY_MAX (8u << 20)

struct docker;

/** Sets up libcurl. Called once per process, before its first thread. Returns 0; -ENOMEM. */
int docker_global_init(void) MUST_CHECK;

struct docker_options {
    /* unix:///path, tcp://host:port, http(s)://host:port. NULL or "": DOCKER_HOST, DOCKER_CERT_PATH
     * and DOCKER_TLS_VERIFY of the environment, else unix:///var/run/docker.sock. */
    const char *endpoint;
    const char *tls_cert, *tls_key, *tls_ca; /* NULL or "" = none */
    uint64_t timeout_us; /* of calls that have no deadline of their own; 0 = 60 s */
};

/** Makes no connection yet. The API version is negotiated at the first call, and again after a lost
 * connection, because dockerd may have been upgraded. Returns 0; -EINVAL (ERR_INVALID) for a
 * bad endpoint. */
int docker_new(const struct docker_options *o, struct docker **ret, struct err *err) MUST_CHECK;
/** Closes the kept connections. No call may be running. NULL allowed. */
void docker_free(struct docker *d);

/** Finds the process that listens on Docker's Unix socket; 0 = a process that this one cannot see.
 * Returns 0; -EPROTONOSUPPORT when the endpoint is no Unix socket; -ENOTCONN. */
int docker_peer(struct docker *d, pid_t *ret, struct err *err) MUST_CHECK;
/** True when the endpoint is a Unix socket. */
bool docker_has_socket(const struct docker *d);

/** Appends the metrics of all requests, as Prometheus text. Any thread. Returns 0; errors
 * of buf_printf(). */
int docker_metrics(const struct docker *d, struct buf *b) MUST_CHECK;

struct docker_request {
    const char *method;
    const char *path;   /* below /v1.xx, with its query, escaped ("/containers/json?all=1") */
    const json_t *body; /* NULL = none */
    const char *const *headers; /* "Name: value", NULL-terminated; NULL = none */
    int upload_fd;              /* a tar, sent as the body when > 0 (images/load) */
    uint64_t idle_timeout_us;   /* fails with -ETIMEDOUT after so long without a byte; 0 = off */
    size_t reply_max;           /* 0 = DOCKER_REPLY_MAX */
    /* Called for each piece of a 2xx body instead of collecting it. <0 ends the call with it. */
    int (*on_data)(void *ctx, const char *data, size_t len);
    void *ctx;
};

struct docker_begun;

/** The minor number of the API version in use (1.41 to the newest that we know). Asks Docker when
 * no call has negotiated it yet. Returns the number; errors of docker_http_do(); -EPROTO when
 * Docker's version is too old. */
int docker_http_api_minor(struct docker *d, const struct call *call, struct err *err) MUST_CHECK;

/** Makes one request. @ret_status may be NULL. @ret_body: the parsed JSON (NULL for an empty or
 * non-JSON body); may be NULL. 304 counts as success. Owner of @ret_body: caller. */
int docker_http_do(struct docker *d, const struct call *call, const struct docker_request *rq,
                   int *ret_status, json_t **ret_body, struct err *err) MUST_CHECK;

/** Sends a request without a body and does not wait for the answer. Docker works on it while the
 * caller does something else on the same thread. Over TCP the request may be sent by
 * docker_http_end() only. Returns NULL when it was not sent: out of memory, or no API version is
 * negotiated yet. The caller then uses docker_http_do(). */
struct docker_begun *docker_http_begin(struct docker *d, const char *method,
                                       const char *path) MUST_CHECK;
/** Waits for the answer and frees @b. @call has a deadline. Returns the same values
 * as docker_http_do(). */
int docker_http_end(struct docker_begun *b, const struct call *call, json_t **ret_body,
                    struct err *err) MUST_CHECK;
/** Drops the request without reading its answer. NULL allowed. */
void docker_http_begun_free(struct docker_begun *b);

/** Escapes one component of a path, or the value of a query, by %XX. Returns NULL when out of
 * memory. Owner: caller, free(). */
char *docker_http_escape(const char *text);

/* ---- system ---- */
struct docker_version {
    char text[64]; /* "20.10.24+dfsg1" */
};
/** Asks for dockerd's version. */
int docker_system_version(struct docker *d, const struct call *call, struct docker_version *ret,
                          struct err *err) MUST_CHECK;
/** Reads GET /info. Owner of @ret: caller, json_decref(). */
int docker_system_info(struct docker *d, const struct call *call, json_t **ret,
                       struct err *err) MUST_CHECK;

/* ---- containers ---- */
struct docker_state { /* of GET /containers/{id}/json */
    char id[65];
    char name[256];  /* without the leading slash */
    char status[16]; /* created running paused restarting removing exited dead */
    bool running, paused, restarting, oom_killed, dead, tty;
    int exit_code;
    pid_t pid;                       /* 0 when not running */
    int64_t started_ns, finished_ns; /* since 1970; 0 = never */
    char error[256];                 /* State.Error */
    char image_id[80]; /* Docker's value; with containerd's image store not always the image's Id */
    char image[512];   /* Config.Image: the name with which it was created */
    char log_driver[64]; /* HostConfig.LogConfig.Type */
    /* True when the exit codes in the container's die and exec_die events are real: it has no label
     * named exitCode or execID, which Docker would send instead. */
    bool exit_in_events;
};
/** @ret_json (may be NULL): the whole reply. Owner: caller, json_decref(). */
int docker_container_inspect(struct docker *d, const struct call *call, const char *id_or_name,
                             struct docker_state *ret, json_t **ret_json,
                             struct err *err) MUST_CHECK;
/** Creates a container named @name. Returns 0; -EEXIST when the name is in use; -ENOENT when there
 * is no such image; other errors as above. */
int docker_container_create(struct docker *d, const struct call *call, const char *name,
                            const json_t *body, char ret_id[65], struct err *err) MUST_CHECK;
/** Starts a container. Returns 0 also when it was already running. */
int docker_container_start(struct docker *d, const struct call *call, const char *id,
                           struct err *err) MUST_CHECK;
/** The same in two steps, like docker_http_begin() and docker_http_end(). */
struct docker_begun *docker_container_start_begin(struct docker *d, const char *id) MUST_CHECK;
int docker_container_start_end(struct docker_begun *b, const struct call *call,
                               struct err *err) MUST_CHECK;
/** Stops a container and waits until it has stopped. The deadline of @call must be longer than
 * @timeout_s. Returns 0 also when it was already stopped. */
int docker_container_stop(struct docker *d, const struct call *call, const char *id,
                          unsigned timeout_s, struct err *err) MUST_CHECK;
/** Sends @signal to a container; "" = SIGKILL. Returns -EEXIST (409) when it is not running. */
int docker_container_kill(struct docker *d, const struct call *call, const char *id,
                          const char *signal, struct err *err) MUST_CHECK;
/** Changes resources of a container, running or not. @body: the fields to change ("CpusetCpus"). */
int docker_container_update(struct docker *d, const struct call *call, const char *id,
                            const json_t *body, struct err *err) MUST_CHECK;
/** Removes a container and its anonymous volumes. */
int docker_container_remove(struct docker *d, const struct call *call, const char *id, bool force,
                            struct err *err) MUST_CHECK;
/** Lists containers. For each one, only Id, Names, Created, and Nomad's and our own Labels are
 * returned. @filters: Docker's filters object ({"label": ["k=v"]}), NULL = none. @ret_skipped: how
 * many containers are not in @ret because their part of the list is longer than 1 MiB or cannot be
 * parsed. A caller that draws a conclusion from a container's absence must check this number. Owner
 * of @ret: caller. */
int docker_container_list(struct docker *d, const struct call *call, bool all,
                          const json_t *filters, json_t **ret, size_t *ret_skipped,
                          struct err *err) MUST_CHECK;
/** Asks for the running containers that have the label @label ("key=value"), in two steps, like
 * docker_http_begin() and docker_http_end(). The answer is Docker's whole list. When one entry
 * cannot be parsed, the call fails. */
struct docker_begun *docker_container_labelled_begin(struct docker *d,
                                                     const char *label) MUST_CHECK;
int docker_container_labelled_end(struct docker_begun *b, const struct call *call, json_t **ret,
                                  struct err *err) MUST_CHECK;
/** Reads Docker's one-shot stats (stream=false&one-shot=1). Used only where cgroup files cannot
 * be read. */
int docker_container_stats(struct docker *d, const struct call *call, const char *id, json_t **ret,
                           struct err *err) MUST_CHECK;
/** Returns 1 when Docker has a network with the name or id @name, 0 when it has none; -errno when
 * there is no answer. */
int docker_system_has_network(struct docker *d, const struct call *call, const char *name,
                              struct err *err) MUST_CHECK;
/** Sets the size of an exec's TTY, in characters. */
int docker_exec_resize(struct docker *d, const struct call *call, const char *exec_id,
                       unsigned height, unsigned width, struct err *err) MUST_CHECK;

/* ---- exec ---- */
struct docker_exec_options {
    const char *const *argv; /* NULL-terminated */
    bool tty, stdin_open;
};
/** Creates an exec in a container, and does not start it. @ret_exec_id: its id, with the NUL. */
int docker_exec_create(struct docker *d, const struct call *call, const char *container_id,
                       const struct docker_exec_options *o, char ret_exec_id[65],
                       struct err *err) MUST_CHECK;
/* A command that was not started has neither flag. While it is being started it is running, but has
 * no pid yet. */
struct docker_exec_state {
    bool running, ended;
    int code; /* the exit code; valid when @ended */
    pid_t pid;
};
/** Reads the state of an exec. */
int docker_exec_inspect(struct docker *d, const struct call *call, const char *exec_id,
                        struct docker_exec_state *ret, struct err *err) MUST_CHECK;

/* A hijacked connection: raw bytes both ways after the 101/200 reply. Non-blocking. */
struct docker_stream;
/** Starts an exec and takes over the connection. @tty: as at its creation. Owner of @ret:
 * caller, docker_stream_free(). */
int docker_exec_start(struct docker *d, const struct call *call, const char *exec_id, bool tty,
                      struct docker_stream **ret, struct err *err) MUST_CHECK;
/** Returns the fd for epoll. Owner: the stream. The caller must read until -EAGAIN before the first
 * wait and after each wake-up, because bytes may have arrived together with the answer, or may wait
 * inside of TLS. */
int docker_stream_fd(const struct docker_stream *s);
/** Returns the number of bytes read; 0 at the end of the stream; -EAGAIN; other -errno. */
ssize_t docker_stream_read(struct docker_stream *s, void *out, size_t size);
/** Returns the number of bytes written, which may be less than @len; -EAGAIN; other -errno. */
ssize_t docker_stream_write(struct docker_stream *s, const void *data, size_t len);
/** Half-closes our side (end of stdin). */
int docker_stream_close_write(struct docker_stream *s) MUST_CHECK;
/** Closes the connection. NULL allowed. Keeps errno. */
void docker_stream_free(struct docker_stream *s);

/* Parser of Docker's 8-byte frames (stdout = 1, stderr = 2) in a stream without a TTY. The stream
 * may be cut at any byte. */
struct docker_demux {
    unsigned char head[8];
    unsigned head_len;
    uint32_t left; /* bytes of the current frame's payload that are missing */
    int channel;   /* 1 or 2 */
};
/** Calls @on for each piece of payload. Returns 0; -EPROTO for a bad frame; the result of @on when
 * that is < 0. */
int docker_demux_feed(struct docker_demux *x, const char *data, size_t len,
                      int (*on)(void *ctx, int channel, const char *data, size_t len),
                      void *ctx) MUST_CHECK;

/* ---- events: one stream for all containers ---- */
struct docker_event {
    const char *action; /* start die oom kill destroy pause unpause restart ... */
    const char *container_id;
    int exit_code; /* of die and exec_die; -1 = none. See @attributes. */
    int64_t time_ns;
    /* Actor.Attributes. It also contains the container's labels, and Docker lets a label replace an
     * attribute of the same name. Only "name" and "image" are always Docker's own. */
    const json_t *attributes;
};
struct docker_events_ops {
    /* The stream is open, for the first time or again. Code that tracks containers must inspect
     * them now, because it got no events while the stream was closed. */
    void (*connected)(void *ctx);
    void (*event)(void *ctx, const struct docker_event *e);
    /* A line was skipped because it is longer than 1 MiB or cannot be parsed (@why). @container_id:
     * "" when the line's beginning does not contain it. The callee checks that container.
     * NULL allowed. */
    void (*skipped)(void *ctx, const char *container_id, const char *why);
    void (*disconnected)(void *ctx, const char *why); /* opened again after 100 ms to 5 s */
};
struct loop;
struct docker_events;
/** Follows GET /events?filters={"type":["container"]} on @loop's thread (curl multi inside) until
 * freed. Callbacks run on the loop's thread and must not block. */
int docker_events_new(struct docker *d, struct loop *loop, const struct docker_events_ops *ops,
                      void *ctx, struct docker_events **ret) MUST_CHECK;
/** Ends the stream and frees @e. Called from the loop's thread, or after that has ended.
 * NULL allowed. */
void docker_events_free(struct docker_events *e);
