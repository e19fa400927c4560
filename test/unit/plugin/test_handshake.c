/* SPDX-License-Identifier: MPL-2.0 */
/* The handshake with go-plugin's host: the role of the process, the line that it prints, and the
 * folder of its socket. */
#include "plugin/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- Role ---- */

static void test_role(void **state) {
    char *none[] = {(char *)"paddock", NULL};
    char *status[] = {(char *)"paddock", (char *)"status", NULL};
    char *pump[] = {(char *)"paddock", (char *)"logpump", NULL};
    (void)state;
    assert_int_equal(handshake_role(1, none, HANDSHAKE_COOKIE), ROLE_PLUGIN);
    /* `args` in the plugin block do not change the role. */
    assert_int_equal(handshake_role(2, status, HANDSHAKE_COOKIE), ROLE_PLUGIN);
    assert_int_equal(handshake_role(2, pump, HANDSHAKE_COOKIE), ROLE_LOGPUMP);
    assert_int_equal(handshake_role(2, pump, NULL), ROLE_LOGPUMP);
    assert_int_equal(handshake_role(2, status, NULL), ROLE_COMMAND);
    assert_int_equal(handshake_role(1, none, NULL), ROLE_LOST);
    assert_int_equal(handshake_role(1, none, "nonsense"), ROLE_LOST);
    assert_int_equal(handshake_role(2, status, ""), ROLE_LOST);
}

/* ---- Name ---- */

static void test_driver_name(void **state) {
    char name[16] = "kept";
    (void)state;
    assert_int_equal(handshake_driver_name("/opt/nomad/plugins/docker", name, sizeof(name)), 0);
    assert_string_equal(name, "docker");
    assert_int_equal(handshake_driver_name("paddock.exe", name, sizeof(name)), 0);
    assert_string_equal(name, "paddock");
    assert_int_equal(handshake_driver_name("./a.b", name, sizeof(name)), 0);
    assert_string_equal(name, "a.b");
    assert_int_equal(handshake_driver_name("123456789012345", name, sizeof(name)), 0);
    assert_string_equal(name, "123456789012345");
    assert_int_equal(handshake_driver_name("1234567890123456", name, sizeof(name)), -EINVAL);
    assert_int_equal(handshake_driver_name("", name, sizeof(name)), -EINVAL);
    assert_int_equal(handshake_driver_name("/opt/", name, sizeof(name)), -EINVAL);
    /* A Go host would refuse the first name in PluginInfo without a reason. */
    static const char *const bad[] = {"dock\377er", "d\303\266cker", "a b", "a\nb", "a\"b", "a|b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(handshake_driver_name(bad[i], name, sizeof(name)), -EINVAL);
    assert_string_equal(name, "123456789012345"); /* not changed by failures */
}

/* ---- Line ---- */

static void test_line(void **state) {
    char line[HANDSHAKE_LINE_MAX];
    (void)state;
    assert_int_equal(handshake_line("/tmp/x/plugin.sock", line), 34);
    assert_string_equal(line, "1|2|unix|/tmp/x/plugin.sock|grpc|\n");
}

static void test_write__one_piece(void **state) {
    int fds[2];
    char got[256] = "";
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(handshake_write(fds[1], "/p"), 0);
    close(fds[1]);
    assert_int_equal(read(fds[0], got, sizeof(got) - 1), 18);
    assert_string_equal(got, "1|2|unix|/p|grpc|\n");
    close(fds[0]);
    assert_int_equal(handshake_write(-1, "/p"), -EBADF);
}

/* ---- Socket ---- */

struct folder {
    char path[64];
};

static int folder_make(void **state) {
    static struct folder f;
    snprintf(f.path, sizeof(f.path), "/tmp/handshake-test-XXXXXX");
    *state = &f;
    return mkdtemp(f.path) ? 0 : -1;
}

static int folder_remove(void **state) {
    struct folder *f = *state;
    return rmdir(f->path); /* fails when a test left something there */
}

static void test_socket__wanted_folder__private(void **state) {
    struct folder *f = *state;
    struct handshake_socket s;
    struct stat st;
    assert_int_equal(handshake_socket_make(f->path, "/nonexistent", &s, NULL), 0);
    assert_int_equal(strncmp(s.dir, f->path, strlen(f->path)), 0);
    assert_int_equal(strncmp(s.path, s.dir, strlen(s.dir)), 0);
    assert_int_equal(stat(s.dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(s.path, &st), -1); /* the listener creates it later */

    FILE *file = fopen(s.path, "w");
    assert_non_null(file);
    fclose(file);
    handshake_socket_remove(&s);
    assert_int_equal(s.dir[0], '\0');
    handshake_socket_remove(&s);
}

static void test_socket__tmpdir(void **state) {
    struct folder *f = *state;
    struct handshake_socket s;
    assert_int_equal(handshake_socket_make("", f->path, &s, NULL), 0);
    assert_int_equal(strncmp(s.dir, f->path, strlen(f->path)), 0);
    handshake_socket_remove(&s);
}

static void test_socket__tmpdir_unusable__tmp(void **state) {
    char longer[200];
    struct handshake_socket s;
    (void)state;
    memset(longer, 'a', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(handshake_socket_make(NULL, longer, &s, NULL), 0);
    assert_int_equal(strncmp(s.dir, "/tmp/paddock-", 13), 0);
    handshake_socket_remove(&s);
    assert_int_equal(handshake_socket_make(NULL, "/tmp/a|b", &s, NULL), 0);
    assert_int_equal(strncmp(s.dir, "/tmp/paddock-", 13), 0);
    handshake_socket_remove(&s);
}

static void test_socket__wanted_folder_unusable__reported(void **state) {
    char longer[200];
    struct handshake_socket s = {.dir = "kept"};
    struct err err = {.set = false};
    (void)state;
    memset(longer, 'a', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(handshake_socket_make(longer, NULL, &s, &err), -ENAMETOOLONG);
    assert_non_null(strstr(err.text, "PLUGIN_UNIX_SOCKET_DIR"));
    assert_int_equal(handshake_socket_make("/tmp/a|b", NULL, &s, NULL), -EINVAL);
    assert_int_equal(handshake_socket_make("/nonexistent", NULL, &s, NULL), -ENOENT);
    assert_string_equal(s.dir, "kept");
}

static void make_socket(const char *dir, bool listens, int *ret_fd) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/plugin.sock", dir);
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*ret_fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    if (listens)
        assert_int_equal(listen(*ret_fd, 1), 0);
}

/* The folder of a killed plugin has a socket, and no process holds its lock. */
static void test_socket__folder_of_a_killed_plugin__removed(void **state) {
    struct folder *f = *state;
    struct handshake_socket s;
    char dead[128];
    int fd;
    snprintf(dead, sizeof(dead), "%s/paddock-aB3dEf", f->path);
    assert_int_equal(mkdir(dead, 0700), 0);
    make_socket(dead, false, &fd);
    close(fd);
    assert_int_equal(handshake_socket_make(f->path, NULL, &s, NULL), 0);
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(s.dir, F_OK), 0);
    handshake_socket_remove(&s);
}

/* One plugin has bound its socket and does not listen yet. Another one is of an older version. */
static void test_socket__folders_of_running_plugins__kept(void **state) {
    struct folder *f = *state;
    struct handshake_socket binding, s;
    char older[128], older_socket[160];
    int fd, older_fd;
    assert_int_equal(handshake_socket_make(f->path, NULL, &binding, NULL), 0);
    make_socket(binding.dir, false, &fd);
    snprintf(older, sizeof(older), "%s/paddock-older1", f->path);
    snprintf(older_socket, sizeof(older_socket), "%s/plugin.sock", older);
    assert_int_equal(mkdir(older, 0700), 0);
    make_socket(older, true, &older_fd);
    assert_int_equal(handshake_socket_make(f->path, NULL, &s, NULL), 0);
    assert_int_equal(access(binding.path, F_OK), 0);
    assert_int_equal(access(older_socket, F_OK), 0);
    close(fd);
    close(older_fd);
    handshake_socket_remove(&s);
    handshake_socket_remove(&binding);
    assert_int_equal(handshake_socket_make(f->path, NULL, &s, NULL), 0);
    assert_int_equal(access(older, F_OK), -1); /* its plugin has ended */
    handshake_socket_remove(&s);
}

/* Other names, other kinds of files, other users' folders, and a folder with more than a socket. */
static void test_socket__other_files_and_folders__kept(void **state) {
    struct folder *f = *state;
    struct handshake_socket s;
    char path[6][128];
    static const char *const names[] = {"paddock-toolong", "paddock-ab_def", "paddock-linked",
                                        "paddock-others",  "paddock-filled", "target"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path[i], sizeof(path[i]), "%s/%s", f->path, names[i]);
        if (i != 2)
            assert_int_equal(mkdir(path[i], 0700), 0);
    }
    assert_int_equal(symlink("target", path[2]), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path[3], 65534, 65534), 0);
    char file[160];
    snprintf(file, sizeof(file), "%s/file", path[4]);
    assert_int_equal(mkdir(file, 0700), 0);
    assert_int_equal(handshake_socket_make(f->path, NULL, &s, NULL), 0);
    handshake_socket_remove(&s);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct stat st;
        if (i == 3 && geteuid() != 0)
            continue;
        assert_int_equal(lstat(path[i], &st), 0);
    }
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(unlink(path[2]), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (i != 2)
            (void)rmdir(path[i]);
}

