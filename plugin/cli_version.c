/* SPDX-License-Identifier: MPL-2.0 */
/* The command `paddock version`: prints the version. With --verbose it prints what a bug report
 * needs to identify this binary: commit, compiler and libraries.
 *
 * cli.c calls it. Libraries inside the binary are listed with the Debian package that they
 * were taken from, so that they can be compared with security advisories. For shared
 * libraries the version of the machine counts, so both versions are printed: that of the
 * build and that of this machine. */
#include "plugin/cli.h"
#include "plugin/cli_out.h"

#include "paddock/cleanup.h"

#include "build_info.h"
#include "commit.h"

#include <curl/curl.h>
#include <features.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ROW "    %-12s %s\n"
#define NUMBER_OF(x) #x
#define NUMBER(x) NUMBER_OF(x)

static const char built_glibc[] = NUMBER(__GLIBC__) "." NUMBER(__GLIBC_MINOR__);

static void print_verbose(void) {
    puts("commit " BUILD_COMMIT);
    puts("compiler " BUILD_COMPILER);
    puts("libraries in the binary:");
    for (size_t i = 0; i < ARRAY_LEN(build_static); i++)
        printf(ROW, build_static[i].name, build_static[i].version);
    puts("shared libraries the binary was built with:");
    for (size_t i = 0; i < ARRAY_LEN(build_shared); i++)
        printf(ROW, build_shared[i].name, build_shared[i].version);
    printf(ROW, "glibc", built_glibc);
    puts("shared libraries of this machine:");
    printf(ROW, "curl", curl_version());
    printf(ROW, "glibc", gnu_get_libc_version());
}

int cli_version(int argc, char **argv) {
    bool verbose = argc == 2 && strcmp(argv[1], "--verbose") == 0;
    bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
    if (help || (argc > 1 && !verbose)) {
        fputs("usage: paddock version [--verbose]\n"
              "--verbose adds commit, compiler and libraries.\n",
              help ? stdout : stderr);
        return help ? cli_out_end(0) : 2;
    }
    puts("paddock " PADDOCK_VERSION);
    if (verbose)
        print_verbose();
    return cli_out_end(0);
}
