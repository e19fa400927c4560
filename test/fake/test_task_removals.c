/* SPDX-License-Identifier: MPL-2.0 */
/* Containers that DestroyTask cannot remove are removed later, also by the next plugin process. The
 * 10 s between two attempts last half a second here. */
#include "fake/task_world.h"
#include "paddock/loop.h"

#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define FASTER 20
#define RETRY_S 10

static atomic_uint turns; /* how many waits for the next turn were requested */

void __real_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us) {
    uint64_t now = clock_now_us(), wait_us = at_us > now ? at_us - now : 0;
    if ((wait_us + US_PER_SEC - 1) / US_PER_SEC == RETRY_S) {
        atomic_fetch_add(&turns, 1);
        at_us = now + wait_us / FASTER;
    }
    __real_loop_timer_at(t, at_us);
}

/* Blocks the removal of one container, so that a turn of removals takes long. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char id[80]; /* "": none is blocked */
    bool reached;
} hold = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int __real_docker_container_remove(struct docker *d, const struct call *c, const char *ref,
                                   bool force, struct err *err);
int __wrap_docker_container_remove(struct docker *d, const struct call *c, const char *ref,
                                   bool force, struct err *err);
int __wrap_docker_container_remove(struct docker *d, const struct call *c, const char *ref,
                                   bool force, struct err *err) {
    pthread_mutex_lock(&hold.lock);
    while (strcmp(hold.id, ref) == 0) {
        hold.reached = true;
        pthread_cond_wait(&hold.changed, &hold.lock);
    }
    pthread_mutex_unlock(&hold.lock);
    return __real_docker_container_remove(d, c, ref, force, err);
}

static void hold_removal(const char *id) {
    pthread_mutex_lock(&hold.lock);
    snprintf(hold.id, sizeof(hold.id), "%s", id);
    hold.reached = false;
    pthread_cond_broadcast(&hold.changed);
    pthread_mutex_unlock(&hold.lock);
}

static bool is_held(void *ctx) {
    (void)ctx;
    pthread_mutex_lock(&hold.lock);
    bool reached = hold.reached;
    pthread_mutex_unlock(&hold.lock);
    return reached;
}

/* Removes the folder of notes once, like a turn that ends at that moment. */
static atomic_bool folder_removal;
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode) {
    int r = __real_mkdir(path, mode);
    size_t len = strlen(path), end = strlen(".removals");
    if (r == 0 && len > end && strcmp(path + len - end, ".removals") == 0 &&
        atomic_exchange(&folder_removal, false))
        assert_int_equal(rmdir(path), 0);
    return r;
}

/* Work cannot be posted to the streams thread, as when out of memory. */
static atomic_uint posts_fail;
int __real_loop_post(struct loop *l, loop_cb cb, void *ctx);
int __wrap_loop_post(struct loop *l, loop_cb cb, void *ctx);
int __wrap_loop_post(struct loop *l, loop_cb cb, void *ctx) {
    unsigned n = atomic_load(&posts_fail);
    while (n > 0 && !atomic_compare_exchange_weak(&posts_fail, &n, n - 1))
        ;
    return n > 0 ? -ENOMEM : __real_loop_post(l, cb, ctx);
}

static bool has_failed(void *ctx) {
    (void)ctx;
    return atomic_load(&posts_fail) == 0;
}

static int setup(void **state) {
    return world_web_setup(state, "{}", 0, true);
}

