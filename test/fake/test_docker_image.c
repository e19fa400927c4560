/* Images against a dockerd that has them or not, pulls slowly, stalls, refuses, and is cut off: who
 * pulls, who waits, what is told, and when an image is removed. */
#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "paddock/docker_auth.h"
#include "paddock/docker_image.h"
#include "paddock/loop.h"
#include "paddock/pool.h"
#include "paddock/strv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ABSENT(n)                                                                                  \
    "GET /images/*/json times=" #n " status=404 body={\"message\":\"No such image\"}\n"
#define PULL_OK                                                                                    \
    "POST /images/create type=application/json body={\"status\":\"Pull "                           \
    "complete\",\"id\":\"aaa\"}\n"
#define LOAD_OK                                                                                    \
    "POST /images/load type=application/json body={\"stream\":\"Loaded image: app:1\"}\n"
#define L1                                                                                         \
    "{\"status\":\"Downloading\",\"id\":\"aaa\",\"progressDetail\":{\"current\":1,\"total\":2}}"   \
    "\\n"
#define L5 L1 L1 L1 L1 L1
#define L25 L5 L5 L5 L5 L5
#define PULL "POST /images/create"
#define DELETE_DEFAULT "DELETE /images/sha256%3A5ca1ab1e"
#define WAIT_US (20 * US_PER_SEC)

struct fixture {
    struct fake fake;
    struct docker *docker;
    struct loop *loop;
    pthread_t thread;
    struct pool *pool;
    struct docker_images *images;
    struct docker_images_options o;
};

static void *run_loop(void *arg) {
    assert_int_equal(loop_run(arg), 0);
    return NULL;
}

static void images_start(struct fixture *x) {
    assert_int_equal(loop_new(&x->loop), 0);
    assert_int_equal(pool_new(4, &x->pool), 0);
    x->o.docker = x->docker;
    x->o.loop = x->loop;
    x->o.pool = x->pool;
    assert_int_equal(docker_images_new(&x->o, &x->images), 0);
    assert_int_equal(pthread_create(&x->thread, NULL, run_loop, x->loop), 0);
}

static void images_stop(struct fixture *x) {
    loop_stop(x->loop);
    pthread_join(x->thread, NULL);
    loop_run_posted(x->loop);
    pool_free(x->pool);
    loop_run_posted(x->loop);
    docker_images_free(x->images);
    loop_free(x->loop);
}

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    fake_start(&x->fake, NULL);
    x->docker = fake_docker(&x->fake);
    x->o = (struct docker_images_options){
        .gc = true, .gc_delay_us = 100 * US_PER_MS, .activity_timeout_us = 60 * US_PER_SEC};
    images_start(x);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    images_stop(x);
    docker_free(x->docker);
    fake_done(&x->fake);
    free(x);
    return 0;
}

static void restart_with(struct fixture *x, struct docker_images_options o) {
    images_stop(x);
    x->o = o;
    images_start(x);
}

/* Between two questions to the fake: not to keep it busy with them. */
static void breathe(uint64_t until) {
    struct call call = {.deadline_us = until};
    assert_int_equal(call_sleep(&call, 5 * US_PER_MS), 0);
}

/* Asks until the count is reached. */
static void wait_count(const struct fixture *x, const char *request, int n) {
    uint64_t until = clock_now_us() + WAIT_US;
    while (fake_count(&x->fake, request) < n)
        breathe(until);
}

/* ---- one who wants an image ---- */

struct user {
    struct fixture *x;
    struct docker_image_want want;
    struct docker_image image;
    struct cancel cancel;
    uint64_t timeout_us;
    pthread_t thread;
    int r;
    struct err err;
    pthread_mutex_t lock; /* of what follows */
    unsigned downloading, progress;
    char last[320];
};

static void on_event(void *ctx, const char *message, const char *image) {
    struct user *u = ctx;
    pthread_mutex_lock(&u->lock);
    if (strcmp(message, "Downloading image") == 0)
        u->downloading++;
    else if (strncmp(message, "Docker image pull progress: ", 28) == 0)
        u->progress++;
    else
        fail_msg("%s", message);
    assert_string_equal(image, u->want.image);
    snprintf(u->last, sizeof(u->last), "%s", message);
    pthread_mutex_unlock(&u->lock);
}

static void user_init(struct user *u, struct fixture *x, const char *id, const char *image) {
    *u = (struct user){.x = x, .timeout_us = WAIT_US};
    u->want = (struct docker_image_want){
        .image = image, .user_id = id, .event = on_event, .ctx = u, .pull_timeout_us = WAIT_US};
    pthread_mutex_init(&u->lock, NULL);
    assert_int_equal(cancel_init(&u->cancel), 0);
}

static void user_done(struct user *u) {
    cancel_done(&u->cancel);
    pthread_mutex_destroy(&u->lock);
}

static void *acquire(void *arg) {
    struct user *u = arg;
    struct call outer = {.cancel = &u->cancel};
    struct call call = call_within(&outer, u->timeout_us);
    u->r = docker_images_acquire(u->x->images, &call, &u->want, &u->image, &u->err);
    return NULL;
}

