#include "docker_create_path.h"
#include "paddock/buf.h"
#include "paddock/path.h"
#include "paddock/strv.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- by text ---- */

/* Takes the last component off ("/a/b" -> "/a"), not below @keep characters. */
static size_t cut_last(const char *text, size_t len, size_t keep) {
    while (len > keep && text[len - 1] != '/')
        len--;
    return len > keep ? len - 1 : keep;
}

char *docker_create_path_clean(const char *path) {
    bool rooted = path[0] == '/';
    char *out = malloc(strlen(path) + 2);
    if (!out)
        return NULL;
    size_t len = 0;
    size_t keep = 0; /* what ".." cannot take back: the leading ".." of a relative path */
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        bool up = n == 2 && p[0] == '.' && p[1] == '.';
        if (up && len > keep) {
            len = cut_last(out, len, keep);
        } else if (n > 0 && !(n == 1 && p[0] == '.') && !(up && rooted)) {
            if (len > 0 || rooted)
                out[len++] = '/';
            memcpy(out + len, p, n);
            len += n;
            if (up)
                keep = len;
        }
        p += n;
        p += strspn(p, "/");
    }
    if (len == 0)
        out[len++] = rooted ? '/' : '.';
    out[len] = '\0';
    return out;
}

char *docker_create_path_join(const char *base, const char *path) {
    if (path[0] == '/')
        return docker_create_path_clean(path);
    AUTO_FREE char *both = NULL;
    if (asprintf(&both, "%s/%s", base, path) < 0) {
        both = NULL;
        return NULL;
    }
    return docker_create_path_clean(both);
}

/* The part of @path behind @root: "" or "/..."; NULL when it is not below it by its text. */
static const char *behind(const char *root, const char *path) {
    size_t n = strlen(root);
    if (n == 1 && root[0] == '/')
        return path;
    if (strncmp(path, root, n) != 0 || (path[n] != '\0' && path[n] != '/'))
        return NULL;
    return path + n;
}

/* ---- the walk ---- */

struct walk {
    const char *root;
    int root_fd;
    int fd;          /* where we are */
    struct buf done; /* its path behind the root: "" or "/a/b", no symlinks */
    char *rest;      /* what is left to walk */
    unsigned links;
    bool make; /* directories that are missing */
};

static void walk_done(struct walk *w) {
    w->root_fd = fd_close(w->root_fd);
    w->fd = fd_close(w->fd);
    buf_done(&w->done);
    cleanup_free(&w->rest);
}

/* Takes the next component off @rest. Returns 1; 0 there is none; -ENAMETOOLONG. */
static int next_name(const char **rest, char name[NAME_MAX + 1]) {
    const char *p = *rest + strspn(*rest, "/");
    size_t n = strcspn(p, "/");
    if (n > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, p, n);
    name[n] = '\0';
    *rest = p + n;
    return n > 0;
}

static void done_cut(struct walk *w, size_t len) {
    w->done.len = len;
    if (w->done.data)
        w->done.data[len] = '\0';
}

