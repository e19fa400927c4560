/* SPDX-License-Identifier: MPL-2.0 */
/* One caller wants an image, and dockerd has it or not, pulls slowly, stalls, refuses, or is cut
 * off. The tests check how the image is obtained, with which credentials, and what is reported. */
#include "fake/image_world.h"
#include "src/image/image_auth.h"
#include "paddock/strv.h"
#include "unit/opens.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LOAD_OK                                                                                    \
    "POST /images/load type=application/json body={\"stream\":\"Loaded image: app:1\"}\n"

/* Checks the newest of the requests in @log. */
static void assert_last(const json_t *log, const char *key, const char *want) {
    const json_t *row = json_array_get(log, json_array_size(log) - 1);
    const char *text = json_string_value(json_object_get(row, key));
    assert_non_null(text);
    assert_string_equal(text, want);
}

/* ---- Sources of an image ---- */

static void test_images_acquire__order_of_ways(void **state) {
    static const struct {
        const char *image;
        bool present, load, force;
        int looks, loads, pulls;
        const char *query;
    } rows[] = {
        {"app:1", true, false, false, 1, 0, 0, NULL},
        {"app:1", false, false, false, 2, 0, 1, "fromImage=app&tag=1"},
        {"app:1", true, true, false, 1, 0, 0, NULL},
        {"app:1", false, true, false, 2, 1, 0, NULL},
        {"app:1", true, false, true, 1, 0, 1, "fromImage=app&tag=1"},
        {"app:1", true, true, true, 1, 1, 0, NULL},
        {"app", true, false, false, 1, 0, 1, "fromImage=app&tag=latest"},
        {"app:latest", true, false, false, 1, 0, 1, "fromImage=app&tag=latest"},
        {"app:latest", true, true, false, 1, 1, 0, NULL},
        {"r.io:5000/a/b:1", false, false, false, 2, 0, 1, "fromImage=r.io%3A5000%2Fa%2Fb&tag=1"},
        {"app@sha256:" HEX64, true, false, false, 1, 0, 0, NULL},
        {"app@sha256:" HEX64, false, false, false, 2, 0, 1, "fromImage=app%40sha256%3A" HEX64},
        {"app:1@sha256:" HEX64, false, false, false, 2, 0, 1, "fromImage=app%40sha256%3A" HEX64},
    };
    struct image_world *x = *state;
    char archive[160];
    snprintf(archive, sizeof(archive), "%s/archive", x->fake.dir);
    FILE *f = fopen(archive, "we");
    assert_non_null(f);
    assert_true(fputs("the archive", f) >= 0 && fclose(f) == 0);
    int loads = 0, pulls = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, IMAGE_PULL_OK LOAD_OK);
        if (!rows[i].present)
            fake_rules(&x->fake, IMAGE_ABSENT(1));
        char look[160];
        bool both = strncmp(rows[i].image, "app:1@", 6) == 0; /* the tag is not used */
        snprintf(look, sizeof(look), "GET /images/%s%s/json", both ? "app" : rows[i].image,
                 both ? rows[i].image + 5 : "");
        int looks_before = fake_count(&x->fake, look);
        struct image_user u;
        image_user_init(&u, x, "task", rows[i].image);
        u.want.force_pull = rows[i].force;
        u.want.load_path = rows[i].load ? archive : NULL;
        image_user_acquire(&u);
        print_message("%zu %s\n", i, rows[i].image);
        assert_string_equal(u.err.text, "");
        assert_int_equal(u.r, 0);
        assert_string_equal(u.image.id, "sha256:5ca1ab1e");
        assert_int_equal(u.downloading, rows[i].pulls);
        image_user_done(&u);
        AUTO_JSON json_t *l = fake_log(&x->fake, look), *p = fake_log(&x->fake, IMAGE_PULL),
                         *a = fake_log(&x->fake, "POST /images/load");
        int now = (int)json_array_size(l) - looks_before;
        assert_int_equal(now, rows[i].looks);
        assert_int_equal(json_array_size(p) - (size_t)pulls, rows[i].pulls);
        assert_int_equal(json_array_size(a) - (size_t)loads, rows[i].loads);
        pulls = (int)json_array_size(p);
        loads = (int)json_array_size(a);
        if (rows[i].query)
            assert_last(p, "query", rows[i].query);
        if (rows[i].loads) {
            assert_last(a, "body", "the archive");
            assert_last(a, "type", "application/x-tar");
        }
    }
    unlink(archive);
}

