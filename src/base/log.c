#include "paddock/log.h"
#include "paddock/clock.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_TEXT_MAX 8192 /* of one message or value: the host cuts lines at 64 KiB */
#define LOG_LINE_MAX 60000

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* PADDOCK_TRACE=docker,pin or all. */
static bool log_traces(const char *module) {
    const char *list = getenv("PADDOCK_TRACE");
    if (!list)
        return false;
    if (strcmp(list, "all") == 0)
        return true;
    size_t len = strlen(module);
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        if (n == len && strncmp(p, module, n) == 0)
            return true;
        p += n;
        if (*p == ',')
            p++;
    }
    return false;
}

/* A JSON string of @text, cut to LOG_TEXT_MAX; bytes that are no UTF-8 become '?'. */
static json_t *log_string(const char *text) {
    char safe[LOG_TEXT_MAX];
    snprintf(safe, sizeof(safe), "%s", text ? text : "");
    json_t *j = json_string(safe);
    if (!j) {
        for (char *p = safe; *p; p++)
            if ((unsigned char)*p >= 0x80)
                *p = '?';
        j = json_string(safe);
    }
    return j;
}

static void log_timestamp(char *out, size_t size) {
    int64_t ns = clock_wall_ns();
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char day[32];
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%06dZ", day, (int)(ns % 1000000000 / 1000));
}

void log_write(enum log_level level, const char *module, const char *const *kv, const char *fmt,
               ...) {
    if (level == LOG_LEVEL_DEBUG && !log_traces(module))
        return;
    int keep = errno;
    char message[LOG_TEXT_MAX], when[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    log_timestamp(when, sizeof(when));

    json_t *line = json_object();
    json_object_set_new(line, "@level", json_string(level_names[level]));
    json_object_set_new(line, "@message", log_string(message));
    json_object_set_new(line, "@module", log_string(module));
    json_object_set_new(line, "@timestamp", json_string(when));
    for (; kv && kv[0]; kv += 2) {
        json_object_set_new(line, kv[0], log_string(kv[1]));
        if (!kv[1])
            break; /* the list ends with NULL: a NULL value cannot be told from it */
    }
    char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(line);
    size_t len = text ? strlen(text) : 0;
    if (len > 0 && len < LOG_LINE_MAX) {
        text[len] = '\n'; /* in place of the NUL: one write for the whole line */
        ssize_t n = write(STDERR_FILENO, text, len + 1);
        (void)n; /* nobody reads any more: dropped */
    }
    free(text);
    errno = keep;
}
