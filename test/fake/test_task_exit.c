/* SPDX-License-Identifier: MPL-2.0 */
/* How the end of a task becomes known: with a lost event stream, with a Docker that hangs, after a
 * removal by hand, and after an OOM kill. Also RecoverTask, which asks for the end of containers
 * that ran while no plugin did. */
#include "fake/task_world.h"
#include "paddock/pool.h"
#include "paddock/task_state.h"
#include "unit/config/pack.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int setup_with(void **state, unsigned timeout_ms) {
    world_web_setup(state, "{}", timeout_ms, true);
    world_until_count(&((struct world_web *)*state)->w, "GET /events", 1);
    return 0;
}

static int setup(void **state) {
    return setup_with(state, 0);
}

static int setup_hasty(void **state) {
    return setup_with(state, 200);
}

static void test_exit__codes__as_docker_tells(void **state) {
    struct world_web *x = *state;
    world_exit(&x->w, &x->task, 3);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 3);
    assert_int_equal(e.signal, 0);
    assert_false(e.oom);
    assert_string_equal(e.err, "Docker container exited with non-zero exit code: 3");
    /* the same answer until DestroyTask */
    assert_int_equal(world_wait(&x->w, x->task.id).code, 3);
}

static void test_exit__oom__told(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "exit/web-a1?code=137&oom=1", "", NULL, 0);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 137);
    assert_true(e.oom);
    assert_string_equal(e.err, "OOM Killed");
}

/* A child was the victim: the task went on. */
static void test_exit__oom_of_a_child__told(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "oom/web-a1", "", NULL, 0);
    world_exit(&x->w, &x->task, 1);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 1);
    assert_true(e.oom);
}

/* A child, or an exec's command, was the victim, and the task has done its work. */
static void test_exit__oom_of_a_child_and_code_0__success(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "oom/web-a1", "", NULL, 0);
    world_exit(&x->w, &x->task, 0);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 0);
    assert_false(e.oom);
    assert_string_equal(e.err, "");
}

static void test_exit__during_loss_of_the_stream__told(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events times=2 drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

/* This Docker was restarted and does not repeat the events of the dropped stream. Only the check
 * of the container shows the end. */
static void test_exit__stream_back_without_history__told(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events status=200 type=application/json stall body=\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 5);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 5);
}

static void test_exit__stream_lost_and_back__still_running(void **state) {
    struct world_web *x = *state;
    int before = fake_count(&x->w.fake, "GET /events");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, "GET /events", before + 1);
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/json",
             world_look(&x->w, x->task.id).container_id);
    world_until_count(&x->w, request, 2); /* StartTask's and the one after the reconnect */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static bool is_oom_seen(void *ctx) {
    struct world_web *x = ctx;
    return world_look(&x->w, x->task.id).oom_ns != 0;
}

/* A child was the victim, and its event is not repeated: the end will not be asked for it. */
static void test_exit__oom_during_loss_of_the_stream__kept_for_the_end(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "oom/web-a1", "", NULL, 0);
    fake_rules(&x->w.fake, "GET /events status=200 type=application/json stall body=\n");
    world_until(is_oom_seen, x, "the OOM kill is known");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

/* An answer that does not say whether it runs, or with which code it ended, is none. */
static void test_exit__inspect_without_a_state__nothing_concluded(void **state) {
    struct world_web *x = *state;
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/json",
             world_look(&x->w, x->task.id).container_id);
    int before = fake_count(&x->w.fake, request);
    fake_rules(&x->w.fake, "GET /containers/*/json times=1 status=200 type=application/json "
                           "body={\"Id\":\"x\",\"State\":{}}\n"
                           "GET /containers/*/json times=1 status=200 type=application/json "
                           "body={\"Id\":\"x\",\"State\":{\"Running\":false}}\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, request, before + 3); /* asked until it is said */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

/* Docker's inspect waits until Docker has cleaned up. No call waits for the inspect, also not
 * after a SIGKILL. */
static void test_exit__inspect_hangs__told_by_the_event(void **state) {
    struct world_web *x = *state;
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/json",
             world_look(&x->w, x->task.id).container_id);
    int before = fake_count(&x->w.fake, request);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    world_exit(&x->w, &x->task, 137);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 137);
    assert_int_equal(fake_count(&x->w.fake, request), before);
}

