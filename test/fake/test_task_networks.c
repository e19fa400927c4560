/* SPDX-License-Identifier: MPL-2.0 */
/* CreateNetwork and DestroyNetwork: a network is made once and found again by each later call. A
 * failed call is undone. The image is held as long as the network exists. What a Nomad client
 * expects: docs/internals/nomad-host.md, Networks. */
#include "fake/task_world.h"
#include "paddock/create.h"
#include "paddock/docker_pause.h"

#include <stdio.h>
#include <string.h>

#define CREATE "POST /containers/create"
#define PLUGIN "{\"infra_image\":\"https://pause:3\",\"infra_image_pull_timeout\":\"7m\"}"

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    world_start(w, PLUGIN, 0);
    assert_int_equal(driver_init(w->d, NULL), 0);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world_done(*state);
    free(*state);
    return 0;
}

static int create(struct world *w, const char *alloc, const char *hostname,
                  struct driver_network *ret, struct err *err) {
    struct call call = fake_call();
    return networks_create(w->d, &call, alloc, hostname, ret, err);
}

static int destroy(struct world *w, const char *alloc, const char *container_id, struct err *err) {
    struct call call = fake_call();
    return networks_destroy(w->d, &call, alloc, container_id, err);
}

static const char *label(const struct driver_network *n, const char *key) {
    const char *value = kvs_get(&n->labels, key);
    return value ? value : "";
}

static void restart(struct world *w) {
    world_driver_free(w);
    world_driver_new(w, PLUGIN);
    assert_int_equal(driver_init(w->d, NULL), 0);
}

