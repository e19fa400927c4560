#pragma once
/* What a task's end means: pure decisions of exit.c. */
#include "paddock/store.h"

/** Whether the end with @code at @end_ns counts as an OOM kill of the task. @oom_ns: when the
 * kernel last killed something in the container, 0 = not known to have happened. @docker_says:
 * Docker's OOMKilled, which does not say when. Times are since 1970. */
bool exit_is_oom(int code, int64_t oom_ns, int64_t end_ns, bool docker_says);
/** The exit as Nomad gets it, with the built-in driver's texts. */
void exit_fill(struct task_exit *ret, int code, bool oom);
