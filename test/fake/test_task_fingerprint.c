/* SPDX-License-Identifier: MPL-2.0 */
/* When the driver calls Docker healthy: at the first answer, and again when Docker has come back.
 * Not after a late answer, and not when the connection is refused. Two probes never run at the same
 * time. Also: each attribute that is sent. */
#include "src/task/driver_priv.h"

#include "fake/fingerprint_world.h"
#include "paddock/buf.h"

#include <stdio.h>
#include <string.h>

#define POOL_THREADS 16 /* the most threads of the driver's pool */

struct awaited {
    struct fingerprint_world *x;
    enum driver_health health;
};

static bool has_come(void *ctx) {
    const struct awaited *a = ctx;
    struct fingerprint_world *x = a->x;
    pthread_mutex_lock(&x->lock);
    bool yes = x->n > 0 && x->all[x->n - 1].health == a->health;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

static void await(struct fingerprint_world *x, enum driver_health health, const char *what) {
    struct awaited a = {x, health};
    world_until(has_come, &a, what);
}

static unsigned count(struct fingerprint_world *x, enum driver_health health) {
    unsigned n = 0;
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < x->n; i++)
        n += x->all[i].health == health;
    pthread_mutex_unlock(&x->lock);
    return n;
}

/* The fingerprint is not requested yet. */
static int setup_quiet(void **state) {
    fingerprint_world_setup(state, WORLD_HASTY_MS);
    return 0;
}

static int setup_with(void **state, unsigned timeout_ms) {
    struct fingerprint_world *x = fingerprint_world_setup(state, timeout_ms);
    fingerprint_world_subscribe(x);
    await(x, DRIVER_HEALTHY, "the first fingerprint");
    world_until_count(&x->w, "GET /events", 1);
    return 0;
}

static int setup(void **state) {
    return setup_with(state, WORLD_HASTY_MS);
}

static int setup_patient(void **state) {
    return setup_with(state, 10000);
}

/* "key=value" of each attribute, in order. Attributes that depend on the machine or on the
 * version are left out. */
static void attributes(const struct driver_fingerprint *f, char *out, size_t size) {
    out[0] = '\0';
    for (size_t i = 0; i < f->n_attrs; i++) {
        const struct driver_attr *a = &f->attrs[i];
        size_t len = strlen(out);
        if (strstr(a->key, ".cgroup") || strstr(a->key, ".cpuset") || strstr(a->key, ".paddock."))
            continue;
        if (a->type == ATTR_STRING)
            snprintf(out + len, size - len, "%s=\"%s\"\n", a->key, a->text);
        else
            snprintf(out + len, size - len, "%s=%s%lld\n", a->key, a->type == ATTR_BOOL ? "b" : "i",
                     (long long)a->number);
    }
}

static const struct driver_attr *find_attr(const struct driver_fingerprint *f, const char *key) {
    for (size_t i = 0; i < f->n_attrs; i++)
        if (strcmp(f->attrs[i].key, key) == 0)
            return &f->attrs[i];
    return NULL;
}

#define BASE "driver.docker=b1\ndriver.docker.version=\"27.0.0-fake\"\n"
#define BRIDGE "driver.docker.bridge_ip=\"172.17.0.1\"\n"
#define INFO "driver.docker.runtimes=\"runc\"\ndriver.docker.os_type=\"linux\"\n"

