/* SPDX-License-Identifier: MPL-2.0 */
/* The kernel's texts about cgroups, and the texts that people write for times and numbers: no text
 * crashes a parser. */
#include "paddock/cgroup_stats.h"
#include "paddock/parse.h"
#include "src/cgroup/cgroup_path.h"

#include <limits.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *text, const char *controller) {
    static char whole[PATH_MAX], cut[PATH_MAX];
    int a = cgroup_path_of(text, controller, NULL, whole);
    int b = cgroup_path_of(text, controller, "0123", cut);
    if (b == 0 && (a != 0 || strncmp(whole, cut, strlen(cut)) != 0 || !strstr(cut, "0123")))
        abort();
    if (a == 0 && strchr(whole, '\n'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    AUTO_FREE char *text = strndup((const char *)data, size);
    uint64_t u;
    int64_t i;
    if (!text)
        abort();
    check_path(text, "");
    check_path(text, "cpuacct");
    (void)cgroup_stats_flat_value(text, "anon", &u);
    if (parse_u64(text, 1000, &u) == 0 && u > 1000)
        abort();
    if (parse_u64(text, 1000, &u) == 0 && (parse_i64(text, &i) < 0 || (uint64_t)i != u))
        abort();
    (void)!parse_duration_us(text, &i);
    (void)!parse_rfc3339_ns(text, &i);
    return 0;
}
