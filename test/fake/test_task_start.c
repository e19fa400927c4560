/* SPDX-License-Identifier: MPL-2.0 */
/* StartTask with a dockerd that answers: what it asks Docker for, a container name that is already
 * taken, two starts of the same task, and a start that is cancelled or destroyed while it runs.
 * Starts that dockerd refuses: test_task_start_refused.c. */
#include "fake/start_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SYSLOG_JOB "{\"image\":\"busybox\",\"command\":\"sleep\",\"logging\":{\"type\":\"syslog\"}}"

/* ---- Starts that succeed ---- */

static void test_start__fine__runs_with_state_and_pid(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    world_run(&x->w, &x->task, &started);
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_RUNNING);
    assert_int_equal(look.pid, 999999999);
    assert_int_equal(strlen(look.container_id), 64);
    assert_true(look.started_ns > 0);
    assert_true(started.state_len > 0);
    assert_string_equal(started.addr, "172.17.0.2");
    assert_int_equal(fake_images_held(), 1);
    task_start_done(&started);
}

static void test_start__same_id_twice__refused_and_first_continues(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_run(&x->w, &x->task, NULL);
    start_world_fails(x, &err);
    assert_string_equal(err.text, "task with ID \"a1/web/0123\" already started");
    assert_int_equal(err.cls, ERR_PLAIN);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* The die event comes before Docker has answered the start. Its exit code is the one that is
 * reported. */
static void test_start__ends_immediately__exit_code_reported(void **state) {
    struct world_web *x = *state;
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web",
               "{\"image\":\"busybox\",\"command\":\"exit\",\"args\":[\"3\"]}");
    fake_rules(&x->w.fake,
               "POST /containers/*/start delay=1\nGET /containers/*/json times=1 delay=200\n");
    world_run(&x->w, &x->task, NULL);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 3);
    assert_string_equal(e.err, "Docker container exited with non-zero exit code: 3");
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_EXITED);
    assert_true(look.started_ns > 0 && look.completed_ns >= look.started_ns);
}

/* The end is known before the logs are followed. The output is still delivered, and the FIFOs are
 * closed. */
static void test_start__ends_immediately__log_closes(void **state) {
    struct world_web *x = *state;
    struct reader r;
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web",
               "{\"image\":\"busybox\",\"command\":\"exit\",\"args\":[\"0\"]}");
    reader_start(&r, x->task.stdout_path);
    /* Delays the inspect of StartTask, or the one that the end causes. The event is not delayed. */
    fake_rules(&x->w.fake, "GET /containers/*/json skip=1 times=1 delay=400\n");
    world_run(&x->w, &x->task, NULL);
    world_wait(&x->w, x->task.id);
    reader_until_eof(&r);
    reader_done(&r);
}

/* ---- Values of the host ---- */

static json_t *sent_host_config(struct world_web *x, const char *key) {
    AUTO_JSON json_t *log = fake_log(&x->w.fake, "POST /containers/create");
    json_t *last = json_array_get(log, json_array_size(log) - 1);
    AUTO_JSON json_t *body = json_loads(json_string_value(json_object_get(last, "body")), 0, NULL);
    return json_incref(json_object_get(json_object_get(body, "HostConfig"), key));
}

static int setup_mems(void **state) {
    return world_web_setup(state, "{\"cpuset\":{\"mems\":\"follow\"}}", 0, false);
}

static void test_start__cgroup_v1__swappiness_where_it_can_be(void **state) {
    struct world_web *x = *state;
    char path[256];
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *without = sent_host_config(x, "MemorySwappiness");
    assert_null(without);
    assert_int_equal(task_destroy(x->w.d, &(struct call){0}, x->task.id, true, NULL), 0);
    static const char *const parts[] = {"memory", "memory/nomad", "memory/nomad/memory.swappiness"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        snprintf(path, sizeof(path), "%s/cgroup/%s", x->w.dir, parts[i]);
        assert_int_equal(i < 2 ? mkdir(path, 0755) : mknod(path, S_IFREG | 0644, 0), 0);
    }
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *with = sent_host_config(x, "MemorySwappiness");
    assert_true(json_is_integer(with));
    assert_int_equal(json_integer_value(with), 0);
}

