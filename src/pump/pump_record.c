#include "pump_record.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

int log_position_compare(const struct log_position *a, const struct log_position *b) {
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    if (a->nth != b->nth)
        return a->nth < b->nth ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

int pump_record_open(int dir_fd, const char *name, struct pump_record **ret, bool *ret_fresh) {
    AUTO_FD int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    bool fresh = st.st_size == 0;
    if (!fresh && st.st_size != (off_t)sizeof(struct pump_record))
        return -EPROTO;
    /* With its blocks: a store into the mapping of a file that the full file system has no block
     * for is a SIGBUS, which would end all tasks' logs. */
    int full = posix_fallocate(fd, 0, (off_t)sizeof(struct pump_record));
    if (full)
        return -full;
    struct pump_record *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (r == MAP_FAILED)
        return -errno;
    /* Killed between making the file and filling it: as good as fresh. */
    if (!fresh && r->magic == 0)
        fresh = true;
    if (!fresh && r->magic != PUMP_RECORD_MAGIC) {
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
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || unlinkat(dir_fd, name, 0) < 0)
        return -errno;
    bool known = pread(fd, &old.magic, sizeof(old.magic), 0) == sizeof(old.magic) &&
                 (old.magic ^ PUMP_RECORD_MAGIC) <= UINT8_MAX &&
                 pread(fd, &old.resume_ns, sizeof(old.resume_ns),
                       offsetof(struct pump_record, resume_ns)) == sizeof(old.resume_ns) &&
                 old.resume_ns > 0;
    *ret_known_ns = known ? old.resume_ns : now_ns;
    return 0;
}

void pump_record_close(struct pump_record *r) {
    if (r) {
        int keep = errno;
        munmap(r, sizeof(*r));
        errno = keep;
    }
}

void pump_record_begin(struct pump_record *r, int s, const struct log_position *behind) {
    r->stream[s].intent = *behind;
    atomic_store(&r->stream[s].intent_open, 1);
}

void pump_record_commit(struct pump_record *r, int s) {
    r->stream[s].at = r->stream[s].intent; /* killed in the middle: the intent still holds */
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
