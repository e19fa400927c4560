/* SPDX-License-Identifier: MPL-2.0 */
/* When gaps are reported, and the text of the report. pump_file_loss.c calls it.
 *
 * With max-file=1 a gap can occur at each rotation. Therefore only the first gap is reported
 * immediately, and the later ones in one sentence a minute. That sentence spans the time from the
 * first of them to the last. */
#include "src/pump/log_gap.h"

#include "paddock/cleanup.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <time.h>

#define REPORT_EVERY_US (60 * US_PER_SEC)
#define TIME_TEXT_MAX 40

void log_gap_note(struct log_gap *g, const char *why, int64_t after_ns, uint64_t bytes) {
    if (g->times++ == 0) {
        snprintf(g->why, sizeof(g->why), "%s", why);
        g->after_ns = after_ns;
        g->bytes = 0;
    }
    g->bytes += bytes;
    g->before_ns = 0;
    g->open = true;
}

void log_gap_close(struct log_gap *g, int64_t before_ns) {
    if (!g->open)
        return;
    g->open = false;
    g->before_ns = before_ns;
}

static void time_text(int64_t ns, char ret[TIME_TEXT_MAX]) {
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;
    size_t n = gmtime_r(&seconds, &tm) ? strftime(ret, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm) : 0;
    snprintf(ret + n, TIME_TEXT_MAX - n, ".%03dZ", (int)(ns / 1000000 % 1000));
}

/* Writes when the lines were printed. When one stream was read further than the place of the gap,
 * or when the clock was set back, only the end is known. */
static void span_text(const struct log_gap *g, char *ret, size_t size) {
    char after[TIME_TEXT_MAX], before[TIME_TEXT_MAX];
    bool has_after = g->after_ns > 0 && (g->before_ns <= 0 || g->after_ns < g->before_ns);
    time_text(g->after_ns, after);
    time_text(g->before_ns, before);
    ret[0] = '\0';
    if (has_after && g->before_ns > 0)
        snprintf(ret, size, "between %s and %s", after, before);
    else if (has_after)
        snprintf(ret, size, "after %s", after);
    else if (g->before_ns > 0)
        snprintf(ret, size, "before %s", before);
}

bool log_gap_report(struct log_gap *g, uint64_t now_us, bool last, char ret[LOG_GAP_TEXT_MAX]) {
    bool early = g->reported_us && now_us < g->reported_us + REPORT_EVERY_US;
    if (g->times == 0 || (!last && (g->open || early)))
        return false;
    char span[128], times[32] = "", bytes[48] = "";
    span_text(g, span, sizeof(span));
    if (g->times > 1)
        snprintf(times, sizeof(times), "%u times", g->times);
    if (g->bytes > 0)
        snprintf(bytes, sizeof(bytes), "%llu bytes of the file", (unsigned long long)g->bytes);
    const char *parts[] = {times, bytes, span};
    int n = snprintf(ret, LOG_GAP_TEXT_MAX, "some log lines may be missing: %s", g->why);
    const char *separator = " (";
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!parts[i][0])
            continue;
        n += snprintf(ret + n, LOG_GAP_TEXT_MAX - (size_t)n, "%s%s", separator, parts[i]);
        separator = ", ";
    }
    if (separator[0] == ',')
        snprintf(ret + n, LOG_GAP_TEXT_MAX - (size_t)n, ")");
    *g = (struct log_gap){.reported_us = now_us};
    return true;
}
