/* The folders that Nomad gives each task (alloc, local, secrets, alloc/logs) as HostConfig.Binds.
 *
 * docker_create_binds() calls docker_create_own_folders() first. A sibling task that mounts the
 * allocation's folder can put anything in the place of these folders. So each one is opened from
 * the allocation's folder down without following a link, and it must be a directory. Their targets
 * come from the task's environment, which the job can set. */
#include "docker_create_path.h"
#include "docker_create_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Replaces @fd by the directory @name in it. */
static int step_into(int *fd, const char *name) {
    struct stat st;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EXDEV;
    int next = openat(*fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0)
        return -errno;
    fd_close(*fd);
    *fd = next;
    if (fstat(next, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
}

int docker_create_own_open(const char *root, const char *below, int *ret_fd) {
    AUTO_FD int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO_FREE char *names = strdup(below);
    char *rest = names;
    int r = fd < 0 ? -errno : names ? 0 : -ENOMEM;
    for (char *name; r == 0 && (name = strsep(&rest, "/"));)
        if (name[0] != '\0')
            r = step_into(&fd, name);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

/* The path inside the container. Docker would read a ':' as the end of the target, and a text that
 * is no path as a mode. */
static int target_of(struct create *c, const char *env, const char *otherwise, char **ret) {
    const char *value = text_of(kvs_get(&c->task->env, env));
    AUTO_FREE char *target = docker_create_path_clean(value[0] ? value : otherwise);
    if (!target)
        return err_oom(c->err);
    if (target[0] != '/' || target[1] == '\0' || strchr(target, ':'))
        return create_fail(c, EINVAL,
                           "env: %s: \"%s\" is no absolute path without \":\", so the folder "
                           "cannot be mounted there",
                           env, value);
    *ret = TAKE_PTR(target);
    return 0;
}

struct own_folder {
    const char *below; /* the allocation's folder, or the task's */
    bool of_task;
    const char *env, *otherwise; /* where it is mounted: the variable's value, or this */
    const char *suffix, *mode;
};

static int refuse(struct create *c, const char *path, int r) {
    if (create_shortage(c, r, path) < 0)
        return c->r;
    bool planted = r == -ELOOP || r == -EXDEV;
    return create_fail(c, planted ? EACCES : -r, "the folder \"%s\" is not as Nomad made it: %s",
                       path, r == -ELOOP ? "it is a symlink" : strerror(-r));
}

static int add_folder(struct create *c, const struct own_folder *f) {
    AUTO_FREE char *below = NULL;
    AUTO_FREE char *target = NULL;
    AUTO_FREE char *dst = NULL;
    AUTO_FD int fd = -EBADF;
    if (asprintf(&below, "%s/%s", f->of_task ? text_of(c->task->name) : ".", f->below) < 0)
        below = NULL;
    AUTO_FREE char *path = below ? docker_create_path_join(c->alloc_dir, below) : NULL;
    if (!path)
        return err_oom(c->err);
    int r = docker_create_own_open(c->alloc_dir, f->of_task ? below : f->below, &fd);
    if (r < 0)
        return refuse(c, path, r);
    r = target_of(c, f->env, f->otherwise, &target);
    if (r < 0)
        return r;
    if (asprintf(&dst, "%s%s", target, f->suffix) < 0) {
        dst = NULL;
        return err_oom(c->err);
    }
    return create_add_bind(c, "the task's folder", path, path, dst, f->mode);
}

int docker_create_own_folders(struct create *c) {
    static const struct own_folder folders[] = {
        {"alloc", false, "NOMAD_ALLOC_DIR", "/alloc", "", ""},
        {"local", true, "NOMAD_TASK_DIR", "/local", "", ""},
        {"secrets", true, "NOMAD_SECRETS_DIR", "/secrets", "", ""},
        /* Read-only, so that a task cannot put symlinks in the place of its log FIFOs
         * (CVE-2026-6959). */
        {"alloc/logs", false, "NOMAD_ALLOC_DIR", "/alloc", "/logs", "ro"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(folders); i++)
        r = add_folder(c, &folders[i]);
    return r;
}
