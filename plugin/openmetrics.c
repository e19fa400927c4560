/* SPDX-License-Identifier: MPL-2.0 */
/* Converts the metrics text to OpenMetrics for a client that asks for it; plugin/web.c calls it.
 *
 * For the metrics of paddock the two formats differ in three places: the name in the HELP and TYPE
 * lines of a counter, the escaping of quotes in HELP (paddock has none), and the last line. */
#include "plugin/openmetrics.h"

#include "paddock/buf.h"

#include <stdbool.h>
#include <string.h>

#define TOTAL "_total"
#define LIMIT (64u << 20)

/* True for "# HELP name text" and "# TYPE name kind". */
static bool is_about_family(const char *line) {
    return strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0;
}

static int put_line(struct buf *out, const char *line, size_t len) {
    const size_t total = strlen(TOTAL);
    size_t name = is_about_family(line) ? 7 + strcspn(line + 7, " \n") : 0;
    int r;
    if (name < 7 + total || strncmp(line + name - total, TOTAL, total) != 0)
        return buf_append(out, line, len);
    r = buf_append(out, line, name - total);
    return r < 0 ? r : buf_append(out, line + name, len - name);
}

char *openmetrics_from(const char *text) {
    AUTO_BUF struct buf out;
    buf_init(&out, LIMIT);
    int r = 0;
    while (*text && r == 0) {
        size_t len = strcspn(text, "\n");
        len += text[len] == '\n';
        r = put_line(&out, text, len);
        text += len;
    }
    return r == 0 && buf_puts(&out, "# EOF\n") == 0 ? buf_take(&out) : NULL;
}
