#pragma once
/* One connection to the pump: made, asked, answered. Knows nothing of processes and tasks. */
#include "paddock/buf.h"
#include "paddock/call.h"
#include "paddock/err.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#define LOGS_CONNECT_US UINT64_C(2000000)

/** Connects to the pump of the folder @run_dir. Returns the fd; -ENOENT, -ECONNREFUSED: none
 * listens there; another -errno. Blocks up to @limit_us, when the pump accepts nothing. */
int logs_socket_connect(const char *run_dir, uint64_t limit_us) MUST_CHECK;

/** The process at the other end; 0 = not known. */
pid_t logs_socket_pid(int fd);

/** Sends @rq as a line. @pass_fd: a descriptor that goes with it; -1 = none. Returns 0; -ENOMEM;
 * -EPIPE. */
int logs_socket_send(int fd, const json_t *rq, int pass_fd) MUST_CHECK;

/** Reads one line. @quiet_us: gives up sooner when nothing comes for so long; 0 = not. Returns 0;
 * -ETIMEDOUT; -ECANCELED; -EPIPE the pump has ended; -EPROTO. Owner: caller, json_decref. */
int logs_socket_read(int fd, const struct call *call, uint64_t quiet_us, json_t **ret,
                     struct err *err) MUST_CHECK;

/* An answer that is read as it comes. */
struct logs_answer {
    struct buf line;
    bool moved; /* a byte has come since this was last set to false */
};
void logs_answer_init(struct logs_answer *a);
void logs_answer_done(struct logs_answer *a);
/** Reads what is there, without waiting. Returns 0 with the answer (owner: caller); 1 it has not
 * come whole; -EPIPE the pump has ended; -EPROTO. */
int logs_answer_read(struct logs_answer *a, int fd, json_t **ret, struct err *err) MUST_CHECK;
