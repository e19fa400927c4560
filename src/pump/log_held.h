#pragma once
/* The files of one container's log, oldest first, held open until they are read. */
#include "log_opener.h"
#include "pump_record.h"

struct log_held_file {
    int fd;
    struct log_file_id id;
    uint64_t number; /* rises by one with each file of this log */
    uint64_t size;   /* bytes; final when a newer file is held */
    bool gap;        /* files before this one were missed */
};

struct log_held {
    struct log_held_file *files;
    size_t n, cap;
    uint64_t numbers;
};

void log_held_done(struct log_held *h);
/** Takes @found->fd also on failure. Returns 0; -ENOMEM; -errno of fstat(). */
int log_held_add(struct log_held *h, const struct log_found *found) MUST_CHECK;
/** Closes the oldest file. */
void log_held_drop(struct log_held *h);
/** NULL: not held. */
const struct log_held_file *log_held_find(const struct log_held *h, const struct log_file_id *id);
/** Bytes from @offset of the oldest file to the end of the newest. */
uint64_t log_held_bytes(const struct log_held *h, uint64_t offset);
/** The same without the newest. */
uint64_t log_held_rotated(const struct log_held *h, uint64_t offset);

/* So many bytes before a record are summed up in its mark. They contain the fraction of the second
 * in which the record before was written. */
#define LOG_MARK_LEN 24
/** Sums up the LOG_MARK_LEN bytes before @end. Never 0. */
uint32_t log_mark(const char *end);
/** The mark of what is in @fd before @offset; 0: there are not enough bytes. */
uint32_t log_mark_read(int fd, uint64_t offset);
