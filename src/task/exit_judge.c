/* SPDX-License-Identifier: MPL-2.0 */
/* Decides what a task's end means. exit.c calls this file with what the kernel and Docker
 * have reported.
 *
 * The kernel counts every process that it kills in the container: the task's main process, a child
 * of it, or the command of an exec. It does not record which one it was. The time decides: a kill
 * shortly before the end is the cause of the end, an earlier one is not. A task that ends with 0
 * has done its work, whatever was killed in it. */
#include "src/task/exit_judge.h"

#include <stdio.h>

/* A loaded dockerd reports an end some seconds late. */
#define OOM_REASON_NS (30 * INT64_C(1000000000))

bool exit_judge_is_oom(int code, int64_t oom_ns, int64_t end_ns, bool docker_says) {
    if (code == 0)
        return false;
    return oom_ns ? end_ns - oom_ns <= OOM_REASON_NS : docker_says;
}

void exit_judge_fill(struct task_exit *ret, int code, bool oom) {
    *ret = (struct task_exit){.code = code, .oom = oom};
    if (oom)
        snprintf(ret->err, sizeof(ret->err), "OOM Killed");
    else if (code != 0)
        snprintf(ret->err, sizeof(ret->err), "Docker container exited with non-zero exit code: %d",
                 code);
}
