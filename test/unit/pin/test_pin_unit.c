/* SPDX-License-Identifier: MPL-2.0 */
/* The property of the systemd unit, on a private bus with a systemd that only records its requests.
 * Also the name of a writer, found through fanotify. */
#include "paddock/clock.h"
#include "unit/cm.h"
#include "unit/pin/tree.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#define HOUR (3600 * US_PER_SEC)

extern char **environ;

/* ---- Private bus ---- */

static struct tree tree;
static struct pin *pin;
static pid_t daemon_pid;
static char address[256];
static sd_bus *manager;
static pthread_t manager_thread;
static atomic_bool manager_stop, manager_refuses, manager_waits; /* its answers */
static bool manager_runs;
static sd_bus_message *unanswered[16]; /* used by the manager's thread */
static size_t unanswered_n;

static pthread_mutex_t asked_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked_more = PTHREAD_COND_INITIALIZER;
static unsigned asked_n;
static char asked_unit[256], asked_names[128];
static uint8_t asked_cpus[64];
static size_t asked_len;
static uint64_t asked_of_all; /* the first byte of each call; the last call is the lowest byte */

static int note_properties(sd_bus_message *m) {
    int r = sd_bus_message_enter_container(m, 'a', "(sv)");
    asked_names[0] = '\0';
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'r', "sv")) > 0) {
        const char *name;
        const void *bytes;
        size_t len;
        if (sd_bus_message_read(m, "s", &name) < 0 ||
            sd_bus_message_enter_container(m, 'v', "ay") < 0 ||
            sd_bus_message_read_array(m, 'y', &bytes, &len) < 0 || len > sizeof(asked_cpus))
            return -EINVAL;
        if (strcmp(name, "AllowedCPUs") == 0) {
            memcpy(asked_cpus, bytes, len);
            asked_len = len;
        }
        strncat(asked_names, name, sizeof(asked_names) - strlen(asked_names) - 1);
        sd_bus_message_exit_container(m);
        sd_bus_message_exit_container(m);
    }
    return r;
}

static int on_set(sd_bus_message *m, void *ctx, sd_bus_error *error) {
    const char *unit;
    int runtime;
    (void)ctx;
    if (atomic_load(&manager_refuses))
        return sd_bus_error_set(error, "org.freedesktop.systemd1.NoSuchUnit", "no such unit");
    pthread_mutex_lock(&asked_lock);
    int r = sd_bus_message_read(m, "sb", &unit, &runtime);
    if (r >= 0 && runtime)
        snprintf(asked_unit, sizeof(asked_unit), "%s", unit);
    if (r >= 0)
        r = note_properties(m);
    asked_n++;
    asked_of_all = asked_of_all << 8 | asked_cpus[0];
    pthread_cond_broadcast(&asked_more);
    pthread_mutex_unlock(&asked_lock);
    if (atomic_load(&manager_waits) && unanswered_n < ARRAY_LEN(unanswered)) {
        unanswered[unanswered_n++] = sd_bus_message_ref(m);
        return 1;
    }
    return r < 0 ? r : sd_bus_reply_method_return(m, NULL);
}

static void answer(void) {
    while (unanswered_n > 0) {
        sd_bus_message *m = unanswered[--unanswered_n];
        sd_bus_reply_method_return(m, NULL);
        sd_bus_message_unref(m);
    }
}

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("SetUnitProperties", "sba(sv)", "", on_set, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END};

static void *serve(void *arg) {
    (void)arg;
    while (!atomic_load(&manager_stop)) {
        if (sd_bus_process(manager, NULL) < 0)
            break;
        if (!atomic_load(&manager_waits))
            answer();
        sd_bus_wait(manager, 20000);
    }
    answer();
    return NULL;
}

static void start_daemon(void) {
    char config[200], path[200], arg[256], text[600];
    snprintf(path, sizeof(path), "%s/bus", tree.dir);
    snprintf(address, sizeof(address), "unix:path=%s", path);
    snprintf(config, sizeof(config), "%s/bus.conf", tree.dir);
    snprintf(text, sizeof(text),
             "<busconfig><type>custom</type><listen>%s</listen><auth>EXTERNAL</auth>"
             "<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>"
             "<allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
             address);
    tree_put(&tree, "../bus.conf", text);
    snprintf(arg, sizeof(arg), "--config-file=%s", config);
    char *argv[] = {(char *)"dbus-daemon",       arg, (char *)"--nofork", (char *)"--nopidfile",
                    (char *)"--print-address=1", NULL};
    int out[2];
    char line[256];
    posix_spawn_file_actions_t a;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, out[1], 1);
    assert_int_equal(posix_spawnp(&daemon_pid, "dbus-daemon", &a, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&a);
    close(out[1]);
    assert_true(read(out[0], line, sizeof(line)) > 0); /* the daemon listens */
    close(out[0]);
}

