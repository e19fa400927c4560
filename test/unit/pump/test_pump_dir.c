/* SPDX-License-Identifier: MPL-2.0 */
/* Folders of pumps that were killed and whose Nomad client did not return. The plugin of the next
 * client removes only files that no process can need any more. */
#include "src/pump/pump_dir.h"
#include "src/pump/pump_proto.h"
#include "src/pump/pump_record.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define OWN "docker-0123456789abcdef"
#define OTHER "docker-fedcba9876543210"

struct fixture {
    char dir[64], own[128], alloc[128];
};

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    snprintf(x->dir, sizeof(x->dir), "/tmp/pump-dir-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    snprintf(x->own, sizeof(x->own), "%s/" OWN, x->dir);
    snprintf(x->alloc, sizeof(x->alloc), "%s/alloc", x->dir);
    assert_int_equal(mkdir(x->own, 0700), 0);
    assert_int_equal(mkdir(x->alloc, 0700), 0);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    assert_int_equal(tmp_dir_remove(x->dir), 0);
    free(x);
    return 0;
}

/* Makes the folder of a pump with the position of one task. The pump has its lock until @ret is
 * closed, as if it was killed then. */
static void leave(const struct fixture *x, const char *name, struct pump_dir *ret) {
    static char path[128];
    struct pump_record *r;
    bool fresh;
    snprintf(path, sizeof(path), "%s/%s", x->dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(pump_dir_open(path, ret), 0);
    assert_int_equal(pump_record_open(ret->records_fd, "c0ffee" PUMP_DONE, &r, &fresh), 0);
    snprintf(r->path[0], sizeof(r->path[0]), "%s/.web.stdout.fifo", x->alloc);
    r->magic = PUMP_RECORD_MAGIC;
    pump_record_close(r);
}

static void kill_pump(struct pump_dir *d) {
    d->records_fd = fd_close(d->records_fd); /* without it, closing removes no files */
    pump_dir_close(d);
}

static bool is_there(const struct fixture *x, const char *below) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", x->dir, below);
    return access(path, F_OK) == 0;
}

static void test_sweep__allocation_removed__files_removed(void **state) {
    struct fixture *x = *state;
    struct pump_dir d;
    leave(x, OTHER, &d);
    kill_pump(&d);
    assert_int_equal(rmdir(x->alloc), 0);
    pump_dir_sweep(x->own);
    assert_false(is_there(x, OTHER));
    assert_true(is_there(x, OWN));
}

/* Its client may return and continue after the last line. */
static void test_sweep__allocation_exists__files_kept(void **state) {
    struct fixture *x = *state;
    struct pump_dir d;
    leave(x, OTHER, &d);
    kill_pump(&d);
    pump_dir_sweep(x->own);
    assert_true(is_there(x, OTHER "/" PUMP_RECORDS "/c0ffee" PUMP_DONE));
}

static void test_sweep__pump_runs__files_kept(void **state) {
    struct fixture *x = *state;
    struct pump_dir d;
    leave(x, OTHER, &d);
    assert_int_equal(rmdir(x->alloc), 0);
    pump_dir_sweep(x->own);
    assert_true(is_there(x, OTHER "/" PUMP_RECORDS "/c0ffee" PUMP_DONE));
    kill_pump(&d);
}

static void test_sweep__folder_of_another_driver__kept(void **state) {
    static const char *const names[] = {"podman-fedcba9876543210", "docker-fedcba98765432100",
                                        "docker-x-fedcba9876543210", "docker-fedcba987654321g",
                                        "docker-fedcba9876543210.old"};
    struct fixture *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct pump_dir d;
        leave(x, names[i], &d);
        kill_pump(&d);
    }
    assert_int_equal(rmdir(x->alloc), 0);
    pump_dir_sweep(x->own);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_true(is_there(x, names[i]));
}

/* ---- A folder whose files were removed ---- */

static size_t count_fds(void) {
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Restoring the folder of @d fails with @r and leaves no descriptor open. */
static void restore_fails(struct pump_dir *d, int r) {
    size_t before = count_fds();
    assert_int_equal(pump_dir_restore(d), r);
    assert_int_equal(count_fds(), before);
}

static void remove_in(const struct fixture *x, const char *below) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", x->dir, below);
    assert_int_equal(remove(path), 0);
}

static void make_file(const struct fixture *x, const char *below) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", x->dir, below);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fclose(f);
}

static void test_restore__other_pump_has_the_lock__busy_and_nothing_leaks(void **state) {
    struct fixture *x = *state;
    struct pump_dir first, second;
    assert_int_equal(pump_dir_open(x->own, &first), 0);
    remove_in(x, OWN "/" PUMP_LOCK);
    assert_int_equal(pump_dir_open(x->own, &second), 0);
    restore_fails(&first, -EBUSY);
    kill_pump(&first);
    pump_dir_close(&second);
}

static void test_restore__records_cannot_be_opened__nothing_leaks(void **state) {
    struct fixture *x = *state;
    struct pump_dir d;
    assert_int_equal(pump_dir_open(x->own, &d), 0);
    remove_in(x, OWN "/" PUMP_RECORDS);
    make_file(x, OWN "/" PUMP_RECORDS);
    restore_fails(&d, -ENOTDIR);
    remove_in(x, OWN "/" PUMP_LOCK);
    restore_fails(&d, -ENOTDIR);
    kill_pump(&d);
}

/* Another pump must not get the lock during the restore. */
static void test_restore__socket_removed__lock_is_kept(void **state) {
    struct fixture *x = *state;
    struct pump_dir d, other;
    assert_int_equal(pump_dir_open(x->own, &d), 0);
    size_t before = count_fds();
    assert_int_equal(pump_dir_restore(&d), 1);
    assert_int_equal(count_fds(), before);
    assert_int_equal(pump_dir_open(x->own, &other), 1);
    pump_dir_close(&other);
    make_file(x, OWN "/" PUMP_SOCKET);
    assert_int_equal(pump_dir_restore(&d), 0);
    pump_dir_close(&d);
    assert_false(is_there(x, OWN));
}

static void test_close__lock_removed_and_other_pump_serves__its_files_kept(void **state) {
    struct fixture *x = *state;
    struct pump_dir first, second;
    assert_int_equal(pump_dir_open(x->own, &first), 0);
    remove_in(x, OWN "/" PUMP_LOCK);
    assert_int_equal(pump_dir_open(x->own, &second), 0);
    make_file(x, OWN "/" PUMP_SOCKET);
    pump_dir_close(&first);
    assert_true(is_there(x, OWN "/" PUMP_SOCKET));
    assert_true(is_there(x, OWN "/" PUMP_LOCK));
    pump_dir_close(&second);
    assert_false(is_there(x, OWN));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_sweep__allocation_removed__files_removed),
        T(test_sweep__allocation_exists__files_kept),
        T(test_sweep__pump_runs__files_kept),
        T(test_sweep__folder_of_another_driver__kept),
        T(test_restore__other_pump_has_the_lock__busy_and_nothing_leaks),
        T(test_restore__records_cannot_be_opened__nothing_leaks),
        T(test_restore__socket_removed__lock_is_kept),
        T(test_close__lock_removed_and_other_pump_serves__its_files_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