static void user_start(struct user *u) {
    assert_int_equal(pthread_create(&u->thread, NULL, acquire, u), 0);
}

static void user_join(struct user *u) {
    pthread_join(u->thread, NULL);
}

static unsigned user_progress(struct user *u) {
    pthread_mutex_lock(&u->lock);
    unsigned n = u->progress;
    pthread_mutex_unlock(&u->lock);
    return n;
}

/* @u waits for (or does) a pull that moves. */
static void wait_progress(struct user *u) {
    uint64_t until = clock_now_us() + WAIT_US;
    while (user_progress(u) == 0)
        breathe(until);
}

static void acquire_now(struct fixture *x, const char *id, const char *image) {
    struct user u;
    user_init(&u, x, id, image);
    acquire(&u);
    assert_string_equal(u.err.text, "");
    assert_int_equal(u.r, 0);
    user_done(&u);
}

static void release(struct fixture *x, const char *id) {
    docker_images_release(x->images, "sha256:5ca1ab1e", id);
}

/* All removals that were due when this is called have been asked for: another image's, which was
 * due later. */
static void fence(struct fixture *x) {
    static unsigned n;
    char rule[160], image[16], id[16], request[64];
    snprintf(image, sizeof(image), "fence:%u", ++n);
    snprintf(id, sizeof(id), "sha256:f%u", n);
    snprintf(request, sizeof(request), "DELETE /images/sha256%%3Af%u", n);
    snprintf(rule, sizeof(rule), "GET /images/%s/json body={\"Id\":\"%s\"}\n%s body=[]\n", image,
             id, request);
    fake_rules(&x->fake, rule);
    acquire_now(x, "fence", image);
    docker_images_release(x->images, id, "fence");
    wait_count(x, request, 1);
}

/* What came with the newest of the requests in @log. */
static void assert_last(const json_t *log, const char *key, const char *want) {
    const json_t *row = json_array_get(log, json_array_size(log) - 1);
    const char *text = json_string_value(json_object_get(row, key));
    assert_non_null(text);
    assert_string_equal(text, want);
}

/* ---- which way ---- */

static void test_docker_images_acquire__order_of_ways(void **state) {
    static const struct {
        const char *image;
        bool present, load, force;
        int looks, loads, pulls;
        const char *query;
    } rows[] = {
        {"app:1", true, false, false, 1, 0, 0, NULL},
        {"app:1", false, false, false, 2, 0, 1, "fromImage=app&tag=1"},
        {"app:1", true, true, false, 1, 0, 0, NULL},
        {"app:1", false, true, false, 2, 1, 0, NULL},
        {"app:1", true, false, true, 1, 0, 1, "fromImage=app&tag=1"},
        {"app:1", true, true, true, 1, 1, 0, NULL},
        {"app", true, false, false, 1, 0, 1, "fromImage=app&tag=latest"},
        {"app:latest", true, false, false, 1, 0, 1, "fromImage=app&tag=latest"},
        {"app:latest", true, true, false, 1, 1, 0, NULL},
        {"r.io:5000/a/b:1", false, false, false, 2, 0, 1, "fromImage=r.io%3A5000%2Fa%2Fb&tag=1"},
        {"app@sha256:" HEX64, true, false, false, 1, 0, 0, NULL},
        {"app@sha256:" HEX64, false, false, false, 2, 0, 1, "fromImage=app%40sha256%3A" HEX64},
        {"app:1@sha256:" HEX64, false, false, false, 2, 0, 1, "fromImage=app%40sha256%3A" HEX64},
    };
    struct fixture *x = *state;
    char archive[160];
    snprintf(archive, sizeof(archive), "%s/archive", x->fake.dir);
    FILE *f = fopen(archive, "we");
    assert_non_null(f);
    assert_true(fputs("the archive", f) >= 0 && fclose(f) == 0);
    int loads = 0, pulls = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, PULL_OK LOAD_OK);
        if (!rows[i].present)
            fake_rules(&x->fake, ABSENT(1));
        char look[160];
        bool both = strncmp(rows[i].image, "app:1@", 6) == 0; /* the tag does not count */
        snprintf(look, sizeof(look), "GET /images/%s%s/json", both ? "app" : rows[i].image,
                 both ? rows[i].image + 5 : "");
        int looks_before = fake_count(&x->fake, look);
        struct user u;
        user_init(&u, x, "task", rows[i].image);
        u.want.force_pull = rows[i].force;
        u.want.load_path = rows[i].load ? archive : NULL;
        acquire(&u);
        print_message("%zu %s\n", i, rows[i].image);
        assert_string_equal(u.err.text, "");
        assert_int_equal(u.r, 0);
        assert_string_equal(u.image.id, "sha256:5ca1ab1e");
        assert_int_equal(u.downloading, rows[i].pulls);
        user_done(&u);
        AUTO_JSON json_t *l = fake_log(&x->fake, look), *p = fake_log(&x->fake, PULL),
                         *a = fake_log(&x->fake, "POST /images/load");
        int now = (int)json_array_size(l) - looks_before;
        assert_int_equal(now, rows[i].looks);
        assert_int_equal(json_array_size(p) - (size_t)pulls, rows[i].pulls);
        assert_int_equal(json_array_size(a) - (size_t)loads, rows[i].loads);
        pulls = (int)json_array_size(p);
        loads = (int)json_array_size(a);
        if (rows[i].query)
            assert_last(p, "query", rows[i].query);
        if (rows[i].loads) {
            assert_last(a, "body", "the archive");
            assert_last(a, "type", "application/x-tar");
        }
    }
    unlink(archive);
}

