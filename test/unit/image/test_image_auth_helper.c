/* SPDX-License-Identifier: MPL-2.0 */
/* Credential helpers that answer, refuse, hang, or never stop writing. */
#include "paddock/json_value.h"
#include "unit/image/auth_world.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

static void test_image_auth_lookup__helper_answers(void **state) {
    struct auth_world *x = *state;
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
        auth_world_write_helper(x, "x", rows[i].script);
        AUTO_IMAGE_AUTH struct image_auth a = {0};
        struct err err = {0};
        print_message("%s\n", rows[i].script);
        assert_int_equal(auth_world_lookup(&s, "r.io:5000", &a, &err), rows[i].r);
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
    auth_world_read(x, "asked", asked, sizeof(asked));
    assert_int_equal(strncmp(asked, "r.io:5000\nr.io:5000\n", 20), 0);
}

/* A helper's stdout may contain the secret. Only its stderr is quoted. */
static void test_image_auth_lookup__helper_fails__its_name_and_stderr(void **state) {
    struct auth_world *x = *state;
    static const struct {
        const char *script, *say;
    } rows[] = {
        {"echo hunter2; exit 1", "exited with status 1"},
        {"echo '{\"Username\":\"u\",\"Secret\":\"hunter2\"}'; exit 3", "exited with status 3"},
        {"echo hunter2; echo text on stderr >&2; exit 1", "exited with status 1: text on stderr"},
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
        auth_world_write_helper(x, "x", rows[i].script);
        struct image_auth a = {0};
        struct err err = {0};
        assert_true(auth_world_lookup(&s, "r.io", &a, &err) < 0);
        print_message("%s: %s\n", rows[i].script, err.text);
        assert_non_null(strstr(err.text, "docker-credential-x"));
        assert_non_null(strstr(err.text, "r.io"));
        assert_non_null(strstr(err.text, rows[i].say));
        assert_null(strstr(err.text, "hunter2"));
        assert_null(strchr(err.text, '\n'));
        assert_null(a.username);
    }
}

/* The text is cut, but not in the middle of a character (\303\244 is one). */
static void test_image_auth_lookup__helper_with_long_stderr__cut(void **state) {
    struct auth_world *x = *state;
    struct image_auth_sources s = {.helper = "x"};
    for (int shift = 0; shift < 2; shift++) {
        char script[256];
        snprintf(script, sizeof(script),
                 "{ printf '%.*s'; i=0; while [ $i -lt 5000 ]; do printf '\\303\\244'; "
                 "i=$((i+1)); done; } >&2; exit 1",
                 shift, "a");
        auth_world_write_helper(x, "x", script);
        struct image_auth a = {0};
        struct err err = {0};
        assert_int_equal(auth_world_lookup(&s, "r.io", &a, &err), -EACCES);
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
    struct auth_world *x = *state;
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
    auth_world_write_helper(x, "x", script);
    for (size_t i = 0; i < ARRAY_LEN(withheld); i++)
        setenv(withheld[i], "hunter2", 1);
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
        setenv(passed_on[i], "given", 1);
    struct image_auth_sources s = {.helper = "x"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    int r = auth_world_lookup(&s, "r.io", &a, NULL);
    for (size_t i = 0; i < ARRAY_LEN(withheld); i++)
        unsetenv(withheld[i]);
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
        unsetenv(passed_on[i]);
    assert_int_equal(r, 1);
    auth_world_read(x, "env", text, sizeof(text));
    assert_null(strstr(text, "hunter2"));
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++) {
        char line[64];
        snprintf(line, sizeof(line), "%s=given\n", passed_on[i]);
        assert_non_null(strstr(text, line));
    }
    assert_non_null(strstr(text, "PATH="));
    assert_non_null(strstr(text, "HOME="));
}

static void test_image_auth_lookup__helper_not_installed__its_name(void **state) {
    struct auth_world *x = *state;
    static const char *const names[] = {"absent", "../x", "/bin/true"};
    auth_world_write_helper(x, "x", "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct image_auth_sources s = {.helper = names[i]};
        struct image_auth a = {0};
        struct err err = {0};
        assert_true(auth_world_lookup(&s, "r.io", &a, &err) < 0);
        assert_non_null(strstr(err.text, names[i]));
    }
}

/* The read end of a FIFO that helpers keep open for writing. It reads end of file when the last
 * process that they started has ended. */
static int open_alive(const struct auth_world *x, int *ret_ours) {
    char path[160];
    auth_world_path(x, "alive", path);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    /* Our own write end is needed when a helper is killed before it opens the FIFO. */
    *ret_ours = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && *ret_ours >= 0);
    return fd;
}

static void wait_all_ended(int fd, int ours) {
    struct pollfd p = {.fd = fd};
    close(ours);
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_true(p.revents & POLLHUP);
}

