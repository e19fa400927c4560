#pragma once
/* What the pump says of itself, for `status`, `check` and the metrics. */
#include "paddock/buf.h"

#include <jansson.h>

/** As logpump_status (logpump.h). @starts: how many pumps this plugin has started. */
json_t *logs_status_get(const char *run_dir, unsigned starts);
/** Adds @status as Prometheus text. Returns 0; -ENOMEM; -EMSGSIZE. */
int logs_status_metrics(const json_t *status, struct buf *b) MUST_CHECK;
