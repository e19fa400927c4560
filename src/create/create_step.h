/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The data that every step of the create request gets. */
#include "paddock/create.h"
#include "paddock/json_value.h"
#include "paddock/strv.h"

struct create {
    const struct task_config *task;
    const struct job_config *job;
    const struct plugin_config *plugin;
    const struct create_host *host;
    struct err *err;
    int r; /* the first failure, see create_fail_code() */

    char *alloc_dir;            /* cleaned */
    char *task_dir;             /* alloc_dir/<task name> */
    json_t *body, *host_config; /* host_config is borrowed from body */
    json_t *mounts;             /* borrowed */
    const char *network_mode;   /* of the request; owner: @body */
    struct create_sources sources;
    bool own_hosts; /* /etc/hosts is mounted and contains the extra_hosts */
};

/** Returns @text, or "" for NULL. */
static inline const char *text_of(const char *text) {
    return text ? text : "";
}
