/* SPDX-License-Identifier: MPL-2.0 */
/* Mount points for the sources that a job may mount, with real mounts. The test runs as root in its
 * own mount namespace, whose tree is shared like a host's. */
#include "unit/cm.h"

#include "paddock/cleanup.h"
#include "src/task/source_mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char root[64]; /* a tmpfs, shared */
static char dir[96];  /* root/run */

static void in_root(char out[256], const char *name) {
    snprintf(out, 256, "%s/%s", root, name);
}

static void make_dir(const char *name) {
    char path[256];
    in_root(path, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_file(const char *name) {
    char path[256];
    in_root(path, name);
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "text", 4), 4);
}

static bool is_there(const char *name) {
    char path[256];
    struct stat st;
    in_root(path, name);
    return lstat(path, &st) == 0;
}

/* Counts the lines of mountinfo that contain @word and have a mount point below @name. */
static unsigned count_mounts(const char *name, const char *word) {
    char prefix[300], line[4096], *p;
    unsigned n = 0;
    snprintf(prefix, sizeof(prefix), " %s/%s", root, name);
    FILE *f = fopen("/proc/self/mountinfo", "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        n += (p = strstr(line, prefix)) && strstr(p, word);
    fclose(f);
    return n;
}

static int setup_once(void **state) {
    (void)state;
    if (unshare(CLONE_NEWNS) < 0) {
        print_error("needs root: %s\n", strerror(errno));
        return -1;
    }
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int setup(void **state) {
    (void)state;
    snprintf(root, sizeof(root), "/tmp/paddock-mounts-XXXXXX");
    assert_non_null(mkdtemp(root));
    assert_int_equal(mount("test", root, "tmpfs", 0, NULL), 0);
    assert_int_equal(mount(NULL, root, NULL, MS_SHARED, NULL), 0);
    snprintf(dir, sizeof(dir), "%s/run", root);
    make_dir("task");
    make_file("task/conf");
    make_dir("task/secrets");
    char path[256];
    in_root(path, "task/secrets");
    assert_int_equal(mount("secrets", path, "tmpfs", MS_NOEXEC, NULL), 0);
    make_file("task/secrets/key");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    assert_int_equal(umount2(root, MNT_DETACH), 0);
    return rmdir(root);
}

#define SOURCES_MAX 3
struct list {
    struct create_source v[SOURCES_MAX];
    struct create_sources s;
};

static void add(struct list *l, const char *path_below, bool is_dir, bool shared) {
    static char names[SOURCES_MAX][32];
    char path[256];
    size_t i = l->s.n++;
    in_root(path, path_below);
    snprintf(names[i], sizeof(names[i]), "%zu-x", i);
    l->v[i] = (struct create_source){
        .fd = open(path, O_PATH | O_CLOEXEC), .name = names[i], .is_dir = is_dir, .shared = shared};
    l->v[i].text = (char *)"local/x:/x";
    assert_true(l->v[i].fd >= 0);
    l->s.v = l->v;
}

static void list_done(struct list *l) {
    for (size_t i = 0; i < l->s.n; i++)
        close(l->v[i].fd);
}
#define AUTO_LIST __attribute__((cleanup(list_done)))

static void make(const char *container, const struct list *l) {
    struct err err = {0};
    int r = source_mounts_make(dir, container, &l->s, &err);
    if (r < 0)
        fail_msg("%d %s", r, err.text);
}

static void assert_all_removed(void) {
    assert_int_equal(count_mounts("run", ""), 0);
    assert_false(is_there("run"));
    /* the originals have not changed */
    assert_int_equal(count_mounts("task/secrets", "secrets"), 1);
    assert_true(is_there("task/secrets/key") && is_there("task/conf"));
}

static void test_make__folder_and_file__exist_until_removed(void **state) {
    (void)state;
    struct stat st;
    AUTO_LIST struct list l = {0};
    add(&l, "task", true, false);
    add(&l, "task/conf", false, false);
    make("web-a1", &l);
    assert_true(is_there("run/web-a1/0-x/conf"));
    assert_true(is_there("run/web-a1/0-x/secrets/key")); /* mounts below it are included */
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(count_mounts("run", ""), 3);
    assert_int_equal(count_mounts("run", "shared:"), 0);
    assert_int_equal(count_mounts("run", "noexec"), 1);
    assert_int_equal(source_mounts_remove(dir, "web-a1"), 1);
    assert_all_removed();
    assert_int_equal(source_mounts_remove(dir, "web-a1"), 0);
}

/* The open object is mounted, even when its name leads to another one or was removed. */
static void test_make__name_swapped__open_object_mounted(void **state) {
    (void)state;
    char from[256], to[256];
    AUTO_LIST struct list l = {0};
    make_dir("task/data");
    make_file("task/data/mine");
    add(&l, "task/data", true, false);
    add(&l, "task/conf", false, false);
    in_root(from, "task/data");
    in_root(to, "task/moved");
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(symlink("/etc", from), 0);
    make("web-a1", &l);
    assert_true(is_there("run/web-a1/0-x/mine"));
    assert_int_equal(source_mounts_remove(dir, "web-a1"), 1);
    assert_all_removed();
    assert_true(is_there("task/moved/mine"));
}

/* A mount is shared until it is removed. The mounts below the original must stay. */
static void test_make__shared__original_keeps_its_mounts(void **state) {
    (void)state;
    char path[256];
    AUTO_LIST struct list l = {0};
    add(&l, "task", true, true);
    make("web-a1", &l);
    assert_true(count_mounts("run/web-a1/0-x", "shared:") > 0);
    in_root(path, "task/secrets");
    assert_int_equal(mount("second", path, "tmpfs", 0, NULL), 0); /* propagates */
    assert_int_equal(count_mounts("run/web-a1/0-x/secrets", "second"), 1);
    assert_int_equal(source_mounts_remove(dir, "web-a1"), 1);
    assert_int_equal(count_mounts("task/secrets", "second"), 1);
    assert_int_equal(umount2(path, MNT_DETACH), 0);
    assert_all_removed();
}

/* Another namespace receives the host's mounts, as with many services of systemd. No mount is left
 * in it. */
static void test_remove__following_namespace__nothing_left_there(void **state) {
    (void)state;
    int go[2], ready[2];
    char byte;
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
            write(ready[1], "x", 1) != 1 || read(go[0], &byte, 1) != 0)
            _exit(100);
        _exit((int)count_mounts("run", ""));
    }
    close(ready[1]);
    close(go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    AUTO_LIST struct list l = {0};
    add(&l, "task", true, false);
    make("web-a1", &l);
    assert_int_equal(source_mounts_remove(dir, "web-a1"), 1);
    close(go[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_all_removed();
}

static void test_make__again__existing_ones_replaced(void **state) {
    (void)state;
    AUTO_LIST struct list l = {0};
    AUTO_LIST struct list other = {0};
    add(&l, "task", true, false);
    add(&l, "task/conf", false, false);
    add(&other, "task/secrets", true, false);
    make("web-a1", &l);
    make("web-a1", &other);
    assert_int_equal(count_mounts("run", ""), 1);
    assert_true(is_there("run/web-a1/0-x/key"));
    assert_int_equal(source_mounts_remove(dir, "web-a1"), 1);
    assert_all_removed();
}

static void test_make__one_fails__none_left_and_named(void **state) {
    (void)state;
    struct err err = {0};
    AUTO_LIST struct list l = {0};
    add(&l, "task", true, false);
    add(&l, "task/conf", true, false); /* a file on a folder */
    assert_int_equal(source_mounts_make(dir, "web-a1", &l.s, &err), -ENOTDIR);
    assert_string_equal(err.text, "cannot mount \"local/x:/x\": Not a directory");
    assert_all_removed();
}

/* The agent is not root, or is confined. */
static void test_make__may_not_mount__eperm_and_nothing_left(void **state) {
    (void)state;
    AUTO_LIST struct list l = {0};
    add(&l, "task", true, false);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char path[256];
        struct err err = {0};
        in_root(path, "");
        if (chown(path, 12345, 12345) < 0 || setresuid(12345, 12345, 12345) < 0)
            _exit(100);
        _exit(source_mounts_make(dir, "web-a1", &l.s, &err) == -EPERM ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_all_removed();
}

static void test_list__some__names_of_containers(void **state) {
    (void)state;
    AUTO_STRV struct strv names = {0};
    AUTO_LIST struct list l = {0};
    assert_int_equal(source_mounts_list(dir, &names), 0);
    assert_int_equal(names.n, 0);
    add(&l, "task/conf", false, false);
    make("web-a1", &l);
    make("web-b2", &l);
    assert_int_equal(source_mounts_list(dir, &names), 0);
    assert_int_equal(names.n, 2);
    assert_int_equal(source_mounts_remove(dir, "web-a1"), 1);
    assert_true(is_there("run/web-b2/0-x"));
    assert_int_equal(source_mounts_remove(dir, "web-b2"), 1);
    assert_all_removed();
}

/* A link to another folder has its name. */
static void test_make__dir_is_a_link__refused(void **state) {
    (void)state;
    struct err err = {0};
    AUTO_LIST struct list l = {0};
    add(&l, "task", true, false);
    assert_int_equal(symlink("task", dir), 0);
    assert_true(source_mounts_make(dir, "web-a1", &l.s, &err) < 0);
    assert_non_null(strstr(err.text, "/run/web-a1: "));
    assert_false(is_there("task/web-a1"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(test_make__folder_and_file__exist_until_removed),
        TEST(test_make__name_swapped__open_object_mounted),
        TEST(test_make__shared__original_keeps_its_mounts),
        TEST(test_remove__following_namespace__nothing_left_there),
        TEST(test_make__again__existing_ones_replaced),
        TEST(test_make__one_fails__none_left_and_named),
        TEST(test_make__may_not_mount__eperm_and_nothing_left),
        TEST(test_list__some__names_of_containers),
        TEST(test_make__dir_is_a_link__refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup_once, NULL);
}
