/* Docker's place for a log file: nothing else is opened, and no link below Docker's root is
 * followed. */
#include "src/pump/pump_locate.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ID "c0de000000000000000000000000000000000000000000000000000000000001"

static char root[64];

static int setup(void **state) {
    char path[256];
    (void)state;
    snprintf(root, sizeof(root), "/tmp/paddock-locate-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(path, sizeof(path), "%s/containers", root);
    if (mkdir(path, 0700) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/containers/" ID, root);
    return mkdir(path, 0700);
}

static int teardown(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s %s-link", root, root);
    return system(command);
}

static int open_at(const char *below) {
    char path[512];
    int fd = -EBADF;
    snprintf(path, sizeof(path), "%s%s", root, below);
    int r = pump_locate_open(path, ID, &fd);
    assert_true((r == 0) == (fd >= 0));
    fd_close(fd);
    return r;
}

static void test_pump_locate_open__its_place__opened(void **state) {
    (void)state;
    assert_int_equal(open_at("/containers/" ID "/" ID "-json.log"), 0);
}

static void test_pump_locate_open__root_behind_a_link__opened(void **state) {
    char link[128], path[512];
    int fd = -EBADF;
    (void)state;
    snprintf(link, sizeof(link), "%s-link", root);
    assert_int_equal(symlink(root, link), 0);
    snprintf(path, sizeof(path), "%s/containers/" ID "/" ID "-json.log", link);
    assert_int_equal(pump_locate_open(path, ID, &fd), 0);
    close(fd);
}

static void test_pump_locate_open__another_place__einval(void **state) {
    static const char *const places[] = {
        "/containers/" ID "/other-json.log",
        "/containers/" ID "/" ID "-json.log.1",
        "/containers/" ID "/../" ID "-json.log",
        "/elsewhere/" ID "-json.log",
        "/etc/shadow",
        "",
    };
    int fd;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        assert_int_equal(open_at(places[i]), -EINVAL);
    assert_int_equal(pump_locate_open("/containers/" ID "/" ID "-json.log", ID, &fd), -EINVAL);
}

static void test_pump_locate_open__folder_is_a_link__eloop(void **state) {
    char path[256];
    (void)state;
    snprintf(path, sizeof(path), "%s/containers/" ID, root);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(open_at("/containers/" ID "/" ID "-json.log"), -ENOENT);
    assert_int_equal(symlink("/etc", path), 0);
    assert_int_equal(open_at("/containers/" ID "/" ID "-json.log"), -ELOOP);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(test_pump_locate_open__its_place__opened),
        CASE(test_pump_locate_open__root_behind_a_link__opened),
        CASE(test_pump_locate_open__another_place__einval),
        CASE(test_pump_locate_open__folder_is_a_link__eloop),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
