/* SPDX-License-Identifier: MPL-2.0 */
/* The command `paddock check`: is this machine fit for the driver? Prints one line per check: ok,
 * warning or failure, and what to do.
 *
 * cli.c calls it, and checker.c runs it in a child for the page. It needs no running driver, but
 * asks those that run. This file reads the values; check_rules.c judges them. */
#include "plugin/check_rules.h"
#include "plugin/cli.h"
#include "plugin/cli_ask.h"
#include "plugin/cli_out.h"
#include "plugin/run_dir.h"

#include "paddock/cleanup.h"
#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/logpump.h"
#include "paddock/parse.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <systemd/sd-bus.h>

#define CHECK_WAIT_US 5000000u

struct check {
    const char *cgroup_root, *proc_root, *sys_root, *endpoint, *socket;
    unsigned warnings, failures;
    json_t *results; /* [{"verdict", "name", "text"}] */
};

static void add_result(struct check *c, enum check_verdict v, const char *name, const char *fmt,
                       ...) PRINTF_LIKE(4, 5);
static void add_result(struct check *c, enum check_verdict v, const char *name, const char *fmt,
                       ...) {
    static const char *const words[] = {"ok", "warning", "failure"};
    va_list args;
    c->warnings += v == CHECK_WARNING;
    c->failures += v == CHECK_FAILURE;
    va_start(args, fmt);
    json_t *text = json_vsprintf(fmt, args);
    va_end(args);
    json_array_append_new(c->results, json_pack("{s:s,s:s,s:o}", "verdict", words[v], "name", name,
                                                "text", text ?: json_string("")));
}

/* Reads the file @name below @root. Returns the length, or 0 when it cannot be read. */
static size_t read_file_below(const char *root, const char *name, char *out, size_t size) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : 0;
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return strlen(out);
}

/* ---- cgroups ---- */

