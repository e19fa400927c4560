#pragma once
/* Client of the Docker Engine API over libcurl: unix socket or TCP with TLS. A `struct docker` is
 * shared by all threads; each call runs on a curl handle of its own (kept for reuse), carries a
 * deadline and a cancel, reads a bounded reply, and fails with Docker's own message in @err.
 *
 * Errors of every call below: -ENOENT 404, -EEXIST 409, -EINVAL 400, -EACCES 401/403, -EIO 5xx,
 * -EPROTO what is no valid answer, -ENOTCONN no connection (refused, no socket, cut off),
 * -ETIMEDOUT deadline (ERR_DEADLINE), -ECANCELED, -EMSGSIZE reply beyond its limit, -ENOMEM.
 * Context: any thread, blocks up to the call's deadline. The process has called docker_global_init
 * before its first thread and ignores SIGPIPE (TLS writes). libcurl opens two fds for each kept
 * connection that are not close-on-exec: whoever spawns a process closes what it does not hand over
 * (posix_spawn_file_actions_addclosefrom_np). */
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

/** Once a process, before its first thread: libcurl's own set-up. Returns 0; -ENOMEM. */
int docker_global_init(void) MUST_CHECK;

struct docker_options {
    /* unix:///path, tcp://host:port, http(s)://host:port. NULL or "": DOCKER_HOST, DOCKER_CERT_PATH
     * and DOCKER_TLS_VERIFY of the environment, else unix:///var/run/docker.sock. */
    const char *endpoint;
    const char *tls_cert, *tls_key, *tls_ca; /* NULL or "" = none */
    uint64_t timeout_us;                     /* of calls that come without a deadline; 0 = 60 s */
};

/** No connection is made yet; the API version is negotiated at the first call and again after a
 * lost connection (dockerd may have been upgraded). Returns 0; -EINVAL (ERR_INVALID) for a bad
 * endpoint. */
int docker_new(const struct docker_options *o, struct docker **ret, struct err *err) MUST_CHECK;
void docker_free(struct docker *d);

/** The process that listens on Docker's Unix socket, 0 = one that this process cannot see. Returns
 * 0; -EPROTONOSUPPORT it is no Unix socket; -ENOTCONN. */
int docker_peer(struct docker *d, pid_t *ret, struct err *err) MUST_CHECK;
/** True when the endpoint is a Unix socket. */
bool docker_has_socket(const struct docker *d);

/** Appends the metrics of all requests, as Prometheus text. Any thread. Returns 0; as
 * buf_printf. */
int docker_metrics(const struct docker *d, struct buf *b) MUST_CHECK;

struct docker_request {
    const char *method;
    const char *path;   /* below /v1.xx, with its query, escaped ("/containers/json?all=1") */
    const json_t *body; /* NULL = none */
    const char *const *headers; /* "Name: value", NULL-terminated; NULL = none */
    int upload_fd;              /* a tar, sent as the body when > 0 (images/load) */
    uint64_t
        idle_timeout_us; /* streams: fail with -ETIMEDOUT after so long without a byte; 0 = off */
    size_t reply_max;    /* 0 = DOCKER_REPLY_MAX */
    /* Called for each piece of a 2xx body instead of collecting it. <0 ends the call with it. */
    int (*on_data)(void *ctx, const char *data, size_t len);
    void *ctx;
};

struct docker_begun;

/** The minor number of the API version in use (1.41 to the newest that we know). Asks Docker when
 * no call has negotiated it yet. Returns it; -errno as docker_do; -EPROTO when Docker's version is
 * too old. */
int docker_api_minor(struct docker *d, const struct call *call, struct err *err) MUST_CHECK;

/** One request. @ret_status may be NULL. @ret_body: the parsed JSON (NULL for an empty or non-JSON
 * body); may be NULL. 304 counts as success. Owner of @ret_body: caller. */
int docker_do(struct docker *d, const struct call *call, const struct docker_request *rq,
              int *ret_status, json_t **ret_body, struct err *err) MUST_CHECK;

/** Sends a request without a body and waits for nothing: Docker answers while the caller does
 * something else on the same thread (over TCP it may go out in docker_end only). NULL: not sent (no
 * memory; no API version is negotiated yet): docker_do has it. */
