/* SPDX-License-Identifier: MPL-2.0 */
/* Watches memory.events of each container, see oom.h. driver.c creates the object; exit.c adds and
 * removes containers and calls oom_look() before it judges an end.
 *
 * All watches share one inotify instance. An event only says that a file has changed. The count
 * of kills in the file is compared with the last one, because other counters of the file
 * change, too. */
#include "src/task/oom.h"

#include "paddock/cgroup.h"
#include "paddock/log.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

struct watched {
    int wd;
    uint64_t kills; /* as last read */
    char container_id[65];
    struct watched *next;
    char path[]; /* of memory.events */
};

struct oom {
    int inotify_fd, proc_fd, root_fd;
    const char *root;
    void (*killed)(void *ctx, const char *container_id);
    void *ctx;
    struct loop_watch *watch;
    pthread_mutex_t lock; /* of the list and the inotify queue, up to the last call of `killed` */
    struct watched *first;
};

/* Reads N of the line "oom_kill N", which includes the cgroups below. Returns 0 also for a file
 * that cannot be read. */
static uint64_t count_kills(const char *path) {
    char text[1024];
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n < 0)
        return 0;
    text[n] = '\0';
    const char *at = strstr(text, "\noom_kill ");
    return at ? strtoull(at + strlen("\noom_kill "), NULL, 10) : 0;
}

/* The event may be about another counter of the file. The caller holds the lock. */
static bool has_killed_more(struct watched *w) {
    uint64_t kills = count_kills(w->path);
    bool more = kills > w->kills;
    w->kills = kills;
    return more;
}

/* The lock is held until all callbacks have returned. So when another thread finds the queue empty,
 * every kill up to then was reported. */
void oom_look(struct oom *o) {
    struct inotify_event e; /* events of a file contain no name */
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    while (read(o->inotify_fd, &e, sizeof(e)) == (ssize_t)sizeof(e)) {
        bool any = e.mask & IN_Q_OVERFLOW; /* events were lost, for any of the files */
        for (struct watched *w = o->first; w; w = w->next)
            if ((any || w->wd == e.wd) && has_killed_more(w))
                o->killed(o->ctx, w->container_id);
    }
    pthread_mutex_unlock(&o->lock);
}

static void on_change(void *arg, uint32_t events) {
    (void)events;
    oom_look(arg);
}

/* The caller holds the lock. */
static void drop_watch(struct oom *o, struct watched **at) {
    struct watched *w = *at;
    *at = w->next;
    if (inotify_rm_watch(o->inotify_fd, w->wd) < 0) /* its cgroup was removed before */
        log_debug("oom", LOG_KV("container_id", w->container_id), "the watch was gone already");
    free(w);
}

void oom_forget(struct oom *o, const char *container_id) {
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    struct watched **at = &o->first;
    while (*at && strcmp((*at)->container_id, container_id) != 0)
        at = &(*at)->next;
    if (*at)
        drop_watch(o, at);
    pthread_mutex_unlock(&o->lock);
}

/* Adds a watch. Returns 1 when a process was killed before; 0; -errno. */
static int add_watch(struct oom *o, pid_t pid, const char *container_id) {
    char dir[PATH_MAX];
    AUTO_FD int fd = cgroup_container_open(o->proc_fd, o->root_fd, pid, container_id, dir, NULL);
    if (fd < 0)
        return fd;
    size_t size = strlen(o->root) + strlen(dir) + sizeof("//memory.events");
    struct watched *w = calloc(1, sizeof(*w) + size);
    if (!w)
        return -ENOMEM;
    snprintf(w->container_id, sizeof(w->container_id), "%s", container_id);
    snprintf(w->path, size, "%s/%s/memory.events", o->root, dir);
    pthread_mutex_lock(&o->lock);
    w->wd = inotify_add_watch(o->inotify_fd, w->path, IN_MODIFY);
    int r = w->wd < 0 ? -errno : has_killed_more(w);
    if (r >= 0) {
        w->next = o->first;
        o->first = TAKE_PTR(w);
    }
    pthread_mutex_unlock(&o->lock);
    free(w);
    return r;
}

void oom_watch(struct oom *o, pid_t pid, const char *container_id) {
    if (!o || pid <= 0)
        return;
    oom_forget(o, container_id); /* after a restart the container has another cgroup */
    int r = add_watch(o, pid, container_id);
    if (r > 0)
        o->killed(o->ctx, container_id);
    else if (r < 0) /* the container has ended, or inotify's limit is reached */
        log_debug("oom", LOG_KV("container_id", container_id, "errno", strerror(-r)),
                  "memory.events is not watched, ignoring");
}

int oom_new(struct loop *loop, int proc_fd, int root_fd, const char *root,
            void (*killed)(void *ctx, const char *container_id), void *ctx, struct oom **ret) {
    AUTO_FD int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct oom *o = calloc(1, sizeof(*o));
    if (!o)
        return -ENOMEM;
    *o = (struct oom){.inotify_fd = fd,
                      .proc_fd = proc_fd,
                      .root_fd = root_fd,
                      .root = root,
                      .killed = killed,
                      .ctx = ctx};
    int r = loop_watch_add(loop, fd, EPOLLIN, on_change, o, &o->watch);
    if (r < 0) {
        free(o);
        return r;
    }
    pthread_mutex_init(&o->lock, NULL);
    TAKE_FD(fd);
    *ret = o;
    return 0;
}

void oom_free(struct oom *o) {
    if (!o)
        return;
    while (o->first)
        drop_watch(o, &o->first);
    loop_watch_del(o->watch);
    fd_close(o->inotify_fd);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
