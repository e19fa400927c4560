/* SPDX-License-Identifier: MPL-2.0 */
/* There is one pump for each client. A pump of another version is ended, and the next one continues
 * its tasks at the exact byte. A folder that was removed is made again. The reports of the pump
 * reach the plugin. */
#include "fake/pump_world.h"

#include "paddock/logpump.h"
#include "paddock/loop.h"
#include "paddock/pool.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define TWO_ID "c0de00000002000000000000000000000000000000000000000000000000feed"

/* A second task. A plugin begins with its recovery. */
struct recovery {
    struct task_config task;
    struct driver_started started;
    struct reader out;
};

static void recovery_start(struct pump_world *x, struct recovery *u) {
    *u = (struct recovery){0};
    world_task(&x->w, &u->task, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &u->task, &u->started);
    reader_start(&u->out, u->task.stdout_path);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    reader_until(&u->out, "00000299 ");
}

static void recovery_recover(struct pump_world *x, struct recovery *u) {
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct err err = {0};
    if (task_recover(x->w.d, &call, &u->task, u->started.state, u->started.state_len, &err) < 0)
        fail_msg("RecoverTask: %s", err.text);
}

/* Its output continues, and all of it has come exactly once. */
static void recovery_end(struct pump_world *x, struct recovery *u) {
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=400&max=200", "", NULL, 0);
    reader_until(&u->out, "00000599 ");
    world_exit(&x->w, &u->task, 0);
    world_wait(&x->w, u->task.id);
    reader_until_eof(&u->out);
    assert_int_equal(pump_world_count(&u->out), 600);
    reader_done(&u->out);
    task_start_done(&u->started);
    task_config_done(&u->task);
}

/* The path of the one pump's folder. */
static void folder_of(const struct pump_world *x, char path[static 512]) {
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/docker-????????????????", x->w.run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(path, 512, "%s", found.gl_pathv[0]);
    globfree(&found);
}

/* Docker's endpoint is written in another way. The running tasks move to one new pump. The
 * fixture's task is not recovered at that time, and its FIFO must not end, either. */
static void test_pump__other_settings__succeeded(void **state) {
    struct pump_world *x = *state;
    struct recovery u;
    char folder[512], same[512];
    recovery_start(x, &u);
    pump_world_read(x);
    pump_world_lines(x, 40, 80);
    reader_until(&x->out, "00000029 ");
    pid_t first = world_pump(&x->w);
    folder_of(x, folder);
    world_driver_free(&x->w);
    char *slash = strstr(x->w.fake.endpoint, "/tmp/");
    assert_non_null(slash);
    memmove(slash + 2, slash, strlen(slash) + 1);
    memcpy(slash, "/.", 2);
    world_driver_new(&x->w, "{}");
    recovery_recover(x, &u);
    pump_world_until_other(x, first);
    world_until(pump_world_has_ended, &first, "the first pump's end");
    folder_of(x, same);
    assert_string_equal(folder, same);
    pump_world_lines(x, 40, 80);
    reader_until(&x->out, "00000059 ");
    assert_int_equal(pump_world_count(&x->out), 60);
    recovery_end(x, &u);
}

/* Up to version 0.2 the folder's name depended on the endpoint and on the host's name. */
static void test_pump__in_another_folder__succeeded(void **state) {
    struct pump_world *x = *state;
    struct recovery u;
    char folder[512], other[600], again[512];
    recovery_start(x, &u);
    pump_world_read(x);
    pid_t first = world_pump(&x->w);
    folder_of(x, folder);
    world_driver_free(&x->w);
    snprintf(other, sizeof(other), "%s/docker-0123456789abcdef", x->w.run_dir);
    assert_int_equal(rename(folder, other), 0);
    world_driver_new(&x->w, "{}");
    recovery_recover(x, &u);
    pump_world_until_other(x, first);
    world_until(pump_world_has_ended, &first, "the first pump's end");
    folder_of(x, again); /* the other folder is removed */
    assert_string_equal(folder, again);
    pump_world_lines(x, 40, 80);
    reader_until(&x->out, "00000029 ");
    recovery_end(x, &u);
}

