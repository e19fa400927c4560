/* SPDX-License-Identifier: MPL-2.0 */
/* StartTask with a dockerd that refuses, cuts off connections or hangs: what Nomad gets, and
 * that a failed start leaves nothing. What dockerd does then: docs/internals/docker.md, Create
 * and start. */
#include "fake/task_world.h"
#include "paddock/create.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SYSLOG_JOB "{\"image\":\"busybox\",\"command\":\"sleep\",\"logging\":{\"type\":\"syslog\"}}"

static int setup(void **state) {
    return world_web_setup(state, "{}", 0, false);
}

/* Docker's calls end after 300 ms. */
static int setup_hasty(void **state) {
    return world_web_setup(state, "{}", 300, false);
}

static int start_fails(struct world_web *x, struct err *err) {
    struct driver_started started = {0};
    struct call call = fake_call();
    *err = (struct err){0};
    int r = task_start(x->w.d, &call, &x->task, &started, err);
    assert_true(r < 0);
    assert_true(err->set);
    assert_null(started.state);
    return r;
}

static void assert_undone(struct world_web *x, unsigned containers_left) {
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
    assert_int_equal(fake_images_held(), 0);
    world_until_let_go(&x->task);
    world_until_positions(&x->w, 0);
    if (containers_left != UINT32_MAX)
        assert_int_equal(world_containers(&x->w), containers_left);
}

/* ---- it works ---- */

static void test_start__fine__runs_with_state_and_pid(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    world_run(&x->w, &x->task, &started);
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_RUNNING);
    assert_int_equal(look.pid, 999999999);
    assert_int_equal(strlen(look.container_id), 64);
    assert_true(look.started_ns > 0);
    assert_true(started.state_len > 0);
    assert_string_equal(started.addr, "172.17.0.2");
    assert_int_equal(fake_images_held(), 1);
    task_start_done(&started);
}

static void test_start__same_id_twice__refused_and_first_goes_on(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_run(&x->w, &x->task, NULL);
    start_fails(x, &err);
    assert_string_equal(err.text, "task with ID \"a1/web/0123\" already started");
    assert_int_equal(err.cls, ERR_PLAIN);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* The die event comes before start has returned; its exit is the one that is told. */
static void test_start__ends_at_once__exit_code_told(void **state) {
    struct world_web *x = *state;
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web",
               "{\"image\":\"busybox\",\"command\":\"exit\",\"args\":[\"3\"]}");
    fake_rules(&x->w.fake,
               "POST /containers/*/start delay=1\nGET /containers/*/json times=1 delay=200\n");
    world_run(&x->w, &x->task, NULL);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 3);
    assert_string_equal(e.err, "Docker container exited with non-zero exit code: 3");
    struct task_look look = world_look(&x->w, x->task.id);
    assert_int_equal(look.phase, TASK_EXITED);
    assert_true(look.started_ns > 0 && look.completed_ns >= look.started_ns);
}

/* The end was known before the logs were followed. The output is delivered all the same, and the
 * FIFOs are closed. */
static void test_start__ends_at_once__log_closes(void **state) {
    struct world_web *x = *state;
    struct reader r;
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web",
               "{\"image\":\"busybox\",\"command\":\"exit\",\"args\":[\"0\"]}");
    reader_start(&r, x->task.stdout_path);
    /* one look is late, StartTask's or the one it makes because of the end; the event's is not */
    fake_rules(&x->w.fake, "GET /containers/*/json skip=1 times=1 delay=400\n");
    world_run(&x->w, &x->task, NULL);
    world_wait(&x->w, x->task.id);
    reader_until_eof(&r);
    reader_done(&r);
}

/* ---- what only the host can tell ---- */

static json_t *told(struct world_web *x, const char *key) {
    AUTO_JSON json_t *log = fake_log(&x->w.fake, "POST /containers/create");
    json_t *last = json_array_get(log, json_array_size(log) - 1);
    AUTO_JSON json_t *body = json_loads(json_string_value(json_object_get(last, "body")), 0, NULL);
    return json_incref(json_object_get(json_object_get(body, "HostConfig"), key));
}

