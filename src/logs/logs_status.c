/* SPDX-License-Identifier: MPL-2.0 */
/* Asks a running pump for its status and sums it up. logpump.c and `paddock check` call it.
 *
 * The request can be sent from an event loop. Therefore it starts no pump, and it gives up after a
 * short time. A pump answers from memory. */
#include "src/logs/logs_status.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/logpump.h"
#include "paddock/metrics.h"

#include "src/logs/logs_socket.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_US (100 * US_PER_MS)

/* ---- sums ---- */

static const char *const ways[] = {"file", "api", "none"};
static const char *const counts[] = {"lag_bytes", "lines_skipped", "bytes_dropped", "gaps"};

static json_int_t sum_of(const json_t *tasks, const char *key) {
    json_int_t sum = 0;
    size_t i;
    const json_t *task;
    json_array_foreach(tasks, i, task) sum += json_integer_value(json_object_get(task, key));
    return sum;
}

static json_int_t count_way(const json_t *tasks, const char *way) {
    json_int_t n = 0;
    size_t i;
    const json_t *task;
    json_array_foreach(tasks, i, task) {
        const char *its = json_string_value(json_object_get(task, "way"));
        n += its && strcmp(its, way) == 0;
    }
    return n;
}

static double longest_lag(const json_t *tasks) {
    double longest = 0;
    size_t i;
    const json_t *task;
    json_array_foreach(tasks, i, task) {
        double lag = json_number_value(json_object_get(task, "lag_seconds"));
        longest = lag > longest ? lag : longest;
    }
    return longest;
}

static json_t *sum_up(const json_t *tasks) {
    json_t *sum = json_object();
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        json_object_set_new(sum, ways[i], json_integer(count_way(tasks, ways[i])));
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        json_object_set_new(sum, counts[i], json_integer(sum_of(tasks, counts[i])));
    json_object_set_new(sum, "lag_seconds", json_real(longest_lag(tasks)));
    return sum;
}

json_t *logs_status_peek(const char *run_dir, uint64_t timeout_us) {
    struct call call = call_within(NULL, timeout_us);
    AUTO_FD int fd = logs_socket_connect(run_dir, timeout_us);
    AUTO_JSON json_t *rq = json_pack("{s:s}", "op", "status");
    json_t *doc = NULL;
    if (fd < 0 || !rq || logs_socket_send(fd, rq, -1) < 0 ||
        logs_socket_read(fd, &call, 0, &doc, NULL) < 0)
        return NULL;
    json_object_set_new(doc, "sum", sum_up(json_object_get(doc, "tasks")));
    return doc;
}

json_t *logs_status_get(const char *run_dir, unsigned starts) {
    json_t *doc = logs_status_peek(run_dir, TIMEOUT_US);
    if (!doc)
        doc = json_pack("{s:s,s:o}", "error", "none answers", "sum", sum_up(NULL));
    json_object_set_new(doc, "starts", json_integer(starts));
    return doc;
}

/* ---- metrics ---- */

int logs_status_metrics(const json_t *status, struct buf *b) {
    static const struct {
        const char *key, *name, *help;
    } gauges[] = {
        {"lag_bytes", "paddock_log_lag_bytes", "Output that is not delivered yet."},
        {"lines_skipped", "paddock_log_lines_skipped", "Damaged log lines of the tasks that run."},
        {"bytes_dropped", "paddock_log_dropped_bytes",
         "Output of the tasks that run that was dropped for a reader that stalls."},
        {"gaps", "paddock_log_gaps", "Gaps in the output of the tasks that run."},
        {"lag_seconds", "paddock_log_lag_seconds",
         "Longest time that output waits for its delivery."}};
    const json_t *sum = json_object_get(status, "sum");
    int r = metrics_one(b, "paddock_log_pump_up", "gauge", "Whether the log pump answers.",
                        !json_object_get(status, "error"));
    if (r == 0)
        r = metrics_one(b, "paddock_log_pump_starts_total", "counter",
                        "Log pumps that this plugin has started.",
                        json_number_value(json_object_get(status, "starts")));
    if (r == 0)
        r = metrics_family(b, "paddock_log_tasks", "gauge", "Tasks by how their output is read.");
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(ways); i++) {
        char label[32];
        snprintf(label, sizeof(label), "way=\"%s\"", ways[i]);
        r = metrics_sample(b, "paddock_log_tasks", label,
                           json_number_value(json_object_get(sum, ways[i])));
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(gauges); i++)
        r = metrics_one(b, gauges[i].name, "gauge", gauges[i].help,
                        json_number_value(json_object_get(sum, gauges[i].key)));
    return r;
}