static void test_docker_images_acquire__user_of_the_image__told(void **state) {
    struct fixture *x = *state;
    fake_rules(
        &x->fake,
        "GET /images/app:1/json body={\"Id\":\"sha256:1\",\"Config\":{\"User\":\"1000:1000\"}}");
    struct user u;
    user_init(&u, x, "task", "app:1");
    acquire(&u);
    assert_int_equal(u.r, 0);
    assert_string_equal(u.image.id, "sha256:1");
    assert_string_equal(u.image.user, "1000:1000");
    user_done(&u);
}

/* ---- credentials ---- */

static void expect_auth(struct fixture *x, const char *want) {
    AUTO_JSON json_t *log = fake_log(&x->fake, PULL);
    assert_last(log, "auth", want);
}

static void test_docker_images_acquire__credentials__in_the_header(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, PULL_OK);
    acquire_now(x, "none", "app");
    expect_auth(x, "");
    struct user u;
    user_init(&u, x, "task", "app");
    u.want.username = "u";
    u.want.password = "p";
    acquire(&u);
    assert_int_equal(u.r, 0);
    struct docker_auth a = {.username = (char *)"u", .password = (char *)"p"};
    AUTO_FREE char *header = docker_auth_header(&a);
    assert_non_null(header);
    expect_auth(x, header + strlen("X-Registry-Auth: "));
    user_done(&u);
}

static void test_docker_images_acquire__no_credentials_from_helper__plain_or_soft(void **state) {
    struct fixture *x = *state;
    struct docker_images_options o = x->o;
    o.auth_helper = "is-not-there";
    restart_with(x, o);
    fake_rules(&x->fake, PULL_OK);
    struct user u;
    user_init(&u, x, "task", "app");
    acquire(&u);
    assert_true(u.r < 0);
    assert_int_equal(u.err.cls, ERR_PLAIN);
    assert_non_null(strstr(u.err.text, "docker-credential-is-not-there"));
    assert_int_equal(fake_count(&x->fake, PULL), 0);
    u.want.auth_soft_fail = true;
    err_clear(&u.err);
    acquire(&u);
    assert_int_equal(u.r, 0);
    expect_auth(x, "");
    user_done(&u);
}

/* ---- errors ---- */

static void test_docker_images_acquire__failed_pull__class_and_text(void **state) {
    static const struct {
        const char *rules;
        int r;
        enum err_class cls;
        const char *text;
    } rows[] = {
        {"POST /images/create status=404 body={\"message\":\"pull access denied for app\"}",
         -ENOENT, ERR_RECOVERABLE, "Failed to pull `app:1`: pull access denied for app"},
        {"POST /images/create status=404 body={\"message\":\"Error: image library/app:1 not "
         "found\"}",
         -ENOENT, ERR_PLAIN, "Failed to pull `app:1`: Error: image library/app:1 not found"},
        {"POST /images/create body={\"error\":\"Error: image library/app:1 not found\"}", -EIO,
         ERR_PLAIN, "Failed to pull `app:1`: Error: image library/app:1 not found"},
        {"POST /images/create every=1 body=" L5 "{\"error\":\"unexpected EOF\"}\\n" L5, -EIO,
         ERR_RECOVERABLE, "Failed to pull `app:1`: unexpected EOF"},
        {"POST /images/create body={\"error\":\"manifest for app:1 not found: manifest unknown\"}",
         -EIO, ERR_RECOVERABLE,
         "Failed to pull `app:1`: manifest for app:1 not found: manifest unknown"},
        {"POST /images/create status=500 body={\"message\":\"toomanyrequests\"}", -EIO,
         ERR_RECOVERABLE, "Failed to pull `app:1`: toomanyrequests"},
        {"POST /images/create status=401 body={\"message\":\"unauthorized\"}", -EACCES,
         ERR_RECOVERABLE, "Failed to pull `app:1`: unauthorized"},
        {"POST /images/create drop", -ENOTCONN, ERR_RECOVERABLE, "Failed to pull `app:1`: "},
        {"POST /images/create type=text/html body=<html>", -EPROTO, ERR_RECOVERABLE,
         "Failed to pull `app:1`: "},
    };
    struct fixture *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, rows[i].rules);
        fake_rules(&x->fake, ABSENT(1));
        struct user u;
        user_init(&u, x, "task", "app:1");
        acquire(&u);
        print_message("%s: %d %s\n", rows[i].rules, u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(strncmp(u.err.text, rows[i].text, strlen(rows[i].text)), 0);
        assert_int_equal(u.err.cls, rows[i].cls);
        assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), 0);
        user_done(&u);
    }
}

