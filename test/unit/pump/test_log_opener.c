/* SPDX-License-Identifier: MPL-2.0 */
/* The opener of log files finds each file once and in order, also when names change. */
#include "src/pump/log_opener.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define LOG "c0de-json.log"
#define WAIT_SEC 20

struct world {
    char dir[32];
    int dir_fd;
    struct loop *loop;
    pthread_t thread;
    struct log_opener *opener;
    struct log_watch *watch;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t news;
    char seen[4096]; /* the text of each file, in order; '!' before it: a gap */
    unsigned calls;
};

static void on_changed(void *ctx) {
    struct world *w = ctx;
    struct log_found found[4];
    size_t n;
    pthread_mutex_lock(&w->lock);
    w->calls++;
    while ((n = log_opener_watch_take(w->watch, found, ARRAY_LEN(found))) > 0)
        for (size_t i = 0; i < n; i++) {
            char text[16] = {0};
            ssize_t len = pread(found[i].fd, text, sizeof(text) - 1, 0);
            size_t at = strlen(w->seen);
            snprintf(w->seen + at, sizeof(w->seen) - at, "%s%s ", found[i].gap ? "!" : "",
                     len > 0 ? text : "-");
            close(found[i].fd);
        }
    pthread_cond_broadcast(&w->news);
    pthread_mutex_unlock(&w->lock);
}

static void *run_loop(void *loop) {
    return loop_run(loop) < 0 ? loop : NULL;
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/paddock-opener-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->news, NULL);
    assert_int_equal(loop_new(&w->loop), 0);
    assert_int_equal(log_opener_new(w->loop, &w->opener), 0);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    void *failed;
    loop_stop(w->loop);
    pthread_join(w->thread, &failed);
    assert_null(failed);
    log_opener_watch_del(w->watch);
    log_opener_free(w->opener);
    loop_free(w->loop);
    close(w->dir_fd);
    assert_int_equal(tmp_dir_remove(w->dir), 0);
    free(w);
    return 0;
}

static void put(const struct world *w, const char *name, const char *text) {
    int fd = openat(w->dir_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void start(struct world *w) {
    assert_int_equal(log_opener_watch_new(w->opener, w->dir_fd, LOG, on_changed, w, &w->watch), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, run_loop, w->loop), 0);
}

/* Waits until the files of @seen were found, by at least @calls calls. */
static void expect_calls(struct world *w, const char *seen, unsigned calls) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_SEC;
    pthread_mutex_lock(&w->lock);
    int r = 0;
    while (r == 0 && (strcmp(w->seen, seen) != 0 || w->calls < calls))
        r = pthread_cond_timedwait(&w->news, &w->lock, &until);
    assert_string_equal(w->seen, seen);
    assert_true(w->calls >= calls);
    pthread_mutex_unlock(&w->lock);
}

static unsigned calls_of(struct world *w) {
    pthread_mutex_lock(&w->lock);
    unsigned calls = w->calls;
    pthread_mutex_unlock(&w->lock);
    return calls;
}

static void expect(struct world *w, const char *seen) {
    expect_calls(w, seen, 0);
}

/* Rotates as dockerd does with max-file=@files. */
static void rotate(const struct world *w, unsigned files, const char *text) {
    char from[32], to[32];
    for (unsigned k = files - 1; k > 0; k--) {
        snprintf(to, sizeof(to), LOG ".%u", k);
        snprintf(from, sizeof(from), k > 1 ? LOG ".%u" : LOG, k - 1);
        unlinkat(w->dir_fd, to, 0);
        renameat(w->dir_fd, from, w->dir_fd, to);
    }
    put(w, "new", text); /* the name is set last, so that a found file has its text */
    renameat(w->dir_fd, "new", w->dir_fd, LOG);
}

/* Calls log_opener_watch_new() under the limit @few. */
static int log_watch_new_within(struct world *w, const struct rlimit *few,
                                const struct rlimit *before, struct log_watch **ret) {
    assert_int_equal(setrlimit(RLIMIT_NOFILE, few), 0);
    int r = log_opener_watch_new(w->opener, w->dir_fd, LOG, on_changed, w, ret);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, before), 0);
    return r;
}

static void test_log_watch__existing_files__oldest_first(void **state) {
    struct world *w = *state;
    put(w, LOG ".2", "a");
    put(w, LOG ".1", "b");
    put(w, LOG ".5", "no");
    put(w, "config.v2.json", "no");
    put(w, LOG, "c");
    start(w);
    expect(w, "a b c ");
}

static void test_log_watch__rotated_one_by_one__each_once(void **state) {
    struct world *w = *state;
    char want[256] = "";
    start(w);
    for (int i = 0; i < 40; i++) {
        char text[8];
        snprintf(text, sizeof(text), "f%d", i);
        snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s ", text);
        rotate(w, 2, text); /* the file system reuses the inode number of a removed file */
        expect(w, want);
    }
}

/* dockerd is between two renames. No file was missed. */
static void test_log_watch__during_a_rotation__no_gap(void **state) {
    struct world *w = *state;
    put(w, LOG, "a");
    start(w);
    expect(w, "a ");
    renameat(w->dir_fd, LOG, w->dir_fd, LOG ".2");
    put(w, "new", "b");
    renameat(w->dir_fd, "new", w->dir_fd, LOG);
    expect(w, "a b ");
}

