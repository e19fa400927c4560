/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Unary calls; see rpc.h. */
#include "plugin/rpc_base.h"

/** Takes a unary call, or one of an unknown method, which is refused. On the rpc thread. Takes
 * ownership of @a->call. Returns 0 or -ENOMEM. */
int rpc_call_accept(const struct rpc_arrival *a) MUST_CHECK;
