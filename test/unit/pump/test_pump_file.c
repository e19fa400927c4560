/* SPDX-License-Identifier: MPL-2.0 */
/* The reader of a container's log files. It delivers each byte of the program once, whatever
 * happens to the files, to the readers of the FIFOs and to the log reader itself. */
#include "src/pump/pump_file.h"
#include "unit/cm.h"

#include "paddock/buf.h"
#include "paddock/clock.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define LOG "c0de-json.log"
#define WAIT_US (30 * US_PER_SEC)
#define BACKLOG (UINT64_C(1) << 20)

struct world {
    char dir[32];
    int dir_fd, log_fd, fifo[2]; /* fifo: the reader's ends */
    struct loop *loop;
    pthread_t thread;
    struct pump_files shared;
    struct pump_record record;
    struct pump_out out[2];
    struct pump_file *file;
    struct buf got[2], want[2];
    int64_t clock_ns;
    pthread_mutex_t lock; /* of what follows */
    char reports[2048];
    bool drained;
};

static _Atomic int statx_error; /* 0: log files can be examined */

int __real_statx(int dir_fd, const char *path, int flags, unsigned mask, struct statx *ret);
int __wrap_statx(int dir_fd, const char *path, int flags, unsigned mask, struct statx *ret);
int __wrap_statx(int dir_fd, const char *path, int flags, unsigned mask, struct statx *ret) {
    if (!statx_error)
        return __real_statx(dir_fd, path, flags, mask, ret);
    errno = statx_error;
    return -1;
}

/* ---- the loop's side ---- */

static void on_drained(void *ctx) {
    struct world *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->drained = true;
    pthread_mutex_unlock(&w->lock);
}

static void on_report(void *ctx, const char *text) {
    struct world *w = ctx;
    pthread_mutex_lock(&w->lock);
    size_t at = strlen(w->reports);
    snprintf(w->reports + at, sizeof(w->reports) - at, "%s\n", text);
    pthread_mutex_unlock(&w->lock);
}

static void on_room(void *ctx) {
    struct world *w = ctx;
    if (w->file)
        pump_file_continue(w->file);
}

static const struct pump_file_ops ops = {.drained = on_drained, .report = on_report};

static void *run_loop(void *loop) {
    return loop_run(loop) < 0 ? loop : NULL;
}

struct errand {
    struct world *w;
    void (*what)(struct world *w);
    bool done;
};

static void on_errand(void *ctx) {
    struct errand *e = ctx;
    e->what(e->w);
    pthread_mutex_lock(&e->w->lock);
    e->done = true;
    pthread_mutex_unlock(&e->w->lock);
}

/* Runs @what on the loop's thread and waits for it. */
static void in_loop(struct world *w, void (*what)(struct world *w)) {
    struct errand e = {.w = w, .what = what};
    struct timespec moment = {.tv_nsec = 100000};
    assert_int_equal(loop_post(w->loop, on_errand, &e), 0);
    for (bool done = false; !done; nanosleep(&moment, NULL)) {
        pthread_mutex_lock(&w->lock);
        done = e.done;
        pthread_mutex_unlock(&w->lock);
    }
}

static void do_begin(struct world *w) {
    struct pump_out *const out[2] = {&w->out[0], &w->out[1]};
    for (int s = 0; s < 2; s++) {
        pump_out_init(&w->out[s], w->loop, &w->record, s, on_room, w);
        assert_int_equal(pump_out_open(&w->out[s]), 0);
    }
    assert_int_equal(pump_file_new(&w->shared, w->dir_fd, LOG, out, &ops, w, &w->file), 0);
    pump_file_begin(w->file);
}

/* As a SIGKILL does it: what was gathered and not written is gone. */
static void do_kill(struct world *w) {
    pump_file_free(TAKE_PTR(w->file));
    pump_out_done(&w->out[0]);
    pump_out_done(&w->out[1]);
    pump_record_settle(&w->record);
}

static void do_restart(struct world *w) {
    do_kill(w);
    do_begin(w);
}

