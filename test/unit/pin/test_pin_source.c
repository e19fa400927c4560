/* SPDX-License-Identifier: MPL-2.0 */
/* Which cgroup of Nomad the reconciler follows for a task, and where it finds the container's
 * cgroup: client versions, removed sources, both cgroup drivers of Docker, folders inside. */
#include "unit/pin/pin_world.h"

#include <sys/syscall.h>
#include <unistd.h>

/* After an upgrade of the client the old scopes still exist, but Nomad no longer writes them. */
static void test_pin__upgraded_client__its_slices_are_followed(void **state) {
    char path[512];
    struct tree_task *x[2];
    (void)state;
    x[0] = tree_add(&tree, "", "1-3");
    x[1] = tree_add(&tree, "1", "1-3");
    for (size_t i = 0; i < ARRAY_LEN(x); i++) {
        snprintf(x[i]->source, sizeof(x[i]->source), "nomad.slice/old%zu.web.scope", i);
        snprintf(path, sizeof(path), "%s/cpuset.cpus", x[i]->source);
        tree_put(&tree, path, "1-3\n");
    }
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(x[0], "2-3");
    pin_world_assert_set(x[1], "1");
    tree_share(&tree, "2", "1,3"); /* core 3 is reserved through another driver */
    pin_world_assert_set(x[0], "2");
}

static void test_pin__reserve_slice_without_cores__held(void **state) {
    char now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "1", "1-3");
    x->reserved[0] = '\0';
    pin_world_start(20 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "held"));
    assert_true(tree_wait_task(pin, 0, "why", "no-cores"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "1-3");
}

static void test_pin__effective_opened_later__followed(void **state) {
    char path[512];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->source);
    assert_int_equal(unlinkat(tree.root_fd, path, 0), 0);
    pin_world_start(20 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "unmanaged"));
    tree_put(&tree, path, "1-3");
    pin_world_assert_set(x, "1-3");
    assert_true(pin_world_wait_state(0, "pinned"));
}

static void test_pin__source_unreadable__held(void **state) {
    char command[512];
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    pin_world_start(50 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "pinned"));
    /* Files in a temporary folder never fail with ENODEV. An invalid text has the same effect. */
    snprintf(command, sizeof(command), "%s/cpuset.cpus.effective", shared->source);
    tree_put(&tree, command, "x");
    assert_true(pin_world_wait_state(0, "held"));
    tree_put(&tree, tree_cpus(shared), "0-3");
    pin_world_assert_set(shared, "1-3"); /* not wider than the last good set */
    assert_true(tree_wait_event(&tree, "source-gone"));
}

static void test_pin__old_client__its_file_is_followed(void **state) {
    char path[512];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(x->source, sizeof(x->source), "old.slice/old.web.scope");
    snprintf(path, sizeof(path), "%s/cpuset.cpus", x->source);
    tree_put(&tree, path, "1-2\n");
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(x, "1-2");
    tree_put(&tree, path, "2\n");
    pin_world_assert_set(x, "2");
}

/* systemd took the controller from the slice and gave it back. The files are blank afterwards. */
static void test_pin__old_client__blank_scope_held(void **state) {
    char path[512], effective[512], now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(x->source, sizeof(x->source), "old.slice/old.web.scope");
    snprintf(path, sizeof(path), "%s/cpuset.cpus", x->source);
    snprintf(effective, sizeof(effective), "%s/cpuset.cpus.effective", x->source);
    tree_put(&tree, effective, "0-3\n");
    tree_put(&tree, path, "1-2\n");
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(x, "1-2");
    tree_put(&tree, path, "\n");
    assert_true(pin_world_wait_state(0, "held"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "1-2");
    tree_put(&tree, path, "2\n");
    pin_world_assert_set(x, "2");
}

static void test_pin__no_source__unmanaged_and_untouched(void **state) {
    char now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    x->source[0] = '\0';
    pin_world_start(50 * US_PER_MS);
    assert_true(tree_wait_event(
        &tree, "cpuset not managed: no cgroup of Nomad's to follow [unmanaged, 0-3 > 0-3, "));
    assert_true(pin_world_wait_state(0, "unmanaged"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "0-3");
}

static void test_pin__systemd_inside__its_own_folder_is_found(void **state) {
    char path[600], text[600];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(path, sizeof(path), "%s/init.scope/cgroup.procs", x->cgroup);
    snprintf(text, sizeof(text), "%d\n", (int)x->pid);
    tree_put(&tree, path, text);
    snprintf(path, sizeof(path), "../proc/%d/cgroup", (int)x->pid);
    snprintf(text, sizeof(text), "0::/%s/init.scope\n", x->cgroup);
    tree_put(&tree, path, text);
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(x, "1-3");
}

/* crun makes a folder "container" below the scope, which has the set of the create request. */
static void test_pin__inner_folder_with_a_text__follows(void **state) {
    char path[600], text[600], inner[600];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "2-3");
    snprintf(path, sizeof(path), "%s/container/cgroup.procs", x->cgroup);
    snprintf(text, sizeof(text), "%d\n", (int)x->pid);
    tree_put(&tree, path, text);
    snprintf(path, sizeof(path), "../proc/%d/cgroup", (int)x->pid);
    snprintf(text, sizeof(text), "0::/%s/container\n", x->cgroup);
    tree_put(&tree, path, text);
    snprintf(inner, sizeof(inner), "%s/container/cpuset.cpus", x->cgroup);
    tree_put(&tree, inner, "2-3\n");
    pin_world_start(50 * US_PER_MS);
    pin_world_assert_set(x, "1-3");
    assert_true(tree_wait(&tree, inner, "1-3"));
    tree_share(&tree, "3", "1-2");
    assert_true(tree_wait(&tree, inner, "3"));
    pin_world_assert_set(x, "3");
    tree_put(&tree, inner, "1"); /* repaired at the tick */
    assert_true(tree_wait(&tree, inner, "3"));
}

static void test_pin__any_parent_and_both_cgroup_drivers__found(void **state) {
    static const char *const folders[] = {"my.slice/my-own.slice/docker-%s.scope", "docker/%s",
                                          "my-parent/below/%s"};
    struct tree_task *x[ARRAY_LEN(folders)];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        char folder[256];
        x[i] = tree_add(&tree, "", "0-3");
        const char *at = strstr(folders[i], "%s");
        snprintf(folder, sizeof(folder), "%.*s%s%s", (int)(at - folders[i]), folders[i], x[i]->id,
                 at + 2);
        memcpy(x[i]->cgroup, folder, sizeof(folder));
        tree_put_container(&tree, x[i], "0-3");
    }
    pin_world_start(PIN_WORLD_HOUR);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        pin_world_assert_set(x[i], "1-3");
        assert_true(tree_wait_task(pin, i, "cgroup", x[i]->cgroup));
    }
}