static void test_create__hostname_too_long__nothing_is_made(void **state) {
    struct world *w = *state;
    struct driver_network n = {0};
    struct err err = {0};
    static const char host_65[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefX";
    assert_int_equal(create(w, "a1", host_65, &n, &err), -EINVAL);
    assert_non_null(strstr(err.text, "hostname of the network: \"0123456789abcdef"));
    assert_int_equal(fake_count(&w->fake, CREATE), 0);
}

/* Nomad's client reads both labels. Its network hook fills the hosts file from them. */
static void test_create__new__path_and_labels(void **state) {
    struct world *w = *state;
    struct driver_network n = {0};
    assert_int_equal(create(w, "a1", "web-1", &n, NULL), 0);
    assert_true(n.created);
    assert_string_equal(n.path, "/var/run/docker/netns/fake");
    assert_int_equal(n.labels.n, 2);
    assert_int_equal(strlen(label(&n, "docker_sandbox_container_id")), 64);
    assert_string_equal(label(&n, "docker_sandbox_hostname"), "web-1");
    networks_created_done(&n);
    assert_int_equal(create(w, "a2", "", &n, NULL), 0);
    assert_int_equal(n.labels.n, 1);
    assert_int_equal(strlen(label(&n, "docker_sandbox_container_id")), 64);
    networks_created_done(&n);
    assert_int_equal(world_containers(w), 2);
    assert_int_equal(fake_images_held(), 2);
    assert_string_equal(fake_images_wanted(),
                        "pause:3 load= below= force=0 auth=:@ soft=1 within=420");
}

/* A task of the group joins by these labels. */
static void test_create__task_of_the_group__joins(void **state) {
    struct world *w = *state;
    struct driver_network n = {0};
    struct task_config task;
    char want[128];
    assert_int_equal(create(w, "a1", "web-1", &n, NULL), 0);
    world_task(w, &task, "web", "{\"image\":\"busybox\"}");
    task.network = (struct net_isolation){
        .present = true, .mode = NET_GROUP, .path = TAKE_PTR(n.path), .labels = n.labels};
    snprintf(want, sizeof(want), "container:%s", label(&n, "docker_sandbox_container_id"));
    n.labels = (struct kvs){0};
    world_run(w, &task, NULL);
    AUTO_JSON json_t *log = fake_log(&w->fake, CREATE);
    AUTO_JSON json_t *body =
        json_loads(json_string_value(json_object_get(json_array_get(log, 1), "body")), 0, NULL);
    const json_t *mode = json_object_get(json_object_get(body, "HostConfig"), "NetworkMode");
    assert_string_equal(json_string_value(mode), want);
    task_config_done(&task);
}

static void expect_same(struct world *w, const char *id) {
    struct driver_network n = {0};
    assert_int_equal(create(w, "a1", "web-1", &n, NULL), 0);
    assert_false(n.created);
    assert_string_equal(n.path, "/var/run/docker/netns/fake");
    assert_string_equal(label(&n, "docker_sandbox_container_id"), id);
    assert_string_equal(label(&n, "docker_sandbox_hostname"), "web-1");
    assert_int_equal(fake_count(&w->fake, CREATE), 1);
    assert_int_equal(fake_images_held(), 1);
    networks_created_done(&n);
}

/* Nomad repeats CreateNetwork when its agent restarts. By then the plugin can be another
 * process, the registry can be unavailable, and the configured image can be another one. The
 * running container is not changed. */
static void test_create__again__the_same_also_after_a_restart(void **state) {
    struct world *w = *state;
    struct driver_network first = {0};
    assert_int_equal(create(w, "a1", "web-1", &first, NULL), 0);
    const char *id = label(&first, "docker_sandbox_container_id");
    fake_images_fail(-EIO); /* each later request for the image fails */
    expect_same(w, id);
    restart(w);
    assert_int_equal(fake_images_held(), 0);
    expect_same(w, id);
    expect_same(w, id);
    assert_int_equal(destroy(w, "a1", id, NULL), 0);
    assert_int_equal(world_containers(w), 0);
    assert_int_equal(fake_images_held(), 0);
    networks_created_done(&first);
    fake_images_fail(0);
}

static void test_create__fails__undone(void **state) {
    static const struct {
        const char *rules, *text;
        enum err_class cls;
    } rows[] = {
        {"POST /containers/create status=500 body={\"message\":\"disk full\"}", "disk full",
         ERR_PLAIN},
        {"POST /containers/*/start status=500 body={\"message\":\"no netns\"}", "no netns",
         ERR_PLAIN},
        {"POST /containers/*/start status=204", "does not run", ERR_PLAIN},
        {"GET /containers/nomad_init_a1/json status=500 body={\"message\":\"busy\"}", "busy",
         ERR_PLAIN},
    };
    struct world *w = *state;
    for (size_t i = 0; i <= ARRAY_LEN(rows); i++) {
        struct driver_network n = {0};
        struct err err = {0};
        bool image = i == ARRAY_LEN(rows);
        if (image)
            fake_images_fail(-EIO);
        else
            fake_rules(&w->fake, rows[i].rules);
        assert_true(create(w, "a1", "web-1", &n, &err) < 0);
        const char *text = image ? "infra image: Failed to pull `pause:3`" : rows[i].text;
        if (!strstr(err.text, text) || !strstr(err.text, "network of alloc a1") ||
            err.cls != (image ? ERR_RECOVERABLE : rows[i].cls))
            fail_msg("row %zu: class %d \"%s\"", i, err.cls, err.text);
        assert_null(n.path);
        fake_control(&w->fake, "POST", "reset", "", NULL, 0);
        assert_int_equal(world_containers(w), 0);
        assert_int_equal(fake_images_held(), 0);
    }
}

/* Nomad destroys with the spec, without it when it never got the answer, or twice. */
static void test_destroy__every_form_of_request__removed(void **state) {
    struct world *w = *state;
    for (int way = 0; way < 4; way++) {
        struct driver_network n = {0};
        assert_int_equal(create(w, "a1", "", &n, NULL), 0);
        if (way == 3)
            restart(w);
        const char *id = way % 2 ? label(&n, "docker_sandbox_container_id") : "";
        for (int times = 0; times < 2; times++) {
            struct err err = {0};
            assert_int_equal(destroy(w, "a1", way == 2 ? "0123456789abcdef" : id, &err), 0);
            assert_false(err.set);
            assert_int_equal(world_containers(w), 0);
            assert_int_equal(fake_images_held(), 0);
        }
        networks_created_done(&n);
    }
    assert_int_equal(destroy(w, "unknown", "", NULL), 0);
}

static void test_destroy__refused__reported_and_kept_for_a_retry(void **state) {
    struct world *w = *state;
    struct driver_network n = {0};
    struct err err = {0};
    assert_int_equal(create(w, "a1", "", &n, NULL), 0);
    fake_rules(&w->fake, "DELETE /containers/* status=500 body={\"message\":\"device busy\"}");
    assert_true(destroy(w, "a1", label(&n, "docker_sandbox_container_id"), &err) < 0);
    assert_non_null(strstr(err.text, "network of alloc a1"));
    assert_non_null(strstr(err.text, "device busy"));
    assert_int_equal(fake_images_held(), 1);
    fake_control(&w->fake, "POST", "reset", "", NULL, 0);
    assert_int_equal(destroy(w, "a1", label(&n, "docker_sandbox_container_id"), NULL), 0);
    assert_int_equal(world_containers(w), 0);
    assert_int_equal(fake_images_held(), 0);
    networks_created_done(&n);
}

/* With containerd's store, Docker gives the image of a container another id than the image
 * itself. */
static void test_destroy__image_of_another_name__not_held(void **state) {
    struct world *w = *state;
    struct driver_network n = {0};
    char rule[512];
    assert_int_equal(create(w, "a1", "", &n, NULL), 0);
    snprintf(rule, sizeof(rule),
             "GET /containers/nomad_init_a1/json body={\"Id\":\"%s\",\"Image\":\"sha256:other\","
             "\"State\":{\"Running\":true},\"NetworkSettings\":{\"SandboxKey\":\"/n\"}}",
             label(&n, "docker_sandbox_container_id"));
    networks_created_done(&n);
    fake_rules(&w->fake, rule);
    assert_int_equal(create(w, "a1", "", &n, NULL), 0);
    networks_created_done(&n);
    assert_int_equal(fake_images_held(), 1);
    assert_int_equal(destroy(w, "a1", "", NULL), 0);
    assert_int_equal(fake_images_held(), 0);
}

/* Docker restarts the pause container, or it dies. The reported path is no longer valid. */
static void test_create__pause_container_died__made_again(void **state) {
    struct world *w = *state;
    struct driver_network n = {0};
    char path[128], old[65];
    assert_int_equal(create(w, "a1", "", &n, NULL), 0);
    snprintf(old, sizeof(old), "%s", label(&n, "docker_sandbox_container_id"));
    networks_created_done(&n);
    snprintf(path, sizeof(path), "exit/%s?code=0", old);
    fake_control(&w->fake, "POST", path, "", NULL, 0);
    assert_int_equal(create(w, "a1", "", &n, NULL), 0);
    assert_true(n.created);
    assert_string_not_equal(label(&n, "docker_sandbox_container_id"), old);
    assert_int_equal(world_containers(w), 1);
    assert_int_equal(fake_images_held(), 1);
    networks_created_done(&n);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
    T(test_create__new__path_and_labels),
    T(test_create__hostname_too_long__nothing_is_made),
    T(test_create__task_of_the_group__joins),
    T(test_create__again__the_same_also_after_a_restart),
    T(test_create__fails__undone),
    T(test_create__pause_container_died__made_again),
    T(test_destroy__image_of_another_name__not_held),
    T(test_destroy__every_form_of_request__removed),
    T(test_destroy__refused__reported_and_kept_for_a_retry),
};
WORLD_MAIN(tests)
