/* SPDX-License-Identifier: MPL-2.0 */
/* The calls about Docker itself: its version, its description and its networks.
 *
 * src/task and `paddock check` call them. Each function makes one request. */
#include "src/docker/docker_priv.h"

#include <stdio.h>

int docker_system_version(struct docker *d, const struct call *call, struct docker_version *ret,
                          struct err *err) {
    AUTO_JSON json_t *j = NULL;
    int r = docker_http_get_json(d, call, "/version", &j, err);
    if (r < 0)
        return r;
    json_value_copy(j, "Version", ret->text, sizeof(ret->text));
    return 0;
}

int docker_system_info(struct docker *d, const struct call *call, json_t **ret, struct err *err) {
    return docker_http_get_json(d, call, "/info", ret, err);
}

int docker_system_has_network(struct docker *d, const struct call *call, const char *name,
                              struct err *err) {
    AUTO_FREE char *escaped = docker_http_escape(name);
    AUTO_FREE char *path = NULL;
    AUTO_JSON json_t *network = NULL;
    if (!escaped || asprintf(&path, "/networks/%s", escaped) < 0) {
        path = NULL;
        return err_oom(err);
    }
    int r = docker_http_get_json(d, call, path, &network, err);
    if (r == -ENOENT) {
        err_clear(err);
        return 0;
    }
    return r < 0 ? r : 1;
}
