/* SPDX-License-Identifier: MPL-2.0 */
/* The plugin process: its signals, its start, its orderly end.
 *
 * main.c calls serve_main() when an agent has started the program. It makes the driver and the gRPC
 * server, prints go-plugin's handshake line, and runs the server on the main thread until Shutdown
 * or SIGTERM. Containers and the log pump keep running afterwards. The host kills the process 2 s
 * after Shutdown, so a timer ends the process when an orderly end takes too long. */
#include "plugin/serve.h"
#include "plugin/checker.h"
#include "plugin/control.h"
#include "plugin/driver_table.h"
#include "plugin/handshake.h"
#include "plugin/machine.h"
#include "plugin/rpc.h"
#include "plugin/run_dir.h"
#include "plugin/svc_base.h"
#include "plugin/svc_go_plugin.h"

#include "paddock/code_pages.h"
#include "paddock/driver.h"
#include "paddock/log.h"
#include "paddock/metrics.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#define METRICS_MAX (16u << 20)
/* From the end of the calls to the end of the process. The host kills a process that still lives
 * 2 s after Shutdown. */
#define LEAVE_LIMIT_US 300000

struct serve {
    char name[HANDSHAKE_NAME_MAX];
    char run_dir[RUN_DIR_MAX]; /* "" = no folder is usable */
    struct driver *driver;
    struct control *control; /* made when the driver is activated */
    struct checker *checker; /* these two: control's thread only; NULL = out of memory */
    struct machine *machine;
    struct handshake_socket socket;
    struct svc_base base;
    struct rpc_service services[4]; /* ends with an empty one */
    struct rpc_server *server;
    pthread_t signals;
};

/* ---- settings of the process ---- */

static void serve_leave(int sig) {
    (void)sig;
    _exit(0);
}

/* Before the first thread. Ctrl-C and SIGHUP of a terminal reach this process and the agent. After
 * Ctrl-C the agent ends us in its own way; SIGHUP makes the agent read its configuration again.
 * SIGPIPE arrives when the agent has died and the log has no reader: tasks go on, and so does the
 * plugin. A thread handles SIGTERM. */
static void serve_init_process(sigset_t *ret_term) {
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, serve_leave);
    sigemptyset(ret_term);
    sigaddset(ret_term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, ret_term, NULL);
    umask(077);
    if (log_never_wait() < 0)
        log_debug("plugin", NULL, "the log waits for its reader");
    /* A task needs up to a dozen fds (cpuset, stats, FIFOs), so the soft limit of
     * 1,024 is reached soon. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* when refused, nothing changes */
    }
    /* Up to 128 workers come and go. An arena for each would keep their garbage for ever. */
    mallopt(M_ARENA_MAX, 2);
    /* A large buffer (an event of a megabyte) is mapped, and given back when it is freed. Without a
     * fixed limit the first one of them would raise it. */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

struct signal_thread {
    sigset_t term;
    struct rpc_server *server;
};

static void *serve_signals(void *arg) {
    struct signal_thread *s = arg;
    int sig;
    sigwait(&s->term, &sig);
    rpc_server_stop(s->server);
    return NULL;
}

/* ---- start ---- */

/* The file that this process runs, also after an upgrade has replaced it by another version. The
 * log pump and the check must be of the plugin's own version. */
#define OWN_PROGRAM "/proc/self/exe"

static json_t *serve_status(void *ctx) {
    struct serve *s = ctx;
    json_t *doc = driver_status(s->driver);
    if (doc && s->machine)
        json_object_set_new(doc, "machine", machine_status(s->machine));
    return doc;
}

static char *serve_metrics(void *ctx) {
    struct serve *s = ctx;
    AUTO_FREE char *text = driver_metrics(s->driver);
    AUTO_BUF struct buf out;
    buf_init(&out, METRICS_MAX);
    int r = metrics_family(&out, "paddock_build_info", "gauge", "1, with the version as a label.");
    if (r == 0)
        r = metrics_sample(&out, "paddock_build_info", "version=\"" PADDOCK_VERSION "\"", 1);
    if (r == 0)
        r = metrics_process(&out);
    return text && r == 0 && buf_puts(&out, text) == 0 ? buf_take(&out) : NULL;
}

static json_t *serve_check(void *ctx) {
    struct serve *s = ctx;
    return s->checker ? checker_last(s->checker) : NULL;
}

