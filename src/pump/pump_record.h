#pragma once
/* How far each task's output has been delivered, kept where it outlives the pump: a small file per
 * container, mapped into memory, so that each step is a store and not a system call.
 *
 * A position is "the next byte": message `nth` of those with time `time_ns`, at `offset`. The write
 * to the FIFO and its record cannot be one step, so the position behind a write is noted before it
 * (`intent`) and made the position after it. Found with an intent open, the write is taken as done:
 * a SIGKILL takes effect when a system call returns, and the write was one step away; a write is
 * only begun when poll() said that it will be taken whole. */
#include "paddock/cleanup.h"
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_position {
    int64_t time_ns;
    uint32_t nth;
    uint32_t offset;
};

/* The lowest byte is the layout's number. What stands up to resume_ns stays where it is in all. */
#define PUMP_RECORD_MAGIC UINT32_C(0x70616432)

struct pump_record {
    uint32_t magic;
    uint32_t tty;
    char task_id[512];
    char container_id[65];
    char path[2][1024]; /* FIFOs of stdout and stderr; "" = none */
    /* Where to begin reading again: the time of the oldest message that is not delivered. */
    _Atomic int64_t resume_ns;
    struct {
        struct log_position at, intent;
        atomic_uint intent_open;
        /* Not 0: the clock was set back, and what was delivered may be as new as this second. In
         * what an older pump left it is 0. */
        uint32_t top_sec;
    } stream[2];
};

/** -1, 0, 1. Pure. */
int log_position_compare(const struct log_position *a, const struct log_position *b);

/** Makes the record @name below @dir_fd, or opens the one that is there (*ret_fresh false).
 *  Returns 0; -EPROTO: its layout is not known; -errno. Owner: caller, pump_record_close. */
int pump_record_open(int dir_fd, const char *name, struct pump_record **ret,
                     bool *ret_fresh) MUST_CHECK;
/** Removes a record whose layout is not known. *@ret_known_ns: what is older was delivered; when it
 * does not tell, @now_ns: better a gap than the whole log once more. Returns 0; -errno. */
int pump_record_drop(int dir_fd, const char *name, int64_t now_ns,
                     int64_t *ret_known_ns) MUST_CHECK;
/** NULL allowed. The file stays. */
void pump_record_close(struct pump_record *r);

/** The intent of a write, and what follows it. @s: 0 stdout, 1 stderr. */
void pump_record_begin(struct pump_record *r, int s, const struct log_position *behind);
void pump_record_commit(struct pump_record *r, int s);
void pump_record_abort(struct pump_record *r, int s);
/** After a restart: an open intent counts as written. */
void pump_record_settle(struct pump_record *r);
