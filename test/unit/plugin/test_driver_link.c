/* SPDX-License-Identifier: MPL-2.0 */
/* The links of `paddock enable` and `paddock disable`, in a folder that takes the place of "/". */
#include "plugin/driver_link.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static struct driver_link_host host = {.root = root, .program = "/usr/bin/paddock"};
static struct driver_link_dir found;
static struct err err;

static const char *at(const char *path) {
    static char ret[PATH_MAX];
    snprintf(ret, sizeof(ret), "%s%s", root, path);
    return ret;
}

static void make_folder(const char *path) {
    char part[PATH_MAX];
    for (const char *p = path + 1;; p++) {
        if (*p && *p != '/')
            continue;
        snprintf(part, sizeof(part), "%s%.*s", root, (int)(p - path), path);
        (void)mkdir(part, 0755);
        if (!*p)
            return;
    }
}

static void put(const char *path, const char *text, size_t len) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    make_folder(folder);
    FILE *f = fopen(at(path), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}
#define PUT(path, text) put(path, text, sizeof(text) - 1)
#define PUT_AGENT(pid, args) put("/proc/" pid "/cmdline", args, sizeof(args))

static int setup(void **state) {
    (void)state;
    snprintf(root, sizeof(root), "/tmp/driver-link-XXXXXX");
    err = (struct err){.set = false};
    found = (struct driver_link_dir){.sure = false};
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    driver_link_dir_done(&found);
    return tmp_dir_remove(root);
}

static void assert_found(const char *dir) {
    assert_int_equal(driver_link_find_dir(&host, &found, &err), 0);
    assert_string_equal(found.path, dir);
}

static void test_find_dir__running_agent__its_configuration(void **state) {
    (void)state;
    PUT("/etc/nomad.d/nomad.hcl", "plugin_dir = \"/wrong\"");
    PUT("/srv/a/1.hcl", "plugin_dir = \"/first\"");
    PUT("/srv/a/2.json", "{\"plugin_dir\": \"/second\"}");
    PUT("/srv/a/3.txt", "plugin_dir = \"/wrong\"");
    PUT("/proc/self-no-number/cmdline", "nomad");
    PUT_AGENT("7", "sh\0nomad\0agent");
    PUT_AGENT("8", "/usr/bin/nomad\0agent\0-config=/srv/a");
    assert_found("/second");
    assert_string_equal(found.source, "/srv/a/2.json");
    assert_true(found.sure);
}

static void test_find_dir__option_of_agent__precedes_its_files(void **state) {
    (void)state;
    PUT("/srv/a.hcl", "plugin_dir = \"/file\"");
    PUT_AGENT("8", "nomad\0agent\0-plugin-dir=/option\0-config=/srv/a.hcl");
    assert_found("/option");
}

static void test_find_dir__data_dir_alone__plugins_in_it(void **state) {
    (void)state;
    PUT("/etc/nomad.d/nomad.hcl", "data_dir = \"/data\"");
    assert_found("/data/plugins");
}

static void test_find_dir__relative_config__below_agents_folder(void **state) {
    (void)state;
    PUT("/srv/a.hcl", "plugin_dir = \"/p\"");
    PUT_AGENT("8", "nomad\0agent\0-config=a.hcl");
    assert_int_equal(symlink("/srv", at("/proc/8/cwd")), 0);
    assert_found("/p");
}

static void test_find_dir__two_agents__refused_when_they_differ(void **state) {
    (void)state;
    PUT_AGENT("8", "nomad\0agent\0-plugin-dir=/one");
    PUT_AGENT("9", "nomad\0agent\0-plugin-dir=/one");
    assert_found("/one");
    driver_link_dir_done(&found);
    PUT_AGENT("10", "nomad\0agent\0-plugin-dir=/two");
    assert_int_equal(driver_link_find_dir(&host, &found, &err), -EEXIST);
    assert_non_null(strstr(err.text, "--plugin-dir"));
}

static void test_find_dir__no_configuration__usual_folder(void **state) {
    (void)state;
    assert_int_equal(driver_link_find_dir(&host, &found, &err), -ENOENT);
    assert_non_null(strstr(err.text, "--plugin-dir"));
    make_folder("/opt/nomad/data/plugins");
    assert_found("/opt/nomad/data/plugins");
    assert_false(found.sure);
    driver_link_dir_done(&found);
    make_folder("/opt/nomad/plugins");
    assert_found("/opt/nomad/plugins");
}

