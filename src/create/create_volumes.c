/* SPDX-License-Identifier: MPL-2.0 */
/* The job's `volumes`, as HostConfig.Binds.
 *
 * create_build() calls create_volumes_add() after create_own_add(), because Docker mounts in the
 * order of the list. The sources are checked in create_sources.c. */
#include "src/create/create_bind.h"
#include "src/create/create_fail.h"
#include "src/create/create_sources.h"
#include "src/create/create_steps.h"
#include "paddock/path_text.h"

#include <string.h>

int create_volumes_parse(const char *text, char **ret_src, char **ret_dst, char **ret_mode) {
    const char *end[3];
    const char *at[3];
    size_t n = 0;
    for (const char *p = text; n < 3; p = end[n - 1] + 1) {
        at[n] = p;
        end[n] = p + strcspn(p, ":");
        if (*end[n++] == '\0')
            break;
    }
    if (n < 2)
        return -EINVAL;
    AUTO_FREE char *src = strndup(at[0], (size_t)(end[0] - at[0]));
    AUTO_FREE char *dst = strndup(at[1], (size_t)(end[1] - at[1]));
    AUTO_FREE char *mode = n == 3 ? strndup(at[2], (size_t)(end[2] - at[2])) : strdup("");
    if (!src || !dst || !mode)
        return -ENOMEM;
    *ret_src = TAKE_PTR(src);
    *ret_dst = TAKE_PTR(dst);
    *ret_mode = TAKE_PTR(mode);
    return 0;
}

static int refuse_volume(struct create *c, const char *text, int r) {
    if (create_fail_shortage(c, r, text) < 0)
        return c->r;
    return create_fail(c, EACCES, "volumes are not enabled; cannot mount host path: \"%s\"%s", text,
                       r == -EXDEV ? "" : " (it cannot be followed)");
}

static int add_volume(struct create *c, const char *text) {
    AUTO_FREE char *src = NULL;
    AUTO_FREE char *dst = NULL;
    AUTO_FREE char *mode = NULL;
    int r = create_volumes_parse(text, &src, &dst, &mode);
    if (r == -EINVAL)
        return create_fail(c, EINVAL,
                           "invalid docker volume \"%s\": not <src>:<destination> format", text);
    if (r < 0)
        return err_oom(c->err);
    /* With a volume driver the source is a volume's name, otherwise a path. */
    bool is_path = str_empty(c->job->volume_driver);
    AUTO_FREE char *path = is_path ? path_text_join(c->task_dir, src) : path_text_clean(src);
    if (!path)
        return err_oom(c->err);
    AUTO_FREE char *source = NULL;
    r = create_sources_find(c, path, text, mode, true, &source);
    return r < 0 ? refuse_volume(c, text, r)
                 : create_bind_add(c, "volumes", text, source, dst, mode);
}

int create_volumes_add(struct create *c) {
    const struct job_config *job = c->job;
    int r = 0;
    if (!str_empty(job->volume_driver) && !c->plugin->volumes_enabled)
        r = create_fail(c, EACCES, "volumes are not enabled; cannot use volume driver \"%s\"",
                        job->volume_driver);
    for (size_t i = 0; r == 0 && i < job->volumes.n; i++)
        r = add_volume(c, job->volumes.v[i]);
    return r;
}
