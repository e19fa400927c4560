/* SPDX-License-Identifier: MPL-2.0 */
/* InspectTask: a copy of what the store knows of a task.
 *
 * plugin/svc_task.c calls it. Docker is not asked, so the answer does not depend on Docker. */
#include "src/task/driver_priv.h"

#include <string.h>

int task_inspect(struct driver *d, const char *task_id, struct driver_inspect *ret,
                 struct err *err) {
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return client_not_found(err);
    struct driver_inspect i = {.look = store_look(t), .name = strdup(t->name)};
    int r = i.name ? store_ports(t, &i.port_map) : -ENOMEM;
    if (r < 0) {
        task_inspect_done(&i);
        return err_oom(err);
    }
    *ret = i;
    return 0;
}

void task_inspect_done(struct driver_inspect *i) {
    free(i->name);
    kvs_done(&i->port_map);
    *i = (struct driver_inspect){0};
}
