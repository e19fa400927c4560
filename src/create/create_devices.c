/* SPDX-License-Identifier: MPL-2.0 */
/* HostConfig.Devices: the job's `devices` blocks, then the devices of Nomad's device plugins.
 *
 * create_build() calls create_devices_add(). Docker checks that a device exists. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"

#include <string.h>

static void add_device(struct create *c, const char *host, const char *inside, const char *cgroup) {
    json_t *d = json_object();
    create_json_add(c, create_json_array(c, c->host_config, "Devices"), d);
    if (create_fail_code(c) < 0)
        return;
    create_json_set_text(c, d, "PathOnHost", host);
    create_json_set_text(c, d, "PathInContainer", inside);
    create_json_set_text(c, d, "CgroupPermissions", cgroup);
}

int create_devices_add(struct create *c) {
    for (size_t i = 0; i < c->job->n_devices; i++) {
        const struct job_device *d = &c->job->devices[i];
        const char *cgroup = str_empty(d->cgroup_permissions) ? "rwm" : d->cgroup_permissions;
        if (str_empty(d->host_path))
            return create_fail(c, EINVAL, "host path must be set in configuration for devices");
        if (cgroup[strspn(cgroup, "rwm")] != '\0')
            return create_fail(c, EINVAL,
                               "devices \"%s\": invalid cgroup permission string: \"%s\"",
                               d->host_path, cgroup);
        add_device(c, d->host_path, str_empty(d->container_path) ? d->host_path : d->container_path,
                   cgroup);
    }
    for (size_t i = 0; i < c->task->n_devices; i++) {
        const struct task_device *d = &c->task->devices[i];
        add_device(c, d->host_path, d->task_path, d->cgroup_permissions);
    }
    return create_fail_code(c);
}
