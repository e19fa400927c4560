/* SPDX-License-Identifier: MPL-2.0 */
/* Fills the error struct that is passed up to the code that reports an error.
 *
 * Functions of config, docker, task and plugin use it. The first error is kept: a later err_set()
 * does not replace it, so clean-up code may fail without hiding the cause. */
#include "paddock/err.h"
#include <assert.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, enum err_class cls, int code, const char *fmt, ...) {
    assert(code > 0);
    if (err && !err->set) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        err->set = true;
        err->code = code;
        err->cls = cls;
    }
    return -code;
}

int err_wrap(struct err *err, int r, const char *fmt, ...) {
    if (!err || r >= 0)
        return r;
    char rest[ERR_TEXT_MAX];
    if (err->set)
        snprintf(rest, sizeof(rest), "%s", err->text);
    else
        snprintf(rest, sizeof(rest), "%s", strerror(-r));

    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(err->text))
        snprintf(err->text + n, sizeof(err->text) - (size_t)n, ": %s", rest);
    if (!err->set) {
        err->set = true;
        err->code = -r;
        err->cls = ERR_PLAIN;
    }
    return r;
}

int err_reclass(struct err *err, int r, enum err_class cls) {
    if (err && err->set)
        err->cls = cls;
    return r;
}

int err_oom(struct err *err) {
    return err_set(err, ERR_PLAIN, ENOMEM, "out of memory");
}

void err_clear(struct err *err) {
    if (err) {
        err->set = false;
        err->code = 0;
        err->cls = ERR_PLAIN;
        err->text[0] = '\0';
    }
}
