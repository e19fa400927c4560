/* SPDX-License-Identifier: MPL-2.0 */
/* Which credentials are sent for an image: the order of the sources, the forms of config.json, and
 * the header. */
#include "paddock/docker.h"
#include "unit/image/auth_world.h"
#include "unit/opens.h"

#define HUB_KEY "https://index.docker.io/v1/"

/* Looks @registry up in a config.json with the text @config, and compares. @user and @token are
 * NULL when no credentials may be found. */
static void expect_config(const struct auth_world *x, const char *config, const char *registry,
                          const char *user, const char *password, const char *token) {
    char path[160];
    auth_world_write(x, "config.json", config, 0600);
    auth_world_path(x, "config.json", path);
    struct image_auth_sources s = {.config = path};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    struct err err = {0};
    print_message("%s: %s\n", registry, config);
    int r = auth_world_lookup(&s, registry, &a, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(r, user || token ? 1 : 0);
    if (user)
        assert_string_equal(a.username, user);
    else
        assert_null(a.username);
    if (password)
        assert_string_equal(a.password, password);
    else
        assert_null(a.password);
    if (token)
        assert_string_equal(a.identity_token, token);
    else
        assert_null(a.identity_token);
}

/* `base64` breaks its lines after 76 characters, and users paste its output unchanged. */
static void test_image_auth_lookup__base64_with_line_breaks__read(void **state) {
    expect_config(*state, "{\"auths\":{\"r:5000\":{\"auth\":\"dTpz\\nZWNyZX\\r\\nQ=\\n\"}}}",
                  "r:5000", "u", "secret", NULL);
}

/* Docker 29 drops credentials of another host, and the pull would be anonymous. */
static void test_image_auth_lookup__server_address__only_when_it_is_the_images(void **state) {
    (void)state;
    static const struct {
        const char *registry, *address, *want;
    } rows[] = {
        {"r.example:5000", "r.example:5000", "r.example:5000"},
        {"r.example:5000", "https://R.example:5000/v2/", "https://R.example:5000/v2/"},
        {"r.example:5000", "r.example", NULL},
        {"r.example", "other.example", NULL},
        {"r.example", "r.example.org", NULL},
        {"r.example", "docker.io", NULL},
        {"r.example", "", NULL},
        {"docker.io", "docker.io", "docker.io"},
        {"docker.io", "https://index.docker.io/v1/", "https://index.docker.io/v1/"},
        {"docker.io", "registry-1.docker.io", "registry-1.docker.io"},
        {"docker.io", "r.example", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_auth_sources s = {
            .username = "u", .password = "p", .server_address = rows[i].address};
        AUTO_IMAGE_AUTH struct image_auth a = {0};
        assert_int_equal(auth_world_lookup(&s, rows[i].registry, &a, NULL), 1);
        assert_string_equal(a.username, "u");
        print_message("%s of %s\n", rows[i].address, rows[i].registry);
        if (rows[i].want)
            assert_string_equal(a.server_address, rows[i].want);
        else
            assert_null(a.server_address);
    }
}

/* ---- X-Registry-Auth ---- */

static unsigned digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = strchr(digits, c);
    assert_true(at && c);
    return (unsigned)(at - digits);
}

static void test_image_auth_header__fields__base64url_of_their_json(void **state) {
    (void)state;
    static const struct {
        struct image_auth a;
        const char *json;
    } rows[] = {
        {{.username = (char *)"u", .password = (char *)"p"},
         "{\"username\":\"u\",\"password\":\"p\"}"},
        {{.username = (char *)"u\"?>\xc3\xa4", .password = (char *)"~~~???:/"},
         "{\"username\":\"u\\\"?>\xc3\xa4\",\"password\":\"~~~???:/\"}"},
        {{.identity_token = (char *)"t", .server_address = (char *)"r:5000"},
         "{\"identitytoken\":\"t\",\"serveraddress\":\"r:5000\"}"},
        {{.username = (char *)""}, "{}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *h = image_auth_header(&rows[i].a);
        assert_non_null(h);
        assert_int_equal(strncmp(h, "X-Registry-Auth: ", 17), 0);
        const char *in = h + 17;
        assert_int_equal(strlen(in) % 4, 0);
        char plain[512];
        size_t n = 0, len = strcspn(in, "=");
        unsigned bits = 0, have = 0;
        for (size_t k = 0; k < len; k++) {
            bits = bits << 6 | digit(in[k]);
            have += 6;
            if (have >= 8) {
                have -= 8;
                plain[n++] = (char)(bits >> have);
                bits &= (1u << have) - 1;
            }
        }
        plain[n] = '\0';
        AUTO_JSON json_t *got = json_loads(plain, 0, NULL),
                         *want = json_loads(rows[i].json, 0, NULL);
        assert_non_null(got);
        assert_true(json_equal(got, want));
    }
}

/* A password that is not UTF-8 cannot become JSON. The result is NULL, not half a header. */
static void test_image_auth_header__not_utf8__null(void **state) {
    (void)state;
    struct image_auth a = {.username = (char *)"u", .password = (char *)"\xff"};
    assert_null(image_auth_header(&a));
}

/* ---- Order of the sources ---- */

static void test_image_auth_lookup__no_source__none(void **state) {
    (void)state;
    struct image_auth_sources rows[] = {
        {0}, {.username = "", .password = "", .config = "", .helper = ""}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_auth a = {0};
        assert_int_equal(auth_world_lookup(&rows[i], "docker.io", &a, NULL), 0);
        assert_null(a.username);
    }
}

static void test_image_auth_lookup__task_before_config_before_helper(void **state) {
    struct auth_world *x = *state;
    char path[160];
    auth_world_path(x, "config.json", path);
    auth_world_write(x, "config.json",
                     "{\"auths\":{\"r.io\":{\"username\":\"file\",\"password\":\"f\"}}}", 0600);
    auth_world_write_helper(x, "x", "echo '{\"Username\":\"helper\",\"Secret\":\"h\"}'");
    static const struct {
        const char *user, *password, *server, *registry, *want;
    } rows[] = {
        {"task", "t", NULL, "r.io", "task"},
        {"task", "", "", "r.io", "task"},
        {"", "", "", "r.io", "file"},
        {NULL, NULL, NULL, "other.io", "helper"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_auth_sources s = {rows[i].user, rows[i].password, rows[i].server, path, "x"};
        AUTO_IMAGE_AUTH struct image_auth a = {0};
        assert_int_equal(auth_world_lookup(&s, rows[i].registry, &a, NULL), 1);
        assert_string_equal(a.username, rows[i].want);
    }
    /* A password or an address alone counts as set. */
    for (int i = 0; i < 2; i++) {
        struct image_auth_sources s = {NULL, i ? NULL : "pw", i ? "r.io" : NULL, path, "x"};
        AUTO_IMAGE_AUTH struct image_auth a = {0};
        assert_int_equal(auth_world_lookup(&s, "r.io", &a, NULL), 1);
        assert_true(!a.username || !a.username[0]);
    }
    char asked[64];
    auth_world_read(x, "asked", asked, sizeof(asked));
    assert_string_equal(asked, "other.io\n");
}

/* An error of a source ends the search. The next source is not asked, so that no image is pulled
 * as another user. */
static void test_image_auth_lookup__error_of_a_source__decides(void **state) {
    struct auth_world *x = *state;
    auth_world_write_helper(x, "x", "echo '{\"Username\":\"helper\",\"Secret\":\"h\"}'");
    static const char *const configs[] = {"", "{", "[]", "7",
                                          "{\"auths\":{\"r.io\":{\"auth\":\"no base64!\"}}}",
                                          "{\"auths\":{\"r.io\":{\"auth\":\"bm9jb2xvbg==\"}}}",
                                          /* \xff:p */
                                          "{\"auths\":{\"r.io\":{\"auth\":\"/zpw\"}}}"};
    char path[160];
    auth_world_path(x, "config.json", path);
    struct image_auth_sources s = {.config = path, .helper = "x"};
    for (size_t i = 0; i <= ARRAY_LEN(configs); i++) {
        if (i < ARRAY_LEN(configs))
            auth_world_write(x, "config.json", configs[i], 0600);
        else
            unlink(path);
        struct image_auth a = {0};
        struct err err = {0};
        assert_true(auth_world_lookup(&s, "r.io", &a, &err) < 0);
        assert_non_null(strstr(err.text, path));
        assert_null(a.username);
    }
    char asked[64];
    auth_world_read(x, "asked", asked, sizeof(asked));
    assert_string_equal(asked, "");
}

/* ---- config.json ---- */

/* jansson quotes the text that it cannot parse. Here this text is a password. */
static void test_image_auth_lookup__config_json_is_damaged__not_quoted(void **state) {
    struct auth_world *x = *state;
    static const char *const configs[] = {"hunter2", "{\"auths\":{\"r.io\":{\"auth\":\n hunter2",
                                          "{\"auths\":{\"hunter2\":1,\"hunter2\":\"hunter2"};
    char path[160];
    auth_world_path(x, "config.json", path);
    struct image_auth_sources s = {.config = path};
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        auth_world_write(x, "config.json", configs[i], 0600);
        struct image_auth a = {0};
        struct err err = {0};
        assert_int_equal(auth_world_lookup(&s, "r.io", &a, &err), -EINVAL);
        print_message("%s\n", err.text);
        assert_null(strstr(err.text, "hunter"));
        assert_non_null(strstr(err.text, "line "));
    }
}

/* An open() of the FIFO would block for ever. It stands for a device node. */
static void test_image_auth_lookup__config_json_is_no_file__not_opened(void **state) {
    struct auth_world *x = *state;
    char path[160];
    auth_world_path(x, "config.json", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    AUTO_FD int opens = opens_watch(path);
    struct image_auth_sources s = {.config = path};
    struct image_auth a = {0};
    struct err err = {0};
    assert_int_equal(auth_world_lookup(&s, "r.io", &a, &err), -EINVAL);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_false(opens_seen(opens));
}

static void test_image_auth_lookup__forms_of_config_json(void **state) {
    struct auth_world *x = *state;
    static const struct {
        const char *config, *registry, *user, *password, *token;
    } rows[] = {
        /* dTpw is "u:p"; the first colon is the separator */
        {"{\"auths\":{\"r.io\":{\"auth\":\"dTpw\"}}}", "r.io", "u", "p", NULL},
        {"{\"auths\":{\"r.io\":{\"auth\":\"dTpwOnE=\"}}}", "r.io", "u", "p:q", NULL},
        {"{\"auths\":{\"r.io\":{\"auth\":\"dTo=\"}}}", "r.io", "u", "", NULL},
        {"{\"auths\":{\"r.io\":{\"username\":\"u\",\"password\":\"p\"}}}", "r.io", "u", "p", NULL},
        {"{\"auths\":{\"r.io:5000\":{\"auth\":\"dTpw\"}}}", "r.io:5000", "u", "p", NULL},
        {"{\"auths\":{\"r.io:5000\":{\"auth\":\"dTpw\"}}}", "r.io", NULL, NULL, NULL},
        {"{\"auths\":{\"r.io\":{\"auth\":\"dTpw\"}}}", "r.io:5000", NULL, NULL, NULL},
        {"{\"auths\":{\"https://r.io/v2/\":{\"auth\":\"dTpw\"}}}", "r.io", "u", "p", NULL},
        {"{\"auths\":{\"http://r.io:5000\":{\"auth\":\"dTpw\"}}}", "r.io:5000", "u", "p", NULL},
        {"{\"auths\":{\"r.io/some/path\":{\"auth\":\"dTpw\"}}}", "r.io", "u", "p", NULL},
        {"{\"auths\":{\"evil-r.io\":{\"auth\":\"dTpw\"}}}", "r.io", NULL, NULL, NULL},
        {"{\"auths\":{\"https://evil/r.io\":{\"auth\":\"dTpw\"}}}", "r.io", NULL, NULL, NULL},
        {"{\"auths\":{\"" HUB_KEY "\":{\"auth\":\"dTpw\"}}}", "docker.io", "u", "p", NULL},
        {"{\"auths\":{\"docker.io\":{\"auth\":\"dTpw\"}}}", "docker.io", NULL, NULL, NULL},
        {"{\"auths\":{\"https://docker.io/x\":{\"auth\":\"dTpw\"}}}", "docker.io", NULL, NULL,
         NULL},
        {"{\"auths\":{\"r.io\":{\"auth\":\"dTpw\",\"identitytoken\":\"tok\"}}}", "r.io", "u", "p",
         "tok"},
        {"{\"auths\":{\"r.io\":{\"identitytoken\":\"tok\"}}}", "r.io", NULL, NULL, "tok"},
        {"{\"auths\":{\"r.io\":{}}}", "r.io", NULL, NULL, NULL},
        {"{\"auths\":{\"r.io\":{\"auth\":7}}}", "r.io", NULL, NULL, NULL},
        {"{\"auths\":{\"r.io\":7}}", "r.io", NULL, NULL, NULL},
        {"{\"auths\":[1]}", "r.io", NULL, NULL, NULL},
        {"{}", "r.io", NULL, NULL, NULL},
        {"{\"HttpHeaders\":{\"X\":\"y\"},\"credHelpers\":{},\"credsStore\":\"\"}", "r.io", NULL,
         NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_config(x, rows[i].config, rows[i].registry, rows[i].user, rows[i].password,
                      rows[i].token);
}

static void test_image_auth_lookup__auths_before_credhelpers_before_credsstore(void **state) {
    struct auth_world *x = *state;
    auth_world_write_helper(x, "one", "echo '{\"Username\":\"one\",\"Secret\":\"1\"}'");
    auth_world_write_helper(x, "two", "echo '{\"Username\":\"two\",\"Secret\":\"2\"}'");
    auth_world_write_helper(x, "none", "echo 'credentials not found in native keychain'; exit 1");
    auth_world_write_helper(x, "empty", "echo '{}'");
    static const struct {
        const char *config, *registry, *user, *password;
    } rows[] = {
        {"{\"auths\":{\"r.io\":{\"auth\":\"dTpw\"}},\"credHelpers\":{\"r.io\":\"one\"},"
         "\"credsStore\":\"two\"}",
         "r.io", "u", "p"},
        {"{\"auths\":{\"r.io\":{}},\"credHelpers\":{\"r.io\":\"one\"},\"credsStore\":\"two\"}",
         "r.io", "one", "1"},
        {"{\"credHelpers\":{\"r.io\":\"one\"},\"credsStore\":\"two\"}", "s.io", "two", "2"},
        {"{\"credHelpers\":{\"r.io\":\"none\"},\"credsStore\":\"two\"}", "r.io", "two", "2"},
        {"{\"credHelpers\":{\"r.io\":\"empty\"},\"credsStore\":\"two\"}", "r.io", "two", "2"},
        {"{\"credHelpers\":{\"r.io\":\"empty\"},\"credsStore\":\"none\"}", "r.io", NULL, NULL},
        {"{\"credHelpers\":{\"docker.io\":\"one\"}}", "docker.io", "one", "1"},
        {"{\"credHelpers\":{\"" HUB_KEY "\":\"one\"}}", "docker.io", "one", "1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_config(x, rows[i].config, rows[i].registry, rows[i].user, rows[i].password, NULL);
}

/* Helpers know the hub by two names. Nomad's driver asks for the first one; `docker login`
 * stores the second one. */
static void test_image_auth_lookup__hub_from_a_helper__both_names_are_asked(void **state) {
    struct auth_world *x = *state;
    char asked[128];
    auth_world_write_helper(x, "nomad",
                            "tail -n 1 $(dirname $0)/asked | grep -qx docker.io && "
                            "echo '{\"Username\":\"u\",\"Secret\":\"p\"}' || echo '{}'");
    expect_config(x, "{\"credsStore\":\"nomad\"}", "docker.io", "u", "p", NULL);
    auth_world_read(x, "asked", asked, sizeof(asked));
    assert_string_equal(asked, "docker.io\n");
    auth_world_write_helper(x, "login",
                            "tail -n 1 $(dirname $0)/asked | grep -qx " HUB_KEY " && "
                            "echo '{\"Username\":\"u\",\"Secret\":\"p\"}' || "
                            "{ echo credentials not found in native keychain; exit 1; }");
    expect_config(x, "{\"credsStore\":\"login\"}", "docker.io", "u", "p", NULL);
    struct image_auth_sources s = {.helper = "login"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    assert_int_equal(auth_world_lookup(&s, "docker.io", &a, NULL), 1);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        AUTH_WORLD_TEST(test_image_auth_lookup__base64_with_line_breaks__read),
        AUTH_WORLD_TEST(test_image_auth_lookup__server_address__only_when_it_is_the_images),
        AUTH_WORLD_TEST(test_image_auth_header__fields__base64url_of_their_json),
        AUTH_WORLD_TEST(test_image_auth_header__not_utf8__null),
        AUTH_WORLD_TEST(test_image_auth_lookup__no_source__none),
        AUTH_WORLD_TEST(test_image_auth_lookup__task_before_config_before_helper),
        AUTH_WORLD_TEST(test_image_auth_lookup__error_of_a_source__decides),
        AUTH_WORLD_TEST(test_image_auth_lookup__config_json_is_damaged__not_quoted),
        AUTH_WORLD_TEST(test_image_auth_lookup__config_json_is_no_file__not_opened),
        AUTH_WORLD_TEST(test_image_auth_lookup__forms_of_config_json),
        AUTH_WORLD_TEST(test_image_auth_lookup__auths_before_credhelpers_before_credsstore),
        AUTH_WORLD_TEST(test_image_auth_lookup__hub_from_a_helper__both_names_are_asked),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