static int open_step(int dir_fd, const char *name) {
    int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int to_root(struct walk *w) {
    int fd = fcntl(w->root_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return -errno;
    fd_close(w->fd);
    w->fd = fd;
    return 0;
}

/* "..": the directory is found again from the root, not by asking the kernel for "..", for it may
 * have been moved meanwhile. */
static int walk_up(struct walk *w) {
    if (w->done.len == 0)
        return -EXDEV;
    done_cut(w, cut_last(w->done.data, w->done.len, 0));
    int r = to_root(w);
    if (r < 0)
        return r;
    const char *names = buf_text(&w->done);
    char name[NAME_MAX + 1];
    while ((r = next_name(&names, name)) > 0) {
        int fd = open_step(w->fd, name);
        if (fd < 0)
            return fd;
        struct stat st;
        bool moved = fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode);
        fd_close(w->fd);
        w->fd = fd;
        if (moved) /* a directory became something else under our feet */
            return -EXDEV;
    }
    return r;
}

static int walk_link(struct walk *w, int link_fd, const char *rest) {
    char target[DOCKER_CREATE_PATH_MAX];
    if (++w->links > DOCKER_CREATE_LINKS_MAX)
        return -ELOOP;
    ssize_t n = readlinkat(link_fd, "", target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    if ((size_t)n >= sizeof(target) - 1)
        return -ENAMETOOLONG;
    target[n] = '\0';
    const char *go = target;
    if (target[0] == '/') {
        go = behind(w->root, target);
        if (!go)
            return -EXDEV;
        int r = to_root(w);
        if (r < 0)
            return r;
        done_cut(w, 0);
    }
    if (strlen(go) + strlen(rest) + 2 > DOCKER_CREATE_PATH_MAX)
        return -ENAMETOOLONG;
    char *joined = NULL;
    if (asprintf(&joined, "%s/%s", go, rest) < 0)
        return -ENOMEM;
    free(w->rest);
    w->rest = joined;
    return 0;
}

/* A directory that is not there yet, of mode 0755 whatever the umask is. Somebody else may be at
 * it: a directory is as good, a symlink is not. */
static int make_step(int dir_fd, const char *name) {
    bool made = mkdirat(dir_fd, name, 0755) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || (made && fchmod(fd, 0755) < 0))
        return -errno;
    return TAKE_FD(fd);
}

static int walk_make(struct walk *w, const char *rest) {
    char name[NAME_MAX + 1];
    int r;
    if (w->fd < 0) /* not even the root is there */
        return -ENOENT;
    while ((r = next_name(&rest, name)) > 0) {
        if (strcmp(name, ".") == 0)
            continue;
        int fd = make_step(w->fd, name);
        if (fd < 0)
            return fd;
        fd_close(w->fd);
        w->fd = fd;
    }
    return r;
}

/* Nothing is here: what is left is taken as written; ".." in it (from a symlink) has no meaning. */
static int walk_missing(struct walk *w, const char *rest) {
    const char *names = rest;
    char name[NAME_MAX + 1];
    int r;
    while ((r = next_name(&names, name)) > 0) {
        if (strcmp(name, "..") == 0)
            return -EXDEV;
        if (strcmp(name, ".") == 0)
            continue;
        r = buf_printf(&w->done, "/%s", name);
        if (r < 0)
            return r;
    }
    if (r == 0 && w->make)
        return walk_make(w, rest);
    w->fd = fd_close(w->fd);
    return r;
}

/* One component. Returns 1 go on; 0 arrived. */
static int walk_step(struct walk *w) {
    char name[NAME_MAX + 1];
    const char *after = w->rest;
    int r = next_name(&after, name);
    if (r <= 0)
        return r;
    r = 0;
    if (strcmp(name, "..") == 0) {
        r = walk_up(w);
    } else if (strcmp(name, ".") != 0) {
        AUTO_FD int fd = open_step(w->fd, name);
        if (fd == -ENOENT)
            return walk_missing(w, w->rest);
        if (fd < 0)
            return fd;
        struct stat st;
        if (fstat(fd, &st) < 0)
            return -errno;
        if (S_ISLNK(st.st_mode)) {
            r = walk_link(w, fd, after);
            return r < 0 ? r : 1;
        }
        r = buf_printf(&w->done, "/%s", name);
        if (r == 0) {
            fd_close(w->fd);
            w->fd = TAKE_FD(fd);
        }
    }
    memmove(w->rest, after, strlen(after) + 1);
    return r < 0 ? r : 1;
}

static int walk_all(struct walk *w, const char *rest) {
    w->rest = strdup(rest);
    if (!w->rest)
        return -ENOMEM;
    w->root_fd = open(w->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w->root_fd < 0)
        return errno == ENOENT ? walk_missing(w, rest) : -errno;
    int r = to_root(w);
    if (r < 0)
        return r;
    do
        r = walk_step(w);
    while (r > 0);
    return r;
}

static int resolve(const char *root, const char *path, bool make, char **ret_real, int *ret_fd) {
    const char *rest = behind(root, path);
    if (!rest)
        return -EXDEV;
    __attribute__((cleanup(walk_done))) struct walk w = {
        .root = root, .root_fd = -EBADF, .fd = -EBADF, .make = make};
    buf_init(&w.done, DOCKER_CREATE_PATH_MAX);
    int r = walk_all(&w, rest);
    if (r < 0)
        return r == -EMSGSIZE ? -ENAMETOOLONG : r;
    const char *done = buf_text(&w.done);
    char *real = NULL;
    if (asprintf(&real, "%s%s", strcmp(root, "/") == 0 && done[0] ? "" : root, done) < 0)
        return -ENOMEM;
    *ret_real = real;
    if (ret_fd)
        *ret_fd = TAKE_FD(w.fd);
    return 0;
}

int docker_create_path_resolve(const char *root, const char *path, char **ret_real, int *ret_fd) {
    return resolve(root, path, false, ret_real, ret_fd);
}

int docker_create_path_make(const char *root, const char *path, char **ret_real, int *ret_fd) {
    return resolve(root, path, true, ret_real, ret_fd);
}

/* ---- files ---- */

static int read_fd(int fd, size_t limit, char **ret_text) {
    AUTO_BUF struct buf text;
    buf_init(&text, limit + 1);
    char piece[4096];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        int r = buf_append(&text, piece, (size_t)n);
        if (r == -EMSGSIZE || text.len > limit)
            return -EFBIG;
        if (r < 0)
            return r;
    }
    if (text.len && memchr(text.data, '\0', text.len))
        return -EINVAL;
    char *taken = buf_take(&text);
    if (!taken)
        return -ENOMEM;
    *ret_text = taken;
    return 0;
}

