/* SPDX-License-Identifier: MPL-2.0 */
/* The text of `paddock status TASK`: all values of one task.
 *
 * cli_status.c calls it with the running driver's document. The document lists a task in three
 * places (the cpuset, the container, the log pump), and status_detail_find() merges them. */
#include "plugin/status_detail.h"

#include "plugin/cli_ask.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const json_t *get_member(const json_t *o, const char *key) {
    return json_object_get(o, key);
}

static long long get_number(const json_t *o, const char *key) {
    return (long long)json_integer_value(get_member(o, key));
}

static bool begins_with(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_named(const json_t *task, const char *name) {
    return strcmp(cli_ask_text(task, "task"), name) == 0 ||
           begins_with(cli_ask_text(task, "alloc_id"), name) ||
           begins_with(cli_ask_text(task, "container_id"), name) ||
           strcmp(cli_ask_text(task, "task_id"), name) == 0;
}

/* Returns the entry of @list whose @key is @value, or NULL when none exists. */
static json_t *entry_of(const json_t *list, const char *key, const char *value) {
    json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry) {
        if (strcmp(cli_ask_text(entry, key), value) == 0)
            return entry;
    }
    return NULL;
}

static json_t *with_the_rest(const json_t *task, const json_t *doc) {
    const char *id = cli_ask_text(task, "task_id");
    json_t *copy = json_deep_copy(task);
    json_t *log = entry_of(get_member(get_member(doc, "log_pump"), "tasks"), "task", id);
    json_t *image = json_object_get(entry_of(get_member(doc, "tasks"), "task_id", id), "image_id");
    if (log)
        json_object_set(copy, "log", log);
    if (image)
        json_object_set(copy, "image_id", image);
    return copy;
}

json_t *status_detail_find(const json_t *doc, const char *name) {
    const json_t *tasks = get_member(get_member(doc, "pin"), "tasks"), *task;
    json_t *found = json_array();
    size_t i;
    json_array_foreach(tasks, i, task) {
        if (found && is_named(task, name))
            json_array_append_new(found, with_the_rest(task, doc));
    }
    return found;
}

/* ---- the text ---- */

static int put_line(struct buf *out, const char *title, const char *value) {
    return value[0] ? buf_printf(out, "%-13s%s\n", title, value) : 0;
}

static int put_texts(struct buf *out, const json_t *task) {
    static const struct {
        const char *title, *key;
    } lines[] = {
        {"task", "task"},         {"alloc", "alloc_id"},    {"container", "container_id"},
        {"image", "image_id"},    {"cgroup", "cgroup"},     {"source", "source"},
        {"kind", "kind"},         {"state", "state"},       {"reason", "why"},
        {"wanted", "wanted"},     {"actual", "actual"},     {"effective", "effective"},
        {"memory nodes", "mems"}, {"systemd unit", "unit"}, {"changes seen", "changes_seen"}};
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(lines) / sizeof(lines[0]); i++)
        r = put_line(out, lines[i].title, cli_ask_text(task, lines[i].key));
    if (r == 0 && get_number(task, "pid") > 0)
        r = buf_printf(out, "%-13s%lld\n", "pid", get_number(task, "pid"));
    return r;
}

static int put_log(struct buf *out, const json_t *log) {
    if (!log)
        return 0;
    return buf_printf(
        out,
        "%-13sread by %s; %lld bytes and %.1f s behind, %lld lines skipped, %lld bytes "
        "dropped, %lld gaps\n",
        "logs", strcmp(cli_ask_text(log, "way"), "none") == 0 ? "nobody" : cli_ask_text(log, "way"),
        get_number(log, "lag_bytes"), json_number_value(get_member(log, "lag_seconds")),
        get_number(log, "lines_skipped"), get_number(log, "bytes_dropped"),
        get_number(log, "gaps"));
}

static int put_causes(struct buf *out, const json_t *task) {
    const char *cause, *before = ": ";
    json_t *n;
    json_t *causes = json_object_get(task, "by_cause");
    int r = buf_printf(out, "%-13s%lld", "corrections", get_number(task, "corrections"));
    json_object_foreach(causes, cause, n) {
        if (r == 0 && json_integer_value(n) > 0) {
            r = buf_printf(out, "%s%s %lld", before, cause, (long long)json_integer_value(n));
            before = ", ";
        }
    }
    return r < 0 ? r : buf_puts(out, "\n");
}

static int put_fix(struct buf *out, const json_t *fix) {
    int64_t ns = get_number(fix, "time_ns");
    time_t s = (time_t)(ns / 1000000000);
    struct tm tm;
    char when[32];
    if (!gmtime_r(&s, &tm) || strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm) == 0)
        when[0] = '\0';
    int r =
        buf_printf(out, "  %s.%03d UTC  %s: %s -> %s", when, (int)(ns / 1000000 % 1000),
                   cli_ask_text(fix, "cause"), cli_ask_text(fix, "old"), cli_ask_text(fix, "new"));
    if (r == 0 && get_number(fix, "writer_pid") > 0)
        r = buf_printf(out, ", written by pid %lld", get_number(fix, "writer_pid"));
    return r < 0 ? r : buf_puts(out, "\n");
}

int status_detail_put(struct buf *out, const json_t *task) {
    const json_t *fix, *history = get_member(task, "history");
    size_t i;
    int r = put_texts(out, task);
    if (r == 0)
        r = put_log(out, get_member(task, "log"));
    if (r == 0)
        r = put_causes(out, task);
    json_array_foreach(history, i, fix) {
        if (r == 0)
            r = put_fix(out, fix);
    }
    return r;
}
