/* SPDX-License-Identifier: MPL-2.0 */
/* The program as a person runs it: what it prints, and its exit status. A double of the plugin
 * serves the control socket. It answers with the test's text or not at all. */
#include "unit/cm.h"

#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "plugin/cli_ask.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define WAIT_US (20 * US_PER_SEC)

extern char **environ;

static const char status_doc[] =
    "{\"driver\": {\"name\": \"docker\", \"version\": \"1.2\", \"pid\": 7},"
    " \"pin\": {\"host\": {\"cpus\": 4, \"disabled\": \"\"}, \"counters\": {},"
    " \"tasks\": [{\"alloc_id\": \"0123456789abcdef\", \"task\": \"web\", \"kind\": \"shared\","
    " \"wanted\": \"2-3\", \"actual\": \"0-3\", \"state\": \"pinned\", \"corrections\": 5,"
    " \"history\": []}]}}";

/* ---- The double of the plugin ---- */

static char dir[64], path[128];
static int listener;
static pthread_t peer_thread;
static atomic_bool peer_stop;
static _Atomic(const char *) peer_text; /* NULL = no answer */
static atomic_size_t peer_cut;          /* how many bytes it sends before it ends */
static atomic_bool peer_dribbles;       /* sends one byte at a time, without an end */
static pthread_mutex_t peer_lock = PTHREAD_MUTEX_INITIALIZER;
static char peer_asked[64]; /* under the lock */

static void play(int fd) {
    struct pollfd client = {.fd = fd, .events = POLLIN};
    const char *text = atomic_load(&peer_text);
    char asked[sizeof(peer_asked)] = "";
    if (recv(fd, asked, sizeof(asked) - 1, 0) < 0)
        return;
    pthread_mutex_lock(&peer_lock);
    memcpy(peer_asked, asked, sizeof(asked));
    pthread_mutex_unlock(&peer_lock);
    if (text && !atomic_load(&peer_dribbles)) {
        size_t len = strlen(text), cut = atomic_load(&peer_cut);
        (void)!send(fd, text, cut && cut < len ? cut : len, MSG_NOSIGNAL);
        return;
    }
    client.events = 0; /* its end alone */
    while (!atomic_load(&peer_stop) && poll(&client, 1, 20) == 0)
        if (atomic_load(&peer_dribbles) && send(fd, " ", 1, MSG_NOSIGNAL) != 1)
            return;
}

static void *peer(void *arg) {
    struct pollfd p = {.fd = listener, .events = POLLIN};
    (void)arg;
    while (!atomic_load(&peer_stop)) {
        if (poll(&p, 1, 20) <= 0)
            continue;
        AUTO_FD int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            play(fd);
    }
    return NULL;
}

static void assert_asked(const char *want) {
    pthread_mutex_lock(&peer_lock);
    assert_string_equal(peer_asked, want);
    pthread_mutex_unlock(&peer_lock);
}

static bool peer_was_asked(void) {
    pthread_mutex_lock(&peer_lock);
    bool asked = peer_asked[0];
    pthread_mutex_unlock(&peer_lock);
    return asked;
}

static void peer_says(const char *text) {
    atomic_store(&peer_cut, 0);
    atomic_store(&peer_dribbles, false);
    atomic_store(&peer_text, text);
}

static int setup(void **state) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/paddock-cli-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/control-docker.sock", dir);
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listener, 8), 0);
    peer_says(status_doc);
    peer_asked[0] = '\0';
    atomic_store(&peer_stop, false);
    return pthread_create(&peer_thread, NULL, peer, NULL);
}

static int teardown(void **state) {
    (void)state;
    atomic_store(&peer_stop, true);
    pthread_join(peer_thread, NULL);
    close(listener);
    return tmp_dir_remove(dir);
}

/* ---- The program ---- */

struct ran {
    pid_t pid;
    int out_fd, err_fd, status;
    char out[65536], err[8192];
};

/* stdout is the pair @out: the first is the test's end, the second the program's. */
static void start_on(struct ran *r, int out[2], const char *const *args) {
    const char *argv[12] = {"paddock"};
    int err[2], n = 1;
    for (; args && *args; args++)
        argv[n++] = *args;
    *r = (struct ran){.status = -1};
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    posix_spawn_file_actions_t a;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, out[1], 1);
    posix_spawn_file_actions_adddup2(&a, err[1], 2);
    assert_int_equal(posix_spawn(&r->pid, PADDOCK_PROGRAM, &a, NULL, (char *const *)argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&a);
    close(out[1]);
    close(err[1]);
    r->out_fd = out[0];
    r->err_fd = err[0];
}

