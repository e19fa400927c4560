/* SPDX-License-Identifier: MPL-2.0 */
/* Decides whether the reconciler's thread may run in real time, and switches it on.
 *
 * pin.c calls it when the thread starts. The thread uses a few milliseconds of CPU per second; the
 * kernel throttles a runaway real-time thread. Real time does harm in one case: with RT_GROUP_SCHED
 * the kernel refuses to enable the cpu controller for a cgroup that has a real-time thread. So on
 * such a kernel, and when the kernel's configuration cannot be read, the thread needs a cgroup in
 * which the controller is enabled already. Debian's kernels are built without the option. */
#include "src/pin/pin_realtime.h"

#include "paddock/cgroup.h"
#include "paddock/cleanup.h"
#include "paddock/log.h"
#include "paddock/parse.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

static bool kernel_has_rt_groups(const char *config) {
    char path[sizeof("/boot/config-") + sizeof(((struct utsname *)0)->release)], line[256];
    struct utsname kernel;
    if (!config) {
        if (uname(&kernel) < 0)
            return true;
        snprintf(path, sizeof(path), "/boot/config-%s", kernel.release);
        config = path;
    }
    FILE *f = fopen(config, "re");
    if (!f)
        return true;
    bool has = false;
    while (!has && fgets(line, sizeof(line), f))
        has = strcmp(line, "CONFIG_RT_GROUP_SCHED=y\n") == 0;
    fclose(f);
    return has;
}

/* Is the thread in a cgroup other than the root's, without the cpu controller? */
static bool cgroup_lacks_cpu(const struct pin_options *o) {
    char path[PATH_MAX], text[512];
    AUTO_FD int fd = openat(o->proc_fd, "self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, path, sizeof(path) - 1) : 0;
    path[n > 0 ? n : 0] = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (strncmp(path, "0::/", 4) != 0 || path[4] == '\0')
        return false;
    AUTO_FD int dir = cgroup_dir_open(o->cgroup_root_fd, path + 3);
    AUTO_FD int list = dir < 0 ? -EBADF : openat(dir, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
    n = list >= 0 ? read(list, text, sizeof(text) - 1) : -1;
    if (n < 0)
        return false;
    text[n] = '\0';
    return !parse_has_word(text, "cpu");
}

void pin_realtime_begin(const struct pin_options *o) {
    struct sched_param lowest = {.sched_priority = 1};
    if (!o->realtime)
        return;
    if (cgroup_lacks_cpu(o) && kernel_has_rt_groups(o->kernel_config)) {
        log_info("pin", NULL,
                 "the reconciler does not run in real time: this kernel could then not enable the "
                 "cpu controller for the agent's cgroup");
        return;
    }
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) < 0)
        log_debug("pin", LOG_KV("errno", strerror(errno)), "not in real time");
}
