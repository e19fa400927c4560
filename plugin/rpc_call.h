#pragma once
#include "plugin/rpc_base.h"

/** A unary call, or one of no known method, which is refused. The rpc thread. @a->call is taken.
 * Returns 0; -ENOMEM. */
int rpc_call_accept(const struct rpc_arrival *a) MUST_CHECK;
