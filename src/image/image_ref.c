/* SPDX-License-Identifier: MPL-2.0 */
/* Names of images, parsed by the grammar of Docker's "distribution reference".
 *
 * Pulls, removals and the look-up of credentials use it. Docker writes a name in its answers in a
 * shorter form than people may write it ("busybox:latest" for "docker.io/library/busybox"), so
 * names are compared in that form. */
#include "src/image/image_ref.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_LEN 255 /* registry and path together */
#define TAG_MAX 128
#define DIGEST_HEX_MIN 32
#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define HEX "0123456789abcdefABCDEF"

/* [a-z0-9]+ joined by one of "." "_" "__" "-"+ */
static bool is_path_part(const char *s, size_t len) {
    size_t i = 0;
    while (i < len) {
        size_t n = strspn(s + i, LOWER);
        if (n == 0 || i + n > len)
            return false;
        i += n;
        if (i == len)
            return true;
        size_t dashes = strspn(s + i, "-");
        if (dashes > 0)
            i += dashes;
        else if (s[i] == '_')
            i += s[i + 1] == '_' ? 2 : 1;
        else if (s[i] == '.')
            i++;
        else
            return false;
    }
    return false; /* empty, or it ends with a separator */
}

static bool is_path(const char *s, size_t len) {
    for (;;) {
        const char *slash = memchr(s, '/', len);
        size_t part = slash ? (size_t)(slash - s) : len;
        if (!is_path_part(s, part))
            return false;
        if (!slash)
            return true;
        s += part + 1;
        len -= part + 1;
    }
}

/* host, host:port or [v6]:port; labels neither begin nor end with a dash */
static bool is_registry(const char *s, size_t len) {
    size_t i = 0;
    if (len > 0 && s[0] == '[') {
        size_t n = strspn(s + 1, HEX ":");
        i = n + 2;
        if (n == 0 || i > len || s[n + 1] != ']')
            return false;
    } else {
        for (;;) {
            size_t n = strspn(s + i, LOWER UPPER "-");
            if (n == 0 || i + n > len || s[i] == '-' || s[i + n - 1] == '-')
                return false;
            i += n;
            if (i == len || s[i] != '.')
                break;
            i++;
        }
    }
    if (i == len)
        return true;
    if (s[i] != ':')
        return false;
    size_t port = strspn(s + i + 1, "0123456789");
    return port > 0 && i + 1 + port == len;
}

static bool is_tag(const char *s, size_t len) {
    return len > 0 && len <= TAG_MAX && s[0] != '.' && s[0] != '-' &&
           strspn(s, LOWER UPPER "_.-") >= len;
}

/* algorithm (letters first, parts joined by one of -_+.) ":" at least 32 hex digits */
static bool is_digest(const char *s) {
    for (;;) {
        size_t n = strspn(s, LOWER UPPER);
        if (n == 0 || strchr("0123456789", s[0]))
            return false;
        s += n;
        if (*s == ':')
            break;
        if (*s == '\0' || !strchr("-_+.", *s))
            return false;
        s++;
    }
    size_t hex = strspn(s + 1, HEX);
    return hex >= DIGEST_HEX_MIN && s[1 + hex] == '\0';
}

/* Docker's rule: the first part is a registry when it has a dot or a colon, or capitals, or
 * is "localhost". */
static bool looks_like_registry(const char *s, size_t len) {
    if (len == strlen("localhost") && memcmp(s, "localhost", len) == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        if (s[i] == '.' || s[i] == ':' || strchr(UPPER, s[i]))
            return true;
    return false;
}

int image_ref_parse(const char *text, struct image_ref *ret) {
    struct image_ref ref = {.registry = "docker.io"};
    size_t all = strlen(text);
    if (all >= sizeof(ref.repo))
        return -EINVAL;

    const char *at = strchr(text, '@');
    if (at && !is_digest(at + 1))
        return -EINVAL;
    size_t len = at ? (size_t)(at - text) : all;

    const char *colon = memrchr(text, ':', len), *last_slash = memrchr(text, '/', len);
    size_t name = len;
    if (colon && (!last_slash || colon > last_slash)) {
        name = (size_t)(colon - text);
        if (!is_tag(colon + 1, len - name - 1))
            return -EINVAL;
        memcpy(ref.tag, colon + 1, len - name - 1);
    }
    if (name > NAME_MAX_LEN)
        return -EINVAL;

    const char *path = text, *slash = memchr(text, '/', name);
    size_t first = slash ? (size_t)(slash - text) : 0;
    if (slash && looks_like_registry(text, first)) {
        if (!is_registry(text, first))
            return -EINVAL;
        memcpy(ref.registry, text, first);
        ref.registry[first] = '\0';
        if (strcmp(ref.registry, "index.docker.io") == 0)
            memcpy(ref.registry, "docker.io", sizeof("docker.io"));
        path = slash + 1;
    }
    if (!is_path(path, name - (size_t)(path - text)))
        return -EINVAL;

    memcpy(ref.repo, text, name);
    if (at) { /* the digest is enough: a tag next to it is dropped */
        memcpy(ref.repo + name, at, all - len);
        ref.tag[0] = '\0';
    } else if (ref.tag[0] == '\0') {
        memcpy(ref.tag, "latest", sizeof("latest"));
    }
    *ret = ref;
    return 0;
}

bool image_ref_is_fixed(const struct image_ref *ref) {
    return strcmp(ref->tag, "latest") != 0;
}

static const char *skip_head(const char *text, const char *head) {
    return strncmp(text, head, strlen(head)) == 0 ? text + strlen(head) : text;
}

int image_ref_familiar(const char *text, char *out, size_t size) {
    struct image_ref ref;
    int r = image_ref_parse(text, &ref);
    if (r < 0)
        return r;
    const char *repo = ref.repo;
    if (strcmp(ref.registry, "docker.io") == 0) {
        repo = skip_head(skip_head(repo, "docker.io/"), "index.docker.io/");
        repo = skip_head(repo, "library/");
    }
    int n = snprintf(out, size, "%s%s%s", repo, ref.tag[0] ? ":" : "", ref.tag);
    return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

size_t image_ref_repo_len(const char *name) {
    const char *end = strchr(name, '@'), *slash = strrchr(name, '/');
    if (!end)
        end = strchr(slash ? slash : name, ':');
    return end ? (size_t)(end - name) : strlen(name);
}

/* The name is not escaped in the path: the API accepts slashes, and @ and : are allowed in
 * a path. */
char *image_ref_inspect_path(const char *name) {
    char *path;
    return asprintf(&path, "/images/%s/json", name) < 0 ? NULL : path;
}