/* A request before the acquire uses the same sources, with as many requests. */
static void test_images_look__order_of_ways(void **state) {
    static const struct {
        const char *image, *rule;
        bool force, asked;
        int looks, pulls;
    } rows[] = {
        {"app:1", "", false, true, 1, 0},
        {"app:2", IMAGE_ABSENT(2), false, true, 3, 1},
        {"app:8", IMAGE_ABSENT(1), false, true, 2, 0}, /* another client's pull has ended */
        {"app:3", "GET /images/*/json times=1 status=500\n", false, true, 2, 0},
        {"app:4", "GET /images/*/json times=1 body={}\n", false, true, 2, 0},
        {"app:5", "GET /images/*/json times=1 drop\n", false, true, 2, 0},
        {"app:6", "", true, false, 1, 1},
        {"app", "", false, false, 1, 1},
        {"app:latest", "", false, false, 1, 1},
        {"r.io:5000/a/b:1", "", false, true, 1, 0},
        {"app:7@sha256:" HEX64, "", false, true, 1, 0},
    };
    struct image_world *x = *state;
    assert_int_equal(
        docker_system_version(x->docker, &(struct call){0}, &(struct docker_version){0}, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, IMAGE_PULL_OK);
        if (rows[i].rule[0])
            fake_rules(&x->fake, rows[i].rule);
        int pulls = fake_count(&x->fake, IMAGE_PULL);
        struct image_user u;
        image_user_init(&u, x, "task", rows[i].image);
        u.want.force_pull = rows[i].force;
        print_message("%zu %s\n", i, rows[i].image);
        u.look = images_look(x->images, &u.want);
        assert_int_equal(u.look != NULL, rows[i].asked);
        image_user_acquire(&u);
        assert_string_equal(u.err.text, "");
        assert_int_equal(u.r, 0);
        assert_string_equal(u.image.id, "sha256:5ca1ab1e");
        assert_int_equal(u.image.fetched, rows[i].pulls > 0);
        image_user_done(&u);
        char request[160];
        bool both = strncmp(rows[i].image, "app:7@", 6) == 0;
        snprintf(request, sizeof(request), "GET /images/%s%s/json", both ? "app" : rows[i].image,
                 both ? rows[i].image + 5 : "");
        int looks = fake_count(&x->fake, request);
        /* libcurl repeats a request without being asked when a kept-alive connection is lost */
        assert_true(looks == rows[i].looks || (strstr(rows[i].rule, "drop") && looks > 0));
        assert_int_equal(fake_count(&x->fake, IMAGE_PULL) - pulls, rows[i].pulls);
    }
}

static void test_images_look__bad_name__reported_by_acquire(void **state) {
    struct image_world *x = *state;
    struct image_user u;
    image_user_init(&u, x, "task", "App:1");
    u.look = images_look(x->images, &u.want);
    assert_null(u.look);
    image_user_acquire(&u);
    assert_int_equal(u.r, -EINVAL);
    image_user_done(&u);
}

static void test_images_acquire__user_of_the_image__reported(void **state) {
    struct image_world *x = *state;
    fake_rules(
        &x->fake,
        "GET /images/app:1/json body={\"Id\":\"sha256:1\",\"Config\":{\"User\":\"1000:1000\"}}");
    struct image_user u;
    image_user_init(&u, x, "task", "app:1");
    image_user_acquire(&u);
    assert_int_equal(u.r, 0);
    assert_string_equal(u.image.id, "sha256:1");
    assert_string_equal(u.image.user, "1000:1000");
    image_user_done(&u);
}

/* ---- Credentials ---- */

static void expect_auth(struct image_world *x, const char *want) {
    AUTO_JSON json_t *log = fake_log(&x->fake, IMAGE_PULL);
    assert_last(log, "auth", want);
}

static void test_images_acquire__credentials__in_the_header(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, IMAGE_PULL_OK);
    image_acquire(x, "none", "app");
    expect_auth(x, "");
    struct image_user u;
    image_user_init(&u, x, "task", "app");
    u.want.username = "u";
    u.want.password = "p";
    image_user_acquire(&u);
    assert_int_equal(u.r, 0);
    struct image_auth a = {.username = (char *)"u", .password = (char *)"p"};
    AUTO_FREE char *header = image_auth_header(&a);
    assert_non_null(header);
    expect_auth(x, header + strlen("X-Registry-Auth: "));
    image_user_done(&u);
}

