/* SPDX-License-Identifier: MPL-2.0 */
/* Writes log lines: one JSON object per line on stderr, which the agent's go-plugin host reads.
 *
 * All modules log through it, on any thread. A line is one write of at most PIPE_BUF bytes,
 * so lines of several threads and processes do not mix. After log_never_wait() no caller
 * waits: when the pipe is full, the line is dropped and counted, and the next line that fits
 * reports the count. */
#include "paddock/log.h"
#include "paddock/clock.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LOG_TEXT_MAX 2048 /* of one message or value; less where the line would be too long */

/* Number of lines that stderr did not take. It is the only state that writers share. */
static atomic_uint lost;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* True when the environment enables the debug lines of @module: PADDOCK_TRACE=docker,pin or all. */
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

/* Makes a JSON string of @text, cut to less than @max bytes. Bytes that are
 * not UTF-8 become '?'. */
static json_t *log_string(const char *text, size_t max) {
    char safe[LOG_TEXT_MAX];
    snprintf(safe, max, "%s", text ? text : "");
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

/* Makes the line; it ends with a newline and has no NUL. Returns NULL when out of memory. */
static char *log_line(enum log_level level, const char *module, const char *const *kv,
                      const char *message, const char *when, unsigned lines_lost, size_t text_max,
                      size_t *ret_len) {
    json_t *line = json_object();
    json_object_set_new(line, "@level", json_string(level_names[level]));
    json_object_set_new(line, "@message", log_string(message, text_max));
    json_object_set_new(line, "@module", log_string(module, text_max));
    json_object_set_new(line, "@timestamp", json_string(when));
    for (; kv && kv[0]; kv += 2) {
        json_object_set_new(line, kv[0], log_string(kv[1], text_max));
        if (!kv[1])
            break; /* the list ends with NULL, so a NULL value ends it as well */
    }
    if (lines_lost > 0)
        json_object_set_new(line, "lines_lost", json_sprintf("%u", lines_lost));
    char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(line);
    size_t len = text ? strlen(text) : 0;
    if (text)
        text[len++] = '\n'; /* replaces the NUL: one write for the whole line */
    *ret_len = len;
    return text;
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

    unsigned before = atomic_exchange(&lost, 0);
    size_t len = 0;
    char *text = NULL;
    for (size_t max = LOG_TEXT_MAX; max > 1 && (max == LOG_TEXT_MAX || len > PIPE_BUF); max /= 2) {
        free(text);
        text = log_line(level, module, kv, message, when, before, max, &len);
    }
    if (!text || write(STDERR_FILENO, text, len) != (ssize_t)len) /* full, or no reader */
        atomic_fetch_add(&lost, before + 1);
    free(text);
    errno = keep;
}

void log_pass(const char *line, size_t len) {
    char text[PIPE_BUF];
    int keep = errno;
    if (len >= sizeof(text))
        return;
    memcpy(text, line, len);
    text[len] = '\n';
    if (write(STDERR_FILENO, text, len + 1) != (ssize_t)len + 1)
        atomic_fetch_add(&lost, 1);
    errno = keep;
}

int log_never_wait(void) {
    struct stat st;
    if (fstat(STDERR_FILENO, &st) < 0)
        return -errno;
    if (!S_ISFIFO(st.st_mode))
        return 0;
    /* Opened again, because O_NONBLOCK applies to all processes that share this end of the pipe. */
    AUTO_FD int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 || dup2(fd, STDERR_FILENO) < 0 ? -errno : 0;
}