/* Another plugin with task "two", which it has prepared for its pump. */
struct other_plugin {
    struct logpump_options o;
    struct logpump *pump;
    struct task_config two;
};

static void other_plugin_begin(struct other_plugin *p, const struct world *w, const char *run_dir,
                               const char *endpoint, const char *allocs_dir) {
    struct call call = call_within(NULL, WORLD_WAIT_US);
    p->o = (struct logpump_options){.program = "/proc/self/exe",
                                    .run_dir = run_dir,
                                    .endpoint = endpoint,
                                    .allocs_dir = allocs_dir};
    assert_int_equal(loop_new(&p->o.loop), 0);
    assert_int_equal(pool_new(2, &p->o.pool), 0);
    assert_int_equal(logpump_new(&p->o, &p->pump, NULL), 0);
    world_task(w, &p->two, "two", PUMP_WORLD_RUNS);
    struct logpump_task t = {.task_id = p->two.id,
                             .container_id = TWO_ID,
                             .stdout_path = p->two.stdout_path,
                             .stderr_path = p->two.stderr_path};
    assert_true(logpump_prepare(p->pump, &call, &t));
}

static void other_plugin_end(struct other_plugin *p) {
    logpump_drop(p->pump, p->two.id);
    logpump_forget(p->pump, TWO_ID);
    task_config_done(&p->two);
    pool_free(p->o.pool);
    loop_run_posted(p->o.loop);
    logpump_free(p->pump);
    loop_free(p->o.loop);
}

/* Another client of the same machine has a pump of its own. */
static void test_pump__of_another_client__left_alone(void **state) {
    struct pump_world *x = *state;
    char folder[512], other[600], record[700];
    folder_of(x, folder);
    pid_t first = world_pump(&x->w);
    world_driver_free(&x->w);
    snprintf(other, sizeof(other), "%s/docker-0123456789abcdef", x->w.run_dir);
    assert_int_equal(rename(folder, other), 0);
    struct other_plugin p;
    other_plugin_begin(&p, &x->w, folder, x->w.fake.endpoint, "/elsewhere");
    json_t *status = logpump_status(p.pump);
    assert_int_equal(json_integer_value(json_object_get(status, "starts")), 1);
    assert_int_equal(json_array_size(json_object_get(status, "tasks")), 1);
    assert_string_equal(json_string_value(json_object_get(status, "version")), PADDOCK_VERSION);
    json_decref(status);
    snprintf(record, sizeof(record), "%s/positions/%s", other,
             "c0de00000001000000000000000000000000000000000000000000000000feed");
    assert_int_equal(access(record, F_OK), 0);
    assert_false(pump_world_has_ended(&first));
    kill(first, SIGKILL);
    other_plugin_end(&p);
    world_driver_new(&x->w, "{}");
}

/* Two plugins of one client have different settings, for example while the agent replaces one.
 * The pump of the second one stays, and the first one uses it, too. */
static void test_pump__two_plugins_disagree__one_pump_stays(void **state) {
    struct pump_world *x = *state;
    char folder[512], endpoint[300], allocs[300];
    struct other_plugin p;
    pump_world_read(x);
    pump_world_lines(x, 40, 80);
    reader_until(&x->out, "00000029 ");
    pid_t first = world_pump(&x->w);
    folder_of(x, folder);
    snprintf(endpoint, sizeof(endpoint), "unix:///.%s", x->w.fake.endpoint + strlen("unix://"));
    snprintf(allocs, sizeof(allocs), "%s/alloc", x->w.dir);
    other_plugin_begin(&p, &x->w, folder, endpoint, allocs);
    world_until(pump_world_has_ended, &first, "the first pump's end");
    pid_t second = world_pump(&x->w);
    assert_true(second > 0 && second != first);
    pump_world_lines(x, 40, 80);
    reader_until(&x->out, "00000059 ");
    world_exit(&x->w, &x->task, 0); /* the first plugin reports this to the pump */
    world_wait(&x->w, x->task.id);
    reader_until_eof(&x->out);
    assert_int_equal(pump_world_count(&x->out), 60);
    assert_int_equal(world_pump(&x->w), second);
    other_plugin_end(&p);
}

