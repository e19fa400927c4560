#pragma once
/* One pull: credentials, the request, its progress, its two deadlines. */
#include "paddock/docker.h"
#include "image_auth.h"

#define IMAGE_PULL_TOO_LONG "it took longer than image_pull_timeout"

struct image_pull {
    struct docker *docker;
    const char *image; /* a reference that parses */
    struct image_auth_sources auth;
    bool auth_soft_fail;          /* a failed look-up of credentials is no reason to stop */
    uint64_t activity_timeout_us; /* so long without progress ends it; 0 = off */
    uint64_t progress_us;         /* how often progress is told; 0 = 2 min */
    void (*tell)(void *ctx, const char *message); /* must not block */
    void *ctx;
};

/** Blocks until the pull has ended. @call's deadline is the total one.
 *  Returns 0; -errno with @err "Failed to pull `x`: ...", recoverable unless the image is not
 * there. */
int image_pull_run(const struct image_pull *p, const struct call *call, struct err *err) MUST_CHECK;

/** Docker's text says that there is no such image ("Error: image x not found"), or none for this
 * machine's platform. Pure. */
bool image_pull_is_absent(const char *text);

/** Progress is told again when it was not for @quiet_us. Pure. */
bool image_pull_is_due(const struct image_pull *p, uint64_t quiet_us);
