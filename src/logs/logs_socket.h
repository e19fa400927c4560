/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* One connection to the pump: connects, sends a request, reads the answer. It knows nothing of
 * processes and tasks. */
#include "paddock/buf.h"
#include "paddock/call.h"
#include "paddock/err.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

/* The limit of logs_socket_connect() for a request, in microseconds. */
#define LOGS_CONNECT_US UINT64_C(2000000)

/** Connects to the pump of the folder @run_dir. Blocks up to @limit_us when the pump does not
 * accept. Returns the descriptor (owner: caller); -ENOENT or -ECONNREFUSED when no pump listens
 * there; another -errno. */
int logs_socket_connect(const char *run_dir, uint64_t limit_us) MUST_CHECK;

/** Returns the process at the other end, or 0 when it is not known. */
pid_t logs_socket_pid(int fd);

/** Sends @rq as a line. @pass_fd: a descriptor to pass with it; -1: none. Returns 0;
 * -ENOMEM; -EPIPE. */
int logs_socket_send(int fd, const json_t *rq, int pass_fd) MUST_CHECK;

/** Reads one line. @quiet_us: gives up earlier when nothing arrives for so long; 0: only the call's
 * deadline counts. Returns 0; -ETIMEDOUT; -ECANCELED; -EPIPE when the pump has ended; -EPROTO.
 * Owner: caller, json_decref. */
int logs_socket_read(int fd, const struct call *call, uint64_t quiet_us, json_t **ret,
                     struct err *err) MUST_CHECK;

/* An answer that is read in parts, as it arrives. */
struct logs_answer {
    struct buf line;
    bool moved; /* true after a byte has arrived; the caller sets it to false */
};
/** Prepares @a for a new answer. Owner: caller, logs_socket_answer_done(). */
void logs_socket_answer_init(struct logs_answer *a);
/** Releases the buffer. */
void logs_socket_answer_done(struct logs_answer *a);
/** Reads what has arrived, without waiting. Returns 0 with the answer (owner: caller); 1 when it is
 * incomplete; -EPIPE when the pump has ended; -EPROTO. */
int logs_socket_answer_read(struct logs_answer *a, int fd, json_t **ret,
                            struct err *err) MUST_CHECK;
