/* SPDX-License-Identifier: MPL-2.0 */
/* The list of open log files: what a file that cannot be examined does to it. */
#include "src/pump/log_held.h"
#include "unit/cm.h"
#include "unit/pump/statx_wrap.h"

#include <fcntl.h>
#include <unistd.h>

static int new_file(off_t size) {
    char path[] = "/tmp/paddock-held-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

static void test_add__cannot_be_examined__error_and_list_as_before(void **state) {
    struct log_held h = {0};
    (void)state;
    assert_int_equal(log_held_add(&h, &(struct log_found){.fd = new_file(10)}), 0);
    int fd = new_file(20);
    statx_error = EIO;
    assert_int_equal(log_held_add(&h, &(struct log_found){.fd = fd}), -EIO);
    statx_error = 0;
    assert_int_equal(h.n, 1);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* the failed call has closed it */
    log_held_done(&h);
}

/* dockerd has written to the previous file after it was added. */
static void test_add__previous_has_grown__its_last_size_counts(void **state) {
    struct log_held h = {0};
    (void)state;
    assert_int_equal(log_held_add(&h, &(struct log_found){.fd = new_file(10)}), 0);
    assert_int_equal(ftruncate(h.files[0].fd, 30), 0);
    assert_int_equal(log_held_add(&h, &(struct log_found){.fd = new_file(20)}), 0);
    assert_int_equal(log_held_rotated(&h, 5), 25);
    assert_int_equal(log_held_bytes(&h, 5), 45);
    log_held_done(&h);
}

/* The new file is added even so, so that no lines are lost. */
static void test_add__previous_cannot_be_examined__added(void **state) {
    struct log_held h = {0};
    (void)state;
    assert_int_equal(log_held_add(&h, &(struct log_found){.fd = new_file(10)}), 0);
    close(h.files[0].fd);
    h.files[0].fd = -EBADF;
    assert_int_equal(log_held_add(&h, &(struct log_found){.fd = new_file(20)}), 0);
    assert_int_equal(h.n, 2);
    log_held_done(&h);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add__cannot_be_examined__error_and_list_as_before),
        cmocka_unit_test(test_add__previous_has_grown__its_last_size_counts),
        cmocka_unit_test(test_add__previous_cannot_be_examined__added),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