static int setup_mems(void **state) {
    return world_web_setup(state, "{\"cpuset\":{\"mems\":\"follow\"}}", 0, false);
}

static void test_start__cgroup_v1__swappiness_where_it_can_be(void **state) {
    struct world_web *x = *state;
    char path[256];
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *without = told(x, "MemorySwappiness");
    assert_null(without);
    assert_int_equal(task_destroy(x->w.d, &(struct call){0}, x->task.id, true, NULL), 0);
    static const char *const parts[] = {"memory", "memory/nomad", "memory/nomad/memory.swappiness"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        snprintf(path, sizeof(path), "%s/cgroup/%s", x->w.dir, parts[i]);
        assert_int_equal(i < 2 ? mkdir(path, 0755) : mknod(path, S_IFREG | 0644, 0), 0);
    }
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *with = told(x, "MemorySwappiness");
    assert_true(json_is_integer(with));
    assert_int_equal(json_integer_value(with), 0);
}

/* A shared task is created with the set that Nomad's cgroup has at that moment. */
static void test_start__cgroup_v1_shared__set_of_nomads_cgroup(void **state) {
    struct world_web *x = *state;
    char path[256];
    snprintf(path, sizeof(path), "%s/cgroup/share", x->w.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    x->task.resources.cpuset_cgroup = strdup(path);
    world_run(&x->w, &x->task, NULL); /* no such file: a warning */
    AUTO_JSON json_t *without = told(x, "CpusetCpus");
    assert_null(without);
    assert_int_equal(task_destroy(x->w.d, &(struct call){0}, x->task.id, true, NULL), 0);
    snprintf(path, sizeof(path), "%s/cgroup/share/cpuset.effective_cpus", x->w.dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs("0,2-3\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *with = told(x, "CpusetCpus");
    assert_string_equal(json_string_value(with), "0,2-3");
}

/* The nodes are this machine's. */
static void test_start__mems_followed__in_the_request(void **state) {
    struct world_web *x = *state;
    bool numa = access("/sys/devices/system/node/node0/cpulist", R_OK) == 0;
    x->task.resources.cpuset_cpus = strdup("0");
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *cpus = told(x, "CpusetCpus");
    AUTO_JSON json_t *mems = told(x, "CpusetMems");
    assert_string_equal(json_string_value(cpus), "0");
    if (numa)
        assert_string_equal(json_string_value(mems), "0");
    else
        assert_null(mems);
}

static void test_start__mems_not_followed__not_in_the_request(void **state) {
    struct world_web *x = *state;
    x->task.resources.cpuset_cpus = strdup("0");
    world_run(&x->w, &x->task, NULL);
    AUTO_JSON json_t *cpus = told(x, "CpusetCpus");
    AUTO_JSON json_t *mems = told(x, "CpusetMems");
    assert_string_equal(json_string_value(cpus), "0");
    assert_null(mems);
}

/* ---- the name is taken ---- */

static void make_conflict(struct world_web *x, const char *task_id, bool running) {
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    AUTO_JSON json_t *body =
        json_pack("{s:s,s:{s:s}}", "Image", "busybox", "Labels", LABEL_TASK_ID, task_id);
    char id[65];
    assert_int_equal(docker_container_create(docker, &call, world_name(&x->task), body, id, NULL),
                     0);
    if (running)
        assert_int_equal(docker_container_start(docker, &call, id, NULL), 0);
    docker_free(docker);
}

static void test_start__own_container_runs__adopted(void **state) {
    struct world_web *x = *state;
    make_conflict(x, x->task.id, true);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"),
                     2); /* ours and the one refused */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static void test_start__own_container_stopped__replaced(void **state) {
    struct world_web *x = *state;
    make_conflict(x, x->task.id, false);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 3);
}

static void test_start__earlier_instance_runs__replaced(void **state) {
    struct world_web *x = *state;
    make_conflict(x, "a1/web/earlier", true);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 3);
    char request[128];
    snprintf(request, sizeof(request), "POST /containers/c0de%08x%052x/stop", 1, 0xfeed);
    assert_int_equal(fake_count(&x->w.fake, request), 1); /* in order */
}

static void test_start__name_stays_taken__gives_up_after_attempts(void **state) {
    struct world_web *x = *state;
    struct err err;
    fake_rules(&x->w.fake,
               "POST /containers/create status=409 body={\"message\":\"Conflict. in use\"}\n");
    assert_int_equal(start_fails(x, &err), -EEXIST);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"),
                     6); /* once, and 5 attempts */
    assert_non_null(strstr(err.text, "Failed to create container"));
    assert_undone(x, 0);
}