static void stop_daemon(void) {
    if (daemon_pid > 0) {
        kill(daemon_pid, SIGKILL);
        waitpid(daemon_pid, NULL, 0);
        daemon_pid = 0;
        unlink(address + strlen("unix:path="));
    }
}

static void start_manager(void) {
    assert_true(sd_bus_new(&manager) >= 0 && sd_bus_set_address(manager, address) >= 0 &&
                sd_bus_set_bus_client(manager, 1) >= 0 && sd_bus_start(manager) >= 0);
    assert_true(sd_bus_add_object_vtable(manager, NULL, "/org/freedesktop/systemd1",
                                         "org.freedesktop.systemd1.Manager", vtable, NULL) >= 0);
    assert_true(sd_bus_request_name(manager, "org.freedesktop.systemd1", 0) >= 0);
    atomic_store(&manager_stop, false);
    assert_int_equal(pthread_create(&manager_thread, NULL, serve, NULL), 0);
    manager_runs = true;
}

static void stop_manager(void) {
    atomic_store(&manager_stop, true);
    if (manager_runs)
        pthread_join(manager_thread, NULL);
    manager_runs = false;
    manager = sd_bus_close_unref(manager);
}

static int setup(void **state) {
    (void)state;
    tree_init(&tree);
    tree_share(&tree, "1-3", "\n");
    snprintf(address, sizeof(address), "unix:path=%s/bus", tree.dir);
    pin = NULL;
    asked_n = 0;
    atomic_store(&manager_refuses, false);
    atomic_store(&manager_waits, false);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    pin_free(pin);
    stop_manager();
    stop_daemon();
    tree_done(&tree);
    return 0;
}

/* ---- Helpers ---- */

static void start(void) {
    struct pin_options o = tree_options(&tree);
    o.systemd = true;
    o.bus = address;
    assert_int_equal(pin_new(&o, &pin), 0);
}

static bool asked(const struct tree_task *x, uint8_t mask) {
    char unit[128];
    snprintf(unit, sizeof(unit), "docker-%s.scope", x->id);
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    pthread_mutex_lock(&asked_lock);
    bool it = false;
    for (int r = 0; !it && r == 0;) {
        it =
            asked_n > 0 && strcmp(asked_unit, unit) == 0 && asked_len == 1 && asked_cpus[0] == mask;
        if (!it)
            r = pthread_cond_timedwait(&asked_more, &asked_lock, &end);
    }
    pthread_mutex_unlock(&asked_lock);
    return it;
}

static bool wait_task(const char *key, const char *want) {
    return tree_wait_task(pin, 0, key, want);
}

/* ---- Tests ---- */

static void test_unit__each_new_set_reaches_systemd(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    start_daemon();
    start_manager();
    start();
    assert_true(asked(x, 0x0e));
    assert_true(wait_task("unit", "synced"));
    assert_true(wait_task("state", "pinned"));
    tree_share(&tree, "2-3", "1");
    assert_true(asked(x, 0x0c));
    pthread_mutex_lock(&asked_lock);
    assert_string_equal(asked_names, "AllowedCPUs");
    asked_n = 0;
    pthread_mutex_unlock(&asked_lock);
    /* `docker update` has changed the unit, too, so the unit is set again. */
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(asked(x, 0x0c));
}

/* A set that waits in systemd's queue is stale when systemd applies it. */
static void test_unit__slow_manager__one_call_on_the_way_and_then_the_newest_sets(void **state) {
    (void)state;
    struct tree_task *shared[2] = {tree_add(&tree, "", "0-3"), tree_add(&tree, "", "0-3")};
    struct tree_task *cores = tree_add(&tree, "1", "0-3");
    atomic_store(&manager_waits, true);
    start_daemon();
    start_manager();
    start();
    assert_true(asked(shared[0], 0x0c));
    tree_share(&tree, "3", "1");
    for (size_t i = 0; i < 2; i++)
        assert_true(tree_wait(&tree, tree_cpus(shared[i]), "3")); /* not delayed by the call */
    assert_true(tree_wait(&tree, tree_cpus(cores), "1"));
    /* A set is sent after 150 ms. After five ticks of 50 ms each due set would have been sent. */
    assert_true(tree_wait_counter(pin, "ticks", tree_counter(pin, "ticks") + 5));
    assert_int_equal(tree_counter(pin, "unit_calls"), 1);
    atomic_store(&manager_waits, false);
    assert_true(tree_wait_counter(pin, "unit_calls", 4));
    assert_true(wait_task("unit", "synced"));
    assert_true(tree_wait_counter(pin, "ticks", tree_counter(pin, "ticks") + 2));
    assert_int_equal(tree_counter(pin, "unit_calls"), 4);
    pthread_mutex_lock(&asked_lock);
    uint64_t all = asked_of_all & 0xffffffff;
    pthread_mutex_unlock(&asked_lock);
    assert_int_equal(all, 0x0c080208); /* a task without a unit's set is first */
}

