/* SPDX-License-Identifier: MPL-2.0 */
/* What all parts of the driver use: the current configuration, which Nomad client this process
 * serves, task events, and the error for an unknown task. driver.c calls all parts and no part
 * calls driver.c; this file is the opposite: all parts call it.
 *
 * The client is recognised by the first task's alloc folder. The owner label of containers and the
 * pump's folder below /run are derived from it. No lock is held while a file is accessed, except
 * the pump's own. */
#include "src/task/driver_priv.h"
#include "src/task/remember.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <stdio.h>
#include <string.h>

/* ---- configuration ---- */

struct config_snapshot *client_config_get(struct driver *d) {
    pthread_mutex_lock(&d->lock);
    struct config_snapshot *c = d->config;
    if (c)
        atomic_fetch_add(&c->refs, 1);
    pthread_mutex_unlock(&d->lock);
    return c;
}

void client_config_put(struct config_snapshot *c) {
    if (c && atomic_fetch_sub(&c->refs, 1) == 1) {
        config_plugin_done(&c->c);
        free(c);
    }
}

/* ---- the Nomad client ---- */

/* FNV-1a. It only makes a short name for a folder and protects nothing. */
static uint64_t hash_text(const char *text) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h;
}

/* For example "docker@host:/opt/nomad/data/alloc": driver, machine, and the client's alloc folder.
 * No two clients of a machine share that folder, and every Nomad version sends it. */
char *client_owner_of(const struct driver *d, const char *allocs) {
    char host[256] = "";
    if (gethostname(host, sizeof(host) - 1) < 0)
        host[0] = '\0';
    char *text = NULL;
    return asprintf(&text, "%s@%s:%s", d->name, host, allocs) < 0 ? NULL : text;
}

static char *allocs_dir(const struct task_config *task) {
    const char *slash = strrchr(task->alloc_dir, '/');
    return strndup(task->alloc_dir, slash ? (size_t)(slash - task->alloc_dir) : 0);
}

/* The pump's folder, one for each driver of each client. Its name contains neither Docker's
 * endpoint nor the host's name, which may change while tasks run. */
char *client_dir(const struct driver *d, const char *allocs) {
    char *dir = NULL;
    if (asprintf(&dir, "%s/%s-%016llx", d->run_dir, d->name,
                 (unsigned long long)hash_text(allocs)) < 0)
        return NULL;
    return dir;
}

/* Sends a message of the pump about a task as a task event. */
static void on_pump_report(void *ctx, const char *task_id, const char *text) {
    struct driver *d = ctx;
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (t)
        client_tell(d, t, text);
}

int client_need_pump(struct driver *d, struct err *err) {
    if (d->pump)
        return 0;
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
    struct logpump_options o = {.program = d->program,
                                .run_dir = d->client_dir,
                                .endpoint = c->c.endpoint,
                                .tls_cert = c->c.tls_cert,
                                .tls_key = c->c.tls_key,
                                .tls_ca = c->c.tls_ca,
                                .allocs_dir = d->allocs,
                                .backlog_bytes = (uint64_t)c->c.log_backlog_mb * 1000000,
                                .affinity = pin_affinity_initial(d->pin),
                                .loop = d->loop,
                                .pool = d->pool,
                                .report = on_pump_report,
                                .ctx = d};
    struct logpump *pump = NULL;
    pthread_mutex_lock(&d->pump_lock);
    int r = d->pump ? 0 : logpump_new(&o, &pump, err);
    if (pump && d->affinity)
        logpump_set_affinity(pump, d->affinity);
    if (pump)
        d->pump = pump;
    pthread_mutex_unlock(&d->pump_lock);
    return r;
}

void client_follow_affinity(struct driver *d, const struct affinity *a) {
    pthread_mutex_lock(&d->pump_lock);
    /* Kept for a pump that is made later. When out of memory, that pump gets the next change. */
    if (!d->affinity)
        d->affinity = malloc(sizeof(*d->affinity));
    if (d->affinity)
        *d->affinity = *a;
    if (d->pump)
        logpump_set_affinity(d->pump, a);
    pthread_mutex_unlock(&d->pump_lock);
}

/* The folder is a sibling of the pump's folder, because that one is removed together with
 * the pump. */
static int start_sources(struct driver *d, const char *dir, struct err *err) {
    AUTO_FREE char *beside = NULL;
    if (asprintf(&beside, "%s-volumes", dir) < 0) {
        beside = NULL;
        return err_oom(err);
    }
    return sources_new(d, beside, &d->sources) < 0 ? err_oom(err) : 0;
}

static int start_claim(struct driver *d, const char *dir, struct err *err) {
    AUTO_FREE char *beside = NULL;
    if (asprintf(&beside, "%s.claim", dir) < 0) {
        beside = NULL;
        return err_oom(err);
    }
    return claim_new(beside, &d->claim) < 0 ? err_oom(err) : 0;
}

int client_meet(struct driver *d, const struct task_config *task, struct err *err) {
    if (d->unfit[0])
        return err_set(err, ERR_PLAIN, EACCES, "%s", d->unfit);
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
    AUTO_FREE char *allocs = allocs_dir(task);
    AUTO_FREE char *owner = allocs ? client_owner_of(d, allocs) : NULL;
    AUTO_FREE char *dir = owner && allocs && c ? client_dir(d, allocs) : NULL;
    if (!dir)
        return err_oom(err);
    int r = 0;
    bool met = false;
    pthread_mutex_lock(&d->lock); /* memory only: the pump's folder is made without this lock */
    if (!d->owner) {
        r = start_sources(d, dir, err);
        if (r == 0)
            r = start_claim(d, dir, err);
        if (r < 0) {
            sources_free(TAKE_PTR(d->sources));
            claim_free(TAKE_PTR(d->claim));
        } else {
            d->client_dir = TAKE_PTR(dir);
            d->allocs = TAKE_PTR(allocs);
            d->owner = TAKE_PTR(owner);
            met = true;
            sources_sweep_later(d->sources);
            removals_begin(d->removals);
        }
    }
    pthread_mutex_unlock(&d->lock);
    if (r == 0 && claim_take(d->claim) < 0)
        log_debug("dangling", NULL, "the claim could not be written, retrying");
    if (met && d->remembered && remember_write(d->remembered, d->allocs) < 0)
        log_debug("dangling", NULL, "the client could not be noted, ignoring");
    return r;
}

const char *client_owner(struct driver *d) {
    pthread_mutex_lock(&d->lock);
    const char *owner = d->owner;
    pthread_mutex_unlock(&d->lock);
    return owner;
}

/* ---- task events ---- */

void client_tell_ids(struct driver *d, const char *task_id, const char *alloc_id,
                     const char *task_name, const char *message, const char *key,
                     const char *value) {
    struct driver_event e = {.task_id = task_id,
                             .alloc_id = alloc_id,
                             .task_name = task_name,
                             .time_ns = clock_wall_ns(),
                             .message = message};
    if (key && value && kvs_set(&e.annotations, key, value) < 0)
        kvs_done(&e.annotations); /* the message alone is enough */
    task_events_tell(&d->events, &e);
    kvs_done(&e.annotations);
}

void client_tell(struct driver *d, const struct task *t, const char *message) {
    client_tell_ids(d, t->id, t->alloc_id, t->name, message, NULL, NULL);
}

int client_not_found(struct err *err) {
    return err_set(err, ERR_PLAIN, ENOENT, "task not found for given id");
}