/* The number is the plugin's; a task's own is accepted and not used, as in Nomad. */
static void test_start__name_stays_taken__attempts_of_the_plugin(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_driver_free(&x->w);
    world_driver_new(&x->w, "{\"container_exists_attempts\":1}");
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web", "{\"image\":\"a\",\"container_exists_attempts\":4}");
    fake_rules(&x->w.fake,
               "POST /containers/create status=409 body={\"message\":\"Conflict. in use\"}\n");
    assert_int_equal(start_fails(x, &err), -EEXIST);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
}

/* ---- refusals ---- */

struct refusal {
    const char *rule, *text;
    enum err_class cls;
    const char *request; /* asked so often */
    int count;
};

/* @most: the request comes between row->count and that many times. */
static void refuse_between(struct world_web *x, const struct refusal *row, int most) {
    struct err err;
    fake_rules(&x->w.fake, row->rule);
    start_fails(x, &err);
    if (err.cls != row->cls || !strstr(err.text, row->text))
        fail_msg("%s: class %d \"%s\"", row->rule, err.cls, err.text);
    int asked = fake_count(&x->w.fake, row->request);
    if (asked < row->count || asked > most)
        fail_msg("%s: asked %d times", row->rule, asked);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    assert_undone(x, 0);
}

static void refuse(struct world_web *x, const struct refusal *row) {
    refuse_between(x, row, row->count);
}

static void test_start__create_404__recoverable(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/create status=404 body={\"message\":\"No such image: x\"}\n",
               "Failed to create container: No such image", ERR_RECOVERABLE,
               "POST /containers/create", 1});
}

/* The image is there, but not for this machine: no repetition changes that. */
static void test_start__create_404_of_the_platform__not_recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/create status=404 body={\"message\":\"image "
                                     "with reference x was found but does not provide the "
                                     "specified platform (linux/amd64)\"}\n",
                                     "does not provide the specified platform", ERR_PLAIN,
                                     "POST /containers/create", 1});
}

static void test_start__create_400__not_recoverable(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/create status=400 body={\"message\":\"invalid reference\"}\n",
               "invalid reference", ERR_PLAIN, "POST /containers/create", 1});
}

/* As in the built-in driver: the restart policy would repeat it for ever. */
static void test_start__create_500__retried_then_final(void **state) {
    refuse(*state, &(struct refusal){
                       "POST /containers/create status=500 body={\"message\":\"disk full\"}\n",
                       "disk full", ERR_PLAIN, "POST /containers/create", 5});
}

static void test_start__create_500_duplicate_mount__recoverable(void **state) {
    refuse(
        *state,
        &(struct refusal){
            "POST /containers/create status=400 body={\"message\":\"duplicate mount point: /a\"}\n",
            "duplicate mount point", ERR_RECOVERABLE, "POST /containers/create", 1});
}

/* Five attempts. libcurl asks twice where the connection was a kept one, and whether it was follows
 * from what the fingerprint and the event stream do meanwhile. */
static void test_start__create_cut_off__retried_then_recoverable(void **state) {
    refuse_between(*state,
                   &(struct refusal){"POST /containers/create drop\n", "Failed to create container",
                                     ERR_RECOVERABLE, "POST /containers/create", 5},
                   10);
}

static void test_start__create_hangs__recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/create hang\n", "Failed to create container",
                                     ERR_RECOVERABLE, "POST /containers/create", 1});
}

