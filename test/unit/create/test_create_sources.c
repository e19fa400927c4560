/* SPDX-License-Identifier: MPL-2.0 */
/* What Docker is sent for the volumes and bind mounts of a job when the caller makes the mounts:
 * the names of mount points, and for each a descriptor of the source that was checked. */
#include "unit/create/test_create.h"

#include "src/create/create_steps.h"

#define DIR "/run/x/web-a1"

struct built {
    json_t *body;
    struct create_sources sources;
    struct err err;
};

static void built_done(struct built *b) {
    json_value_done(&b->body);
    create_sources_done(&b->sources);
}
#define AUTO_BUILT __attribute__((cleanup(built_done)))

static int build(const struct input *given, struct built *b) {
    struct input in = *given;
    in.host.sources_dir = DIR;
    input_complete(&in);
    return create_build(&in.task, &in.job, &in.plugin, &in.host, &b->body, &b->sources, &b->err);
}

static void assert_builds(const struct input *in, struct built *b) {
    int r = build(in, b);
    if (r < 0)
        fail_msg("%d %s", r, b->err.text);
}

static void assert_refused(const struct input *in, int code, const char *text) {
    AUTO_BUILT struct built b = {0};
    int r = build(in, &b);
    if (r != code || !strstr(b.err.text, text))
        fail_msg("%d \"%s\", want %d \"%s\"", r, b.err.text, code, text);
    assert_int_equal(b.sources.n, 0);
}

