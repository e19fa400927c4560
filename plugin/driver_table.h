#pragma once
/* The rows of hashicorp.nomad.plugins.drivers.proto.Driver: which function answers which method. */
#include "plugin/rpc.h"

#define DRIVER_SERVICE "/hashicorp.nomad.plugins.drivers.proto.Driver/"

/** @ret_n rows; app of the handlers: struct driver. */
const struct rpc_method *driver_table(size_t *ret_n);