/* A set changed while a call was in flight. At the answer this set is too new to be sent. */
static void test_unit__answer_before_the_next_set_is_due__sent_without_a_tick(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    atomic_store(&manager_waits, true);
    start_daemon();
    start_manager();
    struct pin_options o = tree_options(&tree);
    o.systemd = true;
    o.bus = address;
    o.interval_us = 3600 * US_PER_SEC;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(asked(x, 0x0e));
    tree_share(&tree, "2-3", "1");
    assert_true(tree_wait(&tree, tree_cpus(x), "2-3"));
    /* The answer comes within 20 ms. The set is due after 150 ms. */
    atomic_store(&manager_waits, false);
    assert_true(asked(x, 0x0c));
}

static json_int_t overwrites(void) {
    json_auto_t *doc = pin_show_status(pin);
    const json_t *by_cause = json_object_get(json_object_get(doc, "counters"), "corrections");
    return json_integer_value(json_object_get(by_cause, "overwritten"));
}

/* systemd applies a set some milliseconds after its answer. Another set may be wanted by then. */
static void test_unit__own_earlier_set__repaired_and_not_counted(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    start_daemon();
    start_manager();
    start();
    assert_true(asked(x, 0x0e));
    tree_share(&tree, "2-3", "1");
    assert_true(tree_wait(&tree, tree_cpus(x), "2-3"));
    for (int i = 0; i < 12; i++) { /* ten overwrites would make it contested */
        tree_put(&tree, tree_cpus(x), "1-3");
        assert_true(tree_wait(&tree, tree_cpus(x), "2-3"));
        if (i < 3) /* the unit is sent the same set again */
            assert_true(tree_wait_counter(pin, "unit_calls", 2 + i));
    }
    assert_int_equal(overwrites(), 0);
    assert_true(wait_task("state", "pinned"));
    tree_put(&tree, tree_cpus(x), "0-3"); /* another program's write */
    assert_true(tree_wait(&tree, tree_cpus(x), "2-3"));
    for (uint64_t end = clock_now_us() + 10 * US_PER_SEC; overwrites() == 0;)
        assert_true(clock_now_us() < end);
    assert_int_equal(overwrites(), 1);
}

/* systemd is sent the nodes after the migration of the memory, so that it need not wait for it. */
static void test_unit__memory_nodes__of_cores_tasks(void **state) {
    char mems[600], nodes[96], now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "1", "1");
    snprintf(mems, sizeof(mems), "%s/cpuset.mems", x->cgroup);
    tree_put(&tree, mems, "0\n");
    tree_put(&tree, "../nodes/has_memory", "0-1\n");
    tree_put(&tree, "../nodes/node0/cpulist", "0\n");
    tree_put(&tree, "../nodes/node1/cpulist", "1-3\n");
    snprintf(nodes, sizeof(nodes), "%s/nodes", tree.dir);
    start_daemon();
    start_manager();
    struct pin_options o = tree_options(&tree);
    o.systemd = true;
    o.bus = address;
    o.mems_follow = true;
    o.node_root = nodes;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(wait_task("unit", "synced"));
    assert_string_equal(tree_get(&tree, mems, now, sizeof(now)), "1");
    pthread_mutex_lock(&asked_lock);
    bool both = strcmp(asked_names, "AllowedCPUsAllowedMemoryNodes") == 0;
    pthread_mutex_unlock(&asked_lock);
    assert_true(both);
    assert_int_equal(tree_counter(pin, "unit_calls"), 1);
}

static void test_unit__no_bus__pinned_all_the_same(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    start();
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3"));
    assert_true(wait_task("state", "unit-unsynced"));
    start_daemon(); /* found at the next attempt */
    start_manager();
    assert_true(asked(x, 0x0e));
    assert_true(wait_task("state", "pinned"));
}

