#pragma once
/* An error as gRPC carries it: code, text, and for recoverable ones a google.rpc.Status in the
 * trailing metadata grpc-status-details-bin, whose first detail Nomad looks at to apply the restart
 * policy. */
#include "paddock/err.h"
#include <stdint.h>

#define RPC_STATUS_DETAILS_MAX (ERR_TEXT_MAX + 160)

struct rpc_status {
    int code; /* grpc_status_code */
    char text[ERR_TEXT_MAX];
    uint8_t details[RPC_STATUS_DETAILS_MAX]; /* encoded google.rpc.Status */
    size_t details_len;                      /* 0 = none */
};

/** @err NULL: OK. The text is made valid UTF-8 (else the host could not read the details). Pure. */
void rpc_status_from_err(const struct err *err, struct rpc_status *ret);