/* The connection ends in the middle of the stream, between two lines: not a pull that went well. */
static void test_docker_images_acquire__cut_off_stream__recoverable(void **state) {
    struct fixture *x = *state;
    static const char *const rules[] = {
        "POST /images/create raw close body=HTTP/1.1 200 OK\\r\\nContent-Type: "
        "application/json\\r\\n"
        "Transfer-Encoding: "
        "chunked\\r\\n\\r\\n22\\r\\n{\"status\":\"Waiting\",\"id\":\"abcdef\"}\\n\\r\\n",
        "POST /images/create raw close body=HTTP/1.1 200 OK\\r\\nContent-Type: "
        "application/json\\r\\n"
        "Content-Length: 500\\r\\n\\r\\n{\"status\":\"Waiting\",\"id\":\"abcdef\"}\\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        fake_rules(&x->fake, rules[i]);
        struct user u;
        user_init(&u, x, "task", "app");
        acquire(&u);
        assert_int_equal(u.r, -ENOTCONN);
        assert_int_equal(u.err.cls, ERR_RECOVERABLE);
        assert_int_equal(strncmp(u.err.text, "Failed to pull `app`: ", 22), 0);
        user_done(&u);
    }
}

static void test_docker_images_acquire__look_fails__class_and_text(void **state) {
    static const struct {
        const char *rules;
        int r;
        const char *text;
    } rows[] = {
        {"GET /images/*/json status=500 body={\"message\":\"busy\"}", -EIO, "image app:1: busy"},
        {"GET /images/*/json body={}", -EPROTO, "image app:1: "},
        {"GET /images/*/json body={\"Id\":7}", -EPROTO, "image app:1: "},
        {"GET /images/*/json body={\"Id\":\"" HEX64 HEX64 "\"}", -EPROTO, "image app:1: "},
        {ABSENT(-1) PULL_OK, -ENOENT, "image app:1: No such image"}, /* pulled, and gone at once */
    };
    struct fixture *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, rows[i].rules);
        struct user u;
        user_init(&u, x, "task", "app:1");
        acquire(&u);
        print_message("%s: %d %s\n", rows[i].rules, u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(u.err.cls, ERR_RECOVERABLE);
        assert_int_equal(strncmp(u.err.text, rows[i].text, strlen(rows[i].text)), 0);
        user_done(&u);
    }
    struct user u;
    user_init(&u, x, "task", "No Reference");
    acquire(&u);
    assert_int_equal(u.r, -EINVAL);
    assert_int_equal(u.err.cls, ERR_INVALID);
    assert_non_null(strstr(u.err.text, "\"No Reference\" does not match registry specification"));
    user_done(&u);
}

