#pragma once
/* Prometheus' text format 0.0.4 as OpenMetrics 1.0. Pure; any thread. */
#include "paddock/cleanup.h"

/** A counter's family is named without its "_total" there, and the text ends with "# EOF".
 *  @text: with HELP and TYPE lines in front of each family. Owner: caller, free(). NULL when out of
 *  memory. */
char *openmetrics_from(const char *text);
