/* SPDX-License-Identifier: MPL-2.0 */
/* The program as a person runs it: what it prints, and its exit status, for all commands but
 * `check`. */
#include "fake/cli_world.h"

#include "paddock/cleanup.h"
#include "paddock/clock.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- status and metrics ---- */

static void test_status__table_and_json(void **state) {
    struct ran r;
    (void)state;
    RUN(&r, "status", "--socket", cli_socket);
    assert_int_equal(r.status, 0);
    assert_string_equal(r.err, "");
    peer_assert_asked("status\n");
    assert_says(r.out, "docker 1.2, pid 7, 1 task\n");
    assert_says(r.out, "01234567  web");
    assert_says(r.out, "!!##"); /* of four CPUs */
    RUN(&r, "status", "--json", "--socket", cli_socket);
    assert_int_equal(r.status, 0);
    json_auto_t *all = json_loads(r.out, 0, NULL), *want = json_loads(cli_status_doc, 0, NULL);
    assert_int_equal(json_array_size(all), 1);
    assert_true(json_equal(json_array_get(all, 0), want));
}

static void test_status_watch__continues_without_the_plugin(void **state) {
    struct ran r;
    (void)state;
    ran_start(&r, (const char *const[]){"status", "--watch", "--socket", cli_socket, NULL});
    ran_read_on(&r, "web");
    peer_says("nonsense");
    ran_read_on(&r, "no running driver answers");
    peer_says("{\"driver\": {\"name\": \"again\"}, \"pin\": {\"tasks\": []}}");
    ran_read_on(&r, "again");
    kill(r.pid, SIGTERM);
    ran_read_on(&r, NULL);
    ran_finish(&r);
    assert_int_equal(r.status, -SIGTERM);
    assert_null(strchr(r.out, '\033')); /* stdout is not a terminal */
}

static void test_status_watch__terminal__drawn_in_place(void **state) {
    struct ran r;
    (void)state;
    ran_start_on_terminal(&r,
                          (const char *const[]){"status", "--watch", "--socket", cli_socket, NULL});
    ran_read_on(&r,
                "\033[K\r\n\033[J\033[H"); /* the second text; each line is cleared to its end */
    assert_says(r.out, "\033[2J\033[Hdocker 1.2, pid 7, 1 task\033[K\r\n");
    kill(r.pid, SIGTERM);
    ran_read_on(&r, NULL);
    ran_finish(&r);
}

static void test_status_task__all_about_it(void **state) {
    struct ran r;
    (void)state;
    RUN(&r, "status", "--socket", cli_socket, "0123");
    assert_int_equal(r.status, 0);
    assert_says(r.out, "task         web\nalloc        0123456789abcdef\n");
    assert_says(r.out, "corrections  5\n");
    RUN(&r, "status", "--json", "--socket", cli_socket, "web");
    json_auto_t *all = json_loads(r.out, 0, NULL);
    assert_int_equal(json_array_size(all), 1);
    RUN(&r, "status", "--socket", cli_socket, "other");
    assert_int_equal(r.status, 1);
    assert_says(r.err, "no running task is named \"other\"");
}

/* Names of tasks come from job files, so that a user chooses them. */
static const char evil_doc[] =
    "{\"driver\": {\"name\": \"docker\", \"version\": \"1.2\", \"pid\": 7},"
    " \"machine\": {\"online\": \"0-3\"},"
    " \"pin\": {\"host\": {\"cpus\": 4, \"disabled\": \"\\u001b[5m\"},"
    " \"tasks\": [{\"task_id\": \"x\", \"alloc_id\": \"01\\u001b[1m\", \"task\": "
    "\"w\\u001b]0;t\\u0007\\u009b2Jb\", \"kind\": \"cores\", \"wanted\": \"2-3\","
    " \"actual\": \"0-3\", \"state\": \"held\\u007f\", \"why\": \"\\u0085\", \"corrections\": 1,"
    " \"history\": [{\"time_ns\": 5, \"cause\": \"a\\u001bb\", \"old\": \"1\", \"new\": "
    "\"2\"}]}]}}";