static void test_docker_images_acquire__load_fails__plain_with_dockers_words(void **state) {
    struct fixture *x = *state;
    char file[160], absent[160], fifo[160];
    snprintf(file, sizeof(file), "%s/archive", x->fake.dir);
    snprintf(absent, sizeof(absent), "%s/absent", x->fake.dir);
    snprintf(fifo, sizeof(fifo), "%s/fifo", x->fake.dir);
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const struct {
        const char *path, *rules;
        int r;
        const char *text;
    } rows[] = {
        {absent, LOAD_OK, -ENOENT, "unable to open image archive"},
        {x->fake.dir, LOAD_OK, -EINVAL, "not a regular file"},
        {fifo, LOAD_OK, -EINVAL, "not a regular file"}, /* opening it would wait for a writer */
        {file, "POST /images/load status=500 body={\"message\":\"no space\"}", -EIO, "no space"},
        {file, "POST /images/load body={\"error\":\"invalid tar header\"}", -EIO,
         "invalid tar header"},
        {file, LOAD_OK ABSENT(-1), -ENOENT, "does not hold image app"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, rows[i].rules);
        struct user u;
        user_init(&u, x, "task", "app");
        u.want.load_path = rows[i].path;
        acquire(&u);
        print_message("%d %s\n", u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(u.err.cls, ERR_PLAIN);
        assert_non_null(strstr(u.err.text, rows[i].text));
        assert_non_null(strstr(u.err.text, rows[i].path));
        user_done(&u);
    }
    unlink(file);
    unlink(fifo);
}

/* What is not the allocation's is not loaded, whatever links lead there. */
static void test_docker_images_acquire__load__below_its_root(void **state) {
    static const struct {
        const char *path;
        bool anywhere;
        int r;
    } rows[] = {{"alloc/in", false, 0},           {"alloc/to-in", false, 0},
                {"alloc/../out", false, -EACCES}, {"alloc/to-out", false, -EACCES},
                {"alloc/to-out", true, 0},        {"alloc/dir/../in", false, 0},
                {"alloc/none", false, -ENOENT}};
    struct fixture *x = *state;
    char command[512], root[160], path[160];
    const char *dir = x->fake.dir;
    snprintf(command, sizeof(command),
             "cd %s && mkdir -p alloc/dir && echo in >alloc/in && echo out >out && "
             "ln -s dir/../in alloc/to-in && ln -s %s/out alloc/to-out",
             dir, dir);
    assert_int_equal(system(command), 0);
    snprintf(root, sizeof(root), "%s/alloc/", dir);
    fake_rules(&x->fake, LOAD_OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct user u;
        int before = fake_count(&x->fake, "POST /images/load");
        user_init(&u, x, "task", "app");
        snprintf(path, sizeof(path), "%s/%s", dir, rows[i].path);
        u.want.load_path = path;
        u.want.load_root = rows[i].anywhere ? NULL : root;
        acquire(&u);
        print_message("%s: %d %s\n", rows[i].path, u.r, u.err.text);
        assert_int_equal(u.r, rows[i].r);
        assert_int_equal(fake_count(&x->fake, "POST /images/load") - before, u.r == 0);
        if (u.r == -EACCES)
            assert_non_null(strstr(u.err.text, "outside of the allocation's folder"));
        user_done(&u);
    }
    snprintf(command, sizeof(command), "rm -r %s/alloc %s/out", dir, dir);
    assert_int_equal(system(command), 0);
}

/* ---- one pull for all ---- */

static void test_docker_images_acquire__many_at_once__one_pull(void **state) {
    enum { N = 8 };
    struct fixture *x = *state;
    struct user u[N];
    char id[N][8];
    fake_rules(&x->fake, "POST /images/create every=20 body=" L25 "\n" ABSENT(-1));
    restart_with(x, (struct docker_images_options){.gc = true, .gc_delay_us = 1, .progress_us = 1});
    for (int i = 0; i < N; i++) {
        snprintf(id[i], sizeof(id[i]), "t%d", i);
        user_init(&u[i], x, id[i], "app:1");
        user_start(&u[i]);
    }
    for (int i = 0; i < N; i++)
        wait_progress(&u[i]); /* all of them hear of it */
    fake_rules(&x->fake, "GET /images/*/json body={\"Id\":\"sha256:5ca1ab1e\"}");
    for (int i = 0; i < N; i++) {
        user_join(&u[i]);
        assert_int_equal(u[i].r, 0);
        assert_int_equal(u[i].downloading, 1);
        assert_non_null(strstr(u[i].last, "Pulled 0/1 (1B/2B) layers: 0 waiting/1 pulling"));
    }
    assert_int_equal(fake_count(&x->fake, PULL), 1);
    /* Each holds it. */
    for (int i = 0; i < N - 1; i++)
        release(x, id[i]);
    fence(x);
    assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), 0);
    release(x, id[N - 1]);
    wait_count(x, DELETE_DEFAULT, 1);
    for (int i = 0; i < N; i++)
        user_done(&u[i]);
}

static void
test_docker_images_acquire__failed_pull__is_that_of_all_and_not_of_the_next(void **state) {
    struct fixture *x = *state;
    struct user a, b;
    restart_with(x, (struct docker_images_options){.progress_us = 1});
    fake_rules(&x->fake, "POST /images/create times=1 every=20 body=" L25
                         "{\"error\":\"went wrong\"}\n" PULL_OK);
    user_init(&a, x, "a", "app");
    user_init(&b, x, "b", "app");
    user_start(&a);
    wait_progress(&a);
    user_start(&b);
    user_join(&a);
    user_join(&b);
    assert_int_equal(a.r, -EIO);
    assert_int_equal(b.r, -EIO);
    assert_string_equal(b.err.text, "Failed to pull `app`: went wrong");
    assert_int_equal(fake_count(&x->fake, PULL), 1);
    acquire_now(x, "c", "app");
    assert_int_equal(fake_count(&x->fake, PULL), 2);
    user_done(&a);
    user_done(&b);
}

static void test_docker_images_acquire__other_credentials__other_pull(void **state) {
    struct fixture *x = *state;
    struct user a, b;
    restart_with(x, (struct docker_images_options){.progress_us = 1});
    fake_rules(&x->fake, "POST /images/create times=1 every=20 body=" L25
                         "{\"error\":\"unauthorized\"}\n" PULL_OK);
    user_init(&a, x, "a", "app");
    user_init(&b, x, "b", "app");
    a.want.password = "wrong";
    b.want.password = "right";
    user_start(&a);
    wait_progress(&a);
    user_start(&b);
    user_join(&a);
    user_join(&b);
    assert_int_equal(a.r, -EIO);
    assert_int_equal(b.r, 0);
    user_done(&a);
    user_done(&b);
}

/* @a leads a pull that moves for ever, @b waits for it; the second pull goes well. */
static void lead_and_wait(struct fixture *x, struct user *a, struct user *b) {
    restart_with(x, (struct docker_images_options){.progress_us = 1});
    fake_rules(&x->fake,
               "POST /images/create times=1 stall every=20 body=" L25 L25 L25 L25 "\n" PULL_OK);
    user_start(a);
    wait_progress(a);
    user_start(b);
    wait_progress(b);
    assert_int_equal(fake_count(&x->fake, PULL), 1);
}

