/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Strict conversion of text to numbers. The whole text must be the number, blanks are refused, and
 * each limit is named. Pure; any thread. @ret is set on success only. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stdint.h>

/** Decimal, no sign. Returns 0; -EINVAL when it is not a number; -ERANGE above @max. */
int parse_u64(const char *text, uint64_t max, uint64_t *ret) MUST_CHECK;

/** Decimal with an optional sign. Returns 0; -EINVAL; -ERANGE. */
int parse_i64(const char *text, int64_t *ret) MUST_CHECK;

/** A duration in Go's format ("1h30m", "1.5s", "300ms", "0", "-2s"), in microseconds.
 * Nanoseconds are truncated.
 *  Returns 0; -EINVAL for bad text or a missing unit; -ERANGE beyond 292 years. */
int parse_duration_us(const char *text, int64_t *ret_us) MUST_CHECK;

/** An RFC 3339 time with up to 9 fractional digits ("2024-01-02T03:04:05.678901234Z", "+02:00"), in
 * nanoseconds since 1970. Docker's zero time (year 1) gives 0. Returns 0 or -EINVAL. */
int parse_rfc3339_ns(const char *text, int64_t *ret_ns) MUST_CHECK;

/** The name or number of a signal, 1 to SIGRTMAX (64): "SIGHUP", "hup", "1", "SIGRTMIN+3",
 * "rtmax-2", "64". Returns 0, or -EINVAL when it is not a signal. */
int parse_signal(const char *text, int *ret) MUST_CHECK;

/** True when @text contains @word. @text is a list of words with single blanks between them and a
 * newline at the end ("cpuset cpu memory\n"). Context: pure. */
bool parse_has_word(const char *text, const char *word);

/** True when @text matches @pattern. `*` stands for any text, also for none; every other character
 * stands for itself. Context: pure. */
bool parse_glob(const char *pattern, const char *text);

/** True for an IPv4 or IPv6 address and nothing else. Context: pure. */
bool parse_is_ip(const char *text);
