/* SPDX-License-Identifier: MPL-2.0 */
/* A Docker config.json with credentials. If credentials are found, they can be sent. A refusal
 * returns no credentials. */
#include "src/image/image_auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    return setenv("PATH", "/nonexistent", 1); /* no helper is ever found */
}

static void look_up(const char *path, const char *registry) {
    AUTO_IMAGE_AUTH struct image_auth auth = {.username = NULL};
    const struct image_auth_sources sources = {.config = path};
    struct err err = {.set = false};
    int r = image_auth_lookup(&sources, registry, NULL, &auth, &err);
    if (r > 1 || (r < 0) != err.set)
        abort();
    if (r <= 0 && (auth.username || auth.password || auth.identity_token))
        abort();
    if (r <= 0)
        return;
    AUTO_FREE char *header = image_auth_header(&auth);
    if (!header || strncmp(header, "X-Registry-Auth: ", 17) != 0 || strpbrk(header, "\r\n"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    AUTO_FD int fd = memfd_create("config.json", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    look_up(path, "docker.io");
    look_up(path, "r.test:5000");
    return 0;
}
