/* SPDX-License-Identifier: MPL-2.0 */
/* Writes the output of the commands to stdout.
 *
 * Every command calls it and ends with cli_out_end(), so that a full disk or a closed pipe gives an
 * exit status instead of a silent loss. */
#include "plugin/cli_out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns the number of bytes of the control character at @text, or 0 when it is none. C1 is U+0080
 * to U+009F, which is C2 80 to C2 9F in UTF-8. */
static size_t control_length(const char *text) {
    unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];
    if (c == 0xc2 && next >= 0x80 && next < 0xa0)
        return 2;
    return (c < ' ' && c != '\n') || c == 0x7f ? 1 : 0;
}

static _Noreturn void end_without_memory(void) {
    fputs("paddock: out of memory\n", stderr);
    exit(1);
}

void cli_out_text(const char *text) {
    while (*text) {
        size_t n = control_length(text);
        putchar(n ? '?' : *text);
        text += n ? n : 1;
    }
}

void cli_out_printf(const char *fmt, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        end_without_memory();
    cli_out_text(text);
    free(text);
}

void cli_out_json(const json_t *doc, size_t flags) {
    char *text = json_dumps(doc, flags | JSON_ENSURE_ASCII);
    if (!text)
        end_without_memory();
    for (const char *at = text; *at; at++) /* jansson escapes all control characters but DEL */
        *at == 0x7f ? fputs("\\u007f", stdout) : putchar(*at);
    putchar('\n');
    free(text);
}

int cli_out_end(int status) {
    int bad = ferror(stdout);
    if (fflush(stdout) == 0 && !bad)
        return status;
    fprintf(stderr, "paddock: the output could not be written: %s\n", strerror(errno));
    return 1;
}
