/* SPDX-License-Identifier: MPL-2.0 */
/* One pull of an image.
 *
 * image_share.c calls image_pull_run() for the first of the tasks that want the image. A pull ends
 * when Docker ends it, when its total time is over, or when it makes no progress for too long. Most
 * errors of a registry are temporary, so they are recoverable. */
#include "src/image/image_pull.h"

#include "src/image/image_progress.h"
#include "src/image/image_ref.h"
#include "paddock/clock.h"
#include "paddock/image.h"
#include "paddock/log.h"
#include "paddock/strv.h"

#include <stdio.h>
#include <string.h>

#define PROGRESS_EVENT_US (120 * US_PER_SEC)

struct running {
    const struct image_pull *pull;
    struct image_progress progress;
    uint64_t begun_us, told_us;
    uint64_t changes, moved_us; /* the last progress, and its time */
};

/* These are Docker's texts: for a pull, and for a create with each of its image stores. */
bool image_pull_lacks_platform(const char *text) {
    return strstr(text, "no matching manifest for ") || strstr(text, "the specified platform (");
}

/* The same as the built-in driver's pattern "Error: image .+ not found". */
bool image_pull_is_absent(const char *text) {
    if (image_pull_lacks_platform(text))
        return true;
    static const char head[] = "Error: image ";
    const char *at = strstr(text, head), *name = at ? at + sizeof(head) - 1 : "";
    return name[0] && strstr(name + 1, " not found");
}

bool image_pull_is_due(const struct image_pull *p, uint64_t quiet_us) {
    return quiet_us >= (p->progress_us ? p->progress_us : PROGRESS_EVENT_US);
}

static int on_data(void *ctx, const char *data, size_t len) {
    struct running *r = ctx;
    int result = image_progress_feed(&r->progress, data, len);
    uint64_t now = clock_now_us();
    if (r->changes != r->progress.changes) {
        r->changes = r->progress.changes;
        r->moved_us = now;
    } else if (result == 0 && r->pull->activity_timeout_us &&
               now - r->moved_us >= r->pull->activity_timeout_us) {
        return -ETIMEDOUT;
    }
    if (result == 0 && image_pull_is_due(r->pull, now - r->told_us)) {
        char text[256], message[320];
        image_progress_text(&r->progress, now - r->begun_us, text, sizeof(text));
        snprintf(message, sizeof(message), "Docker image pull progress: %s", text);
        r->told_us = now;
        r->pull->tell(r->pull->ctx, message);
    }
    return result;
}

static char *make_path(const struct image_ref *ref) {
    AUTO_FREE char *repo = docker_http_escape(ref->repo);
    AUTO_FREE char *tag = docker_http_escape(ref->tag);
    char *path = NULL;
    if (!repo || !tag ||
        asprintf(&path, "/images/create?fromImage=%s%s%s", repo, tag[0] ? "&tag=" : "", tag) < 0)
        return NULL;
    return path;
}

/* Sets @ret_header to NULL when there are no credentials. */
static int find_credentials(const struct image_pull *p, const char *registry,
                            const struct call *call, char **ret_header, struct err *err) {
    AUTO_IMAGE_AUTH struct image_auth auth = {0};
    struct err failed = {0};
    int r = image_auth_lookup(&p->auth, registry, call, &auth, &failed);
    if (r < 0 && p->auth_soft_fail) {
        log_warn("image", LOG_KV("image", p->image, "error", failed.text),
                 "no credentials for the registry, ignoring");
        return 0;
    }
    if (r < 0)
        return err_set(err, ERR_PLAIN, -r, "Failed to find docker repo auth for `%s`: %s", p->image,
                       failed.text);
    *ret_header = r == 1 ? image_auth_header(&auth) : NULL;
    return r == 1 && !*ret_header ? err_oom(err) : 0;
}

/* Docker's texts for an image that the registry does not have, when they arrive in the stream after
 * a status of 200. */
static bool is_missing(const char *text) {
    return image_pull_is_absent(text) || strstr(text, "manifest unknown") ||
           strstr(text, ": not found") || strstr(text, "repository does not exist");
}

static int pull_failed(const struct image_pull *p, int r, const char *text, struct err *err) {
    err_clear(err);
    if (is_missing(text))
        r = -ENOENT;
    return err_set(err, image_pull_is_absent(text) ? ERR_PLAIN : ERR_RECOVERABLE, -r,
                   "Failed to pull `%s`: %s", p->image, text);
}

/* @ret_bytes: what was downloaded, also of a pull that fails. */
static int run_request(const struct image_pull *p, const struct call *call, const char *path,
                       const char *auth_header, uint64_t *ret_bytes, struct err *err) {
    struct running *r = calloc(1, sizeof(*r));
    if (!r)
        return err_oom(err);
    r->pull = p;
    r->begun_us = r->told_us = r->moved_us = clock_now_us();
    image_progress_init(&r->progress);
    const char *headers[] = {auth_header, NULL};
    struct docker_request rq = {.method = "POST",
                                .path = path,
                                .headers = auth_header ? headers : NULL,
                                .idle_timeout_us = p->activity_timeout_us,
                                .on_data = on_data,
                                .ctx = r};
    struct err failed = {0};
    int result = docker_http_do(p->docker, call, &rq, NULL, NULL, &failed);
    if (result == 0)
        result = image_progress_end(&r->progress);
    if (r->progress.error[0]) /* Docker has sent the reason, long after the status */
        result = pull_failed(p, -EIO, r->progress.error, err);
    else if (result == -ETIMEDOUT)
        result = pull_failed(p, result,
                             call_remaining_ms(call) == 0 ? IMAGE_PULL_TOO_LONG
                                                          : "no progress for pull_activity_timeout",
                             err);
    else if (result < 0)
        result = pull_failed(p, result, failed.set ? failed.text : strerror(-result), err);
    *ret_bytes = image_progress_bytes(&r->progress);
    image_progress_done(&r->progress);
    free(r);
    return result;
}

static int pull_ref(const struct image_pull *p, const struct image_ref *ref,
                    const struct call *call, uint64_t *ret_bytes, struct err *err) {
    AUTO_FREE char *path = make_path(ref);
    AUTO_FREE char *header = NULL;
    if (!path)
        return err_oom(err);
    int r = find_credentials(p, ref->registry, call, &header, err);
    return r < 0 ? r : run_request(p, call, path, header, ret_bytes, err);
}

int image_pull_run(const struct image_pull *p, const struct call *call, struct err *err) {
    struct image_ref ref;
    if (image_ref_parse(p->image, &ref) < 0)
        return err_set(err, ERR_INVALID, EINVAL,
                       "image: \"%s\" does not match registry specification", p->image);
    uint64_t begun_us = clock_now_us(), bytes = 0;
    int r = pull_ref(p, &ref, call, &bytes, err);
    image_count_end(p->counts, r, bytes, clock_now_us() - begun_us);
    return r;
}
