/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* An error as gRPC transports it: code and text. A recoverable error also has a google.rpc.Status
 * in the trailing metadata grpc-status-details-bin. Nomad reads its first detail to decide whether
 * the restart policy applies. */
#include "paddock/err.h"
#include <stdint.h>

#define RPC_STATUS_DETAILS_MAX (ERR_TEXT_MAX + 160)

struct rpc_status {
    int code; /* grpc_status_code */
    char text[ERR_TEXT_MAX];
    uint8_t details[RPC_STATUS_DETAILS_MAX]; /* encoded google.rpc.Status */
    size_t details_len;                      /* 0 = none */
};

/** Converts @err; NULL gives OK. The text is made valid UTF-8, because otherwise the host could not
 * read the details. Pure. */
void rpc_status_from_err(const struct err *err, struct rpc_status *ret);
