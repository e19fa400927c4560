/* SPDX-License-Identifier: MPL-2.0 */
/* The things that Nomad and this driver put into a task's container: the folders alloc, local,
 * secrets and alloc/logs as HostConfig.Binds, and the sources of the generated
 * files (create_dns.c).
 *
 * create_volumes_add() calls create_own_add() first. A sibling task that mounts the allocation's
 * folder can replace these folders by anything. So each one is opened from the allocation's folder
 * down, without following a link, and must be a folder or a regular file as expected. Docker gets
 * its path. When a sibling could swap it before Docker mounts it (host->hold), Docker gets a mount
 * point instead. The targets come from the task's environment, which the job can set. */
#include "src/create/create_bind.h"
#include "src/create/create_fail.h"
#include "src/create/create_own.h"
#include "src/create/create_sources.h"
#include "src/create/create_steps.h"
#include "paddock/path.h"
#include "paddock/path_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int open_own(const char *root, const char *below, bool is_dir, int *ret_fd) {
    AUTO_FD int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int fd = -EBADF;
    struct stat st;
    if (root_fd < 0)
        return -errno;
    int r = path_walk(root_fd, below, &fd);
    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (is_dir ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
        return is_dir ? -ENOTDIR : -EINVAL;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static const char *reason_text(int r) {
    return r == -ELOOP ? "it is a symlink" : r == -EINVAL ? "it is no regular file" : strerror(-r);
}

static const char *kind_text(bool is_dir) {
    return is_dir ? "folder" : "file";
}

static int code_of(int r) {
    return r == -ELOOP || r == -EXDEV ? EACCES : -r;
}

/* ---- sources ---- */

static int remember_sent(struct create *c, const char *below, bool is_dir) {
    struct create_sent sent = {.below = strdup(below), .is_dir = is_dir};
    void *more =
        sent.below ? reallocarray(c->sources.sent, c->sources.n_sent + 1, sizeof(sent)) : NULL;
    if (!more) {
        free(sent.below);
        return -ENOMEM;
    }
    c->sources.sent = more;
    c->sources.sent[c->sources.n_sent++] = sent;
    return 0;
}

int create_own_source(struct create *c, enum create_own lies_in, const char *below, bool is_dir,
                      char **ret_source) {
    AUTO_FD int fd = -EBADF;
    AUTO_FREE char *path = path_text_join(c->alloc_dir, below);
    const char *slash = strrchr(below, '/');
    if (!path)
        return err_oom(c->err);
    int r = open_own(c->alloc_dir, below, is_dir, &fd);
    if (r < 0 && create_fail_shortage(c, r, path) < 0)
        return c->r;
    if (r < 0)
        return create_fail(c, code_of(r), "the %s \"%s\" is not as Nomad made it: %s",
                           kind_text(is_dir), path, reason_text(r));
    if (c->host->sources_dir && (c->host->hold & lies_in)) {
        r = create_sources_hold(c, &fd, slash ? slash + 1 : below, below, false, ret_source);
    } else {
        r = remember_sent(c, below, is_dir);
        if (r == 0)
            *ret_source = TAKE_PTR(path);
    }
    if (r < 0 && create_fail_shortage(c, r, below) == 0)
        create_fail(c, -r, "the %s \"%s\" cannot be mounted: %s", kind_text(is_dir), below,
                    strerror(-r));
    return create_fail_code(c);
}

int create_own_check_sent(const char *alloc_dir, const struct create_sources *s, struct err *err) {
    for (size_t i = 0; i < s->n_sent; i++) {
        AUTO_FD int fd = -EBADF;
        int r = open_own(alloc_dir, s->sent[i].below, s->sent[i].is_dir, &fd);
        if (r < 0)
            return err_set(
                err, ERR_PLAIN, code_of(r), "the %s \"%s/%s\" is not as Nomad made it: %s",
                kind_text(s->sent[i].is_dir), alloc_dir, s->sent[i].below, reason_text(r));
    }
    return 0;
}

/* ---- folders ---- */

struct own_folder {
    const char *name;
    bool of_task; /* below the task's folder, else the allocation's */
    enum create_own lies_in;
    const char *env, *otherwise; /* where it is mounted: the variable's value, or this */
    const char *suffix, *mode;
};

/* Finds the path inside the container. Docker would read a ':' as the end of the target, and a text
 * that is no path as a mode. */
static int target_of(struct create *c, const struct own_folder *f, char **ret) {
    const char *value = text_of(kvs_get(&c->task->env, f->env));
    AUTO_FREE char *target = path_text_clean(value[0] ? value : f->otherwise);
    if (!target)
        return err_oom(c->err);
    if (target[0] != '/' || target[1] == '\0' || strchr(target, ':'))
        return create_fail(c, EINVAL,
                           "env: %s: \"%s\" is no absolute path without \":\", so the folder "
                           "cannot be mounted there",
                           f->env, value);
    if (asprintf(ret, "%s%s", target, f->suffix) < 0) {
        *ret = NULL;
        return err_oom(c->err);
    }
    return 0;
}

static int add_folder(struct create *c, const struct own_folder *f) {
    AUTO_FREE char *below = NULL;
    AUTO_FREE char *source = NULL;
    AUTO_FREE char *target = NULL;
    if (asprintf(&below, "%s%s%s", f->of_task ? text_of(c->task->name) : "", f->of_task ? "/" : "",
                 f->name) < 0) {
        below = NULL;
        return err_oom(c->err);
    }
    int r = create_own_source(c, f->lies_in, below, true, &source);
    if (r == 0)
        r = target_of(c, f, &target);
    return r < 0 ? r : create_bind_add(c, "the task's folder", below, source, target, f->mode);
}

int create_own_add(struct create *c) {
    static const struct own_folder folders[] = {
        {"alloc", false, CREATE_OWN_IN_ALLOC, "NOMAD_ALLOC_DIR", "/alloc", "", ""},
        {"local", true, CREATE_OWN_IN_TASK, "NOMAD_TASK_DIR", "/local", "", ""},
        {"secrets", true, CREATE_OWN_IN_TASK, "NOMAD_SECRETS_DIR", "/secrets", "", ""},
        /* Read-only, so that a task cannot put symlinks in the place of its log
         * FIFOs (CVE-2026-6959). */
        {"alloc/logs", false, CREATE_OWN_IN_SHARED, "NOMAD_ALLOC_DIR", "/alloc", "/logs", "ro"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(folders); i++)
        r = add_folder(c, &folders[i]);
    return r;
}
