/* SPDX-License-Identifier: MPL-2.0 */
/* RecoverTask after a restart of the agent: containers that ran or ended while no plugin did, a
 * dockerd that is unavailable then, and tasks that the built-in driver has started. Several calls
 * for one task: test_task_recover_together.c. */
#include "fake/task_world.h"
#include "unit/config/pack.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int setup(void **state) {
    return world_web_setup_live(state, 0);
}

static int setup_hasty(void **state) {
    return world_web_setup_live(state, WORLD_HASTY_MS);
}

static int recover(struct world_web *x, const void *data, size_t len, struct err *err) {
    struct call call = call_within(NULL, WORLD_WAIT_US);
    if (err)
        *err = (struct err){0};
    return task_recover(x->w.d, &call, &x->task, data, len, err);
}

static int recover_own(struct world_web *x, struct err *err) {
    /* After a restart of the agent, Nomad does not send the job's config. */
    free(TAKE_PTR(x->task.driver_config));
    x->task.driver_config_len = 0;
    return recover(x, x->started.state, x->started.state_len, err);
}

/* driver_state of the built-in driver, whose logger is process @logger. */
static int recover_built_in(struct world_web *x, const char *container_id, pid_t logger) {
    char text[512];
    snprintf(
        text, sizeof(text),
        "{\"ContainerID\":\"%s\",\"DriverNetwork\":{\"PortMap\":{\"http\":80},\"IP\":\"172.17.0."
        "2\","
        "\"AutoAdvertise\":false},\"ReattachConfig\":{\"Protocol\":\"grpc\",\"Network\":\"unix\","
        "\"Addr\":\"/tmp/plugin1\",\"Pid\":%d}}",
        container_id, (int)logger);
    struct buf b = pack(text);
    int r = recover(x, b.data, b.len, NULL);
    buf_done(&b);
    return r;
}

static void test_recover__running__waits_on(void **state) {
    struct world_web *x = *state;
    world_driver_restart(&x->w);
    assert_int_equal(recover_own(x, NULL), 0);
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_RUNNING);
    assert_int_equal(look.pid, 999999999);
    assert_true(look.logs);
    assert_int_equal(fake_images_held(), 1);
    world_exit(&x->w, &x->task, 8);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 8);
}

/* With containerd's image store, a container can name its image by another id than the one that
 * StartTask holds. */
static void test_recover__container_names_another_image_id__held_as_started(void **state) {
    struct world_web *x = *state;
    char rule[512];
    snprintf(
        rule, sizeof(rule),
        "GET /containers/*/json status=200 type=application/json body={\"Id\":\"%s\",\"Image\":"
        "\"sha256:0ther\",\"Config\":{\"Image\":\"app:1\"},\"State\":{\"Status\":\"running\","
        "\"Running\":true,\"Pid\":999999999,\"ExitCode\":0}}\n",
        world_look(&x->w, x->task.id).container_id);
    world_driver_restart(&x->w);
    fake_rules(&x->w.fake, rule);
    assert_int_equal(recover_own(x, NULL), 0);
    assert_string_equal(fake_images_last_hold(), "sha256:5ca1ab1e as app:1");
    assert_string_equal(world_look(&x->w, x->task.id).image_id, "sha256:5ca1ab1e");
}

static void test_recover__known_already__no_docker_call(void **state) {
    struct world_web *x = *state;
    char request[WORLD_REQUEST_SIZE];
    world_inspect_request(&x->w, x->task.id, request);
    world_until_count(&x->w, request, 1);
    int before = fake_count(&x->w.fake, request);
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(fake_count(&x->w.fake, request), before);
}

static void test_recover__exited_without_a_plugin__code_reported(void **state) {
    struct world_web *x = *state;
    world_driver_free(&x->w);
    world_exit(&x->w, &x->task, 11);
    world_driver_new(&x->w, "{}");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 11);
}

/* The container was created again, or Docker lost its state. It does not run and has no exit code.
 */