static void test_docker_images_acquire__leader_cancelled__next_takes_over(void **state) {
    struct fixture *x = *state;
    struct user a, b;
    user_init(&a, x, "a", "app");
    user_init(&b, x, "b", "app");
    lead_and_wait(x, &a, &b);
    cancel_fire(&a.cancel);
    user_join(&a);
    assert_int_equal(a.r, -ECANCELED);
    user_join(&b);
    assert_int_equal(b.r, 0);
    assert_string_equal(b.image.id, "sha256:5ca1ab1e");
    assert_int_equal(fake_count(&x->fake, PULL), 2);
    user_done(&a);
    user_done(&b);
}

static void test_docker_images_acquire__leaders_time_over__next_takes_over(void **state) {
    struct fixture *x = *state;
    struct user a, b;
    user_init(&a, x, "a", "app");
    user_init(&b, x, "b", "app");
    a.want.pull_timeout_us = 1500 * US_PER_MS;
    lead_and_wait(x, &a, &b);
    user_join(&a);
    assert_int_equal(a.r, -ETIMEDOUT);
    assert_int_equal(a.err.cls, ERR_RECOVERABLE);
    assert_string_equal(a.err.text, "Failed to pull `app`: it took longer than image_pull_timeout");
    user_join(&b);
    assert_int_equal(b.r, 0);
    assert_int_equal(fake_count(&x->fake, PULL), 2);
    user_done(&a);
    user_done(&b);
}

static void test_docker_images_acquire__waiter_leaves__leader_goes_on(void **state) {
    struct fixture *x = *state;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct user a, b;
        int before = fake_count(&x->fake, PULL);
        user_init(&a, x, "a", "app");
        user_init(&b, x, "b", "app");
        if (!cancelled)
            b.want.pull_timeout_us = 300 * US_PER_MS;
        restart_with(x, (struct docker_images_options){.progress_us = 1});
        fake_rules(&x->fake, "POST /images/create times=1 every=20 body=" L25 L25 L25 L25);
        user_start(&a);
        wait_progress(&a);
        user_start(&b);
        wait_progress(&b);
        if (cancelled)
            cancel_fire(&b.cancel);
        user_join(&b);
        assert_int_equal(b.r, cancelled ? -ECANCELED : -ETIMEDOUT);
        assert_int_equal(b.err.cls, ERR_RECOVERABLE);
        if (!cancelled)
            assert_string_equal(b.err.text,
                                "Failed to pull `app`: it took longer than image_pull_timeout");
        user_join(&a);
        assert_int_equal(a.r, 0);
        assert_int_equal(fake_count(&x->fake, PULL), before + 1);
        user_done(&a);
        user_done(&b);
    }
}

/* ---- deadlines ---- */

static void test_docker_images_acquire__no_activity__ended(void **state) {
    struct fixture *x = *state;
    static const char *const rules[] = {
        "POST /images/create stall every=1 body=" L5, /* begins, then silence */
        "POST /images/create hang",                   /* never a word */
    };
    restart_with(x, (struct docker_images_options){.activity_timeout_us = 400 * US_PER_MS});
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        fake_rules(&x->fake, rules[i]);
        struct user u;
        user_init(&u, x, "a", "app");
        uint64_t before = clock_now_us();
        acquire(&u);
        uint64_t took = clock_now_us() - before;
        assert_int_equal(u.r, -ETIMEDOUT);
        assert_int_equal(u.err.cls, ERR_RECOVERABLE);
        assert_string_equal(u.err.text,
                            "Failed to pull `app`: no progress for pull_activity_timeout");
        assert_true(took >= 400 * US_PER_MS && took < 10 * US_PER_SEC);
        user_done(&u);
    }
}

static void test_docker_images_acquire__slow_but_moving__no_activity_timeout(void **state) {
    struct fixture *x = *state;
    restart_with(x, (struct docker_images_options){.activity_timeout_us = 1000 * US_PER_MS});
    fake_rules(&x->fake, "POST /images/create every=150 body=" L5 L5);
    uint64_t before = clock_now_us();
    acquire_now(x, "a", "app");
    assert_true(clock_now_us() - before > 1000 * US_PER_MS);
}

static void test_docker_images_acquire__total_deadline__ends_a_moving_pull(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "POST /images/create every=50 body=" L25 L25 L25 L25);
    struct user u;
    user_init(&u, x, "a", "app");
    u.want.pull_timeout_us = 500 * US_PER_MS;
    uint64_t before = clock_now_us();
    acquire(&u);
    uint64_t took = clock_now_us() - before;
    assert_int_equal(u.r, -ETIMEDOUT);
    assert_true(took >= 500 * US_PER_MS && took < 4 * US_PER_SEC);
    user_done(&u);
    /* Its connection was ended with it, so that Docker stops to pull: only the one that asks is
     * left. */
    docker_free(x->docker);
    uint64_t until = clock_now_us() + WAIT_US;
    for (int open = 0; open != 1;) {
        char text[128];
        fake_control(&x->fake, "GET", "connections", "", text, sizeof(text));
        assert_int_equal(sscanf(text, "{\"open\":%d", &open), 1);
        breathe(until);
    }
    x->docker = fake_docker(&x->fake);
}

