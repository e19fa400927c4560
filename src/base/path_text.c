/* SPDX-License-Identifier: MPL-2.0 */
/* Paths as text. The file system is not read, so symlinks are not resolved.
 *
 * The create request cleans paths of a job with it, and path_below.c compares paths with a
 * root. path_text_clean() follows the rules of Go's path.Clean, so that paddock and Nomad
 * get the same path. */
#include "paddock/path_text.h"
#include "paddock/cleanup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t path_text_parent_len(const char *text, size_t len, size_t keep) {
    while (len > keep && text[len - 1] != '/')
        len--;
    return len > keep ? len - 1 : keep;
}

char *path_text_clean(const char *path) {
    bool rooted = path[0] == '/';
    char *out = malloc(strlen(path) + 2);
    if (!out)
        return NULL;
    size_t len = 0;
    size_t keep = 0; /* ".." cannot remove this: leading ".." of a relative path */
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        bool up = n == 2 && p[0] == '.' && p[1] == '.';
        if (up && len > keep) {
            len = path_text_parent_len(out, len, keep);
        } else if (n > 0 && !(n == 1 && p[0] == '.') && !(up && rooted)) {
            if (len > 0 || rooted)
                out[len++] = '/';
            memcpy(out + len, p, n);
            len += n;
            if (up)
                keep = len;
        }
        p += n;
        p += strspn(p, "/");
    }
    if (len == 0)
        out[len++] = rooted ? '/' : '.';
    out[len] = '\0';
    return out;
}

char *path_text_join(const char *base, const char *path) {
    if (path[0] == '/')
        return path_text_clean(path);
    AUTO_FREE char *both = NULL;
    if (asprintf(&both, "%s/%s", base, path) < 0) {
        both = NULL;
        return NULL;
    }
    return path_text_clean(both);
}

const char *path_text_below(const char *root, const char *path) {
    size_t n = strlen(root);
    if (n == 1 && root[0] == '/')
        return path;
    if (strncmp(path, root, n) != 0 || (path[n] != '\0' && path[n] != '/'))
        return NULL;
    return path + n;
}