struct docker_begun *docker_begin(struct docker *d, const char *method,
                                  const char *path) MUST_CHECK;
/** The answer, and the end of @b. @call has a deadline. As docker_do. */
int docker_end(struct docker_begun *b, const struct call *call, json_t **ret_body,
               struct err *err) MUST_CHECK;
/** The answer is not wanted any more. NULL allowed. */
void docker_begun_free(struct docker_begun *b);

/** Escapes one component of a path, or the value of a query, by %XX. Returns NULL when out of
 * memory. Owner: caller, free(). */
char *docker_escape(const char *text);

/* ---- system ---- */
struct docker_version {
    char text[64]; /* "20.10.24+dfsg1" */
};
int docker_version_get(struct docker *d, const struct call *call, struct docker_version *ret,
                       struct err *err) MUST_CHECK;
int docker_info_get(struct docker *d, const struct call *call, json_t **ret,
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
    char image_id[80];   /* Docker's own; with containerd's store not always the image's Id */
    char image[512];     /* Config.Image: the name with which it was created */
    char log_driver[64]; /* HostConfig.LogConfig.Type */
    /* True when the exit codes in the container's die and exec_die events are real: it has no label
     * named exitCode or execID, which Docker would send instead. */
    bool exit_in_events;
};
/** @ret_json (may be NULL): the whole reply, owner caller. */
int docker_container_inspect(struct docker *d, const struct call *call, const char *id_or_name,
                             struct docker_state *ret, json_t **ret_json,
                             struct err *err) MUST_CHECK;
/** @name goes into the query. -EEXIST: the name is taken. -ENOENT: no such image. */
int docker_container_create(struct docker *d, const struct call *call, const char *name,
                            const json_t *body, char ret_id[65], struct err *err) MUST_CHECK;
/** 0 started, also when it was running. */
int docker_container_start(struct docker *d, const struct call *call, const char *id,
                           struct err *err) MUST_CHECK;
/** The same in two steps, as docker_begin and docker_end. */
struct docker_begun *docker_container_start_begin(struct docker *d, const char *id) MUST_CHECK;
int docker_container_start_end(struct docker_begun *b, const struct call *call,
                               struct err *err) MUST_CHECK;
/** Waits for the stop: give a deadline beyond @timeout_s. 0 also when it was stopped. */
int docker_container_stop(struct docker *d, const struct call *call, const char *id,
                          unsigned timeout_s, struct err *err) MUST_CHECK;
/** -EEXIST (409): not running. @signal "" = SIGKILL. */
int docker_container_kill(struct docker *d, const struct call *call, const char *id,
                          const char *signal, struct err *err) MUST_CHECK;
/** Changes resources of a container, running or not. @body: the fields to change ("CpusetCpus"). */
int docker_container_update(struct docker *d, const struct call *call, const char *id,
                            const json_t *body, struct err *err) MUST_CHECK;
/** Its anonymous volumes go with it. */
int docker_container_remove(struct docker *d, const struct call *call, const char *id, bool force,
                            struct err *err) MUST_CHECK;
/** Lists containers. Of each only Id, Names, Created, and Nomad's and our own Labels are kept.
 * @filters: Docker's filters object ({"label": ["k=v"]}), NULL = none.
 * @ret_skipped: how many containers are not in @ret because their part of the list is longer than
 * 1 MiB or cannot be parsed. A caller that concludes from a container's absence must look at it.
 * Owner of @ret: caller. */
int docker_container_list(struct docker *d, const struct call *call, bool all,
                          const json_t *filters, json_t **ret, size_t *ret_skipped,
                          struct err *err) MUST_CHECK;
/** Asks for the running containers that have the label @label ("key=value"), in two steps as
 * docker_begin and docker_end. The answer is Docker's whole list: an entry that cannot be read
 * fails it. */
struct docker_begun *docker_container_labelled_begin(struct docker *d,
                                                     const char *label) MUST_CHECK;
int docker_container_labelled_end(struct docker_begun *b, const struct call *call, json_t **ret,
                                  struct err *err) MUST_CHECK;
/** Docker's one-shot stats (stream=false&one-shot=1): only where cgroup files cannot be read. */
int docker_container_stats(struct docker *d, const struct call *call, const char *id, json_t **ret,
                           struct err *err) MUST_CHECK;
