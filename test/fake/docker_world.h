/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of Docker's client share: a fake dockerd with three running containers, task-0 to
 * task-2, and a client of it. */
#include "fake/fake_client.h"
#include "paddock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <curl/curl.h>

#define SECOND US_PER_SEC

struct fixture {
    struct fake fake;
    struct docker *docker;
};

/** cmocka's setup and teardown. *state is a struct fixture. */
int docker_world_setup(void **state);
int docker_world_teardown(void **state);
/** Inspects the container task-1. Returns what docker_container_inspect() returned. */
int docker_world_inspect(struct fixture *x, struct err *err);

#define DOCKER_TEST(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, docker_world_setup, docker_world_teardown)
/* main() of such a test. An argument is a filter of @tests. */
#define DOCKER_MAIN(tests)                                                                         \
    int main(int argc, char **argv) {                                                              \
        if (argc > 1)                                                                              \
            cmocka_set_test_filter(argv[1]);                                                       \
        curl_global_init(CURL_GLOBAL_DEFAULT);                                                     \
        int failed = cmocka_run_group_tests(tests, NULL, NULL);                                    \
        curl_global_cleanup();                                                                     \
        return failed;                                                                             \
    }