/* ---- started anew by Docker: another process, to be looked at ---- */

struct other_process {
    struct world *w;
    const char *task_id;
};

static bool is_other_process(void *ctx) {
    const struct other_process *o = ctx;
    struct task_look look = world_look(o->w, o->task_id);
    return look.phase == TASK_RUNNING && look.pid != 999999999;
}

static bool is_another_process(void *ctx) {
    struct world_web *x = ctx;
    return is_other_process(&(struct other_process){&x->w, x->task.id});
}

static void restart_and_follow(struct world_web *x, const char *rules) {
    fake_rules(&x->w.fake, rules);
    fake_control(&x->w.fake, "POST", "restart/web-a1?lost=1", "", NULL, 0);
    world_until(is_another_process, x, "the new process is known");
    assert_int_equal(fake_count(&x->w.fake, "GET /events"), 1);
}

static void test_exit__started_anew_and_inspect_cut_off__followed(void **state) {
    restart_and_follow(*state, "GET /containers/*/json times=3 drop\n");
}

static void test_exit__started_anew_and_inspect_hangs_for_a_while__followed(void **state) {
    restart_and_follow(*state, "GET /containers/*/json times=2 hang\n");
}

/* `docker restart` by hand: the die event is the end of the task. The new process does not
 * belong to it. */
static void test_exit__restarted_by_hand__ended(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "restart/web-a1", "", NULL, 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 143);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_EXITED);
}

/* Docker keeps one container locked for good: that holds up nobody else's end. */
static void test_exit__inspect_of_another_hangs__told(void **state) {
    struct world_web *x = *state;
    struct task_config stuck;
    char rules[256];
    world_task(&x->w, &stuck, "stuck", WORLD_WEB_JOB);
    world_run(&x->w, &stuck, NULL); /* the last one is looked at first */
    snprintf(rules, sizeof(rules),
             "GET /containers/%s/json hang\n"
             "GET /events status=200 type=application/json stall body=\n",
             world_look(&x->w, stuck.id).container_id);
    fake_rules(&x->w.fake, rules);
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
    assert_int_equal(world_look(&x->w, stuck.id).phase, TASK_RUNNING);
    task_config_done(&stuck);
}

/* Docker has started more of them anew than there are threads for a look, and keeps those locked:
 * one that it does not is looked at all the same. */
static void test_exit__many_locked_for_good__another_is_followed(void **state) {
    struct world_web *x = *state;
    enum { N = 20 };
    static struct task_config locked[N];
    char name[32], path[64], rule[160];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "locked%d", i);
        world_task(&x->w, &locked[i], name, WORLD_WEB_JOB);
        world_run(&x->w, &locked[i], NULL);
        const struct task_look look = world_look(&x->w, locked[i].id);
        snprintf(rule, sizeof(rule), "GET /containers/%s/json hang\n", look.container_id);
        fake_rules(&x->w.fake, rule);
        snprintf(path, sizeof(path), "restart/%s-a1?lost=1", name);
        fake_control(&x->w.fake, "POST", path, "", NULL, 0);
    }
    restart_and_follow(x, "");
    fake_rules(&x->w.fake, "GET /containers/*/json delay=0\n"); /* they are let go */
    struct other_process last = {&x->w, locked[0].id};
    for (int i = 0; i < N; i++) {
        last.task_id = locked[i].id;
        world_until(is_other_process, &last, "its new process is known");
        task_config_done(&locked[i]);
    }
}

static void inspect_request(struct world_web *x, const char *task_id, char ret[128]) {
    snprintf(ret, 128, "GET /containers/%s/json", world_look(&x->w, task_id).container_id);
}

/* Docker answers no look at either of two tasks. One is destroyed, without an event, and begun anew
 * with its id: the other one alone is looked at from then on. */