static void test_unit__refused__unsynced(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    atomic_store(&manager_refuses, true);
    start_daemon();
    start_manager();
    start();
    assert_true(wait_task("state", "unit-unsynced"));
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3"));
}

static void test_unit__bus_restarts__set_anew(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    start_daemon();
    start_manager();
    start();
    assert_true(asked(x, 0x0e));
    stop_manager();
    stop_daemon();
    tree_share(&tree, "2-3", "1");
    assert_true(tree_wait(&tree, tree_cpus(x), "2-3")); /* the pending call delays no other task */
    start_daemon();
    start_manager();
    assert_true(asked(x, 0x0c));
}

struct writer_wait {
    pid_t pid;
    char command[64]; /* command of the last named writer */
};

static bool has_writer(const json_t *status, void *ctx) {
    struct writer_wait *w = ctx;
    const json_t *task = json_array_get(json_object_get(status, "tasks"), 0);
    const json_t *writer = json_object_get(task, "writer");
    const char *command = json_string_value(json_object_get(writer, "command"));
    snprintf(w->command, sizeof(w->command), "%s", command ? command : "");
    return json_integer_value(json_object_get(writer, "pid")) == w->pid;
}

static void test_writer__named(void **state) {
    (void)state;
    AUTO_FD int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY);
    if (fd < 0)
        fail_msg("fanotify is refused here (%s), it needs CAP_SYS_ADMIN: a writer cannot be named",
                 strerror(errno));
    struct tree_task *x = tree_add(&tree, "", "1-3");
    char script[700];
    struct pin_options o = tree_options(&tree);
    o.interval_us = HOUR;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(wait_task("state", "pinned"));
    tree_put(&tree, tree_cpus(x), "0-3"); /* the first overwrite starts fanotify */
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3"));
    /* A folder takes the place of /proc. A writer is named by its pid, and by its command when the
     * folder has it. */
    snprintf(
        script, sizeof(script),
        "mkdir -p %s/$$; printf 'old\\303set\\n' > %s/$$/comm; cd %s/%s/..; while :; do "
        "printf '0-3' 1<>cpuset.cpus; until read x < cpuset.cpus; [ \"$x\" = 1-3 ]; do :; done; "
        "done",
        tree.proc, tree.proc, tree.root, tree_cpus(x));
    char *argv[] = {(char *)"sh", (char *)"-c", script, NULL};
    pid_t pid;
    assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
    struct writer_wait w = {.pid = pid};
    bool found = tree_wait_status(pin, has_writer, &w);
    char message[128];
    snprintf(message, sizeof(message),
             "cpuset contested: set again and again by old?set, pid %d; corrected to 1-3",
             (int)pid);
    bool reported = tree_wait_event(&tree, message);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(found && reported);
    assert_string_equal(w.command, "old?set"); /* the name ends in half a character */
}

/* Our own process is not named, so the second overwrite has no known writer. */
static void test_writer__of_an_earlier_set__not_named(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    char script[700];
    struct pin_options o = tree_options(&tree);
    o.interval_us = HOUR;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(wait_task("state", "pinned"));
    tree_put(&tree, tree_cpus(x), "0-3"); /* from here on writers are named */
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3"));
    snprintf(script, sizeof(script), "printf '0-3' 1<>%s/%s; sleep 10", tree.root, tree_cpus(x));
    char *argv[] = {(char *)"sh", (char *)"-c", script, NULL};
    pid_t pid;
    assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
    struct writer_wait w = {.pid = pid};
    bool found = tree_wait_status(pin, has_writer, &w);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(found);
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3"));
    tree_put(&tree, tree_cpus(x), "0-3");
    w.pid = 0;
    assert_true(tree_wait_status(pin, has_writer, &w));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_unit__each_new_set_reaches_systemd),
        TEST(test_unit__slow_manager__one_call_on_the_way_and_then_the_newest_sets),
        TEST(test_unit__answer_before_the_next_set_is_due__sent_without_a_tick),
        TEST(test_unit__own_earlier_set__repaired_and_not_counted),
        TEST(test_unit__memory_nodes__of_cores_tasks),
        TEST(test_unit__no_bus__pinned_all_the_same),
        TEST(test_unit__refused__unsynced),
        TEST(test_unit__bus_restarts__set_anew),
        TEST(test_writer__named),
        TEST(test_writer__of_an_earlier_set__not_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