static void test_fingerprint__healthy__attributes_of_the_builtin(void **state) {
    static const struct {
        const char *plugin, *rules, *want;
    } rows[] = {
        {"{}", "", BASE BRIDGE INFO},
        {"{\"allow_privileged\":true,\"pids_limit\":77,\"volumes\":{\"enabled\":true}}", "",
         BASE "driver.docker.privileged.enabled=b1\ndriver.docker.pids.limit=i77\n"
              "driver.docker.volumes.enabled=b1\n" BRIDGE INFO},
        {"{\"pids_limit\":-1}", "", BASE BRIDGE INFO},
        {"{}", "GET /networks/bridge status=404 body={\"message\":\"none\"}\n", BASE INFO},
        {"{}", "GET /networks/bridge body={\"IPAM\":{\"Config\":[]}}\n", BASE INFO},
        {"{}", "GET /networks/bridge body={\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/8\"}]}}\n",
         BASE INFO},
        {"{}",
         "GET /info body={\"OSType\":\"linux\",\"Runtimes\":{\"runc\":{},\"crun\":{},\"nvidia\":{},"
         "\"io.x\":{}}}\n",
         BASE BRIDGE "driver.docker.runtimes=\"crun,io.x,nvidia,runc\"\n"
                     "driver.docker.os_type=\"linux\"\n"},
        {"{}", "GET /info status=500 body={\"message\":\"busy\"}\n", BASE BRIDGE},
    };
    struct fingerprint_world *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fan_unsubscribe(TAKE_PTR(x->sub));
        world_driver_free(&x->w);
        fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->w.fake, rows[i].rules);
        world_driver_new(&x->w, rows[i].plugin);
        x->n = 0;
        fingerprint_world_subscribe(x);
        await(x, DRIVER_HEALTHY, "the first fingerprint");
        char text[1024];
        attributes(&x->all[0], text, sizeof(text));
        assert_string_equal(text, rows[i].want);
        assert_string_equal(x->all[0].description, "Healthy");
    }
}

static void expect_info(struct fingerprint_world *x, const char *info,
                        struct fingerprint_docker *ret) {
    fan_unsubscribe(TAKE_PTR(x->sub));
    world_driver_free(&x->w);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_rules(&x->w.fake, info);
    world_driver_new(&x->w, "{}");
    x->n = 0;
    fingerprint_world_subscribe(x);
    await(x, DRIVER_HEALTHY, "the first fingerprint");
    struct call call = fake_call();
    assert_int_equal(fingerprint_info(x->w.d->fingerprint, &call, ret, NULL), 0);
}

