/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The driver as a whole against its own fake dockerd, with FIFOs and readers as logmon's. Images
 * are a double (fake_images.c). The test binary itself is the log pump: world_main hands `logpump`
 * over. Every function fails the test itself; waits have a deadline of WORLD_WAIT_US. */
#include "unit/cm.h"

#include "fake/fake_client.h"
#include "paddock/buf.h"
#include "paddock/clock.h"
#include "paddock/driver.h"

#include <pthread.h>
#include <stdatomic.h>

/* A sanitizer's own memory says nothing about ours. */
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

#define WORLD_WAIT_US (20 * US_PER_SEC)

/* One FIFO's reader: a thread that keeps what it read. */
struct reader {
    char path[256];
    int fd;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock;
    struct buf text;
    bool paused, eof, stop;
};

struct world {
    struct fake fake;
    struct driver *d;
    char dir[64], run_dir[96], pump_dir[256];
    char docker_timeout_ms[16];
};

/** A fake dockerd, and a driver that is configured but not active. @timeout_ms: of Docker calls, 0
 * = as is. */
void world_start(struct world *w, const char *plugin_json, unsigned timeout_ms);
/** Frees the driver (and makes another one: a plugin that was restarted). */
void world_driver_free(struct world *w);
void world_driver_new(struct world *w, const char *plugin_json);
/** Ends everything; fails when a sanitizer has found something in the pump. */
void world_done(struct world *w);

/** FIFOs and folders for task @name, its config with @job as the config block. */
void world_task(const struct world *w, struct task_config *c, const char *name,
                const char *job_json);
/** The same in the allocation @alloc; world_task's is "a1". */
void world_task_in(const struct world *w, struct task_config *c, const char *alloc,
                   const char *name, const char *job_json);
/** StartTask that must succeed, until the output is asked for; @ret NULL = not wanted. */
void world_run(struct world *w, const struct task_config *c, struct driver_started *ret);
struct task_look world_look(struct world *w, const char *task_id);
/** Waits for the end and returns it. */
struct task_exit world_wait(struct world *w, const char *task_id);
/** The exit of the task's container, as the fake's process would. */
void world_exit(const struct world *w, const struct task_config *c, int code);
/** "web-a1": how Docker names the task's container. */
const char *world_name(const struct task_config *c);

/* What most of them have: a world and its task "web", which runs until it is stopped. */
#define WORLD_WEB_JOB "{\"image\":\"busybox\",\"command\":\"sleep\"}"
struct world_web {
    struct world w;
    struct task_config task;
    struct driver_started started;
};
/** For cmocka's setup; @run: started, too. */
int world_web_setup(void **state, const char *plugin_json, unsigned timeout_ms, bool run);
/** cmocka's teardown. */
int world_web_teardown(void **state);
/** How many containers Docker has, also of those that do not run. */
unsigned world_containers(const struct world *w);

/** Polls until @is says yes. */
void world_until(bool (*is)(void *ctx), void *ctx, const char *what);
/** Whether nobody holds the FIFO @path for writing, so that a reader sees its end; until both of
 * the task's are let go. */
bool world_is_let_go(void *path);
void world_until_let_go(const struct task_config *c);
/** Until "METHOD PATH" was asked @n times. */
void world_until_count(const struct world *w, const char *request, int n);

/** How many position files there are. */
size_t world_positions(const struct world *w);
/** Until there are @n position files. A pump that is asked to carry a task makes one before it
 * opens the FIFOs, and removes it when it refuses them. */
void world_until_positions(const struct world *w, size_t n);
/** A connection to the pump; < 0 = none answers. */
int world_pump_connect(const struct world *w);
/** The pump's process, 0 = none answers. */
pid_t world_pump(const struct world *w);
/** Kills the pump, if there is one. */
void world_pump_kill(const struct world *w);

void reader_start(struct reader *r, const char *path);
void reader_pause(struct reader *r, bool paused);
/** Waits until @text is in what was read. */
void reader_until(struct reader *r, const char *text);
void reader_until_len(struct reader *r, size_t len);
/** Waits for the end of file. */
void reader_until_eof(struct reader *r);
/** What was read so far; free(). */
char *reader_text(struct reader *r, size_t *ret_len);
void reader_done(struct reader *r);

/** How many image holds there are, in the double. */
unsigned fake_images_held(void);
/** The last one: "ID as NAME". */
const char *fake_images_last_hold(void);
/** The next acquire fails with @r. */
void fake_images_fail(int r);
/** Whether it lets itself be asked ahead, as the real one does with a fixed tag; and how many wait
 * for their answer. */
void fake_images_look_ahead(bool ahead);
unsigned fake_images_looks(void);
/** Of the plugin's configuration: "gc=1 delay=SECONDS activity=SECONDS config=FILE helper=NAME". */
const char *fake_images_told(void);
/** By the last acquire: "IMAGE load=FILE below=FOLDER force=0 auth=USER:PASSWORD@SERVER soft=0
 * within=SECONDS".
 */
const char *fake_images_wanted(void);

/** main of such a test: `logpump` is the pump, all else a filter of @tests ("test_stop__*"). */
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
