/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The driver as a whole with its own fake dockerd, and with FIFOs and readers like those of logmon.
 * Images are a double (fake_images.c). The test binary itself is the log pump: WORLD_MAIN runs it
 * for the argument `logpump`. Every function fails the test itself. Waits have a deadline of
 * WORLD_WAIT_US. */
#include "unit/cm.h"

#include "fake/fake_client.h"
#include "fake/reader.h"
#include "paddock/buf.h"
#include "paddock/clock.h"
#include "paddock/driver.h"

#include <pthread.h>
#include <stdatomic.h>

/* With a sanitizer, the memory that a process uses is not ours alone. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORLD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WORLD_SANITIZED 1
#endif
#endif
#ifndef WORLD_SANITIZED
#define WORLD_SANITIZED 0
#endif

/* The factor of all time limits. Emulated code is about ten times slower. */
#ifdef EMULATED
#define WORLD_SLOWNESS 2
#else
#define WORLD_SLOWNESS 1
#endif

#define WORLD_WAIT_US (20 * WORLD_SLOWNESS * US_PER_SEC)
/* Docker's time for an answer in worlds in which it hangs. Its answers to the setup, on a busy
 * machine, take less. */
#define WORLD_HASTY_MS 1000

struct world {
    struct fake fake;
    struct driver *d;
    char dir[64], run_dir[96], pump_dir[256];
    char docker_timeout_ms[16];
};

/** Starts a fake dockerd and a driver that is configured and active. @timeout_ms: of Docker calls;
 * 0 = the driver's own. It is multiplied by WORLD_SLOWNESS. */
void world_start(struct world *w, const char *plugin_json, unsigned timeout_ms);
/** Frees the driver; makes another one with this plugin config. */
void world_driver_free(struct world *w);
void world_driver_new(struct world *w, const char *plugin_json);
/** Both, with an empty plugin config: a plugin that is restarted. */
void world_driver_restart(struct world *w);
/** Frees the driver, which must not wait for a request that Docker does not answer. */
void world_driver_ends_soon(struct world *w);
/** Ends everything. Fails when a sanitizer has found an error in the pump. */
void world_done(struct world *w);

/** Makes the FIFOs, the folders and the config of task @name in allocation "a1". @job_json: the
 * job's config block. */
void world_task(const struct world *w, struct task_config *c, const char *name,
                const char *job_json);
/** The same in allocation @alloc. */
void world_task_in(const struct world *w, struct task_config *c, const char *alloc,
                   const char *name, const char *job_json);
/** StartTask that must succeed. Waits until the output is requested from Docker. @ret: may be
 * NULL. */
void world_run(struct world *w, const struct task_config *c, struct driver_started *ret);
/** Starts task "full@n", which prints more than fits into a FIFO. Its FIFOs have no reader. */
void world_run_unread(struct world *w, struct task_config *c, int n);
struct task_look world_look(struct world *w, const char *task_id);
/** Waits for the end and returns it. */
struct task_exit world_wait(struct world *w, const char *task_id);
/** Ends the task's container with exit code @code. */
void world_exit(const struct world *w, const struct task_config *c, int code);
/** The name of the task's container in Docker, like "web-a1". */
const char *world_name(const struct task_config *c);

/* GET or POST of the container that the fake creates as the @n th: "1" to "9". */
#define WORLD_CONTAINER(n)                                                                         \
    "/containers/c0de0000000" n "000000000000000000000000000000000000000000000000feed"
#define WORLD_REQUEST_SIZE 128
/** The request that inspects the container of @task_id, for fake_count() and fake_rules(). */
void world_inspect_request(struct world *w, const char *task_id, char ret[WORLD_REQUEST_SIZE]);

/* What most tests have: a world and its task "web", which runs until it is stopped. */
#define WORLD_WEB_JOB "{\"image\":\"busybox\",\"command\":\"sleep\"}"
struct world_web {
    struct world w;
    struct task_config task;
    struct driver_started started;
};
/** For cmocka's setup. @run: the task is started, too. */
int world_web_setup(void **state, const char *plugin_json, unsigned timeout_ms, bool run);
/** The same with an empty plugin config and a started task, after the driver has requested Docker's
 * events. */
int world_web_setup_live(void **state, unsigned timeout_ms);
/** cmocka's teardown. */
int world_web_teardown(void **state);
/** How many containers Docker has, with those that do not run. */
unsigned world_containers(const struct world *w);

/** Polls until @is returns true. @what: the text of the failure. */
void world_until(bool (*is)(void *ctx), void *ctx, const char *what);
/** True when no process has the FIFO @path open for writing, so that a reader sees its end. Takes a
 * byte from a FIFO with data: call it when no output can come, or none that a test reads. */
bool world_is_let_go(void *path);
/** Waits until that is so for both FIFOs of the task. */
void world_until_let_go(const struct task_config *c);
/** Waits until dockerd has got "METHOD PATH" @n times. */
void world_until_count(const struct world *w, const char *request, int n);

/** How many position files exist. */
size_t world_positions(const struct world *w);
/** Waits until @n position files exist. The pump makes one for a task before it opens the FIFOs,
 * and removes it when it refuses the task. */
void world_until_positions(const struct world *w, size_t n);
/** Connects to the pump. Returns the descriptor, or < 0 when no pump answers. */
int world_pump_connect(const struct world *w);
/** Returns the pump's process id, or 0 when no pump answers. */
pid_t world_pump(const struct world *w);
/** Kills the pump if one runs. */
void world_pump_kill(const struct world *w);

/** How many images the double holds. */
unsigned fake_images_held(void);
/** The last hold: "ID as NAME". */
const char *fake_images_last_hold(void);
/** The next acquire fails with @r; 0: it does not. */
void fake_images_fail(int r);
/** @ahead: images_look() returns an open request, as the real one does for a fixed tag. */
void fake_images_look_ahead(bool ahead);
/** How many of these requests are open. */
unsigned fake_images_looks(void);
/** The options from the plugin's config: "gc=1 delay=SECONDS activity=SECONDS config=FILE
 * helper=NAME". */
const char *fake_images_options(void);
/** The arguments of the last acquire: "IMAGE load=FILE below=FOLDER force=0
 * auth=USER:PASSWORD@SERVER soft=0 within=SECONDS". */
const char *fake_images_wanted(void);

/** main() of such a test. With the argument `logpump` it is the pump. Another argument is a filter
 * of @tests, like "test_stop__*". */
#define WORLD_MAIN(tests)                                                                          \
    int main(int argc, char **argv) {                                                              \
        int status;                                                                                \
        if (world_is_pump(argc, argv, &status))                                                    \
            return status;                                                                         \
        if (argc > 1)                                                                              \
            cmocka_set_test_filter(argv[1]);                                                       \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }
bool world_is_pump(int argc, char **argv, int *ret_status);
