/* SPDX-License-Identifier: MPL-2.0 */
/* Files that the create request reads: seccomp profiles, and paths below an allocation whose
 * folders a task has replaced by links. */
#include "unit/create/test_create.h"

#include <sys/resource.h>

/* ---- Seccomp profiles ---- */

static void test_seccomp__below_the_task__inlined(void **state) {
    (void)state;
    make_file("a1/web/local/p.json",
              "{\n \"defaultAction\": \"SCMP ACT\\\" :\\\\\", \"v\":\t18446744073709551615 }\n");
    AUTO_JSON json_t *body = NULL;
    struct input in = {.job.security_opt = LIST("seccomp=local/p.json", "seccomp:local/p.json")};
    input_assert_builds(&in, &body);
    const char *want =
        "seccomp={\"defaultAction\":\"SCMP ACT\\\" :\\\\\",\"v\":18446744073709551615}";
    for (size_t i = 0; i < 2; i++) {
        json_t *option = json_array_get(value_at(body, "HostConfig>SecurityOpt"), i);
        assert_string_equal(json_string_value(option), want);
    }
}

static void test_seccomp__absolute_below_the_allocation__inlined(void **state) {
    (void)state;
    char option[256];
    make_file("a1/alloc/p.json", "{}");
    snprintf(option, sizeof(option), "seccomp=%s/alloc/p.json", alloc_dir);
    AUTO_JSON json_t *body = NULL;
    struct input in = {.job.security_opt = LIST(option)};
    input_assert_builds(&in, &body);
    assert_value("seccomp", body, "HostConfig>SecurityOpt", "[\"seccomp={}\"]");
}

static void test_seccomp__what_the_task_may_not_read__refused(void **state) {
    (void)state;
    make_file("outside/p.json", "{}");
    make_link("../../../outside/p.json", "a1/web/local/link.json");
    char option[256];
    snprintf(option, sizeof(option), "seccomp=%s/web/local/link.json", alloc_dir);
    struct input in = {.job.security_opt = LIST(option)};
    input_assert_refused(&in, -EACCES, "outside of the allocation's folder");
    in.plugin.volumes_enabled = true;
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    in = (struct input){.job.security_opt = LIST("seccomp=local/link.json")};
    input_assert_refused(&in, -EACCES, "outside of the allocation's folder");
    in = (struct input){.job.security_opt = LIST("seccomp=../../outside/p.json")};
    input_assert_refused(&in, -EACCES, "outside of the allocation's folder");
}

static void test_seccomp__profile_of_the_host__inlined(void **state) {
    (void)state;
    make_file("outside/p.json", "{ \"a\": 1 }");
    char option[256];
    snprintf(option, sizeof(option), "seccomp=%s/outside/p.json", root);
    AUTO_JSON json_t *body = NULL;
    struct input in = {.job.security_opt = LIST(option, "seccomp=builtin", "seccomp:builtin")};
    input_assert_builds(&in, &body);
    assert_value("seccomp", body, "HostConfig>SecurityOpt",
                 "[\"seccomp={\\\"a\\\":1}\",\"seccomp=builtin\",\"seccomp:builtin\"]");
}

/* Only a regular file is opened. At most 1 MiB is read. No error quotes its content. */
static void test_seccomp__file_of_the_host_that_is_no_profile__refused(void **state) {
    (void)state;
    struct input in = {.job.security_opt = LIST("seccomp=/dev/zero")};
    input_assert_refused(&in, -EINVAL, "opening seccomp profile (/dev/zero) failed");
    in = (struct input){.job.security_opt = LIST("seccomp=/dev/kmsg")};
    input_assert_refused(&in, -EINVAL, "opening seccomp profile (/dev/kmsg) failed");
    AUTO_FREE char *big = calloc(1, (1u << 20) + 2);
    memset(big, ' ', (1u << 20) + 1);
    make_file("outside/big.json", big);
    make_file("outside/secret", "password\n");
    char option[2][256];
    snprintf(option[0], sizeof(option[0]), "seccomp=%s/outside/big.json", root);
    snprintf(option[1], sizeof(option[1]), "seccomp=%s/outside/secret", root);
    in = (struct input){.job.security_opt = LIST(option[0])};
    input_assert_refused(&in, -EFBIG, "outside/big.json) failed: File too large");
    in = (struct input){.job.security_opt = LIST(option[1])};
    AUTO_JSON json_t *body = NULL;
    struct err err = {0};
    assert_int_equal(input_build(&in, &body, &err), -EINVAL);
    assert_null(strstr(err.text, "password"));
    assert_non_null(strstr(err.text, "outside/secret) failed: it is no JSON"));
}

/* A file of procfs is regular and has the size 0. A read of some of them consumes their content. */
static void test_seccomp__file_without_content__not_opened(void **state) {
    (void)state;
    struct input in = {.job.security_opt = LIST("seccomp=/proc/self/status")};
    input_assert_refused(&in, -EINVAL,
                         "opening seccomp profile (/proc/self/status) failed: it is empty");
    make_file("a1/web/local/empty.json", "");
    in = (struct input){.job.security_opt = LIST("seccomp=local/empty.json")};
    input_assert_refused(&in, -EINVAL, "(local/empty.json) failed: it is empty");
    make_link("/proc/self/status", "a1/web/local/status.json");
    in = (struct input){.job.security_opt = LIST("seccomp=local/status.json"),
                        .plugin.volumes_enabled = true};
    input_assert_refused(&in, -EINVAL, "(local/status.json) failed: it is empty");
}

