/* SPDX-License-Identifier: MPL-2.0 */
/* base64 as registries use it (RFC 4648): written in the URL alphabet, read in both alphabets.
 *
 * image_auth.c calls it for the X-Registry-Auth header and for the "auth" entries of a Docker
 * config.json. Those are often made by hand with `base64`, which breaks its lines. */
#include "paddock/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

char *base64_url_encode(const void *data, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = data;
    if (len > SIZE_MAX / 4 * 3 - 4)
        return NULL;
    char *out = malloc((len + 2) / 3 * 4 + 1), *o = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t v = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                     (left > 2 ? in[i + 2] : 0);
        *o++ = digits[v >> 18];
        *o++ = digits[v >> 12 & 63];
        *o++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *o++ = left > 2 ? digits[v & 63] : '=';
    }
    *o = '\0';
    return out;
}

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int base64_decode(const char *text, char **ret, size_t *ret_len) {
    size_t len = strcspn(text, "=");
    AUTO_FREE char *plain = calloc(1, len + 1);
    if (!plain)
        return -ENOMEM;
    size_t n = 0;
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < len; i++) {
        int v = value_of(text[i]);
        if (text[i] == '\n' || text[i] == '\r')
            continue;
        if (v < 0)
            return -EINVAL;
        bits = bits << 6 | (unsigned)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            plain[n++] = (char)(bits >> have & 0xff);
        }
    }
    *ret = TAKE_PTR(plain);
    *ret_len = n;
    return 0;
}