static void test_exit__left_while_looked_at__looked_at_no_more(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char left[128], stays[128], rules[512];
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    inspect_request(x, x->task.id, left);
    inspect_request(x, other.id, stays);
    snprintf(rules, sizeof(rules),
             "%s status=500\n%s status=500\n"
             "GET /events status=200 type=application/json stall body=\n",
             left, stays);
    fake_rules(&x->w.fake, rules);
    int before = fake_count(&x->w.fake, left);
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, left, before + 1);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    world_run(&x->w, &x->task, NULL);
    before = fake_count(&x->w.fake, left);
    world_until_count(&x->w, stays, fake_count(&x->w.fake, stays) + 3);
    assert_in_range(fake_count(&x->w.fake, left), before, before + 1); /* one was under way */
    task_config_done(&other);
}

/* ---- no thread is to be had ---- */

static atomic_bool denied;
static atomic_int refusals;

int __real_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx);
int __wrap_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx);
int __wrap_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx) {
    if (!atomic_load(&denied))
        return __real_pool_run(p, work, ctx);
    atomic_fetch_add(&refusals, 1);
    return -EAGAIN;
}

static bool was_refused(void *ctx) {
    return atomic_load(&refusals) >= *(int *)ctx;
}

static void deny_threads(void) {
    atomic_store(&refusals, 0);
    atomic_store(&denied, true);
}

static void allow_threads_after(int asked) {
    world_until(was_refused, &asked, "a thread was asked for");
    atomic_store(&denied, false);
}

static void test_exit__started_anew_and_no_thread__followed_later(void **state) {
    struct world_web *x = *state;
    deny_threads();
    fake_control(&x->w.fake, "POST", "restart/web-a1?lost=1", "", NULL, 0);
    allow_threads_after(1);
    world_until(is_another_process, x, "the new process is known");
    assert_int_equal(fake_count(&x->w.fake, "GET /events"), 1);
}

static void test_exit__no_thread_when_stream_is_back__told_later(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events status=200 type=application/json stall body=\n");
    deny_threads();
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 5);
    allow_threads_after(2); /* the fingerprint asked, too, when the stream was lost */
    assert_int_equal(world_wait(&x->w, x->task.id).code, 5);
}

static void test_exit__removed_by_hand__told(void **state) {
    struct world_web *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = call_within(NULL, WORLD_WAIT_US);
    assert_int_equal(docker_container_remove(docker, &call, "web-a1", true, NULL), 0);
    docker_free(docker);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 137);
}

static void test_exit__gone_after_dockers_restart__told(void **state) {
    struct world_web *x = *state;
    fake_stop(&x->w.fake);
    fake_start_again(&x->w.fake, NULL); /* it knows of no container */
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_string_equal(e.err, "the container was removed outside of Nomad");
}

static bool fails_to_connect(void *ctx) {
    struct docker *docker = fake_docker(ctx);
    struct call call = call_within(NULL, US_PER_SEC);
    struct docker_version v;
    int r = docker_system_version(docker, &call, &v, NULL);
    docker_free(docker);
    return r < 0;
}

static void on_fingerprint(void *ctx, const struct driver_fingerprint *f) {
    atomic_store((atomic_int *)ctx, (int)f->health);
}

static bool is_unhealthy(void *ctx) {
    return atomic_load((atomic_int *)ctx) == DRIVER_UNHEALTHY;
}

static bool is_healthy(void *ctx) {
    return atomic_load((atomic_int *)ctx) == DRIVER_HEALTHY;
}

static void test_exit__docker_down__nothing_concluded_fingerprint_says_so(void **state) {
    struct world_web *x = *state;
    atomic_int health = -1;
    struct driver_sub *sub = NULL;
    assert_int_equal(fingerprint_subscribe(x->w.d, on_fingerprint, &health, &sub, NULL), 0);
    world_until(is_healthy, &health, "healthy");
    fake_stop(&x->w.fake);
    assert_true(fails_to_connect(&x->w.fake));
    world_until(is_unhealthy, &health, "unhealthy");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    fan_unsubscribe(sub);
}

/* ---- waiters ---- */

