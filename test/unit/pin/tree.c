/* SPDX-License-Identifier: MPL-2.0 */
/* Makes the cgroup tree and the /proc of the reconciler's tests (tree.h). */
#include "unit/pin/tree.h"

#include "paddock/call.h"
#include "paddock/clock.h"
#include "paddock/pin_plan.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#define WAIT_US (10 * US_PER_SEC)

static void must(bool ok, const char *what) {
    if (!ok) {
        perror(what);
        abort();
    }
}

void tree_init(struct tree *t) {
    *t = (struct tree){.n = 0};
    const char *base = getenv("TREE_DIR");
    snprintf(t->dir, sizeof(t->dir), "%.40s/paddock-tree-XXXXXX", base ? base : "/tmp");
    must(mkdtemp(t->dir) != NULL, "mkdtemp");
    snprintf(t->root, sizeof(t->root), "%s/cgroup", t->dir);
    snprintf(t->proc, sizeof(t->proc), "%s/proc", t->dir);
    must(mkdir(t->root, 0755) == 0 && mkdir(t->proc, 0755) == 0, "mkdir");
    t->root_fd = open(t->root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    t->proc_fd = open(t->proc, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    t->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    must(t->root_fd >= 0 && t->proc_fd >= 0 && t->inotify_fd >= 0, "open");
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->reported, NULL);
    tree_put(t, "cgroup.controllers", "cpuset cpu io memory pids\n");
    tree_put(t, "cpuset.cpus.effective", "0-3\n"); /* the online CPUs */
    tree_put(t, "system.slice/cpuset.cpus.effective", "0-3\n");
}

void tree_done(struct tree *t) {
    fd_close(t->root_fd);
    fd_close(t->proc_fd);
    fd_close(t->inotify_fd);
    tmp_dir_remove(t->dir);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->reported);
}

static void put_at(int dir, const char *path, const char *text) {
    char copy[PATH_MAX], padded[4096];
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *p = copy; *p; p++)
        if (*p == '/') {
            *p = '\0';
            must(mkdirat(dir, copy, 0755) == 0 || errno == EEXIST, copy);
            *p = '/';
        }
    int fd = openat(dir, path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    must(fd >= 0, path);
    /* A single write, as the kernel expects it. Newlines cover the rest of the old text. */
    struct stat st;
    must(fstat(fd, &st) == 0, "fstat");
    size_t len = strlen(text), old = (size_t)st.st_size;
    must(len < sizeof(padded) && old < sizeof(padded), "size");
    memset(padded, '\n', sizeof(padded));
    memcpy(padded, text, len);
    if (len < old)
        len = old;
    must(pwrite(fd, padded, len, 0) == (ssize_t)len, "pwrite");
    close(fd);
}

void tree_put(struct tree *t, const char *path, const char *text) {
    put_at(t->root_fd, path, text);
}

const char *tree_get(struct tree *t, const char *path, char *out, size_t size) {
    AUTO_FD int fd = openat(t->root_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, out, size - 1, 0) : 0;
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' '))
        n--;
    out[n > 0 ? n : 0] = '\0';
    return out;
}

bool tree_wait(struct tree *t, const char *path, const char *text) {
    char now[4096], whole[512];
    uint64_t end = clock_now_us() + WAIT_US;
    struct pollfd changed = {.fd = t->inotify_fd, .events = POLLIN};
    snprintf(whole, sizeof(whole), "%s/%s", t->root, path);
    int watch = inotify_add_watch(t->inotify_fd, whole, IN_MODIFY);
    must(watch >= 0, whole);
    bool is;
    while (!(is = strcmp(tree_get(t, path, now, sizeof(now)), text) == 0) &&
           poll(&changed, 1, call_ms_until(end)) > 0)
        while (read(t->inotify_fd, whole, sizeof(whole)) > 0)
            ;
    inotify_rm_watch(t->inotify_fd, watch);
    if (!is)
        fprintf(stderr, "%s: \"%s\", not \"%s\"\n", path, now, text);
    return is;
}

