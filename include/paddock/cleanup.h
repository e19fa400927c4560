/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Ownership by attribute. A local variable declared with AUTO_x is released when it leaves its
 * scope. TAKE_x moves the value out, so that it is not released. Destructors accept empty values,
 * may run twice and keep errno. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/** Closes @fd unless it is negative. Keeps errno. EINTR is not retried, because Linux has
 * closed the fd by then.
 *  Returns -EBADF, for `fd = fd_close(fd)`. */
static inline int fd_close(int fd) {
    if (fd >= 0) {
        int keep = errno;
        close(fd);
        errno = keep;
    }
    return -EBADF;
}

static inline void cleanup_free(void *p) {
    int keep = errno;
    free(*(void **)p);
    errno = keep;
}

static inline void cleanup_fd(int *fd) {
    *fd = fd_close(*fd);
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
/* Declare as `AUTO_FD int fd = -EBADF;` */
#define AUTO_FD __attribute__((cleanup(cleanup_fd)))

#define TAKE_PTR(p)                                                                                \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })
#define TAKE_FD(fd)                                                                                \
    __extension__({                                                                                \
        int taken_ = (fd);                                                                         \
        (fd) = -EBADF;                                                                             \
        taken_;                                                                                    \
    })
/* Moves a struct out of an AUTO variable. The variable becomes all zero, which its
 * destructor accepts. */
#define TAKE_STRUCT(s)                                                                             \
    __extension__({                                                                                \
        __typeof__(s) taken_ = (s);                                                                \
        (s) = (__typeof__(s)){0};                                                                  \
        taken_;                                                                                    \
    })
