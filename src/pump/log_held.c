/* SPDX-License-Identifier: MPL-2.0 */
/* A list of open log files and their identities. pump_file_place.c fills it from the
 * opener; pump_file_read.c reads its first file.
 *
 * An identity is compared across restarts of the pump. Therefore it contains the time of birth: a
 * file system gives the inode number of a removed file to the next one. */
#include "src/pump/log_held.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

void log_held_done(struct log_held *h) {
    while (h->n > 0)
        log_held_drop(h);
    cleanup_free(&h->files);
    *h = (struct log_held){0};
}

static int grow_files(struct log_held *h) {
    size_t cap = h->cap ? h->cap * 2 : 2;
    struct log_held_file *files = realloc(h->files, cap * sizeof(*files));
    if (!files)
        return -ENOMEM;
    h->files = files;
    h->cap = cap;
    return 0;
}

/* Reads the identity and the size of @f. */
static int fill_stat(struct log_held_file *f) {
    struct statx st;
    if (statx(f->fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME | STATX_SIZE, &st) < 0)
        return -errno;
    f->id =
        (struct log_file_id){.dev = makedev(st.stx_dev_major, st.stx_dev_minor), .ino = st.stx_ino};
    if (st.stx_mask & STATX_BTIME)
        f->id.born_ns = st.stx_btime.tv_sec * INT64_C(1000000000) + st.stx_btime.tv_nsec;
    f->size = st.stx_size;
    return 0;
}

int log_held_add(struct log_held *h, const struct log_found *found) {
    AUTO_FD int fd = found->fd;
    int r = h->n == h->cap ? grow_files(h) : 0;
    struct log_held_file f = {.fd = fd, .number = h->numbers, .gap = found->gap};
    if (r == 0)
        r = fill_stat(&f);
    if (r < 0)
        return r;
    struct stat st;
    struct log_held_file *previous = h->n > 0 ? &h->files[h->n - 1] : NULL;
    if (previous && fstat(previous->fd, &st) == 0) /* final: dockerd writes only to the newest */
        previous->size = (uint64_t)st.st_size;
    fd = -EBADF;
    h->files[h->n++] = f;
    h->numbers++;
    return 0;
}

void log_held_drop(struct log_held *h) {
    fd_close(h->files[0].fd);
    h->n--;
    memmove(h->files, h->files + 1, h->n * sizeof(*h->files));
}

const struct log_held_file *log_held_find(const struct log_held *h, const struct log_file_id *id) {
    for (size_t i = 0; i < h->n; i++)
        if (memcmp(&h->files[i].id, id, sizeof(*id)) == 0)
            return &h->files[i];
    return NULL;
}

static uint64_t rotated_bytes(const struct log_held *h) {
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < h->n; i++)
        sum += h->files[i].size;
    return sum;
}

uint64_t log_held_rotated(const struct log_held *h, uint64_t offset) {
    uint64_t sum = rotated_bytes(h);
    return sum > offset ? sum - offset : 0;
}

uint64_t log_held_bytes(const struct log_held *h, uint64_t offset) {
    struct stat st;
    uint64_t sum = rotated_bytes(h);
    if (h->n > 0 && fstat(h->files[h->n - 1].fd, &st) == 0)
        sum += (uint64_t)st.st_size;
    return sum > offset ? sum - offset : 0;
}

uint32_t log_held_mark(const char *end) {
    uint64_t w[LOG_MARK_LEN / 8];
    memcpy(w, end - LOG_MARK_LEN, LOG_MARK_LEN);
    uint64_t sum = w[0];
    for (size_t i = 1; i < ARRAY_LEN(w); i++)
        sum = (sum ^ sum >> 29) * UINT64_C(0x9e3779b97f4a7c15) + w[i];
    sum = (sum ^ sum >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(sum >> 32) | 1;
}

uint32_t log_held_mark_read(int fd, uint64_t offset) {
    char bytes[LOG_MARK_LEN];
    if (offset < LOG_MARK_LEN ||
        pread(fd, bytes, sizeof(bytes), (off_t)(offset - LOG_MARK_LEN)) != (ssize_t)sizeof(bytes))
        return 0;
    return log_held_mark(bytes + sizeof(bytes));
}
