/* SPDX-License-Identifier: MPL-2.0 */
/* Where a container's log file is in Docker's folder. No other file is opened, and no link below
 * Docker's root is followed. */
#include "src/pump/pump_locate.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    char link_path[128];
    (void)state;
    snprintf(link_path, sizeof(link_path), "%s-link", root);
    unlink(link_path);
    return tmp_dir_remove(root);
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

static void test_pump_locate_open__root_is_a_link__opened(void **state) {
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

/* ---- Docker on this machine? ---- */

static struct {
    char path[128]; /* of the last request */
    const struct docker_get_ops *ops;
    void *ctx;
} request;
static int peer_error; /* what docker_peer() returns */

int __wrap_docker_multi_get(struct docker_multi *m, const char *path,
                            const struct docker_get_ops *ops, void *ctx, struct docker_get **ret);
int __wrap_docker_multi_get(struct docker_multi *m, const char *path,
                            const struct docker_get_ops *ops, void *ctx, struct docker_get **ret) {
    (void)m;
    snprintf(request.path, sizeof(request.path), "%s", path);
    request.ops = ops;
    request.ctx = ctx;
    *ret = NULL;
    return 0;
}

int __wrap_docker_peer(struct docker *d, pid_t *ret, struct err *err);
int __wrap_docker_peer(struct docker *d, pid_t *ret, struct err *err) {
    (void)d;
    (void)err;
    *ret = getpid();
    return peer_error;
}

static void reply(const char *text) {
    assert_int_equal(request.ops->on_data(request.ctx, text, strlen(text)), 0);
    request.ops->on_done(request.ctx, 0, 200, NULL);
}

static int answered; /* result of the last request; 1: none yet */

static void on_answer(void *ctx, int r, const struct pump_located *located) {
    (void)ctx;
    (void)located;
    answered = r;
}

static void ask(struct pump_locate *l, const char *path) {
    struct pump_question *q;
    answered = 1;
    assert_int_equal(pump_locate_ask(l, ID, on_answer, NULL, &q), 0);
    assert_string_equal(request.path, path);
}

/* Without a second request all logs would be read through the API until the pump ends. */
static void test_pump_locate__dockerd_ends_after_its_info__asked_again(void **state) {
    static const char info[] = "{\"DockerRootDir\":\"/var/lib/docker\"}";
    char path[PUMP_LOG_PATH_MAX];
    struct pump_locate *l;
    (void)state;
    assert_int_equal(pump_locate_new(NULL, NULL, &l), 0);
    peer_error = -ENOTCONN;
    reply(info);
    assert_int_equal(pump_locate_place(l, ID, path), -ENOENT);
    ask(l, "/info");
    reply(info);
    assert_int_equal(answered, -ENOTCONN);
    peer_error = 0;
    ask(l, "/info");
    reply(info);
    assert_int_equal(pump_locate_place(l, ID, path), 0);
    assert_string_equal(request.path, "/containers/" ID "/json");
    reply("{}");
    assert_int_equal(answered, 0);
    pump_locate_free(l);
}

static void test_pump_locate__docker_by_tcp__not_asked_again(void **state) {
    char path[PUMP_LOG_PATH_MAX];
    struct pump_locate *l;
    (void)state;
    assert_int_equal(pump_locate_new(NULL, NULL, &l), 0);
    peer_error = -EPROTONOSUPPORT;
    reply("{\"DockerRootDir\":\"/var/lib/docker\"}");
    assert_int_equal(pump_locate_place(l, ID, path), -ENOENT);
    ask(l, "/containers/" ID "/json");
    reply("{}");
    assert_int_equal(answered, 0);
    pump_locate_free(l);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(test_pump_locate_open__its_place__opened),
        CASE(test_pump_locate_open__root_is_a_link__opened),
        CASE(test_pump_locate_open__another_place__einval),
        CASE(test_pump_locate_open__folder_is_a_link__eloop),
        CASE(test_pump_locate__dockerd_ends_after_its_info__asked_again),
        CASE(test_pump_locate__docker_by_tcp__not_asked_again),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
