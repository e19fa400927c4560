/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of pump_file.c share: one container's log files, the reader of these files on
 * a loop of its own, and readers for its FIFOs. The functions are called on the test's thread; they
 * fail the test after FILE_WORLD_WAIT_US. @s is the stream: 0 stdout, 1 stderr. */
#include "src/pump/pump_file.h"
#include "unit/cm.h"

#include "paddock/buf.h"

#include <pthread.h>

#define FILE_WORLD_LOG "c0de-json.log"
#define FILE_WORLD_WAIT_US (30 * US_PER_SEC)
#define FILE_WORLD_BACKLOG (UINT64_C(1) << 20)

struct file_world {
    char dir[32];
    int dir_fd, log_fd, fifo[2]; /* fifo: the reader's ends */
    struct loop *loop;
    pthread_t thread;
    struct pump_files shared;
    struct pump_record record;
    struct pump_out out[2];
    struct pump_file *file;
    struct pump_file_status status; /* the last one that was asked for */
    struct buf got[2], want[2];
    int64_t clock_ns;     /* time of dockerd's next record */
    pthread_mutex_t lock; /* of what follows */
    char reports[2048];
    bool drained;
};

int file_world_setup(void **state);
int file_world_teardown(void **state);
#define FILE_WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, file_world_setup, file_world_teardown)

/** Runs @what on the loop's thread and waits for it. */
void file_world_run(struct file_world *w, void (*what)(struct file_world *w));

/* ---- The reader ---- */

void file_world_begin(struct file_world *w);
/** Ends the reader like a SIGKILL: bytes that were gathered and not yet written are lost. */
void file_world_kill(struct file_world *w);
void file_world_restart(struct file_world *w);
/** Reports to the reader that the container has ended. */
void file_world_finish(struct file_world *w);
struct pump_file_status file_world_status(struct file_world *w);

/* ---- dockerd ---- */

/** Creates the log file, or truncates it. */
void file_world_new_log(struct file_world *w);
/** Appends raw bytes to the log file. */
void file_world_put(const struct file_world *w, const char *text, size_t len);
/** Appends a record as dockerd writes it. @text needs no escapes except for a final newline. */
void file_world_record(struct file_world *w, int s, const char *text, size_t len);
/** Appends a record whose text must arrive in the FIFO. */
void file_world_print(struct file_world *w, int s, const char *text);
/** Prints numbered lines of 100 bytes, @bytes in all. */
void file_world_print_much(struct file_world *w, int s, size_t bytes);
/** Rotates the log file; @files are kept. */
void file_world_rotate(struct file_world *w, unsigned files);

/* ---- Nomad ---- */

/** Reads up to @max of the bytes that are in the FIFO. */
void file_world_read(struct file_world *w, int s, size_t max);
/** Reads until both FIFOs have delivered exactly what was printed. */
void file_world_expect(struct file_world *w);
/** As file_world_expect(), and the reader then reports the end of the files. */
void file_world_expect_drained(struct file_world *w);
/** Waits until the reader is @bytes or more from the end of the files. */
void file_world_expect_lag(struct file_world *w, uint64_t bytes);
/** Waits until inotify watches the folder and the file, so that the next write raises an event. */
void file_world_expect_quiet(void);
/** Waits for a report with @text in it. */
void file_world_expect_report(struct file_world *w, const char *text);
