/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Names of images as people write them: [registry/]path[:tag][@digest] (the grammar of Docker's
 * "distribution reference"). Pure; any thread. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

#define IMAGE_REF_MAX 512

struct image_ref {
    char registry[256];       /* "docker.io" when the name has none */
    char repo[IMAGE_REF_MAX]; /* the name to pull: with registry as written; name@digest with a
                                 digest */
    char tag[129];            /* "" with a digest, else "latest" when none is written */
};

/** Returns 0, or -EINVAL when @text is no reference or too long. */
int image_ref_parse(const char *text, struct image_ref *ret) MUST_CHECK;

/** True when a present image may be used without asking the registry: any tag but "latest". */
bool image_ref_is_fixed(const struct image_ref *ref);

/** Writes @text in the form that Docker uses in its answers: without "docker.io/" and "library/",
 * with ":latest" when it has neither tag nor digest. Returns 0, or -EINVAL when @text is no
 * reference or @out is too small. */
int image_ref_familiar(const char *text, char *out, size_t size) MUST_CHECK;
/** Returns the length of @name (in the form of image_ref_familiar()) without its tag or digest. */
size_t image_ref_repo_len(const char *name);

/** Returns "/images/NAME/json" for a name or id, NULL when out of memory. Owner: caller, free(). */
char *image_ref_inspect_path(const char *name);
