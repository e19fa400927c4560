/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Converts Prometheus' text format 0.0.4 to OpenMetrics 1.0. Pure; any thread. */
#include "paddock/cleanup.h"

/** Returns @text as OpenMetrics. There, a counter's family is named without its "_total", and the
 * text ends with "# EOF".
 *  @text: has HELP and TYPE lines before each family. Owner: caller, free(). NULL
 *  when out of memory. */
char *openmetrics_from(const char *text);
