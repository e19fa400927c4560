/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the server (fake_dockerd.c), its requests and its replies share: a connection. The engine
 * sees only the functions of fake.h. */
#include "fake/fake.h"

struct conn {
    int fd;
    const char *api; /* the version that its answers report */
    struct buf in, out;
    bool hijacked, streaming, closing, dead, hanging, in_eof, deaf;
    bool unframed;          /* HTTP/1.0: the body ends with the connection */
    bool close_rule;        /* the rule contains "close": close after the answer */
    uint64_t at_us;         /* a delayed answer is not sent before this time */
    struct rule *late_rule; /* a copy that the conn owns; NULL = the engine's answer */
    char *late_header;
    struct request late;
    struct {
        char *data; /* NULL = no body is sent line by line */
        size_t len, at;
        unsigned every_ms;
        bool stall;
        uint64_t at_us;
    } drip; /* a body that is sent line by line */
};

/* ---- fake_reply.c ---- */
/** Sends status line and headers. @type, @header: NULL = none. @framing: whole header lines. */
void conn_head(struct conn *c, int status, const char *type, const char *header,
               const char *framing);
/** The header lines of an answer that is sent in chunks; "" for a client that knows none. */
const char *conn_chunked_framing(const struct conn *c);

/* ---- fake_request.c ---- */
/** Removes one whole request from the input. Returns false when the input has none yet, or when it
 * is no request; the connection is then dead. Release @rq with request_done(). */
bool request_take(struct conn *c, struct request *rq);
void request_done(struct request *rq);
/** The first @len bytes of @from as a text. free() it. */
char *request_copy(const char *from, size_t len);