static void do_finish(struct world *w) {
    pump_file_finish(w->file);
}

static void do_check_place(struct world *w) {
    assert_true(w->record.stream[0].at.place.file.ino != 0);
}

static struct pump_file_status status;

static void do_status(struct world *w) {
    pump_file_status(w->file, &status);
}

/* ---- the world ---- */

static void new_log(struct world *w) {
    fd_close(w->log_fd);
    w->log_fd = openat(w->dir_fd, LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(w->log_fd >= 0);
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/paddock-file-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->log_fd = -EBADF;
    w->clock_ns = INT64_C(1700000000123456789);
    pthread_mutex_init(&w->lock, NULL);
    for (int s = 0; s < 2; s++) {
        snprintf(w->record.path[s], sizeof(w->record.path[s]), "%s/fifo%d", w->dir, s);
        assert_int_equal(mkfifo(w->record.path[s], 0600), 0);
        w->fifo[s] = open(w->record.path[s], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        buf_init(&w->got[s], 64 << 20);
        buf_init(&w->want[s], 64 << 20);
    }
    new_log(w);
    assert_int_equal(loop_new(&w->loop), 0);
    assert_int_equal(pump_files_init(&w->shared, w->loop, BACKLOG), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, run_loop, w->loop), 0);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    char command[64];
    void *failed;
    loop_stop(w->loop);
    pthread_join(w->thread, &failed);
    assert_null(failed);
    do_kill(w);
    pump_files_done(&w->shared);
    loop_free(w->loop);
    for (int s = 0; s < 2; s++) {
        buf_done(&w->got[s]);
        buf_done(&w->want[s]);
        close(w->fifo[s]);
    }
    fd_close(w->log_fd);
    close(w->dir_fd);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

/* ---- dockerd ---- */

static void put(const struct world *w, const char *text, size_t len) {
    assert_int_equal(write(w->log_fd, text, len), len);
}

/* A record as dockerd writes it. @len bytes of text that needs no escapes but that of a newline. */
static void write_record(struct world *w, int s, const char *text, size_t len) {
    struct buf b;
    char time[32];
    time_t sec = (time_t)(w->clock_ns / 1000000000);
    struct tm tm;
    gmtime_r(&sec, &tm);
    strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &tm);
    bool line = len > 0 && text[len - 1] == '\n';
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_printf(&b,
                                "{\"log\":\"%.*s%s\",\"stream\":\"std%s\",\"time\":\"%s.%09dZ\"}\n",
                                (int)(len - line), text, line ? "\\n" : "", s ? "err" : "out", time,
                                (int)(w->clock_ns % 1000000000)),
                     0);
    w->clock_ns += 1000;
    put(w, b.data, b.len);
    buf_done(&b);
}

/* The same, of which the task's log must contain the text. */
static void print(struct world *w, int s, const char *text) {
    write_record(w, s, text, strlen(text));
    assert_int_equal(buf_puts(&w->want[s], text), 0);
}

static void rotate(struct world *w, unsigned files) {
    for (unsigned k = files - 1; k > 0; k--) {
        char from[32], to[32];
        snprintf(to, sizeof(to), LOG ".%u", k);
        snprintf(from, sizeof(from), k > 1 ? LOG ".%u" : LOG, k - 1);
        unlinkat(w->dir_fd, to, 0);
        renameat(w->dir_fd, from, w->dir_fd, to);
    }
    new_log(w);
}

/* ---- Nomad ---- */

/* Reads up to @max bytes of what is there. */
static void read_some(struct world *w, int s, size_t max) {
    char bytes[65536];
    ssize_t n = read(w->fifo[s], bytes, max < sizeof(bytes) ? max : sizeof(bytes));
    if (n > 0)
        assert_int_equal(buf_append(&w->got[s], bytes, (size_t)n), 0);
}

static bool has(struct world *w, const char *report) {
    pthread_mutex_lock(&w->lock);
    bool found = strstr(w->reports, report) != NULL;
    pthread_mutex_unlock(&w->lock);
    return found;
}

