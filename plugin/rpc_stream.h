/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Streams; see rpc.h. */
#include "plugin/rpc_base.h"

/** Takes a call whose method is a stream. On the rpc thread. Takes ownership of @a->call.
 * Returns 0 or -ENOMEM. */
int rpc_stream_accept(const struct rpc_arrival *a) MUST_CHECK;
