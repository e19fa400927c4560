/* SPDX-License-Identifier: MPL-2.0 */
/* Error texts of Docker 20.10 to 29 with runc, and of crun. */
#include "unit/cm.h"

#include "paddock/cleanup.h"
#include "paddock/docker_refusal.h"

#define SHIM                                                                                       \
    "failed to create task for container: failed to create shim task: OCI runtime create failed: " \
    "runc create failed: "

static void test_docker_refusal_is_final__table(void **state) {
    static const struct {
        const char *text;
        bool final;
    } rows[] = {
        {SHIM "sysctl \"kernel.randomize_va_space\" is not in a separate kernel namespace: unknown",
         true},
        {SHIM "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace: unknown",
         true},
        {SHIM "unable to start container process: error during container init: open "
              "/proc/sys/net/ipv4/no_such: no such file or directory: unknown",
         true},
        {SHIM "unable to start container process: error during container init: write sysctl key "
              "net.ipv4.ip_forward: write /proc/sys/net/ipv4/ip_forward: invalid argument",
         true},
        {SHIM
         "unable to start container process: error during container init: sethostname: invalid "
         "argument: unknown",
         true},
        {SHIM
         "unable to start container process: error during container init: error mounting \"/x\" "
         "to rootfs at \"/etc/passwd\": not a directory: unknown",
         true},
        {SHIM
         "unable to start container process: error during container init: error setting rlimit "
         "type 7: operation not permitted: unknown",
         true},
        {"OCI runtime create failed: crun: mount `proc`: Operation not permitted", true},
        {"invalid mode: bad", true},
        {"Invalid IPC mode: bad", true},
        {"unable to find user nosuchuser: no matching entries in passwd file", true},
        {"Unable to find group nosuchgroup: no matching entries in group file", true},
        {SHIM "wrong rlimit value: RLIMIT_NOSUCH: unknown", true},
        {"error gathering device information while adding custom device \"/dev/nosuch\": no such "
         "file or directory",
         true},
        {"invalid volume specification: 'a:b'", true},
        {"Failed to start container 499e: joining network namespace of container: No such "
         "container: nosuch",
         true},
        /* these can succeed later */
        {SHIM "unable to start container process: unable to apply cgroup configuration: failed to "
              "write 12: write /sys/fs/cgroup/cpuset/docker/x/cgroup.procs: invalid argument",
         false},
        {SHIM "unable to start container process: can't get final child's PID from pipe: EOF",
         false},
        {SHIM "fork/exec /proc/self/exe: resource temporarily unavailable: unknown", false},
        {SHIM "error mounting \"tmpfs\": no space left on device", false},
        {"failed to create task for container: connection error: permission denied", false},
        {"driver failed programming external connectivity on endpoint x: Bind for 0.0.0.0:80 "
         "failed: "
         "port is already allocated",
         false},
        {"Internal Server Error", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (docker_refusal_is_final(rows[i].text) != rows[i].final)
            fail_msg("%s", rows[i].text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_docker_refusal_is_final__table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