static bool is_drained(struct world *w) {
    pthread_mutex_lock(&w->lock);
    bool drained = w->drained;
    pthread_mutex_unlock(&w->lock);
    return drained;
}

/* Reads until both streams have what was printed. */
static void expect(struct world *w) {
    uint64_t until = clock_now_us() + WAIT_US;
    for (;;) {
        bool all = true;
        for (int s = 0; s < 2; s++) {
            all = all && w->got[s].len >= w->want[s].len;
            read_some(w, s, SIZE_MAX);
        }
        if (all || clock_now_us() > until)
            break;
        struct pollfd p[] = {{.fd = w->fifo[0], .events = POLLIN},
                             {.fd = w->fifo[1], .events = POLLIN}};
        poll(p, 2, 100);
    }
    for (int s = 0; s < 2; s++) {
        size_t n = 0, len = w->got[s].len < w->want[s].len ? w->got[s].len : w->want[s].len;
        while (n < len && w->got[s].data[n] == w->want[s].data[n])
            n++;
        if (n < w->want[s].len || n < w->got[s].len)
            fail_msg(
                "stream %d: %zu bytes of %zu, different from %zu on: \"%.30s\" not \"%.30s\"; %s",
                s, w->got[s].len, w->want[s].len, n, buf_text(&w->got[s]) + n,
                buf_text(&w->want[s]) + n, w->reports);
    }
}

static void expect_drained(struct world *w) {
    uint64_t until = clock_now_us() + WAIT_US;
    expect(w);
    while (!is_drained(w) && clock_now_us() < until)
        in_loop(w, do_status);
    assert_true(is_drained(w));
}

static void expect_lag(struct world *w, uint64_t bytes) {
    uint64_t until = clock_now_us() + WAIT_US;
    do
        in_loop(w, do_status);
    while (status.lag_bytes < bytes && clock_now_us() < until);
    assert_true(status.lag_bytes >= bytes);
}

/* Until the next write is to be announced: the folder and the file are watched. */
static void expect_quiet(void) {
    uint64_t until = clock_now_us() + WAIT_US;
    for (unsigned watches = 0; watches < 2 && clock_now_us() < until;) {
        glob_t found;
        watches = 0;
        assert_int_equal(glob("/proc/self/fdinfo/*", 0, NULL, &found), 0);
        for (size_t i = 0; i < found.gl_pathc; i++) {
            char line[256];
            FILE *f = fopen(found.gl_pathv[i], "re");
            while (f && fgets(line, sizeof(line), f))
                watches += strncmp(line, "inotify wd:", 11) == 0;
            if (f)
                fclose(f);
        }
        globfree(&found);
    }
    assert_true(clock_now_us() < until);
}

static void expect_report(struct world *w, const char *text) {
    uint64_t until = clock_now_us() + WAIT_US;
    while (!has(w, text) && clock_now_us() < until)
        in_loop(w, do_status);
    if (!has(w, text))
        fail_msg("no report of \"%s\" in \"%s\"", text, w->reports);
}

/* ---- the ordinary ---- */

static void test_pump_file__both_streams__delivered_and_drained(void **state) {
    struct world *w = *state;
    print(w, 0, "before it begins\n");
    in_loop(w, do_begin);
    print(w, 0, "one\n");
    print(w, 1, "two\n");
    expect(w);
    for (int i = 0; i < 3; i++) { /* also after it was quiet */
        expect_quiet();
        print(w, i & 1, "later\n");
        expect(w);
    }
    print(w, 0, "last, without a newline");
    in_loop(w, do_finish);
    expect_drained(w);
    assert_string_equal(w->reports, "");
}

/* The last piece of a long line is in the file before the other stream's line. */
static void test_pump_file__long_line_in_pieces__every_byte(void **state) {
    struct world *w = *state;
    char piece[16385];
    memset(piece, 'x', 16384);
    piece[16384] = '\0';
    in_loop(w, do_begin);
    print(w, 0, piece);
    piece[3616] = '\0';
    print(w, 0, piece);
    print(w, 1, "later\n");
    in_loop(w, do_finish);
    expect_drained(w);
}