/* The longest path that fits: 107 bytes and the NUL. */
static void test_socket__longest_path__fits(void **state) {
    struct folder *f = *state;
    size_t fixed = strlen("/paddock-XXXXXX") + strlen("/plugin.sock");
    size_t len = 107 - fixed;
    char dir[128];
    struct handshake_socket s;
    memset(dir, 'd', sizeof(dir));
    memcpy(dir, f->path, strlen(f->path));
    dir[strlen(f->path)] = '/';
    dir[len] = '\0';
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(handshake_socket_make(dir, NULL, &s, NULL), 0);
    assert_int_equal(strlen(s.path), 107);
    handshake_socket_remove(&s);
    rmdir(dir);
    dir[len] = 'd';
    dir[len + 1] = '\0';
    assert_int_equal(handshake_socket_make(dir, NULL, &s, NULL), -ENAMETOOLONG);
}

int main(int argc, char **argv) {
#define WITH(t) cmocka_unit_test_setup_teardown(t, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_role),
        cmocka_unit_test(test_driver_name),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_write__one_piece),
        WITH(test_socket__wanted_folder__private),
        WITH(test_socket__tmpdir),
        cmocka_unit_test(test_socket__tmpdir_unusable__tmp),
        cmocka_unit_test(test_socket__wanted_folder_unusable__reported),
        WITH(test_socket__folder_of_a_killed_plugin__removed),
        WITH(test_socket__folders_of_running_plugins__kept),
        WITH(test_socket__other_files_and_folders__kept),
        WITH(test_socket__longest_path__fits),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
