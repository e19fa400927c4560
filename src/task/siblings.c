/* SPDX-License-Identifier: MPL-2.0 */
/* Keeps another task of the same allocation from swapping a task's folders while Docker starts
 * its container; the rules are in the header. StartTask calls these functions in the order of
 * the header.
 *
 * The driver has a list of the starts of this process. The running containers come from Docker,
 * because another driver, or an earlier plugin process, may have started them. Docker is asked
 * before the names are checked and answers while it creates the container, so a usual start does
 * not wait for the list. */
#include "src/task/siblings.h"

#include "src/task/driver_priv.h"
#include "paddock/clock.h"
#include "paddock/create.h"
#include "paddock/log.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#define SIBLINGS_IMAGES_MAX 1024 /* remembered; beyond that all are forgotten and checked again */
#define SIBLINGS_ANSWER_US (5 * US_PER_SEC) /* limit of Docker's answer; without one hold all */

static bool is_sibling(const struct sibling *s, const struct sibling *other) {
    return s != other && strcmp(s->task->alloc_id, other->task->alloc_id) == 0;
}

static struct docker_begun *ask_begin(struct driver *d, const struct task_config *task) {
    char label[sizeof(LABEL_ALLOC_ID) + 256];
    int n = snprintf(label, sizeof(label), LABEL_ALLOC_ID "=%s", task->alloc_id);
    return n < (int)sizeof(label) ? docker_container_labelled_begin(d->docker, label) : NULL;
}

/* Something that other starts may wait for has changed: wakes them to try again. The caller holds
 * the driver's lock. */
static void wake_siblings(const struct driver *d, const struct sibling *s) {
    for (const struct sibling *o = d->siblings; o; o = o->next)
        if (is_sibling(s, o) && o->wake_fd >= 0 && eventfd_write(o->wake_fd, 1) < 0)
            log_error("start", LOG_KV("errno", strerror(errno)), "eventfd");
}

/* Waits between two tries. The first call makes the eventfd and does not wait, because the state
 * may have changed before the eventfd existed. */
static int wait_for_sibling(struct driver *d, struct sibling *s, const struct call *call) {
    eventfd_t count;
    if (s->wake_fd < 0) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return -errno;
        pthread_mutex_lock(&d->lock);
        s->wake_fd = fd;
        pthread_mutex_unlock(&d->lock);
        return 0;
    }
    int r = call_wait_fd(call, s->wake_fd, POLLIN);
    if (r == 0 && eventfd_read(s->wake_fd, &count) < 0 && errno != EAGAIN)
        r = -errno;
    return r;
}

unsigned siblings_expose(struct driver *d, struct sibling *s) {
    bool reached = false;
    pthread_mutex_lock(&d->lock);
    if (!s->entered) {
        s->next = d->siblings;
        d->siblings = s;
        s->entered = true;
    }
    for (const struct sibling *o = d->siblings; o; o = o->next)
        reached |= is_sibling(s, o) && o->reaches;
    s->exposed = !reached;
    if (reached)
        wake_siblings(d, s);
    pthread_mutex_unlock(&d->lock);
    if (reached)
        store_set_logs_movable(d->store, s->task->alloc_id);
    docker_http_begun_free(s->asked);
    s->asked = ask_begin(d, s->task);
    return reached ? CREATE_OWN_ALL : 0;
}

void siblings_cover(struct driver *d, struct sibling *s) {
    pthread_mutex_lock(&d->lock);
    s->exposed = false;
    wake_siblings(d, s);
    pthread_mutex_unlock(&d->lock);
}

/* Returns 0 when no other start is exposed; 1 when @s and another start would wait for each other;
 * -EAGAIN when @s has to wait. */
static int try_reach(struct driver *d, struct sibling *s) {
    int r = 0;
    pthread_mutex_lock(&d->lock);
    s->reaches = true;
    for (const struct sibling *o = d->siblings; o && r != 1; o = o->next)
        if (is_sibling(s, o) && o->exposed)
            r = s->exposed && o->reaches ? 1 : -EAGAIN;
    if (r == 1) {
        s->exposed = false;
        wake_siblings(d, s);
    }
    pthread_mutex_unlock(&d->lock);
    return r;
}