/* A shared task is created with the set that Nomad's cgroup has at that moment. */
static void test_start__cgroup_v1_shared__set_of_nomads_cgroup(void **state) {
    struct world_web *x = *state;
    char path[256];
    snprintf(path, sizeof(path), "%s/cgroup/share", x->w.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    x->task.resources.cpuset_cgroup = strdup(path);
    world_run(&x->w, &x->task, NULL); /* no such file: a warning */
    AUTO_JSON json_t *without = sent_host_config(x, "CpusetCpus");
    assert_null(without);
    assert_int_equal(task_destroy(x->w.d, &(struct call){0}, x->task.id, true, NULL), 0);
    snprintf(path, sizeof(path), "%s/cgroup/share/cpuset.effective_cpus", x->w.dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs("0,2-3\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *with = sent_host_config(x, "CpusetCpus");
    assert_string_equal(json_string_value(with), "0,2-3");
}

/* The NUMA nodes are those of the machine that runs the test. */
static void test_start__mems_followed__in_the_request(void **state) {
    struct world_web *x = *state;
    bool numa = access("/sys/devices/system/node/node0/cpulist", R_OK) == 0;
    x->task.resources.cpuset_cpus = strdup("0");
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *cpus = sent_host_config(x, "CpusetCpus");
    AUTO_JSON json_t *mems = sent_host_config(x, "CpusetMems");
    assert_string_equal(json_string_value(cpus), "0");
    if (numa)
        assert_string_equal(json_string_value(mems), "0");
    else
        assert_null(mems);
}

static void test_start__mems_not_followed__not_in_the_request(void **state) {
    struct world_web *x = *state;
    x->task.resources.cpuset_cpus = strdup("0");
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *cpus = sent_host_config(x, "CpusetCpus");
    AUTO_JSON json_t *mems = sent_host_config(x, "CpusetMems");
    assert_string_equal(json_string_value(cpus), "0");
    assert_null(mems);
}

/* ---- A container that has the name already ---- */

static void test_start__own_container_runs__adopted(void **state) {
    struct world_web *x = *state;
    start_world_conflict(x, x->task.id, true);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"),
                     2); /* ours and the one refused */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static void test_start__own_container_stopped__replaced(void **state) {
    struct world_web *x = *state;
    start_world_conflict(x, x->task.id, false);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 3);
}

static void test_start__earlier_instance_runs__replaced(void **state) {
    struct world_web *x = *state;
    start_world_conflict(x, "a1/web/earlier", true);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 3);
    char request[128];
    snprintf(request, sizeof(request), "POST /containers/c0de%08x%052x/stop", 1, 0xfeed);
    assert_int_equal(fake_count(&x->w.fake, request), 1); /* stopped before it is removed */
}

static void test_start__name_stays_taken__gives_up_after_attempts(void **state) {
    struct world_web *x = *state;
    struct err err;
    fake_rules(&x->w.fake,
               "POST /containers/create status=409 body={\"message\":\"Conflict. in use\"}\n");
    assert_int_equal(start_world_fails(x, &err), -EEXIST);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"),
                     6); /* once, and 5 attempts */
    assert_non_null(strstr(err.text, "Failed to create container"));
    start_world_undone(x, 0);
}

/* The plugin's setting counts. The job's own is accepted and not used, as in Nomad. */
static void test_start__name_stays_taken__attempts_of_the_plugin(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_driver_free(&x->w);
    world_driver_new(&x->w, "{\"container_exists_attempts\":1}");
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web", "{\"image\":\"a\",\"container_exists_attempts\":4}");
    fake_rules(&x->w.fake,
               "POST /containers/create status=409 body={\"message\":\"Conflict. in use\"}\n");
    assert_int_equal(start_world_fails(x, &err), -EEXIST);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
}

