/* SPDX-License-Identifier: MPL-2.0 */
/* `paddock check` as a person runs it: with and without a dockerd, a running driver and another
 * agent that sets CPUs. */
#include "fake/cli_world.h"

#include "fake/fake_client.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- check ---- */

static void check(struct ran *r, const char *docker) {
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    RUN(r, "check", "--docker", docker, "--cgroup-root", cli_dir);
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

static unsigned lines_with(const char *text, const char *start_of_line) {
    unsigned n = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += strncmp(line, start_of_line, strlen(start_of_line)) == 0;
    }
    return n;
}

static void test_check__nothing_runs__every_line_has_a_hint(void **state) {
    struct ran r;
    char last[64];
    (void)state;
    check(&r, "unix:///nonexistent/docker.sock");
    assert_int_equal(r.status, 1);
    assert_says(r.out, "ok      user: root\n");
    assert_says(r.out, "FAILURE cgroup v2: ");
    assert_says(r.out, "is none. Boot with systemd.unified_cgroup_hierarchy=1");
    assert_says(r.out, "FAILURE dockerd: ");
    assert_says(r.out, "/nonexistent/docker.sock");
    assert_says(r.out, ". Start it, or name it by DOCKER_HOST or --docker\n");
    assert_says(r.out, "warning system bus: No such file or directory. ");
    assert_says(r.out, " inotify: ");
    assert_says(r.out, " other agents: ");
    snprintf(last, sizeof(last), "2 failures, %u warning%s\n", lines_with(r.out, "warning "),
             lines_with(r.out, "warning ") == 1 ? "" : "s");
    assert_says(r.out, last);
    assert_int_equal(lines_with(r.out, "FAILURE "), 2);
}

/* A driver that runs without its port is a warning that names the port. */
static void test_check__port_of_a_running_driver_is_taken__warning(void **state) {
    struct ran r;
    (void)state;
    peer_says("{\"driver\": {\"name\": \"docker\", \"version\": \"1.2\", \"pid\": 7},"
              " \"pin\": {\"tasks\": []}, \"metrics\": {\"listen\": \"127.0.0.1:9103\","
              " \"error\": \"Address already in use\"}}");
    RUN(&r, "check", "--docker", "unix:///nonexistent/docker.sock", "--socket", cli_socket);
    assert_says(r.out, "warning running driver: docker (pid 7) cannot serve metrics on "
                       "127.0.0.1:9103: Address already in use. Free that port or ");
    RUN(&r, "status", "--socket", cli_socket);
    assert_says(r.out, "metrics are not served on 127.0.0.1:9103: Address already in use\n");
    peer_says(cli_status_doc);
    RUN(&r, "check", "--docker", "unix:///nonexistent/docker.sock", "--socket", cli_socket);
    assert_says(r.out, "ok      running driver: docker 1.2 (pid 7)\n");
}

static void test_check__dockerd_answers_and_another_agent_runs(void **state) {
    struct fake fake;
    struct ran r;
    char tuned[160], want[96];
    pid_t pid;
    (void)state;
    snprintf(tuned, sizeof(tuned), "%s/tuned", cli_dir);
    assert_int_equal(symlink("/bin/sleep", tuned), 0);
    char *argv[] = {tuned, (char *)"60", NULL};
    assert_int_equal(posix_spawn(&pid, tuned, NULL, NULL, argv, environ), 0);
    fake_start(&fake, NULL);
    check(&r, fake.endpoint);
    fake_done(&fake);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_says(r.out, "ok      dockerd: 27.0.0-fake, cgroup driver systemd, cgroup v2\n");
    snprintf(want, sizeof(want), "warning other agents: tuned (pid %d) sets CPUs too. ", (int)pid);
    assert_says(r.out, want);
    assert_int_equal(lines_with(r.out, "FAILURE "), 1); /* the cgroup root */
    assert_int_equal(r.status, 1);
}

static void test_check__docker_too_new__failure_with_the_versions(void **state) {
    struct fake fake;
    struct ran r;
    (void)state;
    fake_start(&fake, NULL);
    fake_rules(&fake, "GET /_ping status=200 header=Api-Version:1.120 type=text/plain body=OK\n"
                      "GET /info status=400 body={\"message\":\"client version 1.56 is too old. "
                      "Minimum supported API version is 1.99, please upgrade your client\"}\n");
    check(&r, fake.endpoint);
    fake_done(&fake);
    assert_says(r.out, "FAILURE dockerd: paddock speaks Docker's API up to version 1.");
    assert_says(r.out, "Minimum supported API version is 1.99");
    assert_null(strstr(r.out, "Start it")); /* it runs */
    assert_int_equal(r.status, 1);
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    signal(SIGPIPE, SIG_IGN);
    unsetenv("COLUMNS");
    const struct CMUnitTest tests[] = {
        CLI_TEST(test_check__nothing_runs__every_line_has_a_hint),
        CLI_TEST(test_check__port_of_a_running_driver_is_taken__warning),
        CLI_TEST(test_check__dockerd_answers_and_another_agent_runs),
        CLI_TEST(test_check__docker_too_new__failure_with_the_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
