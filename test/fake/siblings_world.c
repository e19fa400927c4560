/* SPDX-License-Identifier: MPL-2.0 */
/* What the tests of siblings share (siblings_world.h). */
#include "fake/siblings_world.h"

#include <stdlib.h>

#define EVIL_JOB "{\"image\":\"busybox\",\"command\":\"sleep\",\"volumes\":[\"../:/x\"]}"

int siblings_world_setup(void **state) {
    int r = world_web_setup(state, "{}", 0, false);
    struct world_web *x = *state;
    struct pair *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->x = *x;
    free(x);
    world_task(&p->x.w, &p->evil, "evil", EVIL_JOB);
    *state = p;
    return r;
}

int siblings_world_teardown(void **state) {
    struct pair *p = *state;
    task_config_done(&p->evil);
    return world_web_teardown(state);
}

struct world *siblings_world_of(void **state) {
    return &((struct pair *)*state)->x.w;
}
