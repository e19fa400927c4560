/* Reads and sets the CPUs that the threads of a process may run on. The reconciler keeps the
 * plugin's threads off reserved cores with it, and src/logs the log pump's. The system calls are
 * used directly: the wrappers know 1024 CPUs. */
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

/* The second round reaches a thread that was made during the first one by a thread that had not
 * been reached yet. */
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