static void test_images_acquire__no_credentials_from_helper__plain_or_soft(void **state) {
    struct image_world *x = *state;
    struct images_options o = x->o;
    o.auth_helper = "is-not-there";
    image_restart_with(x, o);
    fake_rules(&x->fake, IMAGE_PULL_OK);
    struct image_user u;
    image_user_init(&u, x, "task", "app");
    image_user_acquire(&u);
    assert_true(u.r < 0);
    assert_int_equal(u.err.cls, ERR_PLAIN);
    assert_non_null(strstr(u.err.text, "docker-credential-is-not-there"));
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 0);
    u.want.auth_soft_fail = true;
    err_clear(&u.err);
    image_user_acquire(&u);
    assert_int_equal(u.r, 0);
    expect_auth(x, "");
    image_user_done(&u);
}

/* ---- Errors ---- */

static void test_images_acquire__failed_pull__class_and_text(void **state) {
    static const struct {
        const char *rules;
        int r;
        enum err_class cls;
        const char *text;
    } rows[] = {
        {"POST /images/create status=404 body={\"message\":\"pull access denied for app\"}",
         -ENOENT, ERR_RECOVERABLE, "Failed to pull `app:1`: pull access denied for app"},
        {"POST /images/create status=404 body={\"message\":\"Error: image library/app:1 not "
         "found\"}",
         -ENOENT, ERR_PLAIN, "Failed to pull `app:1`: Error: image library/app:1 not found"},
        {"POST /images/create body={\"error\":\"Error: image library/app:1 not found\"}", -ENOENT,
         ERR_PLAIN, "Failed to pull `app:1`: Error: image library/app:1 not found"},
        {"POST /images/create every=1 body=" L5 "{\"error\":\"unexpected EOF\"}\\n" L5, -EIO,
         ERR_RECOVERABLE, "Failed to pull `app:1`: unexpected EOF"},
        {"POST /images/create body={\"error\":\"manifest for app:1 not found: manifest unknown\"}",
         -ENOENT, ERR_RECOVERABLE,
         "Failed to pull `app:1`: manifest for app:1 not found: manifest unknown"},
        {"POST /images/create status=500 body={\"message\":\"toomanyrequests\"}", -EIO,
         ERR_RECOVERABLE, "Failed to pull `app:1`: toomanyrequests"},
        {"POST /images/create status=401 body={\"message\":\"unauthorized\"}", -EACCES,
         ERR_RECOVERABLE, "Failed to pull `app:1`: unauthorized"},
        {"POST /images/create drop", -ENOTCONN, ERR_RECOVERABLE, "Failed to pull `app:1`: "},
        {"POST /images/create type=text/html body=<html>", -EPROTO, ERR_RECOVERABLE,
         "Failed to pull `app:1`: "},
    };
    struct image_world *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, rows[i].rules);
        fake_rules(&x->fake, IMAGE_ABSENT(1));
        struct image_user u;
        image_user_init(&u, x, "task", "app:1");
        image_user_acquire(&u);
        print_message("%s: %d %s\n", rows[i].rules, u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(strncmp(u.err.text, rows[i].text, strlen(rows[i].text)), 0);
        assert_int_equal(u.err.cls, rows[i].cls);
        assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
        image_user_done(&u);
    }
}

/* The stream ends between two lines, with the connection. That is not a successful pull. */
static void test_images_acquire__cut_off_stream__recoverable(void **state) {
    struct image_world *x = *state;
    static const char *const rules[] = {
        "POST /images/create raw close body=HTTP/1.1 200 OK\\r\\nContent-Type: "
        "application/json\\r\\n"
        "Transfer-Encoding: "
        "chunked\\r\\n\\r\\n22\\r\\n{\"status\":\"Waiting\",\"id\":\"abcdef\"}\\n\\r\\n",
        "POST /images/create raw close body=HTTP/1.1 200 OK\\r\\nContent-Type: "
        "application/json\\r\\n"
        "Content-Length: 500\\r\\n\\r\\n{\"status\":\"Waiting\",\"id\":\"abcdef\"}\\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        fake_rules(&x->fake, rules[i]);
        struct image_user u;
        image_user_init(&u, x, "task", "app");
        image_user_acquire(&u);
        assert_int_equal(u.r, -ENOTCONN);
        assert_int_equal(u.err.cls, ERR_RECOVERABLE);
        assert_int_equal(strncmp(u.err.text, "Failed to pull `app`: ", 22), 0);
        image_user_done(&u);
    }
}

