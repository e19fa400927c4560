/* SPDX-License-Identifier: MPL-2.0 */
/* Decides which of several plugin processes of one Nomad client searches for dangling containers.
 * client.c takes the claim, networks.c checks it before each search.
 *
 * An agent that was killed can leave its plugin running, and the next agent then starts a second
 * one. The old plugin does not know the containers of the new one, and would remove them all. The
 * simple idea: the process that received a task last holds the claim, and only the holder searches.
 * StartTask and RecoverTask take the claim before the container exists. A plugin that the agent
 * only probes receives no task and never takes it.
 *
 * The claim is one line in a file: pid and time. A new claim is written into the existing file, and
 * each process keeps the file open. So an old process sees the new claim even after the file, or
 * all of /run/paddock, was removed. The holder creates the file again. */
#include "src/task/claim.h"

#include "paddock/clock.h"
#include "paddock/parse.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A record always has this length, so that a shorter line leaves no rest of a longer one. */
#define RECORD_BYTES 64

struct claim {
    char *path;
    pthread_mutex_t lock;      /* of all fields below */
    int fd;                    /* of the file when it was last opened; < 0 = never */
    uint64_t taken_us;         /* on the monotonic clock, which all processes share; 0 = never */
    char record[RECORD_BYTES]; /* our claim, as it was written */
};

int claim_new(const char *path, struct claim **ret) {
    struct claim *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->fd = -EBADF;
    c->path = strdup(path);
    if (!c->path) {
        free(c);
        return -ENOMEM;
    }
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

void claim_free(struct claim *c) {
    if (!c)
        return;
    fd_close(c->fd);
    pthread_mutex_destroy(&c->lock);
    free(c->path);
    free(c);
}

/* ---- the file ---- */

static int make_parent(const char *path) {
    AUTO_FREE char *dir = strndup(path, (size_t)(strrchr(path, '/') - path));
    if (!dir)
        return -ENOMEM;
    return mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_file(const char *path, int flags) {
    flags |= O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = open(path, flags, 0600);
    if (fd < 0 && errno == ENOENT && (flags & O_CREAT)) { /* the folder was removed */
        int r = make_parent(path);
        if (r < 0)
            return r;
        fd = open(path, flags, 0600);
    }
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    fd_close(fd);
    return -EINVAL;
}

/* Whether @fd is the file that @path names now. */
static bool is_at(int fd, const char *path) {
    struct stat a, b;
    return fd >= 0 && fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static int read_record(int fd, char out[RECORD_BYTES + 1]) {
    ssize_t n = pread(fd, out, RECORD_BYTES, 0);
    if (n < 0)
        return -errno;
    memset(out + n, 0, (size_t)(RECORD_BYTES + 1 - n));
    return 0;
}

static int write_record(struct claim *c) {
    ssize_t n = pwrite(c->fd, c->record, RECORD_BYTES, 0);
    return n < 0 ? -errno : n == RECORD_BYTES ? 0 : -EIO;
}

/* When the claim in @record was taken; 0 = @record contains no claim. */
static uint64_t time_of(const char *record) {
    char text[24];
    const char *at = strchr(record, ' ');
    size_t n = at ? strcspn(at + 1, "\n") : 0;
    uint64_t us;
    if (n == 0 || n >= sizeof(text) || at[1 + n] != '\n')
        return 0;
    snprintf(text, sizeof(text), "%.*s", (int)n, at + 1);
    return parse_u64(text, UINT64_MAX, &us) == 0 ? us : 0;
}

/* ---- take ---- */

static bool is_written(struct claim *c) {
    char record[RECORD_BYTES + 1];
    return c->taken_us && is_at(c->fd, c->path) && read_record(c->fd, record) == 0 &&
           memcmp(record, c->record, RECORD_BYTES) == 0;
}

static int take_claim(struct claim *c) {
    if (is_written(c))
        return 0;
    c->taken_us = clock_now_us();
    memset(c->record, 0, sizeof(c->record));
    snprintf(c->record, sizeof(c->record), "%d %" PRIu64 "\n", (int)getpid(), c->taken_us);
    if (!is_at(c->fd, c->path)) {
        int fd = open_file(c->path, O_CREAT);
        if (fd < 0)
            return fd;
        fd_close(c->fd);
        c->fd = fd;
    }
    return write_record(c);
}

int claim_take(struct claim *c) {
    pthread_mutex_lock(&c->lock);
    int r = take_claim(c);
    pthread_mutex_unlock(&c->lock);
    return r;
}

/* ---- check ---- */

/* The file is missing or contains a claim older than ours, because an older process created it
 * again. Writes our claim. The caller still reports 0 this time: a process with a newer claim may
 * be about to do the same, and the next check sees it. */
static int put_back(struct claim *c, int fd) {
    if (fd < 0)
        return fd;
    fd_close(c->fd);
    c->fd = fd;
    return write_record(c);
}

static int check_claim(struct claim *c) {
    char record[RECORD_BYTES + 1];
    if (!c->taken_us)
        return 0;
    int r = c->fd >= 0 ? read_record(c->fd, record) : 0;
    if (r < 0 || (c->fd >= 0 && time_of(record) > c->taken_us))
        return r;
    if (is_written(c))
        return 1;
    AUTO_FD int fd = open_file(c->path, 0);
    if (fd == -ENOENT)
        return put_back(c, open_file(c->path, O_CREAT));
    r = fd < 0 ? fd : read_record(fd, record);
    if (r < 0 || time_of(record) > c->taken_us)
        return r;
    return put_back(c, TAKE_FD(fd));
}

int claim_is_ours(struct claim *c) {
    pthread_mutex_lock(&c->lock);
    int r = check_claim(c);
    pthread_mutex_unlock(&c->lock);
    return r;
}

pid_t claim_holder(const char *path) {
    char record[RECORD_BYTES + 1] = "";
    AUTO_FD int fd = open_file(path, 0);
    if (fd < 0 || read_record(fd, record) < 0 || !time_of(record))
        return 0;
    long pid = strtol(record, NULL, 10);
    bool lives = pid > 0 && pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
    return lives ? (pid_t)pid : 0;
}