int siblings_reach(struct driver *d, struct sibling *s, const struct call *call, struct err *err) {
    int r;
    store_set_logs_movable(d->store, s->task->alloc_id);
    while ((r = try_reach(d, s)) == -EAGAIN) {
        r = wait_for_sibling(d, s, call);
        if (r < 0)
            return err_set(err, ERR_RECOVERABLE, -r,
                           "waiting for the start of another task of the allocation, whose folders "
                           "task %s can write to: %s",
                           s->task->id, strerror(-r));
    }
    return r;
}

/* ---- turns ---- */

static bool try_turn(struct driver *d, struct sibling *s, bool unproven) {
    bool free = true;
    pthread_mutex_lock(&d->lock);
    for (const struct sibling *o = d->siblings; o && free; o = o->next)
        free = !(is_sibling(s, o) && o->turn && (unproven || o->unproven));
    if (free) {
        s->turn = true;
        s->unproven = unproven;
    }
    pthread_mutex_unlock(&d->lock);
    return free;
}

int siblings_take_turn(struct driver *d, struct sibling *s, bool unproven, const struct call *call,
                       struct err *err) {
    bool waited = false;
    while (!try_turn(d, s, unproven)) {
        waited = true;
        int r = wait_for_sibling(d, s, call);
        if (r < 0)
            return err_set(err, ERR_RECOVERABLE, -r,
                           "waiting for the start of another task of the allocation: %s",
                           strerror(-r));
    }
    if (waited)
        docker_http_begun_free(TAKE_PTR(s->asked));
    return waited;
}

void siblings_pass(struct driver *d, struct sibling *s) {
    pthread_mutex_lock(&d->lock);
    s->turn = s->unproven = false;
    wake_siblings(d, s);
    pthread_mutex_unlock(&d->lock);
}

bool siblings_is_plain_image(struct driver *d, const char *id) {
    pthread_mutex_lock(&d->lock);
    bool is = strv_contains(&d->plain_images, id);
    pthread_mutex_unlock(&d->lock);
    return is;
}

void siblings_set_plain_image(struct driver *d, const char *id) {
    pthread_mutex_lock(&d->lock);
    if (d->plain_images.n >= SIBLINGS_IMAGES_MAX)
        strv_done(&d->plain_images);
    if (!strv_contains(&d->plain_images, id) && strv_add(&d->plain_images, id) < 0)
        log_debug("start", LOG_KV("image", id), "not remembered: out of memory");
    pthread_mutex_unlock(&d->lock);
}

/* ---- running containers ---- */

static bool is_movable(void *ctx, const char *id) {
    return store_is_logs_movable(ctx, id);
}

unsigned siblings_running(struct driver *d, struct sibling *s, const struct call *call) {
    AUTO_JSON json_t *list = NULL;
    struct err err = {0};
    struct call within = call_within(call, SIBLINGS_ANSWER_US);
    struct docker_begun *asked = s->asked ? TAKE_PTR(s->asked) : ask_begin(d, s->task);
    int r = asked ? docker_container_labelled_end(asked, &within, &list, &err) : -ENOTCONN;
    if (r == 0) {
        unsigned reach = create_reach_find(list, s->task, d->run_dir, is_movable, d->store);
        if (reach)
            store_set_logs_movable(d->store, s->task->alloc_id);
        return reach;
    }
    store_set_logs_movable(d->store, s->task->alloc_id);
    log_debug("start", LOG_KV("task_id", s->task->id, "error", err.text),
              "the allocation's containers are not known: Nomad's folders are held");
    return CREATE_OWN_ALL;
}

void siblings_leave(struct driver *d, struct sibling *s) {
    pthread_mutex_lock(&d->lock);
    for (struct sibling **at = &d->siblings; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    s->entered = s->exposed = s->reaches = s->turn = s->unproven = false;
    wake_siblings(d, s);
    s->wake_fd = fd_close(s->wake_fd);
    pthread_mutex_unlock(&d->lock);
    docker_http_begun_free(TAKE_PTR(s->asked));
}