/** Whether Docker has network @name (or id). Returns 1 or 0; -errno without an answer. */
int docker_network_exists(struct docker *d, const struct call *call, const char *name,
                          struct err *err) MUST_CHECK;
int docker_exec_resize(struct docker *d, const struct call *call, const char *exec_id,
                       unsigned height, unsigned width, struct err *err) MUST_CHECK;

/* ---- exec ---- */
struct docker_exec_options {
    const char *const *argv; /* NULL-terminated */
    bool tty, stdin_open;
};
int docker_exec_create(struct docker *d, const struct call *call, const char *container_id,
                       const struct docker_exec_options *o, char ret_exec_id[65],
                       struct err *err) MUST_CHECK;
/* One that was not started neither runs nor has ended. While it is being started it runs, without a
 * pid. */
struct docker_exec_state {
    bool running, ended;
    int code; /* when it has ended */
    pid_t pid;
};
int docker_exec_inspect(struct docker *d, const struct call *call, const char *exec_id,
                        struct docker_exec_state *ret, struct err *err) MUST_CHECK;

/* A hijacked connection: raw bytes both ways after the 101/200 reply. Non-blocking. */
struct docker_stream;
int docker_exec_start(struct docker *d, const struct call *call, const char *exec_id, bool tty,
                      struct docker_stream **ret, struct err *err) MUST_CHECK;
/** For epoll; stays the stream's. Read until -EAGAIN before the first wait and at each wake-up:
 * bytes may have come together with the answer, or wait inside TLS. */
int docker_stream_fd(const struct docker_stream *s);
/** Bytes read; 0 end of stream; -EAGAIN; other -errno. */
ssize_t docker_stream_read(struct docker_stream *s, void *out, size_t size);
/** Bytes taken (may be fewer); -EAGAIN; other -errno. */
ssize_t docker_stream_write(struct docker_stream *s, const void *data, size_t len);
/** Half-closes our side (end of stdin). */
int docker_stream_close_write(struct docker_stream *s) MUST_CHECK;
void docker_stream_free(struct docker_stream *s);

/* Docker's 8-byte frames (stdout = 1, stderr = 2) of a non-TTY stream, cut at any byte. */
struct docker_demux {
    unsigned char head[8];
    unsigned head_len;
    uint32_t left; /* of the current frame's payload */
    int channel;   /* 1 or 2 */
};
/** Calls @on for each piece of payload. Returns 0; -EPROTO for a bad frame; what @on returned when
 * < 0. */
int docker_demux_feed(struct docker_demux *x, const char *data, size_t len,
                      int (*on)(void *ctx, int channel, const char *data, size_t len),
                      void *ctx) MUST_CHECK;

/* ---- events: one stream for all containers ---- */
struct docker_event {
    const char *action; /* start die oom kill destroy pause unpause restart ... */
    const char *container_id;
    int exit_code; /* of die and exec_die; -1 = none. See attributes. */
    int64_t time_ns;
    /* Actor.Attributes. The container's labels are in it, too, and Docker lets a label win over an
     * attribute of the same name; only "name" and "image" are always Docker's own. */
    const json_t *attributes;
};
struct docker_events_ops {
    /* The stream is open (again): whoever tracks containers inspects them now, for what happened
     * meanwhile was not told. */
    void (*connected)(void *ctx);
    void (*event)(void *ctx, const struct docker_event *e);
    /* A line that is longer than 1 MiB or cannot be parsed: @why. @container_id: "" when the line's
     * beginning does not contain it. The caller checks that container. NULL allowed. */
    void (*skipped)(void *ctx, const char *container_id, const char *why);
    void (*disconnected)(void *ctx, const char *why); /* retried with back-off 100 ms .. 5 s */
};
struct loop;
struct docker_events;
/** Follows GET /events?filters={"type":["container"]} on @loop's thread (curl multi inside) until
 * freed. Callbacks run on the loop's thread and must not block. */
int docker_events_new(struct docker *d, struct loop *loop, const struct docker_events_ops *ops,
                      void *ctx, struct docker_events **ret) MUST_CHECK;
void docker_events_free(
    struct docker_events *e); /* from the loop's thread, or when it no longer runs */
