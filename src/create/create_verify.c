/* SPDX-License-Identifier: MPL-2.0 */
/* Checks the targets of the two mounts that protect Nomad's log folder in a running container:
 * alloc, and alloc/logs on top of it.
 *
 * StartTask calls it with the container's /proc/<pid>/mountinfo. When Docker's runtime resolves a
 * target, it follows links of the image, and links in a folder that is already mounted. When /alloc
 * is a link, the folder alloc can be mounted where alloc/logs does not cover it. Docker's own list
 * of mounts shows the requested targets only. */
#include "paddock/create.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* The order of HostConfig.Binds, as create_own_add() adds them. */
enum { BIND_ALLOC, BIND_LOCAL, BIND_SECRETS, BIND_LOGS };

struct mount_seen {
    unsigned n; /* how many mounts are at the target */
    unsigned id, parent;
    char root[PATH_MAX]; /* the mounted folder, as a path of its file system */
};

/* Finds the target of "source:target[:mode]". Sources contain no ':' (see create_bind_add()). */
static bool bind_target(const json_t *request, size_t i, char target[static PATH_MAX]) {
    const json_t *binds = json_object_get(json_object_get(request, "HostConfig"), "Binds");
    const char *bind = json_string_value(json_array_get(binds, i));
    const char *from = bind ? strchr(bind, ':') : NULL;
    if (!from)
        return false;
    int len = (int)strcspn(from + 1, ":");
    return snprintf(target, PATH_MAX, "%.*s", len, from + 1) < PATH_MAX;
}

static bool bind_target_is(const json_t *request, size_t i, const char *text) {
    char target[PATH_MAX];
    return bind_target(request, i, target) && strcmp(target, text) == 0;
}

bool create_verify_has_usual_targets(const json_t *request) {
    return bind_target_is(request, BIND_ALLOC, "/alloc") &&
           bind_target_is(request, BIND_LOCAL, "/local") &&
           bind_target_is(request, BIND_SECRETS, "/secrets");
}

static bool is_octal(const char *p) {
    return p[0] >= '0' && p[0] <= '3' && p[1] >= '0' && p[1] <= '7' && p[2] >= '0' && p[2] <= '7';
}

/* The kernel writes space, tab, newline and backslash as "\040" and the like. */
static void unescape_path(char *text) {
    char *to = text;
    for (const char *p = text; *p;) {
        if (*p == '\\' && is_octal(p + 1)) {
            *to++ = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
            p += 4;
        } else {
            *to++ = *p++;
        }
    }
    *to = '\0';
}

static int find_mount(const char *mountinfo, const char *target, struct mount_seen *ret) {
    AUTO_FREE char *root = malloc(PATH_MAX);
    AUTO_FREE char *point = malloc(PATH_MAX);
    *ret = (struct mount_seen){0};
    if (!root || !point)
        return -ENOMEM;
    for (const char *line = mountinfo; *line;) {
        unsigned id, parent;
        /* id, parent, major:minor, root, mount point */
        if (sscanf(line, "%u %u %*s %4095s %4095s", &id, &parent, root, point) == 4) {
            unescape_path(root);
            unescape_path(point);
            if (strcmp(point, target) == 0) {
                ret->n++;
                ret->id = id;
                ret->parent = parent;
                snprintf(ret->root, sizeof(ret->root), "%s", root);
            }
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return 0;
}

static bool lies_in(const struct mount_seen *logs, const struct mount_seen *alloc) {
    size_t len = strlen(alloc->root);
    return strncmp(logs->root, alloc->root, len) == 0 && strcmp(logs->root + len, "/logs") == 0;
}

bool create_verify_shows_rootfs(const char *mountinfo) {
    unsigned seen = 0;
    bool is = false;
    for (const char *line = mountinfo; *line;) {
        char root[2] = "", point[3] = "";
        size_t len = strcspn(line, "\n");
        const char *type = memmem(line, len, " - ", 3);
        /* the rest of a longer root or mount point stays unread; it is not "/" */
        if (sscanf(line, "%*u %*u %*s %1s%*[ ]%2s", root, point) == 2 && strcmp(point, "/") == 0) {
            seen++;
            is = root[0] == '/' && type && strncmp(type, " - overlay ", 11) == 0;
        }
        line += len;
        line += *line == '\n';
    }
    return seen == 1 && is;
}

int create_verify_mounts(const json_t *request, const char *mountinfo, struct err *err) {
    AUTO_FREE struct mount_seen *alloc = calloc(1, sizeof(*alloc));
    AUTO_FREE struct mount_seen *logs = calloc(1, sizeof(*logs));
    AUTO_FREE char *alloc_target = malloc(PATH_MAX);
    AUTO_FREE char *logs_target = malloc(PATH_MAX);
    if (!alloc || !logs || !alloc_target || !logs_target)
        return err_oom(err);
    if (!bind_target(request, BIND_ALLOC, alloc_target) ||
        !bind_target(request, BIND_LOGS, logs_target))
        return err_set(err, ERR_PLAIN, EINVAL, "the request has no folder alloc");
    if (find_mount(mountinfo, alloc_target, alloc) < 0 ||
        find_mount(mountinfo, logs_target, logs) < 0)
        return err_oom(err);
    if (alloc->n == 1 && logs->n == 1 && logs->parent == alloc->id && lies_in(logs, alloc))
        return 0;
    return err_set(err, ERR_PLAIN, EACCES,
                   "the folder \"%s\" is not mounted where it was asked for, so that \"%s\" does "
                   "not protect Nomad's logs: a link of the image or of a mounted folder leads "
                   "there, or another mount covers it",
                   alloc_target, logs_target);
}
