/* SPDX-License-Identifier: MPL-2.0 */
/* The sources of the job's `volumes` and bind mounts.
 *
 * The steps of volumes, mounts and Nomad's folders call it. Unless volumes are enabled, a source
 * must lie below the allocation's folder. It is opened when it is checked, and the caller of
 * create_build() mounts the open descriptor, because the name could lead elsewhere by then. */
#include "src/create/create_own.h"
#include "src/create/create_sources.h"
#include "paddock/path_below.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_SHOWN 200 /* less than NAME_MAX, because a number stands before it */

static void source_done(struct create_source *s) {
    s->fd = fd_close(s->fd);
    cleanup_free(&s->name);
    cleanup_free(&s->text);
}

void create_sources_close(struct create_sources *s) {
    for (size_t i = 0; i < s->n; i++)
        source_done(&s->v[i]);
    free(s->v);
    s->v = NULL;
    s->n = 0;
}

void create_sources_done(struct create_sources *s) {
    create_sources_close(s);
    for (size_t i = 0; i < s->n_sent; i++)
        free(s->sent[i].below);
    free(s->sent);
    *s = (struct create_sources){0};
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Returns "0-data". It begins with a digit, unlike the names of create_own_source(). The last
 * component of @path helps people who inspect the container. */
static char *mount_point_name(size_t number, const char *path) {
    char *name = NULL;
    const char *slash = strrchr(path, '/');
    if (asprintf(&name, "%zu-%.*s", number, NAME_SHOWN, slash ? slash + 1 : path) < 0)
        return NULL;
    for (char *p = name; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == ':')
            *p = '_';
    return name;
}

/* Docker accepts these options only for a source that is itself shared. */
static bool wants_shared(const char *options) {
    static const char *const words[] = {"shared", "rshared", "slave", "rslave"};
    for (const char *p = options; *p;) {
        size_t n = strcspn(p, ",");
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (strlen(words[i]) == n && strncmp(p, words[i], n) == 0)
                return true;
        p += n;
        p += *p == ',';
    }
    return false;
}

int create_sources_hold(struct create *c, int *fd, const char *name, const char *text, bool shared,
                        char **ret_source) {
    struct create_source s = {.fd = *fd, .shared = shared};
    struct stat st;
    AUTO_FREE char *source = NULL;
    if (fstat(*fd, &st) < 0)
        return -errno;
    s.is_dir = S_ISDIR(st.st_mode);
    AUTO_FREE char *own_name = strdup(name);
    AUTO_FREE char *words = strdup(text);
    if (!own_name || !words || asprintf(&source, "%s/%s", c->host->sources_dir, name) < 0) {
        source = NULL;
        return -ENOMEM;
    }
    void *more = reallocarray(c->sources.v, c->sources.n + 1, sizeof(*c->sources.v));
    if (!more)
        return -ENOMEM;
    c->sources.v = more;
    s.name = TAKE_PTR(own_name);
    s.text = TAKE_PTR(words);
    c->sources.v[c->sources.n++] = s;
    TAKE_FD(*fd);
    *ret_source = TAKE_PTR(source);
    return 0;
}

/* Sets *@ret to true when @fd is the allocation's folder or lies directly in it. Then @fd may
 * contain a folder of Nomad, of this task or of another one. Returns 0; -errno. */
static int is_reach(const struct create *c, int fd, bool *ret) {
    struct stat alloc, self, parent;
    AUTO_FD int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (up < 0)
        return errno == ENOTDIR ? 0 : -errno;
    if (stat(c->alloc_dir, &alloc) < 0 || fstat(fd, &self) < 0 || fstat(up, &parent) < 0)
        return -errno;
    *ret |= same_file(&self, &alloc) || same_file(&parent, &alloc);
    return 0;
}

static int hold_source(struct create *c, int *fd, const char *real, const char *text,
                       const char *options, char **ret_source) {
    AUTO_FREE char *name = mount_point_name(c->sources.n, real);
    if (!name)
        return -ENOMEM;
    int r = is_reach(c, *fd, &c->sources.reaches);
    return r < 0 ? r : create_sources_hold(c, fd, name, text, wants_shared(options), ret_source);
}

int create_sources_find(struct create *c, const char *path, const char *text, const char *options,
                        bool make, char **ret_source) {
    AUTO_FREE char *real = NULL;
    AUTO_FD int fd = -EBADF;
    int r = 0;
    if (c->plugin->volumes_enabled) {
        real = strdup(path);
        r = real ? 0 : -ENOMEM;
    } else if (!c->host->sources_dir) {
        r = path_below_resolve(c->alloc_dir, path, &real, NULL);
    } else {
        r = make ? path_below_make(c->alloc_dir, path, c->host->root, &real, &fd)
                 : path_below_resolve(c->alloc_dir, path, &real, &fd);
        if (r == 0 && fd < 0)
            r = -ENOENT;
        if (r == 0)
            r = hold_source(c, &fd, real, text, options, ret_source);
        return r;
    }
    if (r == 0)
        *ret_source = TAKE_PTR(real);
    return r;
}
