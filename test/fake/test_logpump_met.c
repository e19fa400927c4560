/* SPDX-License-Identifier: MPL-2.0 */
/* What a new pump is sent when an earlier one has died, and with which tasks it continues. */
#include "fake/pump_world.h"

#include "paddock/logpump.h"
#include "src/logs/logs_socket.h"
#include "src/pump/pump_record.h"
#include "src/task/driver_priv.h"

#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_int to_fail;

int __real_logs_socket_send(int fd, const json_t *rq, int pass_fd);
int __wrap_logs_socket_send(int fd, const json_t *rq, int pass_fd);
int __wrap_logs_socket_send(int fd, const json_t *rq, int pass_fd) {
    const char *op = json_string_value(json_object_get(rq, "op"));
    if (strcmp(op, "carry") == 0 && atomic_fetch_sub(&to_fail, 1) > 0)
        return -EPIPE;
    return __real_logs_socket_send(fd, rq, pass_fd);
}

struct carried {
    struct logpump *pump;
    size_t tasks;
};

static bool are_carried(void *ctx) {
    const struct carried *c = ctx;
    AUTO_JSON json_t *status = logpump_status(c->pump);
    return json_array_size(json_object_get(status, "tasks")) == c->tasks;
}

static void forget_positions(const struct world *w) {
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*/positions/*", w->run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        assert_int_equal(unlink(found.gl_pathv[i]), 0);
    globfree(&found);
}

static void test_pump__request_was_not_sent__sent_again(void **state) {
    struct pump_world *x = *state;
    struct carried c = {.pump = x->w.d->pump, .tasks = 2};
    struct task_config two;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, NULL);
    pump_world_read(x);
    pid_t first = world_pump(&x->w);
    forget_positions(&x->w); /* now only the plugin knows the tasks */
    atomic_store(&to_fail, 1);
    world_pump_kill(&x->w);
    pump_world_until_other(x, first);
    world_until(are_carried, &c, "the next pump carries all tasks");
    assert_true(atomic_load(&to_fail) < 0);
    pump_world_print(x, "after\n");
    reader_until(&x->out, "after\n");
    task_config_done(&two);
}

/* Waits until the pump has noted the position of what it has written: it answers after that. */
static void pump_has_noted(struct pump_world *x) {
    json_decref(logpump_status(x->w.d->pump));
}

/* The newest task event. */
static char event[1024];
static pthread_mutex_t event_lock = PTHREAD_MUTEX_INITIALIZER;

static void set_event(const char *text) {
    pthread_mutex_lock(&event_lock);
    snprintf(event, sizeof(event), "%s", text);
    pthread_mutex_unlock(&event_lock);
}

static void on_event(void *ctx, const struct driver_event *e) {
    (void)ctx;
    set_event(e->message);
}

static bool is_reported(void *text) {
    pthread_mutex_lock(&event_lock);
    bool is = strstr(event, text) != NULL;
    pthread_mutex_unlock(&event_lock);
    return is;
}

/* Changes the position into one of the file reader. */
static void set_place(const struct world *w, const char *id) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*/positions", w->run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    AUTO_FD int dir_fd = open(found.gl_pathv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    globfree(&found);
    struct pump_record *r;
    bool fresh;
    assert_int_equal(pump_record_open(dir_fd, id, &r, &fresh), 0);
    assert_false(fresh);
    snprintf(r->log_path, sizeof(r->log_path), "/nowhere/containers/%s/%s-json.log", id, id);
    for (int s = 0; s < 2; s++)
        r->stream[s].at = (struct pump_position){.place.file = {.dev = 1, .ino = 1}};
    pump_record_close(r);
}

