/* SPDX-License-Identifier: MPL-2.0 */
/* Builds what `paddock status` and the metrics show. Any thread calls it. A task is copied under
 * the lock, and its JSON is built without the lock, because the reconciler needs the lock for
 * each pass. */
#include "src/pin/pin_priv.h"
#include "src/pin/pin_task.h"

#include "paddock/buf.h"
#include "paddock/metrics.h"
#include "paddock/strv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define METRICS_LIMIT (8u << 20)
#define WRITER_SHOWN_US (600 * US_PER_SEC) /* since its last write */

static json_t *json_set(const struct cpuset *s) {
    char text[CPUSET_TEXT_MAX];
    return json_string(cpuset_format(s, text, sizeof(text)) >= 0 ? text : "");
}

static json_t *json_file(const struct cgroup_file *f) {
    return f->r == 0 ? json_set(&f->set) : json_string("");
}

static json_t *json_fix(const struct pin_fix *f) {
    return json_pack("{s:I,s:s,s:s,s:s,s:i}", "time_ns", (json_int_t)f->at_ns, "cause",
                     pin_plan_cause_name(f->cause), "old", f->old_set, "new", f->new_set,
                     "writer_pid", (int)f->writer);
}

/* Oldest first. */
static json_t *json_history(const struct pin_task *t) {
    json_t *list = json_array();
    uint64_t n = t->fixes_n < PIN_HISTORY ? t->fixes_n : PIN_HISTORY;
    for (uint64_t i = t->fixes_n - n; list && i < t->fixes_n; i++)
        json_array_append_new(list, json_fix(&t->fixes[i % PIN_HISTORY]));
    return list;
}

static json_t *json_causes(const uint64_t *by_cause) {
    json_t *o = json_object();
    for (unsigned c = PIN_CAUSE_NONE + 1; o && c < PIN_CAUSES; c++)
        json_object_set_new(o, pin_plan_cause_name((enum pin_cause)c),
                            json_integer((json_int_t)by_cause[c]));
    return o;
}

static const char *why_text(const struct pin_task *t) {
    if (t->error)
        return strerror(-t->error);
    if (t->state == PIN_HELD || t->state == PIN_UNMANAGED)
        return pin_plan_hold_name(t->hold);
    return "";
}

static const char *unit_text(const struct pin *p, const struct pin_task *t) {
    if (!p->o.systemd)
        return "off";
    if (!t->unit.name)
        return "none";
    return t->unit.synced ? "synced" : t->unit.error ? strerror(-t->unit.error) : "pending";
}

static json_t *json_task(const struct pin *p, const struct pin_task *t, enum pin_state state) {
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:s,s:s,s:s}", "task_id", t->c.task_id, "alloc_id",
                  t->c.alloc_id, "task", t->c.task_name, "container_id", t->c.container_id, "kind",
                  t->has_own ? "cores" : "shared", "pid", (int)t->c.pid, "source", t->c.source,
                  "cgroup", t->dir_path ? t->dir_path : "", "state", pin_plan_state_name(state));
    if (!o)
        return NULL;
    json_object_set_new(o, "why", json_string(why_text(t)));
    json_object_set_new(o, "wanted", t->has_last_good ? json_set(&t->last_good) : json_string(""));
    json_object_set_new(o, "actual", json_file(&t->cpus.file));
    json_object_set_new(o, "effective", json_file(&t->effective));
    json_object_set_new(o, "mems", json_file(&t->mems.file));
    json_object_set_new(o, "changes_seen",
                        json_string(t->cpus.watch >= 0 ? "by events" : "at the tick"));
    json_object_set_new(o, "unit", json_string(unit_text(p, t)));
    json_object_set_new(o, "corrections", json_integer((json_int_t)t->fixes_n));
    json_object_set_new(o, "by_cause", json_causes(t->corrections));
    json_object_set_new(o, "errors", json_integer((json_int_t)t->errors));
    json_object_set_new(o, "history", json_history(t));
    if (t->writer.pid > 0 && clock_now_us() - t->writer.at_us < WRITER_SHOWN_US)
        json_object_set_new(o, "writer",
                            json_pack("{s:i,s:s%}", "pid", (int)t->writer.pid, "command",
                                      t->writer.comm, strlen(t->writer.comm)));
    return o;
}

/* All counters, read at the same time. */
struct totals {
    struct pin_counters of_thread;
    uint64_t events, watch_errors, unit_calls, unit_errors;
};