static void test_recover__never_started__error_and_nothing_held(void **state) {
    struct world_web *x = *state;
    struct err err;
    char rule[512];
    snprintf(
        rule, sizeof(rule),
        "GET /containers/*/json status=200 type=application/json body={\"Id\":\"%s\",\"State\":"
        "{\"Status\":\"created\",\"Running\":false,\"Pid\":0,\"ExitCode\":0}}\n",
        world_look(&x->w, x->task.id).container_id);
    world_driver_restart(&x->w);
    fake_rules(&x->w.fake, rule);
    assert_true(recover_own(x, &err) < 0);
    assert_non_null(strstr(err.text, "was never started"));
    assert_int_equal(fake_images_held(), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

static void test_recover__container_removed__error_and_nothing_held(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_driver_free(&x->w);
    fake_stop(&x->w.fake);
    fake_start_again(&x->w.fake, NULL);
    world_driver_new(&x->w, "{}");
    assert_int_equal(recover_own(x, &err), -ENOENT);
    assert_non_null(strstr(err.text, "failed to inspect container for id"));
    assert_int_equal(fake_images_held(), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

static void test_recover__garbage__refused(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_driver_restart(&x->w);
    assert_true(recover(x, "\xc1garbage", 8, &err) < 0);
    assert_non_null(strstr(err.text, "failed to decode driver state"));
    assert_true(recover(x, "", 0, &err) < 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

/* Docker answers with errors for a moment while the agent restarts. The task must not be lost. */
static void test_recover__docker_fails_twice__recovered(void **state) {
    struct world_web *x = *state;
    world_driver_restart(&x->w);
    fake_rules(&x->w.fake,
               "GET /containers/*/json times=2 status=500 body={\"message\":\"loading\"}\n");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static bool has_pid(void *ctx) {
    struct world_web *x = ctx;
    return world_look(&x->w, x->task.id).pid == 999999999;
}

/* After a failed RecoverTask, the agent starts the task again and replaces the running container.
 * Therefore driver_state is enough until Docker answers. */
static void test_recover__docker_hangs__taken_to_run_until_it_answers(void **state) {
    struct world_web *x = *state;
    world_driver_restart(&x->w);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    uint64_t before = clock_now_us();
    assert_int_equal(recover_own(x, NULL), 0);
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_RUNNING);
    assert_int_equal(look.pid, 999999999); /* from driver_state */
    assert_true(look.logs);
    assert_int_equal(fake_images_held(), 1);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_until(has_pid, x, "the pid from Docker");
    world_exit(&x->w, &x->task, 9);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 9);
}

static void test_recover__docker_down_and_task_ended__code_reported_when_it_is_back(void **state) {
    struct world_web *x = *state;
    world_driver_free(&x->w);
    world_exit(&x->w, &x->task, 4);
    world_driver_new(&x->w, "{}");
    fake_rules(&x->w.fake, "* * drop\n");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

/* Neither Docker nor a pump runs. The plugin starts a pump, which keeps the FIFOs open until Docker
 * answers. */
static void test_recover__docker_down_and_pump_dead__recovered_and_logs_whole(void **state) {
    struct world_web *x = *state;
    struct reader out;
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    world_driver_new(&x->w, "{}");
    fake_rules(&x->w.fake, "* * drop\n");
    uint64_t before = clock_now_us();
    assert_int_equal(recover_own(x, NULL), 0);
    assert_true(clock_now_us() - before < 5 * WORLD_SLOWNESS * US_PER_SEC);
    assert_true(world_look(&x->w, x->task.id).logs);
    reader_start(&out, x->task.stdout_path);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/web-a1", "hello\n", NULL, 0);
    reader_until(&out, "hello\n");
    world_exit(&x->w, &x->task, 3);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 3);
    reader_until_eof(&out);
    reader_done(&out);
}

static void
test_recover__docker_hangs_and_client_disconnects__error_and_nothing_held(void **state) {
    struct world_web *x = *state;
    struct cancel cancel;
    world_driver_restart(&x->w);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    assert_int_equal(cancel_init(&cancel), 0);
    cancel_fire(&cancel);
    struct call call = call_within(NULL, WORLD_WAIT_US);
    call.cancel = &cancel;
    assert_true(
        task_recover(x->w.d, &call, &x->task, x->started.state, x->started.state_len, NULL) < 0);
    cancel_done(&cancel);
    assert_int_equal(fake_images_held(), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

/* The driver_state of the built-in driver is not enough: it lacks most of the container's values.
 */
static void test_recover__built_in_drivers_and_docker_hangs__error_in_time(void **state) {
    struct world_web *x = *state;
    struct task_look look = world_look(&x->w, x->task.id);
    world_driver_restart(&x->w);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    uint64_t before = clock_now_us();
    assert_true(recover_built_in(x, look.container_id, getpid()) < 0);
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

/* Docker answers once, so the container exists. A failure would make the agent start the task
 * again. No event reports the end of the container; a later inspect finds it. */
static void test_recover__docker_fails_at_the_last_inspect__repeated_later(void **state) {
    struct world_web *x = *state;
    int before = fake_count(&x->w.fake, "GET /events");
    world_driver_free(&x->w);
    world_exit(&x->w, &x->task, 6);
    world_driver_new(&x->w, "{}");
    assert_int_equal(driver_init(x->w.d, NULL), 0);
    world_until_count(&x->w, "GET /events", before + 1); /* all tasks were inspected: none */
    fake_rules(&x->w.fake,
               "GET /containers/*/json skip=1 times=3 status=500 body={\"message\":\"loading\"}\n");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 6);
    assert_int_equal(fake_images_held(), 1);
    world_until_let_go(&x->task);
}

/* The task is taken over. The process with the logger's pid is another program by now and is not
 * killed. */
static void test_recover__built_in_drivers_state__taken_over(void **state) {
    struct world_web *x = *state;
    struct task_look look = world_look(&x->w, x->task.id);
    world_driver_restart(&x->w);
    assert_int_equal(recover_built_in(x, look.container_id, getpid()), 0);
    struct driver_inspect i = {0};
    assert_int_equal(task_inspect(x->w.d, x->task.id, &i, NULL), 0);
    assert_int_equal(i.look.phase, TASK_RUNNING);
    assert_true(i.look.logs);
    assert_string_equal(kvs_get(&i.port_map, "http"), "80");
    task_inspect_done(&i);
}

/* Only the logger of the built-in driver has the FIFOs open. It is killed before the pump begins,
 * because a pump that finds it alive leaves the task to the built-in driver. logmon sees no end of
 * file in between. */
static void test_recover__built_in_drivers_logger__ended_and_fifos_held(void **state) {
    struct world_web *x = *state;
    extern char **environ;
    const char *const argv[] = {"sh",
                                "-c",
                                "exec 3>\"$1\" 4>\"$2\"; echo its last >&3; read end",
                                "docker_logger",
                                x->task.stdout_path,
                                x->task.stderr_path,
                                NULL};
    struct reader out, err;
    pid_t logger;
    int never[2], status;
    posix_spawn_file_actions_t a;
    reader_start(&out, x->task.stdout_path);
    reader_start(&err, x->task.stderr_path);
    assert_int_equal(pipe2(never, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, never[0], 0);
    assert_int_equal(posix_spawn(&logger, "/bin/sh", &a, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&a);
    reader_until(&out, "its last\n");
    struct task_look look = world_look(&x->w, x->task.id);
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    world_driver_new(&x->w, "{}");
    int r = recover_built_in(x, look.container_id, logger);
    pid_t ended = waitpid(logger, &status, WNOHANG);
    close(never[0]);
    close(never[1]);
    assert_int_equal(r, 0);
    assert_int_equal(ended, logger);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fake_control(&x->w.fake, "POST", "print/web-a1", "our first\n", NULL, 0);
    reader_until(&out, "our first\n");
    world_exit(&x->w, &x->task, 0);
    reader_until_eof(&out);
    reader_until_eof(&err);
    reader_done(&out);
    reader_done(&err);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_recover__running__waits_on),
    T(test_recover__container_names_another_image_id__held_as_started),
    T(test_recover__known_already__no_docker_call),
    T(test_recover__exited_without_a_plugin__code_reported),
    T(test_recover__never_started__error_and_nothing_held),
    T(test_recover__container_removed__error_and_nothing_held),
    T(test_recover__garbage__refused),
    T(test_recover__docker_fails_twice__recovered),
    HASTY(test_recover__docker_hangs__taken_to_run_until_it_answers),
    HASTY(test_recover__docker_down_and_task_ended__code_reported_when_it_is_back),
    HASTY(test_recover__docker_down_and_pump_dead__recovered_and_logs_whole),
    HASTY(test_recover__docker_hangs_and_client_disconnects__error_and_nothing_held),
    HASTY(test_recover__built_in_drivers_and_docker_hangs__error_in_time),
    T(test_recover__docker_fails_at_the_last_inspect__repeated_later),
    T(test_recover__built_in_drivers_state__taken_over),
    T(test_recover__built_in_drivers_logger__ended_and_fifos_held),
};
WORLD_MAIN(tests)