void tree_share(struct tree *t, const char *pool, const char *reserve) {
    const char *file = "nomad.slice/share.slice/cpuset.cpus";
    bool blank = pool[0] == '\0' || pool[0] == '\n';
    char path[512];
    tree_put(t, "nomad.slice/reserve.slice/cpuset.cpus", reserve);
    /* The kernel changes the pool and the effective sets in one step, and raises an event for the
     * pool's file only. So this file is written last. An exception is a blank pool: the ancestor's
     * set must not be visible with the old pool. */
    if (blank)
        tree_put(t, file, pool);
    tree_put(t, "nomad.slice/share.slice/cpuset.cpus.effective", blank ? "0-3\n" : pool);
    for (size_t i = 0; i < t->n; i++) {
        if (strstr(t->tasks[i].source, "share.slice")) {
            snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", t->tasks[i].source);
            tree_put(t, path, blank ? "0-3\n" : pool); /* the ancestor's set */
        }
    }
    if (!blank)
        tree_put(t, file, pool);
}

void tree_put_container(struct tree *t, const struct tree_task *x, const char *actual) {
    char path[512], text[512];
    snprintf(path, sizeof(path), "%s/cpuset.cpus", x->cgroup);
    tree_put(t, path, actual);
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->cgroup);
    tree_put(t, path, "0-255");
    snprintf(path, sizeof(path), "%s/cgroup.procs", x->cgroup);
    snprintf(text, sizeof(text), "%d\n", (int)x->pid);
    tree_put(t, path, text);
    snprintf(path, sizeof(path), "%d/cgroup", (int)x->pid);
    snprintf(text, sizeof(text), "0::/%s\n", x->cgroup);
    put_at(t->proc_fd, path, text);
}

struct tree_task *tree_add(struct tree *t, const char *reserved, const char *actual) {
    char path[512], pool[256];
    pthread_mutex_lock(&t->lock);
    must(t->n < TREE_TASKS_MAX, "too many tasks");
    size_t i = t->n;
    struct tree_task *x = &t->tasks[i];
    x->pid = (pid_t)(10000 + i);
    char id[80], alloc[40];
    snprintf(id, sizeof(id), "%08zx%056d", i, 0);
    snprintf(alloc, sizeof(alloc), "%08zx-0000-0000-0000-000000000000", i);
    memcpy(x->id, id, sizeof(id));
    memcpy(x->alloc, alloc, sizeof(alloc));
    snprintf(x->reserved, sizeof(x->reserved), "%s", reserved);
    snprintf(x->name, sizeof(x->name), "web");
    snprintf(x->source, sizeof(x->source), "nomad.slice/%s.slice/%s.web.scope",
             reserved[0] ? "reserve" : "share", alloc);
    snprintf(x->cgroup, sizeof(x->cgroup), "system.slice/docker-%s.scope", id);
    tree_get(t, "nomad.slice/share.slice/cpuset.cpus", pool, sizeof(pool));
    snprintf(path, sizeof(path), "%s/cpuset.cpus", x->source);
    tree_put(t, path, "\n");
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->source);
    tree_put(t, path, pool);
    tree_put_container(t, x, actual);
    x->present = true;
    t->n++;
    pthread_mutex_unlock(&t->lock);
    return x;
}

static int snapshot(void *ctx, struct pin_coord **ret, size_t *ret_n) {
    struct tree *t = ctx;
    pthread_mutex_lock(&t->lock);
    struct pin_coord *c = calloc(t->n + 1, sizeof(*c));
    size_t n = 0;
    must(c != NULL, "calloc");
    for (size_t i = 0; i < t->n; i++) {
        const struct tree_task *x = &t->tasks[i];
        if (!x->present)
            continue;
        c[n] = (struct pin_coord){.alloc_id = strdup(x->alloc),
                                  .task_name = strdup(x->name),
                                  .container_id = strdup(x->id),
                                  .reserved = strdup(x->reserved),
                                  .pid = x->pid};
        must(asprintf(&c[n].task_id, "%s/web/1", x->alloc) > 0, "asprintf");
        must(asprintf(&c[n].source, "%s%s%s", x->source[0] ? t->root : "", x->source[0] ? "/" : "",
                      x->source) >= 0,
             "asprintf");
        n++;
    }
    pthread_mutex_unlock(&t->lock);
    *ret = c;
    *ret_n = n;
    return 0;
}