static struct totals count_all(struct pin *p) {
    pthread_mutex_lock(&p->lock);
    struct totals t = {.of_thread = p->counters,
                       .events = p->watch.events,
                       .watch_errors = p->watch.errors,
                       .unit_calls = p->units.calls,
                       .unit_errors = p->units.errors};
    pthread_mutex_unlock(&p->lock);
    return t;
}

static json_t *json_counters(const struct totals *t) {
    const struct pin_counters *c = &t->of_thread;
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:I,s:I}", "passes", (json_int_t)c->passes, "ticks",
        (json_int_t)c->ticks, "pass_cpu_ns", (json_int_t)c->pass_cpu_ns, "tick_cpu_ns",
        (json_int_t)c->tick_cpu_ns, "corrections", json_causes(c->corrections), "write_errors",
        (json_int_t)c->write_errors, "events", (json_int_t)t->events, "unit_calls",
        (json_int_t)t->unit_calls, "unit_errors", (json_int_t)t->unit_errors, "reopened",
        (json_int_t)c->reopened, "watch_errors", (json_int_t)t->watch_errors);
}

/* ---- copies ---- */

/* One task as it was under the lock, with strings of its own. */
struct copy {
    struct pin_task t;
    enum pin_state state;
    const struct pin_task *at; /* its place in the list; valid while @removed has not changed */
    uint64_t removed;
};

static int copy_texts(struct copy *to, const struct pin_task *t) {
    int r = 0;
    to->t.c = (struct pin_coord){.task_id = str_dup(t->c.task_id, &r),
                                 .alloc_id = str_dup(t->c.alloc_id, &r),
                                 .task_name = str_dup(t->c.task_name, &r),
                                 .container_id = str_dup(t->c.container_id, &r),
                                 .source = str_dup(t->c.source, &r),
                                 .reserved = str_dup(t->c.reserved, &r),
                                 .pid = t->c.pid};
    to->t.dir_path = t->dir_path ? str_dup(t->dir_path, &r) : NULL;
    return r;
}

static void copy_done(struct copy *c) {
    pin_task_coord_done(&c->t.c);
    free(TAKE_PTR(c->t.dir_path));
}

static const struct pin_task *next_of(const struct pin *p, const struct copy *last) {
    if (last->at && last->removed == p->removed)
        return last->at->next;
    const struct pin_task *t = p->tasks;
    while (t && t->seq <= last->t.seq)
        t = t->next;
    return t;
}

/* Copies the task after the one in @c, or the first task when @c is zeroed. Returns 1; 0 when no
 * task is left; -ENOMEM. */
static int copy_next(struct pin *p, struct copy *c) {
    pthread_mutex_lock(&p->lock);
    const struct pin_task *t = next_of(p, c);
    while (t && t->gone)
        t = t->next;
    int r = 0;
    copy_done(c);
    if (t) {
        c->t = *t;
        c->t.unit.name = t->unit.name ? "" : NULL;
        c->at = t;
        c->removed = p->removed;
        c->state = pin_task_state(t);
        r = copy_texts(c, t);
    }
    pthread_mutex_unlock(&p->lock);
    return r < 0 ? r : t != NULL;
}

static json_t *json_tasks(struct pin *p) {
    json_t *tasks = json_array();
    struct copy *c = calloc(1, sizeof(*c));
    int r = tasks && c ? 1 : -ENOMEM;
    while (r > 0 && (r = copy_next(p, c)) > 0)
        r = json_array_append_new(tasks, json_task(p, &c->t, c->state)) < 0 ? -ENOMEM : 1;
    if (c)
        copy_done(c);
    free(c);
    if (r < 0) {
        json_decref(tasks);
        return NULL;
    }
    return tasks;
}

json_t *pin_show_status(struct pin *p) {
    json_t *tasks = json_tasks(p);
    if (!tasks)
        return NULL;
    struct totals totals = count_all(p);
    int ended = atomic_load(&p->ended);
    return json_pack("{s:o,s:o,s:{s:s,s:b,s:s,s:I,s:s,s:b,s:b,s:i}}", "tasks", tasks, "counters",
                     json_counters(&totals), "host", "disabled", p->reason, "running",
                     p->running && !ended, "ended", ended ? strerror(-ended) : "", "interval_us",
                     (json_int_t)p->o.interval_us, "events",
                     p->watch.fd >= 0 ? "inotify" : "tick only", "systemd", p->o.systemd,
                     "mems_follow", p->o.mems_follow, "cpus", (int)sysconf(_SC_NPROCESSORS_CONF));
}

/* ---- metrics ---- */

