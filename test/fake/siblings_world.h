/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of siblings share: a world with two tasks of one allocation that are not started.
 * "web" is the world's usual one. "evil" mounts the allocation's folder. */
#include "fake/task_world.h"

struct pair {
    struct world_web x;
    struct task_config evil;
};

/** cmocka's setup and teardown. *state is a struct pair. */
int siblings_world_setup(void **state);
int siblings_world_teardown(void **state);
struct world *siblings_world_of(void **state);

#define SIBLINGS_TEST(f)                                                                           \
    cmocka_unit_test_setup_teardown(f, siblings_world_setup, siblings_world_teardown)
