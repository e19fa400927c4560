/* SPDX-License-Identifier: MPL-2.0 */
/* Nomad's log FIFOs: which links on the way to a FIFO are followed, and which files are
 * not opened. */
#include "paddock/logpump.h"
#include "unit/opens.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FIFO ".web.stdout.fifo"

struct fixture {
    char dir[64];
};

static void at(const struct fixture *x, const char *name, char out[256]) {
    snprintf(out, 256, "%s/%s", x->dir, name);
}

static void shell(const struct fixture *x, const char *line) {
    char command[1024];
    snprintf(command, sizeof(command), "cd %s && %s", x->dir, line);
    assert_int_equal(system(command), 0);
}

/* Makes a client's folder with two allocations that have a task of the same name. */
static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    snprintf(x->dir, sizeof(x->dir), "/tmp/paddock-fifo-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    shell(x, "mkdir -p client/mine/alloc/logs client/other/alloc/logs && "
             "mkfifo client/mine/alloc/logs/" FIFO " client/other/alloc/logs/" FIFO);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    assert_int_equal(tmp_dir_remove(x->dir), 0);
    free(x);
    return 0;
}

static int try_open(const char *path) {
    AUTO_FD int fd = -EBADF;
    int r = pump_fifo_open(path, &fd);
    assert_int_equal(fd >= 0, r == 0);
    return r;
}

/* A task replaces names below the client's folder. The other allocation's FIFO is not opened. */
static void test_pump_fifo_open__link_below_the_clients_folder__refused(void **state) {
    static const char *const swaps[] = {
        "cd client/mine/alloc/logs && mv " FIFO " away && ln -s ../../../other/alloc/logs/" FIFO
        " " FIFO,
        "cd client/mine/alloc && mv logs away && ln -s ../../other/alloc/logs logs",
        "cd client/mine && mv alloc away && ln -s ../other/alloc alloc",
        "cd client && mv mine away && ln -s other mine",
    };
    char path[256], other[256];
    for (size_t i = 0; i < ARRAY_LEN(swaps); i++) {
        struct fixture *x = *state;
        at(x, "client/mine/alloc/logs/" FIFO, path);
        at(x, "client/other/alloc/logs/" FIFO, other);
        AUTO_FD int opens = opens_watch(other);
        assert_int_equal(try_open(path), 0);
        shell(x, swaps[i]);
        print_message("%s\n", swaps[i]);
        assert_int_equal(try_open(path), -ELOOP);
        assert_false(opens_seen(opens));
        teardown(state);
        setup(state);
    }
}

/* The operator may have made the client's folder a link. */
static void test_pump_fifo_open__link_to_the_clients_folder__followed(void **state) {
    const struct fixture *x = *state;
    char path[256];
    shell(x, "mv client real && ln -s real client && ln -s . up");
    at(x, "up/client/mine/alloc/logs/" FIFO, path);
    assert_int_equal(try_open(path), 0);
}

/* In a path without Nomad's layout the owner of a folder is unknown. No link in it is followed. */
static void test_pump_fifo_open__other_layout__no_links(void **state) {
    const struct fixture *x = *state;
    char path[256];
    shell(x, "mkdir plain && mkfifo plain/fifo && ln -s plain linked && ln -s . up");
    static const struct {
        const char *path;
        int r;
    } rows[] = {{"plain/fifo", 0},
                {"linked/fifo", -ELOOP},
                {"up/plain/fifo", -ELOOP},
                {"up/client/mine/alloc/" FIFO, -ELOOP},
                {"client/mine/alloc/none/" FIFO, -ENOENT},
                {"up/client/mine/alloc/logs/sub/" FIFO, -ELOOP},
                {"client/mine/../alloc/logs/" FIFO, -EXDEV}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        at(x, rows[i].path, path);
        print_message("%s\n", rows[i].path);
        assert_int_equal(try_open(path), rows[i].r);
    }
    assert_int_equal(try_open("relative/fifo"), -EINVAL);
}

/* A task can put a device node there. An open() of a device node has effects, above all the pump's
 * with O_RDWR. */
static void test_pump_fifo_open__other_kind__not_opened(void **state) {
    const struct fixture *x = *state;
    char path[256];
    at(x, "client/mine/alloc/logs/file", path);
    shell(x, "touch client/mine/alloc/logs/file");
    AUTO_FD int opens = opens_watch(path);
    assert_int_equal(try_open(path), -EINVAL);
    assert_false(opens_seen(opens));
}

static void test_pump_fifo_open__no_log__no_fd(void **state) {
    (void)state;
    static const char *const paths[] = {"", "/dev/null"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int fd = 7;
        assert_int_equal(pump_fifo_open(paths[i], &fd), 0);
        assert_int_equal(fd, -EBADF);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_pump_fifo_open__link_below_the_clients_folder__refused),
        T(test_pump_fifo_open__link_to_the_clients_folder__followed),
        T(test_pump_fifo_open__other_layout__no_links),
        T(test_pump_fifo_open__other_kind__not_opened),
        T(test_pump_fifo_open__no_log__no_fd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