static void start(struct ran *r, const char *const *args) {
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    start_on(r, out, args);
}

static void start_on_terminal(struct ran *r, const char *const *args) {
    int out[2] = {posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), -1};
    assert_true(out[0] >= 0 && grantpt(out[0]) == 0 && unlockpt(out[0]) == 0);
    out[1] = open(ptsname(out[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(out[1] >= 0);
    start_on(r, out, args);
}

/* Reads what comes within 100 ms. A terminal ends with EIO. */
static void read_some(struct ran *r) {
    struct pollfd p[2] = {{.fd = r->out_fd, .events = POLLIN}, {.fd = r->err_fd, .events = POLLIN}};
    poll(p, 2, 100);
    for (int i = 0; i < 2; i++) {
        char *to = i ? r->err : r->out;
        size_t have = strlen(to), size = i ? sizeof(r->err) : sizeof(r->out);
        ssize_t n = p[i].revents ? read(p[i].fd, to + have, size - 1 - have) : -1;
        bool ended = n == 0 || (n < 0 && p[i].revents && errno == EIO);
        if (ended && i)
            r->err_fd = fd_close(r->err_fd);
        else if (ended)
            r->out_fd = fd_close(r->out_fd);
    }
}

/* Reads until both outputs have ended, or one of them contains @text. */
static void read_on(struct ran *r, const char *text) {
    uint64_t end = clock_now_us() + WAIT_US;
    while (!(text && (strstr(r->out, text) || strstr(r->err, text))) &&
           (r->out_fd >= 0 || r->err_fd >= 0)) {
        if (clock_now_us() > end)
            fail_msg("not in time: \"%s\", \"%s\"", r->out, r->err);
        read_some(r);
    }
}

static void finish(struct ran *r) {
    int status;
    fd_close(r->out_fd);
    fd_close(r->err_fd);
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    r->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define RUN(r, ...) run(r, (const char *const[]){__VA_ARGS__, NULL})
static void run(struct ran *r, const char *const *args) {
    start(r, args);
    read_on(r, NULL);
    finish(r);
}

static void assert_says(const char *text, const char *part) {
    if (!strstr(text, part))
        fail_msg("no \"%s\" in: %s", part, text);
}

/* ---- status and metrics ---- */

static void test_status__table_and_json(void **state) {
    struct ran r;
    (void)state;
    RUN(&r, "status", "--socket", path);
    assert_int_equal(r.status, 0);
    assert_string_equal(r.err, "");
    assert_asked("status\n");
    assert_says(r.out, "docker 1.2, pid 7, 1 task\n");
    assert_says(r.out, "01234567  web");
    assert_says(r.out, "!!##"); /* of four CPUs */
    RUN(&r, "status", "--json", "--socket", path);
    assert_int_equal(r.status, 0);
    json_auto_t *all = json_loads(r.out, 0, NULL), *want = json_loads(status_doc, 0, NULL);
    assert_int_equal(json_array_size(all), 1);
    assert_true(json_equal(json_array_get(all, 0), want));
}

static void test_status_watch__continues_without_the_plugin(void **state) {
    struct ran r;
    (void)state;
    start(&r, (const char *const[]){"status", "--watch", "--socket", path, NULL});
    read_on(&r, "web");
    peer_says("nonsense");
    read_on(&r, "no running driver answers");
    peer_says("{\"driver\": {\"name\": \"again\"}, \"pin\": {\"tasks\": []}}");
    read_on(&r, "again");
    kill(r.pid, SIGTERM);
    read_on(&r, NULL);
    finish(&r);
    assert_int_equal(r.status, -SIGTERM);
    assert_null(strchr(r.out, '\033')); /* stdout is not a terminal */
}

static void test_status_watch__terminal__drawn_in_place(void **state) {
    struct ran r;
    (void)state;
    start_on_terminal(&r, (const char *const[]){"status", "--watch", "--socket", path, NULL});
    read_on(&r, "\033[K\r\n\033[J\033[H"); /* the second text; each line is cleared to its end */
    assert_says(r.out, "\033[2J\033[Hdocker 1.2, pid 7, 1 task\033[K\r\n");
    kill(r.pid, SIGTERM);
    read_on(&r, NULL);
    finish(&r);
}

static void test_status_task__all_about_it(void **state) {
    struct ran r;
    (void)state;
    RUN(&r, "status", "--socket", path, "0123");
    assert_int_equal(r.status, 0);
    assert_says(r.out, "task         web\nalloc        0123456789abcdef\n");
    assert_says(r.out, "corrections  5\n");
    RUN(&r, "status", "--json", "--socket", path, "web");
    json_auto_t *all = json_loads(r.out, 0, NULL);
    assert_int_equal(json_array_size(all), 1);
    RUN(&r, "status", "--socket", path, "other");
    assert_int_equal(r.status, 1);
    assert_says(r.err, "no running task is named \"other\"");
}

/* Names of tasks come from job files, so that a user chooses them. */
static const char evil_doc[] =
    "{\"driver\": {\"name\": \"docker\", \"version\": \"1.2\", \"pid\": 7},"
    " \"machine\": {\"online\": \"0-3\"},"
    " \"pin\": {\"host\": {\"cpus\": 4, \"disabled\": \"\\u001b[5m\"},"
    " \"tasks\": [{\"task_id\": \"x\", \"alloc_id\": \"01\\u001b[1m\", \"task\": "
    "\"w\\u001b]0;t\\u0007\\u009b2Jb\", \"kind\": \"cores\", \"wanted\": \"2-3\","
    " \"actual\": \"0-3\", \"state\": \"held\\u007f\", \"why\": \"\\u0085\", \"corrections\": 1,"
    " \"history\": [{\"time_ns\": 5, \"cause\": \"a\\u001bb\", \"old\": \"1\", \"new\": "
    "\"2\"}]}]}}";

static void assert_no_control(const char *text) {
    for (const char *at = text; *at; at++)
        if (((unsigned char)*at < ' ' && *at != '\n') || *at == 0x7f ||
            (at[0] == '\xc2' && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xa0))
            fail_msg("a control character at byte %zu of %s", (size_t)(at - text), text);
}

static void test_hostile_names__no_control_characters(void **state) {
    static const char *const lines[][3] = {
        {"status", NULL}, {"status", "01", NULL}, {"status", "--json", NULL}};
    struct ran r;
    (void)state;
    peer_says(evil_doc);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        run(&r, (const char *const[]){lines[i][0], "--socket", path, lines[i][1], NULL});
        assert_int_equal(r.status, 0);
        assert_says(r.out, "cores");
        assert_no_control(r.out);
    }
}

static void test_events__what_is_new(void **state) {
    struct ran r;
    (void)state;
    start(&r, (const char *const[]){"events", "--socket", path, NULL});
    while (!peer_was_asked())
        read_some(&r);
    peer_says(evil_doc); /* web has ended, another task has come */
    read_on(&r, "new -> held?: ?");
    assert_says(r.out, "1970-01-01T00:00:00.000Z 01?[1m w?]0;t??2Jb: a?b, 1 -> 2\n");
    assert_null(strstr(r.out, "web"));
    peer_says("nonsense"); /* the plugin is restarted */
    read_on(&r, "not an answer");
    assert_no_control(r.out);
    kill(r.pid, SIGTERM);
    read_on(&r, NULL);
    finish(&r);
}

static void test_output__full_disk__status_1(void **state) {
    static const char *const commands[] = {"status", "metrics", "check", "help"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct ran r;
        int out[2] = {open("/dev/null", O_RDONLY | O_CLOEXEC),
                      open("/dev/full", O_WRONLY | O_CLOEXEC)};
        peer_says(i == 1 ? "{\"metrics\": \"a 1\\n\"}" : status_doc);
        start_on(&r, out,
                 (const char *const[]){commands[i], i < 2 ? "--socket" : NULL, path, NULL});
        read_on(&r, NULL);
        finish(&r);
        assert_int_equal(r.status, 1);
        assert_says(r.err, "could not be written: No space left on device");
    }
}

static void test_debug__a_file_without_secrets(void **state) {
    struct ran r;
    char name[160], again[160];
    struct stat st;
    (void)state;
    snprintf(name, sizeof(name), "%s/report", dir);
    setenv("DOCKER_HOST", "unix:///nonexistent", 1);
    setenv("VAULT_TOKEN", "s.secret", 1);
    RUN(&r, "debug", "--output", name, "--socket", path);
    unsetenv("VAULT_TOKEN");
    unsetenv("DOCKER_HOST");
    assert_int_equal(r.status, 0);
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    FILE *f = fopen(name, "re");
    static char text[1u << 20];
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    assert_says(text, "==== check\n");
    assert_says(text, "\"task\": \"web\"");
    assert_null(strstr(text, "s.secret"));
    snprintf(again, sizeof(again), "%s: File exists", name);
    RUN(&r, "debug", "--output", name, "--socket", path);
    assert_int_equal(r.status, 1);
    assert_says(r.err, again);
}

static void test_status_watch_json__one_document_a_line(void **state) {
    struct ran r;
    (void)state;
    start(&r, (const char *const[]){"status", "--watch", "--json", "--socket", path, NULL});
    read_on(&r, "]\n[{\"driver\"");
    kill(r.pid, SIGTERM);
    read_on(&r, NULL);
    finish(&r);
    *strchr(r.out, '\n') = '\0';
    json_auto_t *first = json_loads(r.out, 0, NULL);
    assert_int_equal(json_array_size(first), 1);
}

static void test_metrics__printed_as_they_come(void **state) {
    struct ran r;
    (void)state;
    peer_says("{\"metrics\": \"# TYPE a counter\\na{b=\\\"\\\\\\\"\\\"} 1\\n\"}");
    RUN(&r, "metrics", "--socket", path);
    assert_int_equal(r.status, 0);
    assert_asked("metrics\n");
    assert_string_equal(r.out, "# TYPE a counter\na{b=\"\\\"\"} 1\n");
}

static void test_answers_that_are_none__said_and_status_1(void **state) {
    static const struct {
        const char *command, *text, *says;
        size_t cut;
    } rows[] = {
        {"status", "HTTP/1.1 400 Bad Request", "not an answer", 0},
        {"status", status_doc, "not an answer", sizeof(status_doc) / 2},
        {"status", "", "not an answer", 0},
        {"status", "[1]", "not an answer", 0},
        {"status", "{\"error\": \"busy\"}", ": busy", 0},
        {"metrics", "{", "not an answer", 0},
        {"metrics", "{\"metrics\": 5}", "has no metrics in it", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ran r;
        peer_says(rows[i].text);
        atomic_store(&peer_cut, rows[i].cut);
        RUN(&r, rows[i].command, "--socket", path);
        assert_int_equal(r.status, 1);
        assert_string_equal(r.out, "");
        assert_says(r.err, rows[i].says);
    }
}

static void test_no_plugin__reported_and_status_1(void **state) {
    static const char *const commands[] = {"status", "metrics"};
    char none[160], dead[160];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)state;
    snprintf(none, sizeof(none), "%s/none.sock", dir);
    snprintf(dead, sizeof(dead), "%s/dead.sock", dir);
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", dead);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct ran r;
        RUN(&r, commands[i], "--socket", none);
        assert_int_equal(r.status, 1);
        assert_says(r.err, "none.sock: No such file or directory\n");
        assert_says(r.err, "no running driver answers\n");
        RUN(&r, commands[i], "--socket", dead);
        assert_int_equal(r.status, 1);
        assert_string_equal(r.err, "paddock: no running driver answers\n");
    }
}

static void test_usage__statuses(void **state) {
    static const char *const commands[] = {"metrics", "check", "events", "debug", "status"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct ran r;
        RUN(&r, "help", commands[i]);
        assert_int_equal(r.status, 0);
        assert_says(r.out, "usage: paddock ");
        RUN(&r, commands[i], "--help");
        assert_int_equal(r.status, 0);
        assert_says(r.out, "usage: paddock ");
        RUN(&r, commands[i], "--no-such-flag");
        assert_int_equal(r.status, 2);
        assert_string_equal(r.out, "");
        assert_says(r.err, "usage: paddock ");
        if (strcmp(commands[i], "status") == 0)
            RUN(&r, commands[i], "word", "another");
        else
            RUN(&r, commands[i], "word");
        assert_int_equal(r.status, 2);
    }
}

/* ---- Requests ---- */

/* Calls cli_ask(). Returns how many plugins answered; @err gets its stderr. */
static size_t ask(const char *in, const char *socket, uint64_t timeout_us, char *err, size_t size) {
    char name[160];
    snprintf(name, sizeof(name), "%s/stderr", dir);
    AUTO_FD int to = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO_FD int keep = fcntl(2, F_DUPFD_CLOEXEC, 3);
    assert_true(to >= 0 && keep >= 0 && dup2(to, 2) == 2);
    json_auto_t *all = cli_ask(in, socket, "status", timeout_us);
    dup2(keep, 2);
    ssize_t n = pread(to, err, size - 1, 0);
    err[n > 0 ? n : 0] = '\0';
    return json_array_size(all);
}

static void test_ask__silent_or_slow__given_up_in_time(void **state) {
    char err[512];
    (void)state;
    for (int dribbles = 0; dribbles < 2; dribbles++) {
        peer_says(NULL);
        atomic_store(&peer_dribbles, dribbles);
        uint64_t start_us = clock_now_us();
        assert_int_equal(ask(dir, NULL, 300 * US_PER_MS, err, sizeof(err)), 0);
        assert_true(clock_now_us() - start_us >= 300 * US_PER_MS);
        assert_true(clock_now_us() - start_us < 10 * US_PER_SEC);
        assert_says(err, "control-docker.sock: Connection timed out");
    }
}

static void set_user(uid_t uid) {
    /* For this thread only, unlike setresuid() of libc. */
    assert_int_equal(syscall(SYS_setresuid, -1, uid, -1), 0);
}

static void test_ask__of_another_user__permission_denied(void **state) {
    char err[2][512];
    size_t n[2];
    (void)state;
    if (geteuid() != 0)
        fail_msg("needs root: it becomes another user");
    assert_int_equal(chmod(path, 0600), 0);
    for (int closed = 0; closed < 2; closed++) {
        char name[160];
        snprintf(name, sizeof(name), "%s/stderr", dir);
        AUTO_FD int to = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        assert_int_equal(fchmod(to, 0666), 0);
        assert_int_equal(chmod(dir, closed ? 0700 : 0755), 0);
        AUTO_FD int keep = fcntl(2, F_DUPFD_CLOEXEC, 3);
        assert_true(ftruncate(to, 0) == 0 && dup2(to, 2) == 2);
        set_user(65534);
        json_auto_t *all = cli_ask(dir, NULL, "status", US_PER_SEC);
        set_user(0);
        dup2(keep, 2);
        ssize_t len = pread(to, err[closed], sizeof(err[closed]) - 1, 0);
        err[closed][len > 0 ? len : 0] = '\0';
        n[closed] = json_array_size(all);
    }
    assert_int_equal(n[0] + n[1], 0);
    assert_says(err[0], "control-docker.sock: Permission denied");
    assert_says(err[1], ": Permission denied"); /* the folder has the rights of /run/paddock */
}

/* ---- check ---- */

static void check(struct ran *r, const char *docker) {
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    RUN(r, "check", "--docker", docker, "--cgroup-root", dir);
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

static unsigned lines_with(const char *text, const char *start_of_line) {
    unsigned n = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += strncmp(line, start_of_line, strlen(start_of_line)) == 0;
    }
    return n;
}

static void test_check__nothing_runs__every_line_has_a_hint(void **state) {
    struct ran r;
    char last[64];
    (void)state;
    check(&r, "unix:///nonexistent/docker.sock");
    assert_int_equal(r.status, 1);
    assert_says(r.out, "ok      user: root\n");
    assert_says(r.out, "FAILURE cgroup v2: ");
    assert_says(r.out, "is none. Boot with systemd.unified_cgroup_hierarchy=1");
    assert_says(r.out, "FAILURE dockerd: ");
    assert_says(r.out, "/nonexistent/docker.sock");
    assert_says(r.out, ". Start it, or name it by DOCKER_HOST or --docker\n");
    assert_says(r.out, "warning system bus: No such file or directory. ");
    assert_says(r.out, " inotify: ");
    assert_says(r.out, " other agents: ");
    snprintf(last, sizeof(last), "2 failures, %u warning%s\n", lines_with(r.out, "warning "),
             lines_with(r.out, "warning ") == 1 ? "" : "s");
    assert_says(r.out, last);
    assert_int_equal(lines_with(r.out, "FAILURE "), 2);
}

/* A driver that runs without its port is a warning that names the port. */
static void test_check__port_of_a_running_driver_is_taken__warning(void **state) {
    struct ran r;
    (void)state;
    peer_says("{\"driver\": {\"name\": \"docker\", \"version\": \"1.2\", \"pid\": 7},"
              " \"pin\": {\"tasks\": []}, \"metrics\": {\"listen\": \"127.0.0.1:9103\","
              " \"error\": \"Address already in use\"}}");
    RUN(&r, "check", "--docker", "unix:///nonexistent/docker.sock", "--socket", path);
    assert_says(r.out, "warning running driver: docker (pid 7) cannot serve metrics on "
                       "127.0.0.1:9103: Address already in use. Free that port or ");
    RUN(&r, "status", "--socket", path);
    assert_says(r.out, "metrics are not served on 127.0.0.1:9103: Address already in use\n");
    peer_says(status_doc);
    RUN(&r, "check", "--docker", "unix:///nonexistent/docker.sock", "--socket", path);
    assert_says(r.out, "ok      running driver: docker 1.2 (pid 7)\n");
}

static void test_check__dockerd_answers_and_another_agent_runs(void **state) {
    struct fake fake;
    struct ran r;
    char tuned[160], want[96];
    pid_t pid;
    (void)state;
    snprintf(tuned, sizeof(tuned), "%s/tuned", dir);
    assert_int_equal(symlink("/bin/sleep", tuned), 0);
    char *argv[] = {tuned, (char *)"60", NULL};
    assert_int_equal(posix_spawn(&pid, tuned, NULL, NULL, argv, environ), 0);
    fake_start(&fake, NULL);
    check(&r, fake.endpoint);
    fake_done(&fake);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_says(r.out, "ok      dockerd: 27.0.0-fake, cgroup driver systemd, cgroup v2\n");
    snprintf(want, sizeof(want), "warning other agents: tuned (pid %d) sets CPUs too. ", (int)pid);
    assert_says(r.out, want);
    assert_int_equal(lines_with(r.out, "FAILURE "), 1); /* the cgroup root */
    assert_int_equal(r.status, 1);
}

static void test_check__docker_too_new__failure_with_the_versions(void **state) {
    struct fake fake;
    struct ran r;
    (void)state;
    fake_start(&fake, NULL);
    fake_rules(&fake, "GET /_ping status=200 header=Api-Version:1.120 type=text/plain body=OK\n"
                      "GET /info status=400 body={\"message\":\"client version 1.56 is too old. "
                      "Minimum supported API version is 1.99, please upgrade your client\"}\n");
    check(&r, fake.endpoint);
    fake_done(&fake);
    assert_says(r.out, "FAILURE dockerd: paddock speaks Docker's API up to version 1.");
    assert_says(r.out, "Minimum supported API version is 1.99");
    assert_null(strstr(r.out, "Start it")); /* it runs */
    assert_int_equal(r.status, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    signal(SIGPIPE, SIG_IGN);
    unsetenv("COLUMNS");
    const struct CMUnitTest tests[] = {
        TEST(test_status__table_and_json),
        TEST(test_status_watch__continues_without_the_plugin),
        TEST(test_status_watch__terminal__drawn_in_place),
        TEST(test_status_task__all_about_it),
        TEST(test_hostile_names__no_control_characters),
        TEST(test_events__what_is_new),
        TEST(test_output__full_disk__status_1),
        TEST(test_debug__a_file_without_secrets),
        TEST(test_status_watch_json__one_document_a_line),
        TEST(test_metrics__printed_as_they_come),
        TEST(test_answers_that_are_none__said_and_status_1),
        TEST(test_no_plugin__reported_and_status_1),
        TEST(test_usage__statuses),
        TEST(test_ask__silent_or_slow__given_up_in_time),
        TEST(test_ask__of_another_user__permission_denied),
        TEST(test_check__nothing_runs__every_line_has_a_hint),
        TEST(test_check__port_of_a_running_driver_is_taken__warning),
        TEST(test_check__dockerd_answers_and_another_agent_runs),
        TEST(test_check__docker_too_new__failure_with_the_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