static atomic_int told;

static void on_end(void *ctx, const struct task_exit *exit) {
    (void)ctx;
    if (exit->code == 2)
        atomic_fetch_add(&told, 1);
}

static bool all_told(void *ctx) {
    return atomic_load(&told) == *(int *)ctx;
}

static void test_wait__thousand__each_told_once(void **state) {
    struct world_web *x = *state;
    enum { N = 1000 };
    static struct task_waiter w[N];
    struct task *t[N];
    int expected = N - 1;
    atomic_store(&told, 0);
    for (int i = 0; i < N; i++) {
        w[i] = (struct task_waiter){.done = on_end};
        assert_int_equal(exit_wait(x->w.d, x->task.id, &w[i], &t[i], NULL), 0);
    }
    assert_true(store_wait_cancel(t[500], &w[500]));
    world_exit(&x->w, &x->task, 2);
    world_until(all_told, &expected, "all waiters");
    assert_false(store_wait_cancel(t[0], &w[0]));
    for (int i = 0; i < N; i++)
        store_task_unref(t[i]);
    assert_int_equal(atomic_load(&told), expected);
}

static void test_wait__unknown__not_found(void **state) {
    struct world_web *x = *state;
    struct err err = {0};
    struct task *t = NULL;
    struct task_waiter w = {.done = on_end};
    assert_int_equal(exit_wait(x->w.d, "nobody", &w, &t, &err), -ENOENT);
    assert_string_equal(err.text, "task not found for given id");
    assert_null(t);
}

/* A reader that does not read holds the drain of its own task; another is looked at and its end is
 * known at once. */
static void test_exit__twenty_stalled_readers__another_is_followed_to_its_end(void **state) {
    struct world_web *x = *state;
    enum { N = 20 };
    static struct task_config more[N];
    char name[32], path[64];
    AUTO_FREE char *text = calloc(1, 200001);
    memset(text, 'x', 200000);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "full%d", i);
        world_task(&x->w, &more[i], name, WORLD_WEB_JOB);
        world_run(&x->w, &more[i], NULL);
        snprintf(path, sizeof(path), "print/%s-a1", name);
        fake_control(&x->w.fake, "POST", path, text, NULL, 0); /* more than a FIFO takes */
    }
    uint64_t before = clock_now_us();
    for (int i = 0; i < N; i++) {
        world_exit(&x->w, &more[i], 0);
        world_wait(&x->w, more[i].id);
    }
    restart_and_follow(x, "");
    world_exit(&x->w, &x->task, 1);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 1);
    assert_true(clock_now_us() - before < 8 * US_PER_SEC); /* a drain alone gets 60 s */
    for (int i = 0; i < N; i++)
        task_config_done(&more[i]);
}

static unsigned threads(void) {
    DIR *dir = opendir("/proc/self/task");
    unsigned n = 0;
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static bool has_few_threads(void *ctx) {
    unsigned *most = ctx;
    return threads() <= *most;
}

/* Ended tasks whose readers take nothing: their last lines wait without a thread. */
static void test_exit__stalled_readers__cost_no_thread(void **state) {
    struct world_web *x = *state;
    enum { N = 12 };
    static struct task_config more[N];
    char name[32], path[64];
    AUTO_FREE char *text = calloc(1, 200001);
    memset(text, 'x', 200000);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "full%d", i);
        world_task(&x->w, &more[i], name, WORLD_WEB_JOB);
        world_run(&x->w, &more[i], NULL);
        snprintf(path, sizeof(path), "print/%s-a1", name);
        fake_control(&x->w.fake, "POST", path, text, NULL, 0);
        world_exit(&x->w, &more[i], 0);
        world_wait(&x->w, more[i].id);
    }
    unsigned most =
        8; /* with ".", "..", this one, streams, the reconciler and the last idle ones */
    world_until(has_few_threads, &most, "the drains' threads end");
    for (int i = 0; i < N; i++) {
        assert_false(world_is_let_go(more[i].stdout_path));
        task_config_done(&more[i]);
    }
}

