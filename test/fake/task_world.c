/* SPDX-License-Identifier: MPL-2.0 */
/* The fixture of the task tests (task_world.h): a whole driver with a fake dockerd, its tasks and
 * its log pump. reader.c has the readers of the tasks' FIFOs. */
#include "fake/task_world.h"

#include "paddock/buf.h"
#include "paddock/logpump.h"
#include "unit/config/pack.h"
#include "unit/tmp_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

bool world_is_pump(int argc, char **argv, int *ret_status) {
    bool is = argc > 1 && strcmp(argv[1], "logpump") == 0;
    if (is)
        *ret_status = pump_main(argc - 1, argv + 1);
    return is;
}

void world_until(bool (*is)(void *ctx), void *ctx, const char *what) {
    uint64_t deadline = clock_now_us() + WORLD_WAIT_US;
    while (!is(ctx)) {
        if (clock_now_us() > deadline)
            fail_msg("not seen in time: %s", what);
        poll(NULL, 0, 5);
    }
}

struct count_wait {
    const struct world *w;
    const char *request;
    int n;
};

static bool was_asked(void *ctx) {
    struct count_wait *c = ctx;
    return fake_count(&c->w->fake, c->request) >= c->n;
}

void world_until_count(const struct world *w, const char *request, int n) {
    struct count_wait c = {w, request, n};
    world_until(was_asked, &c, request);
}

bool world_is_let_go(void *path) {
    char byte;
    AUTO_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return read(fd, &byte, 1) == 0; /* no writer: end of file */
}

void world_until_let_go(const struct task_config *c) {
    world_until(world_is_let_go, c->stdout_path, "stdout's FIFO is closed");
    world_until(world_is_let_go, c->stderr_path, "stderr's FIFO is closed");
}

/* ---- Driver ---- */

/* The pump's stdio is /dev/null. Reports of a sanitizer in the pump are written to files. */
static void set_sanitizer_log(const char *variable, const char *dir) {
    static char first[3][512];
    static const char *names[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
    char text[1024];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], variable) != 0)
            continue;
        if (!first[i][0])
            snprintf(first[i], sizeof(first[i]), "%s", getenv(variable) ? getenv(variable) : "");
        snprintf(text, sizeof(text), "%s%slog_path=%s/sanitizer", first[i], first[i][0] ? ":" : "",
                 dir);
        setenv(variable, text, 1);
    }
}

void world_driver_new(struct world *w, const char *plugin_json) {
    static char program[512];
    char cgroup[128];
    struct err err = {0};
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    assert_true(n > 0);
    snprintf(cgroup, sizeof(cgroup), "%s/cgroup", w->dir);
    struct driver_options o = {
        .name = "docker", .program = program, .cgroup_root = cgroup, .run_dir = w->run_dir};
    if (w->docker_timeout_ms[0])
        setenv("PADDOCK_DOCKER_TIMEOUT_MS", w->docker_timeout_ms, 1);
    else
        unsetenv("PADDOCK_DOCKER_TIMEOUT_MS");
    assert_int_equal(driver_new(&o, &w->d, &err), 0);
    json_t *config = json_loads(plugin_json, 0, NULL);
    assert_non_null(config);
    json_object_set_new(config, "endpoint", json_string(w->fake.endpoint));
    struct buf b = pack_json(config);
    json_decref(config);
    int r = driver_set_config(w->d, b.data, b.len, false, 4000, 2, &err);
    buf_done(&b);
    if (r < 0)
        fail_msg("SetConfig: %s", err.text);
    if (driver_activate(w->d, &err) < 0)
        fail_msg("activation: %s", err.text);
}

void world_driver_free(struct world *w) {
    driver_free(TAKE_PTR(w->d));
}

void world_driver_ends_soon(struct world *w) {
    uint64_t before = clock_now_us();
    world_driver_free(w);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
}

void world_driver_restart(struct world *w) {
    world_driver_free(w);
    world_driver_new(w, "{}");
}

