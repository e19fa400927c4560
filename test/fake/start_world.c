/* SPDX-License-Identifier: MPL-2.0 */
/* The fixture of the StartTask tests (start_world.h): a start that must fail and leave nothing, a
 * start that another thread makes, and a container that already has the task's name. */
#include "fake/start_world.h"
#include "paddock/create.h"

int start_world_setup(void **state) {
    return world_web_setup(state, "{}", 0, false);
}

int start_world_setup_hasty(void **state) {
    return world_web_setup(state, "{}", WORLD_HASTY_MS, false);
}

int start_world_fails(struct world_web *x, struct err *ret_err) {
    struct driver_started started = {0};
    struct call call = fake_call();
    *ret_err = (struct err){0};
    int r = task_start(x->w.d, &call, &x->task, &started, ret_err);
    assert_true(r < 0);
    assert_true(ret_err->set);
    assert_null(started.state);
    return r;
}

void start_world_undone(struct world_web *x, unsigned containers) {
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
    assert_int_equal(fake_images_held(), 0);
    world_until_let_go(&x->task);
    world_until_positions(&x->w, 0);
    assert_int_equal(world_containers(&x->w), containers);
}

void start_world_conflict(struct world_web *x, const char *task_id, bool running) {
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    AUTO_JSON json_t *body =
        json_pack("{s:s,s:{s:s}}", "Image", "busybox", "Labels", LABEL_TASK_ID, task_id);
    char id[65];
    assert_int_equal(docker_container_create(docker, &call, world_name(&x->task), body, id, NULL),
                     0);
    if (running)
        assert_int_equal(docker_container_start(docker, &call, id, NULL), 0);
    docker_free(docker);
}

static void *start_in_thread(void *arg) {
    struct start_attempt *a = arg;
    struct driver_started started = {0};
    struct call call = fake_call();
    call.cancel = &a->cancel;
    a->r = task_start(a->x->w.d, &call, a->task, &started, NULL);
    if (a->r == 0)
        task_start_reported(a->x->w.d, &started);
    task_start_done(&started);
    return NULL;
}

void start_world_begin(struct start_attempt *a, struct world_web *x,
                       const struct task_config *task) {
    *a = (struct start_attempt){.x = x, .task = task};
    assert_int_equal(cancel_init(&a->cancel), 0);
    assert_int_equal(pthread_create(&a->thread, NULL, start_in_thread, a), 0);
}

int start_world_end(struct start_attempt *a) {
    pthread_join(a->thread, NULL);
    cancel_done(&a->cancel);
    return a->r;
}