/* @fd is the object that has the name @below_root now. */
static void assert_same(int fd, const char *below_root) {
    char path[256];
    struct stat a, b;
    snprintf(path, sizeof(path), "%s/%s", root, below_root);
    assert_int_equal(fstat(fd, &a), 0);
    assert_int_equal(lstat(path, &b), 0);
    assert_true(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

static void test_sources__of_all_kinds__sent_as_mount_points(void **state) {
    (void)state;
    make_file("a1/web/local/app.conf", "x");
    make_dir("a1/alloc/da:ta");
    make_link("../../alloc/da:ta", "a1/web/local/link");
    struct job_mount mount = {.type = "bind", .source = "secrets", .target = "/m"};
    struct input in = {.job = {.volumes = LIST("local/app.conf:/etc/app.conf:ro", "local/link:/l"),
                               .mounts = &mount,
                               .n_mounts = 1}};
    AUTO_BUILT struct built b = {0};
    assert_builds(&in, &b);
    assert_value("own", b.body, "HostConfig>Binds>1", "\"@/web/local:/local\"");
    assert_value("file", b.body, "HostConfig>Binds>4", "\"" DIR "/0-app.conf:/etc/app.conf:ro\"");
    assert_value("link", b.body, "HostConfig>Binds>5", "\"" DIR "/1-da_ta:/l\"");
    assert_value("mount", b.body, "HostConfig>Mounts>0>Source", "\"" DIR "/2-secrets\"");
    assert_int_equal(b.sources.n, 3);
    assert_string_equal(b.sources.v[0].name, "0-app.conf");
    assert_string_equal(b.sources.v[0].text, "local/app.conf:/etc/app.conf:ro");
    assert_string_equal(b.sources.v[1].name, "1-da_ta");
    assert_false(b.sources.v[0].is_dir);
    assert_true(b.sources.v[1].is_dir && b.sources.v[2].is_dir);
    assert_same(b.sources.v[0].fd, "a1/web/local/app.conf");
    assert_same(b.sources.v[1].fd, "a1/alloc/da:ta");
    assert_same(b.sources.v[2].fd, "a1/web/secrets");
}

/* The source is replaced after the check. The checked object is used. */
static void test_sources__swapped_afterwards__still_what_was_checked(void **state) {
    (void)state;
    char from[256], to[256];
    make_dir("a1/alloc/data");
    struct input in = {.job.volumes = LIST("../alloc/data:/d")};
    AUTO_BUILT struct built b = {0};
    assert_builds(&in, &b);
    snprintf(from, sizeof(from), "%s/alloc/data", alloc_dir);
    snprintf(to, sizeof(to), "%s/alloc/moved", alloc_dir);
    assert_int_equal(rename(from, to), 0);
    make_link("/etc", "a1/alloc/data");
    assert_same(b.sources.v[0].fd, "a1/alloc/moved");
}

static void test_sources__volume_missing__made_as_docker_does(void **state) {
    (void)state;
    struct stat st;
    char path[256];
    mode_t before = umask(077);
    struct input in = {.job.volumes = LIST("local/new/./data:/d")};
    AUTO_BUILT struct built b = {0};
    assert_builds(&in, &b);
    umask(before);
    assert_same(b.sources.v[0].fd, "a1/web/local/new/data");
    snprintf(path, sizeof(path), "%s/web/local/new", alloc_dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(fstat(b.sources.v[0].fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void test_sources__missing_beyond_a_link_out__refused_and_nothing_made(void **state) {
    (void)state;
    struct stat st;
    char path[256];
    make_link("new/../../../../outside", "a1/web/local/out");
    struct input in = {.job.volumes = LIST("local/out/data:/d")};
    assert_refused(&in, -EACCES, "volumes are not enabled; cannot mount host path");
    snprintf(path, sizeof(path), "%s/web/local/new", alloc_dir);
    assert_int_equal(stat(path, &st), -1);
    make_file("a1/web/local/file", "x");
    in = (struct input){.job.volumes = LIST("local/file/data:/d")};
    assert_refused(&in, -EACCES, "it cannot be followed");
}

static void test_sources__bind_mount_missing__refused_in_dockers_words(void **state) {
    (void)state;
    struct job_mount mount = {.type = "bind", .source = "local/nope", .target = "/m"};
    struct input in = {.job = {.mounts = &mount, .n_mounts = 1}};
    assert_refused(&in, -EINVAL,
                   "invalid mount config for type \"bind\": bind source path does not exist: ");
}

static void test_sources__propagation__kept_shared_when_requested(void **state) {
    (void)state;
    static const struct {
        char *volume, *propagation;
        bool shared;
    } rows[] = {
        {"local:/d", "", false},
        {"local:/d:ro", "", false},
        {"local:/d:rprivate", "", false},
        {"local:/d:rsharedx,xslave", "", false},
        {"local:/d:ro,rshared", "", true},
        {"local:/d:slave,z", "", true},
        {NULL, "rprivate", false},
        {NULL, "private", false},
        {NULL, "shared", true},
        {NULL, "rslave", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct job_mount mount = {.type = "bind", .source = "local", .target = "/m"};
        mount.propagation = rows[i].propagation;
        char *volume = rows[i].volume;
        struct input in = {.job = {.mounts = &mount, .n_mounts = volume ? 0 : 1}};
        in.job.volumes = (struct strv){.v = &volume, .n = volume ? 1 : 0};
        AUTO_BUILT struct built b = {0};
        assert_builds(&in, &b);
        if (b.sources.v[0].shared != rows[i].shared)
            fail_msg("row %zu", i);
    }
}

static void test_sources__volumes_enabled__by_name(void **state) {
    (void)state;
    struct job_mount mount = {.type = "bind", .source = "/usr", .target = "/m"};
    struct input in = {
        .job = {.volumes = LIST("/etc:/e", "local/new:/n"), .mounts = &mount, .n_mounts = 1},
        .plugin.volumes_enabled = true};
    AUTO_BUILT struct built b = {0};
    assert_builds(&in, &b);
    assert_int_equal(b.sources.n, 0);
    assert_value("volume", b.body, "HostConfig>Binds>4", "\"/etc:/e\"");
    assert_value("new", b.body, "HostConfig>Binds>5", "\"@/web/local/new:/n\"");
    assert_value("mount", b.body, "HostConfig>Mounts>0>Source", "\"/usr\"");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_alloc, teardown_alloc)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(test_sources__of_all_kinds__sent_as_mount_points),
        TEST(test_sources__swapped_afterwards__still_what_was_checked),
        TEST(test_sources__volume_missing__made_as_docker_does),
        TEST(test_sources__missing_beyond_a_link_out__refused_and_nothing_made),
        TEST(test_sources__bind_mount_missing__refused_in_dockers_words),
        TEST(test_sources__propagation__kept_shared_when_requested),
        TEST(test_sources__volumes_enabled__by_name),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
