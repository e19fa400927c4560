/* SPDX-License-Identifier: MPL-2.0 */
/* CreateNetwork and DestroyNetwork, and the search for dangling containers.
 *
 * The network of a task group is a pause container (docker_pause.h). This file has the list of the
 * networks. The search is here because it must know both the tasks and the networks: it removes
 * each running container that has our label, belongs to none of them and is older than the grace
 * time. A timer of the streams thread starts each search on a thread of the pool. Once a task has
 * come, only the process that holds the claim (claim.h) searches. */
#include "src/task/driver_priv.h"
#include "src/task/remember.h"

#include "paddock/clock.h"
#include "paddock/create.h"
#include "paddock/docker_dangling.h"
#include "paddock/docker_pause.h"
#include "paddock/log.h"

#include <stdio.h>
#include <string.h>

struct network {
    char *alloc_id;
    char container_id[65], image_id[80]; /* id under which the image is held, "" = not held */
    struct network *next;
};

struct networks {
    struct driver *d;
    pthread_mutex_t lock; /* of the list */
    struct network *first;
    struct loop_timer *timer; /* the next search for dangling containers */
    bool adopted;          /* networks from before our start are in the list; used by the search */
    atomic_bool searching; /* one search at a time: a slow dockerd may outlast the period */
    bool superseded;       /* another plugin process has the claim; used by the search */
    char *claim;           /* of the client searched by search_remembered(), only while it runs */
};

static void on_timer(void *arg);

/* ---- the list ---- */

/* The link that points to the alloc's network, or the end of the list. The caller holds
 * the lock. */
static struct network **place_of(struct networks *n, const char *alloc_id) {
    struct network **at = &n->first;
    while (*at && strcmp((*at)->alloc_id, alloc_id) != 0)
        at = &(*at)->next;
    return at;
}

static void forget_network(struct networks *n, const char *alloc_id) {
    pthread_mutex_lock(&n->lock);
    struct network **at = place_of(n, alloc_id);
    struct network *x = *at;
    if (x) {
        *at = x->next;
        free(x->alloc_id);
        free(x);
    }
    pthread_mutex_unlock(&n->lock);
}

/* Adds the network, or updates its entry in place. A known network must never be missing from the
 * list, not even for a moment, because the search for dangling containers may read the list at
 * any time. */
static int remember_network(struct networks *n, const char *alloc_id, const char *container_id,
                            const char *image_id) {
    int r = 0;
    pthread_mutex_lock(&n->lock);
    struct network **at = place_of(n, alloc_id);
    if (!*at) {
        struct network *x = calloc(1, sizeof(*x));
        if (x && !(x->alloc_id = strdup(alloc_id))) {
            free(x);
            x = NULL;
        }
        *at = x;
        r = x ? 0 : -ENOMEM;
    }
    if (*at) {
        snprintf((*at)->container_id, sizeof((*at)->container_id), "%s", container_id);
        snprintf((*at)->image_id, sizeof((*at)->image_id), "%s", image_id);
    }
    pthread_mutex_unlock(&n->lock);
    return r;
}

/* Copies the id under which the alloc holds its image to @image, when one is held. The image id of
 * the container and the id of the image itself can differ in Docker (containerd's store). */
static void held_image(struct networks *n, const char *alloc_id, char image[80]) {
    pthread_mutex_lock(&n->lock);
    struct network *x = *place_of(n, alloc_id);
    if (x && x->image_id[0])
        memcpy(image, x->image_id, sizeof(x->image_id));
    pthread_mutex_unlock(&n->lock);
}

static bool is_network(struct networks *n, const char *container_id) {
    bool found = false;
    pthread_mutex_lock(&n->lock);
    for (struct network *x = n->first; x && !found; x = x->next)
        found = strcmp(x->container_id, container_id) == 0;
    pthread_mutex_unlock(&n->lock);
    return found;
}

/* After a restart, the running pause containers are still in use. Nomad asks for each of them again
 * (CreateNetwork is repeated), or destroys it. Until then none of them is dangling. */
static int adopt_running(struct networks *n) {
    struct driver *d = n->d;
    struct call call = call_within(NULL, d->timeout_us);
    call.cancel = &d->ended;
    AUTO_JSON json_t *filters = json_pack("{s:[s],s:[s]}", "label", "com.hashicorp.nomad.alloc_id",
                                          "name", "^/" DOCKER_PAUSE_PREFIX);
    AUTO_JSON json_t *list = NULL;
    size_t skipped; /* the search cannot read these containers either */
    int r = docker_container_list(d->docker, &call, false, filters, &list, &skipped, NULL);
    size_t i;
    json_t *c;
    json_array_foreach(list, i, c) {
        const char *id = json_string_value(json_object_get(c, "Id"));
        const char *alloc = json_string_value(
            json_object_get(json_object_get(c, "Labels"), "com.hashicorp.nomad.alloc_id"));
        if (r == 0 && id && alloc && !is_network(n, id))
            r = remember_network(n, alloc, id, "");
    }
    return r;
}

