/* SPDX-License-Identifier: MPL-2.0 */
/* The folders that Nomad gives each task, and the parts of a bind. A job may replace a folder, make
 * links and set its environment. Docker is still sent `source:target[:mode]` and no other ':'. */
#include "unit/create/test_create.h"

#include "paddock/path_below.h"
#include "src/create/create_steps.h"

static void replace(const char *below_root) {
    char path[256], away[256];
    snprintf(path, sizeof(path), "%s/%s", root, below_root);
    snprintf(away, sizeof(away), "%s/%s", root, "away");
    assert_int_equal(rename(path, away), 0);
}

/* ---- Nomad's folders ---- */

static const struct {
    const char *folder, *link_to; /* NULL: removed, "": a file in its place */
    int code;
    const char *text;
} folder_rows[] = {
    {"a1/web/local", "q:/tgt", -EACCES, "/web/local\" is not as Nomad made it: it is a symlink"},
    {"a1/web/secrets", "q:/tgt", -EACCES, "/web/secrets\" is not as Nomad made it"},
    {"a1/web/local", "/", -EACCES, "it is a symlink"},
    {"a1/web/local", "secrets", -EACCES, "it is a symlink"},
    {"a1/alloc", "web", -EACCES, "/alloc\" is not as Nomad made it: it is a symlink"},
    {"a1/alloc/logs", "../web", -EACCES, "/alloc/logs\" is not as Nomad made it: it is a symlink"},
    {"a1/web", "../outside", -EACCES, "/web/local\" is not as Nomad made it: it is a symlink"},
    {"a1/web/local", NULL, -ENOENT, "is not as Nomad made it: No such file or directory"},
    {"a1/alloc/logs", NULL, -ENOENT, "/alloc/logs\" is not as Nomad made it: No such file"},
    {"a1/web/secrets", "", -ENOTDIR, "is not as Nomad made it: Not a directory"},
    {"a1/web", "", -ENOTDIR, "is not as Nomad made it: Not a directory"},
};

static void test_own__not_a_folder_in_its_place__refused(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(folder_rows); i++) {
        struct input in = {.task.env = PAIRS({"NOMAD_TASK_DIR", "/rw"})};
        make_link("/", "a1/web/q");
        replace(folder_rows[i].folder);
        if (folder_rows[i].link_to && folder_rows[i].link_to[0])
            make_link(folder_rows[i].link_to, folder_rows[i].folder);
        else if (folder_rows[i].link_to)
            make_file(folder_rows[i].folder, "");
        input_assert_refused(&in, folder_rows[i].code, folder_rows[i].text);
        assert_int_equal(teardown_alloc(state), 0);
        assert_int_equal(setup_alloc(state), 0);
    }
}

/* The path of the client's folder may contain links, because the operator has made it. */
static void test_own__link_above_the_allocation__followed(void **state) {
    (void)state;
    char real[96];
    snprintf(real, sizeof(real), "%s/real", root);
    assert_int_equal(rename(alloc_dir, real), 0);
    make_link("real", "a1");
    AUTO_JSON json_t *body = NULL;
    struct input in = {.job.image = "x"};
    input_assert_builds(&in, &body);
    assert_value("local", body, "HostConfig>Binds>1", "\"@/web/local:/local\"");
}

static void test_own__name_of_the_task_leads_out__refused(void **state) {
    (void)state;
    make_dir("outside/local");
    make_dir("outside/secrets");
    struct input in = {.task.name = "../outside"};
    input_assert_refused(&in, -EACCES, "is not as Nomad made it");
    make_dir("local");
    in.task.name = "..";
    input_assert_refused(&in, -EACCES, "is not as Nomad made it");
}

/* ---- Environment ---- */

