/* SPDX-License-Identifier: MPL-2.0 */
/* Scanner for one record of Docker's json-file log. pump_file_read.c calls it for each line, as
 * fast as dockerd writes.
 *
 * scan_line() accepts only the order of keys and the escapes that dockerd writes, and it copies
 * eight bytes at a time. When it refuses a line, jansson decides whether the line is a record. */
#include "src/pump/log_record.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define START "{\"log\":\""
#define WORD_OF(byte) (UINT64_C(0x0101010101010101) * (byte))

struct cursor {
    const char *at, *end;
};

static bool take_text(struct cursor *c, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
        return false;
    c->at += n;
    return true;
}

/* ---- strings ---- */

/* Returns true when all eight bytes are ASCII and none is a quote, a backslash or a control
 * character. A subtraction sets the top bit of a byte that was too small. It can also set the top
 * bit in higher bytes. That does no harm, because the answer is "no" already. */
static bool is_plain(uint64_t w) {
    uint64_t quote = w ^ WORD_OF('"'), backslash = w ^ WORD_OF('\\');
    return !((w | (w - WORD_OF(0x20)) | (quote - WORD_OF(1)) | (backslash - WORD_OF(1))) &
             WORD_OF(0x80));
}

/* Returns the length of the UTF-8 sequence of two to four bytes at @s, or 0 when it is
 * not valid. */
static size_t utf8_length(const unsigned char *s, size_t room) {
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || room < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0;
    bool too_large = s[0] == 0xf4 && s[1] >= 0x90;
    return overlong || surrogate || too_large ? 0 : n;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Takes the four digits after "\u". Refuses surrogate pairs, because dockerd does not
 * write them. */
static bool take_unicode(struct cursor *c, char **out) {
    unsigned code = 0;
    if (c->end - c->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(c->at[i]);
        if (digit < 0)
            return false;
        code = code << 4 | (unsigned)digit;
    }
    c->at += 4;
    if (code >= 0xd800 && code <= 0xdfff)
        return false;
    char *o = *out;
    if (code < 0x80) {
        *o++ = (char)code;
    } else if (code < 0x800) {
        *o++ = (char)(0xc0 | code >> 6);
        *o++ = (char)(0x80 | (code & 0x3f));
    } else {
        *o++ = (char)(0xe0 | code >> 12);
        *o++ = (char)(0x80 | (code >> 6 & 0x3f));
        *o++ = (char)(0x80 | (code & 0x3f));
    }
    *out = o;
    return true;
}

static bool take_escape(struct cursor *c, char **out) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (c->at == c->end)
        return false;
    char name = *c->at++;
    if (name == 'u')
        return take_unicode(c, out);
    const char *at = name ? strchr(names, name) : NULL;
    if (at)
        *(*out)++ = values[at - names];
    return at != NULL;
}

/* Takes the rest of a string and its closing quote. Writes up to 8 bytes more to @out than the
 * string has. */
static bool take_string(struct cursor *c, char *out, size_t *ret_len) {
    char *o = out;
    for (;;) {
        uint64_t w;
        while (c->end - c->at >= (ptrdiff_t)sizeof(w)) {
            memcpy(&w, c->at, sizeof(w));
            if (!is_plain(w))
                break;
            memcpy(o, &w, sizeof(w));
            o += sizeof(w);
            c->at += sizeof(w);
        }
        if (c->at == c->end)
            return false;
        unsigned char b = (unsigned char)*c->at;
        if (b == '"') {
            c->at++;
            *ret_len = (size_t)(o - out);
            return true;
        }
        if (b == '\\') {
            c->at++;
            if (!take_escape(c, &o))
                return false;
            continue;
        }
        size_t n = b < 0x20   ? 0
                   : b < 0x80 ? 1
                              : utf8_length((const unsigned char *)c->at, (size_t)(c->end - c->at));
        if (n == 0)
            return false;
        memcpy(o, c->at, n);
        o += n;
        c->at += n;
    }
}

/* ---- the record ---- */

/* Takes the map of strings that the log options "labels", "env" and "tag" produce. The strings are
 * checked and not kept: @scratch is overwritten. */
static bool take_attrs(struct cursor *c, char *scratch) {
    size_t len;
    if (take_text(c, "}"))
        return true;
    do {
        if (!take_text(c, "\"") || !take_string(c, scratch, &len) || !take_text(c, ":\"") ||
            !take_string(c, scratch, &len))
            return false;
    } while (take_text(c, ","));
    return take_text(c, "}");
}

static bool keep_time(const char *time, size_t len, struct log_record *r) {
    if (len >= sizeof(r->time))
        return false;
    memcpy(r->time, time, len);
    r->time[len] = '\0';
    return strspn(r->time, "0123456789-:.+TZ") == len;
}

static bool scan_line(const char *line, size_t len, char *text, struct log_record *r) {
    struct cursor c = {line, line + len};
    if (!take_text(&c, START) || !take_string(&c, text, &r->text_len) ||
        !take_text(&c, ",\"stream\":\"std"))
        return false;
    r->stream = take_text(&c, "err\",\"");
    if (!r->stream && !take_text(&c, "out\",\""))
        return false;
    /* The decoded attributes are shorter than their text in @line, so they fit after
     * the message. */
    if (take_text(&c, "attrs\":{") &&
        (!take_attrs(&c, text + r->text_len) || !take_text(&c, ",\"")))
        return false;
    if (!take_text(&c, "time\":\""))
        return false;
    const char *quote = memchr(c.at, '"', (size_t)(c.end - c.at));
    return quote && c.end - quote == 2 && quote[1] == '}' &&
           keep_time(c.at, (size_t)(quote - c.at), r);
}

/* Parses the record with jansson. A record without "log" has an empty message. */
static bool decode_json(const char *line, size_t len, char *text, struct log_record *r) {
    json_t *root = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
    const json_t *log = json_object_get(root, "log"), *time = json_object_get(root, "time");
    const char *stream = json_string_value(json_object_get(root, "stream"));
    bool ok = (!log || json_is_string(log)) && json_is_string(time) && stream &&
              (strcmp(stream, "stdout") == 0 || strcmp(stream, "stderr") == 0) &&
              keep_time(json_string_value(time), json_string_length(time), r);
    if (ok) {
        r->stream = strcmp(stream, "stderr") == 0;
        r->text_len = log ? json_string_length(log) : 0;
        if (r->text_len > 0)
            memcpy(text, json_string_value(log), r->text_len);
    }
    json_decref(root);
    return ok;
}

int log_record_parse(const char *line, size_t len, char *text, struct log_record *ret) {
    return scan_line(line, len, text, ret) || decode_json(line, len, text, ret) ? 0 : -EPROTO;
}

size_t log_record_resync(const char *line, size_t len) {
    const char *at = len > 1 ? memmem(line + 1, len - 1, START, strlen(START)) : NULL;
    return at ? (size_t)(at - line) : len;
}
