/* The tasks that the pump carries, each with its position file: made by a plugin's request or found
 * at the start, and left when all is delivered, or when another driver carries them. */
#include "pump_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include "pump_proto.h"
#include "pump_rival.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

struct entry *pump_entry_find(struct pump *p, const char *task_id) {
    for (struct entry *e = p->entries; e; e = e->next)
        if (!e->drained && strcmp(pump_task_record(e->task)->task_id, task_id) == 0)
            return e;
    return NULL;
}

/* How far a task's output was delivered is kept beyond its end, for a plugin that has died may ask
 * for it once more: DestroyTask takes it away. */
static void put_away(struct pump *p, const char *container_id) {
    char done[PUMP_DONE_MAX];
    snprintf(done, sizeof(done), "%s%s", container_id, PUMP_DONE);
    if (renameat(p->dir.records_fd, container_id, p->dir.records_fd, done) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "position file");
}

/* The FIFOs are closed before those that wait for it are told. */
void pump_entry_forget(struct entry *e, bool ended) {
    struct pump *p = e->pump;
    for (struct entry **at = &p->entries; *at; at = &(*at)->next) {
        if (*at == e) {
            *at = e->next;
            break;
        }
    }
    const char *container_id = pump_task_record(e->task)->container_id;
    if (ended)
        put_away(p, container_id);
    else if (unlinkat(p->dir.records_fd, container_id, 0) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "position file");
    pump_task_free(e->task);
    pump_conn_answer_gone(e);
    free(e);
    pump_idle_check(p);
}

static void on_opened(void *ctx, struct pump_task *t, int r) {
    struct entry *e = ctx;
    (void)t;
    e->opened = true;
    e->open_r = r;
    pump_conn_answer(e);
}

static void forget_posted(void *ctx) {
    pump_entry_forget(ctx, true);
}

/* Not freed from within its own callback. */
static void on_drained(void *ctx, struct pump_task *t) {
    struct entry *e = ctx;
    (void)t;
    e->drained = true;
    if (loop_post(e->pump->loop, forget_posted, e) < 0)
        log_warn("logpump", NULL, "out of memory: a task's FIFOs stay open, ignoring");
}

static const struct pump_task_ops task_ops = {.opened = on_opened, .drained = on_drained};

/* @record is taken over. */
static int entry_add(struct pump *p, struct pump_record *record, struct entry **ret) {
    struct entry *e = calloc(1, sizeof(*e));
    if (!e) {
        pump_record_close(record);
        return -ENOMEM;
    }
    e->pump = p;
    int r = pump_task_new(p->loop, p->http, record, p->patience_us, &task_ops, e, &e->task);
    if (r < 0) {
        free(e);
        return r;
    }
    e->next = p->entries;
    p->entries = e;
    /* A watch goes with its FIFO. Refused ones cost nothing but the notice. */
    for (int s = 0; s < 2; s++)
        if (p->inotify_fd >= 0 && record->path[s][0] &&
            inotify_add_watch(p->inotify_fd, record->path[s], IN_OPEN) < 0)
            log_debug("logpump", LOG_KV("errno", strerror(errno), "path", record->path[s]),
                      "no watch");
    pump_idle_check(p);
    *ret = e;
    return 0;
}

/* ---- records ---- */

/* @known_ns: what is older was delivered; 0 = as the request says. */
static int fill_record(struct pump_record *rec, const json_t *rq, int64_t known_ns) {
    const char *task, *container, *out, *err;
    int tty;
    json_int_t since = 0;
    if (json_unpack((json_t *)rq, "{s:s,s:s,s:s,s:s,s:b,s?I}", "task", &task, "container",
                    &container, "stdout", &out, "stderr", &err, "tty", &tty, "since_ns",
                    &since) < 0)
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
        since = known_ns;
    /* Taken over from another driver: what it has delivered is behind us. */
    rec->stream[0].at.time.time_ns = rec->stream[1].at.time.time_ns = since;
    atomic_store(&rec->resume_ns, since);
    rec->magic = PUMP_RECORD_MAGIC; /* last: now it counts */
    return 0;
}

bool pump_entry_is_id(const char *id) {
    return id && strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
}

/* The task's record: as an earlier pump left it, or a fresh one. One whose layout is not known
 * gives way to a fresh one, for the task must not fail because of it. */
