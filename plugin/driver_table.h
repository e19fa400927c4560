/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The methods of hashicorp.nomad.plugins.drivers.proto.Driver and their handlers. */
#include "plugin/rpc.h"

#define DRIVER_SERVICE "/hashicorp.nomad.plugins.drivers.proto.Driver/"

/** Returns *ret_n rows. The app of the handlers is a struct driver. */
const struct rpc_method *driver_table(size_t *ret_n);