static void test_own__environment__absolute_targets_only(void **state) {
    (void)state;
    static const char *const names[] = {"NOMAD_ALLOC_DIR", "NOMAD_TASK_DIR", "NOMAD_SECRETS_DIR"};
    static const char *const bad[] = {"rw", "ro,z",  ".",     "..",    "x/y", "/",
                                      "//", "/x/..", "/x:ro", "/a:/b", ":",   "/x:"};
    static const struct {
        const char *value, *target;
    } good[] = {
        {"/A", "/A"}, {"/A/", "/A"}, {"/a/b", "/a/b"}, {"/a/./b/../c", "/a/c"}, {"/a b", "/a b"}};
    static const char *const paths[] = {"alloc", "web/local", "web/secrets"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
            char text[128];
            struct kv pair = {(char *)names[i], (char *)bad[k]};
            struct input in = {.task.env = {.v = &pair, .n = 1}};
            snprintf(text, sizeof(text), "env: %s: \"%s\" is no absolute path", names[i], bad[k]);
            input_assert_refused(&in, -EINVAL, text);
        }
        for (size_t k = 0; k < ARRAY_LEN(good); k++) {
            char at[32], want[128];
            struct kv pair = {(char *)names[i], (char *)good[k].value};
            struct input in = {.task.env = {.v = &pair, .n = 1}};
            AUTO_JSON json_t *body = NULL;
            input_assert_builds(&in, &body);
            snprintf(at, sizeof(at), "HostConfig>Binds>%zu", i);
            snprintf(want, sizeof(want), "\"@/%s:%s\"", paths[i], good[k].target);
            assert_value(names[i], body, at, want);
        }
    }
}

/* ---- Parts of a bind ---- */

/* No bind has more than two ':'. */
static void assert_parts(json_t *body) {
    json_t *binds = value_at(body, "HostConfig>Binds"), *bind;
    size_t i;
    json_array_foreach(binds, i, bind) {
        size_t n = 0;
        for (const char *p = json_string_value(bind); *p; p++)
            n += *p == ':';
        if (n > 2)
            fail_msg("Docker reads %s as more than three parts", json_string_value(bind));
    }
}

static void test_binds__colon_by_a_link__refused_by_name(void **state) {
    (void)state;
    make_link("p:/host", "a1/alloc/x");
    make_link("/", "a1/alloc/p");
    make_dir("a1/alloc/d:");
    make_link("d:", "a1/alloc/dir");
    struct input in = {.job.volumes = LIST("../alloc/x:rw")};
    input_assert_refused(&in, -EINVAL, "volumes \"../alloc/x:rw\": the source \"");
    input_assert_refused(&in, -EINVAL, "/alloc/p:/host\" contains \":\"");
    in = (struct input){.job.volumes = LIST("../alloc/dir:/d")};
    input_assert_refused(&in, -EINVAL, "/alloc/d:\" contains \":\"");
}

/* Docker does not split the texts of HostConfig.Mounts. */
static void test_mounts__colon__sent_unchanged(void **state) {
    (void)state;
    make_dir("a1/alloc/d:");
    struct job_mount mount = {.type = "bind", .source = "../alloc/d:", .target = "/t:ro"};
    struct input in = {.job = {.mounts = &mount, .n_mounts = 1}};
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    assert_value("source", body, "HostConfig>Mounts>0>Source", "\"@/alloc/d:\"");
    assert_value("target", body, "HostConfig>Mounts>0>Target", "\"/t:ro\"");
}

static void test_binds__any_volume__three_parts_at_most(void **state) {
    (void)state;
    static char *const texts[] = {"a:/b",    "a:/b:ro",  "a:/b:ro:/c:rw", "a::/b",  ":/b",
                                  "a:/b:",   "a:ro",     "a:rw:z",        "::::::", "a:b:c:d",
                                  "a:/b:/c", ".:/x:z,Z", "..:/all",       "a:",     ":"};
    for (unsigned how = 0; how < 4; how++)
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
            char *text = texts[i];
            struct input in = {.job.volumes = {.v = &text, .n = 1}};
            in.plugin.volumes_enabled = how & 1;
            in.plugin.volumes_selinuxlabel = how & 2 ? "z" : NULL;
            AUTO_JSON json_t *body = NULL;
            input_assert_builds(&in, &body);
            assert_parts(body);
        }
}

/* Nomad allows ':' in the name of a task. Docker refuses it in the name of a container. */
static void test_own__colon_in_the_name_of_the_task__refused(void **state) {
    (void)state;
    make_dir("a1/q:");
    make_dir("a1/q:/local");
    make_dir("a1/q:/secrets");
    struct input in = {.task.name = "q:"};
    input_assert_refused(&in, -EINVAL, "/q:/local\" contains \":\"");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_alloc, teardown_alloc)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(test_own__not_a_folder_in_its_place__refused),
        TEST(test_own__link_above_the_allocation__followed),
        TEST(test_own__name_of_the_task_leads_out__refused),
        TEST(test_own__environment__absolute_targets_only),
        TEST(test_binds__colon_by_a_link__refused_by_name),
        TEST(test_mounts__colon__sent_unchanged),
        TEST(test_binds__any_volume__three_parts_at_most),
        TEST(test_own__colon_in_the_name_of_the_task__refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
