/* Containers that DestroyTask could not remove, because Docker did not answer or refused.
 *
 * Nomad forgets a destroyed task, so nothing else would remove its container. Each such container
 * is a file named after its id in one folder below /run, which a plugin that starts later finds.
 * The folder is gone through every REMOVALS_US until it is empty; the container's removal or its
 * absence deletes the file. The streams thread has the timer, a thread of the pool asks Docker. */
#include "driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define REMOVALS_US (10 * US_PER_SEC)
#define ID_HEX "0123456789abcdef"

struct removals {
    struct driver *d;
    struct loop_timer *timer;
    /* The streams thread's: */
    bool waits; /* the timer is set or the work runs */
    bool again; /* a container was noted since the work began, which may not have seen it */
};

int removals_new(struct driver *d, struct removals **ret) {
    struct removals *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->d = d;
    *ret = l;
    return 0;
}

void removals_free(struct removals *l) {
    if (!l)
        return;
    loop_timer_del(l->timer);
    free(l);
}

static char *folder_of(const struct driver *d) {
    char *path;
    return asprintf(&path, "%s.removals", d->client_dir) < 0 ? NULL : path;
}

/* A file of the folder is a container's id, or not ours. */
static bool is_id(const char *name) {
    return strlen(name) == 64 && strspn(name, ID_HEX) == 64;
}

/* Returns whether the container is gone. */
static bool remove_one(struct driver *d, const char *id) {
    struct call call = call_within(NULL, d->timeout_slow_us);
    struct err err = {0};
    call.cancel = &d->ended;
    int r = docker_container_remove(d->docker, &call, id, true, &err);
    if (r < 0 && r != -ENOENT)
        log_debug("destroy", LOG_KV("container_id", id, "error", err.text),
                  "a container of a destroyed task is still there, retrying");
    return r == 0 || r == -ENOENT;
}

/* Returns how many containers are left; 0 also when there is no folder. */
static size_t remove_all(struct driver *d) {
    AUTO_FREE char *path = folder_of(d);
    DIR *dir = path ? opendir(path) : NULL;
    size_t left = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!is_id(e->d_name))
            continue;
        if (atomic_load(&d->ending) || !remove_one(d, e->d_name) ||
            unlinkat(dirfd(dir), e->d_name, 0) < 0)
            left++;
    }
    if (dir)
        closedir(dir);
    if (dir && left == 0 && rmdir(path) < 0)
        log_debug("destroy", LOG_KV("path", path, "errno", strerror(errno)), "not removed");
    return left;
}

static void on_timer(void *arg);

static void wait_for_turn(void *arg) {
    struct removals *l = arg;
    if (l->timer || loop_timer_new(l->d->loop, on_timer, l, &l->timer) == 0)
        loop_timer_at(l->timer, clock_now_us() + REMOVALS_US);
}

static void stand_down(void *arg) {
    struct removals *l = arg;
    if (l->again)
        wait_for_turn(l);
    else
        l->waits = false;
}

static void work(void *arg) {
    struct removals *l = arg;
    bool left = remove_all(l->d) > 0;
    if (!atomic_load(&l->d->ending) &&
        loop_post(l->d->loop, left ? wait_for_turn : stand_down, l) < 0)
        log_warn("destroy", NULL, "out of memory: containers of destroyed tasks may be left");
}

static void on_timer(void *arg) {
    struct removals *l = arg;
    l->again = false;
    if (pool_run(l->d->pool, work, l) < 0)
        wait_for_turn(l);
}

static void begin(void *arg) {
    struct removals *l = arg;
    if (l->waits) {
        l->again = true;
        return;
    }
    l->waits = true;
    wait_for_turn(l);
}

void removals_begin(struct removals *l) {
    if (loop_post(l->d->loop, begin, l) < 0)
        log_debug("destroy", NULL, "out of memory: removals are tried with the next one");
}

void removals_add(struct removals *l, const char *container_id) {
    AUTO_FREE char *folder = folder_of(l->d);
    AUTO_FREE char *path = NULL;
    AUTO_FD int fd = -EBADF;
    if (folder && asprintf(&path, "%s/%s", folder, container_id) < 0)
        path = NULL;
    if (path && (mkdir(folder, 0700) == 0 || errno == EEXIST))
        fd = open(path, O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        log_warn("destroy", LOG_KV("container_id", container_id, "errno", strerror(errno)),
                 "the container is not remembered and may be left, ignoring");
    removals_begin(l);
}
