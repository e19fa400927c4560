#pragma once
/* What go-plugin expects of every plugin: health, the order to end, and two streams that are held
 * open. */
#include "plugin/rpc.h"

/** @ret_n rows; no app. */
const struct rpc_method *svc_go_plugin_table(size_t *ret_n);
