/* SPDX-License-Identifier: MPL-2.0 */
/* The metrics of the driver in Prometheus' text format.
 *
 * Each module writes its own; this file puts them together and adds the number of tasks. The
 * control socket and the HTTP listener send the text (driver.h). */
#include "src/task/driver_priv.h"

#include "paddock/buf.h"
#include "paddock/metrics.h"

#include <stdio.h>
#include <string.h>

#define METRICS_LIMIT (16u << 20) /* bytes */

/* The number of tasks in each phase that Nomad distinguishes. */
static int task_metrics(struct driver *d, struct buf *b) {
    static const char *const names[] = {"starting", "running", "exited"};
    struct task **all;
    size_t n, by[ARRAY_LEN(names)] = {0};
    int r = store_all(d->store, &all, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        enum task_phase phase = store_look(all[i]).phase;
        by[phase == TASK_STARTING ? 0 : phase == TASK_RUNNING ? 1 : 2]++;
        store_task_unref(all[i]);
    }
    free(all);
    r = metrics_family(b, "paddock_tasks", "gauge",
                       "Tasks that Nomad has not destroyed, by state.");
    for (size_t i = 0; i < ARRAY_LEN(names) && r == 0; i++) {
        char label[32];
        snprintf(label, sizeof(label), "state=\"%s\"", names[i]);
        r = metrics_sample(b, "paddock_tasks", label, (double)by[i]);
    }
    return r;
}

/* @pins: the reconciler's metrics, as text. */
static int all_metrics(struct buf *b, struct driver *d, const char *pins) {
    int r = buf_puts(b, pins);
    if (r == 0)
        r = docker_metrics(d->docker, b);
    if (r == 0)
        r = images_metrics(d->images, b);
    if (r == 0)
        r = task_metrics(d, b);
    struct logpump *pump = d->pump;
    return r == 0 && pump ? logpump_metrics(pump, b) : r;
}

char *driver_metrics(struct driver *d) {
    pthread_mutex_lock(&d->lock);
    struct pin *pin = d->active ? d->pin : NULL;
    pthread_mutex_unlock(&d->lock);
    if (!pin)
        return strdup("");
    AUTO_FREE char *pins = pin_show_metrics(pin);
    AUTO_BUF struct buf b;
    buf_init(&b, METRICS_LIMIT);
    return pins && all_metrics(&b, d, pins) == 0 ? buf_take(&b) : NULL;
}
