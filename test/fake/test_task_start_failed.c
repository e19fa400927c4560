/* SPDX-License-Identifier: MPL-2.0 */
/* Starts that Docker refuses or carries out only in part. A port can be taken for a moment, and
 * Docker 29 answers a second start of the same container with a container that has no network. A
 * task runs only when its container runs and has what the job asked for. */
#include "src/task/driver_priv.h"

#include "fake/start_world.h"

#include <stdio.h>
#include <string.h>

#define PORT_JOB "{\"image\":\"busybox\",\"command\":\"sleep\",\"ports\":[\"http\"]}"
#define JOIN_JOB                                                                                   \
    "{\"image\":\"busybox\",\"command\":\"sleep\",\"network_mode\":\"container:other\"}"

static void job(struct world_web *x, const char *json) {
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web", json);
}

static void job_with_port(struct world_web *x, const char *json) {
    job(x, json);
    x->task.resources.ports = calloc(1, sizeof(*x->task.resources.ports));
    assert_non_null(x->task.resources.ports);
    x->task.resources.n_ports = 1;
    x->task.resources.ports[0] =
        (struct task_port){.label = strdup("http"), .value = 8080, .host_ip = strdup("")};
}

static void fails(struct world_web *x, enum err_class cls, const char *words, unsigned containers) {
    struct err err;
    start_world_fails(x, &err);
    if (err.cls != cls || !strstr(err.text, words))
        fail_msg("class %d: %s", err.cls, err.text);
    start_world_undone(x, containers);
}

static void busy(struct world_web *x, const char *what) {
    fake_control(&x->w.fake, "POST", what, "", NULL, 0);
}

/* ---- Ports and networks ---- */

static void test_start__port_taken_once__runs_with_its_network(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    struct reader r;
    job_with_port(x, PORT_JOB);
    reader_start(&r, x->task.stdout_path);
    busy(x, "busy/8080?times=1");
    world_run(&x->w, &x->task, &started);
    assert_string_equal(started.addr, "172.17.0.2");
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
    assert_int_equal(fake_images_held(), 1);
    /* The task has the output, the end and the exit code of the new container. */
    fake_control(&x->w.fake, "POST", "print/web-a1", "hello\n", NULL, 0);
    reader_until(&r, "hello\n");
    world_exit(&x->w, &x->task, 5);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 5);
    reader_until_eof(&r);
    reader_done(&r);
    task_start_done(&started);
}

static void test_start__port_stays_taken__error_names_it_and_nothing_left(void **state) {
    struct world_web *x = *state;
    job_with_port(x, PORT_JOB);
    busy(x, "busy/8080");
    fails(x, ERR_RECOVERABLE, "Bind for 0.0.0.0:8080 failed: port is already allocated", 0);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 5);
}

/* libcurl repeats a request without being asked when a kept-alive connection is lost. Docker then
 * starts the same container a second time. */
static void test_start__started_without_network_once__made_again(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    job_with_port(x, PORT_JOB);
    busy(x, "netless/1");
    world_run(&x->w, &x->task, &started);
    assert_string_equal(started.addr, "172.17.0.2");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_int_equal(world_containers(&x->w), 1);
    world_exit(&x->w, &x->task, 6);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 6);
    task_start_done(&started);
}

static void test_start__always_without_network__error_and_nothing_left(void **state) {
    struct world_web *x = *state;
    job_with_port(x, PORT_JOB);
    busy(x, "netless/1000");
    fails(x, ERR_RECOVERABLE, "network", 0);
}

/* dockerd with --bridge=none. */
static void test_start__docker_has_no_bridge__runs(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    job_with_port(x, PORT_JOB);
    busy(x, "netless/1");
    fake_rules(&x->w.fake,
               "GET /networks/bridge status=404 body={\"message\":\"network bridge not found\"}\n");
    world_run(&x->w, &x->task, &started);
    assert_string_equal(started.addr, "");
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 1);
    task_start_done(&started);
}

static bool lacks_bridge(void *ctx) {
    struct world *w = ctx;
    return fingerprint_lacks_bridge(w->d->fingerprint);
}

static bool may_have_bridge(void *ctx) {
    return !lacks_bridge(ctx);
}

/* Cuts the event stream, as a dockerd that stops does. */
static void restart_docker(struct world_web *x, const char *rules) {
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_rules(&x->w.fake, rules);
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
}