static void on_event(void *ctx, const struct pin_event *e) {
    struct tree *t = ctx;
    pthread_mutex_lock(&t->lock);
    size_t i = t->events_n++ % 64;
    snprintf(t->events[i], sizeof(t->events[i]), "%s [%s, %s > %s, %s]", e->message,
             pin_plan_state_name(e->state), e->old_set, e->new_set, e->cause);
    pthread_cond_broadcast(&t->reported);
    pthread_mutex_unlock(&t->lock);
}

static bool find_event(const struct tree *t, const char *text) {
    for (size_t i = 0; i < 64 && i < t->events_n; i++)
        if (strstr(t->events[i], text))
            return true;
    return false;
}

bool tree_wait_event(struct tree *t, const char *text) {
    struct timespec end;
    int r = 0;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    pthread_mutex_lock(&t->lock);
    while (!find_event(t, text) && r == 0)
        r = pthread_cond_timedwait(&t->reported, &t->lock, &end);
    bool found = find_event(t, text);
    for (size_t i = 0; !found && i < 64 && i < t->events_n; i++)
        fprintf(stderr, "event: %s\n", t->events[i]);
    pthread_mutex_unlock(&t->lock);
    return found;
}

struct pin_options tree_options(struct tree *t) {
    return (struct pin_options){.cgroup_root_fd = t->root_fd,
                                .cgroup_root = t->root,
                                .proc_fd = t->proc_fd,
                                .interval_us = 50 * US_PER_MS,
                                .enabled = true,
                                .realtime = true,
                                .snapshot = snapshot,
                                .event = on_event,
                                .ctx = t};
}

const char *tree_cpus(const struct tree_task *x) {
    static char path[512];
    snprintf(path, sizeof(path), "%s/cpuset.cpus", x->cgroup);
    return path;
}

static json_int_t counter_of(const json_t *status, const char *name) {
    return json_integer_value(json_object_get(json_object_get(status, "counters"), name));
}

json_int_t tree_counter(struct pin *p, const char *name) {
    json_auto_t *status = pin_show_status(p);
    return counter_of(status, name);
}

bool tree_wait_status(struct pin *p, bool (*is)(const json_t *status, void *ctx), void *ctx) {
    struct timespec nap = {.tv_nsec = 500000};
    for (uint64_t end = clock_now_us() + WAIT_US; clock_now_us() < end; nanosleep(&nap, NULL)) {
        json_auto_t *status = pin_show_status(p);
        if (is(status, ctx))
            return true;
    }
    return false;
}

struct counter_wait {
    const char *name;
    json_int_t n;
};

static bool has_counted(const json_t *status, void *ctx) {
    const struct counter_wait *c = ctx;
    return counter_of(status, c->name) >= c->n;
}

bool tree_wait_counter(struct pin *p, const char *name, json_int_t n) {
    return tree_wait_status(p, has_counted, &(struct counter_wait){name, n});
}

struct task_wait {
    size_t i;
    const char *key, *want;
    char now[256];
};

static bool task_has(const json_t *status, void *ctx) {
    struct task_wait *w = ctx;
    const json_t *task = json_array_get(json_object_get(status, "tasks"), w->i);
    const char *text = json_string_value(json_object_get(task, w->key));
    snprintf(w->now, sizeof(w->now), "%s", text ? text : task ? "" : "gone");
    return strcmp(w->now, w->want) == 0;
}

bool tree_wait_task(struct pin *p, size_t i, const char *key, const char *want) {
    struct task_wait w = {.i = i, .key = key, .want = want};
    bool is = tree_wait_status(p, task_has, &w);
    if (!is)
        fprintf(stderr, "%s of task %zu: \"%s\", not \"%s\"\n", key, i, w.now, want);
    return is;
}
