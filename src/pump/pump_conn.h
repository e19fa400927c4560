/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The pump's socket. A connection carries one request, then waits for its answer or its end
 * (pump_proto.h). All functions: the loop's thread. */
#include "src/pump/pump_entry.h"

struct pump_conns;

struct pump_conns_options {
    struct loop *loop;
    const char *dir; /* the pump's folder */
    struct pump_entries *entries;
    const json_t *hello; /* the answer to `hello`; borrowed */
    /* Called when a connection was opened or closed. */
    void (*changed)(void *ctx);
    void *ctx;
};

/** Starts to listen. Returns 0; -ENAMETOOLONG; another -errno. Owner: caller, pump_conns_free(). */
int pump_conns_new(const struct pump_conns_options *o, struct pump_conns **ret) MUST_CHECK;
/** Closes all connections. Call it before the entries are freed. NULL allowed. */
void pump_conns_free(struct pump_conns *s);
/** The folder was made again: listens in the new folder. Returns 0; -errno. */
int pump_conns_listen(struct pump_conns *s) MUST_CHECK;

/** Returns true when a connection is open. */
bool pump_conns_any(const struct pump_conns *s);
/** Sends a sentence about a task to each plugin that watches. While none watches, the last 64
 * sentences are kept; the next plugin that watches receives them first. */
void pump_conns_report(struct pump_conns *s, const char *task_id, const char *text);