/* 16 KiB of bytes that are not UTF-8 are 48 KiB when dockerd has replaced them. */
static void test_pump_file__largest_message__delivered(void **state) {
    struct world *w = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 16384; i++)
        assert_int_equal(buf_puts(&b, "\\ufffd"), 0);
    in_loop(w, do_begin);
    for (int i = 0; i < 3; i++) {
        write_record(w, 0, b.data, b.len);
        for (int j = 0; j < 16384; j++)
            assert_int_equal(buf_puts(&w->want[0], "\xef\xbf\xbd"), 0);
    }
    print(w, 0, "after\n");
    expect(w);
    buf_done(&b);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__rotation__each_line_once(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    for (int i = 0; i < 60; i++) {
        for (int j = 0; j < 50; j++) {
            char line[64];
            snprintf(line, sizeof(line), "file %d, line %d\n", i, j);
            print(w, j % 3 == 0, line);
        }
        if (i % 4 == 3)
            expect(w); /* so many files stay within sight */
        rotate(w, 5);
    }
    in_loop(w, do_finish);
    expect_drained(w);
    assert_string_equal(w->reports, "");
}

static bool barrier_called;

static void on_barrier(void *ctx) {
    struct world *w = ctx;
    pthread_mutex_lock(&w->lock);
    barrier_called = true;
    pthread_mutex_unlock(&w->lock);
}

static bool barrier_was_called(struct world *w) {
    pthread_mutex_lock(&w->lock);
    bool called = barrier_called;
    pthread_mutex_unlock(&w->lock);
    return called;
}

static struct log_watch *barrier;
static int barrier_fd;

/* The opener takes its notices in order: when this watch is called, all before were looked at. */
static void do_barrier(struct world *w) {
    assert_int_equal(
        log_opener_watch_new(w->shared.opener, barrier_fd, LOG, on_barrier, w, &barrier), 0);
}

static void do_barrier_end(struct world *w) {
    (void)w;
    barrier = log_opener_watch_del(barrier);
}