static void test_start__create_works_at_third_try__runs(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake,
               "POST /containers/create times=2 status=500 body={\"message\":\"busy\"}\n");
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 3);
}

/* Made by dockerd, but its answer was too late for us: the container must not stay. */
static void test_start__create_answers_too_late__removed(void **state) {
    struct world_web *x = *state;
    struct err err;
    make_conflict(x, "a1/web/earlier", false);
    fake_rules(&x->w.fake, "POST /containers/create hang\n");
    start_fails(x, &err);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_undone(x, 0);
}

/* The first answer was lost; that the others are refusals does not undo what it has made. */
static void test_start__create_cut_off_then_500__removed(void **state) {
    struct world_web *x = *state;
    struct err err;
    make_conflict(x, "a1/web/earlier", false);
    fake_rules(&x->w.fake, "POST /containers/create times=1 drop\n"
                           "POST /containers/create status=500 body={\"message\":\"busy\"}\n");
    start_fails(x, &err);
    assert_int_equal(err.cls, ERR_PLAIN);
    assert_undone(x, 0);
}

static void test_start__start_404__plain(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/*/start status=404 body={\"message\":\"No such container\"}\n",
               "Failed to start container", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__start_400__plain(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/*/start status=400 body={\"message\":\"exec: no such file\"}\n",
               "no such file", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__start_500__recoverable(void **state) {
    refuse(*state, &(struct refusal){
                       "POST /containers/*/start status=500 body={\"message\":\"no device\"}\n",
                       "no device", ERR_RECOVERABLE, "POST /containers/create", 5});
}

/* Docker answers 500 also to values that the kernel refuses. */
static void test_start__refused_value__final_after_one_attempt(void **state) {
    refuse(*state, &(struct refusal){
                       "POST /containers/*/start status=500 body={\"message\":\"OCI runtime "
                       "create failed: runc create failed: sysctl kernel.x is not in a "
                       "separate kernel namespace\"}\n",
                       "kernel.x is not in a separate", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__create_with_a_bad_mode__final_after_one_attempt(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/create status=500 body={\"message\":\"invalid mode: bad\"}\n",
               "invalid mode: bad", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__start_cut_off__recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/*/start drop\n", "Failed to start container",
                                     ERR_RECOVERABLE, "POST /containers/create", 5});
}

static void test_start__start_hangs__recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/*/start hang\n", "Failed to start container",
                                     ERR_RECOVERABLE, "POST /containers/create", 1});
}

static void test_start__inspect_hangs__recoverable(void **state) {
    refuse(*state, &(struct refusal){"GET /containers/*/json hang\n", "container", ERR_RECOVERABLE,
                                     "POST /containers/create", 1});
}

static void test_start__image_fails__nothing_made(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_driver_free(
        &x->w); /* the double is there after activation only; the failure is noted before */
    world_driver_new(&x->w, "{}");
    fake_images_fail(-EIO);
    start_fails(x, &err);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 0);
    assert_undone(x, 0);
}

/* ---- an image that is most likely here: the container is made before its answer is known ---- */

static void look_ahead(struct world_web *x) {
    world_driver_free(&x->w);
    world_driver_new(&x->w, "{}");
    fake_images_look_ahead(true);
}

static int teardown_look_ahead(void **state) {
    fake_images_look_ahead(false);
    assert_int_equal(fake_images_looks(), 0);
    return world_web_teardown(state);
}

static void test_start__image_is_here__one_create(void **state) {
    struct world_web *x = *state;
    look_ahead(x);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* Docker knows no such image; by the time it was pulled the request is made anew. */
static void test_start__image_is_not_here__created_behind_the_pull(void **state) {
    struct world_web *x = *state;
    look_ahead(x);
    fake_rules(&x->w.fake, "POST /containers/create times=1 status=404 "
                           "body={\"message\":\"No such image: busybox\"}\n");
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* The container is there already, or not: neither it nor the question is left. */
static void test_start__image_cannot_be_held__undone(void **state) {
    struct world_web *x = *state;
    struct err err;
    for (int made = 0; made < 2; made++) {
        look_ahead(x);
        fake_images_fail(-EIO);
        fake_rules(&x->w.fake, made ? "GET /none status=404\n"
                                    : "POST /containers/create times=1 status=404\n");
        assert_int_equal(start_fails(x, &err), -EIO);
        assert_int_equal(err.cls, ERR_RECOVERABLE);
        assert_undone(x, 0);
    }
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
}

/* What Docker refuses otherwise has nothing to do with the image: it is told as it is. */
static void test_start__create_refused__image_not_waited_for(void **state) {
    struct world_web *x = *state;
    struct err err;
    look_ahead(x);
    fake_images_fail(-EIO);
    fake_rules(&x->w.fake, "POST /containers/create status=400 body={\"message\":\"bad\"}\n");
    assert_int_equal(start_fails(x, &err), -EINVAL);
    assert_non_null(strstr(err.text, "bad"));
    assert_undone(x, 0);
    fake_images_fail(0);
}

/* Something else is not there. Docker may have looked for it for long: it is not asked twice. */
static void test_start__create_404_and_image_is_here__told_at_once(void **state) {
    struct world_web *x = *state;
    struct err err;
    look_ahead(x);
    fake_rules(&x->w.fake, "POST /containers/create status=404 "
                           "body={\"message\":\"plugin \\\"nfs\\\" not found\"}\n");
    assert_int_equal(start_fails(x, &err), -ENOENT);
    assert_non_null(strstr(err.text, "plugin \"nfs\" not found"));
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 1);
    assert_undone(x, 0);
}

/* ---- what the image module is told ---- */

/* "=@" in @want: = the alloc folder. */
static void wants(struct world_web *x, const char *plugin, const char *job, const char *want) {
    char expected[1024] = "";
    for (size_t len; *want; want += len) {
        const char *at = strstr(want, "=@");
        len = at ? (size_t)(at - want) : strlen(want);
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%.*s%s%s",
                 (int)len, want, at ? "=" : "", at ? x->task.alloc_dir : "");
        len += at ? 2 : 0;
    }
    struct err err;
    world_driver_free(&x->w);
    world_driver_new(&x->w, plugin);
    fake_images_fail(-EIO);
    struct task_config task = TAKE_STRUCT(x->task);
    world_task(&x->w, &x->task, "web", job);
    task_config_done(&task);
    start_fails(x, &err);
    assert_string_equal(fake_images_wanted(), expected);
}

static void test_start__image_fields__reach_the_image_module(void **state) {
    static const struct {
        const char *plugin, *job, *want;
    } rows[] = {
        {"{}", "{\"image\":\"https://r.io/i:1\"}",
         "r.io/i:1 load= below=@ force=0 auth=:@ soft=0 within=300"},
        {"{}", "{\"image\":\"i\",\"force_pull\":true,\"auth_soft_fail\":true,\"load\":\"a/b.tar\"}",
         "i load=@/web/local/a/b.tar below=@ force=1 auth=:@ soft=1 within=300"},
        {"{}",
         "{\"image\":\"i\",\"auth\":{\"username\":\"u\",\"password\":\"p\",\"email\":\"e\","
         "\"server_address\":\"s\"}}",
         "i load= below=@ force=0 auth=u:p@s soft=0 within=300"},
        {"{\"volumes\":{\"enabled\":true}}", "{\"image\":\"i\"}",
         "i load= below= force=0 auth=:@ soft=0 within=300"},
        {"{}", "{\"image\":\"i\",\"image_pull_timeout\":\"25h\"}",
         "i load= below=@ force=0 auth=:@ soft=0 within=90000"},
        {"{\"image_pull_timeout\":\"7m\"}", "{\"image\":\"i\"}",
         "i load= below=@ force=0 auth=:@ soft=0 within=420"},
        {"{\"image_pull_timeout\":\"7m\"}", "{\"image\":\"i\",\"image_pull_timeout\":\"5s\"}",
         "i load= below=@ force=0 auth=:@ soft=0 within=5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        wants(*state, rows[i].plugin, rows[i].job, rows[i].want);
}

static void test_start__plugins_image_fields__reach_the_image_module(void **state) {
    static const struct {
        const char *plugin, *told;
    } rows[] = {
        {"{}", "gc=1 delay=180 activity=120 config= helper="},
        {"{\"gc\":{\"image\":false,\"image_delay\":\"1.5s\"},\"pull_activity_timeout\":\"1h\"}",
         "gc=0 delay=1.5 activity=3600 config= helper="},
        {"{\"auth\":{\"config\":\"/f\",\"helper\":\"h\"}}",
         "gc=1 delay=180 activity=120 config=/f helper=h"},
    };
    struct world_web *x = *state;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        world_driver_free(&x->w);
        world_driver_new(&x->w, rows[i].plugin);
        fake_images_fail(-EIO);
        start_fails(x, &err);
        assert_string_equal(fake_images_told(), rows[i].told);
    }
}

/* ---- logs ---- */

static void test_start__no_fifo__recoverable_and_undone(void **state) {
    struct world_web *x = *state;
    struct err err;
    assert_int_equal(unlink(x->task.stdout_path), 0);
    start_fails(x, &err);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(world_containers(&x->w), 0);
    assert_int_equal(fake_images_held(), 0);
}

static void test_start__log_driver_unreadable__runs_without_logs(void **state) {
    struct world_web *x = *state;
    struct task_config task = TAKE_STRUCT(x->task);
    world_task(&x->w, &x->task, "web", SYSLOG_JOB);
    task_config_done(&task);
    fake_rules(&x->w.fake,
               "GET /containers/*/logs status=501 body={\"message\":\"configured logging driver "
               "does not support reading\"}\n");
    world_run(&x->w, &x->task, NULL);
    assert_false(world_look(&x->w, x->task.id).logs);
    world_until_let_go(&x->task);
}

/* the container that is created as the Nth */
#define NTH(n) "/containers/c0de0000000" n "000000000000000000000000000000000000000000000000feed"

struct attempt {
    struct world_web *x;
    const struct task_config *task;
    struct cancel cancel;
    pthread_t thread;
    int r;
};

static void *attempt_thread(void *arg) {
    struct attempt *a = arg;
    struct driver_started started = {0};
    struct call call = fake_call();
    call.cancel = &a->cancel;
    a->r = task_start(a->x->w.d, &call, a->task, &started, NULL);
    if (a->r == 0)
        task_start_told(a->x->w.d, &started);
    task_start_done(&started);
    return NULL;
}

/* The FIFOs are checked before the container runs. The pump is made ready during the start. */
static void test_start__docker_starts_slowly__pump_is_there(void **state) {
    struct world_web *x = *state;
    struct attempt a = {.x = x, .task = &x->task, .cancel = {-EBADF}};
    fake_rules(&x->w.fake, "POST /containers/*/start hang\n");
    assert_int_equal(cancel_init(&a.cancel), 0);
    assert_int_equal(pthread_create(&a.thread, NULL, attempt_thread, &a), 0);
    world_until_positions(&x->w, 1);
    assert_int_equal(fake_count(&x->w.fake, "GET " NTH("1") "/logs"), 0);
    cancel_fire(&a.cancel);
    pthread_join(a.thread, NULL);
    cancel_done(&a.cancel);
    assert_undone(x, 0);
}

static void another(struct world_web *x, struct task_config *task, const char *name) {
    world_run(&x->w, &x->task, NULL);
    world_task(&x->w, task, name, WORLD_WEB_JOB);
}

/* Of Docker's own files it is not waited for that the stream is open, nor do they fail a start. */
static void test_start__logs_hang__runs_and_they_come_later(void **state) {
    struct world_web *x = *state;
    struct reader out;
    reader_start(&out, x->task.stdout_path);
    fake_rules(&x->w.fake, "GET /containers/*/logs times=1 status=500 delay=300\n");
    world_run(&x->w, &x->task, NULL);
    assert_true(world_look(&x->w, x->task.id).logs);
    fake_control(&x->w.fake, "POST", "print/web-a1", "hello\n", NULL, 0);
    reader_until(&out, "hello\n");
    reader_done(&out);
}

/* It was made ready and is not there any more when the container runs. */
static void test_start__pump_dies_while_inspected__logs_whole(void **state) {
    struct world_web *x = *state;
    struct task_config two;
    another(x, &two, "two");
    struct attempt a = {.x = x, .task = &two, .cancel = {-EBADF}};
    struct reader out = {0};
    reader_start(&out, two.stdout_path);
    fake_rules(&x->w.fake, "GET " NTH("2") "/json times=1 delay=500\n");
    assert_int_equal(pthread_create(&a.thread, NULL, attempt_thread, &a), 0);
    world_until_count(&x->w, "GET " NTH("2") "/json", 1);
    world_pump_kill(&x->w);
    fake_control(&x->w.fake, "POST", "print/two-a1", "hello\n", NULL, 0);
    pthread_join(a.thread, NULL);
    assert_int_equal(a.r, 0);
    world_exit(&x->w, &two, 0);
    world_wait(&x->w, two.id);
    reader_until_eof(&out);
    size_t len;
    AUTO_FREE char *text = reader_text(&out, &len);
    assert_string_equal(text, "hello\n");
    reader_done(&out);
    task_config_done(&two);
}

/* Neither the plugin's word nor two /dev/null let anybody open the FIFOs. */
static void test_start__no_log_collection__fifos_left_alone(void **state) {
    struct world_web *x = *state;
    for (int null = 0; null < 2; null++) {
        world_driver_free(&x->w);
        world_driver_new(&x->w, null ? "{}" : "{\"disable_log_collection\":true}");
        struct task_config task = TAKE_STRUCT(x->task);
        world_task(&x->w, &x->task, null ? "null" : "silent", WORLD_WEB_JOB);
        task_config_done(&task);
        AUTO_FREE char *fifo = strdup(x->task.stdout_path);
        if (null)
            assert_true(str_set(&x->task.stdout_path, "/dev/null") == 0 &&
                        str_set(&x->task.stderr_path, "/dev/null") == 0);
        world_run(&x->w, &x->task, NULL);
        assert_false(world_look(&x->w, x->task.id).logs);
        assert_true(world_is_let_go(fifo));
    }
    assert_int_equal(world_pump(&x->w), 0);
}

/* ---- two at once, and a client that goes ---- */

static void test_start__same_id_at_once__one_container(void **state) {
    struct world_web *x = *state;
    struct attempt a[2] = {{.x = x, .task = &x->task, .cancel = {-EBADF}},
                           {.x = x, .task = &x->task, .cancel = {-EBADF}}};
    fake_rules(&x->w.fake, "POST /containers/* delay=50\n");
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        assert_int_equal(pthread_create(&a[i].thread, NULL, attempt_thread, &a[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        pthread_join(a[i].thread, NULL);
    assert_int_equal(a[0].r + a[1].r, -EEXIST); /* one of them */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* DestroyTask in the middle of it has the last word: nothing runs that nobody knows. */
static void test_start__destroyed_meanwhile__undone(void **state) {
    struct world_web *x = *state;
    struct attempt a = {.x = x, .task = &x->task, .cancel = {-EBADF}};
    struct call call = fake_call();
    fake_rules(&x->w.fake, "POST /containers/create delay=200\n");
    assert_int_equal(pthread_create(&a.thread, NULL, attempt_thread, &a), 0);
    world_until_count(&x->w, "POST /containers/create", 1);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    pthread_join(a.thread, NULL);
    assert_int_equal(a.r, -ECANCELED);
    assert_undone(x, 0);
}

/* At whatever step its client disconnects, StartTask ends immediately and leaves nothing. */
static void test_start__cancelled_at_each_step__undone(void **state) {
    struct world_web *x = *state;
    struct task_config task = TAKE_STRUCT(x->task);
    /* one whose start waits for what Docker says of its logs */
    world_task(&x->w, &x->task, "web", SYSLOG_JOB);
    task_config_done(&task);
    /* the create that is not answered makes none: the containers are 1, 2 and 3 */
    static const struct {
        const char *rule, *asked;
    } steps[] = {
        {"POST /containers/create hang\n", "POST /containers/create"},
        {"POST /containers/*/start hang\n", "POST " NTH("1") "/start"},
        {"GET /containers/*/json hang\n", "GET " NTH("2") "/json"},
        {"GET /containers/*/logs hang\n", "GET " NTH("3") "/logs"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct attempt a = {.x = x, .task = &x->task};
        fake_rules(&x->w.fake, steps[i].rule);
        assert_int_equal(cancel_init(&a.cancel), 0);
        assert_int_equal(pthread_create(&a.thread, NULL, attempt_thread, &a), 0);
        world_until_count(&x->w, steps[i].asked, 1);
        uint64_t before = clock_now_us();
        cancel_fire(&a.cancel);
        pthread_join(a.thread, NULL);
        assert_true(clock_now_us() - before < 5 * US_PER_SEC);
        assert_true(a.r < 0);
        cancel_done(&a.cancel);
        assert_undone(x, 0);
        fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, world_web_teardown)
#define AHEAD(f) cmocka_unit_test_setup_teardown(f, setup, teardown_look_ahead)
static const struct CMUnitTest tests[] = {
    T(test_start__fine__runs_with_state_and_pid),
    T(test_start__same_id_twice__refused_and_first_goes_on),
    T(test_start__ends_at_once__exit_code_told),
    T(test_start__ends_at_once__log_closes),
    T(test_start__cgroup_v1_shared__set_of_nomads_cgroup),
    T(test_start__cgroup_v1__swappiness_where_it_can_be),
    cmocka_unit_test_setup_teardown(test_start__mems_followed__in_the_request, setup_mems,
                                    world_web_teardown),
    T(test_start__mems_not_followed__not_in_the_request),
    T(test_start__own_container_runs__adopted),
    T(test_start__own_container_stopped__replaced),
    T(test_start__earlier_instance_runs__replaced),
    T(test_start__name_stays_taken__gives_up_after_attempts),
    T(test_start__name_stays_taken__attempts_of_the_plugin),
    T(test_start__create_404__recoverable),
    T(test_start__create_404_of_the_platform__not_recoverable),
    T(test_start__create_400__not_recoverable),
    T(test_start__create_500__retried_then_final),
    T(test_start__create_500_duplicate_mount__recoverable),
    T(test_start__create_cut_off__retried_then_recoverable),
    HASTY(test_start__create_hangs__recoverable),
    T(test_start__create_works_at_third_try__runs),
    HASTY(test_start__create_answers_too_late__removed),
    T(test_start__create_cut_off_then_500__removed),
    T(test_start__start_404__plain),
    T(test_start__start_400__plain),
    T(test_start__start_500__recoverable),
    T(test_start__refused_value__final_after_one_attempt),
    T(test_start__create_with_a_bad_mode__final_after_one_attempt),
    T(test_start__start_cut_off__recoverable),
    HASTY(test_start__start_hangs__recoverable),
    HASTY(test_start__inspect_hangs__recoverable),
    T(test_start__image_fails__nothing_made),
    AHEAD(test_start__image_is_here__one_create),
    AHEAD(test_start__image_is_not_here__created_behind_the_pull),
    AHEAD(test_start__image_cannot_be_held__undone),
    AHEAD(test_start__create_refused__image_not_waited_for),
    AHEAD(test_start__create_404_and_image_is_here__told_at_once),
    T(test_start__image_fields__reach_the_image_module),
    T(test_start__plugins_image_fields__reach_the_image_module),
    T(test_start__no_fifo__recoverable_and_undone),
    T(test_start__log_driver_unreadable__runs_without_logs),
    T(test_start__logs_hang__runs_and_they_come_later),
    T(test_start__docker_starts_slowly__pump_is_there),
    T(test_start__pump_dies_while_inspected__logs_whole),
    T(test_start__no_log_collection__fifos_left_alone),
    T(test_start__same_id_at_once__one_container),
    T(test_start__destroyed_meanwhile__undone),
    T(test_start__cancelled_at_each_step__undone),
};
WORLD_MAIN(tests)
