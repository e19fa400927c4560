/* Is this machine fit? One line each: ok, warning or failure, and what to do. Needs no running
 * driver. Exit status: 0 fit, 1 a failure, 3 warnings alone. */
#include "plugin/cli.h"

#include "paddock/cleanup.h"
#include "paddock/cpuset.h"
#include "paddock/docker.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
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
    const char *cgroup_root, *proc_root, *endpoint;
    unsigned warnings, failures;
};

enum verdict { OK, WARNING, FAILURE };

static void say(struct check *c, enum verdict v, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void say(struct check *c, enum verdict v, const char *fmt, ...) {
    static const char *const words[] = {"ok      ", "warning ", "FAILURE "};
    va_list args;
    c->warnings += v == WARNING;
    c->failures += v == FAILURE;
    fputs(words[v], stdout);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

/* Returns the length; 0 when it cannot be read. */
static size_t slurp(const char *root, const char *name, char *out, size_t size) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : 0;
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return strlen(out);
}

/* ---- cgroups ---- */

static bool has_word(const char *text, const char *word) {
    size_t len = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += len)
        if ((at == text || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static bool check_cgroup(struct check *c) {
    struct statfs fs;
    char text[512];
    if (statfs(c->cgroup_root, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC) {
        say(c, FAILURE,
            "cgroup v2: %s is none. Boot with systemd.unified_cgroup_hierarchy=1; until then "
            "cpusets are set at start and not kept",
            c->cgroup_root);
        return false;
    }
    say(c, OK, "cgroup v2: %s", c->cgroup_root);
    slurp(c->cgroup_root, "cgroup.controllers", text, sizeof(text));
    if (!has_word(text, "cpuset")) {
        say(c, FAILURE,
            "cpuset controller: the kernel has none here (cgroup.controllers: %s). A cpuset "
            "hierarchy of cgroup v1 may hold it: unmount that",
            text);
        return false;
    }
    say(c, OK, "cpuset controller");
    return true;
}

static void check_nomad_cores(struct check *c) {
    char pool[4096], cores[4096], online[4096];
    struct cpuset up, nomad = {{0}}, reserved = {{0}};
    slurp(c->cgroup_root, "cpuset.cpus.effective", online, sizeof(online));
    if (cpuset_parse(online, strlen(online), &up) < 0)
        return;
    slurp(c->cgroup_root, "nomad.slice/share.slice/cpuset.cpus", pool, sizeof(pool));
    slurp(c->cgroup_root, "nomad.slice/reserve.slice/cpuset.cpus", cores, sizeof(cores));
    int r = cpuset_parse(pool, strlen(pool), &nomad);
    if (cpuset_parse(cores, strlen(cores), &reserved) == 0)
        cpuset_union(&nomad, &reserved);
    if (cpuset_is_empty(&nomad))
        say(c, WARNING,
            "Nomad's cores: %s/nomad.slice/share.slice says none (online: %s). A client >= 1.7 "
            "that runs as root writes it; an older one or client.cgroup_parent keeps it elsewhere",
            c->cgroup_root, online);
    else if (!cpuset_contains(&up, &nomad))
        say(c, FAILURE,
            "Nomad's cores: shared pool %s, reserved %s, but online are %s. Bring them up, or "
            "restart the client so that it counts again",
            pool, cores, online);
    else if (r < 0)
        say(c, WARNING,
            "Nomad's cores: all are reserved (%s), the shared pool is empty: shared tasks are "
            "held where they are. Leave a core to the pool",
            cores);
    else
        say(c, OK, "Nomad's cores: shared pool %s, reserved %s, online %s", pool,
            cores[0] ? cores : "none", online);
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
        r = docker_info_get(d, &call, &info, &err);
    if (r < 0) {
        say(c, FAILURE, "dockerd: %s. Start it, or name it by DOCKER_HOST or --docker", err.text);
    } else {
        const char *driver = json_string_value(json_object_get(info, "CgroupDriver"));
        const char *version = json_string_value(json_object_get(info, "ServerVersion"));
        const char *v = json_string_value(json_object_get(info, "CgroupVersion"));
        say(c, OK, "dockerd: %s, cgroup driver %s, cgroup v%s", version ? version : "?",
            driver ? driver : "?", v ? v : "1");
        if (driver && strcmp(driver, "cgroupfs") == 0)
            say(c, OK, "units: none with the cgroupfs driver, the cgroup files are all there is");
    }
    json_decref(info);
    docker_free(d);
}

/* ---- the rest ---- */

static void check_bus(struct check *c) {
    sd_bus *bus = NULL;
    const char *name = NULL;
    int r = sd_bus_open_system(&bus);
    if (r >= 0)
        r = sd_bus_get_unique_name(bus, &name); /* waits for the bus to say hello */
    if (r < 0)
        say(c, WARNING,
            "system bus: %s. Without it a daemon-reload can put an old set back until the next "
            "event: start dbus, or set cpuset { systemd = false } if there is no systemd",
            strerror(-r));
    else
        say(c, OK, "system bus");
    sd_bus_close_unref(bus);
}

static void check_inotify(struct check *c) {
    char instances[32], watches[32];
    slurp(c->proc_root, "sys/fs/inotify/max_user_instances", instances, sizeof(instances));
    slurp(c->proc_root, "sys/fs/inotify/max_user_watches", watches, sizeof(watches));
    AUTO_FD int fd = inotify_init1(IN_CLOEXEC);
    if (fd < 0)
        say(c, WARNING,
            "inotify: %s (max_user_instances %s): changes are seen at the tick only. Raise "
            "fs.inotify.max_user_instances",
            strerror(errno), instances);
    else if (strtoul(watches, NULL, 10) < 4096)
        say(c, WARNING,
            "inotify: %s watches are enough for %lu tasks. Raise fs.inotify.max_user_watches",
            watches, strtoul(watches, NULL, 10) / 2);
    else
        say(c, OK, "inotify: %s instances, %s watches", instances, watches);
}

static void check_other_agents(struct check *c) {
    static const char *const names[] = {"kubelet", "tuned", "numad", "cpuset-manager"};
    DIR *d = opendir(c->proc_root);
    struct dirent *e;
    unsigned found = 0;
    while (d && (e = readdir(d))) {
        char name[300], comm[64];
        snprintf(name, sizeof(name), "%s/comm", e->d_name);
        if (e->d_name[0] < '0' || e->d_name[0] > '9' ||
            slurp(c->proc_root, name, comm, sizeof(comm)) == 0)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strcmp(comm, names[i]) == 0) {
                say(c, WARNING, "other agents: %s (pid %s) sets CPUs too. Let one of the two do it",
                    comm, e->d_name);
                found++;
            }
    }
    if (d)
        closedir(d);
    if (!found)
        say(c, OK, "other agents: none that is known to set cpusets");
}

static void check_root(struct check *c) {
    if (geteuid() == 0)
        say(c, OK, "user: root");
    else
        say(c, FAILURE,
            "user: not root, cpusets cannot be written. Run the Nomad client (and this) as root");
}

static int usage(FILE *to, int status) {
    fputs("usage: paddock check [--docker ENDPOINT] [--cgroup-root DIR]\n"
          "Exit status: 0 all is well, 1 a failure, 3 nothing but warnings.\n",
          to);
    return status;
}

int cli_check(int argc, char **argv) {
    static const struct option options[] = {{"docker", required_argument, NULL, 'd'},
                                            {"cgroup-root", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct check k = {.cgroup_root = "/sys/fs/cgroup", .proc_root = "/proc"};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd')
            k.endpoint = optarg;
        else if (c == 'c')
            k.cgroup_root = optarg;
        else
            return c == 'h' ? usage(stdout, 0) : usage(stderr, 2);
    }
    if (optind != argc)
        return usage(stderr, 2);
    check_root(&k);
    if (check_cgroup(&k))
        check_nomad_cores(&k);
    check_docker(&k);
    check_bus(&k);
    check_inotify(&k);
    check_other_agents(&k);
    printf("%u failure%s, %u warning%s\n", k.failures, k.failures == 1 ? "" : "s", k.warnings,
           k.warnings == 1 ? "" : "s");
    return k.failures ? 1 : k.warnings ? 3 : 0;
}