/* All descriptors are in use while dockerd rotates twice, and no other notice follows. */
static void test_pump_file__no_descriptor_left_at_rotation__read_later(void **state) {
    struct world *w = *state;
    struct rlimit before, none = {.rlim_cur = 3};
    int how;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    in_loop(w, do_begin);
    print(w, 0, "one\n");
    expect(w);
    expect_quiet();
    assert_int_equal(mkdirat(w->dir_fd, "other", 0700), 0);
    barrier_fd = openat(w->dir_fd, "other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    barrier_called = false;
    in_loop(w, do_barrier);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    pid_t dockerd = fork();
    if (dockerd == 0) {
        bool set = setrlimit(RLIMIT_NOFILE, &before) == 0;
        rotate(w, 3);
        write_record(w, 0, "two\n", 4);
        rotate(w, 3);
        write_record(w, 1, "three\n", 6);
        _exit(set && mkdirat(w->dir_fd, "other/" LOG, 0700) == 0 ? 0 : 1);
    }
    int r = waitpid(dockerd, &how, 0) == dockerd ? how : -1;
    for (uint64_t until = clock_now_us() + WAIT_US;
         r == 0 && !barrier_was_called(w) && clock_now_us() < until;)
        sched_yield();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    in_loop(w, do_barrier_end);
    close(barrier_fd);
    assert_int_equal(buf_puts(&w->want[0], "two\n"), 0);
    assert_int_equal(buf_puts(&w->want[1], "three\n"), 0);
    expect(w);
    assert_string_equal(w->reports, "");
}

/* ---- a reader that does not read ---- */

static void print_much(struct world *w, int s, size_t bytes) {
    char line[101];
    memset(line, 'a', 100);
    line[99] = '\n';
    line[100] = '\0';
    for (size_t n = 0; n < bytes; n += 100) {
        snprintf(line, 16, "%014zu", n);
        line[14] = ' ';
        print(w, s, line);
    }
}

static void test_pump_file__stalled_reader__files_are_held(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    for (unsigned i = 0; i < 5; i++) {
        print_much(w, 0, 100000);
        expect_lag(w, i * 100000); /* it is open */
        rotate(w, 2);
    }
    expect(w);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__beyond_backlog__oldest_dropped_and_reported(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    for (unsigned i = 0; i < 10; i++) {
        print_much(w, 0, 300000); /* more than the FIFO and the gathered chunk take */
        expect_lag(w, 150000);
        rotate(w, 2);
    }
    print(w, 0, "the newest\n");
    expect_report(w, "were dropped");
    while (!strstr(buf_text(&w->got[0]), "the newest\n"))
        read_some(w, 0, SIZE_MAX);
    assert_true(w->got[0].len < w->want[0].len);
    assert_true(w->got[0].len > BACKLOG / 2);
    /* every line is whole */
    for (const char *at = w->got[0].data; strncmp(at, "the newest", 10) != 0; at += 100)
        if (strlen(at) < 100 || at[99] != '\n')
            fail_msg("torn: %.100s", at);
}

/* ---- damage ---- */

static void test_pump_file__half_a_record__skipped_and_reported_once(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    for (int i = 0; i < 3; i++) {
        print(w, 0, "whole\n");
        put(w, "{\"log\":\"half", 12); /* dockerd was killed, and goes on in the same line */
        print(w, 1, "next\n");
    }
    put(w, "no record\n", 10);
    print(w, 0, "after\n");
    expect(w);
    expect_report(w, "a damaged record");
    assert_ptr_equal(strstr(w->reports, "\n"), w->reports + strlen(w->reports) - 1);
}

static void test_pump_file__megabytes_of_nul__skipped(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print(w, 0, "before\n");
    expect(w);
    assert_int_equal(ftruncate(w->log_fd, 3 << 20), 0);
    assert_true(lseek(w->log_fd, 0, SEEK_END) > 0);
    print(w, 0, "after\n");
    expect(w);
    expect_report(w, "a damaged record");
}

static void test_pump_file__half_a_record_at_the_end__drained(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print(w, 0, "whole\n");
    put(w, "{\"log\":\"half", 12);
    in_loop(w, do_finish);
    expect_drained(w);
    expect_report(w, "a damaged record");
}

/* ---- truncation ---- */

static void test_pump_file__truncated_in_place__goes_on_from_its_start(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print_much(w, 0, 10000);
    expect(w);
    new_log(w); /* max-file=1: the same inode */
    print(w, 0, "short\n");
    expect(w);
    new_log(w);
    print_much(w, 0, 50000); /* longer than before, before the reader looked */
    expect(w);
    expect_report(w, "truncated");
}

/* Another program truncates the file, and dockerd goes on at its own offset. The file then
 * begins with a hole. */
static void test_pump_file__truncated_under_dockerd__hole_skipped(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print_much(w, 0, 100000);
    expect(w);
    assert_int_equal(ftruncate(w->log_fd, 0), 0);
    print(w, 0, "after\n");
    expect(w);
}

/* ---- positions ---- */

static unsigned dice(unsigned sides) {
    static unsigned seed = 1;
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % sides;
}

static void test_pump_file__killed_anywhere__each_byte_once(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    for (int i = 0; i < 1500; i++) {
        char text[20000];
        size_t len = dice(20) == 0 ? 16384 : 1 + dice(300);
        memset(text, 'a' + (int)dice(26), len);
        text[len] = '\0';
        if (len < 16384)
            text[len - 1] = '\n';
        print(w, (int)dice(2), text);
        if (dice(4) == 0)
            read_some(w, (int)dice(2), dice(30000));
        if (dice(15) == 0)
            in_loop(w, do_restart);
        if (dice(100) == 0) {
            expect(w); /* nothing that is still needed goes with the rotation */
            rotate(w, 3);
        }
    }
    in_loop(w, do_finish);
    expect_drained(w);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__rotated_away_without_reader__gap_and_no_repetition(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print(w, 0, "delivered\n");
    print(w, 1, "delivered\n");
    expect(w);
    in_loop(w, do_kill);
    write_record(w, 0, "lost\n", 5);
    rotate(w, 2);
    rotate(w, 2);
    print(w, 0, "still there\n");
    rotate(w, 2);
    print(w, 1, "newest\n");
    in_loop(w, do_begin);
    expect(w);
    expect_report(w, "while no log pump was running");
}

/* dockerd goes on writing to the file that it has open. */
static void test_pump_file__file_removed__read_on_then_reported(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print(w, 0, "one\n");
    expect(w);
    assert_int_equal(unlinkat(w->dir_fd, LOG, 0), 0);
    for (int i = 0; i < 3; i++) { /* no notice comes */
        print(w, i & 1, "written to no name\n");
        expect(w);
    }
    assert_string_equal(w->reports, "");
    in_loop(w, do_restart);
    expect_report(w, "is not there");
    new_log(w);
    print(w, 1, "a new file\n");
    expect(w);
}

/* A silent stream's position follows, so that no gap is seen where none is. */
/* A file that is lost to the reader: the report names the reason, and the next file is read. */
static void test_pump_file__cannot_be_examined__gap_with_the_reason(void **state) {
    static const struct {
        int error;
        const char *report;
    } rows[] = {{EIO, "missing: Docker's log file cannot be read: Input/output error\n"},
                {ENOMEM, "missing: the log pump is out of memory\n"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0)
            assert_int_equal(teardown(state) || setup(state), 0);
        struct world *w = *state;
        in_loop(w, do_begin);
        print(w, 0, "one\n");
        expect(w);
        statx_error = rows[i].error;
        rotate(w, 2);
        expect_report(w, rows[i].report);
        statx_error = 0;
        rotate(w, 2);
        print(w, 0, "two\n");
        expect(w);
    }
}

static void test_pump_file__silent_stream_then_rotated_away__no_gap(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print(w, 1, "once\n");
    for (int i = 0; i < 5; i++) {
        rotate(w, 2);
        print(w, 0, "more\n");
        expect(w);
        in_loop(w, do_restart);
    }
    print(w, 1, "again\n");
    expect(w);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__truncated_without_reader__gap_and_no_repetition(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print_much(w, 0, 1000);
    expect(w);
    in_loop(w, do_kill);
    new_log(w);
    print_much(w, 0, 2000);
    in_loop(w, do_begin);
    expect(w);
    expect_report(w, "while no log pump was running");
}

/* What an older pump noted: message 1 (from 0) of that time, from its third byte on. */
static void test_pump_file__position_in_time__found_in_the_file(void **state) {
    struct world *w = *state;
    int64_t time_ns = w->clock_ns + 1000;
    write_record(w, 0, "old\n", 4);
    write_record(w, 0, "of its time, the first\n", 23);
    w->clock_ns -= 1000;
    write_record(w, 0, "and the second\n", 15);
    write_record(w, 1, "stderr has had this one\n", 24);
    assert_int_equal(buf_puts(&w->want[0], "d the second\n"), 0);
    w->record.stream[0].at.time = (struct log_position){.time_ns = time_ns, .nth = 1, .offset = 2};
    w->record.stream[1].at.time = (struct log_position){.time_ns = w->clock_ns};
    print(w, 1, "but not this one\n");
    print(w, 0, "nor this one\n");
    in_loop(w, do_begin);
    expect(w);
    in_loop(w, do_restart); /* a place in the file by now */
    print(w, 0, "after\n");
    expect(w);
    in_loop(w, do_check_place);
    assert_string_equal(w->reports, "");
}

/* An older pump has delivered all of it through the API. */
static void set_position_in_time(struct world *w) {
    w->record.stream[0].at.time = (struct log_position){.time_ns = w->clock_ns - 1000, .nth = 1};
    atomic_store(&w->record.resume_ns, w->clock_ns - 1000);
}

static void test_pump_file__delivered_before_it_began__not_the_backlog(void **state) {
    struct world *w = *state;
    char old[16001];
    memset(old, 'o', 16000);
    old[16000] = '\0';
    old[15999] = '\n';
    for (uint64_t n = 0; n < 3 * BACKLOG; n += 16000) {
        write_record(w, 0, old, 16000);
        if (n % 480000 == 0)
            rotate(w, 20);
    }
    set_position_in_time(w);
    in_loop(w, do_begin);
    print(w, 0, "new\n");
    print(w, 1, "and on stderr\n");
    expect(w);
    assert_string_equal(w->reports, "");
    in_loop(w, do_status);
    assert_int_equal(status.dropped_bytes, 0);
    for (unsigned i = 0; i < 10; i++) { /* from now on it counts */
        print_much(w, 0, 300000);
        expect_lag(w, 150000);
        rotate(w, 2);
    }
    expect_report(w, "were dropped");
}

static void test_pump_file__position_in_time_rotated_away__gap(void **state) {
    struct world *w = *state;
    write_record(w, 0, "delivered\n", 10);
    set_position_in_time(w);
    write_record(w, 0, "lost\n", 5);
    rotate(w, 2);
    rotate(w, 2);
    print(w, 0, "still there\n");
    in_loop(w, do_begin);
    expect(w);
    expect_report(w, "while no log pump was running");
}

/* ---- the end ---- */

static void test_pump_file__folder_removed__drained(void **state) {
    struct world *w = *state;
    in_loop(w, do_begin);
    print(w, 0, "one\n");
    expect(w);
    print(w, 0, "two\n");
    unlinkat(w->dir_fd, LOG, 0);
    unlinkat(w->dir_fd, "fifo0", 0);
    unlinkat(w->dir_fd, "fifo1", 0);
    assert_int_equal(rmdir(w->dir), 0);
    expect_drained(w);
}

/* As with all inotify instances in use: logs come through the API then. */
static void test_pump_files__no_descriptor_left__no_reader(void **state) {
    struct world *w = *state;
    struct pump_out *const out[2] = {&w->out[0], &w->out[1]};
    struct pump_files files;
    struct pump_file *file;
    struct rlimit before, few = {.rlim_cur = 3};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int r = pump_files_init(&files, w->loop, BACKLOG);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    assert_int_equal(pump_file_new(&files, w->dir_fd, LOG, out, &ops, w, &file), -EMFILE);
    pump_files_done(&files);
    in_loop(w, do_begin);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(test_pump_file__both_streams__delivered_and_drained),
        CASE(test_pump_file__long_line_in_pieces__every_byte),
        CASE(test_pump_file__largest_message__delivered),
        CASE(test_pump_file__rotation__each_line_once),
        CASE(test_pump_file__no_descriptor_left_at_rotation__read_later),
        CASE(test_pump_file__stalled_reader__files_are_held),
        CASE(test_pump_file__beyond_backlog__oldest_dropped_and_reported),
        CASE(test_pump_file__half_a_record__skipped_and_reported_once),
        CASE(test_pump_file__megabytes_of_nul__skipped),
        CASE(test_pump_file__half_a_record_at_the_end__drained),
        CASE(test_pump_file__truncated_in_place__goes_on_from_its_start),
        CASE(test_pump_file__truncated_under_dockerd__hole_skipped),
        CASE(test_pump_file__killed_anywhere__each_byte_once),
        CASE(test_pump_file__rotated_away_without_reader__gap_and_no_repetition),
        CASE(test_pump_file__file_removed__read_on_then_reported),
        CASE(test_pump_file__cannot_be_examined__gap_with_the_reason),
        CASE(test_pump_file__silent_stream_then_rotated_away__no_gap),
        CASE(test_pump_file__truncated_without_reader__gap_and_no_repetition),
        CASE(test_pump_file__position_in_time__found_in_the_file),
        CASE(test_pump_file__delivered_before_it_began__not_the_backlog),
        CASE(test_pump_file__position_in_time_rotated_away__gap),
        CASE(test_pump_file__folder_removed__drained),
        CASE(test_pump_files__no_descriptor_left__no_reader),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
