/* SPDX-License-Identifier: MPL-2.0 */
/* The state of the driver as JSON, for `paddock status` and the driver's page.
 *
 * It is put together from what the store, the reconciler and the log pump report. The reconciler
 * does not know the tasks while it is off, so they are then added from the store. */
#include "src/task/driver_priv.h"

/* A running task, in the form that the reconciler uses for tasks that it cannot manage. */
static json_t *unmanaged_task(const struct task *t, const char *why) {
    struct task_look now = store_look(t);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:[]}", "task_id", t->id, "alloc_id",
                     t->alloc_id, "task", t->name, "container_id", now.container_id, "kind",
                     t->reserved[0] ? "cores" : "shared", "wanted", t->reserved, "actual", "",
                     "state", "unmanaged", "why", why, "corrections", 0, "history");
}

/* Adds the running tasks when the reconciler is off (for example on cgroup v1). */
static void show_unmanaged(struct driver *d, json_t *pinned, const char *why) {
    struct task **all;
    size_t n;
    if (store_all(d->store, &all, &n) < 0)
        return;
    json_t *tasks = json_object_get(pinned, "tasks");
    for (size_t i = 0; i < n; i++) {
        if (store_look(all[i]).phase == TASK_RUNNING)
            json_array_append_new(tasks, unmanaged_task(all[i], why));
        store_task_unref(all[i]);
    }
    free(all);
}

/* What only the store knows of each task. The rest is in the reconciler's part. */
static json_t *stored_tasks(struct driver *d) {
    struct task **all;
    size_t n;
    json_t *tasks = json_array();
    if (store_all(d->store, &all, &n) < 0)
        return tasks;
    for (size_t i = 0; i < n; i++) {
        struct task_look now = store_look(all[i]);
        json_array_append_new(tasks, json_pack("{s:s,s:s,s:b}", "task_id", all[i]->id, "image_id",
                                               now.image_id, "running", now.phase == TASK_RUNNING));
        store_task_unref(all[i]);
    }
    free(all);
    return tasks;
}

json_t *driver_status(struct driver *d) {
    const char *owner = client_owner(d);
    struct logpump *pump = d->pump;
    pthread_mutex_lock(&d->lock);
    struct pin *pin = d->active ? d->pin : NULL;
    pthread_mutex_unlock(&d->lock);
    json_t *pinned = pin ? pin_show_status(pin) : NULL;
    if (pinned && pin_disabled_reason(pin)[0])
        show_unmanaged(d, pinned, pin_disabled_reason(pin));
    return json_pack("{s:{s:s,s:s,s:i,s:s},s:o,s:o*,s:o*}", "driver", "name", d->name, "version",
                     PADDOCK_VERSION, "pid", (int)getpid(), "owner", owner ? owner : "", "tasks",
                     stored_tasks(d), "pin", pinned, "log_pump",
                     pump ? logpump_status(pump) : NULL);
}
