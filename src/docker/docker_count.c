/* SPDX-License-Identifier: MPL-2.0 */
/* Counts requests to dockerd for the metrics, by operation and result.
 *
 * docker_http.c reports each call, and docker_multi.c its asynchronous POSTs (stop, kill). Streams
 * (events, logs, attached execs) are not counted, because they have no duration. */
#include "src/docker/docker_count.h"

#include <errno.h>
#include <string.h>

static const char *const op_names[DOCKER_OPS] = {"create",  "start",   "stop",   "kill",   "remove",
                                                 "inspect", "list",    "update", "exec",   "pull",
                                                 "image",   "network", "stats",  "system", "other"};
static const char *const result_names[DOCKER_RESULTS] = {
    "ok", "client_error", "server_error", "unreachable", "timeout", "other"};

/* Whether @path (without its query) ends with @part. */
static bool path_ends_with(const char *path, size_t len, const char *part) {
    size_t n = strlen(part);
    return len >= n && memcmp(path + len - n, part, n) == 0;
}

static enum docker_op container_op(const char *method, const char *path, size_t len) {
    static const struct {
        const char *end;
        enum docker_op op;
    } rows[] = {{"/containers/create", DOCKER_OP_CREATE},
                {"/containers/json", DOCKER_OP_LIST},
                {"/start", DOCKER_OP_START},
                {"/stop", DOCKER_OP_STOP},
                {"/kill", DOCKER_OP_KILL},
                {"/update", DOCKER_OP_UPDATE},
                {"/exec", DOCKER_OP_EXEC},
                {"/stats", DOCKER_OP_STATS},
                {"/json", DOCKER_OP_INSPECT}};
    if (strcmp(method, "DELETE") == 0)
        return DOCKER_OP_REMOVE;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (path_ends_with(path, len, rows[i].end))
            return rows[i].op;
    return DOCKER_OP_OTHER;
}

enum docker_op docker_count_op(const char *method, const char *path) {
    size_t len = strcspn(path, "?");
    if (strncmp(path, "/containers/", 12) == 0)
        return container_op(method, path, len);
    if (strncmp(path, "/images/create", 14) == 0)
        return DOCKER_OP_PULL;
    if (strncmp(path, "/images/", 8) == 0)
        return DOCKER_OP_IMAGE;
    if (strncmp(path, "/networks", 9) == 0)
        return DOCKER_OP_NETWORK;
    if (strncmp(path, "/exec/", 6) == 0)
        return DOCKER_OP_EXEC;
    if (path_ends_with(path, len, "/info") || path_ends_with(path, len, "/version") ||
        path_ends_with(path, len, "/_ping"))
        return DOCKER_OP_SYSTEM;
    return DOCKER_OP_OTHER;
}

static enum docker_result result_of(int r, int status) {
    if (r == -ENOTCONN)
        return DOCKER_RESULT_UNREACHABLE;
    if (r == -ETIMEDOUT)
        return DOCKER_RESULT_TIMEOUT;
    if (status >= 500)
        return DOCKER_RESULT_SERVER_ERROR;
    if (status >= 400)
        return DOCKER_RESULT_CLIENT_ERROR;
    return r < 0 ? DOCKER_RESULT_OTHER : DOCKER_RESULT_OK;
}

void docker_count_end(struct docker_counts *c, const char *method, const char *path, int r,
                      int status, uint64_t us) {
    enum docker_op op = docker_count_op(method, path);
    enum docker_result result = result_of(r, status);
    atomic_fetch_add_explicit(&c->by[op][result], 1, memory_order_relaxed);
    metrics_observe(&c->took[op], us);
    if (result != DOCKER_RESULT_OTHER) /* it does not show whether dockerd is up */
        atomic_store_explicit(
            &c->down, result == DOCKER_RESULT_UNREACHABLE || result == DOCKER_RESULT_TIMEOUT,
            memory_order_relaxed);
}

static int put_op(const struct docker_counts *c, struct buf *b, const char *name, enum docker_op op,
                  bool histogram) {
    AUTO_BUF struct buf labels;
    buf_init(&labels, 256);
    int r = metrics_label(&labels, "operation", op_names[op]);
    if (histogram)
        return r < 0 ? r : metrics_histogram_put(b, name, buf_text(&labels), &c->took[op]);
    size_t common = labels.len;
    for (int i = 0; i < DOCKER_RESULTS && r == 0; i++) {
        unsigned long long n = atomic_load_explicit(&c->by[op][i], memory_order_relaxed);
        if (n == 0 && i != DOCKER_RESULT_OK)
            continue;
        labels.len = common;
        r = metrics_label(&labels, "result", result_names[i]);
        if (r == 0)
            r = metrics_sample(b, name, buf_text(&labels), (double)n);
    }
    return r;
}

/* Writes the series of the operations that were requested at least once. A series that appears
 * later starts with its first counts. */
static int put_family(const struct docker_counts *c, struct buf *b, const char *name,
                      const char *type, const char *help) {
    int r = metrics_family(b, name, type, help);
    for (int op = 0; op < DOCKER_OPS && r == 0; op++)
        if (metrics_count(&c->took[op]) > 0)
            r = put_op(c, b, name, (enum docker_op)op, strcmp(type, "histogram") == 0);
    return r;
}

int docker_count_put(const struct docker_counts *c, struct buf *b) {
    int r = metrics_one(b, "paddock_docker_up", "gauge",
                        "Whether dockerd answered the last request that ended.",
                        !atomic_load_explicit(&c->down, memory_order_relaxed));
    if (r == 0)
        r = put_family(c, b, "paddock_docker_requests_total", "counter",
                       "Requests to dockerd that have ended, without streams.");
    if (r == 0)
        r = put_family(c, b, "paddock_docker_request_duration_seconds", "histogram",
                       "Time from a request to the end of its answer.");
    if (r == 0)
        r = metrics_one(b, "paddock_docker_event_streams_total", "counter",
                        "Times that the event stream was opened; 1 without a lost connection.",
                        (double)atomic_load_explicit(&c->event_streams, memory_order_relaxed));
    return r;
}
