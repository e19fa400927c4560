/* SPDX-License-Identifier: MPL-2.0 */
/* The position file of an entry: how it is found or made, and what becomes of it at the end.
 *
 * pump_record.h describes what is in the file. Its name is the container's id while the pump
 * carries the task, and has the suffix PUMP_DONE afterwards. A damaged file never fails a task.
 * pump_entry.c calls all functions. */
#include "src/pump/pump_entry_record.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include "src/pump/pump_proto.h"

#include <stdio.h>
#include <string.h>

bool pump_entry_record_is_id(const char *id) {
    return id && strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
}

/* Fills a fresh record from the request @rq. @known_ns: messages up to this time were delivered; 0:
 * as the request says. For a task that is not new, all output up to now may have been delivered,
 * for example before a restart of the host. */
static int fill_record(struct pump_record *rec, const json_t *rq, int64_t known_ns) {
    const char *task, *container, *out, *err;
    int tty, recovered = 0;
    json_int_t since = 0;
    if (json_unpack((json_t *)rq, "{s:s,s:s,s:s,s:s,s:b,s?I,s?b}", "task", &task, "container",
                    &container, "stdout", &out, "stderr", &err, "tty", &tty, "since_ns", &since,
                    "recovered", &recovered) < 0)
        return -EINVAL;
    if (strlen(task) >= sizeof(rec->task_id) || strlen(container) >= sizeof(rec->container_id) ||
        strlen(out) >= sizeof(rec->path[0]) || strlen(err) >= sizeof(rec->path[1]))
        return -ENAMETOOLONG;
    snprintf(rec->task_id, sizeof(rec->task_id), "%s", task);
    snprintf(rec->container_id, sizeof(rec->container_id), "%s", container);
    snprintf(rec->path[0], sizeof(rec->path[0]), "%s", out);
    snprintf(rec->path[1], sizeof(rec->path[1]), "%s", err);
    rec->tty = tty != 0;
    if (known_ns)
        since = known_ns + 1; /* a gap is better than lines that are delivered twice */
    else if (recovered && !since)
        since = clock_wall_ns();
    /* The output that another driver has delivered before @since is not delivered again. */
    rec->stream[0].at.time.time_ns = rec->stream[1].at.time.time_ns = since;
    atomic_store(&rec->resume_ns, since);
    rec->magic = PUMP_RECORD_MAGIC; /* last, because it makes the record valid */
    return 0;
}

int pump_entry_record_take(int records_fd, const char *id, const json_t *rq,
                           struct pump_record **ret, bool *ret_fresh, const char **ret_note) {
    char done[PUMP_DONE_MAX];
    int64_t known_ns = 0;
    snprintf(done, sizeof(done), "%s%s", id, PUMP_DONE);
    if (renameat(records_fd, done, records_fd, id) == 0)
        log_debug("logpump", LOG_KV("container_id", id), "asked for again after its end");
    int r = pump_record_open(records_fd, id, ret, ret_fresh);
    if (r == -EPROTO) {
        r = pump_record_drop(records_fd, id, clock_wall_ns(), &known_ns);
        if (r == 0)
            r = pump_record_open(records_fd, id, ret, ret_fresh);
        *ret_note = "its position file was damaged or written by another version: some log "
                    "lines may be missing";
    }
    if (r == 0 && *ret_fresh && (r = fill_record(*ret, rq, known_ns)) < 0)
        pump_record_close(*ret);
    return r;
}

void pump_entry_record_keep(int records_fd, const char *container_id) {
    char done[PUMP_DONE_MAX];
    snprintf(done, sizeof(done), "%s%s", container_id, PUMP_DONE);
    if (renameat(records_fd, container_id, records_fd, done) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "position file");
}

bool pump_entry_record_is_lost(int r) {
    switch (r) {
    case -ENODATA:
    case -ENOENT:
    case -ENOTDIR:
    case -ENXIO:
    case -ELOOP:
    case -EXDEV:
    case -EINVAL:
    case -ENAMETOOLONG:
        return true;
    default:
        return false;
    }
}