/* The fingerprint knows that the network is missing. A start asks again only when dockerd may have
 * been replaced. */
static void test_start__known_to_have_no_bridge__not_asked_again(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    world_until_count(&x->w, "GET /events", 1);
    restart_docker(x, "GET /networks/bridge status=404 body={\"message\":\"none\"}\n");
    world_until(lacks_bridge, &x->w, "a fingerprint without a bridge");
    static const char *const names[] = {"one", "two", "three"};
    int asked = fake_count(&x->w.fake, "GET /networks/bridge");
    int probes = fake_count(&x->w.fake, "GET /version");
    busy(x, "netless/3");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct task_config task;
        world_task(&x->w, &task, names[i], WORLD_WEB_JOB);
        world_run(&x->w, &task, &started);
        task_start_done(&started);
        task_config_done(&task);
    }
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 3);
    /* Each probe of the fingerprint asks for the version, then for the network. One probe may have
     * asked for the first only. */
    probes = fake_count(&x->w.fake, "GET /version") - probes;
    assert_in_range(fake_count(&x->w.fake, "GET /networks/bridge") - asked, 0, probes + 1);
}

static void test_start__docker_is_back_with_a_bridge__compared_again(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    world_until_count(&x->w, "GET /events", 1);
    restart_docker(x, "GET /networks/bridge status=404 body={\"message\":\"none\"}\n");
    world_until(lacks_bridge, &x->w, "a fingerprint without a bridge");
    world_until_count(&x->w, "GET /events", 2);
    /* The probe of the new dockerd gets no answer. The answer of the old one must not be used. */
    restart_docker(x, "GET /networks/bridge times=1 status=500 body=busy\n");
    world_until(may_have_bridge, &x->w, "the old answer is forgotten");
    job(x, WORLD_WEB_JOB);
    busy(x, "netless/1");
    world_run(&x->w, &x->task, &started);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
    task_start_done(&started);
}

/* The end of the first container is reported late, while the second one is created. It is not
 * the end of the task. */
static void test_start__end_of_the_failed_container__is_not_the_tasks(void **state) {
    struct world_web *x = *state;
    job_with_port(x, PORT_JOB);
    busy(x, "netless/1");
    fake_rules(&x->w.fake, "POST /containers/create skip=1 delay=300\n");
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    world_exit(&x->w, &x->task, 7);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 7);
}

/* ---- Starts that Docker refuses ---- */

static void make_other(struct world_web *x) {
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    AUTO_JSON json_t *body = json_pack("{s:s}", "Image", "busybox");
    char id[65];
    assert_int_equal(docker_container_create(docker, &call, "other", body, id, NULL), 0);
    docker_free(docker);
}

static void test_start__network_of_a_stopped_container__dockers_words(void **state) {
    struct world_web *x = *state;
    job(x, JOIN_JOB);
    make_other(x);
    fails(x, ERR_PLAIN, "cannot join network of a non running container: other", 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
}

/* Docker reports success for the start, but the container does not run. */
static void test_start__still_created__never_running(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "POST /containers/*/start status=204\n");
    fails(x, ERR_RECOVERABLE, "was not started", 0);
}

/* Docker answers 304: the container runs already. */
static void test_start__started_by_another_client__runs(void **state) {
    struct world_web *x = *state;
    start_world_conflict(x, x->task.id, true);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static const struct CMUnitTest tests[] = {
    START_WORLD_T(test_start__port_taken_once__runs_with_its_network),
    START_WORLD_T(test_start__port_stays_taken__error_names_it_and_nothing_left),
    START_WORLD_T(test_start__started_without_network_once__made_again),
    START_WORLD_T(test_start__always_without_network__error_and_nothing_left),
    START_WORLD_T(test_start__docker_has_no_bridge__runs),
    START_WORLD_T(test_start__known_to_have_no_bridge__not_asked_again),
    START_WORLD_T(test_start__docker_is_back_with_a_bridge__compared_again),
    START_WORLD_T(test_start__end_of_the_failed_container__is_not_the_tasks),
    START_WORLD_T(test_start__network_of_a_stopped_container__dockers_words),
    START_WORLD_T(test_start__still_created__never_running),
    START_WORLD_T(test_start__started_by_another_client__runs),
};
WORLD_MAIN(tests)