static void test_seccomp__bad_file__named(void **state) {
    (void)state;
    make_file("a1/web/local/bad.json", "{\n\"a\": }");
    struct input in = {.job.security_opt = LIST("seccomp=local/bad.json")};
    input_assert_refused(&in, -EINVAL,
                         "compacting json for seccomp profile (local/bad.json) failed: line 2");
    in = (struct input){.job.security_opt = LIST("seccomp=nope.json")};
    input_assert_refused(&in, -ENOENT, "opening seccomp profile (nope.json) failed: No such file");
    in = (struct input){.job.security_opt = LIST("seccomp=local")};
    input_assert_refused(&in, -EINVAL, "opening seccomp profile (local) failed");
}

/* ---- Links that a task has made ---- */

static void test_volumes__link_out__refused(void **state) {
    (void)state;
    make_link("/", "a1/web/local/host");
    struct input in = {.job.volumes = LIST("local/host/etc:/e")};
    input_assert_refused(&in, -EACCES,
                         "volumes are not enabled; cannot mount host path: \"local/host/etc:/e\"");
    struct job_mount mount = {.type = "bind", .source = "local/host", .target = "/h"};
    in = (struct input){.job = {.mounts = &mount, .n_mounts = 1}};
    input_assert_refused(&in, -EACCES, "volumes are not enabled; cannot mount host path");
}

static void test_volumes__link_inside__sent_without_the_link(void **state) {
    (void)state;
    make_link("../../alloc", "a1/web/local/a");
    AUTO_JSON json_t *body = NULL;
    struct input in = {.job.volumes = LIST("local/a/data:/d")};
    input_assert_builds(&in, &body);
    assert_value("volume", body, "HostConfig>Binds>4", "\"@/alloc/data:/d\"");
}

/* A source may be an absolute path. The place where it leads is checked. */
static void test_volumes__absolute_below_the_allocation__accepted(void **state) {
    (void)state;
    char volume[256];
    snprintf(volume, sizeof(volume), "%s/alloc/data:/d", alloc_dir);
    struct job_mount mount = {.type = "bind", .target = "/m"};
    char source[256];
    snprintf(source, sizeof(source), "%s/web/local", alloc_dir);
    mount.source = source;
    struct input in = {.job = {.volumes = LIST(volume), .mounts = &mount, .n_mounts = 1}};
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    assert_value("volume", body, "HostConfig>Binds>4", "\"@/alloc/data:/d\"");
    assert_value("mount", body, "HostConfig>Mounts>0>Source", "\"@/web/local\"");
}

/* One more descriptor is free in each round. A check for which none is left reports this reason. */
static void test_build__out_of_fds__recoverable(void **state) {
    (void)state;
    struct job_mount mount = {.type = "bind", .source = "local", .target = "/m"};
    struct input in = {.job = {.volumes = LIST("local:/d"), .mounts = &mount, .n_mounts = 1}};
    struct rlimit before, low;
    int free_fd = dup(0), failures = 0, r;
    assert_true(free_fd >= 0);
    close(free_fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)free_fd;
    do {
        AUTO_JSON json_t *body = NULL;
        struct err err = {0};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        r = input_build(&in, &body, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        low.rlim_cur++;
        failures += r < 0;
        if (r < 0 && (r != -EMFILE || err.cls != ERR_RECOVERABLE ||
                      !strstr(err.text, "cannot be looked at: ")))
            fail_msg("%d %d \"%s\"", r, err.cls, err.text);
    } while (r < 0);
    assert_true(failures > 0);
}

static void test_build__relative_alloc_dir__refused(void **state) {
    (void)state;
    struct task_config task = {.alloc_dir = "a1", .name = "web", .resources.present = true};
    struct job_config job = {.image = "x"};
    struct plugin_config plugin = {0};
    struct create_host host = {0};
    struct err err = {0};
    AUTO_JSON json_t *body = NULL;
    struct create_sources sources = {0};
    assert_int_equal(create_build(&task, &job, &plugin, &host, &body, &sources, &err), -EINVAL);
    assert_non_null(strstr(err.text, "no absolute path"));
}

int main(int argc, char **argv) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_alloc, teardown_alloc)
    const struct CMUnitTest tests[] = {
        TEST(test_seccomp__below_the_task__inlined),
        TEST(test_seccomp__absolute_below_the_allocation__inlined),
        TEST(test_seccomp__what_the_task_may_not_read__refused),
        TEST(test_seccomp__profile_of_the_host__inlined),
        TEST(test_seccomp__file_of_the_host_that_is_no_profile__refused),
        TEST(test_seccomp__file_without_content__not_opened),
        TEST(test_seccomp__bad_file__named),
        TEST(test_volumes__link_out__refused),
        TEST(test_volumes__link_inside__sent_without_the_link),
        TEST(test_volumes__absolute_below_the_allocation__accepted),
        TEST(test_build__out_of_fds__recoverable),
        TEST(test_build__relative_alloc_dir__refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