/* ---- A removed folder ---- */

static void remove_folder(struct pump_world *x) {
    char command[300];
    snprintf(command, sizeof(command), "rm -r %s/docker-*", x->w.run_dir);
    /* 1: the pump made the folder again before rm had finished */
    assert_in_range(WEXITSTATUS(system(command)), 0, 1);
}

/* The plugin stays connected after its first task has started. A plugin that finds no socket
 * then would start another pump. The connection of a request is shorter: ten checks do not all
 * see it. */
static bool is_connected(void *ctx) {
    struct pump_world *x = ctx;
    char line[512];
    for (int look = 0; look < 10; look++) {
        FILE *f = fopen("/proc/net/unix", "re");
        bool found = false;
        while (f && fgets(line, sizeof(line), f))
            found |=
                strstr(line, x->w.run_dir) && strstr(line, "/pump.sock") && strstr(line, " 03 ");
        if (f)
            fclose(f);
        if (!found)
            return false;
    }
    return true;
}

static bool is_there_again(void *ctx) {
    struct pump_world *x = ctx;
    return world_pump(&x->w) != 0 && world_positions(&x->w) == 2;
}

/* /run was cleaned up by another program. The same pump continues, and the next one finds the
 * positions. */
static void test_pump__folder_removed__made_again_with_positions(void **state) {
    struct pump_world *x = *state;
    struct recovery u;
    recovery_start(x, &u);
    world_until(is_connected, x, "the plugin's connection");
    pid_t first = world_pump(&x->w);
    remove_folder(x);
    world_until(is_there_again, x, "socket and positions");
    assert_int_equal(world_pump(&x->w), first);
    world_pump_kill(&x->w);
    pump_world_until_other(x, first);
    recovery_end(x, &u);
}

/* The next task starts before the old pump has noticed the removal, and finds no pump. Two pumps
 * run for a moment, and the new one continues all tasks. */
static void test_pump__folder_removed_and_a_task_starts__new_pump_continues(void **state) {
    struct pump_world *x = *state;
    struct recovery u;
    struct task_config three;
    recovery_start(x, &u);
    world_until(is_connected, x, "the plugin's connection");
    pid_t first = world_pump(&x->w);
    kill(first, SIGSTOP);
    remove_folder(x);
    world_task(&x->w, &three, "three", PUMP_WORLD_RUNS);
    world_run(&x->w, &three, NULL);
    kill(first, SIGCONT);
    world_until(pump_world_has_ended, &first, "the first pump's end");
    recovery_end(x, &u);
    task_config_done(&three);
}

static void on_event(void *ctx, const struct driver_event *e) {
    if (strstr(e->message, "log lines may be missing"))
        atomic_store((atomic_bool *)ctx, true);
}

static bool is_set(void *ctx) {
    return atomic_load((atomic_bool *)ctx);
}

static bool is_carried_by_other(void *ctx) {
    struct pump_world *x = ctx;
    json_t *doc = driver_status(x->w.d);
    const json_t *tasks = json_object_get(json_object_get(doc, "log_pump"), "tasks");
    bool is = json_array_size(tasks) == 1;
    json_decref(doc);
    return is;
}

/* Folder and pump are lost together, so that it is unknown how much was delivered. The output
 * continues from now, nothing comes twice, and a task event reports it. */
