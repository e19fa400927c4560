/* HostConfig.Binds: the folders that Nomad gives each task, then the job's `volumes`. */
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

/* src:dst[:mode][:label], mode and label with a comma between. */
static int add_bind(struct create *c, const char *src, const char *dst, const char *mode) {
    const char *label = text_of(c->plugin->volumes_selinuxlabel);
    bool options = mode[0] || label[0];
    AUTO_FREE char *bind = NULL;
    if (asprintf(&bind, "%s:%s%s%s%s%s", src, dst, options ? ":" : "", mode,
                 mode[0] && label[0] ? "," : "", label) < 0) {
        bind = NULL;
        return err_oom(c->err);
    }
    create_add_text(c, create_array(c, c->host_config, "Binds"), bind);
    return create_status(c);
}

/* ---- Nomad's own folders ---- */

/* @host_path is the path below the allocation's folder. A task that was given the whole folder
 * (volumes =
 * ["../:/x"]) could have put a symlink in place of a folder before a sibling starts. */
static int add_own(struct create *c, const char *host_path, const char *env_name,
                   const char *otherwise, const char *below, const char *mode) {
    const char *target = kvs_get(&c->task->env, env_name);
    if (str_empty(target))
        target = otherwise;
    AUTO_FREE char *real = NULL;
    AUTO_FREE char *dst = NULL;
    int r = docker_create_path_resolve(c->alloc_dir, host_path, &real, NULL);
    if (create_shortage(c, r, host_path) < 0)
        return c->r;
    if (r < 0)
        return create_fail(c, r == -EXDEV ? EACCES : -r,
                           "the folder \"%s\" leads out of the allocation: %s", host_path,
                           strerror(-r));
    if (asprintf(&dst, "%s%s", target, below) < 0) {
        dst = NULL;
        return err_oom(c->err);
    }
    return add_bind(c, real, dst, mode);
}

static int add_own_folders(struct create *c) {
    static const struct {
        bool in_task; /* below the task's folder, else the allocation's */
        const char *name, *env, *otherwise, *below, *mode;
    } folders[] = {
        {false, "alloc", "NOMAD_ALLOC_DIR", "/alloc", "", ""},
        {true, "local", "NOMAD_TASK_DIR", "/local", "", ""},
        {true, "secrets", "NOMAD_SECRETS_DIR", "/secrets", "", ""},
        /* Read-only, so that a task cannot put symlinks in place of its log FIFOs (CVE-2026-6959).
         */
        {false, "alloc/logs", "NOMAD_ALLOC_DIR", "/alloc", "/logs", "ro"},
    };
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        AUTO_FREE char *path = docker_create_path_join(
            folders[i].in_task ? c->task_dir : c->alloc_dir, folders[i].name);
        if (!path)
            return err_oom(c->err);
        int r = add_own(c, path, folders[i].env, folders[i].otherwise, folders[i].below,
                        folders[i].mode);
        if (r < 0)
            return r;
    }
    return 0;
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
    return r < 0 ? refuse_volume(c, text, r) : add_bind(c, source, dst, mode);
}

int docker_create_binds(struct create *c) {
    const struct job_config *job = c->job;
    int r = add_own_folders(c);
    if (r == 0 && !str_empty(job->volume_driver) && !c->plugin->volumes_enabled)
        r = create_fail(c, EACCES, "volumes are not enabled; cannot use volume driver \"%s\"",
                        job->volume_driver);
    for (size_t i = 0; r == 0 && i < job->volumes.n; i++)
        r = add_volume(c, job->volumes.v[i]);
    return r;
}
