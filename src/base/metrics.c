/* SPDX-License-Identifier: MPL-2.0 */
/* Writes metrics as Prometheus text, for the modules that count something (pin, docker,
 * logs, the driver).
 *
 * A histogram is read while other threads fill it. Its count is therefore the sum of the buckets
 * that were read, so that the last bucket always equals the count, as Prometheus requires. */
#include "paddock/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const uint64_t bounds_us[METRICS_BUCKETS] = {
    100,    250,    500,     1000,    2500,     5000,     10000,    25000,     50000,
    100000, 250000, 1000000, 2500000, 10000000, 30000000, 60000000, 300000000, 1800000000};

int metrics_family(struct buf *b, const char *name, const char *type, const char *help) {
    return buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

int metrics_sample(struct buf *b, const char *name, const char *labels, double value) {
    const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
    return buf_printf(b, "%s%s%s%s %.15g\n", name, open, labels, close, value);
}

int metrics_one(struct buf *b, const char *name, const char *type, const char *help, double value) {
    int r = metrics_family(b, name, type, help);
    return r < 0 ? r : metrics_sample(b, name, "", value);
}

/* Prometheus escapes these three characters and no others. */
int metrics_label(struct buf *b, const char *name, const char *value) {
    int r = buf_printf(b, "%s%s=\"", b->len ? "," : "", name);
    for (; *value && r == 0; value++) {
        if (*value == '"' || *value == '\\')
            r = buf_append(b, "\\", 1);
        if (r == 0)
            r = *value == '\n' ? buf_puts(b, "\\n") : buf_append(b, value, 1);
    }
    return r == 0 ? buf_puts(b, "\"") : r;
}

/* ---- the process ---- */

static unsigned count_fds(void) {
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n > 3 ? n - 3 : 0; /* without ".", ".." and the fd of the folder itself */
}

/* Start time from field 22 of /proc/self/stat (ticks after boot). 0 = unknown. */
static double start_time_s(void) {
    char text[1024];
    unsigned long long ticks = 0, boot_s = 0;
    FILE *f = fopen("/proc/self/stat", "re");
    const char *at = f && fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
    if (f)
        fclose(f);
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (!at || sscanf(at, " %llu", &ticks) != 1)
        return 0;
    f = fopen("/proc/stat", "re");
    while (f && fgets(text, sizeof(text), f))
        if (sscanf(text, "btime %llu", &boot_s) == 1)
            break;
    if (f)
        fclose(f);
    return boot_s ? (double)boot_s + (double)ticks / (double)sysconf(_SC_CLK_TCK) : 0;
}

static double resident_bytes(void) {
    unsigned long long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    int n = f ? fscanf(f, "%llu %llu", &pages, &resident) : 0;
    if (f)
        fclose(f);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

int metrics_process(struct buf *b) {
    struct rusage used;
    double start_s = start_time_s(), resident = resident_bytes();
    int r = 0;
    if (getrusage(RUSAGE_SELF, &used) == 0)
        r = metrics_one(b, "process_cpu_seconds_total", "counter",
                        "CPU time that the plugin has used, user and system.",
                        (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                            (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    if (r == 0 && resident > 0)
        r = metrics_one(b, "process_resident_memory_bytes", "gauge",
                        "Memory of the plugin that is in RAM.", resident);
    if (r == 0)
        r = metrics_one(b, "process_open_fds", "gauge",
                        "File descriptors that the plugin has open.", count_fds());
    if (r == 0 && start_s > 0)
        r = metrics_one(b, "process_start_time_seconds", "gauge",
                        "When the plugin was started, seconds since 1970.", start_s);
    return r;
}

/* ---- histograms ---- */

void metrics_observe(struct metrics_histogram *h, uint64_t us) {
    size_t i = 0;
    while (i < METRICS_BUCKETS && us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
}

uint64_t metrics_count(const struct metrics_histogram *h) {
    uint64_t n = 0;
    for (size_t i = 0; i <= METRICS_BUCKETS; i++)
        n += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    return n;
}

int metrics_histogram_put(struct buf *b, const char *name, const char *labels,
                          const struct metrics_histogram *h) {
    const char *comma = labels[0] ? "," : "";
    const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
    uint64_t sum = 0;
    int r = 0;
    for (size_t i = 0; i < METRICS_BUCKETS && r == 0; i++) {
        sum += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        r = buf_printf(b, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
                       (double)bounds_us[i] / 1e6, sum);
    }
    sum += atomic_load_explicit(&h->counts[METRICS_BUCKETS], memory_order_relaxed);
    if (r == 0)
        r = buf_printf(b, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, sum);
    if (r == 0)
        r = buf_printf(b, "%s_sum%s%s%s %.6f\n", name, open, labels, close,
                       (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6);
    return r < 0 ? r
                 : buf_printf(b, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, sum);
}
