#pragma once
/* What Nomad expects of every plugin: its name and version, its configuration. */
#include "plugin/rpc.h"

struct driver;

/* The app of these rows. Borrowed. */
struct svc_base {
    struct driver *driver;
    const char *name;
};

const struct rpc_method *svc_base_table(size_t *ret_n);
