/* SPDX-License-Identifier: MPL-2.0 */
/* The claim of one Nomad client. The plugin process that got a task last has the claim, even when
 * the file is removed or damaged. Two claims in one process act as two plugin processes. */
#include "src/task/claim.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
    char dir[64], run[80], path[128];
    struct claim *old, *young;
};

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    snprintf(x->dir, sizeof(x->dir), "/tmp/paddock-claim-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    snprintf(x->run, sizeof(x->run), "%s/run", x->dir);
    snprintf(x->path, sizeof(x->path), "%s/docker-1.claim", x->run);
    assert_int_equal(claim_new(x->path, &x->old), 0);
    assert_int_equal(claim_new(x->path, &x->young), 0);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    claim_free(x->old);
    claim_free(x->young);
    unlink(x->path);
    rmdir(x->path);
    rmdir(x->run);
    assert_int_equal(rmdir(x->dir), 0);
    free(x);
    return 0;
}

static void remove_all(const struct fixture *x) {
    assert_int_equal(unlink(x->path), 0);
    assert_int_equal(rmdir(x->run), 0);
}

static void take_both(struct fixture *x) {
    assert_int_equal(claim_take(x->old), 0);
    assert_int_equal(claim_is_ours(x->old), 1);
    assert_int_equal(claim_take(x->young), 0);
}

static void check(struct fixture *x, int old, int young) {
    assert_int_equal(claim_is_ours(x->old), old);
    assert_int_equal(claim_is_ours(x->young), young);
}

static void test_claim__never_taken__not_ours_and_no_file(void **state) {
    struct fixture *x = *state;
    check(x, 0, 0);
    assert_int_equal(access(x->path, F_OK), -1);
}

static void test_claim__taken_twice__last_one_has_it(void **state) {
    struct fixture *x = *state;
    take_both(x);
    check(x, 0, 1);
    check(x, 0, 1);
    /* later tasks of the same process change nothing */
    assert_int_equal(claim_take(x->young), 0);
    check(x, 0, 1);
}

/* An agent has connected to the old process again. */
static void test_claim__taken_back__ours_again(void **state) {
    struct fixture *x = *state;
    take_both(x);
    assert_int_equal(claim_take(x->old), 0);
    check(x, 1, 0);
}

static void test_claim__the_last_has_ended__nobodys(void **state) {
    struct fixture *x = *state;
    take_both(x);
    claim_free(TAKE_PTR(x->young));
    assert_int_equal(claim_is_ours(x->old), 0);
}

/* The process that has the claim makes the file again, whichever process checks first. */
static void test_claim__folder_removed__stays_with_the_last(void **state) {
    struct fixture *x = *state;
    for (int young_first = 0; young_first < 2; young_first++) {
        take_both(x);
        remove_all(x);
        if (young_first)
            assert_int_equal(claim_is_ours(x->young), 0); /* not certain yet */
        assert_int_equal(claim_is_ours(x->old), 0);
        assert_int_equal(claim_is_ours(x->old), 0);
        if (!young_first)
            assert_int_equal(claim_is_ours(x->young), 0);
        assert_int_equal(claim_is_ours(x->young), 1);
        check(x, 0, 1);
        remove_all(x);
    }
}

/* The old process does not know the file that the young one has made. */
static void test_claim__removed_before_the_second__last_one_has_it(void **state) {
    struct fixture *x = *state;
    assert_int_equal(claim_take(x->old), 0);
    remove_all(x);
    assert_int_equal(claim_take(x->young), 0);
    check(x, 0, 1);
}

/* It does not know that a file existed. It makes one, and relies on it after the next check. */
static void test_claim__removed_before_and_after__last_one_has_it(void **state) {
    struct fixture *x = *state;
    assert_int_equal(claim_take(x->old), 0);
    remove_all(x);
    assert_int_equal(claim_take(x->young), 0);
    remove_all(x);
    assert_int_equal(claim_is_ours(x->old), 0);
    assert_int_equal(claim_is_ours(x->young), 0);
    check(x, 0, 1);
}

static void test_claim__removed_and_alone__ours_at_the_next_check(void **state) {
    struct fixture *x = *state;
    assert_int_equal(claim_take(x->old), 0);
    remove_all(x);
    assert_int_equal(claim_is_ours(x->old), 0);
    assert_int_equal(claim_is_ours(x->old), 1);
}

static void test_claim__file_of_nonsense__ours_at_the_next_check(void **state) {
    static const char *const texts[] = {
        "", "\n", "x", "7", "7 ", "7 x\n", "7 1\n", "7 99999999999999999999999\n", "7 1x\n"};
    struct fixture *x = *state;
    assert_int_equal(claim_take(x->old), 0);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO_FD int fd = open(x->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        assert_int_equal(write(fd, texts[i], strlen(texts[i])), strlen(texts[i]));
        assert_int_equal(claim_is_ours(x->old), 0);
        assert_int_equal(claim_is_ours(x->old), 1);
    }
}

/* The time in the file is in the future. The clock was ahead before the machine restarted. */
static void test_claim__time_in_the_future__taken(void **state) {
    struct fixture *x = *state;
    assert_int_equal(mkdir(x->run, 0755), 0);
    AUTO_FD int fd = open(x->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "7 9000000000000000000\n", 22), 22);
    assert_int_equal(claim_take(x->old), 0);
    assert_int_equal(claim_is_ours(x->old), 1);
}

static void test_claim__is_no_file__nobodys_until_it_is(void **state) {
    struct fixture *x = *state;
    assert_int_equal(mkdir(x->run, 0755), 0);
    assert_int_equal(mkdir(x->path, 0755), 0);
    assert_true(claim_take(x->old) < 0);
    assert_true(claim_is_ours(x->old) < 0);
    assert_int_equal(rmdir(x->path), 0);
    assert_int_equal(symlink("elsewhere", x->path), 0);
    assert_int_equal(claim_take(x->old), -ELOOP);
    assert_int_equal(claim_is_ours(x->old), -ELOOP);
    assert_int_equal(unlink(x->path), 0);
    assert_int_equal(mkfifo(x->path, 0600), 0);
    assert_int_equal(claim_is_ours(x->old), -EINVAL);
    assert_int_equal(unlink(x->path), 0);
    assert_int_equal(claim_is_ours(x->old), 0);
    assert_int_equal(claim_is_ours(x->old), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CASE(test_claim__never_taken__not_ours_and_no_file),
        CASE(test_claim__taken_twice__last_one_has_it),
        CASE(test_claim__taken_back__ours_again),
        CASE(test_claim__the_last_has_ended__nobodys),
        CASE(test_claim__folder_removed__stays_with_the_last),
        CASE(test_claim__removed_before_the_second__last_one_has_it),
        CASE(test_claim__removed_before_and_after__last_one_has_it),
        CASE(test_claim__removed_and_alone__ours_at_the_next_check),
        CASE(test_claim__file_of_nonsense__ours_at_the_next_check),
        CASE(test_claim__time_in_the_future__taken),
        CASE(test_claim__is_no_file__nobodys_until_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