static int open_file(const char *root, const char *path, bool filled, int *ret_fd) {
    AUTO_FD int at = -EBADF;
    AUTO_FREE char *real = NULL;
    int r = root ? docker_create_path_resolve(root, path, &real, &at) : path_find(path, &at);
    if (r < 0)
        return r;
    if (at < 0)
        return -ENOENT;
    struct stat st;
    if (filled && fstat(at, &st) < 0)
        return -errno;
    if (filled && S_ISREG(st.st_mode) && st.st_size == 0)
        return -ENODATA;
    return path_open_regular(at, ret_fd);
}

int docker_create_path_open(const char *root, const char *path, int *ret_fd) {
    return open_file(root, path, false, ret_fd);
}

int docker_create_path_read(const char *root, const char *path, size_t limit, char **ret_text) {
    AUTO_FD int fd = -EBADF;
    int r = docker_create_path_open(root, path, &fd);
    return r < 0 ? r : read_fd(fd, limit, ret_text);
}

int docker_create_path_read_filled(const char *root, const char *path, size_t limit,
                                   char **ret_text) {
    AUTO_FD int fd = -EBADF;
    int r = open_file(root, path, true, &fd);
    return r < 0 ? r : read_fd(fd, limit, ret_text);
}

static int write_all(int fd, const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        left -= (size_t)n;
    }
    return 0;
}

/* A fresh file of mode 0644 whatever the umask is. */
static int write_fresh(int dir_fd, const char *name, const char *text) {
    AUTO_FD int fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = fchmod(fd, 0644) < 0 ? -errno : write_all(fd, text);
    if (r < 0)
        unlinkat(dir_fd, name, 0);
    return r;
}

/* Returns 1 a regular file is there; 0 nothing. */
static int regular_there(int dir_fd, const char *name) {
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return S_ISREG(st.st_mode) ? 1 : -EEXIST;
}

int docker_create_path_write(const char *root, const char *dir, const char *name, const char *text,
                             enum docker_create_path_write how) {
    AUTO_FREE char *real = NULL;
    AUTO_FD int at = -EBADF;
    int r = docker_create_path_resolve(root, dir, &real, &at);
    if (r < 0)
        return r;
    if (at < 0)
        return -ENOENT;
    if (how == DOCKER_CREATE_PATH_IF_ABSENT) {
        r = regular_there(at, name);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    char temp[64];
    snprintf(temp, sizeof(temp), ".paddock-%d.tmp", (int)gettid());
    r = write_fresh(at, temp, text);
    if (r == -EEXIST) { /* left by a thread that died; their ids repeat */
        unlinkat(at, temp, 0);
        r = write_fresh(at, temp, text);
    }
    if (r < 0)
        return r;
    if (how == DOCKER_CREATE_PATH_REPLACE) {
        r = renameat(at, temp, at, name) < 0 ? -errno : 1;
        if (r == 1)
            return r;
    } else {
        r = linkat(at, temp, at, name, 0) < 0 ? -errno : 1;
    }
    unlinkat(at, temp, 0);
    if (r == -EEXIST &&
        how == DOCKER_CREATE_PATH_IF_ABSENT) { /* another task of the group was first */
        r = regular_there(at, name);
        return r < 0 ? r : 0;
    }
    return r;
}