/* ---- Two starts, a removal and a cancel during a start ---- */

static void test_start__same_id_twice_together__one_container(void **state) {
    struct world_web *x = *state;
    struct start_attempt a[2];
    fake_rules(&x->w.fake, "POST /containers/* delay=50\n");
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        start_world_begin(&a[i], x, &x->task);
    int first = start_world_end(&a[0]), second = start_world_end(&a[1]);
    assert_true((first == 0 && second == -EEXIST) || (first == -EEXIST && second == 0));
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* A DestroyTask during the start wins: no container runs that the driver does not know. */
static void test_start__destroyed_during_the_start__undone(void **state) {
    struct world_web *x = *state;
    struct start_attempt a;
    struct call call = fake_call();
    fake_rules(&x->w.fake, "POST /containers/create delay=200\n");
    start_world_begin(&a, x, &x->task);
    world_until_count(&x->w, "POST /containers/create", 1);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    assert_int_equal(start_world_end(&a), -ECANCELED);
    start_world_undone(x, 0);
}

/* When the client disconnects, StartTask ends immediately and leaves nothing, at every step. */
static void test_start__cancelled_at_each_step__undone(void **state) {
    struct world_web *x = *state;
    struct task_config task = TAKE_STRUCT(x->task);
    /* With this log driver, a start waits for Docker's answer to the request for the logs. */
    world_task(&x->w, &x->task, "web", SYSLOG_JOB);
    task_config_done(&task);
    /* The create without an answer makes no container. The others are containers 1, 2 and 3. */
    static const struct {
        const char *rule, *asked;
    } steps[] = {
        {"POST /containers/create hang\n", "POST /containers/create"},
        {"POST /containers/*/start hang\n", "POST " WORLD_CONTAINER("1") "/start"},
        {"GET /containers/*/json hang\n", "GET " WORLD_CONTAINER("2") "/json"},
        {"GET /containers/*/logs hang\n", "GET " WORLD_CONTAINER("3") "/logs"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct start_attempt a;
        fake_rules(&x->w.fake, steps[i].rule);
        start_world_begin(&a, x, &x->task);
        world_until_count(&x->w, steps[i].asked, 1);
        uint64_t before = clock_now_us();
        cancel_fire(&a.cancel);
        assert_true(start_world_end(&a) < 0);
        assert_true(clock_now_us() - before < 5 * US_PER_SEC);
        start_world_undone(x, 0);
        fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    }
}

static const struct CMUnitTest tests[] = {
    START_WORLD_T(test_start__fine__runs_with_state_and_pid),
    START_WORLD_T(test_start__same_id_twice__refused_and_first_continues),
    START_WORLD_T(test_start__ends_immediately__exit_code_reported),
    START_WORLD_T(test_start__ends_immediately__log_closes),
    START_WORLD_T(test_start__cgroup_v1_shared__set_of_nomads_cgroup),
    START_WORLD_T(test_start__cgroup_v1__swappiness_where_it_can_be),
    cmocka_unit_test_setup_teardown(test_start__mems_followed__in_the_request, setup_mems,
                                    world_web_teardown),
    START_WORLD_T(test_start__mems_not_followed__not_in_the_request),
    START_WORLD_T(test_start__own_container_runs__adopted),
    START_WORLD_T(test_start__own_container_stopped__replaced),
    START_WORLD_T(test_start__earlier_instance_runs__replaced),
    START_WORLD_T(test_start__name_stays_taken__gives_up_after_attempts),
    START_WORLD_T(test_start__name_stays_taken__attempts_of_the_plugin),
    START_WORLD_T(test_start__same_id_twice_together__one_container),
    START_WORLD_T(test_start__destroyed_during_the_start__undone),
    START_WORLD_T(test_start__cancelled_at_each_step__undone),
};
WORLD_MAIN(tests)
