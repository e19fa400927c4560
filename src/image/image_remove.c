/* SPDX-License-Identifier: MPL-2.0 */
/* Removes an image that no task uses any more. Called by image_users.c on the pool.
 *
 * The removal is done without force, so Docker keeps an image that any container uses. When the
 * image has a name that no task used, the image and that name are kept, because the node's operator
 * may have tagged or pulled the same image. Then only the tasks' names are removed.
 *
 * An image that has only names of tasks is removed by id. When these names belong to several
 * repositories, Docker requires force. Force also removes images of stopped containers, so we ask
 * Docker for containers of the image first. */
#include "src/image/image_remove.h"

#include "src/image/image_ref.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <string.h>

#define REMOVE_TIMEOUT_US (60 * US_PER_SEC) /* of each call */

/* @escaped: an id or a name, escaped for the path. The API accepts unescaped slashes, '@' and ':'
 * in a name. */
static int delete_image(struct docker *d, const char *escaped, bool force, struct err *err) {
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "/images/%s?force=%d", escaped, force) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    struct docker_request rq = {.method = "DELETE", .path = path};
    struct call call = call_within(NULL, REMOVE_TIMEOUT_US);
    return docker_http_do(d, &call, &rq, NULL, NULL, err);
}

/* Returns true when the image has a container, running or not, or when that is not known. */
static bool has_containers(struct docker *d, const char *id) {
    AUTO_JSON json_t *filters = json_pack("{s:[s]}", "ancestor", id);
    AUTO_JSON json_t *list = NULL;
    struct call call = call_within(NULL, REMOVE_TIMEOUT_US);
    size_t skipped = 0;
    return !filters || docker_container_list(d, &call, true, filters, &list, &skipped, NULL) < 0 ||
           json_array_size(list) + skipped > 0;
}

/* Returns true when @value, one of Docker's names of the image, belongs to a task: a task used the
 * same name, or the digest is in the repository of a task's name. A pull by tag leaves such
 * a digest. */
static bool is_task_name(const struct strv *used, const json_t *value, bool is_digest) {
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < used->n; i++) {
        char mine[IMAGE_REF_MAX];
        if (image_ref_familiar(used->v[i], mine, sizeof(mine)) < 0)
            continue;
        if (strcmp(mine, name) == 0)
            return true;
        size_t repo = image_ref_repo_len(mine);
        if (is_digest && image_ref_repo_len(name) == repo && memcmp(mine, name, repo) == 0)
            return true;
    }
    return false;
}

/* Returns how many of @names belong to no task. */
static size_t count_others(const struct strv *used, const json_t *names, bool are_digests) {
    size_t i, n = 0;
    json_t *name;
    json_array_foreach((json_t *)names, i, name) n += !is_task_name(used, name, are_digests);
    return n;
}

/* Removes the tasks' names. The image keeps its other names. */
static int remove_names(struct docker *d, const char *id, const struct strv *used,
                        const json_t *tags, struct err *err) {
    if (has_containers(d, id))
        return err_set(err, ERR_PLAIN, EEXIST, "a container uses it");
    int r = 0;
    size_t i;
    json_t *tag;
    json_array_foreach((json_t *)tags, i, tag) {
        if (r == 0 && is_task_name(used, tag, false))
            r = delete_image(d, json_string_value(tag), false, err);
    }
    return r;
}

static int remove_whole(struct docker *d, const char *id, struct err *err) {
    AUTO_FREE char *escaped = docker_http_escape(id);
    if (!escaped)
        return err_oom(err);
    int r = delete_image(d, escaped, false, err);
    if (r != -EEXIST || !strstr(err->text, "multiple repositories") || has_containers(d, id))
        return r;
    err_clear(err);
    return delete_image(d, escaped, true, err);
}

int image_remove_run(struct docker *d, const char *id, const struct strv *used, struct err *err) {
    AUTO_JSON json_t *j = NULL;
    AUTO_FREE char *path = image_ref_inspect_path(id);
    if (!path)
        return err_oom(err);
    struct docker_request rq = {.method = "GET", .path = path};
    struct call call = call_within(NULL, REMOVE_TIMEOUT_US);
    int r = docker_http_do(d, &call, &rq, NULL, &j, err);
    if (r < 0)
        return r;
    const json_t *tags = json_object_get(j, "RepoTags"),
                 *digests = json_object_get(j, "RepoDigests");
    bool others = count_others(used, tags, false) + count_others(used, digests, true) > 0;
    return others ? remove_names(d, id, used, tags, err) : remove_whole(d, id, err);
}
