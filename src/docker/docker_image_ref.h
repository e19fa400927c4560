#pragma once
/* Names of images as people write them: [registry/]path[:tag][@digest] (the grammar of Docker's
 * "distribution reference"). Pure; any thread. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

#define DOCKER_IMAGE_REF_MAX 512

struct docker_image_ref {
    char registry[256];              /* "docker.io" when the name has none */
    char repo[DOCKER_IMAGE_REF_MAX]; /* to pull: with registry as written; name@digest with a digest
                                      */
    char tag[129];                   /* "" with a digest, else "latest" when none is written */
};

/** Returns 0; -EINVAL for what is no reference (also when too long). */
int docker_image_ref_parse(const char *text, struct docker_image_ref *ret) MUST_CHECK;

/** True when a present image may be used without asking the registry: any tag but "latest". */
bool docker_image_ref_is_fixed(const struct docker_image_ref *ref);

/** @text as Docker names images in its answers: without "docker.io/" and "library/", with ":latest"
 * when it has neither tag nor digest. Returns 0; -EINVAL for what is no reference, or does not fit.
 */
int docker_image_ref_familiar(const char *text, char *out, size_t size) MUST_CHECK;
/** Length of the part of @name (a familiar name with a tag or digest) before its tag or digest. */
size_t docker_image_ref_repo_len(const char *name);

/** base64url with padding, as X-Registry-Auth wants it (RFC 4648, 5). NULL without memory; free().
 */
char *docker_image_base64url(const void *data, size_t len);