static int metrics_states(struct buf *b, struct pin *p) {
    const char *name = "paddock_cpuset_tasks";
    unsigned n[PIN_UNMANAGED + 1] = {0};
    pthread_mutex_lock(&p->lock);
    for (const struct pin_task *t = p->tasks; t; t = t->next)
        if (!t->gone)
            n[pin_task_state(t)]++;
    pthread_mutex_unlock(&p->lock);
    int r = metrics_family(b, name, "gauge", "Tasks by the state of their cpuset.");
    for (unsigned s = 0; s < ARRAY_LEN(n) && r == 0; s++) {
        char label[64];
        snprintf(label, sizeof(label), "state=\"%s\"", pin_plan_state_name((enum pin_state)s));
        r = metrics_sample(b, name, label, n[s]);
    }
    return r;
}

static int metrics_corrections(struct buf *b, const struct pin_counters *counters) {
    const char *name = "paddock_cpuset_corrections_total";
    int r = metrics_family(b, name, "counter", "Cpusets that were set right, by cause.");
    for (unsigned c = PIN_CAUSE_NONE + 1; c < PIN_CAUSES && r == 0; c++) {
        char label[64];
        snprintf(label, sizeof(label), "cause=\"%s\"", pin_plan_cause_name((enum pin_cause)c));
        r = metrics_sample(b, name, label, (double)counters->corrections[c]);
    }
    return r;
}

static int metrics_repair(struct buf *b, const struct pin *p) {
    const char *name = "paddock_cpuset_repair_duration_seconds";
    int r = metrics_family(b, name, "histogram",
                           "Time from the moment when a wrong cpuset was noticed to its repair.");
    return r < 0 ? r : metrics_histogram_put(b, name, "", &p->repair);
}

static int of_task(struct buf *b, const struct pin_task *t) {
    AUTO_BUF struct buf labels;
    buf_init(&labels, 0);
    int r = metrics_label(&labels, "alloc_id", t->c.alloc_id);
    if (r == 0)
        r = metrics_label(&labels, "task", t->c.task_name);
    return r < 0 ? r
                 : metrics_sample(b, "paddock_cpuset_task_corrections_total", buf_text(&labels),
                                  (double)t->fixes_n);
}

static int of_tasks(struct buf *b, struct pin *p) {
    struct copy *c = calloc(1, sizeof(*c));
    int r = !c ? -ENOMEM
               : metrics_family(b, "paddock_cpuset_task_corrections_total", "counter",
                                "Corrections of one task that runs.");
    while (r == 0 && (r = copy_next(p, c)) > 0)
        r = of_task(b, &c->t);
    if (c)
        copy_done(c);
    free(c);
    return r;
}

static int metrics_counts(struct buf *b, const struct totals *totals) {
    const struct pin_counters *c = &totals->of_thread;
    const struct {
        const char *name, *help;
        double value;
    } rows[] = {
        {"paddock_cpuset_foreign_core_seconds_total",
         "Cores of other tasks that tasks could use, times the seconds since that was noticed.",
         (double)c->foreign_us / 1e6},
        {"paddock_cpuset_write_errors_total", "Writes that the kernel refused.",
         (double)c->write_errors},
        {"paddock_cpuset_events_total", "File events seen.", (double)totals->events},
        {"paddock_cpuset_ticks_total", "Times that everything was read again.", (double)c->ticks},
        {"paddock_cpuset_cpu_seconds_total", "CPU time of the reconciler.",
         (double)c->pass_cpu_ns / 1e9},
        {"paddock_cpuset_unit_calls_total", "Units set by way of systemd.",
         (double)totals->unit_calls},
        {"paddock_cpuset_unit_errors_total", "Units that systemd refused to set.",
         (double)totals->unit_errors},
        {"paddock_cpuset_watch_errors_total", "Files that cannot be watched.",
         (double)totals->watch_errors},
    };
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows) && r == 0; i++)
        r = metrics_one(b, rows[i].name, "counter", rows[i].help, rows[i].value);
    return r;
}

static int all_metrics(struct buf *b, struct pin *p) {
    struct totals totals = count_all(p);
    int r = metrics_states(b, p);
    if (r == 0)
        r = metrics_corrections(b, &totals.of_thread);
    if (r == 0)
        r = metrics_repair(b, p);
    if (r == 0)
        r = metrics_counts(b, &totals);
    return r < 0 ? r : of_tasks(b, p);
}

char *pin_show_metrics(struct pin *p) {
    struct buf b;
    buf_init(&b, METRICS_LIMIT);
    int r = all_metrics(&b, p);
    char *text = r == 0 ? buf_take(&b) : NULL;
    buf_done(&b);
    return text;
}
