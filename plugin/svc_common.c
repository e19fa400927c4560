/* SPDX-License-Identifier: MPL-2.0 */
/* Small conversions for the handlers in svc_driver.c, svc_task.c and svc_exec.c.
 *
 * A duration that does not fit becomes 0, which the handlers treat like an absent one. */
#include "plugin/svc_common.h"

int64_t svc_common_duration_us(const Google__Protobuf__Duration *d) {
    int64_t us;
    if (!d || __builtin_mul_overflow(d->seconds, (int64_t)1000000, &us) ||
        __builtin_add_overflow(us, (int64_t)d->nanos / 1000, &us))
        return 0;
    return us;
}

void svc_common_fill_time(Google__Protobuf__Timestamp *t, int64_t ns) {
    google__protobuf__timestamp__init(t);
    t->seconds = ns / 1000000000;
    t->nanos = (int32_t)(ns % 1000000000);
}

void svc_common_fill_exit(Driver__ExitResult *out, const struct task_exit *e) {
    driver__exit_result__init(out);
    out->exit_code = e->code;
    out->signal = e->signal;
    out->oom_killed = e->oom;
}
