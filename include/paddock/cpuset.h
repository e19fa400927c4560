/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A set of CPUs as a value: fixed size, no allocation, copied by assignment. The text form is the
 * kernel's list format ("0-3,8"). Sets are compared, not texts: "0-1" equals "0,1". Pure;
 * any thread. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPUSET_MAX_CPUS 8192u                  /* the kernel's largest NR_CPUS */
#define CPUSET_TEXT_MAX (CPUSET_MAX_CPUS * 5u) /* the longest text, "0,2,4,...", with the NUL */

struct cpuset {
    uint64_t bits[CPUSET_MAX_CPUS / 64];
};

/** cpuset_parse - kernel list text, with or without a trailing newline, to a set.
 *  @len: bytes of @text (it need not end with NUL). @ret: set on success only.
 *  Returns 0; -EINVAL bad text or inverted range; -ERANGE above CPUSET_MAX_CPUS - 1;
 * -ENODATA blank. */
int cpuset_parse(const char *text, size_t len, struct cpuset *ret) MUST_CHECK;

/** Writes the shortest list text ("0-3,8"; "" for the empty set) and a NUL to @out.
 *  Returns its length; -ENOSPC when @size is too small. */
int cpuset_format(const struct cpuset *s, char *out, size_t size) MUST_CHECK;

/** Writes the bitmap in the format of systemd's AllowedCPUs: little endian bytes, cut after the
 * last CPU.
 *  @out holds CPUSET_MAX_CPUS / 8 bytes. Returns the number of bytes used. */
size_t cpuset_to_bytes(const struct cpuset *s, uint8_t *out);

/** Adds @cpu (an index). Does nothing when it is CPUSET_MAX_CPUS or more. */
void cpuset_add(struct cpuset *s, unsigned cpu);
/** Returns false when @cpu is CPUSET_MAX_CPUS or more. */
bool cpuset_has(const struct cpuset *s, unsigned cpu);
bool cpuset_is_empty(const struct cpuset *s);
bool cpuset_equal(const struct cpuset *a, const struct cpuset *b);
bool cpuset_intersects(const struct cpuset *a, const struct cpuset *b);
/** Returns true when each CPU of @inner is in @outer. */
bool cpuset_contains(const struct cpuset *outer, const struct cpuset *inner);
/** Returns a hash of the set that is never 0 (FNV-1a over its words). */
uint64_t cpuset_hash(const struct cpuset *s);
unsigned cpuset_count(const struct cpuset *s);
void cpuset_subtract(struct cpuset *s, const struct cpuset *minus);
void cpuset_union(struct cpuset *s, const struct cpuset *plus);
void cpuset_intersect(struct cpuset *s, const struct cpuset *with);