static void assert_no_control(const char *text) {
    for (const char *at = text; *at; at++)
        if (((unsigned char)*at < ' ' && *at != '\n') || *at == 0x7f ||
            (at[0] == '\xc2' && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xa0))
            fail_msg("a control character at byte %zu of %s", (size_t)(at - text), text);
}

static void test_hostile_names__no_control_characters(void **state) {
    static const char *const lines[][3] = {
        {"status", NULL}, {"status", "01", NULL}, {"status", "--json", NULL}};
    struct ran r;
    (void)state;
    peer_says(evil_doc);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        ran_run(&r, (const char *const[]){lines[i][0], "--socket", cli_socket, lines[i][1], NULL});
        assert_int_equal(r.status, 0);
        assert_says(r.out, "cores");
        assert_no_control(r.out);
    }
}

static void test_events__what_is_new(void **state) {
    struct ran r;
    (void)state;
    ran_start(&r, (const char *const[]){"events", "--socket", cli_socket, NULL});
    while (!peer_was_asked())
        ran_read_some(&r);
    peer_says(evil_doc); /* web has ended, another task has come */
    ran_read_on(&r, "new -> held?: ?");
    assert_says(r.out, "1970-01-01T00:00:00.000Z 01?[1m w?]0;t??2Jb: a?b, 1 -> 2\n");
    assert_null(strstr(r.out, "web"));
    peer_says("nonsense"); /* the plugin is restarted */
    ran_read_on(&r, "not an answer");
    assert_no_control(r.out);
    kill(r.pid, SIGTERM);
    ran_read_on(&r, NULL);
    ran_finish(&r);
}

static void test_output__full_disk__status_1(void **state) {
    static const char *const commands[] = {"status", "metrics", "check", "help"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct ran r;
        int out[2] = {open("/dev/null", O_RDONLY | O_CLOEXEC),
                      open("/dev/full", O_WRONLY | O_CLOEXEC)};
        peer_says(i == 1 ? "{\"metrics\": \"a 1\\n\"}" : cli_status_doc);
        ran_start_on(
            &r, out,
            (const char *const[]){commands[i], i < 2 ? "--socket" : NULL, cli_socket, NULL});
        ran_read_on(&r, NULL);
        ran_finish(&r);
        assert_int_equal(r.status, 1);
        assert_says(r.err, "could not be written: No space left on device");
    }
}

static void test_debug__a_file_without_secrets(void **state) {
    struct ran r;
    char name[160], again[160];
    struct stat st;
    (void)state;
    snprintf(name, sizeof(name), "%s/report", cli_dir);
    setenv("DOCKER_HOST", "unix:///nonexistent", 1);
    setenv("VAULT_TOKEN", "s.secret", 1);
    RUN(&r, "debug", "--output", name, "--socket", cli_socket);
    unsetenv("VAULT_TOKEN");
    unsetenv("DOCKER_HOST");
    assert_int_equal(r.status, 0);
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    FILE *f = fopen(name, "re");
    static char text[1u << 20];
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    assert_says(text, "==== check\n");
    assert_says(text, "\"task\": \"web\"");
    assert_null(strstr(text, "s.secret"));
    snprintf(again, sizeof(again), "%s: File exists", name);
    RUN(&r, "debug", "--output", name, "--socket", cli_socket);
    assert_int_equal(r.status, 1);
    assert_says(r.err, again);
}

static void test_status_watch_json__one_document_a_line(void **state) {
    struct ran r;
    (void)state;
    ran_start(&r,
              (const char *const[]){"status", "--watch", "--json", "--socket", cli_socket, NULL});
    ran_read_on(&r, "]\n[{\"driver\"");
    kill(r.pid, SIGTERM);
    ran_read_on(&r, NULL);
    ran_finish(&r);
    *strchr(r.out, '\n') = '\0';
    json_auto_t *first = json_loads(r.out, 0, NULL);
    assert_int_equal(json_array_size(first), 1);
}