/* The earlier pump read Docker's log file, which this one cannot read. */
static void test_pump__file_not_readable_any_more__api_and_gap(void **state) {
    struct pump_world *x = *state;
    struct driver_sub *sub;
    pump_world_read(x);
    pump_world_print(x, "by an earlier pump\n");
    reader_until(&x->out, "by an earlier pump\n");
    assert_int_equal(driver_task_events(x->w.d, on_event, NULL, &sub, NULL), 0);
    pid_t first = world_pump(&x->w);
    pump_has_noted(x);
    set_place(&x->w, world_look(&x->w, x->task.id).container_id);
    world_pump_kill(&x->w);
    pump_world_until_other(x, first);
    world_until(is_reported, (void *)(uintptr_t) "cannot be read any more", "a task event");
    pump_world_print(x, "after\n");
    reader_until(&x->out, "after\n");
    AUTO_FREE char *text = reader_text(&x->out, NULL);
    assert_string_equal(text, "by an earlier pump\nafter\n");
    fan_unsubscribe(sub);
}

/* ---- damage to a position file ---- */

static void damage_magic(struct pump_record *r) {
    r->magic = 0x12345678;
}

static void damage_tty(struct pump_record *r) {
    r->tty = 7;
}

static void damage_task(struct pump_record *r) {
    memset(r->task_id, 'x', sizeof(r->task_id));
}

static void damage_container(struct pump_record *r) {
    r->container_id[0] = '/';
}

static void damage_path(struct pump_record *r) {
    memset(r->path[1], '/', sizeof(r->path[1]));
}

static const struct {
    const char *name;
    void (*how)(struct pump_record *r); /* NULL: only the length is wrong */
    size_t len;
} damages[] = {
    {"magic", damage_magic, sizeof(struct pump_record)},
    {"tty", damage_tty, sizeof(struct pump_record)},
    {"task", damage_task, sizeof(struct pump_record)},
    {"container", damage_container, sizeof(struct pump_record)},
    {"path", damage_path, sizeof(struct pump_record)},
    {"cut off", NULL, 100},
    {"empty", NULL, 0},
};

/* Replaces the file. The running pump still has the old one. */
static void damage(const struct world *w, const char *id, size_t i) {
    char path[256];
    glob_t found;
    struct pump_record r;
    snprintf(path, sizeof(path), "%s/*/positions/%s", w->run_dir, id);
    assert_int_equal(glob(path, 0, NULL, &found), 0);
    AUTO_FD int old = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(old, &r, sizeof(r)), sizeof(r));
    if (damages[i].how)
        damages[i].how(&r);
    assert_int_equal(unlink(found.gl_pathv[0]), 0);
    AUTO_FD int new = open(found.gl_pathv[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(new, &r, damages[i].len), damages[i].len);
    globfree(&found);
}

/* The plugin keeps running, so that no RecoverTask comes. */
static void test_pump__position_damaged__reported_and_continues(void **state) {
    struct pump_world *x = *state;
    struct carried c = {.pump = x->w.d->pump, .tasks = 1};
    struct driver_sub *sub;
    char want[512] = "", line[64];
    pump_world_read(x);
    assert_int_equal(driver_task_events(x->w.d, on_event, NULL, &sub, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        snprintf(line, sizeof(line), "before %s\n", damages[i].name);
        snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s", line);
        pump_world_print(x, line);
        reader_until(&x->out, line);
        pid_t first = world_pump(&x->w);
        pump_has_noted(x);
        damage(&x->w, world_look(&x->w, x->task.id).container_id, i);
        set_event("");
        world_pump_kill(&x->w);
        pump_world_until_other(x, first);
        world_until(is_reported, (void *)(uintptr_t) "some log lines may be missing",
                    damages[i].name);
        world_until(are_carried, &c, "the next pump carries the task");
    }
    pump_world_print(x, "after\n");
    reader_until(&x->out, "after\n");
    strcat(want, "after\n");
    AUTO_FREE char *text = reader_text(&x->out, NULL);
    assert_string_equal(text, want);
    fan_unsubscribe(sub);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_pump__position_damaged__reported_and_continues),
    PUMP_WORLD_T(test_pump__file_not_readable_any_more__api_and_gap),
    PUMP_WORLD_T(test_pump__request_was_not_sent__sent_again),
};
WORLD_MAIN(tests)