void world_start(struct world *w, const char *plugin_json, unsigned timeout_ms) {
    char path[128];
    *w = (struct world){.d = NULL};
    snprintf(w->dir, sizeof(w->dir), "/tmp/paddock-task-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->run_dir, sizeof(w->run_dir), "%s/run", w->dir);
    snprintf(path, sizeof(path), "%s/cgroup", w->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    if (timeout_ms)
        snprintf(w->docker_timeout_ms, sizeof(w->docker_timeout_ms), "%u",
                 timeout_ms * WORLD_SLOWNESS);
    set_sanitizer_log("ASAN_OPTIONS", w->dir);
    set_sanitizer_log("UBSAN_OPTIONS", w->dir);
    set_sanitizer_log("TSAN_OPTIONS", w->dir);
    signal(SIGPIPE, SIG_IGN);
    fake_start(&w->fake, NULL);
    world_driver_new(w, plugin_json);
}

static void show_file(const char *path) {
    char text[16384];
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text), f) : 0;
    fwrite(text, 1, n, stderr);
    if (f)
        fclose(f);
}

void world_done(struct world *w) {
    char pattern[128];
    glob_t found;
    world_driver_free(w);
    world_pump_kill(w);
    fake_done(&w->fake);
    snprintf(pattern, sizeof(pattern), "%s/sanitizer*", w->dir);
    bool clean = glob(pattern, 0, NULL, &found) == GLOB_NOMATCH;
    for (size_t i = 0; !clean && i < found.gl_pathc; i++)
        show_file(found.gl_pathv[i]);
    globfree(&found);
    tmp_dir_remove(w->dir);
    assert_true(clean);
}

/* ---- Tasks ---- */

static char *text_of(const char *fmt, ...) PRINTF_LIKE(1, 2);
static char *text_of(const char *fmt, ...) {
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    assert_true(n >= 0);
    return text;
}

static void make_dir(const char *dir, const char *below) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, below);
    assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
}

void world_task(const struct world *w, struct task_config *c, const char *name,
                const char *job_json) {
    world_task_in(w, c, "a1", name, job_json);
}

void world_task_in(const struct world *w, struct task_config *c, const char *alloc,
                   const char *name, const char *job_json) {
    char below[256];
    static const char *const parts[] = {"", "/alloc", "/alloc/logs"};
    static const char *const own[] = {"", "/local", "/secrets"};
    make_dir(w->dir, "alloc");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        snprintf(below, sizeof(below), "alloc/%s%s", alloc, parts[i]);
        make_dir(w->dir, below);
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        snprintf(below, sizeof(below), "alloc/%s/%s%s", alloc, name, own[i]);
        make_dir(w->dir, below);
    }
    struct buf b = pack(job_json);
    *c = (struct task_config){
        .id = text_of("%s/%s/0123", alloc, name),
        .name = strdup(name),
        .alloc_id = strdup(alloc),
        .alloc_dir = text_of("%s/alloc/%s", w->dir, alloc),
        .stdout_path = text_of("%s/alloc/%s/alloc/logs/.%s.stdout.fifo", w->dir, alloc, name),
        .stderr_path = text_of("%s/alloc/%s/alloc/logs/.%s.stderr.fifo", w->dir, alloc, name),
        .driver_config_len = b.len};
    c->driver_config = buf_take(&b);
    c->resources.present = c->resources.nomad_present = c->resources.linux_present = true;
    c->resources.memory_mb = 64;
    assert_true(mkfifo(c->stdout_path, 0600) == 0 || errno == EEXIST);
    assert_true(mkfifo(c->stderr_path, 0600) == 0 || errno == EEXIST);
}

void world_run(struct world *w, const struct task_config *c, struct driver_started *ret) {
    struct driver_started started = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct err err = {0};
    if (task_start(w->d, &call, c, &started, &err) < 0)
        fail_msg("StartTask: %s", err.text);
    task_start_reported(w->d, &started);
    struct task_look look = world_look(w, c->id);
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/logs", look.container_id);
    if (look.logs)
        world_until_count(w, request, 1);
    if (ret)
        *ret = started;
    else
        task_start_done(&started);
}

void world_run_unread(struct world *w, struct task_config *c, int n) {
    char name[32], path[64], text[200001];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    snprintf(name, sizeof(name), "full%d", n);
    world_task(w, c, name, WORLD_WEB_JOB);
    world_run(w, c, NULL);
    snprintf(path, sizeof(path), "print/%s-a1", name);
    fake_control(&w->fake, "POST", path, text, NULL, 0);
}

int world_web_setup(void **state, const char *plugin_json, unsigned timeout_ms, bool run) {
    struct world_web *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    world_start(&x->w, plugin_json, timeout_ms);
    world_task(&x->w, &x->task, "web", WORLD_WEB_JOB);
    if (run)
        world_run(&x->w, &x->task, &x->started);
    *state = x;
    return 0;
}

