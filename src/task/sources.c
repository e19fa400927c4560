/* SPDX-License-Identifier: MPL-2.0 */
/* Mounts for a task the very objects that were checked, and removes these mounts again. StartTask
 * and DestroyTask call this file; source_mounts.c does the system calls.
 *
 * Between our check of a folder and Docker's mount, a sibling task could put a symlink in place of
 * the folder. So Docker is sent a name below /run that no task can reach.
 *
 * This is done only where a job is restricted to its allocation (volumes.enabled = false;
 * otherwise it may name any path of the host anyway). It is done only for `volumes` and bind
 * mounts, and for Nomad's own folders where a sibling task can swap them (siblings.h). A usual
 * task therefore costs nothing.
 *
 * The mounts live as long as the task, not only until its start: a restart by hand and `docker cp`
 * mount again. What a crash or another driver left is removed once, when the Nomad client of this
 * process is known.
 *
 * Docker is sent names as they are, with one warning per process, where it cannot see our mounts:
 * Docker over TCP, a dockerd in another mount namespace, an agent that may not mount. */
#include "src/task/driver_priv.h"
#include "src/task/source_mounts.h"

#include "paddock/create.h"
#include "paddock/log.h"
#include "paddock/path.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

#define HASH_DIGITS 16

struct sources {
    struct driver *d;
    char *dir;
    pthread_mutex_t lock; /* of the files below dir; held for local calls only */
    atomic_bool warned;   /* the warning that names are used was logged */
    atomic_bool denied;   /* mount() has returned EPERM */
};

int sources_new(struct driver *d, const char *dir, struct sources **ret) {
    struct sources *s = calloc(1, sizeof(*s));
    char *copy = strdup(dir);
    if (!s || !copy) {
        free(s);
        free(copy);
        return -ENOMEM;
    }
    s->d = d;
    s->dir = copy;
    pthread_mutex_init(&s->lock, NULL);
    *ret = s;
    return 0;
}

void sources_free(struct sources *s) {
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s->dir);
    free(s);
}

/* ---- the decision ---- */

/* Logs once that names are used. Returns 0, the result of sources_plan() for this case. */
static int by_name(struct sources *s, const char *why) {
    if (!atomic_exchange(&s->warned, true))
        log_warn("start", LOG_KV("why", why),
                 "folders of the allocation are given to Docker by name: a task that swaps a "
                 "folder for a symlink while another one starts is not noticed, ignoring");
    return 0;
}

static bool asks_for_any(const struct job_config *job) {
    bool any = job->volumes.n > 0;
    for (size_t i = 0; i < job->n_mounts; i++)
        any |= job->mounts[i].type && strcmp(job->mounts[i].type, "bind") == 0;
    return any;
}

/* Docker's rule for names; Docker itself refuses all others. */
static bool is_container_name(const char *name) {
    return name[0] != '.' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789_.-")] == '\0';
}

bool sources_possible(struct driver *d, const struct plugin_config *plugin) {
    return !plugin->volumes_enabled && docker_has_socket(d->docker) &&
           !atomic_load(&d->sources->denied);
}

int sources_plan(struct driver *d, const struct plugin_config *plugin, const struct job_config *job,
                 bool hold, const char *container, char **ret_dir, struct err *err) {
    struct sources *s = d->sources;
    pid_t pid;
    if (plugin->volumes_enabled || !(hold || asks_for_any(job)) || !is_container_name(container))
        return 0;
    if (atomic_load(&s->denied))
        return by_name(s, "this process may not mount");
    int r = docker_peer(d->docker, &pid, err);
    if (r == -EPROTONOSUPPORT) {
        err_clear(err);
        return by_name(s, "Docker is not reached through a Unix socket");
    }
    if (r < 0)
        return r;
    if (pid <= 0 || !path_shares_mounts(d->proc_fd, pid))
        return by_name(s, "dockerd is not known to see the mounts of this process");
    char *dir = NULL;
    if (asprintf(&dir, "%s/%s", s->dir, container) < 0)
        return err_oom(err);
    *ret_dir = dir;
    return 1;
}

/* ---- creation and removal ---- */

int sources_mount(struct driver *d, const char *container, const struct create_sources *list,
                  struct err *err) {
    struct sources *s = d->sources;
    if (list->n == 0)
        return 0;
    pthread_mutex_lock(&s->lock);
    int r = source_mounts_make(s->dir, container, list, err);
    pthread_mutex_unlock(&s->lock);
    if (r == -EPERM)
        atomic_store(&s->denied, true);
    return r;
}

