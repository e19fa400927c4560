/* SPDX-License-Identifier: MPL-2.0 */
/* The user that root of a container is on the host, from Docker's answer to GET /info. */
#include "paddock/docker_userns.h"
#include "paddock/json_value.h"
#include "unit/cm.h"

static void test_docker_userns_root__table(void **state) {
    (void)state;
    static const struct {
        const char *info;
        bool is;
        unsigned uid, gid;
    } rows[] = {
        {"{}", false, 0, 0},
        {"{'DockerRootDir':'/var/lib/docker','SecurityOptions':['name=seccomp,profile=default']}",
         false, 0, 0},
        {"{'DockerRootDir':'/d/231072.431072','SecurityOptions':['name=apparmor','name=userns']}",
         true, 231072, 431072},
        {"{'DockerRootDir':'/d/1.2','SecurityOptions':['name=userns,x=y']}", true, 1, 2},
        /* Not remapped, although the folder's name looks like it. */
        {"{'DockerRootDir':'/d/231072.431072','SecurityOptions':[]}", false, 0, 0},
        {"{'DockerRootDir':'/d/231072.431072','SecurityOptions':['name=usernsx']}", false, 0, 0},
        /* Remapped, but the folder's name does not show the user. */
        {"{'DockerRootDir':'/d','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'1.2','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'/d/1','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'/d/1.','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'/d/.2','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'/d/1.2.3','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'/d/a.b','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'/d/4294967295.1','SecurityOptions':['name=userns']}", false, 0, 0},
        {"{'DockerRootDir':'/d/1111111111111111111.1','SecurityOptions':['name=userns']}", false, 0,
         0},
        {"{'DockerRootDir':7,'SecurityOptions':'name=userns'}", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[256];
        snprintf(text, sizeof(text), "%s", rows[i].info);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        AUTO_JSON json_t *info = json_loads(text, 0, NULL);
        uid_t uid = 0;
        gid_t gid = 0;
        assert_non_null(info);
        if (docker_userns_root(info, &uid, &gid) != rows[i].is || uid != rows[i].uid ||
            gid != rows[i].gid)
            fail_msg("%s: %u.%u", rows[i].info, uid, gid);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_docker_userns_root__table)};
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
