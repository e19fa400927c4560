/* SPDX-License-Identifier: MPL-2.0 */
/* The mounts of alloc and alloc/logs in a container are compared with the request. */
#include "paddock/docker.h"
#include "paddock/create.h"
#include "unit/cm.h"

#include <string.h>

#define ROOTFS "10 1 0:50 / / rw - overlay overlay rw\n"
#define PROC "11 10 0:51 / /proc rw - proc proc rw\n"
#define ALLOC "12 10 8:1 /nomad/a1/alloc /alloc rw,relatime - ext4 /dev/a rw\n"
#define LOGS "13 12 8:1 /nomad/a1/alloc/logs /alloc/logs ro - ext4 /dev/a rw\n"
#define LOCAL "14 10 8:1 /nomad/a1/web/local /local rw - ext4 /dev/a rw\n"
#define SECRETS "15 10 0:60 / /secrets rw - tmpfs tmpfs rw\n"

struct row {
    const char *alloc; /* its target */
    const char *mountinfo;
    int r;
};

static const struct row rows[] = {
    {"/alloc", ROOTFS PROC ALLOC LOGS LOCAL SECRETS, 0},
    {"/alloc", ROOTFS LOCAL SECRETS ALLOC LOGS, 0},
    /* a link of the image: /alloc -> /p1 */
    {"/alloc", ROOTFS "12 10 8:1 /nomad/a1/alloc /p1 rw - ext4 /dev/a rw\n" LOCAL, -EACCES},
    {"/alloc",
     ROOTFS "12 10 8:1 /nomad/a1/alloc /p1 rw - ext4 /dev/a rw\n"
            "13 12 8:1 /nomad/a1/alloc/logs /p1/logs ro - ext4 /dev/a rw\n",
     -EACCES},
    /* alloc/logs is mounted in another folder */
    {"/alloc", ROOTFS ALLOC "13 15 0:60 /nomad/a1/alloc/logs /secrets/logs ro - x x rw\n", -EACCES},
    {"/alloc", ROOTFS ALLOC, -EACCES},
    {"/alloc", ROOTFS LOGS, -EACCES},
    /* secrets covers alloc: /secrets -> /alloc */
    {"/alloc",
     ROOTFS ALLOC "15 12 0:60 / /alloc rw - tmpfs tmpfs rw\n"
                  "13 15 8:1 /nomad/a1/alloc/logs /alloc/logs ro - ext4 /dev/a rw\n",
     -EACCES},
    {"/alloc", ROOTFS ALLOC LOGS "16 13 0:60 / /alloc/logs rw - tmpfs tmpfs rw\n", -EACCES},
    /* a folder that is not the logs of alloc */
    {"/alloc", ROOTFS ALLOC "13 12 8:1 /etc /alloc/logs ro - ext4 /dev/a rw\n", -EACCES},
    {"/alloc", ROOTFS ALLOC "13 12 8:1 /nomad/a1/alloc2/logs /alloc/logs ro - x x rw\n", -EACCES},
    /* names with a blank; a target of the job's */
    {"/my alloc",
     ROOTFS "12 10 8:1 /n\\040d/a1/alloc /my\\040alloc rw - ext4 /dev/a rw\n"
            "13 12 8:1 /n\\040d/a1/alloc/logs /my\\040alloc/logs ro - ext4 /dev/a rw\n",
     0},
    {"/x/l", ROOTFS "12 10 8:1 /nomad/a1/alloc /p1 rw - ext4 /dev/a rw\n", -EACCES},
    /* damaged */
    {"/alloc", "", -EACCES},
    {"/alloc", "12\n\n13 x\n12 10 8:1 /nomad", -EACCES},
};

static json_t *request_with(const char *alloc) {
    json_t *request =
        json_pack("{s:{s:[s+,s,s,s++]}}", "HostConfig", "Binds", "/nomad/a1/alloc:", alloc,
                  "/nomad/a1/web/local:/local", "/nomad/a1/web/secrets:/secrets:Z",
                  "/nomad/a1/alloc/logs:", alloc, "/logs:ro");
    assert_non_null(request);
    return request;
}

static void test_verify__table__alloc_has_its_logs_on_top(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_JSON json_t *request = request_with(rows[i].alloc);
        struct err err = {0};
        int r = create_verify_mounts(request, rows[i].mountinfo, &err);
        if (r != rows[i].r)
            fail_msg("row %zu: %d, want %d: %s", i, r, rows[i].r, err.text);
        if (r < 0)
            assert_non_null(strstr(err.text, rows[i].alloc));
    }
}

static void test_verify__request_without_folders__einval(void **state) {
    AUTO_JSON json_t *request = json_pack("{s:{s:[s]}}", "HostConfig", "Binds", "/a:/alloc");
    struct err err = {0};
    (void)state;
    assert_int_equal(create_verify_mounts(request, ROOTFS ALLOC LOGS, &err), -EINVAL);
    assert_int_equal(create_verify_mounts(NULL, ROOTFS ALLOC LOGS, NULL), -EINVAL);
}

static void test_shows_rootfs__table__an_overlay_at_the_root(void **state) {
    static const struct {
        const char *mountinfo;
        bool is;
    } cases[] = {
        {ROOTFS PROC ALLOC, true},
        {PROC ALLOC ROOTFS, true},
        {PROC ALLOC, false},                                    /* chroot into a folder */
        {"15 10 0:60 / / rw - tmpfs tmpfs rw\n" ALLOC, false},  /* into secrets */
        {"14 10 8:1 /nomad/a1 / rw - ext4 /dev/a rw\n", false}, /* into local */
        {"14 10 0:50 /n/local / rw - overlay o rw\n", false},   /* on a host with an overlay */
        {"10 1 0:50 / / rw - btrfs x rw\n", false},
        {ROOTFS "16 10 0:70 / / rw - overlay overlay rw\n", false},
        {"10 1 0:50 / /x rw - overlay overlay rw\n", false},
        {"10 1 0:50 / / rw", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (create_verify_shows_rootfs(cases[i].mountinfo) != cases[i].is)
            fail_msg("case %zu", i);
}

static void test_usual_targets__other_ones__false(void **state) {
    AUTO_JSON json_t *usual = request_with("/alloc");
    AUTO_JSON json_t *other = request_with("/x/l");
    (void)state;
    assert_true(create_verify_has_usual_targets(usual));
    assert_false(create_verify_has_usual_targets(other));
    assert_false(create_verify_has_usual_targets(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify__table__alloc_has_its_logs_on_top),
        cmocka_unit_test(test_verify__request_without_folders__einval),
        cmocka_unit_test(test_shows_rootfs__table__an_overlay_at_the_root),
        cmocka_unit_test(test_usual_targets__other_ones__false),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
