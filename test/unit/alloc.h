/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* An allocation's folder in a temp dir, for tests of the paths that may be reached from it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/tmp_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];      /* temp dir */
static char alloc_dir[96]; /* root/a1 */

static inline void make_dir(const char *below_root) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, below_root);
    assert_int_equal(mkdir(path, 0755), 0);
}

static inline void make_file(const char *below_root, const char *text) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, below_root);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline void make_link(const char *target, const char *below_root) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, below_root);
    assert_int_equal(symlink(target, path), 0);
}

static inline char *read_text(const char *below_root) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, below_root);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, f) < 65535);
    fclose(f);
    return text;
}

static inline int setup_alloc(void **state) {
    (void)state;
    snprintf(root, sizeof(root), "/tmp/paddock-create-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(alloc_dir, sizeof(alloc_dir), "%s/a1", root);
    make_dir("a1");
    make_dir("a1/alloc");
    make_dir("a1/alloc/logs");
    make_dir("a1/web");
    make_dir("a1/web/local");
    make_dir("a1/web/secrets");
    make_dir("outside");
    make_file("system-resolv.conf", "# of the host\nnameserver 10.0.0.1\nsearch old.example\n"
                                    "search corp.example\noptions ndots:2\n");
    return 0;
}

static inline int teardown_alloc(void **state) {
    (void)state;
    return tmp_dir_remove(root);
}
