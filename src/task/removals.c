/* SPDX-License-Identifier: MPL-2.0 */
/* Removes containers that could not be removed at the end of a task, because Docker did not answer
 * or refused.
 *
 * DestroyTask, a failed StartTask and the search for dangling containers add them here. Nomad
 * forgets such a task, so nothing else would remove its container. Each such container is a file,
 * named after its id, in one folder below /run, where a later plugin process finds it. All files of
 * the folder are tried every REMOVALS_US until the folder is empty. A file is deleted when its
 * container was removed or does not exist. The streams thread has the timer, a thread of the pool
 * asks Docker. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define REMOVALS_US (10 * US_PER_SEC)
#define MEMORY_US US_PER_SEC /* wait between two attempts when out of memory */
/* Attempts to make a note. One fails when a turn removes the empty folder at the same moment. */
#define NOTE_TRIES 5
#define ID_HEX "0123456789abcdef"

struct removals {
    struct driver *d;
    struct loop_timer *timer;
    /* Used by the streams thread: */
    bool waits; /* the timer is set or the work runs */
    bool again; /* a container was noted after the work began, which may not have seen it */
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

/* A file whose name is not a container's id is not ours. */
static bool is_id(const char *name) {
    return strlen(name) == 64 && strspn(name, ID_HEX) == 64;
}

/* Returns whether nothing is left to do. A container that a later StartTask has adopted belongs to
 * a task again. While another plugin process has the claim, that process may have adopted it, and
 * tries the notes itself. */
static bool remove_one(struct driver *d, const char *id) {
    AUTO_TASK struct task *adopter = store_get_container(d->store, id);
    if (adopter)
        return true;
    if (claim_is_ours(d->claim) != 1)
        return false;
    struct call call = call_within(NULL, d->timeout_slow_us);
    struct err err = {0};
    call.cancel = &d->ended;
    int r = docker_container_remove(d->docker, &call, id, true, &err);
    if (r < 0 && r != -ENOENT)
        log_debug("destroy", LOG_KV("container_id", id, "error", err.text),
                  "a container that no task has is still there, retrying");
    return r == 0 || r == -ENOENT;
}

/* Returns how many containers are left; 0 also when the folder does not exist. */
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
    if (!l->timer && loop_timer_new(l->d->loop, on_timer, l, &l->timer) < 0)
        l->waits = false; /* out of memory: the next noted container starts the timer */
    else
        loop_timer_at(l->timer, clock_now_us() + REMOVALS_US);
}

static void stand_down(void *arg) {
    struct removals *l = arg;
    if (l->again)
        wait_for_turn(l);
    else
        l->waits = false;
}

/* One turn. When out of memory it waits and tries again, because without the post no turn would
 * ever follow. */
static void removal_turn(void *arg) {
    struct removals *l = arg;
    const struct call pause = {.cancel = &l->d->ended};
    bool left = remove_all(l->d) > 0;
    while (!atomic_load(&l->d->ending) &&
           loop_post(l->d->loop, left ? wait_for_turn : stand_down, l) < 0)
        if (call_sleep(&pause, MEMORY_US) < 0)
            break;
}

static void on_timer(void *arg) {
    struct removals *l = arg;
    l->again = false;
    if (pool_run(l->d->pool, removal_turn, l) < 0)
        wait_for_turn(l);
}

static void begin_turns(void *arg) {
    struct removals *l = arg;
    if (l->waits) {
        l->again = true;
        return;
    }
    l->waits = true;
    wait_for_turn(l);
}

void removals_begin(struct removals *l) {
    if (loop_post(l->d->loop, begin_turns, l) < 0)
        log_debug("destroy", NULL, "out of memory: removals are tried with the next one");
}

/* Returns 0 or -errno. */
static int note_container(const char *folder, const char *container_id) {
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, container_id) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    int r = -ENOENT;
    for (unsigned tries = 0; r == -ENOENT && tries < NOTE_TRIES; tries++) {
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
            return -errno;
        AUTO_FD int fd = open(path, O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
        r = fd < 0 ? -errno : 0;
    }
    return r;
}

void removals_add(struct removals *l, const char *container_id) {
    AUTO_FREE char *folder = folder_of(l->d);
    int r = folder ? note_container(folder, container_id) : -ENOMEM;
    if (r < 0)
        log_warn("destroy", LOG_KV("container_id", container_id, "errno", strerror(-r)),
                 "the container is not remembered and may be left, ignoring");
    removals_begin(l);
}
