/* When the driver calls Docker healthy: at the first answer, not after one that is late, not when
 * the connection is refused; and again when it is back. */
#include "fake/task_world.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    struct world w;
    struct driver_sub *sub;
    pthread_mutex_t lock;
    struct driver_fingerprint all[64];
    size_t n;
    enum driver_health awaited;
};

static void on_fingerprint(void *ctx, const struct driver_fingerprint *f) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    if (x->n < ARRAY_LEN(x->all))
        x->all[x->n++] = *f;
    pthread_mutex_unlock(&x->lock);
}

static bool has_come(void *ctx) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    bool yes = x->n > 0 && x->all[x->n - 1].health == x->awaited;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

static void await(struct fixture *x, enum driver_health health, const char *what) {
    x->awaited = health;
    world_until(has_come, x, what);
}

static unsigned count(struct fixture *x, enum driver_health health) {
    unsigned n = 0;
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < x->n; i++)
        n += x->all[i].health == health;
    pthread_mutex_unlock(&x->lock);
    return n;
}

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    struct err err = {0};
    assert_non_null(x);
    pthread_mutex_init(&x->lock, NULL);
    world_start(&x->w, "{\"allow_privileged\":true,\"pids_limit\":77}", 200);
    assert_int_equal(driver_fingerprint(x->w.d, on_fingerprint, x, &x->sub, &err), 0);
    await(x, DRIVER_HEALTHY, "the first fingerprint");
    world_until_count(&x->w, "GET /events", 1);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    driver_unsubscribe(x->sub);
    world_done(&x->w);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return 0;
}

static const struct driver_attr *find_attr(const struct driver_fingerprint *f, const char *key) {
    for (size_t i = 0; i < f->n_attrs; i++)
        if (strstr(f->attrs[i].key, key))
            return &f->attrs[i];
    fail_msg("there is no attribute %s", key);
    return NULL;
}

static void test_fingerprint__healthy__attributes_of_the_builtin(void **state) {
    struct fixture *x = *state;
    const struct driver_fingerprint *f = &x->all[0];
    assert_string_equal(f->description, "Healthy");
    assert_memory_equal(f->attrs[0].key, "driver.", 7);
    assert_int_equal(f->attrs[0].number, 1);
    assert_true(find_attr(f, ".version")->text[0] != '\0');
    assert_int_equal(find_attr(f, ".privileged.enabled")->number, 1);
    assert_int_equal(find_attr(f, ".pids.limit")->number, 77);
    assert_true(find_attr(f, ".os_type")->text[0] != '\0');
    assert_true(find_attr(f, ".cgroup")->text[0] == 'v');
    assert_true(find_attr(f, ".cpuset")->text[0] == 'o'); /* on or off, by the machine */
}

static void test_fingerprint__one_late_answer__still_healthy(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /version times=1 hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0); /* a lost event stream asks for a look */
    world_until_count(&x->w, "GET /version", 3);           /* the late one and the one after it */
    await(x, DRIVER_HEALTHY, "healthy again");
    assert_int_equal(count(x, DRIVER_UNHEALTHY), 0);
}

static void test_fingerprint__two_late_answers__unhealthy_and_back(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /version times=2 hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    await(x, DRIVER_UNHEALTHY, "unhealthy");
    assert_int_equal(x->all[x->n - 1].n_attrs, 0);
    assert_non_null(strstr(x->all[x->n - 1].description, "Failed to connect to docker daemon"));
    await(x, DRIVER_HEALTHY, "healthy again");
}

static void test_fingerprint__dockerd_gone__unhealthy_at_once(void **state) {
    struct fixture *x = *state;
    uint64_t before = clock_now_us();
    fake_stop(&x->w.fake);
    await(x, DRIVER_UNHEALTHY, "unhealthy");
    assert_true(clock_now_us() - before < 5 * US_PER_SEC); /* not by the 30 s period */
    fake_start_again(&x->w.fake, NULL);
    await(x, DRIVER_HEALTHY, "healthy again");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
    CASE(test_fingerprint__healthy__attributes_of_the_builtin),
    CASE(test_fingerprint__one_late_answer__still_healthy),
    CASE(test_fingerprint__two_late_answers__unhealthy_and_back),
    CASE(test_fingerprint__dockerd_gone__unhealthy_at_once),
};
WORLD_MAIN(tests)
