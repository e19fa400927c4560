/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Reads the rest of a body whose end is the end of the connection. */
#include "src/docker/docker_sock.h"

struct docker_tail;

struct docker_tail_ops {
    /* Called with all that one read has returned (at most DOCKER_RECEIVE_BYTES). Returns 0 when it
     * has accepted the piece; DOCKER_GET_PAUSE when it has not: nothing more is read until
     * docker_tail_resume() has offered it again; <0 when it has freed the tail. */
    int (*data)(void *ctx, const char *data, size_t len);
    /* Called once. @r: 0 at the end of the connection, or the -errno of the read; -ENOMEM. Must
     * free the tail. */
    void (*end)(void *ctx, int r);
};

/** @fd: a socket without TLS. The tail keeps a duplicate, so the caller may close @fd. @ops: must
 * outlive the tail. No callback runs before this function returns. Context: the loop's thread.
 * Returns 0; -errno (-EMFILE, -ENOMEM). */
int docker_tail_new(struct docker_socks *socks, int fd, const struct docker_tail_ops *ops,
                    void *ctx, struct docker_tail **ret) MUST_CHECK;
/** Offers the refused piece again, and then reads on. */
void docker_tail_resume(struct docker_tail *t);
/** Closes the connection. NULL allowed. */
void docker_tail_free(struct docker_tail *t);