static void test_metrics__printed_as_they_come(void **state) {
    struct ran r;
    (void)state;
    peer_says("{\"metrics\": \"# TYPE a counter\\na{b=\\\"\\\\\\\"\\\"} 1\\n\"}");
    RUN(&r, "metrics", "--socket", cli_socket);
    assert_int_equal(r.status, 0);
    peer_assert_asked("metrics\n");
    assert_string_equal(r.out, "# TYPE a counter\na{b=\"\\\"\"} 1\n");
}

static void test_answers_that_are_none__said_and_status_1(void **state) {
    static const struct {
        const char *command, *text, *says;
        size_t cut;
    } rows[] = {
        {"status", "HTTP/1.1 400 Bad Request", "not an answer", 0},
        {"status", cli_status_doc, "not an answer", 40},
        {"status", "", "not an answer", 0},
        {"status", "[1]", "not an answer", 0},
        {"status", "{\"error\": \"busy\"}", ": busy", 0},
        {"metrics", "{", "not an answer", 0},
        {"metrics", "{\"metrics\": 5}", "has no metrics in it", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ran r;
        peer_says(rows[i].text);
        atomic_store(&peer_cut, rows[i].cut);
        RUN(&r, rows[i].command, "--socket", cli_socket);
        assert_int_equal(r.status, 1);
        assert_string_equal(r.out, "");
        assert_says(r.err, rows[i].says);
    }
}

static void test_no_plugin__reported_and_status_1(void **state) {
    static const char *const commands[] = {"status", "metrics"};
    char none[160], dead[160];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)state;
    snprintf(none, sizeof(none), "%s/none.sock", cli_dir);
    snprintf(dead, sizeof(dead), "%s/dead.sock", cli_dir);
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", dead);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct ran r;
        RUN(&r, commands[i], "--socket", none);
        assert_int_equal(r.status, 1);
        assert_says(r.err, "none.sock: No such file or directory\n");
        assert_says(r.err, "no running driver answers\n");
        RUN(&r, commands[i], "--socket", dead);
        assert_int_equal(r.status, 1);
        assert_string_equal(r.err, "paddock: no running driver answers\n");
    }
}

static void test_usage__statuses(void **state) {
    static const char *const commands[] = {"metrics", "check", "events", "debug", "status"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct ran r;
        RUN(&r, "help", commands[i]);
        assert_int_equal(r.status, 0);
        assert_says(r.out, "usage: paddock ");
        RUN(&r, commands[i], "--help");
        assert_int_equal(r.status, 0);
        assert_says(r.out, "usage: paddock ");
        RUN(&r, commands[i], "--no-such-flag");
        assert_int_equal(r.status, 2);
        assert_string_equal(r.out, "");
        assert_says(r.err, "usage: paddock ");
        if (strcmp(commands[i], "status") == 0)
            RUN(&r, commands[i], "word", "another");
        else
            RUN(&r, commands[i], "word");
        assert_int_equal(r.status, 2);
    }
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    signal(SIGPIPE, SIG_IGN);
    unsetenv("COLUMNS");
    const struct CMUnitTest tests[] = {
        CLI_TEST(test_status__table_and_json),
        CLI_TEST(test_status_watch__continues_without_the_plugin),
        CLI_TEST(test_status_watch__terminal__drawn_in_place),
        CLI_TEST(test_status_task__all_about_it),
        CLI_TEST(test_hostile_names__no_control_characters),
        CLI_TEST(test_events__what_is_new),
        CLI_TEST(test_output__full_disk__status_1),
        CLI_TEST(test_debug__a_file_without_secrets),
        CLI_TEST(test_status_watch_json__one_document_a_line),
        CLI_TEST(test_metrics__printed_as_they_come),
        CLI_TEST(test_answers_that_are_none__said_and_status_1),
        CLI_TEST(test_no_plugin__reported_and_status_1),
        CLI_TEST(test_usage__statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
