/* SPDX-License-Identifier: MPL-2.0 */
/* cli_ask(), which sends the program's requests to running plugins: a plugin that is silent or
 * slow, and a caller without the rights. */
#include "fake/cli_world.h"

#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "plugin/cli_ask.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Requests ---- */

/* Calls cli_ask(). Returns how many plugins answered; @err gets its stderr. */
static size_t ask(const char *in, const char *socket, uint64_t timeout_us, char *err, size_t size) {
    char name[160];
    snprintf(name, sizeof(name), "%s/stderr", cli_dir);
    AUTO_FD int to = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO_FD int keep = fcntl(2, F_DUPFD_CLOEXEC, 3);
    assert_true(to >= 0 && keep >= 0 && dup2(to, 2) == 2);
    json_auto_t *all = cli_ask(in, socket, "status", timeout_us);
    dup2(keep, 2);
    ssize_t n = pread(to, err, size - 1, 0);
    err[n > 0 ? n : 0] = '\0';
    return json_array_size(all);
}

static void test_ask__silent_or_slow__given_up_in_time(void **state) {
    char err[512];
    (void)state;
    for (int dribbles = 0; dribbles < 2; dribbles++) {
        peer_says(NULL);
        atomic_store(&peer_dribbles, dribbles);
        uint64_t start_us = clock_now_us();
        assert_int_equal(ask(cli_dir, NULL, 300 * US_PER_MS, err, sizeof(err)), 0);
        assert_true(clock_now_us() - start_us >= 300 * US_PER_MS);
        assert_true(clock_now_us() - start_us < 10 * US_PER_SEC);
        assert_says(err, "control-docker.sock: Connection timed out");
    }
}

static void set_user(uid_t uid) {
    /* For this thread only, unlike setresuid() of libc. */
    assert_int_equal(syscall(SYS_setresuid, -1, uid, -1), 0);
}

static void test_ask__of_another_user__permission_denied(void **state) {
    char err[2][512];
    size_t n[2];
    (void)state;
    if (geteuid() != 0)
        fail_msg("needs root: it becomes another user");
    assert_int_equal(chmod(cli_socket, 0600), 0);
    for (int closed = 0; closed < 2; closed++) {
        char name[160];
        snprintf(name, sizeof(name), "%s/stderr", cli_dir);
        AUTO_FD int to = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        assert_int_equal(fchmod(to, 0666), 0);
        assert_int_equal(chmod(cli_dir, closed ? 0700 : 0755), 0);
        AUTO_FD int keep = fcntl(2, F_DUPFD_CLOEXEC, 3);
        assert_true(ftruncate(to, 0) == 0 && dup2(to, 2) == 2);
        set_user(65534);
        json_auto_t *all = cli_ask(cli_dir, NULL, "status", US_PER_SEC);
        set_user(0);
        dup2(keep, 2);
        ssize_t len = pread(to, err[closed], sizeof(err[closed]) - 1, 0);
        err[closed][len > 0 ? len : 0] = '\0';
        n[closed] = json_array_size(all);
    }
    assert_int_equal(n[0] + n[1], 0);
    assert_says(err[0], "control-docker.sock: Permission denied");
    assert_says(err[1], ": Permission denied"); /* the folder has the rights of /run/paddock */
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    signal(SIGPIPE, SIG_IGN);
    unsetenv("COLUMNS");
    const struct CMUnitTest tests[] = {
        CLI_TEST(test_ask__silent_or_slow__given_up_in_time),
        CLI_TEST(test_ask__of_another_user__permission_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
