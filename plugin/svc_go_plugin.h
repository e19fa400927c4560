/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The services that go-plugin expects of every plugin: health, shutdown, and two streams
 * that are held open. */
#include "plugin/rpc.h"

/** Returns *ret_n rows. The handlers have no app. */
const struct rpc_method *svc_go_plugin_table(size_t *ret_n);
