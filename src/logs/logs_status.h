/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The status that the pump reports, for `status`, `check` and the metrics. */
#include "paddock/buf.h"

#include <jansson.h>

/** Like logpump_status() (logpump.h). @starts: how many pumps this plugin has started.
 * Owner: caller. */
json_t *logs_status_get(const char *run_dir, unsigned starts);
/** Appends @status to @b as Prometheus text. Returns 0; -ENOMEM; -EMSGSIZE. */
int logs_status_metrics(const json_t *status, struct buf *b) MUST_CHECK;