static void test_images_acquire__look_fails__class_and_text(void **state) {
    static const struct {
        const char *rules;
        int r;
        const char *text;
    } rows[] = {
        {"GET /images/*/json status=500 body={\"message\":\"busy\"}", -EIO, "image app:1: busy"},
        {"GET /images/*/json body={}", -EPROTO, "image app:1: "},
        {"GET /images/*/json body={\"Id\":7}", -EPROTO, "image app:1: "},
        {"GET /images/*/json body={\"Id\":\"" HEX64 HEX64 "\"}", -EPROTO, "image app:1: "},
        {IMAGE_ABSENT(-1) IMAGE_PULL_OK, -ENOENT,
         "image app:1: No such image"}, /* pulled, and removed immediately */
    };
    struct image_world *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, rows[i].rules);
        struct image_user u;
        image_user_init(&u, x, "task", "app:1");
        image_user_acquire(&u);
        print_message("%s: %d %s\n", rows[i].rules, u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(u.err.cls, ERR_RECOVERABLE);
        assert_int_equal(strncmp(u.err.text, rows[i].text, strlen(rows[i].text)), 0);
        image_user_done(&u);
    }
    struct image_user u;
    image_user_init(&u, x, "task", "No Reference");
    image_user_acquire(&u);
    assert_int_equal(u.r, -EINVAL);
    assert_int_equal(u.err.cls, ERR_INVALID);
    assert_non_null(strstr(u.err.text, "\"No Reference\" does not match registry specification"));
    image_user_done(&u);
}

