/* SPDX-License-Identifier: MPL-2.0 */
/* Which credentials are sent for an image: the order of the sources, the forms of config.json, and
 * helper programs that answer, refuse, hang, or never stop writing. */
#include "src/image/image_auth.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "unit/opens.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HUB_KEY "https://index.docker.io/v1/"

struct fixture {
    char dir[64];
    char *old_path;
};

static void path_of(const struct fixture *x, const char *name, char out[160]) {
    snprintf(out, 160, "%s/%s", x->dir, name);
}

static void write_file(const struct fixture *x, const char *name, const char *text, mode_t mode) {
    char path[160];
    path_of(x, name, path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* docker-credential-@name: its stdin goes to the file "asked" first. */
static void write_helper(const struct fixture *x, const char *name, const char *script) {
    char file[64], text[2048];
    snprintf(file, sizeof(file), "docker-credential-%s", name);
    snprintf(text, sizeof(text),
             "#!/bin/sh\n[ \"$1\" = get ] || exit 9\ncat >>%s/asked; echo >>%s/asked\n%s\n", x->dir,
             x->dir, script);
    write_file(x, file, text, 0755);
}

static void read_file(const struct fixture *x, const char *name, char *out, size_t size) {
    char path[160];
    path_of(x, name, path);
    out[0] = '\0';
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    out[fread(out, 1, size - 1, f)] = '\0';
    fclose(f);
}

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    snprintf(x->dir, sizeof(x->dir), "/tmp/paddock-auth-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    x->old_path = strdup(getenv("PATH"));
    char path[4096];
    snprintf(path, sizeof(path), "%s:%s", x->dir, x->old_path);
    setenv("PATH", path, 1);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    char command[128];
    setenv("PATH", x->old_path, 1);
    snprintf(command, sizeof(command), "rm -rf '%s'", x->dir);
    assert_int_equal(system(command), 0);
    free(x->old_path);
    free(x);
    return 0;
}

static int lookup(const struct image_auth_sources *s, const char *registry, struct image_auth *ret,
                  struct err *err) {
    struct call call = call_within(NULL, 20 * US_PER_SEC);
    return image_auth_lookup(s, registry, &call, ret, err);
}

/* @config is the file's text; NULL user = nothing is to be found. */
static void expect_config(const struct fixture *x, const char *config, const char *registry,
                          const char *user, const char *password, const char *token) {
    char path[160];
    write_file(x, "config.json", config, 0600);
    path_of(x, "config.json", path);
    struct image_auth_sources s = {.config = path};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    struct err err = {0};
    print_message("%s: %s\n", registry, config);
    int r = lookup(&s, registry, &a, &err);
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

/* `base64` breaks its lines after 76 characters; people paste them as they come. */
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
        assert_int_equal(lookup(&s, rows[i].registry, &a, NULL), 1);
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

/* A password that is no UTF-8 cannot become JSON: an answer of NULL, not half a header. */
static void test_image_auth_header__not_utf8__null(void **state) {
    (void)state;
    struct image_auth a = {.username = (char *)"u", .password = (char *)"\xff"};
    assert_null(image_auth_header(&a));
}

/* ---- order ---- */

static void test_image_auth_lookup__no_source__none(void **state) {
    (void)state;
    struct image_auth_sources rows[] = {
        {0}, {.username = "", .password = "", .config = "", .helper = ""}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_auth a = {0};
        assert_int_equal(lookup(&rows[i], "docker.io", &a, NULL), 0);
        assert_null(a.username);
    }
}

static void test_image_auth_lookup__task_before_config_before_helper(void **state) {
    struct fixture *x = *state;
    char path[160];
    path_of(x, "config.json", path);
    write_file(x, "config.json",
               "{\"auths\":{\"r.io\":{\"username\":\"file\",\"password\":\"f\"}}}", 0600);
    write_helper(x, "x", "echo '{\"Username\":\"helper\",\"Secret\":\"h\"}'");
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
        assert_int_equal(lookup(&s, rows[i].registry, &a, NULL), 1);
        assert_string_equal(a.username, rows[i].want);
    }
    /* A password or an address alone counts as set. */
    for (int i = 0; i < 2; i++) {
        struct image_auth_sources s = {NULL, i ? NULL : "pw", i ? "r.io" : NULL, path, "x"};
        AUTO_IMAGE_AUTH struct image_auth a = {0};
        assert_int_equal(lookup(&s, "r.io", &a, NULL), 1);
        assert_true(!a.username || !a.username[0]);
    }
    char asked[64];
    read_file(x, "asked", asked, sizeof(asked));
    assert_string_equal(asked, "other.io\n");
}

/* An error of a source ends the search. The next source is not asked, so that no image is pulled
 * as another user. */
static void test_image_auth_lookup__error_of_a_source__decides(void **state) {
    struct fixture *x = *state;
    write_helper(x, "x", "echo '{\"Username\":\"helper\",\"Secret\":\"h\"}'");
    static const char *const configs[] = {"", "{", "[]", "7",
                                          "{\"auths\":{\"r.io\":{\"auth\":\"no base64!\"}}}",
                                          "{\"auths\":{\"r.io\":{\"auth\":\"bm9jb2xvbg==\"}}}",
                                          /* \xff:p */
                                          "{\"auths\":{\"r.io\":{\"auth\":\"/zpw\"}}}"};
    char path[160];
    path_of(x, "config.json", path);
    struct image_auth_sources s = {.config = path, .helper = "x"};
    for (size_t i = 0; i <= ARRAY_LEN(configs); i++) {
        if (i < ARRAY_LEN(configs))
            write_file(x, "config.json", configs[i], 0600);
        else
            unlink(path);
        struct image_auth a = {0};
        struct err err = {0};
        assert_true(lookup(&s, "r.io", &a, &err) < 0);
        assert_non_null(strstr(err.text, path));
        assert_null(a.username);
    }
    char asked[64];
    read_file(x, "asked", asked, sizeof(asked));
    assert_string_equal(asked, "");
}

/* ---- config.json ---- */

/* jansson quotes what it met; here that is a password. */
static void test_image_auth_lookup__config_json_is_damaged__not_quoted(void **state) {
    struct fixture *x = *state;
    static const char *const configs[] = {"hunter2", "{\"auths\":{\"r.io\":{\"auth\":\n hunter2",
                                          "{\"auths\":{\"hunter2\":1,\"hunter2\":\"hunter2"};
    char path[160];
    path_of(x, "config.json", path);
    struct image_auth_sources s = {.config = path};
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        write_file(x, "config.json", configs[i], 0600);
        struct image_auth a = {0};
        struct err err = {0};
        assert_int_equal(lookup(&s, "r.io", &a, &err), -EINVAL);
        print_message("%s\n", err.text);
        assert_null(strstr(err.text, "hunter"));
        assert_non_null(strstr(err.text, "line "));
    }
}

/* A FIFO would hold us for ever, and stands for a device node. */
static void test_image_auth_lookup__config_json_is_no_file__not_opened(void **state) {
    struct fixture *x = *state;
    char path[160];
    path_of(x, "config.json", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    AUTO_FD int opens = opens_watch(path);
    struct image_auth_sources s = {.config = path};
    struct image_auth a = {0};
    struct err err = {0};
    assert_int_equal(lookup(&s, "r.io", &a, &err), -EINVAL);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_false(opens_seen(opens));
}

static void test_image_auth_lookup__forms_of_config_json(void **state) {
    struct fixture *x = *state;
    static const struct {
        const char *config, *registry, *user, *password, *token;
    } rows[] = {
        /* dTpw = "u:p"; the first colon counts */
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
    struct fixture *x = *state;
    write_helper(x, "one", "echo '{\"Username\":\"one\",\"Secret\":\"1\"}'");
    write_helper(x, "two", "echo '{\"Username\":\"two\",\"Secret\":\"2\"}'");
    write_helper(x, "none", "echo 'credentials not found in native keychain'; exit 1");
    write_helper(x, "empty", "echo '{}'");
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
    struct fixture *x = *state;
    char asked[128];
    write_helper(x, "nomad",
                 "tail -n 1 $(dirname $0)/asked | grep -qx docker.io && "
                 "echo '{\"Username\":\"u\",\"Secret\":\"p\"}' || echo '{}'");
    expect_config(x, "{\"credsStore\":\"nomad\"}", "docker.io", "u", "p", NULL);
    read_file(x, "asked", asked, sizeof(asked));
    assert_string_equal(asked, "docker.io\n");
    write_helper(x, "login",
                 "tail -n 1 $(dirname $0)/asked | grep -qx " HUB_KEY " && "
                 "echo '{\"Username\":\"u\",\"Secret\":\"p\"}' || "
                 "{ echo credentials not found in native keychain; exit 1; }");
    expect_config(x, "{\"credsStore\":\"login\"}", "docker.io", "u", "p", NULL);
    struct image_auth_sources s = {.helper = "login"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    assert_int_equal(lookup(&s, "docker.io", &a, NULL), 1);
}

/* ---- helpers ---- */

static void test_image_auth_lookup__helper_answers(void **state) {
    struct fixture *x = *state;
    static const struct {
        const char *script;
        int r;
        const char *user, *password, *token;
    } rows[] = {
        {"echo '{\"ServerURL\":\"s\",\"Username\":\"u\",\"Secret\":\"p\"}'", 1, "u", "p", NULL},
        {"printf '\\n {\"Username\":\"u\",\n\"Secret\":\"p\"} \\n'", 1, "u", "p", NULL},
        {"echo '{\"Username\":\"<token>\",\"Secret\":\"tok\"}'", 1, NULL, NULL, "tok"},
        {"echo noise >&2; echo '{\"Username\":\"u\",\"Secret\":\"p\"}'", 1, "u", "p", NULL},
        {"echo '{\"Username\":\"\",\"Secret\":\"\"}'", 0, NULL, NULL, NULL},
        {"echo '{}'", 0, NULL, NULL, NULL},
        {"echo credentials not found in native keychain; exit 1", 0, NULL, NULL, NULL},
    };
    struct image_auth_sources s = {.helper = "x"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_helper(x, "x", rows[i].script);
        AUTO_IMAGE_AUTH struct image_auth a = {0};
        struct err err = {0};
        print_message("%s\n", rows[i].script);
        assert_int_equal(lookup(&s, "r.io:5000", &a, &err), rows[i].r);
        assert_false(err.set);
        if (rows[i].user) {
            assert_string_equal(a.username, rows[i].user);
            assert_string_equal(a.password, rows[i].password);
        } else {
            assert_null(a.username);
        }
        if (rows[i].token)
            assert_string_equal(a.identity_token, rows[i].token);
        else
            assert_null(a.identity_token);
    }
    char asked[256];
    read_file(x, "asked", asked, sizeof(asked));
    assert_int_equal(strncmp(asked, "r.io:5000\nr.io:5000\n", 20), 0);
}

/* What a helper prints on stdout can be the secret; only its stderr is quoted. */
static void test_image_auth_lookup__helper_fails__its_name_and_stderr(void **state) {
    struct fixture *x = *state;
    static const struct {
        const char *script, *say;
    } rows[] = {
        {"echo hunter2; exit 1", "exited with status 1"},
        {"echo '{\"Username\":\"u\",\"Secret\":\"hunter2\"}'; exit 3", "exited with status 3"},
        {"echo hunter2; echo told on stderr >&2; exit 1", "exited with status 1: told on stderr"},
        {"printf '\n one\n\ttwo\n\n' >&2; exit 1", ": one  two"},
        {"exit 3", "docker-credential-x for r.io exited with status 3"},
        {"kill -9 $$", "was ended by signal 9"},
        {"echo hunter2", "JSON"},
        {"echo '{\"Secret\":\"hunter2\"'", "JSON"},
        {"true", "JSON"},
        {"echo '[]'", "JSON"},
    };
    struct image_auth_sources s = {.helper = "x"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_helper(x, "x", rows[i].script);
        struct image_auth a = {0};
        struct err err = {0};
        assert_true(lookup(&s, "r.io", &a, &err) < 0);
        print_message("%s: %s\n", rows[i].script, err.text);
        assert_non_null(strstr(err.text, "docker-credential-x"));
        assert_non_null(strstr(err.text, "r.io"));
        assert_non_null(strstr(err.text, rows[i].say));
        assert_null(strstr(err.text, "hunter2"));
        assert_null(strchr(err.text, '\n'));
        assert_null(a.username);
    }
}

/* Cut, and not in the middle of a character (\303\244 is one). */
static void test_image_auth_lookup__helper_has_much_to_say__cut(void **state) {
    struct fixture *x = *state;
    struct image_auth_sources s = {.helper = "x"};
    for (int shift = 0; shift < 2; shift++) {
        char script[256];
        snprintf(script, sizeof(script),
                 "{ printf '%.*s'; i=0; while [ $i -lt 5000 ]; do printf '\\303\\244'; "
                 "i=$((i+1)); done; } >&2; exit 1",
                 shift, "a");
        write_helper(x, "x", script);
        struct image_auth a = {0};
        struct err err = {0};
        assert_int_equal(lookup(&s, "r.io", &a, &err), -EACCES);
        const char *said = strstr(err.text, "status 1: ");
        assert_non_null(said);
        size_t len = strlen(said + 10);
        assert_int_equal(len, shift ? 199 : 200);
        AUTO_JSON json_t *utf8 = json_stringn(said + 10, len);
        assert_non_null(utf8);
    }
}

/* The agent's environment contains tokens for other services. */
static void test_image_auth_lookup__helper__small_environment(void **state) {
    struct fixture *x = *state;
    static const char *const withheld[] = {"VAULT_TOKEN",
                                           "NOMAD_TOKEN",
                                           "CONSUL_HTTP_TOKEN",
                                           "NOMAD_PLUGIN_MAGIC_COOKIE",
                                           "DATABASE_PASSWORD",
                                           "PATHS",
                                           "XPATH",
                                           "AWS_",
                                           "GOOGLE_APPLICATION_CREDENTIALS_OLD"};
    static const char *const passed_on[] = {"AWS_PROFILE", "AZURE_CLIENT_ID", "CLOUDSDK_CONFIG",
                                            "LC_ALL",      "XDG_RUNTIME_DIR", "HTTPS_PROXY",
                                            "no_proxy",    "DOCKER_CONFIG",   "GNUPGHOME"};
    char script[512], text[8192];
    /* env itself adds nothing; the shell adds PWD, SHLVL and _ */
    snprintf(script, sizeof(script), "env >%s/env; echo '{\"Username\":\"u\",\"Secret\":\"p\"}'",
             x->dir);
    write_helper(x, "x", script);
    for (size_t i = 0; i < ARRAY_LEN(withheld); i++)
        setenv(withheld[i], "hunter2", 1);
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
        setenv(passed_on[i], "given", 1);
    struct image_auth_sources s = {.helper = "x"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    int r = lookup(&s, "r.io", &a, NULL);
    for (size_t i = 0; i < ARRAY_LEN(withheld); i++)
        unsetenv(withheld[i]);
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
        unsetenv(passed_on[i]);
    assert_int_equal(r, 1);
    read_file(x, "env", text, sizeof(text));
    assert_null(strstr(text, "hunter2"));
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++) {
        char line[64];
        snprintf(line, sizeof(line), "%s=given\n", passed_on[i]);
        assert_non_null(strstr(text, line));
    }
    assert_non_null(strstr(text, "PATH="));
    assert_non_null(strstr(text, "HOME="));
}

static void test_image_auth_lookup__helper_that_is_not_there__its_name(void **state) {
    struct fixture *x = *state;
    static const char *const names[] = {"absent", "../x", "/bin/true"};
    write_helper(x, "x", "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct image_auth_sources s = {.helper = names[i]};
        struct image_auth a = {0};
        struct err err = {0};
        assert_true(lookup(&s, "r.io", &a, &err) < 0);
        assert_non_null(strstr(err.text, names[i]));
    }
}

/* The read end of a FIFO that helpers keep open for writing. It reads end of file when the last
 * process that they started has ended. */
static int open_alive(const struct fixture *x, int *ret_ours) {
    char path[160];
    path_of(x, "alive", path);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    /* Ours stands for a helper that is killed before it comes to open its own. */
    *ret_ours = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && *ret_ours >= 0);
    return fd;
}

static void wait_all_gone(int fd, int ours) {
    struct pollfd p = {.fd = fd};
    close(ours);
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_true(p.revents & POLLHUP);
}

/* Whatever a helper does, the call's deadline ends it, with all that it has started. */
static void test_image_auth_lookup__helper_hangs__ended_at_the_deadline(void **state) {
    struct fixture *x = *state;
    static const char *const scripts[] = {
        "sleep 600",                /* says nothing */
        "exec >&- 2>&-; sleep 600", /* has closed its output */
        "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'; sleep 600 & wait", /* has said all, but stays
                                                                           */
        "trap '' TERM INT HUP; sleep 600; sleep 600",
    };
    struct image_auth_sources s = {.helper = "x"};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        char script[256];
        snprintf(script, sizeof(script), "exec 7>%s/alive\n%s", x->dir, scripts[i]);
        int ours, alive = open_alive(x, &ours);
        write_helper(x, "x", script);
        uint64_t before = clock_now_us();
        struct call call = call_within(NULL, 300 * US_PER_MS);
        struct image_auth a = {0};
        struct err err = {0};
        print_message("%s\n", scripts[i]);
        assert_int_equal(image_auth_lookup(&s, "r.io", &call, &a, &err), -ETIMEDOUT);
        uint64_t took = clock_now_us() - before;
        assert_true(took >= 300 * US_PER_MS && took < 10 * US_PER_SEC);
        assert_non_null(strstr(err.text, "docker-credential-x"));
        wait_all_gone(alive, ours);
        close(alive);
    }
}

/* A helper that is done does not wait for what it has left behind. */
static void test_image_auth_lookup__helper_leaves_a_child__does_not_delay(void **state) {
    struct fixture *x = *state;
    write_helper(x, "x", "sleep 5 >/dev/null 2>&1 & echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    struct image_auth_sources s = {.helper = "x"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    uint64_t before = clock_now_us();
    assert_int_equal(lookup(&s, "r.io", &a, NULL), 1);
    assert_true(clock_now_us() - before < 4 * US_PER_SEC);
    write_helper(
        x, "x",
        "sleep 5 & echo '{\"Username\":\"u\",\"Secret\":\"p\"}'"); /* with its output open */
    image_auth_done(&a);
    before = clock_now_us();
    assert_int_equal(lookup(&s, "r.io", &a, NULL), 1);
    assert_true(clock_now_us() - before < 4 * US_PER_SEC);
}

static void test_image_auth_lookup__helper_never_stops_talking__bounded(void **state) {
    struct fixture *x = *state;
    static const char *const scripts[] = {"exec yes", "yes >&2 & exec yes"};
    struct image_auth_sources s = {.helper = "x"};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        write_helper(x, "x", scripts[i]);
        struct image_auth a = {0};
        struct err err = {0};
        uint64_t before = clock_now_us();
        assert_int_equal(lookup(&s, "r.io", &a, &err), -EMSGSIZE);
        assert_true(clock_now_us() - before < 10 * US_PER_SEC);
    }
    /* Chatter on stderr alone is no fault. */
    write_helper(x, "x",
                 "head -c 1000000 /dev/zero >&2; echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    assert_int_equal(lookup(&s, "r.io", &a, NULL), 1);
}

static void *fire(void *ctx) {
    cancel_fire(ctx);
    return NULL;
}

static void test_image_auth_lookup__cancel__ends_the_helper_at_once(void **state) {
    struct fixture *x = *state;
    static const char *const scripts[] = {"sleep 600", "exec >&- 2>&-; sleep 600"};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        write_helper(x, "x", scripts[i]);
        struct image_auth_sources s = {.helper = "x"};
        struct cancel cancel;
        assert_int_equal(cancel_init(&cancel), 0);
        struct call call = {.deadline_us = clock_now_us() + 60 * US_PER_SEC, .cancel = &cancel};
        struct image_auth a = {0};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, fire, &cancel), 0);
        assert_int_equal(image_auth_lookup(&s, "r.io", &call, &a, NULL), -ECANCELED);
        pthread_join(thread, NULL);
        cancel_done(&cancel);
    }
}

