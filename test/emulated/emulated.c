/* SPDX-License-Identifier: MPL-2.0 */
/* Linked into each test program that runs under user-mode emulation (arm64), in front of two
 * functions:
 *
 * posix_spawn: the emulator can start only programs of the host. A program of the emulated
 * processor, such as the scripted dockerd or the log pump, is started through the emulator again.
 * _cmocka_run_group_tests: removes the tests that EMULATED_LEFT_OUT names, each with its reason.
 * They are not run and not counted. */
#include "unit/cm.h"

#include "paddock/cleanup.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 64

typedef int spawn_fn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                     const posix_spawnattr_t *attr, char *const argv[], char *const env[]);
spawn_fn __real_posix_spawn, __wrap_posix_spawn;

static bool is_foreign(const char *path) {
    Elf64_Ehdr h;
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &h, sizeof(h)) == sizeof(h) &&
           memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 && h.e_machine == EM_AARCH64;
}

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attr, char *const argv[], char *const env[]) {
    char program[PATH_MAX];
    char *args[ARGS_MAX] = {(char *)EMULATOR, program};
    snprintf(program, sizeof(program), "%s", path);
    if (strcmp(path, "/proc/self/exe") == 0) {
        ssize_t n = readlink(path, program, sizeof(program) - 1);
        program[n > 0 ? n : 0] = '\0';
    }
    if (!is_foreign(program))
        return __real_posix_spawn(pid, path, actions, attr, argv, env);
    for (size_t i = 1; argv[i] && i + 2 < ARGS_MAX; i++)
        args[i + 1] = argv[i];
    return __real_posix_spawn(pid, EMULATOR, actions, attr, args, env);
}

typedef int run_fn(const char *group, const struct CMUnitTest *tests, size_t n,
                   CMFixtureFunction setup, CMFixtureFunction teardown);
run_fn __real__cmocka_run_group_tests, __wrap__cmocka_run_group_tests;

/* Does a line of the list start with @name and a blank? */
static bool is_left_out(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; (p = strstr(p, name)); p += n)
        if ((p == list || p[-1] == '\n') && p[n] == ' ')
            return true;
    return false;
}

int __wrap__cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t n,
                                   CMFixtureFunction setup, CMFixtureFunction teardown) {
    AUTO_FREE struct CMUnitTest *left = calloc(n, sizeof(*left));
    AUTO_FREE char *list = NULL;
    size_t size = 0, count = 0;
    FILE *f = fopen(EMULATED_LEFT_OUT, "re");
    if (!left || !f || getdelim(&list, &size, '\0', f) < 0) {
        fprintf(stderr, "%s cannot be read\n", EMULATED_LEFT_OUT);
        return 1;
    }
    fclose(f);
    for (size_t i = 0; i < n; i++)
        if (!is_left_out(list, tests[i].name))
            left[count++] = tests[i];
    return count ? __real__cmocka_run_group_tests(group, left, count, setup, teardown) : 0;
}