static void test_find_dir__relative__refused(void **state) {
    (void)state;
    PUT("/etc/nomad.d/nomad.hcl", "plugin_dir = \"plugins\"");
    assert_int_equal(driver_link_find_dir(&host, &found, &err), -EINVAL);
    assert_non_null(strstr(err.text, "\"plugins\""));
}

static void assert_link(const char *path, const char *to) {
    char got[PATH_MAX];
    ssize_t n = readlink(at(path), got, sizeof(got) - 1);
    if (!to) {
        assert_int_equal(n, -1);
        return;
    }
    assert_true(n > 0);
    got[n] = '\0';
    assert_string_equal(got, to);
}

static void assert_listed(size_t n, const char *first) {
    AUTO_STRV struct strv links = {0};
    assert_int_equal(driver_link_list(&host, &links), 0);
    assert_int_equal(links.n, n);
    if (n > 0)
        assert_string_equal(links.v[0], first);
}

static void test_make__twice__one_link_one_note(void **state) {
    (void)state;
    assert_int_equal(driver_link_make(&host, "/opt/nomad/plugins", "docker", &err), 1);
    assert_int_equal(driver_link_make(&host, "/opt/nomad/plugins", "docker", &err), 0);
    assert_link("/opt/nomad/plugins/docker", "/usr/bin/paddock");
    assert_listed(1, "/opt/nomad/plugins/docker");
}

static void test_make__name_exists__existing_object_kept(void **state) {
    (void)state;
    PUT("/p/docker", "a driver of somebody else");
    assert_int_equal(driver_link_make(&host, "/p", "docker", &err), -EEXIST);
    assert_non_null(strstr(err.text, "/p/docker"));
    assert_int_equal(symlink("/usr/local/bin/other", at("/p/paddock")), 0);
    err_clear(&err);
    assert_int_equal(driver_link_make(&host, "/p", "paddock", &err), -EEXIST);
    assert_link("/p/paddock", "/usr/local/bin/other");
    assert_listed(0, NULL);
}

/* The disk becomes full while the list is written. A limit of the file size takes its place. */
static void test_make__list_cut_short__error_names_the_reason(void **state) {
    struct rlimit before, small = {.rlim_cur = 4};
    (void)state;
    make_folder("/p");
    make_folder("/var/lib/paddock");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    errno = ENOTDIR; /* of an earlier call */
    int r = driver_link_make(&host, "/p", "docker", &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(r, -EFBIG);
    assert_non_null(strstr(err.text, strerror(EFBIG)));
    assert_int_equal(access(at("/p/docker"), F_OK), -1);
    assert_int_equal(rmdir(at("/var/lib/paddock")), 0); /* no partial list is left */
}

static void test_remove__made_links__nothing_is_left(void **state) {
    struct stat st;
    (void)state;
    assert_int_equal(driver_link_make(&host, "/p", "docker", &err), 1);
    assert_int_equal(driver_link_make(&host, "/p", "paddock", &err), 1);
    assert_listed(2, "/p/docker");
    assert_int_equal(driver_link_remove(&host, "/p", "docker", &err), 1);
    assert_link("/p/docker", NULL);
    assert_listed(1, "/p/paddock");
    assert_int_equal(driver_link_remove(&host, "/p", "paddock", &err), 1);
    assert_int_equal(driver_link_remove(&host, "/p", "paddock", &err), 0);
    assert_int_equal(stat(at("/var/lib/paddock"), &st), -1);
}

static void test_remove__other_file__kept(void **state) {
    struct stat st;
    (void)state;
    PUT("/p/docker", "a driver of somebody else");
    assert_int_equal(driver_link_remove(&host, "/p", "docker", &err), -EEXIST);
    assert_int_equal(stat(at("/p/docker"), &st), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CASE(test_find_dir__running_agent__its_configuration),
        CASE(test_find_dir__option_of_agent__precedes_its_files),
        CASE(test_find_dir__data_dir_alone__plugins_in_it),
        CASE(test_find_dir__relative_config__below_agents_folder),
        CASE(test_find_dir__two_agents__refused_when_they_differ),
        CASE(test_find_dir__no_configuration__usual_folder),
        CASE(test_find_dir__relative__refused),
        CASE(test_make__twice__one_link_one_note),
        CASE(test_make__name_exists__existing_object_kept),
        CASE(test_make__list_cut_short__error_names_the_reason),
        CASE(test_remove__made_links__nothing_is_left),
        CASE(test_remove__other_file__kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