/* Without its control socket the driver does all of its work, so a warning is enough. */
static void serve_activated(void *ctx, struct loop *loop, const char *metrics_listen) {
    struct serve *s = ctx;
    struct control_options o = {.dir = s->run_dir,
                                .name = s->name,
                                .listen = metrics_listen,
                                .status = serve_status,
                                .metrics = serve_metrics,
                                .check = serve_check,
                                .ctx = s};
    s->machine = machine_new("/sys");
    if (checker_new(loop, OWN_PROGRAM, &s->checker) < 0)
        s->checker = NULL;
    int r = s->run_dir[0] ? control_new(loop, &o, &s->control) : -EACCES;
    if (r < 0)
        log_warn("control", LOG_KV("errno", strerror(-r), "listen", metrics_listen),
                 "`paddock status` and the metrics cannot be served, ignoring");
    code_pages_release();
}

/* Exits. The agent starts another process, which recovers the tasks; containers
 * and log pump go on. */
static void serve_broken(void *ctx, const char *why) {
    struct serve *s = ctx;
    log_error("plugin", LOG_KV("errno", why),
              "cpusets are not kept any more, the plugin exits to be started again");
    control_unlink(s->control);
    _exit(1);
}

static int serve_make_driver(struct serve *s, const char *argv0, struct err *err) {
    const char *cert = getenv("PLUGIN_CLIENT_CERT");
    if (cert && cert[0])
        return err_set(err, ERR_PLAIN, EPROTO,
                       "PLUGIN_CLIENT_CERT is set, but this plugin does not speak TLS "
                       "(no Nomad client asks for it)");
    if (handshake_driver_name(argv0, s->name, sizeof(s->name)) < 0)
        return err_set(
            err, ERR_PLAIN, EINVAL,
            "\"%s\" cannot be the name of a driver: at most %d letters, digits, '.', '_' "
            "and '-'",
            argv0, HANDSHAKE_NAME_MAX - 1);
    /* The plugin starts even without a folder, because an agent does not start
     * without its plugins. */
    struct err unfit = {.set = false};
    if (run_dir_choose(RUN_DIR_SYSTEM, getenv("XDG_RUNTIME_DIR"), s->run_dir, &unfit) < 0)
        log_error("plugin", NULL, "%s", unfit.text);
    struct driver_options o = {
        .name = s->name,
        .program = OWN_PROGRAM,
        .cgroup_root = "/sys/fs/cgroup",
        .run_dir = s->run_dir,
        .unfit = unfit.set ? unfit.text : NULL,
        .activated = serve_activated,
        .broken = serve_broken,
        .ctx = s,
    };
    return driver_new(&o, &s->driver, err);
}

static int serve_listen(struct serve *s, struct err *err) {
    s->base = (struct svc_base){.driver = s->driver, .name = s->name};
    s->services[0].methods = svc_go_plugin_table(&s->services[0].n_methods);
    s->services[1].methods = svc_base_table(&s->services[1].n_methods);
    s->services[1].app = &s->base;
    s->services[2].methods = driver_table(&s->services[2].n_methods);
    s->services[2].app = s->driver;
    int r =
        handshake_socket_make(getenv("PLUGIN_UNIX_SOCKET_DIR"), getenv("TMPDIR"), &s->socket, err);
    if (r < 0)
        return r;
    r = rpc_server_new(s->socket.path, s->services, &s->server, err);
    if (r < 0)
        return r;
    r = handshake_write(STDOUT_FILENO, s->socket.path);
    if (r == 0)
        r = handshake_leave_stdio();
    return r < 0 ? err_set(err, ERR_PLAIN, -r, "handshake: %s", strerror(-r)) : 0;
}

/* ---- the end ---- */

static void serve_done(struct serve *s, bool calls_ended) {
    struct itimerval limit = {.it_value = {.tv_usec = LEAVE_LIMIT_US}};
    handshake_socket_remove(&s->socket);
    control_unlink(s->control);
    if (!calls_ended)
        _exit(0); /* other threads still use what would be freed */
    setitimer(ITIMER_REAL, &limit, NULL);
    rpc_server_free(s->server);
    driver_free(s->driver);
    machine_free(s->machine);
}

int serve_main(int argc, char **argv) {
    struct serve s = {.driver = NULL};
    struct err err = {.set = false};
    struct signal_thread st;
    (void)argc;
    serve_init_process(&st.term);
    int r = serve_make_driver(&s, argv[0], &err);
    if (r == 0)
        r = serve_listen(&s, &err);
    st.server = s.server;
    if (r == 0 && pthread_create(&s.signals, NULL, serve_signals, &st) != 0)
        r = err_set(&err, ERR_PLAIN, EAGAIN, "no thread for signals");
    if (r < 0) {
        log_error("plugin", NULL, "%s", err.text);
        serve_done(&s, true);
        return 1;
    }
    r = rpc_server_run(s.server);
    pthread_kill(s.signals, SIGTERM);
    pthread_join(s.signals, NULL);
    serve_done(&s, r == 0);
    return 0;
}
