/* SPDX-License-Identifier: MPL-2.0 */
/* Finds the log files. It asks Docker once for its root (GET /info), and for each container's log
 * driver and path (inspect). pump_task.c asks when a task begins.
 *
 * dockerd does not answer an inspect while it starts the container. A file of the rotation can be
 * removed before the answer. So pump_locate_place() returns the place without an inspect, and the
 * opener watches it from the beginning. */
#include "src/pump/pump_locate.h"

#include "paddock/buf.h"
#include "paddock/log.h"
#include "paddock/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define REPLY_MAX ((size_t)4 << 20)

struct pump_locate {
    struct docker *docker;
    struct docker_multi *http;
    bool known;                   /* Docker has answered GET /info */
    char root[PUMP_LOG_PATH_MAX]; /* "": log files must not be read */
    struct pump_question *info;   /* the question that the pump asks at its start */
};

struct pump_question {
    struct pump_locate *locate;
    struct docker_get *get;
    struct buf body;
    char id[65];    /* "": the question is only about Docker */
    bool of_docker; /* the current request is GET /info */
    void (*answer)(void *ctx, int r, const struct pump_located *located);
    void *ctx;
};

/* ---- places ---- */

/* Writes the path of the log of @id to @ret. Returns false when the path is too long. */
static bool place_path(const char *root, const char *id, char *ret) {
    int n = snprintf(ret, PUMP_LOG_PATH_MAX, "%s/containers/%s/%s-json.log", root, id, id);
    return n > 0 && n < PUMP_LOG_PATH_MAX;
}

int pump_locate_place(const struct pump_locate *l, const char *id,
                      char ret_path[PUMP_LOG_PATH_MAX]) {
    return l->root[0] && place_path(l->root, id, ret_path) ? 0 : -ENOENT;
}