static void test_pump__folder_and_pump_lost__continues_from_now(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    pump_world_print(x, "one\n");
    reader_until(&x->out, "one\n");
    pid_t first = world_pump(&x->w);
    atomic_bool reported = false;
    struct driver_sub *sub;
    assert_int_equal(driver_task_events(x->w.d, on_event, &reported, &sub, NULL), 0);
    kill(first, SIGSTOP);
    remove_folder(x);
    kill(first, SIGKILL);
    world_until(is_carried_by_other, x, "another pump that has the task");
    pump_world_print(x, "two\n");
    reader_until(&x->out, "two\n");
    AUTO_FREE char *text = reader_text(&x->out, NULL);
    assert_string_equal(text, "one\ntwo\n");
    world_until(is_set, &reported, "the task event");
    fan_unsubscribe(sub);
}

/* ---- Reports of the pump ---- */

/* Sends stderr of this process to a file. */
struct heard {
    char path[300];
    int before;
};

static void heard_start(const struct pump_world *x, struct heard *h) {
    snprintf(h->path, sizeof(h->path), "%s/stderr", x->w.dir);
    h->before = dup(STDERR_FILENO);
    AUTO_FD int fd = open(h->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(h->before >= 0 && fd >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
}

static void heard_done(struct heard *h) {
    dup2(h->before, STDERR_FILENO);
    close(h->before);
}

struct line_wait {
    const char *path, *text, *more;
};

static bool has_line(void *ctx) {
    const struct line_wait *w = ctx;
    char line[4096];
    bool has = false;
    FILE *f = fopen(w->path, "re");
    while (f && !has && fgets(line, sizeof(line), f))
        has = strstr(line, w->text) && strstr(line, w->more);
    if (f)
        fclose(f);
    return has;
}

static void test_pump__killed__end_is_reported_with_its_status(void **state) {
    struct pump_world *x = *state;
    struct heard h;
    heard_start(x, &h);
    struct line_wait w = {h.path, "the log pump has ended", "signal 9 (Killed)"};
    world_pump_kill(&x->w);
    world_until(has_line, &w, "the end in the agent's log");
    heard_done(&h);
}

struct refused_wait {
    struct pump_world *x;
    struct line_wait line;
};

/* A request that the pump refuses, with a line of its log. */
static bool is_refusal_heard(void *ctx) {
    static const char rq[] =
        "{\"op\":\"carry\",\"task\":\"t\",\"container\":"
        "\"c0de00000009000000000000000000000000000000000000000000000000feed\"}\n";
    struct refused_wait *w = ctx;
    char answer;
    AUTO_FD int fd = world_pump_connect(&w->x->w);
    assert_int_equal(send(fd, rq, sizeof(rq) - 1, MSG_NOSIGNAL), sizeof(rq) - 1);
    assert_int_equal(recv(fd, &answer, 1, 0), 1);
    return has_line(&w->line);
}

/* Also those of a pump that another plugin process has started, as soon as this plugin watches
 * it. */
static void test_pump__its_log_lines__in_the_agents_log(void **state) {
    struct pump_world *x = *state;
    struct recovery u;
    struct heard h;
    recovery_start(x, &u);
    pid_t first = world_pump(&x->w);
    world_driver_free(&x->w);
    heard_start(x, &h);
    world_driver_new(&x->w, "{}");
    recovery_recover(x, &u);
    assert_int_equal(world_pump(&x->w), first);
    struct refused_wait w = {x, {h.path, "\"@module\":\"logpump\"", "cannot be carried"}};
    world_until(is_refusal_heard, &w, "the pump's line in the agent's log");
    heard_done(&h);
    recovery_end(x, &u);
}

/* A pump that ends at its start is started after growing pauses: 100, 200, 400 ... ms. */
static void test_pump__ends_at_its_start__started_slowly(void **state) {
    struct pump_world *x = *state;
    struct logpump_options o = {
        .program = "/bin/false", .run_dir = x->w.dir, .endpoint = x->w.fake.endpoint};
    struct call call = call_within(NULL, 3 * US_PER_SEC);
    struct logpump *pump;
    struct heard h;
    assert_int_equal(loop_new(&o.loop), 0);
    assert_int_equal(pool_new(2, &o.pool), 0);
    assert_int_equal(logpump_new(&o, &pump, NULL), 0);
    heard_start(x, &h);
    struct line_wait w = {h.path, "the log pump has ended", "exit status 1"};
    struct logpump_task t = {.task_id = x->task.id,
                             .container_id = TWO_ID,
                             .stdout_path = x->task.stdout_path,
                             .stderr_path = x->task.stderr_path};
    assert_false(logpump_prepare(pump, &call, &t));
    json_t *status = logpump_status(pump);
    assert_string_equal(json_string_value(json_object_get(status, "error")), "none answers");
    json_int_t starts = json_integer_value(json_object_get(status, "starts"));
    json_decref(status);
    heard_done(&h);
    assert_true(has_line(&w));
    assert_true(starts >= 2 && starts <= 6); /* 0, 0.1, 0.3, 0.7, 1.5, (3.1) s */
    pool_free(o.pool);
    loop_run_posted(o.loop);
    logpump_free(pump);
    loop_free(o.loop);
}

/* `paddock status` and the metrics ask the plugin, and the plugin asks the pump. */
static void test_status__a_task_runs__pump_and_its_tasks_shown(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    pump_world_print(x, "on\n");
    reader_until(&x->out, "on\n");
    json_t *doc = driver_status(x->w.d), *pump = json_object_get(doc, "log_pump");
    const json_t *task = json_array_get(json_object_get(pump, "tasks"), 0);
    assert_string_equal(json_string_value(json_object_get(pump, "version")), PADDOCK_VERSION);
    assert_int_equal(json_integer_value(json_object_get(pump, "starts")), 1);
    assert_string_equal(json_string_value(json_object_get(task, "task")), x->task.id);
    assert_string_equal(json_string_value(json_object_get(task, "way")), "api");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(pump, "sum"), "api")), 1);
    json_decref(doc);
    AUTO_FREE char *metrics = driver_metrics(x->w.d);
    assert_non_null(metrics);
    assert_non_null(strstr(metrics, "\npaddock_log_pump_up 1\n"));
    assert_non_null(strstr(metrics, "\npaddock_log_pump_starts_total 1\n"));
    assert_non_null(strstr(metrics, "\npaddock_log_tasks{way=\"api\"} 1\n"));
    assert_non_null(strstr(metrics, "\npaddock_log_lag_bytes 0\n"));
}