static void test_images_acquire__load_fails__plain_with_dockers_words(void **state) {
    struct image_world *x = *state;
    char file[160], absent[160], fifo[160], empty[160];
    snprintf(file, sizeof(file), "%s/archive", x->fake.dir);
    snprintf(absent, sizeof(absent), "%s/absent", x->fake.dir);
    snprintf(fifo, sizeof(fifo), "%s/fifo", x->fake.dir);
    snprintf(empty, sizeof(empty), "%s/empty", x->fake.dir);
    char command[512];
    snprintf(command, sizeof(command), "echo tar >%s && : >%s && mkfifo %s", file, empty, fifo);
    assert_int_equal(system(command), 0);
    AUTO_FD int opens = opens_watch(fifo);
    AUTO_FD int opens_empty = opens_watch(empty); /* stands for /proc/kmsg */
    const struct {
        const char *path, *rules;
        int r;
        const char *text;
    } rows[] = {
        {absent, LOAD_OK, -ENOENT, "unable to open image archive"},
        {x->fake.dir, LOAD_OK, -EINVAL, "not a regular file"},
        {fifo, LOAD_OK, -EINVAL, "not a regular file"}, /* stands for a device node */
        {empty, LOAD_OK, -ENODATA, "load: "},
        {empty, LOAD_OK, -ENODATA, "it is empty, or of a file system without stored files"},
        {"/sys/devices/system/cpu/online", LOAD_OK, -ENODATA, "without stored files"},
        {file, "POST /images/load status=500 body={\"message\":\"no space\"}", -EIO, "no space"},
        {file, "POST /images/load body={\"error\":\"invalid tar header\"}", -EIO,
         "invalid tar header"},
        {file, LOAD_OK IMAGE_ABSENT(-1), -ENOENT, "does not hold image app"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, rows[i].rules);
        struct image_user u;
        image_user_init(&u, x, "task", "app");
        u.want.load_path = rows[i].path;
        image_user_acquire(&u);
        print_message("%d %s\n", u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(u.err.cls, ERR_PLAIN);
        assert_non_null(strstr(u.err.text, rows[i].text));
        assert_non_null(strstr(u.err.text, rows[i].path));
        image_user_done(&u);
    }
    assert_false(opens_seen(opens));
    assert_false(opens_seen(opens_empty));
    unlink(empty);
    unlink(file);
    unlink(fifo);
}

/* A file outside the allocation is not loaded, whatever links lead there. */
static void test_images_acquire__load__below_its_root(void **state) {
    static const struct {
        const char *path;
        bool anywhere;
        int r;
    } rows[] = {{"alloc/in", false, 0},           {"alloc/to-in", false, 0},
                {"alloc/../out", false, -EACCES}, {"alloc/to-out", false, -EACCES},
                {"alloc/to-out", true, 0},        {"alloc/dir/../in", false, 0},
                {"alloc/none", false, -ENOENT}};
    struct image_world *x = *state;
    char command[512], root[160], path[160];
    const char *dir = x->fake.dir;
    snprintf(command, sizeof(command),
             "cd %s && mkdir -p alloc/dir && echo in >alloc/in && echo out >out && "
             "ln -s dir/../in alloc/to-in && ln -s %s/out alloc/to-out",
             dir, dir);
    assert_int_equal(system(command), 0);
    snprintf(root, sizeof(root), "%s/alloc/", dir);
    fake_rules(&x->fake, LOAD_OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_user u;
        int before = fake_count(&x->fake, "POST /images/load");
        image_user_init(&u, x, "task", "app");
        snprintf(path, sizeof(path), "%s/%s", dir, rows[i].path);
        u.want.load_path = path;
        u.want.load_root = rows[i].anywhere ? NULL : root;
        image_user_acquire(&u);
        print_message("%s: %d %s\n", rows[i].path, u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(fake_count(&x->fake, "POST /images/load") - before, u.r == 0);
        if (u.r == -EACCES)
            assert_non_null(strstr(u.err.text, "outside of the allocation's folder"));
        image_user_done(&u);
    }
    snprintf(command, sizeof(command), "rm -r %s/alloc %s/out", dir, dir);
    assert_int_equal(system(command), 0);
}

/* ---- Deadlines ---- */

static void test_images_acquire__no_activity__ended(void **state) {
    struct image_world *x = *state;
    static const char *const rules[] = {
        "POST /images/create stall every=1 body=" L5, /* one line, then silence */
        "POST /images/create hang",                   /* never a word */
        /* Docker 29 repeats its last line while it makes no progress */
        "POST /images/create every=20 body=" L25 L25 L25 L25,
    };
    image_restart_with(x, (struct images_options){.activity_timeout_us = 400 * US_PER_MS});
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        fake_rules(&x->fake, rules[i]);
        struct image_user u;
        image_user_init(&u, x, "a", "app");
        uint64_t before = clock_now_us();
        image_user_acquire(&u);
        uint64_t took = clock_now_us() - before;
        assert_int_equal(u.r, -ETIMEDOUT);
        assert_int_equal(u.err.cls, ERR_RECOVERABLE);
        assert_string_equal(u.err.text,
                            "Failed to pull `app`: no progress for pull_activity_timeout");
        assert_true(took >= 400 * US_PER_MS && took < 10 * US_PER_SEC);
        image_user_done(&u);
    }
}

#define AT(n)                                                                                      \
    "{\"status\":\"Downloading\",\"id\":\"aaa\",\"progressDetail\":{\"current\":" #n               \
    ",\"total\":99}}\\n"

static void test_images_acquire__slow_but_moving__no_activity_timeout(void **state) {
    struct image_world *x = *state;
    image_restart_with(x, (struct images_options){.activity_timeout_us = 1000 * US_PER_MS});
    fake_rules(&x->fake, "POST /images/create every=150 body=" AT(1) AT(2) AT(2) AT(3) AT(4) AT(4)
                             AT(5) AT(6) AT(7) AT(8));
    uint64_t before = clock_now_us();
    image_acquire(x, "a", "app");
    assert_true(clock_now_us() - before > 1000 * US_PER_MS);
}

static void test_images_acquire__total_deadline__ends_a_moving_pull(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, "POST /images/create every=50 body=" L25 L25 L25 L25);
    struct image_user u;
    image_user_init(&u, x, "a", "app");
    u.want.pull_timeout_us = 500 * US_PER_MS;
    uint64_t before = clock_now_us();
    image_user_acquire(&u);
    uint64_t took = clock_now_us() - before;
    assert_int_equal(u.r, -ETIMEDOUT);
    assert_true(took >= 500 * US_PER_MS && took < 4 * US_PER_SEC);
    image_user_done(&u);
    /* The pull's connection was closed, so that Docker stops the pull. Only the connection of
     * this check is open. */
    docker_free(x->docker);
    uint64_t until = clock_now_us() + IMAGE_WAIT_US;
    for (int open = 0; open != 1;) {
        char text[128];
        fake_control(&x->fake, "GET", "connections", "", text, sizeof(text));
        assert_int_equal(sscanf(text, "{\"open\":%d", &open), 1);
        image_breathe(until);
    }
    x->docker = fake_docker(&x->fake);
}

#define T(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_images_acquire__order_of_ways),
        T(test_images_look__order_of_ways),
        T(test_images_look__bad_name__reported_by_acquire),
        T(test_images_acquire__user_of_the_image__reported),
        T(test_images_acquire__credentials__in_the_header),
        T(test_images_acquire__no_credentials_from_helper__plain_or_soft),
        T(test_images_acquire__failed_pull__class_and_text),
        T(test_images_acquire__cut_off_stream__recoverable),
        T(test_images_acquire__look_fails__class_and_text),
        T(test_images_acquire__load_fails__plain_with_dockers_words),
        T(test_images_acquire__load__below_its_root),
        T(test_images_acquire__no_activity__ended),
        T(test_images_acquire__slow_but_moving__no_activity_timeout),
        T(test_images_acquire__total_deadline__ends_a_moving_pull),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
