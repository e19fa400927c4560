/* SPDX-License-Identifier: MPL-2.0 */
/* Finds the containers of an allocation that can swap the folders and files that Nomad and this
 * driver put into its tasks.
 *
 * A container can swap a folder when it has a mount of the parent folder. Every container has a
 * mount of alloc, the parent of alloc/logs. But it also has a mount of alloc/logs itself, and the
 * kernel refuses to rename a mount point of the caller's own mount namespace (EBUSY). So alloc
 * counts only for a container
 * - without a mount of alloc/logs,
 * - with a second mount of alloc,
 * - that may be able to undo its own mounts, or
 * - that ran while another container could replace alloc/logs by a different folder, because that
 *   folder is no mount point.
 *
 * A read-only mount counts like a writable one. StartTask calls create_reach_find() for the
 * containers that run while a task is started. create_build() finds out the same for its own
 * container (create_sources.reaches). */
#include "src/create/create_steps.h"
#include "paddock/path_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- confinement ---- */

bool create_reach_is_unconfined(const struct create *c) {
    bool is = c->job->privileged;
    const json_t *caps = json_object_get(c->host_config, "CapAdd"), *cap;
    size_t i;
    json_array_foreach((json_t *)caps, i, cap) is |=
        strcmp(json_string_value(cap), "all") == 0 ||
        strcmp(json_string_value(cap), "sys_admin") == 0;
    for (i = 0; i < c->job->security_opt.n; i++)
        is |= strncmp(c->job->security_opt.v[i], "no-new-privileges", 17) != 0;
    return is;
}

/* ---- mounts ---- */

struct container_mounts {
    const char *alloc_dir, *run_dir;
    struct stat alloc, shared, task; /* the folders to search for */
    bool unknown;                    /* one of them does not exist */
    unsigned n_shared, n_logs;       /* mounts of alloc and of alloc/logs, as every task has them */
    create_reach_movable *movable;
    void *ctx;
};

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Handles a source that is a mount point of this driver or one like it: the folder that is mounted
 * there counts. */
static unsigned of_mount_point(struct container_mounts *m, const char *source) {
    const char *name = strrchr(source, '/') + 1;
    struct stat st;
    if (!isdigit((unsigned char)name[0])) { /* held, of Nomad; see create_own.c */
        m->n_shared += strcmp(name, "alloc") == 0;
        m->n_logs += strcmp(name, "logs") == 0;
        return 0;
    }
    if (m->unknown || stat(source, &st) < 0 || is_same_file(&st, &m->alloc))
        return CREATE_OWN_ALL;
    return (is_same_file(&st, &m->shared) ? CREATE_OWN_IN_SHARED : 0) |
           (is_same_file(&st, &m->task) ? CREATE_OWN_IN_TASK : 0);
}

/* Returns true for the mounts that every task gets: alloc, alloc/logs, hosts, <task>/local, secrets
 * and resolv.conf. */
static bool is_own(struct container_mounts *m, const char *below) {
    static const char *const of_task[] = {"/local", "/secrets", "/resolv.conf"};
    if (strcmp(below, "/alloc") == 0)
        m->n_shared++;
    else if (strcmp(below, "/alloc/logs") == 0)
        m->n_logs++;
    else if (strcmp(below, "/hosts") != 0) {
        const char *rest = below[0] ? strchr(below + 1, '/') : NULL;
        bool is = false;
        for (size_t i = 0; rest && i < ARRAY_LEN(of_task); i++)
            is |= strcmp(rest, of_task[i]) == 0;
        return is && !path_text_below("/alloc", below);
    }
    return true;
}

/* Any other path in the allocation counts as everything: links can lead it anywhere in
 * the allocation. */
static unsigned of_source(struct container_mounts *m, const char *source) {
    if (source[0] != '/')
        return 0;
    const char *below = path_text_below(m->alloc_dir, source);
    if (path_text_below(m->run_dir, source))
        return of_mount_point(m, source);
    if (below)
        return is_own(m, below) ? 0 : CREATE_OWN_ALL;
    return path_text_below(source, m->alloc_dir) ? CREATE_OWN_ALL : 0;
}

static unsigned of_container(struct container_mounts *m, const json_t *container) {
    const json_t *mounts = json_object_get(container, "Mounts"), *mount;
    const json_t *labels = json_object_get(container, "Labels");
    unsigned reach = 0;
    size_t i;
    m->n_shared = m->n_logs = 0;
    if (!json_is_array(mounts))
        return CREATE_OWN_ALL;
    json_array_foreach((json_t *)mounts, i, mount) {
        const char *type = json_string_value(json_object_get(mount, "Type"));
        const char *source = json_string_value(json_object_get(mount, "Source"));
        if (type && strcmp(type, "bind") == 0)
            reach |= source ? of_source(m, source) : CREATE_OWN_ALL;
    }
    const char *id = json_string_value(json_object_get(container, "Id"));
    bool unconfined = json_object_get(labels, LABEL_UNCONFINED);
    if (m->n_shared > 0 &&
        (m->n_shared > 1 || m->n_logs == 0 || unconfined || !id || m->movable(m->ctx, id)))
        reach |= CREATE_OWN_IN_SHARED;
    return reach & CREATE_OWN_IN_ALLOC ? CREATE_OWN_ALL : reach;
}

static bool find_folder(const char *alloc_dir, const char *name, struct stat *ret) {
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "%s/%s", alloc_dir, name) < 0) {
        path = NULL;
        return false;
    }
    return lstat(path, ret) == 0;
}

unsigned create_reach_find(const json_t *list, const struct task_config *task, const char *run_dir,
                           create_reach_movable *movable, void *ctx) {
    AUTO_FREE char *alloc_dir = path_text_clean(text_of(task->alloc_dir));
    if (!alloc_dir)
        return CREATE_OWN_ALL;
    struct container_mounts m = {
        .alloc_dir = alloc_dir, .run_dir = run_dir, .movable = movable, .ctx = ctx};
    m.unknown =
        !(find_folder(alloc_dir, ".", &m.alloc) && find_folder(alloc_dir, "alloc", &m.shared) &&
          find_folder(alloc_dir, text_of(task->name), &m.task));
    unsigned reach = 0;
    size_t i;
    json_t *container;
    json_array_foreach((json_t *)list, i, container) reach |= of_container(&m, container);
    return reach;
}
