/* SPDX-License-Identifier: MPL-2.0 */
/* HostConfig.Mounts: the job's `mount` and `mounts` blocks, then the mounts of Nomad itself
 * (volume_mount, CSI, device plugins).
 *
 * create_build() calls the two steps. The source of a bind mount is checked in create_sources.c. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_sources.h"
#include "src/create/create_steps.h"
#include "paddock/path_text.h"

#include <string.h>

/* ---- mount blocks ---- */

static json_t *new_mount(struct create *c, const char *type, const char *target, const char *source,
                         bool readonly) {
    json_t *m = json_object();
    create_json_add(c, c->mounts, m);
    if (create_fail_code(c) < 0)
        return NULL;
    create_json_set_text(c, m, "Type", type);
    create_json_set_text_if(c, m, "Target", target);
    create_json_set_text_if(c, m, "Source", source);
    create_json_set_true_if(c, m, "ReadOnly", readonly);
    return m;
}

static int add_bind_mount(struct create *c, const struct job_mount *m) {
    AUTO_FREE char *path = path_text_join(c->task_dir, text_of(m->source));
    AUTO_FREE char *source = NULL;
    if (!path)
        return err_oom(c->err);
    int r =
        create_sources_find(c, path, text_of(m->source), text_of(m->propagation), false, &source);
    if (create_fail_shortage(c, r, path) < 0)
        return c->r;
    if (r == -ENOENT) /* the text is Docker's, but Docker is not asked */
        return create_fail(
            c, EINVAL,
            "Failed to create container: invalid mount config for type \"bind\": bind "
            "source path does not exist: %s",
            path);
    if (r < 0)
        return create_fail(c, EACCES,
                           "volumes are not enabled; cannot mount host path: \"%s\" \"%s\"", path,
                           c->alloc_dir);
    json_t *j = new_mount(c, "bind", m->target, source, m->readonly);
    create_json_set_text_if(c, create_json_object(c, j, "BindOptions"), "Propagation",
                            m->propagation);
    return create_fail_code(c);
}

static int add_tmpfs_mount(struct create *c, const struct job_mount *m) {
    if (!str_empty(m->source))
        return create_fail(c, EINVAL, "mount \"%s\": invalid source, must be \"\" for tmpfs",
                           text_of(m->target));
    json_t *options =
        create_json_object(c, new_mount(c, "tmpfs", m->target, "", m->readonly), "TmpfsOptions");
    if (m->tmpfs_size.set && m->tmpfs_size.v)
        create_json_set_int(c, options, "SizeBytes", m->tmpfs_size.v);
    if (m->tmpfs_mode.set && m->tmpfs_mode.v)
        create_json_set_int(c, options, "Mode", m->tmpfs_mode.v);
    return create_fail_code(c);
}

static int add_volume_mount(struct create *c, const struct job_mount *m) {
    if (!c->plugin->volumes_enabled)
        return create_fail(c, EACCES, "volumes are not enabled; cannot mount volume: \"%s\"",
                           text_of(m->source));
    json_t *options = create_json_object(
        c, new_mount(c, "volume", m->target, m->source, m->readonly), "VolumeOptions");
    create_json_set_true_if(c, options, "NoCopy", m->no_copy);
    create_json_set_map_if(c, options, "Labels", &m->volume_labels);
    json_t *driver = create_json_object(c, options, "DriverConfig");
    create_json_set_text_if(c, driver, "Name", m->volume_driver_name);
    create_json_set_map_if(c, driver, "Options", &m->volume_driver_options);
    return create_fail_code(c);
}

static int add_mount(struct create *c, const struct job_mount *m) {
    const char *type = text_of(m->type);
    if (type[0] == '\0' || strcmp(type, "volume") == 0)
        return add_volume_mount(c, m);
    if (strcmp(type, "bind") == 0)
        return add_bind_mount(c, m);
    if (strcmp(type, "tmpfs") == 0)
        return add_tmpfs_mount(c, m);
    return create_fail(
        c, EINVAL,
        "mount \"%s\": invalid mount type, must be \"bind\", \"volume\", \"tmpfs\": \"%s\"",
        text_of(m->target), type);
}

int create_mounts_add(struct create *c) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->job->n_mounts; i++)
        r = add_mount(c, &c->job->mounts[i]);
    return r;
}

/* ---- Nomad's mounts ---- */

static const char *propagation_of(const char *mode) {
    if (strcmp(mode, "host-to-task") == 0)
        return "rslave";
    if (strcmp(mode, "bidirectional") == 0)
        return "rshared";
    return mode[0] == '\0' || strcmp(mode, "private") == 0 ? "rprivate" : "";
}

int create_mounts_add_nomad(struct create *c) {
    for (size_t i = 0; i < c->task->n_mounts; i++) {
        const struct task_mount *m = &c->task->mounts[i];
        json_t *j = new_mount(c, "bind", m->task_path, m->host_path, m->readonly);
        create_json_set_text_if(c, create_json_object(c, j, "BindOptions"), "Propagation",
                                propagation_of(text_of(m->propagation_mode)));
    }
    return create_fail_code(c);
}
