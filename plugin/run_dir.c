/* SPDX-License-Identifier: MPL-2.0 */
/* Chooses the folder for everything that outlives one plugin process: control socket, log pump,
 * mount points. serve.c calls it at start, and the commands to find running drivers.
 *
 * Everything in the folder is trusted. It must therefore belong to the user of this process,
 * and no other user may open it: a lock that another user holds would keep the control socket
 * closed. A folder with another mode is given mode 0700, also by the commands. An agent that is
 * not root cannot make a folder in /run. It can use one that the administrator made for it, or
 * its XDG_RUNTIME_DIR. */
#include "plugin/run_dir.h"

#include "paddock/cleanup.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define WHY_MAX 64

static bool may_make(const char *path) {
    AUTO_FREE char *copy = strdup(path);
    return copy && faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS) == 0;
}

/* Gives this user's folder mode 0700. On failure writes the reason to @why. */
static void make_private(const char *path, char why[static WHY_MAX]) {
    struct stat st;
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        snprintf(why, WHY_MAX, "%s", strerror(errno));
    else if (st.st_uid != geteuid())
        snprintf(why, WHY_MAX, "it belongs to user %u", (unsigned)st.st_uid);
    else if ((st.st_mode & 0777) != 0700 && fchmod(fd, 0700) < 0)
        snprintf(why, WHY_MAX, "its mode cannot be made 0700: %s", strerror(errno));
}

/* True when @path is this user's folder, or can be made. Otherwise writes the reason to @why. */
static bool is_usable(const char *path, char why[static WHY_MAX]) {
    struct stat st;
    why[0] = '\0';
    if (lstat(path, &st) < 0) {
        int code = errno;
        if (code == ENOENT && may_make(path))
            return true;
        snprintf(why, WHY_MAX, "%s", strerror(code));
    } else if (!S_ISDIR(st.st_mode)) {
        snprintf(why, WHY_MAX, "not a folder");
    } else if (st.st_uid != geteuid()) {
        snprintf(why, WHY_MAX, "it belongs to user %u", (unsigned)st.st_uid);
    } else {
        make_private(path, why);
    }
    return !why[0];
}

static bool is_usable_user_dir(const char *user_dir, char ret[static RUN_DIR_MAX]) {
    char why[WHY_MAX];
    if (!user_dir || user_dir[0] != '/')
        return false;
    int n = snprintf(ret, RUN_DIR_MAX, "%s/paddock", user_dir);
    return n > 0 && n < RUN_DIR_MAX && is_usable(ret, why);
}

int run_dir_choose(const char *system, const char *user_dir, char ret[static RUN_DIR_MAX],
                   struct err *err) {
    char why[WHY_MAX], path[RUN_DIR_MAX];
    unsigned user = (unsigned)geteuid();
    if (is_usable(system, why)) {
        snprintf(ret, RUN_DIR_MAX, "%s", system);
        return 0;
    }
    if (user == 0)
        return err_set(err, ERR_PLAIN, EACCES, "%s cannot be used: %s", system, why);
    if (is_usable_user_dir(user_dir, path)) {
        memcpy(ret, path, sizeof(path));
        return 0;
    }
    return err_set(err, ERR_PLAIN, EACCES,
                   "user %u cannot use %s (%s): create it for that user, or set XDG_RUNTIME_DIR, "
                   "and restart the agent",
                   user, system, why);
}

void run_dir_for_commands(char ret[static RUN_DIR_MAX]) {
    if (run_dir_choose(RUN_DIR_SYSTEM, getenv("XDG_RUNTIME_DIR"), ret, NULL) < 0)
        snprintf(ret, RUN_DIR_MAX, "%s", RUN_DIR_SYSTEM);
}
