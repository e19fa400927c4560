/* SPDX-License-Identifier: MPL-2.0 */
/* Parses Docker's JSON and reads values from it.
 *
 * Every user of this dockerd chooses labels, command lines and image settings. They can contain
 * NULs, which jansson refuses in keys and which would end a C string early. Each NUL is
 * therefore replaced by U+FFFD before parsing. Such a text then differs from every text of
 * ours, and is never cut short. */
#include "paddock/json_value.h"
#include "paddock/buf.h"
#include "paddock/json_reason.h"

#include <stdio.h>
#include <string.h>

const char *json_value_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

void json_value_copy(const json_t *object, const char *key, char *out, size_t size) {
    snprintf(out, size, "%s", json_value_text(object, key));
}

int64_t json_value_int(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    if (json_is_integer(v))
        return json_integer_value(v);
    double real = json_number_value(v);
    /* Beyond int64 the conversion is undefined. */
    if (real >= 9223372036854775807.0)
        return INT64_MAX;
    return real <= -9223372036854775808.0 ? INT64_MIN : (int64_t)real;
}

bool json_value_bool(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

/* Copies @data with each escaped NUL ("\u0000") replaced by U+FFFD, whose escape has the same
 * length. Returns 0, with NULL in *ret when @data has none; -ENOMEM. */
static int replace_nul(const char *data, size_t len, char **ret) {
    *ret = NULL;
    if (!memmem(data, len, "\\u0000", 6))
        return 0;
    char *copy = malloc(len);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, data, len);
    for (size_t i = 0; i + 6 <= len;) {
        if (copy[i] != '\\') {
            i++;
        } else if (memcmp(copy + i, "\\u0000", 6) == 0) {
            memcpy(copy + i, "\\ufffd", 6);
            i += 6;
        } else {
            i += 2; /* another escape: in "\\u0000" the text is a backslash */
        }
    }
    *ret = copy;
    return 0;
}

json_t *json_value_parse(const char *data, size_t len, char *text, size_t text_size) {
    json_error_t e;
    AUTO_FREE char *copy = NULL;
    if (replace_nul(data, len, &copy) < 0) {
        snprintf(text, text_size, "out of memory");
        return NULL;
    }
    if (copy)
        data = copy;
    json_t *j = json_loadb(data, len, JSON_DECODE_ANY, &e);
    if (!j && json_error_code(&e) == json_error_numeric_overflow)
        j = json_loadb(data, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &e);
    if (!j) {
        char why[JSON_REASON_MAX];
        json_reason(&e, why);
        snprintf(text, text_size, "%s", why);
    }
    return j;
}

/* ---- JSON text that is cut off ---- */

/* Number of bytes of the character that begins at @text in its JSON form: an escape, two escapes
 * that form one character, or UTF-8. */
static size_t unit_len(const char *text, size_t left) {
    unsigned char c = (unsigned char)text[0];
    if (c == '\\') {
        if (left < 4 || text[1] != 'u')
            return 2;
        bool pair = strchr("dD", text[2]) && strchr("89abAB", text[3]);
        return pair ? 12 : 6;
    }
    return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* @from: just after the key's closing quote. Returns the first byte of the value after the opening
 * quote, or NULL when the value is not a string. */
static const char *find_value(const char *from, const char *end) {
    static const char blank[] = " \t\r\n";
    while (from < end && *from && strchr(blank, *from))
        from++;
    if (from == end || *from != ':')
        return NULL;
    from++;
    while (from < end && *from && strchr(blank, *from))
        from++;
    return from < end && *from == '"' ? from + 1 : NULL;
}

bool json_value_cut_text(const char *data, size_t len, const char *key, char *out, size_t size) {
    AUTO_FREE char *text = malloc(size + 2);
    char name[64], why[JSON_ERROR_TEXT_LENGTH];
    const char *end = data + len, *value = NULL;
    int n = snprintf(name, sizeof(name), "\"%s\"", key);
    for (const char *at = data; text && !value && at;) {
        at = memmem(at, (size_t)(end - at), name, (size_t)n);
        at = at ? at + n : NULL;
        value = at ? find_value(at, end) : NULL;
    }
    size_t used = 0;
    while (value && value + used < end && value[used] != '"') {
        size_t unit = unit_len(value + used, (size_t)(end - value) - used);
        if (used + unit >= size || unit > (size_t)(end - value) - used)
            break;
        used += unit;
    }
    if (used == 0)
        return false;
    text[0] = '"';
    memcpy(text + 1, value, used);
    text[used + 1] = '"';
    AUTO_JSON json_t *j = json_value_parse(text, used + 2, why, sizeof(why));
    if (!json_is_string(j))
        return false;
    snprintf(out, size, "%s", json_string_value(j));
    return true;
}
