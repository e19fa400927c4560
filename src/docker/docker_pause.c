/* SPDX-License-Identifier: MPL-2.0 */
/* The container that holds the network namespace of a group of tasks.
 *
 * CreateNetwork and DestroyNetwork call it, in src/task/networks.c. Nomad repeats CreateNetwork
 * after a restart of its agent, so a running container is found by its name and used again. A
 * stopped one is replaced, because its namespace ended with its process. */
#include "paddock/docker_pause.h"

#include "paddock/clock.h"
#include "paddock/labels.h"
#include "paddock/log.h"
#include "paddock/strv.h"

#include <stdio.h>
#include <string.h>

#define STOP_SEC 1
#define UNDO_US (60 * US_PER_SEC)
#define NAME_MAX_LEN 512

static void name_of(const char *alloc_id, char out[NAME_MAX_LEN]) {
    snprintf(out, NAME_MAX_LEN, DOCKER_PAUSE_PREFIX "%s", alloc_id);
}

static int inspect_container(struct docker *d, const struct call *call, const char *id_or_name,
                             struct docker_pause *ret, bool *ret_running, struct err *err) {
    struct docker_state state;
    AUTO_JSON json_t *j = NULL;
    int r = docker_container_inspect(d, call, id_or_name, &state, &j, err);
    if (r < 0)
        return r;
    const char *sandbox =
        json_string_value(json_object_get(json_object_get(j, "NetworkSettings"), "SandboxKey"));
    snprintf(ret->container_id, sizeof(ret->container_id), "%s", state.id);
    snprintf(ret->image_id, sizeof(ret->image_id), "%s", state.image_id);
    snprintf(ret->image, sizeof(ret->image), "%s", state.image);
    snprintf(ret->sandbox, sizeof(ret->sandbox), "%s", sandbox ? sandbox : "");
    *ret_running = state.running;
    return 0;
}

int docker_pause_find(struct docker *d, const struct call *call, const char *alloc_id,
                      struct docker_pause *ret, struct err *err) {
    char name[NAME_MAX_LEN];
    struct docker_pause p = {0};
    bool running;
    name_of(alloc_id, name);
    int r = inspect_container(d, call, name, &p, &running, err);
    if (r < 0)
        return r;
    if (!running)
        return err_set(err, ERR_PLAIN, ENOENT, "pause container %s does not run", name);
    if (!p.sandbox[0])
        return err_set(err, ERR_PLAIN, EPROTO, "pause container %s has no network namespace", name);
    *ret = p;
    return 0;
}

static json_t *create_request(const char *alloc_id, const char *hostname, const char *image,
                              const char *owner) {
    json_t *labels = json_pack("{s:s}", LABEL_ALLOC_ID, alloc_id);
    if (labels && !str_empty(owner) &&
        json_object_set_new(labels, LABEL_OWNER, json_string(owner)) < 0) {
        json_decref(labels);
        return NULL;
    }
    return json_pack("{s:s,s:s,s:o,s:{s:s,s:{s:s}}}", "Image", image, "Hostname", hostname,
                     "Labels", labels, "HostConfig", "NetworkMode", "none", "RestartPolicy", "Name",
                     "unless-stopped");
}

/* JSON can contain UTF-8 only. */
static int check_text(const char *what, const char *text, struct err *err) {
    AUTO_JSON json_t *unchecked = json_string_nocheck(text ? text : "");
    AUTO_JSON json_t *checked = json_string(text ? text : "");
    if (checked || !unchecked) /* when out of memory, the request fails with that error */
        return 0;
    return err_set(err, ERR_PLAIN, EINVAL, "%s: the text is not UTF-8: \"%s\"", what, text);
}

/* Handles a name that is in use. Returns 1 when its container runs, because the same request was
 * handled by another caller before; 0 when a leftover was removed and the name is free
 * now; -errno. */
static int resolve_conflict(struct docker *d, const struct call *call, const char *name,
                            struct err *err) {
    struct docker_pause old;
    bool running;
    int r = inspect_container(d, call, name, &old, &running, err);
    if (r == 0 && running)
        return 1;
    if (r == 0)
        r = docker_container_remove(d, call, old.container_id, true, err);
    if (r == -ENOENT) {
        err_clear(err);
        r = 0;
    }
    return r;
}

/* Returns 1 when a container of that name runs; 0 when one was created, with @ret_id; -errno. */
static int create_and_start(struct docker *d, const struct call *call, const char *name,
                            const json_t *body, char ret_id[65], struct err *err) {
    for (bool again = false;; again = true) {
        int r = docker_container_create(d, call, name, body, ret_id, err);
        if (r != -EEXIST || again)
            return r;
        err_clear(err);
        r = resolve_conflict(d, call, name, err);
        if (r != 0)
            return r;
    }
}

/* Removes a half-made container, also when the request was cancelled. @id "": Docker did not answer
 * the create, so a container of this name may exist. The caller reports its own first error, so an
 * error of the removal is only logged. */
static void undo_create(struct docker *d, const char *name, const char *id) {
    struct call call = call_within(NULL, UNDO_US);
    int r = id[0] ? docker_container_remove(d, &call, id, true, NULL)
                  : resolve_conflict(d, &call, name, NULL);
    if (r < 0 && r != -ENOENT)
        log_warn("network", LOG_KV("container", name), "a failed network may be left, ignoring");
}

int docker_pause_create(struct docker *d, const struct call *call, const char *alloc_id,
                        const char *hostname, const char *image, const char *owner,
                        struct docker_pause *ret, struct err *err) {
    char name[NAME_MAX_LEN], id[65] = "";
    struct docker_pause p;
    name_of(alloc_id, name);
    if (check_text("allocation's id", alloc_id, err) < 0 ||
        check_text("hostname of the network", hostname, err) < 0 ||
        check_text("infra_image", image, err) < 0 || check_text("owner's label", owner, err) < 0)
        return -EINVAL;
    AUTO_JSON json_t *body = create_request(alloc_id, hostname ? hostname : "", image, owner);
    if (!body)
        return err_oom(err);
    int made = create_and_start(d, call, name, body, id, err);
    int r = made == 0 ? docker_container_start(d, call, id, err) : made;
    if (r >= 0)
        r = docker_pause_find(d, call, alloc_id, &p, err);
    if (r < 0) {
        if (made <= 0)
            undo_create(d, name, id);
        return r;
    }
    p.created = made == 0;
    *ret = p;
    return 0;
}

static int remove_container(struct docker *d, const struct call *call, const char *id_or_name,
                            struct docker_pause *ret, struct err *err) {
    bool running;
    int r = inspect_container(d, call, id_or_name, ret, &running, err);
    if (r < 0)
        return r;
    int stopped = running ? docker_container_stop(d, call, ret->container_id, STOP_SEC, NULL) : 0;
    (void)stopped; /* the removal kills the container in any case, and reports errors */
    return docker_container_remove(d, call, ret->container_id, true, err);
}

int docker_pause_destroy(struct docker *d, const struct call *call, const char *alloc_id,
                         const char *container_id, struct docker_pause *ret, struct err *err) {
    char name[NAME_MAX_LEN];
    name_of(alloc_id, name);
    *ret = (struct docker_pause){0};
    int r = str_empty(container_id) ? -ENOENT : remove_container(d, call, container_id, ret, err);
    if (r == -ENOENT) { /* the id is not known, or the container was replaced since */
        err_clear(err);
        r = remove_container(d, call, name, ret, err);
    }
    if (r == -ENOENT || r == -EEXIST) { /* it was removed, or its removal is running */
        err_clear(err);
        return 0;
    }
    return r;
}