static char *container_of(const struct task *t) {
    return create_name(&(struct task_config){.name = t->name, .alloc_id = t->alloc_id});
}

/* Returns whether another task uses the mounts: a new start of the same task may have them
 * by now. */
static bool is_used(struct driver *d, const char *container, const struct task *except) {
    struct task **all;
    size_t n;
    if (store_all(d->store, &all, &n) < 0)
        return true;
    bool used = false;
    for (size_t i = 0; i < n; i++) {
        AUTO_FREE char *name = all[i] == except ? NULL : container_of(all[i]);
        used |= all[i] != except && (!name || strcmp(name, container) == 0);
        store_task_unref(all[i]);
    }
    free(all);
    return used;
}

/* Up to version 0.2 the folder's name depended on Docker's endpoint and the host's name. The mounts
 * of a task that was started by that version are therefore in another folder. No other client has a
 * container of this name. */
static int remove_from_all(const struct sources *s, const char *container) {
    AUTO_FREE char *pattern = strdup(s->dir); /* ".../DRIVER-0123456789abcdef-volumes" */
    char *hash = pattern ? strrchr(pattern, '-') : NULL;
    glob_t found;
    int r = source_mounts_remove(s->dir, container);
    if (!hash || hash - pattern < HASH_DIGITS)
        return r;
    memset(hash - HASH_DIGITS, '?', HASH_DIGITS);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int other = source_mounts_remove(found.gl_pathv[i], container);
            r = r < 0 ? r : other;
        }
    }
    globfree(&found);
    return r;
}

static void remove_unused(struct sources *s, const char *container, const struct task *except) {
    pthread_mutex_lock(&s->lock);
    int r = is_used(s->d, container, except) ? 0 : remove_from_all(s, container);
    pthread_mutex_unlock(&s->lock);
    if (r < 0)
        log_warn("destroy", LOG_KV("container", container, "folder", s->dir, "errno", strerror(-r)),
                 "the mounts of its volumes could not be taken away, ignoring");
}

void sources_leave(struct driver *d, const struct task *t) {
    AUTO_FREE char *container = container_of(t);
    if (d->sources && container)
        remove_unused(d->sources, container, t);
}

/* ---- leftovers ---- */

static bool is_listed(const json_t *list, const char *container) {
    size_t i, j;
    json_t *c, *name;
    json_array_foreach((json_t *)list, i, c)
        json_array_foreach(json_object_get(c, "Names"), j, name) {
        const char *text = json_string_value(name);
        if (text && strcmp(text + (text[0] == '/'), container) == 0)
            return true;
    }
    return false;
}

/* Returns whether the container does not exist. For a list in which a container could not
 * be read. */
static bool is_gone(struct driver *d, const char *container) {
    struct call call = call_within(NULL, d->timeout_us);
    call.cancel = &d->ended;
    struct docker_state state;
    return docker_container_inspect(d->docker, &call, container, &state, NULL, NULL) == -ENOENT;
}

/* Removes the mounts of containers that do not exist. The folders are listed first and then the
 * containers, so that a container of a later start is not taken for a missing one. */
static void sweep_mounts(void *arg) {
    struct sources *s = arg;
    struct driver *d = s->d;
    AUTO_STRV struct strv names = {0};
    AUTO_JSON json_t *list = NULL;
    struct err err = {0};
    size_t skipped = 0;
    int r = source_mounts_list(s->dir, &names);
    if (r < 0)
        err_set(&err, ERR_PLAIN, -r, "%s: %s", s->dir, strerror(-r));
    if (r == 0 && names.n > 0) {
        struct call call = call_within(NULL, d->timeout_us);
        call.cancel = &d->ended;
        r = docker_container_list(d->docker, &call, true, NULL, &list, &skipped, &err);
    }
    if (r < 0)
        log_warn("start", LOG_KV("error", err.text),
                 "mounts of volumes may be left from before, ignoring");
    for (size_t i = 0; r == 0 && i < names.n; i++)
        if (!is_listed(list, names.v[i]) && (skipped == 0 || is_gone(d, names.v[i])))
            remove_unused(s, names.v[i], NULL);
}

void sources_sweep_later(struct sources *s) {
    if (pool_run(s->d->pool, sweep_mounts, s) < 0)
        log_warn("start", NULL, "no thread to look for mounts that were left, ignoring");
}