int pump_locate_open(const char *log_path, const char *id, int *ret_dir_fd) {
    char root[PUMP_LOG_PATH_MAX], below[PUMP_LOG_PATH_MAX], whole[PUMP_LOG_PATH_MAX];
    struct stat st;
    snprintf(below, sizeof(below), "/containers/%s/", id);
    const char *at = strstr(log_path, below);
    if (!at || at == log_path)
        return -EINVAL;
    snprintf(root, sizeof(root), "%.*s", (int)(at - log_path), log_path);
    if (!place_path(root, id, whole) || strcmp(whole, log_path) != 0)
        return -EINVAL;
    below[strlen(below) - 1] = '\0';
    AUTO_FD int root_fd = -EBADF;
    AUTO_FD int dir_fd = -EBADF;
    int r = path_find(root, &root_fd);
    if (r == 0)
        r = path_walk(root_fd, below, &dir_fd);
    if (r < 0)
        return r;
    if (fstat(dir_fd, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    *ret_dir_fd = TAKE_FD(dir_fd);
    return 0;
}

/* ---- dockerd's process ---- */

/* Returns 1 when dockerd is a process of this host with our mounts. Otherwise the same names mean
 * other files, and 0 is returned; -errno when dockerd cannot be reached. */
static int shares_mounts(struct docker *docker) {
    pid_t pid;
    AUTO_FD int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = docker_peer(docker, &pid, NULL);
    if (r < 0)
        return r == -EPROTONOSUPPORT ? 0 : r;
    return pid > 0 && path_shares_mounts(proc_fd, pid);
}

/* Returns 0; -errno when dockerd ended before it was known which process it is: nothing is decided
 * then, because the decision is for the life of this process. */
static int take_info(struct pump_locate *l, const json_t *info) {
    const char *root = json_string_value(json_object_get(info, "DockerRootDir"));
    bool usable = root && root[0] == '/' && strlen(root) < sizeof(l->root);
    int r = usable ? shares_mounts(l->docker) : 0;
    if (r < 0)
        return r;
    l->known = true;
    if (r == 1)
        snprintf(l->root, sizeof(l->root), "%s", root);
    else
        log_debug("pump", NULL, "dockerd does not see our mounts: logs come through its API");
    return 0;
}

/* ---- questions ---- */

static int send_question(struct pump_question *q);

static void read_container(const struct pump_locate *l, const char *id, const json_t *c,
                           struct pump_located *ret) {
    const json_t *config = json_object_get(json_object_get(c, "HostConfig"), "LogConfig");
    const char *driver = json_string_value(json_object_get(config, "Type"));
    const char *path = json_string_value(json_object_get(c, "LogPath"));
    char usual[PUMP_LOG_PATH_MAX];
    ret->running = json_is_true(json_object_get(json_object_get(c, "State"), "Running"));
    ret->json_file = driver && strcmp(driver, "json-file") == 0 && path &&
                     pump_locate_place(l, id, usual) == 0 && (!*path || strcmp(path, usual) == 0);
    if (ret->json_file)
        snprintf(ret->log_path, sizeof(ret->log_path), "%s", path);
}

/* Ends the question and calls its callback. */
static void end_question(struct pump_question *q, int r, const struct pump_located *located) {
    void (*answer)(void *, int, const struct pump_located *) = q->answer;
    void *ctx = q->ctx;
    pump_locate_cancel(q);
    answer(ctx, r, located);
}

/* Handles the answer to GET /info. A question about a container then asks about the container. */
static void on_info(struct pump_question *q, int r, const json_t *info) {
    struct pump_locate *l = q->locate;
    if (r == 0)
        r = take_info(l, info);
    if (q == l->info) {
        l->info = pump_locate_cancel(q);
        return;
    }
    if (r == 0)
        r = send_question(q);
    if (r < 0)
        end_question(q, r, NULL);
}

static void on_done(void *ctx, int r, int status, const struct err *err) {
    struct pump_question *q = ctx;
    struct pump_located located = {0};
    (void)err;
    q->get = NULL; /* the caller releases it */
    AUTO_JSON json_t *reply = r == 0 ? json_loadb(q->body.data, q->body.len, 0, NULL) : NULL;
    buf_done(&q->body);
    if (r == 0 && !reply)
        r = -EPROTO;
    if (q->of_docker) {
        on_info(q, r, reply);
        return;
    }
    if (r == 0)
        read_container(q->locate, q->id, reply, &located);
    end_question(q, status == 404 ? -ENOENT : r, &located);
}

static int on_data(void *ctx, const char *data, size_t len) {
    struct pump_question *q = ctx;
    return buf_append(&q->body, data, len);
}

static const struct docker_get_ops ops = {.on_data = on_data, .on_done = on_done};

/* Sends GET /info when Docker's root is not known, otherwise the inspect of the container. */
static int send_question(struct pump_question *q) {
    char path[128] = "/info";
    q->of_docker = !q->locate->known || !q->id[0];
    if (!q->of_docker)
        snprintf(path, sizeof(path), "/containers/%s/json", q->id);
    return docker_multi_get(q->locate->http, path, &ops, q, &q->get);
}

static int question_new(struct pump_locate *l, const char *id,
                        void (*answer)(void *ctx, int r, const struct pump_located *located),
                        void *ctx, struct pump_question **ret) {
    struct pump_question *q = calloc(1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    *q = (struct pump_question){.locate = l, .answer = answer, .ctx = ctx};
    snprintf(q->id, sizeof(q->id), "%s", id);
    buf_init(&q->body, REPLY_MAX);
    int r = send_question(q);
    if (r < 0) {
        free(q);
        return r;
    }
    *ret = q;
    return 0;
}

int pump_locate_ask(struct pump_locate *l, const char *id,
                    void (*answer)(void *ctx, int r, const struct pump_located *located), void *ctx,
                    struct pump_question **ret) {
    return question_new(l, id, answer, ctx, ret);
}

struct pump_question *pump_locate_cancel(struct pump_question *q) {
    if (!q)
        return NULL;
    docker_multi_get_cancel(q->get);
    buf_done(&q->body);
    free(q);
    return NULL;
}

/* ---- creation and release ---- */

int pump_locate_new(struct docker *docker, struct docker_multi *http, struct pump_locate **ret) {
    struct pump_locate *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (struct pump_locate){.docker = docker, .http = http};
    int r = question_new(l, "", NULL, NULL, &l->info);
    if (r < 0) {
        free(l);
        return r;
    }
    *ret = l;
    return 0;
}

void pump_locate_free(struct pump_locate *l) {
    if (l)
        pump_locate_cancel(l->info);
    free(l);
}