static bool check_cgroup(struct check *c) {
    struct statfs fs;
    char text[512];
    if (statfs(c->cgroup_root, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC) {
        add_result(c, CHECK_FAILURE, "cgroup v2",
                   "%s is none. Boot with systemd.unified_cgroup_hierarchy=1; until then "
                   "cpusets are set at start and not kept",
                   c->cgroup_root);
        return false;
    }
    add_result(c, CHECK_OK, "cgroup v2", "%s", c->cgroup_root);
    read_file_below(c->cgroup_root, "cgroup.controllers", text, sizeof(text));
    if (!parse_has_word(text, "cpuset")) {
        add_result(c, CHECK_FAILURE, "cpuset controller",
                   "the kernel has none here (cgroup.controllers: %s). A cpuset "
                   "hierarchy of cgroup v1 may hold it: unmount that",
                   text);
        return false;
    }
    add_result(c, CHECK_OK, "cpuset controller", "%s", "");
    return true;
}

static void check_nomad_cores(struct check *c) {
    char pool[4096], cores[4096], online[4096], text[CHECK_TEXT_MAX];
    if (read_file_below(c->cgroup_root, "cpuset.cpus.effective", online, sizeof(online)) == 0)
        return;
    read_file_below(c->cgroup_root, "nomad.slice/share.slice/cpuset.cpus", pool, sizeof(pool));
    read_file_below(c->cgroup_root, "nomad.slice/reserve.slice/cpuset.cpus", cores, sizeof(cores));
    if (!pool[0] && !cores[0])
        check_rules_scopes(c->cgroup_root, pool, sizeof(pool));
    enum check_verdict v = check_rules_cores(pool, cores, online, text);
    add_result(c, v, "Nomad's cores", "%s", text);
    read_file_below(c->sys_root, "devices/system/cpu/isolated", online, sizeof(online));
    v = check_rules_isolated(online, pool, cores, text);
    add_result(c, v, "isolated CPUs", "%s", text);
}

/* ---- Docker ---- */

static void check_docker(struct check *c) {
    static struct err err;
    struct docker_options o = {.endpoint = c->endpoint, .timeout_us = CHECK_WAIT_US};
    struct docker *d = NULL;
    json_t *info = NULL;
    struct call call = call_within(NULL, CHECK_WAIT_US);
    int r = docker_new(&o, &d, &err);
    if (r == 0)
        r = docker_system_info(d, &call, &info, &err);
    if (r < 0) {
        bool absent = r == -ENOTCONN || r == -ETIMEDOUT;
        add_result(c, CHECK_FAILURE, "dockerd", "%s%s", err.text,
                   absent ? ". Start it, or name it by DOCKER_HOST or --docker" : "");
    } else {
        const char *driver = json_string_value(json_object_get(info, "CgroupDriver"));
        const char *version = json_string_value(json_object_get(info, "ServerVersion"));
        const char *v = json_string_value(json_object_get(info, "CgroupVersion"));
        add_result(c, CHECK_OK, "dockerd", "%s, cgroup driver %s, cgroup v%s",
                   version ? version : "?", driver ? driver : "?", v ? v : "1");
        if (driver && strcmp(driver, "cgroupfs") == 0)
            add_result(c, CHECK_OK, "units",
                       "none with the cgroupfs driver, the cgroup files are all there is");
    }
    json_decref(info);
    docker_free(d);
}

/* ---- system bus and inotify ---- */

static void check_bus(struct check *c) {
    sd_bus *bus = NULL;
    const char *name = NULL;
    int r = sd_bus_open_system(&bus);
    if (r >= 0)
        r = sd_bus_get_unique_name(bus, &name); /* waits for the bus to answer */
    if (r < 0)
        add_result(c, CHECK_WARNING, "system bus",
                   "%s. Without it a daemon-reload can put an old set back until the next "
                   "event: start dbus, or set cpuset { systemd = false } if there is no systemd",
                   strerror(-r));
    else
        add_result(c, CHECK_OK, "system bus", "%s", "");
    sd_bus_close_unref(bus);
}

static void check_inotify(struct check *c) {
    char instances[32], watches[32];
    read_file_below(c->proc_root, "sys/fs/inotify/max_user_instances", instances,
                    sizeof(instances));
    read_file_below(c->proc_root, "sys/fs/inotify/max_user_watches", watches, sizeof(watches));
    AUTO_FD int fd = inotify_init1(IN_CLOEXEC);
    char text[CHECK_TEXT_MAX];
    enum check_verdict v = check_rules_inotify(fd < 0 ? -errno : 0, instances, watches, text);
    add_result(c, v, "inotify", "%s", text);
}

/* ---- log pumps that serve a folder now ---- */

static long long of_sum(const json_t *sum, const char *key) {
    return (long long)json_integer_value(json_object_get(sum, key));
}

/* Reports how the pump reads, and warns of lost output. Each loss is also a task event. */
static void check_pump_tasks(struct check *c, const json_t *sum) {
    long long skipped = of_sum(sum, "lines_skipped"), dropped = of_sum(sum, "bytes_dropped");
    long long gaps = of_sum(sum, "gaps");
    add_result(c, CHECK_OK, "log pump",
               "version " PADDOCK_VERSION
               ", reads %lld tasks by file, %lld by API, %lld not; it is %lld "
               "bytes and %.0f s behind",
               of_sum(sum, "file"), of_sum(sum, "api"), of_sum(sum, "none"),
               of_sum(sum, "lag_bytes"), json_number_value(json_object_get(sum, "lag_seconds")));
    if (skipped || dropped || gaps)
        add_result(c, CHECK_WARNING, "log pump",
                   "output of the tasks that run was lost: %lld damaged lines, %lld bytes beyond "
                   "log_backlog, %lld gaps. Their task events say why",
                   skipped, dropped, gaps);
}

static void check_pump(struct check *c, const char *dir) {
    json_t *status = logs_status_peek(dir, CHECK_WAIT_US);
    const json_t *version = json_object_get(status, "version");
    if (!status)
        add_result(c, CHECK_WARNING, "log pump",
                   "the one of %s does not answer. Kill it, the driver starts another one and "
                   "nothing is lost",
                   dir);
    else if (!json_is_string(version) || strcmp(json_string_value(version), PADDOCK_VERSION) != 0)
        add_result(c, CHECK_WARNING, "log pump",
                   "the one of %s has version %s, this is " PADDOCK_VERSION
                   ". The driver ends it with its next task: restart the Nomad client",
                   dir, json_is_string(version) ? json_string_value(version) : "0.2 or older");
    else
        check_pump_tasks(c, json_object_get(status, "sum"));
    json_decref(status);
}

static void check_pumps(struct check *c) {
    char dir[RUN_DIR_MAX], pattern[RUN_DIR_MAX + 16];
    struct err err = {0};
    glob_t found;
    if (run_dir_choose(RUN_DIR_SYSTEM, getenv("XDG_RUNTIME_DIR"), dir, &err) < 0)
        return; /* no folder, so no pumps */
    snprintf(pattern, sizeof(pattern), "%s/*/pump.sock", dir);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            check_pump(c, dirname(found.gl_pathv[i]));
    globfree(&found);
}

static void check_other_agents(struct check *c) {
    DIR *d = opendir(c->proc_root);
    struct dirent *e;
    unsigned found = 0;
    while (d && (e = readdir(d))) {
        char name[300], comm[64];
        snprintf(name, sizeof(name), "%s/comm", e->d_name);
        if (e->d_name[0] < '0' || e->d_name[0] > '9' ||
            read_file_below(c->proc_root, name, comm, sizeof(comm)) == 0)
            continue;
        if (!check_rules_sets_cpus(comm))
            continue;
        add_result(c, CHECK_WARNING, "other agents",
                   "%s (pid %s) sets CPUs too. Let one of the two do it", comm, e->d_name);
        found++;
    }
    if (d)
        closedir(d);
    if (!found)
        add_result(c, CHECK_OK, "other agents", "none that is known to set cpusets");
}

static void check_user(struct check *c) {
    static struct err err;
    char dir[RUN_DIR_MAX];
    if (geteuid() == 0)
        add_result(c, CHECK_OK, "user", "root");
    else
        add_result(c, CHECK_WARNING, "user",
                   "not root, cpusets are set at start and not kept. Run the Nomad client (and "
                   "this) as root");
    if (run_dir_choose(RUN_DIR_SYSTEM, getenv("XDG_RUNTIME_DIR"), dir, &err) < 0)
        add_result(c, CHECK_FAILURE, "run folder", "%s", err.text);
    else
        add_result(c, CHECK_OK, "run folder", "%s", dir);
}

/* ---- running drivers ---- */

static void check_driver(struct check *c, const json_t *doc) {
    const json_t *driver = json_object_get(doc, "driver"),
                 *metrics = json_object_get(doc, "metrics");
    int pid = (int)json_integer_value(json_object_get(driver, "pid"));
    if (cli_ask_text(metrics, "error")[0])
        add_result(c, CHECK_WARNING, "running driver",
                   "%s (pid %d) cannot serve metrics on %s: %s. Free that port or set "
                   "another metrics.listen; the driver tries again every 2 s",
                   cli_ask_text(driver, "name"), pid, cli_ask_text(metrics, "listen"),
                   cli_ask_text(metrics, "error"));
    else
        add_result(c, CHECK_OK, "running driver", "%s %s (pid %d)", cli_ask_text(driver, "name"),
                   cli_ask_text(driver, "version"), pid);
}

static void check_drivers(struct check *c) {
    char dir[RUN_DIR_MAX];
    run_dir_for_commands(dir);
    json_t *all = cli_ask(dir, c->socket, "status", CHECK_WAIT_US);
    const json_t *doc;
    size_t i;
    json_array_foreach(all, i, doc) {
        check_driver(c, doc);
    }
    if (json_array_size(all) == 0)
        add_result(c, CHECK_OK, "running driver", "none answers");
    json_decref(all);
}

/* ---- the command ---- */

static int print_usage(FILE *to, int status) {
    fputs(
        "usage: paddock check [--json] [--docker ENDPOINT] [--cgroup-root DIR] [--socket PATH]\n"
        "Exit status: 0 all is well, 1 a failure or the output could not be written, 3 nothing but "
        "warnings.\n",
        to);
    return status;
}

static void check_all(struct check *c) {
    c->results = json_array();
    check_user(c);
    if (check_cgroup(c))
        check_nomad_cores(c);
    check_docker(c);
    check_bus(c);
    check_inotify(c);
    check_pumps(c);
    check_other_agents(c);
    check_drivers(c);
}

static void print_text(const struct check *c) {
    const json_t *result;
    size_t i;
    json_array_foreach(c->results, i, result) {
        const char *verdict = cli_ask_text(result, "verdict"), *text = cli_ask_text(result, "text");
        cli_out_printf("%-8s%s%s%s\n", strcmp(verdict, "failure") == 0 ? "FAILURE" : verdict,
                       cli_ask_text(result, "name"), text[0] ? ": " : "", text);
    }
    cli_out_printf("%u failure%s, %u warning%s\n", c->failures, c->failures == 1 ? "" : "s",
                   c->warnings, c->warnings == 1 ? "" : "s");
}

static json_t *json_document(const struct check *c) {
    return json_pack("{s:I,s:i,s:i,s:O}", "time_ns", (json_int_t)clock_wall_ns(), "failures",
                     (int)c->failures, "warnings", (int)c->warnings, "results", c->results);
}

static struct check with_defaults(void) {
    return (struct check){
        .cgroup_root = "/sys/fs/cgroup", .proc_root = "/proc", .sys_root = "/sys"};
}

json_t *cli_check_document(void) {
    struct check c = with_defaults();
    check_all(&c);
    json_t *doc = json_document(&c);
    json_decref(c.results);
    return doc;
}

int cli_check(int argc, char **argv) {
    static const struct option options[] = {
        {"docker", required_argument, NULL, 'd'}, {"cgroup-root", required_argument, NULL, 'c'},
        {"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {0}};
    struct check k = with_defaults();
    bool json = false;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd')
            k.endpoint = optarg;
        else if (c == 'c')
            k.cgroup_root = optarg;
        else if (c == 's')
            k.socket = optarg;
        else if (c == 'j')
            json = true;
        else
            return c == 'h' ? print_usage(stdout, 0) : print_usage(stderr, 2);
    }
    if (optind != argc)
        return print_usage(stderr, 2);
    check_all(&k);
    json_t *doc = json ? json_document(&k) : NULL;
    if (json)
        cli_out_json(doc, JSON_INDENT(2));
    else
        print_text(&k);
    json_decref(doc);
    json_decref(k.results);
    return cli_out_end(check_rules_status(k.failures, k.warnings));
}