/* The known file is no longer in the folder. Two other files are. */
static void test_log_watch__missed_files__gap(void **state) {
    struct world *w = *state;
    put(w, LOG, "a");
    start(w);
    expect(w, "a ");
    put(w, "x1", "c");
    put(w, "x0", "d");
    unlinkat(w->dir_fd, LOG, 0);
    renameat(w->dir_fd, "x1", w->dir_fd, LOG ".1"); /* now the newest file is found, too */
    renameat(w->dir_fd, "x0", w->dir_fd, LOG);
    expect(w, "a !c d ");
}

/* All descriptors of this process are in use while dockerd, another process, rotates twice. */
static void test_log_watch__no_descriptor_left__missed_then_each_once(void **state) {
    struct world *w = *state;
    struct rlimit before, none = {.rlim_cur = 3};
    int status;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    put(w, LOG, "a");
    start(w);
    expect(w, "a ");
    unsigned calls = calls_of(w);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    pid_t dockerd = fork();
    if (dockerd == 0) {
        bool set = setrlimit(RLIMIT_NOFILE, &before) == 0;
        rotate(w, 4, "b");
        rotate(w, 4, "c");
        _exit(set ? 0 : 1);
    }
    int r = waitpid(dockerd, &status, 0) == dockerd ? status : -1;
    for (time_t until = time(NULL) + WAIT_SEC; calls_of(w) == calls && time(NULL) < until;)
        sched_yield();
    bool missed = log_opener_watch_has_missed(w->watch);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    assert_true(missed);
    on_changed(w); /* a reader checks again like this */
    expect(w, "a b c ");
    assert_false(log_opener_watch_has_missed(w->watch));
}

/* The newest file needs two descriptors: one for the reader, one to identify it later. */
static void test_log_watch__one_descriptor_left__each_once(void **state) {
    struct world *w = *state;
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    put(w, LOG ".2", "a");
    put(w, LOG ".1", "b");
    put(w, LOG, "c");
    for (rlim_t left = 0; left < 5; left++) {
        struct log_watch *watch;
        struct log_found found[4];
        few = before;
        int next = fcntl(0, F_DUPFD_CLOEXEC, 3); /* descriptors up to here are in use */
        close(next);
        few.rlim_cur = (rlim_t)next + 1 + left; /* one more is for the folder */
        assert_int_equal(log_watch_new_within(w, &few, &before, &watch), 0);
        size_t n = 0;
        while (n < 3 && log_opener_watch_has_missed(watch))
            n += log_opener_watch_take(watch, found + n, ARRAY_LEN(found) - n);
        n += log_opener_watch_take(watch, found + n, ARRAY_LEN(found) - n);
        assert_int_equal(n, 3);
        for (size_t i = 0; i < n; i++) {
            char text[2] = "";
            assert_false(found[i].gap);
            assert_int_equal(pread(found[i].fd, text, 1, 0), 1);
            assert_int_equal(text[0], "abc"[i]);
            close(found[i].fd);
        }
        log_opener_watch_del(watch);
    }
    start(w); /* for the teardown */
}

static void test_log_watch__armed__one_call_for_many_writes(void **state) {
    struct world *w = *state;
    put(w, LOG, "a");
    start(w);
    expect(w, "a ");
    int fd = openat(w->dir_fd, LOG, O_RDONLY | O_CLOEXEC);
    assert_int_equal(log_opener_watch_arm(w->watch, fd), 0);
    unsigned before = calls_of(w);
    for (int i = 0; i < 100; i++)
        put(w, LOG, "more");
    expect_calls(w, "a ", before + 1);
    /* A second call would have come earlier. */
    assert_int_equal(log_opener_watch_arm(w->watch, fd), 0);
    put(w, LOG, "more");
    expect_calls(w, "a ", before + 2);
    assert_int_equal(calls_of(w), before + 2);
    close(fd);
}

static void test_log_watch__folder_removed__is_removed(void **state) {
    struct world *w = *state;
    put(w, LOG, "a");
    start(w);
    expect(w, "a ");
    assert_false(log_opener_watch_is_removed(w->watch));
    unsigned before = calls_of(w);
    unlinkat(w->dir_fd, LOG, 0);
    expect_calls(w, "a ", before + 1);
    assert_int_equal(rmdir(w->dir), 0);
    assert_true(log_opener_watch_is_removed(w->watch));
    assert_int_equal(mkdir(w->dir, 0700), 0);
}

static void test_log_watch__link_or_folder_in_its_place__not_opened(void **state) {
    struct world *w = *state;
    put(w, "secret", "no");
    assert_int_equal(symlinkat("secret", w->dir_fd, LOG ".1"), 0);
    assert_int_equal(mkdirat(w->dir_fd, LOG, 0700), 0);
    start(w);
    assert_int_equal(unlinkat(w->dir_fd, LOG, AT_REMOVEDIR), 0);
    put(w, "new", "a"); /* found only when its name is complete */
    renameat(w->dir_fd, "new", w->dir_fd, LOG);
    expect(w, "a ");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(test_log_watch__existing_files__oldest_first),
        CASE(test_log_watch__rotated_one_by_one__each_once),
        CASE(test_log_watch__during_a_rotation__no_gap),
        CASE(test_log_watch__missed_files__gap),
        CASE(test_log_watch__no_descriptor_left__missed_then_each_once),
        CASE(test_log_watch__one_descriptor_left__each_once),
        CASE(test_log_watch__armed__one_call_for_many_writes),
        CASE(test_log_watch__folder_removed__is_removed),
        CASE(test_log_watch__link_or_folder_in_its_place__not_opened),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
