/* SPDX-License-Identifier: MPL-2.0 */
/* The text of a volume and the paths in it, against a folder with links that lead everywhere. The
 * answer to any text is an error, or a clean path below the folder. */
#include "paddock/path_below.h"
#include "paddock/path_text.h"
#include "src/create/create_steps.h"
#include "unit/tmp_dir.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[64];

static void must(int ok) {
    if (!ok)
        abort();
}

static void remove_root(void) {
    tmp_dir_remove(root);
}

static void make_root(void) {
    static const char *const links[][2] = {
        {"/", "abs"},           {"..", "up"},     {"a", "in"},
        {"../../..", "a/high"}, {"loop", "loop"}, {"no", "no2"},
    };
    char path[128];
    snprintf(root, sizeof(root), "/tmp/paddock-fuzz-XXXXXX");
    must(mkdtemp(root) != NULL);
    must(atexit(remove_root) == 0);
    snprintf(path, sizeof(path), "%s/a", root);
    must(mkdir(path, 0755) == 0);
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, links[i][1]);
        must(symlink(links[i][0], path) == 0);
    }
}

static void check_clean(const char *text) {
    AUTO_FREE char *once = path_text_clean(text);
    must(once != NULL);
    AUTO_FREE char *twice = path_text_clean(once);
    must(twice && strcmp(once, twice) == 0);
    must(!strstr(once, "//") && !strstr(once, "/./"));
    must((once[0] == '/') == (text[0] == '/'));
    must(once[0] != '/' || !(strstr(once, "/../") || strcmp(once, "/..") == 0));
}

static void check_resolve(const char *text) {
    AUTO_FREE char *path = path_text_join(root, text);
    AUTO_FREE char *real = NULL;
    AUTO_FD int fd = -EBADF;
    must(path != NULL);
    if (path_below_resolve(root, path, &real, &fd) < 0) {
        must(real == NULL && fd < 0);
        return;
    }
    size_t n = strlen(root);
    must(strncmp(real, root, n) == 0 && (real[n] == '\0' || real[n] == '/'));
    AUTO_FREE char *clean = path_text_clean(real);
    must(clean && strcmp(clean, real) == 0);
    if (fd < 0)
        return;
    /* The open object is the one that the kernel finds under that name without following a link. */
    struct stat a, b;
    must(fstat(fd, &a) == 0 && lstat(real, &b) == 0);
    must(a.st_ino == b.st_ino && a.st_dev == b.st_dev && !S_ISLNK(b.st_mode));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!root[0])
        make_root();
    AUTO_FREE char *text = strndup((const char *)data, size);
    must(text != NULL);
    check_clean(text);
    check_resolve(text);
    AUTO_FREE char *src = NULL;
    AUTO_FREE char *dst = NULL;
    AUTO_FREE char *mode = NULL;
    if (create_volumes_parse(text, &src, &dst, &mode) == 0) {
        must(!strchr(src, ':') && !strchr(dst, ':') && !strchr(mode, ':'));
        check_resolve(src);
    } else {
        must(!strchr(text, ':'));
    }
    return 0;
}
