/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The service that Nomad expects of every plugin: name, version and configuration. */
#include "plugin/rpc.h"

struct driver;

/* The app of these methods. Borrowed. */
struct svc_base {
    struct driver *driver;
    const char *name;
};

/** Returns *ret_n rows. Their app is a struct svc_base. */
const struct rpc_method *svc_base_table(size_t *ret_n);
