/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Credentials for a registry, looked up as Nomad's docker driver does: the task's auth block, then
 * the plugin's config file, then its helper program. The first source that has credentials, or
 * fails, decides the result. Identity tokens are sent too. Context: any thread; runs
 * helper programs. */
#include "paddock/call.h"
#include "paddock/err.h"

struct image_auth {
    char *username, *password, *identity_token, *server_address; /* NULL = none */
};
void image_auth_done(struct image_auth *a);
#define AUTO_IMAGE_AUTH __attribute__((cleanup(image_auth_done)))

struct image_auth_sources {
    const char *username, *password, *server_address; /* task's auth block */
    const char *config;                               /* path of a Docker config.json */
    const char *helper;                               /* x of docker-credential-x */
};

/** @registry: "docker.io" or host[:port]. All strings may be NULL or "".
 *  Returns 1 found; 0 none; -errno with @err. */
int image_auth_lookup(const struct image_auth_sources *s, const char *registry,
                      const struct call *call, struct image_auth *ret, struct err *err) MUST_CHECK;

/** Returns "X-Registry-Auth: ..." for docker_request.headers, NULL when out of memory. Owner:
 * caller, free(). Pure. */
char *image_auth_header(const struct image_auth *a);
