#pragma once
/* The pump's socket: a connection carries one request, then waits for its answer or its end
 * (pump_proto.h). All functions: the loop's thread. */
#include "pump_entry.h"

struct pump_conns;

struct pump_conns_options {
    struct loop *loop;
    const char *dir; /* the pump's folder */
    struct pump_entries *entries;
    const json_t *hello; /* the answer to `hello`; borrowed */
    /* A connection has come or gone. */
    void (*changed)(void *ctx);
    void *ctx;
};

/** Listens. Returns 0; -ENAMETOOLONG; another -errno. */
int pump_conns_new(const struct pump_conns_options *o, struct pump_conns **ret) MUST_CHECK;
/** Before the entries go. NULL allowed. */
void pump_conns_free(struct pump_conns *s);
/** The folder was made again: listens there. Returns 0; -errno. */
int pump_conns_listen(struct pump_conns *s) MUST_CHECK;

bool pump_conns_any(const struct pump_conns *s);
/** A sentence about a task to each plugin that watches; kept for the next one where none does (the
 * last REPORTS_MAX). */
void pump_conns_report(struct pump_conns *s, const char *task_id, const char *text);
