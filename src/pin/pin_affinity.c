/* Keeps the plugin's own threads off the cores that tasks have reserved.
 *
 * A thread wakes up on the CPU where it last ran, also when that CPU is somebody's exclusive core
 * by now. The pin thread calls this when the reserved cores or the online CPUs have changed. New
 * threads and processes inherit the affinity of the thread that makes them. When every online CPU
 * is reserved, all threads may run anywhere. */
#include "src/pin/pin_priv.h"

#include "paddock/log.h"

#include <dirent.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

static int set_one(pid_t tid, const struct cpuset *set) {
    unsigned long mask[CPUSET_MAX_CPUS / (8 * sizeof(unsigned long))] = {0};
    const size_t bits = 8 * sizeof(unsigned long);
    for (unsigned cpu = 0; cpu < CPUSET_MAX_CPUS; cpu++)
        if (cpuset_has(set, cpu))
            mask[cpu / bits] |= 1ul << (cpu % bits);
    return syscall(SYS_sched_setaffinity, tid, sizeof(mask), mask) < 0 ? -errno : 0;
}

/* All threads of this process. The second round reaches a thread that was made during the first one
 * by a thread that had not been reached yet. */
static int set_all(const struct cpuset *set) {
    int r = 0;
    for (int round = 0; round < 2; round++) {
        DIR *d = opendir("/proc/self/task");
        if (!d)
            return -errno;
        for (const struct dirent *e; (e = readdir(d));) {
            pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
            int one = tid > 0 ? set_one(tid, set) : 0;
            if (one < 0 && one != -ESRCH) /* ended meanwhile */
                r = one;
        }
        closedir(d);
    }
    return r;
}

void pin_affinity_wanted(const struct cpuset *online, const struct cpuset *reserved,
                         struct cpuset *ret) {
    *ret = *online;
    cpuset_subtract(ret, reserved);
    if (cpuset_is_empty(ret))
        *ret = *online;
}

/* The cores of all tasks: those that are known here and those of reserve.slice. */
static void all_reserved(const struct pin *p, struct cpuset *ret) {
    *ret = p->reserved;
    for (const struct pin_parent *x = p->parents; x; x = x->next)
        cpuset_union(ret, &x->reserve.set);
}

void pin_affinity_follow(struct pin *p) {
    struct cpuset reserved, want;
    if (!p->o.own_affinity || p->online.r != 0)
        return;
    all_reserved(p, &reserved);
    pin_affinity_wanted(&p->online.set, &reserved, &want);
    uint64_t hash = cpuset_hash(&want);
    /* Nothing to do while no core was ever reserved: an affinity that somebody chose for the agent
     * stays. */
    if (hash == p->affinity_hash || (!p->affinity_hash && cpuset_is_empty(&reserved)))
        return;
    int r = set_all(&want);
    if (r < 0)
        log_debug("pin", LOG_KV("errno", strerror(-r)), "a thread's affinity was not set");
    p->affinity_hash = hash;
}