/* The pump is killed while a reader takes its time: the next one delivers the rest. */
static void test_exit__pump_dies_while_draining__rest_delivered(void **state) {
    struct world_web *x = *state;
    struct reader r;
    AUTO_FREE char *text = calloc(1, 300001);
    memset(text, 'y', 300000);
    reader_start(&r, x->task.stdout_path);
    reader_until_len(&r, 0);
    reader_pause(&r, true);
    fake_control(&x->w.fake, "POST", "print/web-a1", text, NULL, 0);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    world_pump_kill(&x->w);
    reader_pause(&r, false);
    reader_until_eof(&r);
    reader_until_len(&r, 300000);
    reader_done(&r);
}

/* ---- recover ---- */

static void restart_plugin(struct world_web *x) {
    world_driver_free(&x->w);
    world_driver_new(&x->w, "{}");
}

static int recover(struct world_web *x, const void *data, size_t len, struct err *err) {
    struct call call = call_within(NULL, WORLD_WAIT_US);
    if (err)
        *err = (struct err){0};
    return task_recover(x->w.d, &call, &x->task, data, len, err);
}

static int recover_own(struct world_web *x, struct err *err) {
    /* After a restart of the agent the job's config is not there. */
    free(TAKE_PTR(x->task.driver_config));
    x->task.driver_config_len = 0;
    return recover(x, x->started.state, x->started.state_len, err);
}

/* driver_state of the built-in driver, whose logger is process @logger. */
static int recover_built_in(struct world_web *x, const char *container_id, pid_t logger) {
    char text[512];
    snprintf(
        text, sizeof(text),
        "{\"ContainerID\":\"%s\",\"DriverNetwork\":{\"PortMap\":{\"http\":80},\"IP\":\"172.17.0."
        "2\","
        "\"AutoAdvertise\":false},\"ReattachConfig\":{\"Protocol\":\"grpc\",\"Network\":\"unix\","
        "\"Addr\":\"/tmp/plugin1\",\"Pid\":%d}}",
        container_id, (int)logger);
    struct buf b = pack(text);
    int r = recover(x, b.data, b.len, NULL);
    buf_done(&b);
    return r;
}

static void test_recover__running__waits_on(void **state) {
    struct world_web *x = *state;
    restart_plugin(x);
    assert_int_equal(recover_own(x, NULL), 0);
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_RUNNING);
    assert_int_equal(look.pid, 999999999);
    assert_true(look.logs);
    assert_int_equal(fake_images_held(), 1);
    world_exit(&x->w, &x->task, 8);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 8);
}

/* With containerd's image store, a container can name its image by another id than the one that
 * StartTask holds. */
static void test_recover__container_names_another_image_id__held_as_started(void **state) {
    struct world_web *x = *state;
    char rule[512];
    snprintf(
        rule, sizeof(rule),
        "GET /containers/*/json status=200 type=application/json body={\"Id\":\"%s\",\"Image\":"
        "\"sha256:0ther\",\"Config\":{\"Image\":\"app:1\"},\"State\":{\"Status\":\"running\","
        "\"Running\":true,\"Pid\":999999999,\"ExitCode\":0}}\n",
        world_look(&x->w, x->task.id).container_id);
    restart_plugin(x);
    fake_rules(&x->w.fake, rule);
    assert_int_equal(recover_own(x, NULL), 0);
    assert_string_equal(fake_images_last_hold(), "sha256:5ca1ab1e as app:1");
    assert_string_equal(world_look(&x->w, x->task.id).image_id, "sha256:5ca1ab1e");
}

static void test_recover__known_already__no_docker_call(void **state) {
    struct world_web *x = *state;
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/json",
             world_look(&x->w, x->task.id).container_id);
    world_until_count(&x->w, request, 1);
    int before = fake_count(&x->w.fake, request);
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(fake_count(&x->w.fake, request), before);
}

static void test_recover__exited_meanwhile__code_told(void **state) {
    struct world_web *x = *state;
    world_driver_free(&x->w);
    world_exit(&x->w, &x->task, 11);
    world_driver_new(&x->w, "{}");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 11);
}

