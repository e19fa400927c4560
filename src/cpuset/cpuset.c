/* SPDX-License-Identifier: MPL-2.0 */
/* A set of CPUs as a bitmap of fixed size, and the kernel's list text ("0-3,8").
 *
 * All code that reads or writes cpusets uses it. The size is the largest number of CPUs of any
 * kernel, so that no set needs an allocation. The parser accepts exactly what the kernel prints. */
#include "paddock/cpuset.h"

#include <stdio.h>
#include <string.h>

#define WORDS (CPUSET_MAX_CPUS / 64)

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0';
}

/* Moves *@p past a number. It consists of digits only: no sign, no blank. */
static int take_number(const char **p, const char *end, unsigned *ret) {
    unsigned n = 0;
    if (*p == end || **p < '0' || **p > '9')
        return -EINVAL;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        n = n * 10 + (unsigned)(**p - '0');
        if (n >= CPUSET_MAX_CPUS)
            return -ERANGE;
    }
    *ret = n;
    return 0;
}

static void add_range(struct cpuset *s, unsigned first, unsigned last) {
    for (unsigned cpu = first; cpu <= last;) {
        if (cpu % 64 == 0 && cpu + 63 <= last) {
            s->bits[cpu / 64] = UINT64_MAX;
            cpu += 64;
        } else {
            cpuset_add(s, cpu++);
        }
    }
}

int cpuset_parse(const char *text, size_t len, struct cpuset *ret) {
    const char *p = text, *end = text + len;
    struct cpuset s = {{0}};
    while (p < end && is_blank(*p))
        p++;
    while (end > p && is_blank(end[-1]))
        end--;
    if (p == end)
        return -ENODATA;
    for (;;) {
        unsigned first, last;
        int r = take_number(&p, end, &first);
        if (r < 0)
            return r;
        last = first;
        if (p < end && *p == '-') {
            p++;
            r = take_number(&p, end, &last);
            if (r < 0)
                return r;
        }
        if (last < first)
            return -EINVAL;
        add_range(&s, first, last);
        if (p == end)
            break;
        if (*p++ != ',')
            return -EINVAL;
    }
    *ret = s;
    return 0;
}

/* Returns the first CPU at or after @from that is in the set (@in) or not in it; CPUSET_MAX_CPUS
 * when none is left. */
static unsigned next_cpu(const struct cpuset *s, unsigned from, bool in) {
    while (from < CPUSET_MAX_CPUS) {
        uint64_t word = (in ? s->bits[from / 64] : ~s->bits[from / 64]) >> (from % 64);
        if (word)
            return from + (unsigned)__builtin_ctzll(word);
        from = (from / 64 + 1) * 64;
    }
    return CPUSET_MAX_CPUS;
}

int cpuset_format(const struct cpuset *s, char *out, size_t size) {
    size_t len = 0;
    if (size == 0)
        return -ENOSPC;
    out[0] = '\0';
    for (unsigned first = next_cpu(s, 0, true); first < CPUSET_MAX_CPUS;) {
        unsigned end = next_cpu(s, first, false);
        const char *comma = len ? "," : "";
        int n = end == first + 1
                    ? snprintf(out + len, size - len, "%s%u", comma, first)
                    : snprintf(out + len, size - len, "%s%u-%u", comma, first, end - 1);
        if (n < 0 || (size_t)n >= size - len)
            return -ENOSPC;
        len += (size_t)n;
        first = next_cpu(s, end, true);
    }
    return (int)len;
}

size_t cpuset_to_bytes(const struct cpuset *s, uint8_t *out) {
    size_t used = 0;
    for (size_t i = 0; i < CPUSET_MAX_CPUS / 8; i++) {
        out[i] = (uint8_t)(s->bits[i / 8] >> (i % 8 * 8));
        if (out[i])
            used = i + 1;
    }
    return used;
}

void cpuset_add(struct cpuset *s, unsigned cpu) {
    if (cpu < CPUSET_MAX_CPUS)
        s->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

bool cpuset_has(const struct cpuset *s, unsigned cpu) {
    return cpu < CPUSET_MAX_CPUS && (s->bits[cpu / 64] >> (cpu % 64) & 1);
}

bool cpuset_is_empty(const struct cpuset *s) {
    for (size_t i = 0; i < WORDS; i++)
        if (s->bits[i])
            return false;
    return true;
}

bool cpuset_equal(const struct cpuset *a, const struct cpuset *b) {
    return memcmp(a->bits, b->bits, sizeof(a->bits)) == 0;
}

bool cpuset_intersects(const struct cpuset *a, const struct cpuset *b) {
    for (size_t i = 0; i < WORDS; i++)
        if (a->bits[i] & b->bits[i])
            return true;
    return false;
}

bool cpuset_contains(const struct cpuset *outer, const struct cpuset *inner) {
    for (size_t i = 0; i < WORDS; i++)
        if (inner->bits[i] & ~outer->bits[i])
            return false;
    return true;
}

uint64_t cpuset_hash(const struct cpuset *s) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < WORDS; i++)
        hash = (hash ^ s->bits[i]) * UINT64_C(1099511628211);
    return hash ? hash : 1;
}

unsigned cpuset_count(const struct cpuset *s) {
    unsigned n = 0;
    for (size_t i = 0; i < WORDS; i++)
        n += (unsigned)__builtin_popcountll(s->bits[i]);
    return n;
}

void cpuset_subtract(struct cpuset *s, const struct cpuset *minus) {
    for (size_t i = 0; i < WORDS; i++)
        s->bits[i] &= ~minus->bits[i];
}

void cpuset_union(struct cpuset *s, const struct cpuset *plus) {
    for (size_t i = 0; i < WORDS; i++)
        s->bits[i] |= plus->bits[i];
}

void cpuset_intersect(struct cpuset *s, const struct cpuset *with) {
    for (size_t i = 0; i < WORDS; i++)
        s->bits[i] &= with->bits[i];
}
