/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* One pull: credentials, the request, its progress, its two deadlines. */
#include "paddock/docker.h"
#include "src/image/image_auth.h"
#include "src/image/image_count.h"

#define IMAGE_PULL_TOO_LONG "it took longer than image_pull_timeout"

struct image_pull {
    struct docker *docker;
    struct image_counts *counts; /* the end of the pull is counted here */
    const char *image;           /* a reference that parses */
    struct image_auth_sources auth;
    bool auth_soft_fail;          /* a failed look-up of credentials does not end the pull */
    uint64_t activity_timeout_us; /* a pull without progress for so long is ended; 0 = off */
    uint64_t progress_us;         /* time between progress messages; 0 = 2 min */
    void (*tell)(void *ctx, const char *message); /* must not block */
    void *ctx;
};

/** Blocks until the pull has ended. @call's deadline limits the whole pull.
 *  Returns 0; -errno with @err "Failed to pull `x`: ...", recoverable unless image_pull_is_absent()
 * is true for Docker's text. */
int image_pull_run(const struct image_pull *p, const struct call *call, struct err *err) MUST_CHECK;

/** Returns true when Docker's text means that no such image exists ("Error: image x not found"), or
 * none for this host's platform. Pure. */
bool image_pull_is_absent(const char *text);

/** Returns true when a progress message is due, after @quiet_us without one. Pure. */
bool image_pull_is_due(const struct image_pull *p, uint64_t quiet_us);