/* Somebody made it anew, or Docker lost its state: it does not run and has no exit code to tell. */
static void test_recover__never_started__error_and_nothing_held(void **state) {
    struct world_web *x = *state;
    struct err err;
    char rule[512];
    snprintf(
        rule, sizeof(rule),
        "GET /containers/*/json status=200 type=application/json body={\"Id\":\"%s\",\"State\":"
        "{\"Status\":\"created\",\"Running\":false,\"Pid\":0,\"ExitCode\":0}}\n",
        world_look(&x->w, x->task.id).container_id);
    restart_plugin(x);
    fake_rules(&x->w.fake, rule);
    assert_true(recover_own(x, &err) < 0);
    assert_non_null(strstr(err.text, "was never started"));
    assert_int_equal(fake_images_held(), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

static void test_recover__gone__error_and_nothing_held(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_driver_free(&x->w);
    fake_stop(&x->w.fake);
    fake_start_again(&x->w.fake, NULL);
    world_driver_new(&x->w, "{}");
    assert_int_equal(recover_own(x, &err), -ENOENT);
    assert_non_null(strstr(err.text, "failed to inspect container for id"));
    assert_int_equal(fake_images_held(), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

static void test_recover__garbage__refused(void **state) {
    struct world_web *x = *state;
    struct err err;
    restart_plugin(x);
    assert_true(recover(x, "\xc1garbage", 8, &err) < 0);
    assert_non_null(strstr(err.text, "failed to decode driver state"));
    assert_true(recover(x, "", 0, &err) < 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

/* Docker is away for a moment while the agent restarts: the task is not lost for it. */
static void test_recover__docker_away_for_a_moment__recovered(void **state) {
    struct world_web *x = *state;
    restart_plugin(x);
    fake_rules(&x->w.fake,
               "GET /containers/*/json times=2 status=500 body={\"message\":\"loading\"}\n");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static bool has_pid(void *ctx) {
    struct world_web *x = ctx;
    return world_look(&x->w, x->task.id).pid == 999999999;
}

/* An agent that gets a failure starts the task anew, and the container that still runs is replaced.
 * What driver_state says is enough until Docker tells the rest. */
static void test_recover__docker_hangs__taken_to_run_until_it_answers(void **state) {
    struct world_web *x = *state;
    restart_plugin(x);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    uint64_t before = clock_now_us();
    assert_int_equal(recover_own(x, NULL), 0);
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_RUNNING);
    assert_int_equal(look.pid, 999999999); /* as driver_state says */
    assert_true(look.logs);
    assert_int_equal(fake_images_held(), 1);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_until(has_pid, x, "Docker's word on it");
    world_exit(&x->w, &x->task, 9);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 9);
}

static void test_recover__docker_down_and_task_ended__code_told_when_it_is_back(void **state) {
    struct world_web *x = *state;
    world_driver_free(&x->w);
    world_exit(&x->w, &x->task, 4);
    world_driver_new(&x->w, "{}");
    fake_rules(&x->w.fake, "* * drop\n");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

/* Nothing is there but the plugin: the FIFOs are held and a pump waits for Docker with it. */
static void test_recover__docker_down_and_pump_dead__recovered_and_logs_whole(void **state) {
    struct world_web *x = *state;
    struct reader out;
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    world_driver_new(&x->w, "{}");
    fake_rules(&x->w.fake, "* * drop\n");
    uint64_t before = clock_now_us();
    assert_int_equal(recover_own(x, NULL), 0);
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    assert_true(world_look(&x->w, x->task.id).logs);
    reader_start(&out, x->task.stdout_path);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/web-a1", "hello\n", NULL, 0);
    reader_until(&out, "hello\n");
    world_exit(&x->w, &x->task, 3);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 3);
    reader_until_eof(&out);
    reader_done(&out);
}

static void test_recover__docker_hangs_and_client_goes__error_and_nothing_held(void **state) {
    struct world_web *x = *state;
    struct cancel gone;
    restart_plugin(x);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    assert_int_equal(cancel_init(&gone), 0);
    cancel_fire(&gone);
    struct call call = call_within(NULL, WORLD_WAIT_US);
    call.cancel = &gone;
    assert_true(
        task_recover(x->w.d, &call, &x->task, x->started.state, x->started.state_len, NULL) < 0);
    cancel_done(&gone);
    assert_int_equal(fake_images_held(), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

/* Its state does not say enough of the container. */
static void test_recover__built_in_drivers_and_docker_hangs__error_in_time(void **state) {
    struct world_web *x = *state;
    struct task_look look = world_look(&x->w, x->task.id);
    restart_plugin(x);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    uint64_t before = clock_now_us();
    assert_true(recover_built_in(x, look.container_id, getpid()) < 0);
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

/* It answered once, so the container is there: an agent that is told of a failure would start the
 * task anew. Its end, of which no event tells, is looked for later. */
static void test_recover__docker_fails_at_the_last_look__looked_at_later(void **state) {
    struct world_web *x = *state;
    int before = fake_count(&x->w.fake, "GET /events");
    world_driver_free(&x->w);
    world_exit(&x->w, &x->task, 6);
    world_driver_new(&x->w, "{}");
    assert_int_equal(driver_init(x->w.d, NULL), 0);
    world_until_count(&x->w, "GET /events", before + 1); /* looked at all there is: nothing */
    fake_rules(&x->w.fake,
               "GET /containers/*/json skip=1 times=3 status=500 body={\"message\":\"loading\"}\n");
    assert_int_equal(recover_own(x, NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 6);
    assert_int_equal(fake_images_held(), 1);
    world_until_let_go(&x->task);
}

/* Taken over, and a logger's pid that is somebody else's by now is left alone. */
static void test_recover__built_in_drivers_state__taken_over(void **state) {
    struct world_web *x = *state;
    struct task_look look = world_look(&x->w, x->task.id);
    restart_plugin(x);
    assert_int_equal(recover_built_in(x, look.container_id, getpid()), 0);
    struct driver_inspect i = {0};
    assert_int_equal(task_inspect(x->w.d, x->task.id, &i, NULL), 0);
    assert_int_equal(i.look.phase, TASK_RUNNING);
    assert_true(i.look.logs);
    assert_string_equal(kvs_get(&i.port_map, "http"), "80");
    task_inspect_done(&i);
}

/* What holds the FIFOs is its logger alone, which has ended before the pump begins (one that finds
 * it alive takes the task for the built-in driver's); logmon sees no end in between. */
static void test_recover__built_in_drivers_logger__ended_and_fifos_held(void **state) {
    struct world_web *x = *state;
    extern char **environ;
    const char *const argv[] = {"sh",
                                "-c",
                                "exec 3>\"$1\" 4>\"$2\"; echo its last >&3; read end",
                                "docker_logger",
                                x->task.stdout_path,
                                x->task.stderr_path,
                                NULL};
    struct reader out, err;
    pid_t logger;
    int never[2], status;
    posix_spawn_file_actions_t a;
    reader_start(&out, x->task.stdout_path);
    reader_start(&err, x->task.stderr_path);
    assert_int_equal(pipe2(never, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, never[0], 0);
    assert_int_equal(posix_spawn(&logger, "/bin/sh", &a, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&a);
    reader_until(&out, "its last\n");
    struct task_look look = world_look(&x->w, x->task.id);
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    world_driver_new(&x->w, "{}");
    int r = recover_built_in(x, look.container_id, logger);
    pid_t ended = waitpid(logger, &status, WNOHANG);
    close(never[0]);
    close(never[1]);
    assert_int_equal(r, 0);
    assert_int_equal(ended, logger);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fake_control(&x->w.fake, "POST", "print/web-a1", "our first\n", NULL, 0);
    reader_until(&out, "our first\n");
    world_exit(&x->w, &x->task, 0);
    reader_until_eof(&out);
    reader_until_eof(&err);
    reader_done(&out);
    reader_done(&err);
}

struct recovery {
    struct world_web *x;
    int r;
};

static void *recover_thread(void *arg) {
    struct recovery *r = arg;
    r->r = recover(r->x, r->x->started.state, r->x->started.state_len, NULL);
    return NULL;
}

static void recover_twice(struct world_web *x, struct recovery r[2]) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        r[i].x = x;
        assert_int_equal(pthread_create(&threads[i], NULL, recover_thread, &r[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void test_recover__twice_at_once__both_well(void **state) {
    struct world_web *x = *state;
    struct recovery r[2];
    restart_plugin(x);
    fake_rules(&x->w.fake, "GET /containers/*/json delay=100\n");
    recover_twice(x, r);
    assert_int_equal(r[0].r, 0);
    assert_int_equal(r[1].r, 0);
    assert_int_equal(fake_images_held(), 1);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

/* A failure is told to both: one that heard of a success would wait for an unknown task. */
static void test_recover__twice_at_once_and_gone__both_fail(void **state) {
    struct world_web *x = *state;
    struct recovery r[2];
    restart_plugin(x);
    fake_rules(&x->w.fake, "GET /containers/*/json delay=300 status=404 body={}\n");
    recover_twice(x, r);
    assert_int_equal(r[0].r, -ENOENT);
    assert_int_equal(r[1].r, -ENOENT);
    assert_int_equal(fake_images_held(), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_exit__codes__as_docker_tells),
    T(test_exit__oom__told),
    T(test_exit__oom_of_a_child__told),
    T(test_exit__oom_of_a_child_and_code_0__success),
    T(test_exit__during_loss_of_the_stream__told),
    T(test_exit__stream_back_without_history__told),
    T(test_exit__stream_lost_and_back__still_running),
    T(test_exit__oom_during_loss_of_the_stream__kept_for_the_end),
    T(test_exit__inspect_without_a_state__nothing_concluded),
    HASTY(test_exit__inspect_hangs__told_by_the_event),
    T(test_exit__restarted_by_hand__ended),
    T(test_exit__started_anew_and_inspect_cut_off__followed),
    HASTY(test_exit__started_anew_and_inspect_hangs_for_a_while__followed),
    T(test_exit__inspect_of_another_hangs__told),
    HASTY(test_exit__many_locked_for_good__another_is_followed),
    T(test_exit__left_while_looked_at__looked_at_no_more),
    T(test_exit__started_anew_and_no_thread__followed_later),
    T(test_exit__no_thread_when_stream_is_back__told_later),
    T(test_exit__removed_by_hand__told),
    T(test_exit__gone_after_dockers_restart__told),
    T(test_exit__docker_down__nothing_concluded_fingerprint_says_so),
    T(test_wait__thousand__each_told_once),
    T(test_wait__unknown__not_found),
    T(test_exit__stalled_readers__cost_no_thread),
    T(test_exit__pump_dies_while_draining__rest_delivered),
    T(test_exit__twenty_stalled_readers__another_is_followed_to_its_end),
    T(test_recover__running__waits_on),
    T(test_recover__container_names_another_image_id__held_as_started),
    T(test_recover__known_already__no_docker_call),
    T(test_recover__exited_meanwhile__code_told),
    T(test_recover__never_started__error_and_nothing_held),
    T(test_recover__gone__error_and_nothing_held),
    T(test_recover__garbage__refused),
    T(test_recover__docker_away_for_a_moment__recovered),
    HASTY(test_recover__docker_hangs__taken_to_run_until_it_answers),
    HASTY(test_recover__docker_down_and_task_ended__code_told_when_it_is_back),
    HASTY(test_recover__docker_down_and_pump_dead__recovered_and_logs_whole),
    HASTY(test_recover__docker_hangs_and_client_goes__error_and_nothing_held),
    HASTY(test_recover__built_in_drivers_and_docker_hangs__error_in_time),
    T(test_recover__docker_fails_at_the_last_look__looked_at_later),
    T(test_recover__built_in_drivers_state__taken_over),
    T(test_recover__built_in_drivers_logger__ended_and_fifos_held),
    T(test_recover__twice_at_once__both_well),
    T(test_recover__twice_at_once_and_gone__both_fail),
};
WORLD_MAIN(tests)