static void test_pin__process_is_elsewhere__untouched(void **state) {
    char path[600], now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(path, sizeof(path), "%s/cgroup.procs", x->cgroup);
    tree_put(&tree, path, "1\n");
    pin_world_start(20 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "unmanaged"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "0-3");
}

static void test_pin__no_controller__reason_reported(void **state) {
    struct pin_options o = tree_options(&tree);
    (void)state;
    tree_put(&tree, "cgroup.controllers", "cpu io\n");
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_non_null(strstr(pin_disabled_reason(pin), "controller"));
    pin_wake(pin);
    json_t *doc = pin_show_status(pin);
    assert_non_null(doc);
    json_decref(doc);
}

/* The agent is not root. Its tasks run, and the reconciler does not try to write. */
static void test_pin__no_right_to_write__reason_reported(void **state) {
    struct pin_options o = tree_options(&tree);
    (void)state;
    tree_put(&tree, "cgroup.procs", "");
    if (geteuid() != 0)
        fail_msg("needs root, because it changes to another user");
    /* The system call changes the user of this thread alone. */
    assert_int_equal(syscall(SYS_setresuid, -1, 65534, -1), 0);
    int r = pin_new(&o, &pin);
    assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
    assert_int_equal(r, 0);
    assert_string_equal(pin_disabled_reason(pin), "this user may not write cgroup files");
}

static void test_wanted_now__each_layout(void **state) {
    struct cpuset s;
    char source[512], text[CPUSET_TEXT_MAX];
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "0-3");
    struct tree_task *cores = tree_add(&tree, "1", "0-3");
    tree_share(&tree, "1-3", "1"); /* the client has not shrunk the pool yet */
    snprintf(source, sizeof(source), "%s/%s", tree.root, shared->source);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 3);
    assert_string_equal(text, "2-3");
    snprintf(source, sizeof(source), "%s/%s", tree.root, cores->source);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "1", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 1);
    assert_string_equal(text, "1");
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, "", "", &s), -ENOENT);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, "", "2", &s), 0);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, "/elsewhere/x", "", &s),
                     -ENOENT);
    snprintf(source, sizeof(source), "%s/nomad.slice/share.slice/none.scope", tree.root);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 5);
    assert_string_equal(text, "0,2-3"); /* no source file: all CPUs except the reserved core */
    tree_share(&tree, "1-3", "\n");
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), -ENOENT);
    tree_share(&tree, "\n", "1-3");
    snprintf(source, sizeof(source), "%s/%s", tree.root, shared->source);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 1);
    assert_string_equal(text, "0");
    tree_share(&tree, "\n", "0-3");
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), -ENODATA);
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        PIN_WORLD_TEST(test_pin__upgraded_client__its_slices_are_followed),
        PIN_WORLD_TEST(test_pin__reserve_slice_without_cores__held),
        PIN_WORLD_TEST(test_pin__effective_opened_later__followed),
        PIN_WORLD_TEST(test_pin__source_unreadable__held),
        PIN_WORLD_TEST(test_pin__old_client__its_file_is_followed),
        PIN_WORLD_TEST(test_pin__old_client__blank_scope_held),
        PIN_WORLD_TEST(test_pin__no_source__unmanaged_and_untouched),
        PIN_WORLD_TEST(test_pin__systemd_inside__its_own_folder_is_found),
        PIN_WORLD_TEST(test_pin__inner_folder_with_a_text__follows),
        PIN_WORLD_TEST(test_pin__any_parent_and_both_cgroup_drivers__found),
        PIN_WORLD_TEST(test_pin__process_is_elsewhere__untouched),
        PIN_WORLD_TEST(test_pin__no_controller__reason_reported),
        PIN_WORLD_TEST(test_pin__no_right_to_write__reason_reported),
        PIN_WORLD_TEST(test_wanted_now__each_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
