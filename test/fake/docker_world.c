/* SPDX-License-Identifier: MPL-2.0 */
/* What the tests of Docker's client share (docker_world.h). */
#include "fake/docker_world.h"

int docker_world_setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    static const char *const args[] = {"--containers", "3", NULL};
    fake_start(&x->fake, args);
    x->docker = fake_docker(&x->fake);
    *state = x;
    return 0;
}

int docker_world_teardown(void **state) {
    struct fixture *x = *state;
    docker_free(x->docker);
    fake_done(&x->fake);
    free(x);
    return 0;
}

int docker_world_inspect(struct fixture *x, struct err *err) {
    struct docker_state s;
    struct call call = call_within(NULL, 20 * SECOND);
    return docker_container_inspect(x->docker, &call, "task-1", &s, NULL, err);
}
