/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* statx() of the code under test, which fails when the test asks for it. The test's binary is
 * linked with -Wl,--wrap=statx. Include this header in one file of the binary. */
#include <errno.h>
#include <sys/stat.h>

/** 0, or the errno of each call. */
static _Atomic int statx_error;

int __real_statx(int dir_fd, const char *path, int flags, unsigned mask, struct statx *ret);
int __wrap_statx(int dir_fd, const char *path, int flags, unsigned mask, struct statx *ret);
int __wrap_statx(int dir_fd, const char *path, int flags, unsigned mask, struct statx *ret) {
    if (!statx_error)
        return __real_statx(dir_fd, path, flags, mask, ret);
    errno = statx_error;
    return -1;
}
