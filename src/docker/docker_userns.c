/* SPDX-License-Identifier: MPL-2.0 */
/* Finds the user of the host who is root in containers, when dockerd runs with userns-remap.
 *
 * The fingerprint's probe calls it with the answer of GET /info. The ids are only in the last part
 * of the answer's data root, "/var/lib/docker/231072.231072". dockerd has created such a folder for
 * the pair of ids since 1.10. */
#include "paddock/docker_userns.h"

#include "paddock/parse.h"

#include <stdio.h>
#include <string.h>

static bool has_userns(const json_t *options) {
    size_t i;
    json_t *option;
    json_array_foreach((json_t *)options, i, option) {
        const char *text = json_string_value(option);
        /* "name=seccomp,profile=default": a name, then values */
        if (text && strncmp(text, "name=userns", 11) == 0 && (text[11] == '\0' || text[11] == ','))
            return true;
    }
    return false;
}

bool docker_userns_root(const json_t *info, uid_t *ret_uid, gid_t *ret_gid) {
    const char *dir = json_string_value(json_object_get(info, "DockerRootDir"));
    const char *last = dir ? strrchr(dir, '/') : NULL;
    char uid[16];
    uint64_t u, g;
    size_t n = last ? strcspn(last + 1, ".") : sizeof(uid);
    if (n >= sizeof(uid) || last[1 + n] != '.' ||
        !has_userns(json_object_get(info, "SecurityOptions")))
        return false;
    snprintf(uid, sizeof(uid), "%.*s", (int)n, last + 1);
    /* The largest value means "unchanged" to chown(). */
    if (parse_u64(uid, UINT32_MAX - 1, &u) < 0 ||
        parse_u64(last + 1 + n + 1, UINT32_MAX - 1, &g) < 0)
        return false;
    *ret_uid = (uid_t)u;
    *ret_gid = (gid_t)g;
    return true;
}
