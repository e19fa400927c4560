/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Finds where Docker keeps a container's log file, and whether this process may read it there.
 *
 * The file is read only when all of these conditions are true; otherwise the log is read through
 * Docker's API:
 * - the container's log driver is json-file;
 * - dockerd is a process of this host that sees the same mounts as we do;
 * - LogPath is ROOT/containers/ID/ID-json.log, where ROOT is Docker's root (DockerRootDir), and no
 *   component below that root is a symbolic link.
 *
 * The opener checks the file itself: it must be a regular file of our user. All functions are
 * called from the loop's thread. */
#include "paddock/docker.h"
#include "paddock/docker_multi.h"

#include <stdbool.h>

#define PUMP_LOG_PATH_MAX 1024
#define PUMP_LOG_NAME_MAX 80

/* What is known of the Docker daemon that we use. */
struct pump_locate;
/** Asks Docker for its root; the answer comes later. @docker and @http are borrowed. Returns 0;
 * -ENOMEM; another -errno. Owner: caller, pump_locate_free(). */
int pump_locate_new(struct docker *docker, struct docker_multi *http,
                    struct pump_locate **ret) MUST_CHECK;
/** Frees @l. All questions of the caller are answered or cancelled. NULL allowed. */
void pump_locate_free(struct pump_locate *l);

struct pump_located {
    bool json_file; /* the log can be read from its file */
    bool running;
    char log_path[PUMP_LOG_PATH_MAX]; /* with json_file; "" when it was never started */
};

struct pump_question;
/** Asks Docker about the container @id. @answer is called once, from the loop, and ends the
 * question. Its @r is 0; -ENOENT when the container does not exist; another -errno when Docker
 * did not answer. Returns 0; -ENOMEM; another -errno. Owner: caller, pump_locate_cancel(),
 * until the answer. */
int pump_locate_ask(struct pump_locate *l, const char *id,
                    void (*answer)(void *ctx, int r, const struct pump_located *located), void *ctx,
                    struct pump_question **ret) MUST_CHECK;
/** Cancels the question: its callback is not called any more. NULL allowed. Returns NULL. */
struct pump_question *pump_locate_cancel(struct pump_question *q);

/** Returns in @ret_path where the log file of @id is or will be, when files can be read there.
 * Returns 0; -ENOENT when Docker's root is not known yet, or its files cannot be read. */
int pump_locate_place(const struct pump_locate *l, const char *id,
                      char ret_path[PUMP_LOG_PATH_MAX]) MUST_CHECK;

/** Opens the folder of the log file @log_path of the container @id, with O_PATH. It also works
 * while Docker is unavailable, for a path that an earlier pump recorded. Returns 0; -EINVAL when
 * @log_path is not Docker's place for this log; -ELOOP; -ENOENT; another -errno. Owner: caller. */
int pump_locate_open(const char *log_path, const char *id, int *ret_dir_fd) MUST_CHECK;