/* ---- removal ---- */

static void test_docker_images_release__last_user__removed_after_the_delay(void **state) {
    struct fixture *x = *state;
    restart_with(x, (struct docker_images_options){.gc = true, .gc_delay_us = 300 * US_PER_MS});
    fake_rules(&x->fake, "DELETE /images/* body=[]");
    acquire_now(x, "a", "app:1");
    acquire_now(x, "a", "app:1"); /* the same user counts once */
    acquire_now(x, "b", "app:2"); /* the same image by another name */
    release(x, "a");
    release(x, "nobody");
    docker_images_release(x->images, "sha256:unknown", "a");
    fence(x);
    assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), 0);
    uint64_t before = clock_now_us();
    release(x, "b");
    wait_count(x, DELETE_DEFAULT, 1);
    assert_true(clock_now_us() - before >= 300 * US_PER_MS);
    AUTO_JSON json_t *log = fake_log(&x->fake, DELETE_DEFAULT);
    assert_string_equal(json_string_value(json_object_get(json_array_get(log, 0), "query")),
                        "force=0");
}

static void test_docker_images_release__new_user_in_the_delay__stays(void **state) {
    struct fixture *x = *state;
    restart_with(x, (struct docker_images_options){.gc = true, .gc_delay_us = 300 * US_PER_MS});
    fake_rules(&x->fake, "DELETE /images/* body=[]");
    acquire_now(x, "a", "app:1");
    release(x, "a");
    acquire_now(x, "b", "app:1");
    fence(x);
    release(x, "b");
    assert_int_equal(docker_images_hold(x->images, "sha256:5ca1ab1e", "c"), 0);
    fence(x);
    assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), 0);
    release(x, "c");
    wait_count(x, DELETE_DEFAULT, 1);
}

/* After a restart the table is made from what is recovered. */
static void test_docker_images_hold__counts_as_a_user(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "DELETE /images/* body=[]");
    assert_int_equal(docker_images_hold(x->images, "sha256:5ca1ab1e", "recovered"), 0);
    acquire_now(x, "new", "app:1");
    release(x, "new");
    fence(x);
    assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), 0);
    release(x, "recovered");
    wait_count(x, DELETE_DEFAULT, 1);
    assert_int_equal(fake_count(&x->fake, PULL), 0);
}

static void on_timer(void *arg) {
    cancel_fire(arg);
}

struct timer {
    struct loop *loop;
    struct loop_timer *timer;
    struct cancel fired;
    uint64_t at_us;
};

static void arm(void *arg) {
    struct timer *t = arg;
    assert_int_equal(loop_timer_new(t->loop, on_timer, &t->fired, &t->timer), 0);
    loop_timer_at(t->timer, t->at_us);
}

static void test_docker_images_release__gc_off__stays(void **state) {
    struct fixture *x = *state;
    restart_with(x, (struct docker_images_options){.gc = false, .gc_delay_us = 1});
    acquire_now(x, "a", "app:1");
    release(x, "a");
    struct timer t = {.loop = x->loop, .at_us = clock_now_us() + 200 * US_PER_MS};
    assert_int_equal(cancel_init(&t.fired), 0);
    assert_int_equal(loop_post(x->loop, arm, &t), 0);
    struct call call = {.cancel = &t.fired, .deadline_us = clock_now_us() + WAIT_US};
    assert_int_equal(call_sleep(&call, WAIT_US), -ECANCELED);
    images_stop(x);
    assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), 0);
    images_start(x);
    cancel_done(&t.fired);
}

static void test_docker_images_release__refused_removal__once_and_forgotten(void **state) {
    static const char *const rules[] = {
        DELETE_DEFAULT
        " status=409 body={\"message\":\"image is being used by running container 1\"}",
        DELETE_DEFAULT " status=404 body={\"message\":\"No such image\"}",
    };
    struct fixture *x = *state;
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        fake_rules(&x->fake, rules[i]);
        acquire_now(x, "a", "app:1");
        release(x, "a");
        wait_count(x, DELETE_DEFAULT, ++n);
        fence(x);
        acquire_now(x, "a", "app:1"); /* waits for nothing */
        release(x, "a");
        wait_count(x, DELETE_DEFAULT, ++n);
        fence(x);
        assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), n);
    }
}

static void test_docker_images_release__docker_fails__tried_again(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, DELETE_DEFAULT " times=1 status=500 body={\"message\":\"busy\"}\n"
                                        "DELETE /images/* body=[]");
    acquire_now(x, "a", "app:1");
    release(x, "a");
    wait_count(x, DELETE_DEFAULT, 2);
}

#define SEVERAL_NAMES                                                                              \
    DELETE_DEFAULT " times=1 status=409 body={\"message\":\"conflict: unable to delete 5ca1 "      \
                   "(must be forced) - image is referenced in multiple repositories\"}\n"          \
                   "DELETE /images/* body=[]\n"

