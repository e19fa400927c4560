/* SPDX-License-Identifier: MPL-2.0 */
/* Records of how far a task's output was delivered. This file opens, checks and converts their
 * files, and does the two steps of a write (intent, commit).
 *
 * pump_entry_record.c opens the records, and the readers write them. A crash of the host or another
 * program can damage a record in any way. Therefore pump_record_open() checks everything that is
 * used as text or as a name. */
#include "src/pump/pump_record.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

int pump_record_compare(const struct log_position *a, const struct log_position *b) {
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    if (a->nth != b->nth)
        return a->nth < b->nth ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* ---- the previous layout ---- */

#define MAGIC_2 UINT32_C(0x70616432)
#define NEW_NAME_MAX 128

/* In the previous layout positions were times only. */
struct position_2 {
    int64_t time_ns;
    uint32_t nth, offset;
};

struct record_2 {
    uint32_t magic, tty;
    char task_id[512], container_id[65], path[2][1024];
    int64_t resume_ns;
    struct {
        struct position_2 at, intent;
        uint32_t intent_open, top_sec;
    } stream[2];
};

static struct log_position convert_position(const struct position_2 *p) {
    return (struct log_position){.time_ns = p->time_ns, .nth = p->nth, .offset = p->offset};
}

/* Writes the file under another name and renames it, so that the old file is replaced as
 * a whole. */
static int write_beside(int dir_fd, const char *name, const void *data, size_t len) {
    char beside[NEW_NAME_MAX];
    snprintf(beside, sizeof(beside), "%s.new", name);
    AUTO_FD int fd =
        openat(dir_fd, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, data, len);
    int r = n < 0 ? -errno : (size_t)n < len ? -ENOSPC : 0;
    if (r == 0 && renameat(dir_fd, beside, dir_fd, name) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(dir_fd, beside, 0);
    return r;
}

/* Converts a record of the previous layout. Returns 0 when @name has the present layout now;
 * -EPROTO when it did not have the previous one; another -errno. */
static int convert_previous(int dir_fd, const char *name, int fd) {
    struct record_2 old;
    if (pread(fd, &old, sizeof(old), 0) != (ssize_t)sizeof(old) || old.magic != MAGIC_2)
        return -EPROTO;
    AUTO_FREE struct pump_record *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->magic = PUMP_RECORD_MAGIC;
    r->tty = old.tty;
    memcpy(r->task_id, old.task_id, sizeof(r->task_id));
    memcpy(r->container_id, old.container_id, sizeof(r->container_id));
    memcpy(r->path, old.path, sizeof(r->path));
    atomic_store(&r->resume_ns, old.resume_ns);
    for (int s = 0; s < 2; s++) {
        r->stream[s].at.time = convert_position(&old.stream[s].at);
        r->stream[s].intent.time = convert_position(&old.stream[s].intent);
        r->stream[s].top_sec = old.stream[s].top_sec;
        atomic_store(&r->stream[s].intent_open, old.stream[s].intent_open);
    }
    return write_beside(dir_fd, name, r, sizeof(*r));
}

/* ---- open ---- */

static bool is_text(const char *text, size_t size) {
    return memchr(text, '\0', size) != NULL;
}

/* Returns true when the record is valid. @name: the container's id. */
static bool is_sound(const struct pump_record *r, const char *name) {
    return r->magic == PUMP_RECORD_MAGIC && r->tty <= 1 &&
           is_text(r->task_id, sizeof(r->task_id)) && r->task_id[0] != '\0' &&
           is_text(r->container_id, sizeof(r->container_id)) &&
           strcmp(r->container_id, name) == 0 && is_text(r->path[0], sizeof(r->path[0])) &&
           is_text(r->path[1], sizeof(r->path[1])) && is_text(r->log_path, sizeof(r->log_path));
}

/* Returns -EPROTO when something other than a file is in the record's place; otherwise -errno. */
static int open_error(void) {
    return errno == EISDIR || errno == ELOOP || errno == ENXIO ? -EPROTO : -errno;
}

int pump_record_open(int dir_fd, const char *name, struct pump_record **ret, bool *ret_fresh) {
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    AUTO_FD int fd = openat(dir_fd, name, flags, 0600);
    struct stat st;
    if (fd < 0)
        return open_error();
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode) && st.st_size == (off_t)sizeof(struct record_2)) {
        int r = convert_previous(dir_fd, name, fd);
        if (r < 0)
            return r;
        fd_close(fd);
        fd = openat(dir_fd, name, flags, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
            return -errno;
    }
    bool fresh = st.st_size == 0;
    if (!S_ISREG(st.st_mode) || (!fresh && st.st_size != (off_t)sizeof(struct pump_record)))
        return -EPROTO;
    /* Allocates the file's blocks. Without a block, a store into the mapping raises SIGBUS on a
     * full file system, and that would end the logs of all tasks. */
    int full = posix_fallocate(fd, 0, (off_t)sizeof(struct pump_record));
    if (full)
        return -full;
    struct pump_record *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (r == MAP_FAILED)
        return -errno;
    /* A pump was killed between making the file and filling it: the record counts as fresh. */
    if (!fresh && r->magic == 0)
        fresh = true;
    if (!fresh && !is_sound(r, name)) {
        pump_record_close(r);
        return -EPROTO;
    }
    *ret = r;
    *ret_fresh = fresh;
    return 0;
}

int pump_record_drop(int dir_fd, const char *name, int64_t now_ns, int64_t *ret_known_ns) {
    struct {
        uint32_t magic;
        int64_t resume_ns;
    } old = {0};
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (unlinkat(dir_fd, name, 0) < 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
        return -errno;
    bool known = fd >= 0 && pread(fd, &old.magic, sizeof(old.magic), 0) == sizeof(old.magic) &&
                 (old.magic ^ PUMP_RECORD_MAGIC) <= UINT8_MAX &&
                 pread(fd, &old.resume_ns, sizeof(old.resume_ns),
                       offsetof(struct pump_record, resume_ns)) == sizeof(old.resume_ns) &&
                 old.resume_ns > 0;
    *ret_known_ns = known ? old.resume_ns : now_ns;
    return 0;
}

int pump_record_read_paths(int dir_fd, const char *name, char ret_paths[2][PUMP_FIFO_PATH_MAX]) {
    uint32_t magic;
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    const size_t size = 2 * (size_t)PUMP_FIFO_PATH_MAX;
    if (pread(fd, &magic, sizeof(magic), 0) != sizeof(magic) ||
        (magic ^ PUMP_RECORD_MAGIC) > UINT8_MAX ||
        pread(fd, ret_paths, size, offsetof(struct pump_record, path)) != (ssize_t)size)
        return -EPROTO;
    for (int s = 0; s < 2; s++)
        ret_paths[s][PUMP_FIFO_PATH_MAX - 1] = '\0';
    return 0;
}

int pump_record_move(struct pump_record *r, int dir_fd, const char *name) {
    AUTO_FD int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    errno = ENOSPC; /* of a write that was cut short */
    if (write(fd, r, sizeof(*r)) != (ssize_t)sizeof(*r) ||
        mmap(r, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int failed = -errno;
        unlinkat(dir_fd, name, 0);
        return failed;
    }
    return 0;
}

void pump_record_close(struct pump_record *r) {
    if (r) {
        int keep = errno;
        munmap(r, sizeof(*r));
        errno = keep;
    }
}

void pump_record_begin(struct pump_record *r, int s, const struct pump_position *after) {
    r->stream[s].intent = *after;
    atomic_store(&r->stream[s].intent_open, 1);
}

void pump_record_commit(struct pump_record *r, int s) {
    /* After a kill in the middle of this copy, the intent is still open and is used again. */
    r->stream[s].at = r->stream[s].intent;
    atomic_store(&r->stream[s].intent_open, 0);
}

void pump_record_abort(struct pump_record *r, int s) {
    atomic_store(&r->stream[s].intent_open, 0);
}

void pump_record_settle(struct pump_record *r) {
    for (int s = 0; s < 2; s++)
        if (atomic_load(&r->stream[s].intent_open))
            pump_record_commit(r, s);
}
