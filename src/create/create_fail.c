/* SPDX-License-Identifier: MPL-2.0 */
/* Errors of the steps of the create request. The first error is kept. It names field and value.
 *
 * The steps call it. A mistake in the job is ERR_PLAIN, because repeating the start cannot help.
 * Only a shortage of descriptors on this host is recoverable. */
#include "src/create/create_fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int create_fail_code(const struct create *c) {
    return c->r;
}

int create_fail(struct create *c, int code, const char *fmt, ...) {
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->r = err_set(c->err, ERR_PLAIN, code, "%s", text);
    return c->r;
}

int create_fail_shortage(struct create *c, int r, const char *path) {
    if (r == -ENOMEM)
        c->r = err_oom(c->err);
    else if (r == -EMFILE || r == -ENFILE)
        c->r = err_set(c->err, ERR_RECOVERABLE, -r, "the path \"%s\" cannot be looked at: %s", path,
                       strerror(-r));
    else
        return 0;
    return c->r;
}
