/* SPDX-License-Identifier: MPL-2.0 */
/* Takes the place of libFuzzer. It passes each file of the folders that are its arguments to the
 * fuzz target. */
#include "paddock/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (64u << 10)

static int replay(int dir_fd, const char *name) {
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    AUTO_FREE uint8_t *whole = malloc(INPUT_MAX);
    ssize_t n = fd < 0 || !whole ? -1 : read(fd, whole, INPUT_MAX);
    /* An exact copy, so that ASan detects a read past the input. */
    AUTO_FREE uint8_t *data = n < 0 ? NULL : malloc((size_t)n);
    if (!data && n != 0)
        return -1;
    if (n > 0)
        memcpy(data, whole, (size_t)n);
    fprintf(stderr, "%s\n", name);
    return LLVMFuzzerTestOneInput(data, (size_t)n);
}

int main(int argc, char **argv) {
    int files = 0;
    if (LLVMFuzzerInitialize && LLVMFuzzerInitialize(&argc, &argv) != 0)
        return 1;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *e;
        while (dir && (e = readdir(dir))) {
            if (e->d_name[0] == '.')
                continue;
            if (replay(dirfd(dir), e->d_name) != 0)
                return 1;
            files++;
        }
        if (dir)
            closedir(dir);
    }
    return files ? 0 : 1;
}
