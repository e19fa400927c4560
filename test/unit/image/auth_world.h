/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of image_auth.c share: a folder that comes first in PATH, for the files and the
 * credential helpers of a test. */
#include "src/image/image_auth.h"

#include "paddock/clock.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct auth_world {
    char dir[64];
    char *old_path;
};

static inline void auth_world_path(const struct auth_world *x, const char *name, char out[160]) {
    snprintf(out, 160, "%s/%s", x->dir, name);
}

static inline void auth_world_write(const struct auth_world *x, const char *name, const char *text,
                                    mode_t mode) {
    char path[160];
    auth_world_path(x, name, path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* Writes the helper docker-credential-@name. It appends its stdin to the file "asked", and then it
 * runs @script. */
static inline void auth_world_write_helper(const struct auth_world *x, const char *name,
                                           const char *script) {
    char file[64], text[2048];
    snprintf(file, sizeof(file), "docker-credential-%s", name);
    snprintf(text, sizeof(text),
             "#!/bin/sh\n[ \"$1\" = get ] || exit 9\ncat >>%s/asked; echo >>%s/asked\n%s\n", x->dir,
             x->dir, script);
    auth_world_write(x, file, text, 0755);
}

static inline void auth_world_read(const struct auth_world *x, const char *name, char *out,
                                   size_t size) {
    char path[160];
    auth_world_path(x, name, path);
    out[0] = '\0';
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    out[fread(out, 1, size - 1, f)] = '\0';
    fclose(f);
}

static inline int auth_world_setup(void **state) {
    struct auth_world *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    snprintf(x->dir, sizeof(x->dir), "/tmp/paddock-auth-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    x->old_path = strdup(getenv("PATH"));
    char path[4096];
    snprintf(path, sizeof(path), "%s:%s", x->dir, x->old_path);
    setenv("PATH", path, 1);
    *state = x;
    return 0;
}

static inline int auth_world_teardown(void **state) {
    struct auth_world *x = *state;
    setenv("PATH", x->old_path, 1);
    assert_int_equal(tmp_dir_remove(x->dir), 0);
    free(x->old_path);
    free(x);
    return 0;
}

static inline int auth_world_lookup(const struct image_auth_sources *s, const char *registry,
                                    struct image_auth *ret, struct err *err) {
    struct call call = call_within(NULL, 20 * US_PER_SEC);
    return image_auth_lookup(s, registry, &call, ret, err);
}

#define AUTH_WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, auth_world_setup, auth_world_teardown)
