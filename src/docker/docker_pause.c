#include "paddock/docker_pause.h"

#include "paddock/docker_create.h"
#include "paddock/strv.h"

#include <stdio.h>
#include <string.h>

#define STOP_SEC 1

static int inspect(struct docker *d, const struct call *call, const char *name,
                   struct docker_pause *ret, bool *ret_running, struct err *err) {
    struct docker_state state;
    AUTO_JSON json_t *j = NULL;
    int r = docker_container_inspect(d, call, name, &state, &j, err);
    if (r < 0)
        return r;
    const char *sandbox =
        json_string_value(json_object_get(json_object_get(j, "NetworkSettings"), "SandboxKey"));
    snprintf(ret->container_id, sizeof(ret->container_id), "%s", state.id);
    snprintf(ret->image_id, sizeof(ret->image_id), "%s", state.image_id);
    snprintf(ret->sandbox, sizeof(ret->sandbox), "%s", sandbox ? sandbox : "");
    *ret_running = state.running;
    return 0;
}

static json_t *request(const char *alloc_id, const char *hostname, const char *image,
                       const char *owner) {
    json_t *labels = json_pack("{s:s}", DOCKER_LABEL_ALLOC_ID, alloc_id);
    if (labels && !str_empty(owner))
        json_object_set_new(labels, DOCKER_LABEL_OWNER, json_string(owner));
    return json_pack("{s:s,s:s,s:o,s:{s:s,s:{s:s}}}", "Image", image, "Hostname", hostname,
                     "Labels", labels, "HostConfig", "NetworkMode", "none", "RestartPolicy", "Name",
                     "unless-stopped");
}

int docker_pause_create(struct docker *d, const struct call *call, const char *alloc_id,
                        const char *hostname, const char *image, const char *owner,
                        struct docker_pause *ret, struct err *err) {
    char name[512];
    snprintf(name, sizeof(name), DOCKER_PAUSE_PREFIX "%s", alloc_id);
    struct docker_pause p = {0};
    bool running = false;
    int r = inspect(d, call, name, &p, &running, err);
    if (r == 0 && running) {
        *ret = p;
        return 0;
    }
    if (r == 0) /* stopped: a leftover, whose namespace is gone */
        r = docker_container_remove(d, call, p.container_id, true, err);
    if (r < 0 && r != -ENOENT)
        return r;
    err_clear(err);
    AUTO_JSON json_t *body = request(alloc_id, hostname ? hostname : "", image, owner);
    if (!body)
        return err_oom(err);
    char id[65];
    r = docker_container_create(d, call, name, body, id, err);
    if (r == -EEXIST && inspect(d, call, name, &p, &running, NULL) == 0 && running) {
        err_clear(err); /* the same request was quicker elsewhere */
        *ret = p;
        return 0;
    }
    if (r < 0)
        return r;
    r = docker_container_start(d, call, id, err);
    if (r == 0)
        r = inspect(d, call, id, &p, &running, err);
    if (r == 0 && (!running || !p.sandbox[0]))
        r = err_set(err, ERR_PLAIN, EPROTO, "pause container %s does not run", name);
    if (r < 0) {
        struct call undo = call_within(NULL, 60000000);
        int u = docker_container_remove(d, &undo, id, true, NULL);
        (void)u; /* the first error is the one to tell */
        return r;
    }
    p.created = true;
    *ret = p;
    return 0;
}

static int destroy(struct docker *d, const struct call *call, const char *id_or_name,
                   char ret_image_id[80], struct err *err) {
    struct docker_pause p = {0};
    bool running;
    int r = inspect(d, call, id_or_name, &p, &running, err);
    if (r < 0)
        return r;
    if (ret_image_id)
        snprintf(ret_image_id, 80, "%s", p.image_id);
    int stopped = running ? docker_container_stop(d, call, p.container_id, STOP_SEC, NULL) : 0;
    (void)stopped; /* the removal ends it in any case, and tells what is wrong */
    return docker_container_remove(d, call, p.container_id, true, err);
}

int docker_pause_destroy(struct docker *d, const struct call *call, const char *alloc_id,
                         const char *container_id, char ret_image_id[80], struct err *err) {
    char name[512];
    snprintf(name, sizeof(name), DOCKER_PAUSE_PREFIX "%s", alloc_id);
    if (ret_image_id)
        ret_image_id[0] = '\0';
    int r = str_empty(container_id) ? -ENOENT : destroy(d, call, container_id, ret_image_id, err);
    if (r == -ENOENT) { /* not told, or made anew since */
        err_clear(err);
        r = destroy(d, call, name, ret_image_id, err);
    }
    if (r == -ENOENT || r == -EEXIST) { /* gone, or somebody is at it */
        err_clear(err);
        return 0;
    }
    return r;
}