static bool has_lag(void *ctx) {
    struct pump_world *x = ctx;
    json_t *doc = driver_status(x->w.d);
    const json_t *sum = json_object_get(json_object_get(doc, "log_pump"), "sum");
    bool is = json_integer_value(json_object_get(sum, "lag_bytes")) > 0 &&
              json_number_value(json_object_get(sum, "lag_seconds")) > 0;
    json_decref(doc);
    return is;
}

static void test_status__reader_stalls__lag_is_shown(void **state) {
    struct pump_world *x = *state;
    pump_world_lines(x, 4000, 200); /* more than fits into the FIFO, and the reader does not read */
    world_until(has_lag, x, "bytes and seconds that wait");
    pump_world_read(x);
    pump_world_end(x, 3000, 1000);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_pump__other_settings__succeeded),
    PUMP_WORLD_T(test_pump__in_another_folder__succeeded),
    PUMP_WORLD_T(test_pump__of_another_client__left_alone),
    PUMP_WORLD_T(test_pump__two_plugins_disagree__one_pump_stays),
    PUMP_WORLD_T(test_pump__folder_removed__made_again_with_positions),
    PUMP_WORLD_T(test_pump__folder_removed_and_a_task_starts__new_pump_continues),
    PUMP_WORLD_T(test_pump__folder_and_pump_lost__continues_from_now),
    PUMP_WORLD_T(test_pump__killed__end_is_reported_with_its_status),
    PUMP_WORLD_T(test_pump__its_log_lines__in_the_agents_log),
    PUMP_WORLD_T(test_pump__ends_at_its_start__started_slowly),
    PUMP_WORLD_T(test_status__a_task_runs__pump_and_its_tasks_shown),
    PUMP_WORLD_T(test_status__reader_stalls__lag_is_shown),
};
WORLD_MAIN(tests)