/* Task @c has ended and is destroyed while Docker removes nothing. */
static void destroy_fails_to_remove(struct world_web *x, const struct task_config *c) {
    struct call call = fake_call();
    world_exit(&x->w, c, 0);
    world_wait(&x->w, c->id);
    fake_rules(&x->w.fake, "DELETE /containers/* drop\n");
    assert_int_equal(task_destroy(x->w.d, &call, c->id, false, NULL), 0);
    assert_int_equal(task_inspect(x->w.d, c->id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

static void destroy_unsuccessfully(struct world_web *x) {
    destroy_fails_to_remove(x, &x->task);
    assert_int_equal(world_containers(&x->w), 1);
}

static bool has_none(void *ctx) {
    struct world_web *x = ctx;
    return world_containers(&x->w) == 0;
}

static bool has_no_notes(void *ctx) {
    struct world_web *x = ctx;
    char pattern[160];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.removals", x->w.run_dir);
    bool none = glob(pattern, 0, NULL, &found) == GLOB_NOMATCH;
    globfree(&found);
    return none;
}

static void test_destroy__docker_does_not_answer__removed_later(void **state) {
    struct world_web *x = *state;
    destroy_unsuccessfully(x);
    assert_false(has_no_notes(x));
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_until(has_none, x, "the container's removal");
    world_until(has_no_notes, x, "the note's end");
}

/* The second is noted after the turn has read the folder. */
static void test_destroy__noted_while_another_is_removed__removed_later(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    char id[80];
    snprintf(id, sizeof(id), "%s", world_look(&x->w, x->task.id).container_id);
    destroy_fails_to_remove(x, &x->task);
    hold_removal(id);
    world_until(is_held, NULL, "the turn");
    destroy_fails_to_remove(x, &other);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    hold_removal("");
    world_until(has_none, x, "both containers' removal");
    world_until(has_no_notes, x, "the notes' end");
    task_config_done(&other);
}

/* Another process of the same client takes over the note at its first task. */
static void test_destroy__plugin_restarts__removed_by_the_next_one(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    destroy_unsuccessfully(x);
    world_driver_restart(&x->w);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    world_until(has_no_notes, x, "the note's end");
    assert_int_equal(world_containers(&x->w), 1);
    task_config_done(&other);
}

/* Another client removes the container. The note is deleted, and nothing else is touched. */
static void test_destroy__removed_by_hand_later__note_deleted(void **state) {
    struct world_web *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    destroy_unsuccessfully(x);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    int r = docker_container_remove(docker, &call, "web-a1", true, NULL);
    assert_true(r == 0 || r == -ENOENT);
    docker_free(docker);
    world_until(has_no_notes, x, "the note's end");
}

/* A removal that succeeds needs no note. */
static void test_destroy__docker_answers__no_note(void **state) {
    struct world_web *x = *state;
    struct call call = fake_call();
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    assert_true(has_no_notes(x));
    assert_true(has_none(x));
}

static void test_destroy__folder_is_removed_before_the_note__noted(void **state) {
    struct world_web *x = *state;
    atomic_store(&folder_removal, true);
    destroy_unsuccessfully(x);
    assert_false(atomic_load(&folder_removal));
    assert_false(has_no_notes(x));
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_until(has_none, x, "the container's removal");
}

static void test_destroy__no_memory_after_a_turn__continues_later(void **state) {
    struct world_web *x = *state;
    char id[80];
    snprintf(id, sizeof(id), "%s", world_look(&x->w, x->task.id).container_id);
    destroy_unsuccessfully(x);
    hold_removal(id);
    world_until(is_held, NULL, "the turn");
    atomic_store(&posts_fail, 1);
    hold_removal("");
    world_until(has_failed, NULL, "the end of the turn");
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_until(has_none, x, "the container's removal");
    world_until(has_no_notes, x, "the note's end");
}

/* Docker does not answer when the failed start is undone. */
static void fail_start(struct world_web *x) {
    struct driver_started started = {0};
    struct call call = fake_call();
    fake_rules(&x->w.fake, "POST /containers/*/start status=400 body={\"message\":\"no\"}\n"
                           "POST /containers/*/stop drop\nDELETE /containers/* drop\n");
    assert_true(task_start(x->w.d, &call, &x->task, &started, NULL) < 0);
    assert_false(has_no_notes(x));
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
}

static void test_start__fails_and_docker_does_not_answer__removed_later(void **state) {
    struct world_web *x = *state;
    world_driver_restart(&x->w);
    fail_start(x); /* it adopts the container first */
    world_until(has_none, x, "the container's removal");
    world_until(has_no_notes, x, "the note's end");
}

/* The task is started once more before the removal, and adopts the container. */
static void test_start__noted_container_is_adopted__stays(void **state) {
    struct world_web *x = *state;
    world_driver_restart(&x->w);
    fail_start(x);
    world_run(&x->w, &x->task, NULL);
    world_until(has_no_notes, x, "the note's end");
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static bool has_turned(void *ctx) {
    return atomic_load(&turns) >= *(unsigned *)ctx;
}

/* The agent was killed. Its plugin keeps running and still has the container in its notes. The
 * next plugin has adopted the container. */
static void test_destroy__another_process_has_the_container__stays(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    char pattern[160], note[320];
    glob_t found;
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    destroy_fails_to_remove(x, &other);
    struct driver *orphan = TAKE_PTR(x->w.d);
    world_driver_new(&x->w, "{}");
    world_run(&x->w, &x->task, NULL); /* adopts the running container */
    snprintf(pattern, sizeof(pattern), "%s/*.removals", x->w.run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    snprintf(note, sizeof(note), "%s/%s", found.gl_pathv[0],
             world_look(&x->w, x->task.id).container_id);
    globfree(&found);
    driver_free(TAKE_PTR(x->w.d)); /* now only the orphan works through the notes */
    FILE *f = fopen(note, "we");
    assert_non_null(f);
    fclose(f);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    unsigned enough = atomic_load(&turns) + 3;
    world_until(has_turned, &enough, "turns of the orphan");
    assert_int_equal(world_containers(&x->w), 2);
    driver_free(orphan);
    task_config_done(&other);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_destroy__docker_does_not_answer__removed_later),
    T(test_destroy__noted_while_another_is_removed__removed_later),
    T(test_destroy__plugin_restarts__removed_by_the_next_one),
    T(test_destroy__removed_by_hand_later__note_deleted),
    T(test_destroy__docker_answers__no_note),
    T(test_destroy__folder_is_removed_before_the_note__noted),
    T(test_destroy__no_memory_after_a_turn__continues_later),
    T(test_start__fails_and_docker_does_not_answer__removed_later),
    T(test_start__noted_container_is_adopted__stays),
    T(test_destroy__another_process_has_the_container__stays),
};
WORLD_MAIN(tests)
