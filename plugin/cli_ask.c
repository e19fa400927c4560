#include "plugin/cli_ask.h"

#include "paddock/buf.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define ANSWER_LIMIT (64u << 20)
#define ANSWER_WAIT_S 10

static int say_and_read(int fd, const char *what, struct buf *ret) {
    char chunk[16384];
    ssize_t n;
    int len = snprintf(chunk, sizeof(chunk), "%s\n", what);
    if (send(fd, chunk, (size_t)len, MSG_NOSIGNAL) != len)
        return -errno;
    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0) {
        int r = buf_append(ret, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
    return n < 0 ? -errno : 0;
}

static json_t *ask_one(const char *path, const char *what) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
    if (strlen(path) >= sizeof(a.sun_path))
        return NULL;
    memcpy(a.sun_path, path, strlen(path) + 1);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
        return NULL;
    if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
        if (errno != ECONNREFUSED) /* refused: left behind by one that was killed */
            fprintf(stderr, "paddock: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    AUTO_BUF struct buf b;
    buf_init(&b, ANSWER_LIMIT);
    int r = say_and_read(fd, what, &b);
    json_error_t e;
    json_t *doc = r == 0 ? json_loadb(buf_text(&b), b.len, 0, &e) : NULL;
    if (!doc)
        fprintf(stderr, "paddock: %s: %s\n", path, r < 0 ? strerror(-r) : "not an answer");
    return doc;
}

json_t *cli_ask(const char *dir, const char *socket, const char *what) {
    char pattern[256];
    json_t *all = json_array();
    if (!all)
        return NULL;
    glob_t g = {.gl_pathc = 0};
    snprintf(pattern, sizeof(pattern), "%s/control-*.sock", dir);
    if (socket) {
        json_t *one = ask_one(socket, what);
        if (one)
            json_array_append_new(all, one);
    } else if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++) {
            json_t *one = ask_one(g.gl_pathv[i], what);
            if (one)
                json_array_append_new(all, one);
        }
        globfree(&g);
    }
    return all;
}

const char *cli_text(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}