int networks_new(struct driver *d, struct networks **ret) {
    struct networks *n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->d = d;
    pthread_mutex_init(&n->lock, NULL);
    int r = loop_timer_new(d->loop, on_timer, n, &n->timer);
    if (r < 0) {
        networks_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

void networks_start(struct networks *n, const struct plugin_config *c) {
    int64_t first =
        c->dangling_period_us > c->dangling_grace_us ? c->dangling_period_us : c->dangling_grace_us;
    if (c->dangling_enabled)
        loop_timer_at(n->timer, clock_now_us() + (uint64_t)first);
}

void networks_free(struct networks *n) {
    if (!n)
        return;
    loop_timer_del(n->timer);
    while (n->first)
        forget_network(n, n->first->alloc_id);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* ---- CreateNetwork, DestroyNetwork ---- */

static int infra_image(struct driver *d, const struct call *call, const struct plugin_config *c,
                       const char *alloc_id, struct image *ret, struct err *err) {
    struct image_want want = {.image = c->infra_image,
                              .username = "",
                              .password = "",
                              .server_address = "",
                              .auth_soft_fail = true,
                              .pull_timeout_us = (uint64_t)c->infra_image_pull_timeout_us,
                              .user_id = alloc_id};
    return images_acquire(d->images, call, &want, NULL, ret, err);
}

static int fill_network(const struct docker_pause *p, const char *hostname,
                        struct driver_network *ret) {
    struct driver_network n = {.created = p->created};
    n.path = strdup(p->sandbox);
    int r = n.path ? kvs_set(&n.labels, "docker_sandbox_container_id", p->container_id) : -ENOMEM;
    if (r == 0 && !str_empty(hostname))
        r = kvs_set(&n.labels, "docker_sandbox_hostname", hostname);
    if (r < 0)
        networks_created_done(&n);
    else
        *ret = n;
    return r;
}

/* Finds the running pause container, or creates one. A running one stays as it is, even when
 * another image is configured by now: after a restart of the agent its tasks continue, also when
 * the registry is unavailable. */
static int find_or_make(struct driver *d, const struct call *call, const char *alloc_id,
                        const char *hostname, struct docker_pause *ret, struct err *err) {
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
    struct call within = call_within(call, d->timeout_us);
    int r = docker_pause_find(d->docker, &within, alloc_id, ret, err);
    if (r == 0) {
        held_image(d->networks, alloc_id, ret->image_id);
        return image_users_hold(d->images, ret->image_id, ret->image, alloc_id) < 0 ? err_oom(err)
                                                                                    : 0;
    }
    if (r != -ENOENT)
        return r;
    err_clear(err);
    if (create_hostname_check("hostname of the network", hostname, err) < 0)
        return -EINVAL;
    struct image image;
    r = infra_image(d, call, &c->c, alloc_id, &image, err);
    if (r < 0)
        return err_wrap(err, r, "infra image");
    const char *owner = client_owner(d);
    within = call_within(call, d->timeout_slow_us);
    r = docker_pause_create(d->docker, &within, alloc_id, hostname, c->c.infra_image,
                            owner ? owner : "", ret, err);
    if (r < 0)
        image_users_release(d->images, image.id, alloc_id);
    snprintf(ret->image_id, sizeof(ret->image_id), "%s", image.id);
    return r;
}

int networks_create(struct driver *d, const struct call *call, const char *alloc_id,
                    const char *hostname, struct driver_network *ret, struct err *err) {
    struct docker_pause pause = {0};
    int r = find_or_make(d, call, alloc_id, hostname, &pause, err);
    if (r < 0)
        return err_wrap(err, r, "network of alloc %s", alloc_id);
    r = remember_network(d->networks, alloc_id, pause.container_id, pause.image_id);
    if (r == 0)
        r = fill_network(&pause, hostname, ret);
    return r < 0 ? err_oom(err) : 0;
}

void networks_created_done(struct driver_network *n) {
    free(n->path);
    kvs_done(&n->labels);
    *n = (struct driver_network){0};
}

int networks_destroy(struct driver *d, const struct call *call, const char *alloc_id,
                     const char *container_id, struct err *err) {
    struct call within = call_within(call, d->timeout_slow_us);
    struct docker_pause gone;
    int r = docker_pause_destroy(d->docker, &within, alloc_id, container_id, &gone, err);
    if (r < 0)
        return err_wrap(err, r, "network of alloc %s", alloc_id);
    held_image(d->networks, alloc_id, gone.image_id);
    forget_network(d->networks, alloc_id);
    /* The image of a container from before our start is not held. Holding it here lets the release
     * below start the delay of the removal. */
    if (gone.image_id[0])
        r = image_users_hold(d->images, gone.image_id, gone.image, alloc_id);
    if (r < 0)
        return err_oom(err);
    image_users_release(d->images, gone.image_id, alloc_id);
    return 0;
}

/* ---- dangling containers ---- */

/* True also when this process does not hold the claim, because another one may have started
 * the container. */
static bool is_tracked(void *ctx, const char *container_id) {
    struct networks *n = ctx;
    AUTO_TASK struct task *t = store_get_container(n->d->store, container_id);
    return t || is_network(n, container_id) || claim_is_ours(n->d->claim) != 1;
}

static bool may_search(struct networks *n) {
    int r = claim_is_ours(n->d->claim);
    if (r < 0)
        log_warn("dangling", LOG_KV("errno", strerror(-r)),
                 "it is not known which plugin process serves this client, so no dangling "
                 "containers are removed, retrying");
    if (r == 0 && !n->superseded)
        log_info("dangling", NULL,
                 "another plugin process serves this client and removes dangling containers");
    n->superseded = r == 0;
    return r == 1;
}

static void remove_later(void *ctx, const char *container_id) {
    struct networks *n = ctx;
    removals_add(n->d->removals, container_id);
}

static int remove_dangling(struct networks *n, const char *owner,
                           bool (*tracked)(void *ctx, const char *container_id),
                           void (*left)(void *ctx, const char *container_id)) {
    struct driver *d = n->d;
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
    uint64_t timeout = (uint64_t)c->c.dangling_period_us > 30 * US_PER_SEC
                           ? (uint64_t)c->c.dangling_period_us
                           : 30 * US_PER_SEC;
    struct call call = call_within(NULL, timeout);
    call.cancel = &d->ended;
    struct docker_dangling_rule rule = {.owner = owner,
                                        .now_s = clock_wall_ns() / 1000000000,
                                        .grace_s = c->c.dangling_grace_us / 1000000,
                                        .tracked = tracked,
                                        .left = left,
                                        .ctx = n};
    struct err err = {0};
    int r = docker_dangling_run(d->docker, &call, &rule, c->c.dangling_dry_run, &err);
    if (r < 0 && !atomic_load(&d->ending))
        log_warn("dangling", LOG_KV("error", err.text), "containers could not be listed, retrying");
    return r;
}

/* For a search before the first task. True also once the first task has come, because the next
 * search then works with the claim. True also once another process has the claim, because that
 * process may have recovered the container. */
static bool is_tracked_or_claimed(void *ctx, const char *container_id) {
    struct networks *n = ctx;
    return is_network(n, container_id) || client_owner(n->d) || claim_holder(n->claim) != 0;
}

/* Searches before the first task. The client is then the one that this agent had before. Does
 * nothing while another plugin process serves that client. */
static void search_remembered(struct networks *n) {
    struct driver *d = n->d;
    AUTO_FREE char *allocs = remember_read(d->remembered);
    AUTO_FREE char *owner = allocs ? client_owner_of(d, allocs) : NULL;
    AUTO_FREE char *dir = owner ? client_dir(d, allocs) : NULL;
    AUTO_FREE char *claim = NULL;
    if (!dir || asprintf(&claim, "%s.claim", dir) < 0) {
        claim = NULL;
        return;
    }
    n->claim = claim;
    if (claim_holder(claim) == 0)
        (void)!remove_dangling(n, owner, is_tracked_or_claimed, NULL);
    n->claim = NULL;
}

static void search_dangling(struct networks *n) {
    struct driver *d = n->d;
    const char *owner = client_owner(d);
    /* While Docker is not healthy, nothing is removed. */
    if (!fingerprint_healthy(d->fingerprint) || (owner && !may_search(n)) ||
        (!n->adopted && adopt_running(n) < 0))
        return;
    n->adopted = true;
    if (!owner)
        search_remembered(n);
    else if (remove_dangling(n, owner, is_tracked, remove_later) > 0 &&
             claim_is_ours(d->claim) == 1)
        sources_sweep_later(d->sources);
}

static void search_work(void *arg) {
    struct networks *n = arg;
    search_dangling(n);
    atomic_store(&n->searching, false);
}

static void on_timer(void *arg) {
    struct networks *n = arg;
    AUTO_CONFIG struct config_snapshot *c = client_config_get(n->d);
    if (c->c.dangling_enabled && !atomic_exchange(&n->searching, true) &&
        pool_run(n->d->pool, search_work, n) < 0) {
        atomic_store(&n->searching, false);
        log_warn("dangling", NULL, "no thread for the search, retrying");
    }
    loop_timer_at(n->timer, clock_now_us() + (uint64_t)c->c.dangling_period_us);
}
