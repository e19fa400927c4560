/* SPDX-License-Identifier: MPL-2.0 */
/* Asks running drivers through their control sockets.
 *
 * The commands status, check, events, metrics and debug call it. Each driver gets the whole
 * timeout, one driver after the other. A driver that does not answer costs a message on stderr and
 * is missing in the result; it does not fail the command. */
#include "plugin/cli_ask.h"

#include "paddock/buf.h"
#include "paddock/clock.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define ANSWER_LIMIT (64u << 20)

/* Limits the next call on the socket to the time left. Returns -ETIMEDOUT when no time is left. */
static int set_limit(int fd, int option, uint64_t deadline_us) {
    uint64_t now = clock_now_us(), left = deadline_us > now ? deadline_us - now : 0;
    struct timeval t = {.tv_sec = (time_t)(left / US_PER_SEC),
                        .tv_usec = (suseconds_t)(left % US_PER_SEC)};
    if (left == 0)
        return -ETIMEDOUT;
    return setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)) < 0 ? -errno : 0;
}

static int say_and_read(int fd, const char *what, uint64_t deadline_us, struct buf *ret) {
    char chunk[16384];
    int len = snprintf(chunk, sizeof(chunk), "%s\n", what), r;
    if (send(fd, chunk, (size_t)len, MSG_NOSIGNAL) != len)
        return -errno;
    while ((r = set_limit(fd, SO_RCVTIMEO, deadline_us)) == 0) {
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (n == 0)
            return 0;
        r = buf_append(ret, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
    return r;
}

/* Returns what is wrong with @doc, or NULL when it is good. */
static const char *fault_of(const json_t *doc) {
    if (!json_is_object(doc))
        return "not an answer";
    return json_string_value(json_object_get(doc, "error"));
}

static json_t *ask_one(const char *path, const char *what, uint64_t deadline_us) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    AUTO_BUF struct buf b;
    json_auto_t *doc = NULL;
    buf_init(&b, ANSWER_LIMIT);
    if (strlen(path) >= sizeof(a.sun_path)) {
        fprintf(stderr, "paddock: %s: %s\n", path, strerror(ENAMETOOLONG));
        return NULL;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : set_limit(fd, SO_SNDTIMEO, deadline_us);
    if (r == 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
        r = -errno;
    if (r == -ECONNREFUSED)
        return NULL; /* left by a plugin that was killed */
    if (r == 0)
        r = say_and_read(fd, what, deadline_us, &b);
    if (r == 0)
        doc = json_loadb(buf_text(&b), b.len, 0, NULL);
    const char *wrong = r < 0 ? strerror(-r) : fault_of(doc);
    if (wrong) {
        fprintf(stderr, "paddock: %s: %s\n", path, wrong);
        return NULL;
    }
    return TAKE_PTR(doc);
}

static int cannot_look(const char *path, int code) {
    if (code != ENOENT)
        fprintf(stderr, "paddock: %s: %s\n", path, strerror(code));
    return 0;
}

json_t *cli_ask(const char *dir, const char *socket, const char *what, uint64_t timeout_us) {
    char pattern[256];
    json_t *all = json_array();
    if (!all)
        return NULL;
    glob_t g = {.gl_pathc = 0};
    snprintf(pattern, sizeof(pattern), "%s/control-*.sock", dir);
    if (socket) {
        json_t *one = ask_one(socket, what, clock_now_us() + timeout_us);
        if (one)
            json_array_append_new(all, one);
    } else if (glob(pattern, 0, cannot_look, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++) {
            json_t *one = ask_one(g.gl_pathv[i], what, clock_now_us() + timeout_us);
            if (one)
                json_array_append_new(all, one);
        }
        globfree(&g);
    }
    return all;
}

const char *cli_ask_text(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}
