/* SPDX-License-Identifier: MPL-2.0 */
/* Decides whether a refusal by Docker is final: the same request would always be refused.
 *
 * StartTask repeats a request that fails with a 5xx, because such a failure can be temporary. But
 * Docker also answers 500 when the container runtime or the kernel refuses a value of the job. Only
 * the text shows the difference. An unknown text counts as temporary. */
#include "paddock/docker_refusal.h"

#include "paddock/cleanup.h"

#include <string.h>

static bool has_one(const char *text, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcasestr(text, words[i]))
            return true;
    return false;
}

bool docker_refusal_is_final(const char *text) {
    /* Texts of Docker and runc that name the value. */
    static const char *const values[] = {
        "is not in a separate", /* sysctl of the host */
        "not allowed in host",  /* sysctl of a namespace that is the host's */
        "sysctl key",
        "/proc/sys/", /* sysctl that does not exist, or its value */
        "sethostname",
        "invalid mode",
        "invalid volume spec",
        "invalid mount",
        "invalid ipc mode",
        "invalid pid mode",
        "invalid uts mode",
        "unable to find user",
        "unable to find group",
        "wrong rlimit value",
        "error gathering device information",
        "joining network namespace of container", /* no such container (Docker 29) */
    };
    /* Answers of the kernel to what the runtime sets up for the container. */
    static const char *const answers[] = {
        "invalid argument",
        "operation not permitted",
        "permission denied",
        "not a directory",
        "is a directory",
        "file name too long",
        "not supported",
        "numerical result out of range",
        "function not implemented",
    };
    if (has_one(text, values, ARRAY_LEN(values)))
        return true;
    /* Files of cgroups also refuse values that they accept a moment later. */
    return strstr(text, "OCI runtime create failed") && !strstr(text, "cgroup") &&
           has_one(text, answers, ARRAY_LEN(answers));
}