/* A helper sees a sane world: no signal blocked or ignored, no fd beyond its three. */
static void test_image_auth_lookup__helper__clean_signals_and_fds(void **state) {
    struct fixture *x = *state;
    int leak = dup(1); /* without close-on-exec, as some libraries leave theirs */
    assert_true(leak > 2);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    signal(SIGPIPE, SIG_IGN);
    write_helper(x, "x",
                 "grep -E 'Sig(Blk|Ign)' /proc/self/status >$(dirname $0)/seen\n"
                 "readlink /proc/$$/fd/* | grep -v -e pipe: -e docker-credential -e /dev/null "
                 ">>$(dirname $0)/seen\n"
                 "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    struct image_auth_sources s = {.helper = "x"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    int r = lookup(&s, "r.io", &a, NULL);
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
    close(leak);
    assert_int_equal(r, 1);
    char seen[1024];
    read_file(x, "seen", seen, sizeof(seen));
    print_message("%s", seen);
    unsigned long long blocked, ignored;
    int end = 0;
    assert_int_equal(sscanf(seen, "SigBlk: %llx SigIgn: %llx %n", &blocked, &ignored, &end), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & ~0x180000000ull, 0); /* 32 and 33 are libc's own */
    assert_string_equal(seen + end, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_image_auth_header__fields__base64url_of_their_json),
        T(test_image_auth_header__not_utf8__null),
        T(test_image_auth_lookup__base64_with_line_breaks__read),
        T(test_image_auth_lookup__server_address__only_when_it_is_the_images),
        T(test_image_auth_lookup__no_source__none),
        T(test_image_auth_lookup__task_before_config_before_helper),
        T(test_image_auth_lookup__error_of_a_source__decides),
        T(test_image_auth_lookup__config_json_is_damaged__not_quoted),
        T(test_image_auth_lookup__config_json_is_no_file__not_opened),
        T(test_image_auth_lookup__forms_of_config_json),
        T(test_image_auth_lookup__auths_before_credhelpers_before_credsstore),
        T(test_image_auth_lookup__hub_from_a_helper__both_names_are_asked),
        T(test_image_auth_lookup__helper_answers),
        T(test_image_auth_lookup__helper_fails__its_name_and_stderr),
        T(test_image_auth_lookup__helper_has_much_to_say__cut),
        T(test_image_auth_lookup__helper__small_environment),
        T(test_image_auth_lookup__helper_that_is_not_there__its_name),
        T(test_image_auth_lookup__helper_hangs__ended_at_the_deadline),
        T(test_image_auth_lookup__helper_leaves_a_child__does_not_delay),
        T(test_image_auth_lookup__helper_never_stops_talking__bounded),
        T(test_image_auth_lookup__cancel__ends_the_helper_at_once),
        T(test_image_auth_lookup__helper__clean_signals_and_fds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