static int take_record(struct pump *p, const char *id, const json_t *rq, struct pump_record **ret,
                       bool *ret_fresh, const char **ret_note) {
    char done[PUMP_DONE_MAX];
    int64_t known_ns = 0;
    snprintf(done, sizeof(done), "%s%s", id, PUMP_DONE);
    if (renameat(p->dir.records_fd, done, p->dir.records_fd, id) == 0)
        log_debug("logpump", LOG_KV("container_id", id), "asked for again after its end");
    int r = pump_record_open(p->dir.records_fd, id, ret, ret_fresh);
    if (r == -EPROTO) {
        r = pump_record_drop(p->dir.records_fd, id, clock_wall_ns(), &known_ns);
        if (r == 0)
            r = pump_record_open(p->dir.records_fd, id, ret, ret_fresh);
        *ret_note = "its position file was written by another version: some log lines may be "
                    "missing or come twice";
    }
    if (r == 0 && *ret_fresh && (r = fill_record(*ret, rq, known_ns)) < 0)
        pump_record_close(*ret);
    return r;
}

int pump_entry_prepare(struct pump *p, const char *id, const json_t *rq, struct entry **ret) {
    struct pump_record *rec;
    bool fresh = false;
    const char *note = NULL;
    int r = take_record(p, id, rq, &rec, &fresh, &note);
    if (r == 0)
        r = entry_add(p, rec, ret);
    if (r == 0)
        (*ret)->note = note;
    else if (fresh)
        unlinkat(p->dir.records_fd, id, 0);
    return r;
}

/* Goes on with what an earlier pump was at. What cannot be (its FIFOs are gone) is dropped. */
int pump_entry_resume(struct pump *p) {
    int fd = openat(p->dir.fd, PUMP_RECORDS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        fd_close(fd);
        return -errno;
    }
    for (struct dirent *e; (e = readdir(d));) {
        struct pump_record *rec;
        struct entry *entry;
        bool fresh;
        if (!pump_entry_is_id(e->d_name) ||
            pump_record_open(p->dir.records_fd, e->d_name, &rec, &fresh) < 0)
            continue;
        int r = fresh ? -ENODATA : 0;
        if (fresh)
            pump_record_close(rec);
        else
            r = entry_add(p, rec, &entry);
        if (r == 0)
            pump_task_begin(entry->task);
        if (r < 0)
            log_warn("logpump", LOG_KV("container_id", e->d_name, "errno", strerror(-r)),
                     "its logs cannot be followed any more, ignoring");
        if (r < 0 && r != -ENOMEM && r != -EMFILE && r != -ENFILE) /* the next pump may have room */
            unlinkat(p->dir.records_fd, e->d_name, 0);
    }
    closedir(d);
    return 0;
}

/* ---- the built-in driver ---- */

/* The notice of an opening comes a moment before /proc shows it, and docker_logger opens one FIFO
 * after the other. Until then the task has two collectors: a few lines come twice, none is lost. */
#define RIVAL_LOOK_US (100 * US_PER_MS)

static bool is_taken(const struct pump_rivals *rivals, const struct pump_record *rec) {
    /* With one of the two it still waits for the other's reader, which must not see an end. */
    return pump_rivals_have(rivals, rec->path[0]) && pump_rivals_have(rivals, rec->path[1]);
}

/* With a plugin there, it was logmon or the plugin; without one it may be the built-in driver,
 * which took the tasks over: then their logs are no longer ours. */
static void on_rival_look(void *arg) {
    struct pump *p = arg;
    struct pump_rivals rivals;
    if (p->conns || pump_rivals_find(p->proc_fd, &rivals) < 0)
        return;
    for (struct entry *e = p->entries, *next; e; e = next) {
        next = e->next;
        const struct pump_record *rec = pump_task_record(e->task);
        if (e->drained || !is_taken(&rivals, rec))
            continue;
        log_info("logpump", LOG_KV("task_id", rec->task_id),
                 "the built-in driver has taken over the task's logs");
        pump_entry_forget(e, false);
    }
    pump_rivals_done(&rivals);
}

static void on_fifo_opened(void *arg, uint32_t events) {
    struct pump *p = arg;
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    while (read(p->inotify_fd, buf, sizeof(buf)) > 0) {
    }
    loop_timer_at(p->rival_look, clock_now_us() + RIVAL_LOOK_US);
}

int pump_entry_watch_rivals(struct pump *p) {
    p->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (p->inotify_fd < 0)
        return 0; /* all instances are in use: it goes without */
    int r = loop_timer_new(p->loop, on_rival_look, p, &p->rival_look);
    return r < 0 ? r
                 : loop_watch_add(p->loop, p->inotify_fd, EPOLLIN, on_fifo_opened, p,
                                  &p->inotify_watch);
}