/* At the call's deadline the helper and every process that it started are ended. */
static void test_image_auth_lookup__helper_hangs__ended_at_the_deadline(void **state) {
    struct auth_world *x = *state;
    static const char *const scripts[] = {
        "sleep 600",                /* prints nothing */
        "exec >&- 2>&-; sleep 600", /* has closed its output */
        "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'; sleep 600 & wait", /* answers, and stays */
        "trap '' TERM INT HUP; sleep 600; sleep 600",
    };
    struct image_auth_sources s = {.helper = "x"};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        char script[256];
        snprintf(script, sizeof(script), "exec 7>%s/alive\n%s", x->dir, scripts[i]);
        int ours, alive = open_alive(x, &ours);
        auth_world_write_helper(x, "x", script);
        uint64_t before = clock_now_us();
        struct call call = call_within(NULL, 300 * US_PER_MS);
        struct image_auth a = {0};
        struct err err = {0};
        print_message("%s\n", scripts[i]);
        assert_int_equal(image_auth_lookup(&s, "r.io", &call, &a, &err), -ETIMEDOUT);
        uint64_t took = clock_now_us() - before;
        assert_true(took >= 300 * US_PER_MS && took < 10 * US_PER_SEC);
        assert_non_null(strstr(err.text, "docker-credential-x"));
        wait_all_ended(alive, ours);
        close(alive);
    }
}

/* The lookup ends with the helper. It does not wait for processes that the helper has left. */
static void test_image_auth_lookup__helper_leaves_a_child__does_not_delay(void **state) {
    struct auth_world *x = *state;
    auth_world_write_helper(
        x, "x", "sleep 5 >/dev/null 2>&1 & echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    struct image_auth_sources s = {.helper = "x"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    uint64_t before = clock_now_us();
    assert_int_equal(auth_world_lookup(&s, "r.io", &a, NULL), 1);
    assert_true(clock_now_us() - before < 4 * US_PER_SEC);
    auth_world_write_helper(
        x, "x",
        "sleep 5 & echo '{\"Username\":\"u\",\"Secret\":\"p\"}'"); /* with its output open */
    image_auth_done(&a);
    before = clock_now_us();
    assert_int_equal(auth_world_lookup(&s, "r.io", &a, NULL), 1);
    assert_true(clock_now_us() - before < 4 * US_PER_SEC);
}

static void test_image_auth_lookup__helper_never_stops_writing__bounded(void **state) {
    struct auth_world *x = *state;
    static const char *const scripts[] = {"exec yes", "yes >&2 & exec yes"};
    struct image_auth_sources s = {.helper = "x"};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        auth_world_write_helper(x, "x", scripts[i]);
        struct image_auth a = {0};
        struct err err = {0};
        uint64_t before = clock_now_us();
        assert_int_equal(auth_world_lookup(&s, "r.io", &a, &err), -EMSGSIZE);
        assert_true(clock_now_us() - before < 10 * US_PER_SEC);
    }
    /* Much output on stderr alone is not an error. */
    auth_world_write_helper(
        x, "x", "head -c 1000000 /dev/zero >&2; echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    assert_int_equal(auth_world_lookup(&s, "r.io", &a, NULL), 1);
}

static void *fire(void *ctx) {
    cancel_fire(ctx);
    return NULL;
}

static void test_image_auth_lookup__cancel__ends_the_helper_immediately(void **state) {
    struct auth_world *x = *state;
    static const char *const scripts[] = {"sleep 600", "exec >&- 2>&-; sleep 600"};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        auth_world_write_helper(x, "x", scripts[i]);
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

/* A helper starts with no blocked or ignored signal, and with three descriptors. */
static void test_image_auth_lookup__helper__clean_signals_and_fds(void **state) {
    struct auth_world *x = *state;
    int leak = dup(1); /* without close-on-exec, as some libraries leave theirs */
    assert_true(leak > 2);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    signal(SIGPIPE, SIG_IGN);
    auth_world_write_helper(
        x, "x",
        "grep -E 'Sig(Blk|Ign)' /proc/self/status >$(dirname $0)/seen\n"
        "readlink /proc/$$/fd/* | grep -v -e pipe: -e docker-credential -e /dev/null "
        ">>$(dirname $0)/seen\n"
        "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    struct image_auth_sources s = {.helper = "x"};
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    int r = auth_world_lookup(&s, "r.io", &a, NULL);
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
    close(leak);
    assert_int_equal(r, 1);
    char seen[1024];
    auth_world_read(x, "seen", seen, sizeof(seen));
    print_message("%s", seen);
    unsigned long long blocked, ignored;
    int end = 0;
    assert_int_equal(sscanf(seen, "SigBlk: %llx SigIgn: %llx %n", &blocked, &ignored, &end), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & ~0x180000000ull, 0); /* libc uses 32 and 33 itself */
    assert_string_equal(seen + end, "");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        AUTH_WORLD_TEST(test_image_auth_lookup__helper_answers),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper_fails__its_name_and_stderr),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper_with_long_stderr__cut),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper__small_environment),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper_not_installed__its_name),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper_hangs__ended_at_the_deadline),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper_leaves_a_child__does_not_delay),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper_never_stops_writing__bounded),
        AUTH_WORLD_TEST(test_image_auth_lookup__cancel__ends_the_helper_immediately),
        AUTH_WORLD_TEST(test_image_auth_lookup__helper__clean_signals_and_fds),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
