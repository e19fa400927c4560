/* SPDX-License-Identifier: MPL-2.0 */
/* Strict parsers for numbers, durations and times.
 *
 * Values from the configuration, from Docker and from kernel files are parsed here. A
 * parser accepts the whole text or nothing, and checks for overflow before each step. The
 * formats are those of Go's strconv and time.ParseDuration and of RFC 3339, because Nomad
 * and Docker write them. */
#include "paddock/parse.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

/* Reads the digits at *@p into *@ret and moves *@p after them. Returns 0; -EINVAL when there is no
 * digit; -ERANGE above @max. */
static int take_digits(const char **p, uint64_t max, uint64_t *ret) {
    const char *at = *p;
    uint64_t v = 0;
    if (*at < '0' || *at > '9')
        return -EINVAL;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (v > (max - digit) / 10 || digit > max)
            return -ERANGE;
        v = v * 10 + digit;
    }
    *p = at;
    *ret = v;
    return 0;
}

int parse_u64(const char *text, uint64_t max, uint64_t *ret) {
    const char *p = text;
    uint64_t v;
    int r = take_digits(&p, max, &v);
    if (r < 0)
        return r;
    if (*p != '\0')
        return -EINVAL;
    *ret = v;
    return 0;
}

int parse_i64(const char *text, int64_t *ret) {
    bool negative = *text == '-';
    if (*text == '-' || *text == '+')
        text++;
    uint64_t v;
    int r = parse_u64(text, negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX, &v);
    if (r < 0)
        return r;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

/* Returns the unit at *@p ("h", "m", "s", "ms", "us", "µs", "ns") in nanoseconds and moves *@p
 * after it. Returns 0 when the unit is unknown. */
static uint64_t take_unit_ns(const char **p) {
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"ns", 1},
                 {"us", 1000},
                 {"\xc2\xb5s", 1000},
                 {"\xce\xbcs", 1000},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"m", UINT64_C(60000000000)},
                 {"h", UINT64_C(3600000000000)}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].name);
        /* "m" must not match the m of "ms", so "ms" is earlier in the table. */
        if (strncmp(*p, units[i].name, len) == 0) {
            *p += len;
            return units[i].ns;
        }
    }
    return 0;
}

/* Reads one part such as "1.5h" at *@p, in nanoseconds. */
static int take_duration_part(const char **p, uint64_t *ret_ns) {
    uint64_t whole = 0, fraction = 0, scale = 1;
    bool digits = false;
    if (**p != '.') {
        int r = take_digits(p, INT64_MAX, &whole);
        if (r < 0)
            return r;
        digits = true;
    }
    if (**p == '.') {
        (*p)++;
        for (; **p >= '0' && **p <= '9'; (*p)++) {
            digits = true;
            if (scale < UINT64_C(1000000000)) { /* only nine digits count */
                fraction = fraction * 10 + (uint64_t)(**p - '0');
                scale *= 10;
            }
        }
    }
    uint64_t unit = digits ? take_unit_ns(p) : 0;
    if (!unit)
        return -EINVAL;
    uint64_t ns;
    if (__builtin_mul_overflow(whole, unit, &ns))
        return -ERANGE;
    uint64_t part = (uint64_t)((__uint128_t)fraction * unit / scale);
    return __builtin_add_overflow(ns, part, ret_ns) ? -ERANGE : 0;
}

int parse_duration_us(const char *text, int64_t *ret_us) {
    const char *p = text;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    if (strcmp(p, "0") == 0) {
        *ret_us = 0;
        return 0;
    }
    if (*p == '\0')
        return -EINVAL;
    uint64_t ns = 0;
    while (*p) {
        uint64_t part;
        int r = take_duration_part(&p, &part);
        if (r < 0)
            return r;
        if (__builtin_add_overflow(ns, part, &ns) || ns > INT64_MAX)
            return -ERANGE;
    }
    int64_t us = (int64_t)(ns / 1000);
    *ret_us = negative ? -us : us;
    return 0;
}

/* Reads exactly @n digits. */
static int take_fixed(const char **p, int n, int *ret) {
    int v = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return -EINVAL;
        v = v * 10 + (**p - '0');
    }
    *ret = v;
    return 0;
}

static bool take_char(const char **p, char c) {
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* Days since 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the leap
 * day is the last day of its year. */
static int64_t days_from_civil(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t in_era = y - era * 400;
    int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

int parse_rfc3339_ns(const char *text, int64_t *ret_ns) {
    const char *p = text;
    int year, month, day, hour, minute, second;
    if (take_fixed(&p, 4, &year) < 0 || !take_char(&p, '-') || take_fixed(&p, 2, &month) < 0 ||
        !take_char(&p, '-') || take_fixed(&p, 2, &day) < 0 || !take_char(&p, 'T') ||
        take_fixed(&p, 2, &hour) < 0 || !take_char(&p, ':') || take_fixed(&p, 2, &minute) < 0 ||
        !take_char(&p, ':') || take_fixed(&p, 2, &second) < 0)
        return -EINVAL;
    if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return -EINVAL;
    int64_t ns = 0;
    if (take_char(&p, '.')) {
        int64_t unit = 100000000;
        if (*p < '0' || *p > '9')
            return -EINVAL;
        for (; *p >= '0' && *p <= '9'; p++, unit /= 10)
            ns += (*p - '0') * unit;
    }
    int64_t offset_min = 0;
    if (*p == '+' || *p == '-') {
        int sign = *p++ == '-' ? -1 : 1, h, m;
        if (take_fixed(&p, 2, &h) < 0 || !take_char(&p, ':') || take_fixed(&p, 2, &m) < 0)
            return -EINVAL;
        offset_min = (int64_t)sign * (h * 60 + m);
    } else if (!take_char(&p, 'Z')) {
        return -EINVAL;
    }
    if (*p != '\0')
        return -EINVAL;
    int64_t seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 +
                      second - offset_min * 60;
    /* A time that does not fit (Docker's year 1) means "never". */
    if (seconds < 0 || seconds > INT64_MAX / 1000000000 - 1) {
        *ret_ns = 0;
        return 0;
    }
    *ret_ns = seconds * 1000000000 + ns;
    return 0;
}

bool parse_has_word(const char *text, const char *word) {
    size_t len = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += len)
        if ((at == text || at[-1] == ' ') && strchr(" \n", at[len]))
            return true;
    return false;
}

bool parse_glob(const char *pattern, const char *text) {
    const char *star = NULL; /* after the last star in the pattern */
    const char *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool parse_is_ip(const char *text) {
    struct in6_addr addr;
    return inet_pton(AF_INET, text, &addr) == 1 || inet_pton(AF_INET6, text, &addr) == 1;
}
