/* SPDX-License-Identifier: MPL-2.0 */
/* Reads and sets the CPUs that the threads of a process may run on.
 *
 * The reconciler uses it to keep the plugin's threads off reserved cores; src/logs does the same
 * for the log pump. The system calls are used directly, because the wrappers of the C library
 * handle only 1024 CPUs. */
#include "paddock/affinity.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int affinity_get(pid_t tid, struct affinity *ret) {
    *ret = (struct affinity){0};
    return syscall(SYS_sched_getaffinity, tid, sizeof(ret->mask), ret->mask) < 0 ? -errno : 0;
}

/* Two rounds. The second one reaches a thread that was started during the first round by a thread
 * whose mask was not set yet. */
int affinity_set_all(pid_t pid, const struct affinity *a) {
    char path[64];
    int r = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)(pid ? pid : getpid()));
    for (int round = 0; round < 2; round++) {
        DIR *d = opendir(path);
        if (!d)
            return -errno;
        for (const struct dirent *e; (e = readdir(d));) {
            pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
            if (tid > 0 && syscall(SYS_sched_setaffinity, tid, sizeof(a->mask), a->mask) < 0 &&
                errno != ESRCH)
                r = -errno;
        }
        closedir(d);
    }
    return r;
}
