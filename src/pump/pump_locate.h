#pragma once
/* Where Docker keeps a container's log file, and whether this process may read it from there.
 *
 * The file is read only when all of this holds; otherwise the log comes through Docker's API:
 * - the container's log driver is json-file;
 * - dockerd is a process of this host that sees the same mounts as we do;
 * - LogPath is ROOT/containers/ID/ID-json.log with Docker's root (DockerRootDir), and no component
 *   below that root is a symbolic link.
 * The opener checks the file itself: a regular file of our user.
 *
 * All functions are called from the loop's thread. */
#include "paddock/docker.h"
#include "paddock/docker_multi.h"

#include <stdbool.h>

#define PUMP_LOG_PATH_MAX 1024
#define PUMP_LOG_NAME_MAX 80

/* What is known of the Docker that we speak with. */
struct pump_locate;
/** @docker and @http are borrowed. Docker is asked for its root. Returns 0; -ENOMEM. */
int pump_locate_new(struct docker *docker, struct docker_multi *http,
                    struct pump_locate **ret) MUST_CHECK;
/** All questions are over. NULL allowed. */
void pump_locate_free(struct pump_locate *l);

struct pump_located {
    bool json_file; /* the log can be read from its file */
    bool running;
    char
        log_path[PUMP_LOG_PATH_MAX]; /* with json_file; "" for a container that was never started */
};

struct pump_question;
/** Asks Docker about the container @id. @answer is called once, from the loop: @r 0; -ENOENT: there
 * is no such container; another -errno: Docker did not answer. The question is over then. Returns
 * 0; -ENOMEM. */
int pump_locate_ask(struct pump_locate *l, const char *id,
                    void (*answer)(void *ctx, int r, const struct pump_located *located), void *ctx,
                    struct pump_question **ret) MUST_CHECK;
/** @answer is not called any more. NULL allowed. Returns NULL. */
struct pump_question *pump_question_cancel(struct pump_question *q);

/** Where the log file of @id is or will be, when its place can be read from. Returns 0; -ENOENT:
 * Docker's root is not known yet, or it cannot. */
int pump_locate_place(const struct pump_locate *l, const char *id,
                      char ret_path[PUMP_LOG_PATH_MAX]) MUST_CHECK;

/** Opens the folder of the log file @log_path of the container @id, with O_PATH. Also for a path
 * that an earlier pump noted, when Docker is away. Returns 0; -EINVAL: it is not Docker's place for
 * the log; -ELOOP, -ENOENT, another -errno. Owner: caller. */
int pump_locate_open(const char *log_path, const char *id, int *ret_dir_fd) MUST_CHECK;