/* The attribute ends after a whole name. A start then cannot know which runtimes exist. */
static void test_fingerprint__more_runtimes_than_fit__cut_at_a_name(void **state) {
    struct fingerprint_world *x = *state;
    AUTO_BUF struct buf rule;
    buf_init(&rule, 65536);
    assert_int_equal(buf_puts(&rule, "GET /info body={\"OSType\":\"linux\",\"Runtimes\":{"), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(buf_printf(&rule, "%s\"r-%013d\":{}", i ? "," : "", i), 0);
    assert_int_equal(buf_puts(&rule, "}}\n"), 0);
    struct fingerprint_docker docker;
    expect_info(x, buf_text(&rule), &docker);
    const char *text = find_attr(&x->all[0], "driver.docker.runtimes")->text;
    size_t len = strlen(text);
    assert_true(len < DRIVER_ATTR_TEXT_MAX && len + 16 >= DRIVER_ATTR_TEXT_MAX);
    assert_int_equal(len % 16, 15);
    assert_string_equal(docker.runtimes, "");
}

static void test_fingerprint__userns_remap__known_to_a_start(void **state) {
    struct fingerprint_world *x = *state;
    struct fingerprint_docker docker;
    expect_info(x,
                "GET /info body={\"DockerRootDir\":\"/d/231072.431072\",\"SecurityOptions\":"
                "[\"name=userns\"]}\n",
                &docker);
    assert_true(docker.remapped);
    assert_int_equal(docker.root.uid, 231072);
    assert_int_equal(docker.root.gid, 431072);
    expect_info(x, "GET /info body={\"DockerRootDir\":\"/d\"}\n", &docker);
    assert_false(docker.remapped);
}

/* Like the built-in driver, it reports whether it keeps tasks on their cores. Another attribute
 * gives the reason. */
static void test_fingerprint__cpuset__on_or_off_and_why(void **state) {
    struct fingerprint_world *x = *state;
    for (int off = 0; off < 2; off++) {
        fan_unsubscribe(TAKE_PTR(x->sub));
        world_driver_free(&x->w);
        world_driver_new(&x->w, off ? "{\"cpuset\":{\"enabled\":false}}" : "{}");
        x->n = 0;
        fingerprint_world_subscribe(x);
        await(x, DRIVER_HEALTHY, "the first fingerprint");
        const struct driver_fingerprint *f = &x->all[0];
        assert_string_equal(find_attr(f, "driver.docker.paddock.version")->text, PADDOCK_VERSION);
        assert_true(find_attr(f, "driver.docker.cgroup")->text[0] == 'v');
        const struct driver_attr *on = find_attr(f, "driver.docker.cpuset");
        bool is_off = strcmp(on->text, "off") == 0;
        assert_true(is_off || (!off && strcmp(on->text, "on") == 0)); /* the machine decides */
        assert_int_equal(!!find_attr(f, "driver.docker.cpuset.reason"), is_off);
        const struct driver_attr *disabled =
            find_attr(f, "driver.docker.cpuset_management.disabled");
        assert_int_equal(!!disabled, is_off);
        assert_true(!disabled || (disabled->type == ATTR_BOOL && disabled->number == 1));
    }
}

static void test_fingerprint__never_connected__undetected(void **state) {
    struct fingerprint_world *x = *state;
    fake_stop(&x->w.fake);
    fingerprint_world_subscribe(x);
    await(x, DRIVER_UNDETECTED, "undetected");
    assert_int_equal(x->all[0].n_attrs, 0);
    assert_non_null(strstr(x->all[0].description, "Failed to connect to docker daemon"));
    assert_int_equal(count(x, DRIVER_HEALTHY) + count(x, DRIVER_UNHEALTHY), 0);
    fake_start_again(&x->w.fake, NULL);
}

/* However often it is requested, one probe runs and one more follows. The test repeats itself
 * when the machine stood still for as long as the probe takes. */
static void test_fingerprint__asked_for_during_a_probe__one_after_it(void **state) {
    struct fingerprint_world *x = *state;
    for (bool in_time = false; !in_time;) {
        int before = fake_count(&x->w.fake, "GET /version");
        unsigned reported = count(x, DRIVER_HEALTHY);
        uint64_t begun = clock_now_us();
        fake_rules(&x->w.fake, "GET /version times=1 delay=1500\n");
        fingerprint_docker_lost(x->w.d->fingerprint);
        world_until_count(&x->w, "GET /version", before + 1);
        for (int i = 0; i < 20; i++)
            fingerprint_docker_lost(x->w.d->fingerprint);
        in_time = clock_now_us() - begun < 1500 * US_PER_MS;
        while (count(x, DRIVER_HEALTHY) < reported + 2)
            world_until_count(&x->w, "GET /version", before + 2);
        if (in_time)
            assert_int_equal(fake_count(&x->w.fake, "GET /version"), before + 2);
    }
}

/* The node's description contains the reason, because every version of the API would be refused. */
static void test_fingerprint__docker_too_new__names_the_versions(void **state) {
    struct fingerprint_world *x = *state;
    fan_unsubscribe(TAKE_PTR(x->sub));
    world_driver_free(&x->w);
    fake_rules(&x->w.fake,
               "GET /_ping status=200 header=Api-Version:1.120 type=text/plain body=OK\n"
               "GET /version status=400 body={\"message\":\"client version 1.56 is too old. "
               "Minimum supported API version is 1.99, please upgrade your client\"}\n");
    world_driver_new(&x->w, "{}");
    x->n = 0;
    fingerprint_world_subscribe(x);
    await(x, DRIVER_UNDETECTED, "no Docker that can be used");
    assert_non_null(strstr(x->all[0].description, "paddock speaks Docker's API up to version 1."));
    assert_non_null(strstr(x->all[0].description, "Minimum supported API version is 1.99"));
}

static void test_fingerprint__one_late_answer__still_healthy(void **state) {
    struct fingerprint_world *x = *state;
    fake_rules(&x->w.fake, "GET /version times=1 hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0); /* a lost event stream causes a probe */
    world_until_count(&x->w, "GET /version", 3);           /* the late probe and the one after it */
    await(x, DRIVER_HEALTHY, "healthy again");
    assert_int_equal(count(x, DRIVER_UNHEALTHY), 0);
}

static void test_fingerprint__two_late_answers__unhealthy_and_back(void **state) {
    struct fingerprint_world *x = *state;
    fake_rules(&x->w.fake, "GET /version times=2 hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    await(x, DRIVER_UNHEALTHY, "unhealthy");
    assert_int_equal(x->all[x->n - 1].n_attrs, 0);
    assert_non_null(strstr(x->all[x->n - 1].description, "Failed to connect to docker daemon"));
    await(x, DRIVER_HEALTHY, "healthy again");
}

static void test_fingerprint__dockerd_stopped__unhealthy_immediately(void **state) {
    struct fingerprint_world *x = *state;
    uint64_t before = clock_now_us();
    fake_stop(&x->w.fake);
    await(x, DRIVER_UNHEALTHY, "unhealthy");
    assert_true(clock_now_us() - before < 5 * US_PER_SEC); /* not after the period of 30 s */
    fake_start_again(&x->w.fake, NULL);
    await(x, DRIVER_HEALTHY, "healthy again");
}

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int inside;
    bool open;
};

static void wait_at_gate(void *arg) {
    struct gate *g = arg;
    pthread_mutex_lock(&g->lock);
    g->inside++;
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    g->inside--;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static bool gate_full(void *ctx) {
    struct gate *g = ctx;
    pthread_mutex_lock(&g->lock);
    bool full = g->inside == POOL_THREADS;
    pthread_mutex_unlock(&g->lock);
    return full;
}

/* All threads of the pool wait, as with a dockerd that hangs. The probe does not wait for them. */
static void test_fingerprint__pool_is_busy__unhealthy_immediately(void **state) {
    struct fingerprint_world *x = *state;
    struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    for (int i = 0; i < POOL_THREADS; i++)
        assert_int_equal(pool_run(x->w.d->pool, wait_at_gate, &g), 0);
    world_until(gate_full, &g, "every thread of the pool waits");
    fake_stop(&x->w.fake);
    await(x, DRIVER_UNHEALTHY, "unhealthy");
    pthread_mutex_lock(&g.lock);
    g.open = true;
    pthread_cond_broadcast(&g.changed);
    while (g.inside > 0)
        pthread_cond_wait(&g.changed, &g.lock);
    pthread_mutex_unlock(&g.lock);
    fake_start_again(&x->w.fake, NULL);
    await(x, DRIVER_HEALTHY, "healthy again");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fingerprint_world_teardown)

#define QUIET(name) cmocka_unit_test_setup_teardown(name, setup_quiet, fingerprint_world_teardown)
#define PATIENT(name)                                                                              \
    cmocka_unit_test_setup_teardown(name, setup_patient, fingerprint_world_teardown)

static const struct CMUnitTest tests[] = {
    QUIET(test_fingerprint__healthy__attributes_of_the_builtin),
    QUIET(test_fingerprint__more_runtimes_than_fit__cut_at_a_name),
    QUIET(test_fingerprint__userns_remap__known_to_a_start),
    QUIET(test_fingerprint__cpuset__on_or_off_and_why),
    QUIET(test_fingerprint__never_connected__undetected),
    QUIET(test_fingerprint__docker_too_new__names_the_versions),
    PATIENT(test_fingerprint__asked_for_during_a_probe__one_after_it),
    CASE(test_fingerprint__one_late_answer__still_healthy),
    CASE(test_fingerprint__two_late_answers__unhealthy_and_back),
    CASE(test_fingerprint__dockerd_stopped__unhealthy_immediately),
    CASE(test_fingerprint__pool_is_busy__unhealthy_immediately),
};
WORLD_MAIN(tests)
