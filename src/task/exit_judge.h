/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Decides what a task's end means. The functions are pure; exit.c calls them. */
#include "paddock/store.h"

/** Returns whether the end with @code at @end_ns counts as an OOM kill of the task. @oom_ns: when
 * the kernel last killed a process in the container, 0 = not known to have happened. @docker_says:
 * Docker's OOMKilled, which has no time. Times are in ns since 1970. */
bool exit_judge_is_oom(int code, int64_t oom_ns, int64_t end_ns, bool docker_says);
/** Fills the exit as Nomad receives it, with the built-in driver's texts. */
void exit_judge_fill(struct task_exit *ret, int code, bool oom);
