#pragma once
#include "plugin/rpc_base.h"

/** A call whose method is a stream. The rpc thread. @a->call is taken. Returns 0; -ENOMEM. */
int rpc_stream_accept(const struct rpc_arrival *a) MUST_CHECK;
