/* SPDX-License-Identifier: MPL-2.0 */
/* Names and numbers of signals, in the forms of Docker and kill(1). task_signal.c calls it for
 * StopTask and SignalTask.
 *
 * The C library reserves the real-time signals 32 and 33, so its SIGRTMIN is 34. The kernel and
 * Docker count the real-time names from 34, too. */
#include "paddock/parse.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Parses "RTMIN", "RTMIN+3" or "RTMAX-2", in upper or lower case. Returns 0 with the
 * number, or -EINVAL. */
static int parse_realtime(const char *name, int *ret) {
    bool from_min = strncasecmp(name, "RTMIN", 5) == 0;
    if (!from_min && strncasecmp(name, "RTMAX", 5) != 0)
        return -EINVAL;
    uint64_t n = 0;
    if (name[5] && name[5] != (from_min ? '+' : '-'))
        return -EINVAL;
    if (name[5] && parse_u64(name + 6, (uint64_t)(SIGRTMAX - SIGRTMIN), &n) < 0)
        return -EINVAL;
    *ret = from_min ? SIGRTMIN + (int)n : SIGRTMAX - (int)n;
    return 0;
}

int parse_signal(const char *text, int *ret) {
    uint64_t n;
    if (parse_u64(text, (uint64_t)SIGRTMAX, &n) == 0) {
        if (n == 0)
            return -EINVAL;
        *ret = (int)n;
        return 0;
    }
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (int i = 1; i < SIGRTMIN; i++) {
        const char *known = sigabbrev_np(i);
        if (known && strcasecmp(known, text) == 0) {
            *ret = i;
            return 0;
        }
    }
    if (strcasecmp(text, "IOT") == 0 || strcasecmp(text, "CLD") == 0) {
        *ret = strcasecmp(text, "IOT") == 0 ? SIGABRT : SIGCHLD;
        return 0;
    }
    return parse_realtime(text, ret);
}
