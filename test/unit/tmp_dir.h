/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Removes the temporary folder of a test. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>

static inline int tmp_dir_remove_one(const char *path, const struct stat *st, int kind,
                                     struct FTW *at) {
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/** Removes @path and everything below it. Follows no links. Returns 0, also when @path does not
 * exist, or -1. */
static inline int tmp_dir_remove(const char *path) {
    return nftw(path, tmp_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT ? -1 : 0;
}
