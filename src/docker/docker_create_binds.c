/* HostConfig.Binds: the folders that Nomad gives each task, then the job's `volumes`.
 *
 * docker_create_build() calls docker_create_binds(). Docker parses a bind as source:target:mode, so
 * every bind is made by create_add_bind(), which refuses a ':' inside of a part. A source may
 * contain one although the job's text does not: the text of a symlink can. */
#include "docker_create_path.h"
#include "docker_create_priv.h"

#include <stdio.h>
#include <string.h>

int docker_create_volume_parse(const char *text, char **ret_src, char **ret_dst, char **ret_mode) {
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

/* Docker splits a bind at each ':' and knows no escape. */
static int refuse_colon(struct create *c, const char *field, const char *value, const char *part,
                        const char *text) {
    if (!strchr(text, ':'))
        return 0;
    return create_fail(c, EINVAL,
                       "%s \"%s\": the %s \"%s\" contains \":\", which Docker reads as the end "
                       "of it",
                       field, value, part, text);
}

/* True when @mode ("ro,z") contains an SELinux label. Docker accepts one of z and Z. */
static bool has_label(const char *mode) {
    for (const char *p = mode; *p;) {
        size_t n = strcspn(p, ",");
        if (n == 1 && (*p == 'z' || *p == 'Z'))
            return true;
        p += n;
        p += *p == ',';
    }
    return false;
}

int create_add_bind(struct create *c, const char *field, const char *value, const char *src,
                    const char *dst, const char *mode) {
    const char *label = has_label(mode) ? "" : text_of(c->plugin->volumes_selinuxlabel);
    bool options = mode[0] || label[0];
    AUTO_FREE char *bind = NULL;
    int r = refuse_colon(c, field, value, "source", src);
    if (r == 0)
        r = refuse_colon(c, field, value, "target", dst);
    if (r == 0)
        r = refuse_colon(c, field, value, "mode", mode);
    if (r < 0)
        return r;
    if (asprintf(&bind, "%s:%s%s%s%s%s", src, dst, options ? ":" : "", mode,
                 mode[0] && label[0] ? "," : "", label) < 0) {
        bind = NULL;
        return err_oom(c->err);
    }
    create_add_text(c, create_array(c, c->host_config, "Binds"), bind);
    return create_status(c);
}

/* ---- volumes ---- */

static int refuse_volume(struct create *c, const char *text, int r) {
    if (create_shortage(c, r, text) < 0)
        return c->r;
    return create_fail(c, EACCES, "volumes are not enabled; cannot mount host path: \"%s\"%s", text,
                       r == -EXDEV ? "" : " (it cannot be followed)");
}

static int add_volume(struct create *c, const char *text) {
    AUTO_FREE char *src = NULL;
    AUTO_FREE char *dst = NULL;
    AUTO_FREE char *mode = NULL;
    int r = docker_create_volume_parse(text, &src, &dst, &mode);
    if (r == -EINVAL)
        return create_fail(c, EINVAL,
                           "invalid docker volume \"%s\": not <src>:<destination> format", text);
    if (r < 0)
        return err_oom(c->err);
    /* With a driver the source is a volume's name, without one a path. */
    bool is_path = str_empty(c->job->volume_driver);
    AUTO_FREE char *path =
        is_path ? docker_create_path_join(c->task_dir, src) : docker_create_path_clean(src);
    if (!path)
        return err_oom(c->err);
    AUTO_FREE char *source = NULL;
    r = docker_create_source(c, path, text, mode, true, &source);
    return r < 0 ? refuse_volume(c, text, r)
                 : create_add_bind(c, "volumes", text, source, dst, mode);
}

int docker_create_binds(struct create *c) {
    const struct job_config *job = c->job;
    int r = docker_create_own_folders(c);
    if (r == 0 && !str_empty(job->volume_driver) && !c->plugin->volumes_enabled)
        r = create_fail(c, EACCES, "volumes are not enabled; cannot use volume driver \"%s\"",
                        job->volume_driver);
    for (size_t i = 0; r == 0 && i < job->volumes.n; i++)
        r = add_volume(c, job->volumes.v[i]);
    return r;
}
