/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The files of one container's log, oldest first. They stay open until they are read. All
 * functions: the loop's thread. */
#include "src/pump/log_opener.h"
#include "src/pump/pump_record.h"

struct log_held_file {
    int fd;
    struct log_file_id id;
    uint64_t number; /* rises by one with each file of this log */
    uint64_t size;   /* in bytes; final when a newer file is held */
    bool gap;        /* files before this one were missed */
};

struct log_held {
    struct log_held_file *files;
    size_t n, cap;
    uint64_t numbers;
};

/** Closes all files and releases the list. */
void log_held_done(struct log_held *h);
/** Adds the file as the newest. Takes ownership of @found->fd, also on failure. Returns 0; -ENOMEM;
 * -errno of statx(). After a failure the list is as before. */
int log_held_add(struct log_held *h, const struct log_found *found) MUST_CHECK;
/** Closes the oldest file and removes it. The list must not be empty. */
void log_held_drop(struct log_held *h);
/** Returns the held file with the identity @id, or NULL. Owner: @h. */
const struct log_held_file *log_held_find(const struct log_held *h, const struct log_file_id *id);
/** Returns the bytes from @offset of the oldest file to the end of the newest. */
uint64_t log_held_bytes(const struct log_held *h, uint64_t offset);
/** Like log_held_bytes(), without the newest file. */
uint64_t log_held_rotated(const struct log_held *h, uint64_t offset);

/* The mark of a record is a checksum of this many bytes before it. They contain the fraction of the
 * second in which the previous record was written. */
#define LOG_MARK_LEN 24
/** Returns the checksum of the LOG_MARK_LEN bytes before @end. Never 0. */
uint32_t log_held_mark(const char *end);
/** Returns the mark of the bytes before @offset in @fd, or 0 when there are not enough bytes or
 * they cannot be read. */
uint32_t log_held_mark_read(int fd, uint64_t offset);