int world_web_setup_live(void **state, unsigned timeout_ms) {
    world_web_setup(state, "{}", timeout_ms, true);
    world_until_count(&((struct world_web *)*state)->w, "GET /events", 1);
    return 0;
}

int world_web_teardown(void **state) {
    struct world_web *x = *state;
    task_start_done(&x->started);
    world_done(&x->w);
    task_config_done(&x->task);
    free(x);
    return 0;
}

unsigned world_containers(const struct world *w) {
    struct docker *docker = fake_docker(&w->fake);
    AUTO_JSON json_t *list = NULL;
    struct call call = fake_call();
    assert_int_equal(docker_container_list(docker, &call, true, NULL, &list, &(size_t){0}, NULL),
                     0);
    docker_free(docker);
    return (unsigned)json_array_size(list);
}

struct task_look world_look(struct world *w, const char *task_id) {
    struct driver_inspect i = {0};
    assert_int_equal(task_inspect(w->d, task_id, &i, NULL), 0);
    struct task_look look = i.look;
    task_inspect_done(&i);
    return look;
}

void world_inspect_request(struct world *w, const char *task_id, char ret[WORLD_REQUEST_SIZE]) {
    snprintf(ret, WORLD_REQUEST_SIZE, "GET /containers/%s/json",
             world_look(w, task_id).container_id);
}

struct end_seen {
    pthread_mutex_t lock;
    bool done;
    struct task_exit exit;
};

static void on_end(void *ctx, const struct task_exit *exit) {
    struct end_seen *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->exit = *exit;
    s->done = true;
    pthread_mutex_unlock(&s->lock);
}

static bool has_ended(void *ctx) {
    struct end_seen *s = ctx;
    pthread_mutex_lock(&s->lock);
    bool done = s->done;
    pthread_mutex_unlock(&s->lock);
    return done;
}

struct task_exit world_wait(struct world *w, const char *task_id) {
    /* Not on the stack: when the wait fails, cmocka leaves this function while the waiter stays. */
    static struct end_seen seen;
    static struct task_waiter waiter;
    seen = (struct end_seen){.lock = PTHREAD_MUTEX_INITIALIZER};
    waiter = (struct task_waiter){.done = on_end, .ctx = &seen};
    AUTO_TASK struct task *t = NULL;
    assert_int_equal(exit_wait(w->d, task_id, &waiter, &t, NULL), 0);
    world_until(has_ended, &seen, "the task's end");
    return seen.exit;
}

const char *world_name(const struct task_config *c) {
    static char name[256];
    snprintf(name, sizeof(name), "%s-%s", c->name, c->alloc_id);
    return name;
}

void world_exit(const struct world *w, const struct task_config *c, int code) {
    char path[300];
    snprintf(path, sizeof(path), "exit/%s?code=%d", world_name(c), code);
    fake_control(&w->fake, "POST", path, "", NULL, 0);
}

/* ---- Pump ---- */

size_t world_positions(const struct world *w) {
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*/positions/*", w->run_dir);
    size_t n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return n;
}

struct positions {
    const struct world *w;
    size_t n;
};

static bool has_positions(void *ctx) {
    const struct positions *p = ctx;
    return world_positions(p->w) == p->n;
}

void world_until_positions(const struct world *w, size_t n) {
    struct positions p = {.w = w, .n = n};
    world_until(has_positions, &p, "the position files");
}

int world_pump_connect(const struct world *w) {
    char pattern[128];
    glob_t found;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = false;
    snprintf(pattern, sizeof(pattern), "%s/*/pump.sock", w->run_dir);
    if (glob(pattern, 0, NULL, &found) == 0) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        snprintf(a.sun_path, sizeof(a.sun_path), "%s", found.gl_pathv[0]);
        connected = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    }
    globfree(&found);
    return connected ? TAKE_FD(fd) : -EBADF;
}

pid_t world_pump(const struct world *w) {
    struct ucred who;
    socklen_t len = sizeof(who);
    AUTO_FD int fd = world_pump_connect(w);
    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 ? who.pid : 0;
}

static bool pump_has_ended(void *ctx) {
    return world_pump(ctx) == 0;
}

void world_pump_kill(const struct world *w) {
    pid_t pid = world_pump(w);
    if (pid > 1) {
        kill(pid, SIGKILL);
        if (!w->d) /* a driver would start another one */
            world_until(pump_has_ended, (void *)(uintptr_t)w, "the pump's end");
    }
}