static void test_docker_images_release__several_names__by_force_unless_used(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, SEVERAL_NAMES);
    acquire_now(x, "a", "app:1");
    release(x, "a");
    wait_count(x, DELETE_DEFAULT, 2);
    AUTO_JSON json_t *log = fake_log(&x->fake, DELETE_DEFAULT),
                     *asked = fake_log(&x->fake, "GET /containers/json");
    assert_string_equal(json_string_value(json_object_get(json_array_get(log, 1), "query")),
                        "force=1");
    const char *query = json_string_value(json_object_get(json_array_get(asked, 0), "query"));
    assert_non_null(strstr(query, "all=1"));
    assert_non_null(strstr(query, "ancestor"));
    assert_non_null(strstr(query, "5ca1ab1e"));
    fence(x);

    /* A stopped container uses it: force would take the image from under it. */
    char id[65];
    AUTO_JSON json_t *body = json_pack("{s:s}", "Image", "app:1");
    struct call call = call_within(NULL, WAIT_US);
    assert_int_equal(docker_container_create(x->docker, &call, "stopped", body, id, NULL), 0);
    fake_rules(&x->fake, SEVERAL_NAMES);
    acquire_now(x, "b", "app:1");
    release(x, "b");
    wait_count(x, DELETE_DEFAULT, 3);
    fence(x);
    assert_int_equal(fake_count(&x->fake, DELETE_DEFAULT), 3);
    AUTO_JSON json_t *again = fake_log(&x->fake, DELETE_DEFAULT);
    assert_string_equal(json_string_value(json_object_get(json_array_get(again, 2), "query")),
                        "force=0");
}

/* Wanted while it is being removed: it is waited for, looked at again, and pulled. */
static void test_docker_images_acquire__during_the_removal__pulled_after_it(void **state) {
    struct fixture *x = *state;
    acquire_now(x, "a", "app:1");
    fake_rules(
        &x->fake, DELETE_DEFAULT
        " delay=500 body=[]\n" PULL_OK
        "GET /images/app:1/json skip=1 times=1 status=404 body={\"message\":\"No such image\"}\n");
    release(x, "a");
    wait_count(x, DELETE_DEFAULT, 1);
    struct user u;
    user_init(&u, x, "b", "app:1");
    acquire(&u);
    assert_int_equal(u.r, 0);
    assert_int_equal(u.downloading, 1);
    assert_int_equal(fake_count(&x->fake, PULL), 1);
    user_done(&u);
}

/* Docker said "present", then it was removed, then we get to hold it: held would be what is gone.
 */
static void test_docker_images_acquire__removed_behind_the_look__pulled(void **state) {
    struct fixture *x = *state;
    acquire_now(x, "a", "app:1");
    fake_rules(&x->fake,
               "DELETE /images/* body=[]\n" PULL_OK
               "GET /images/app:1/json times=1 delay=1500 body={\"Id\":\"sha256:5ca1ab1e\"}\n"
               "GET /images/app:1/json times=1 status=404 body={\"message\":\"No such image\"}\n");
    struct user u;
    user_init(&u, x, "b", "app:1");
    user_start(&u);
    wait_count(x, "GET /images/app:1/json", 2);
    release(x, "a");
    wait_count(x, DELETE_DEFAULT, 1);
    user_join(&u);
    assert_int_equal(u.r, 0);
    assert_int_equal(fake_count(&x->fake, PULL), 1);
    user_done(&u);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_docker_images_acquire__order_of_ways),
        T(test_docker_images_acquire__user_of_the_image__told),
        T(test_docker_images_acquire__credentials__in_the_header),
        T(test_docker_images_acquire__no_credentials_from_helper__plain_or_soft),
        T(test_docker_images_acquire__failed_pull__class_and_text),
        T(test_docker_images_acquire__cut_off_stream__recoverable),
        T(test_docker_images_acquire__look_fails__class_and_text),
        T(test_docker_images_acquire__load_fails__plain_with_dockers_words),
        T(test_docker_images_acquire__load__below_its_root),
        T(test_docker_images_acquire__many_at_once__one_pull),
        T(test_docker_images_acquire__failed_pull__is_that_of_all_and_not_of_the_next),
        T(test_docker_images_acquire__other_credentials__other_pull),
        T(test_docker_images_acquire__leader_cancelled__next_takes_over),
        T(test_docker_images_acquire__leaders_time_over__next_takes_over),
        T(test_docker_images_acquire__waiter_leaves__leader_goes_on),
        T(test_docker_images_acquire__no_activity__ended),
        T(test_docker_images_acquire__slow_but_moving__no_activity_timeout),
        T(test_docker_images_acquire__total_deadline__ends_a_moving_pull),
        T(test_docker_images_release__last_user__removed_after_the_delay),
        T(test_docker_images_release__new_user_in_the_delay__stays),
        T(test_docker_images_hold__counts_as_a_user),
        T(test_docker_images_release__gc_off__stays),
        T(test_docker_images_release__refused_removal__once_and_forgotten),
        T(test_docker_images_release__docker_fails__tried_again),
        T(test_docker_images_release__several_names__by_force_unless_used),
        T(test_docker_images_acquire__during_the_removal__pulled_after_it),
        T(test_docker_images_acquire__removed_behind_the_look__pulled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
