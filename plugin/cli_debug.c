/* SPDX-License-Identifier: MPL-2.0 */
/* The command `paddock debug`: collects the data for a bug report into one file.
 *
 * cli.c calls it. The file contains no secrets: only a list of known fields is written, never a
 * job's configuration, environment, labels or registry settings. It does contain the names of tasks
 * and images and the ids of allocations, and the command says so. */
#include "plugin/cli.h"
#include "plugin/cli_ask.h"
#include "plugin/cli_out.h"
#include "plugin/run_dir.h"

#include "paddock/clock.h"
#include "paddock/docker.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define ASK_US 5000000u
#define FILE_MAX 65536

/* Fields of Docker's /info: all but registries, proxies (their URLs can contain
 * passwords) and labels. */
static const char *const info_fields[] = {"ServerVersion",
                                          "Driver",
                                          "CgroupDriver",
                                          "CgroupVersion",
                                          "DefaultRuntime",
                                          "LoggingDriver",
                                          "KernelVersion",
                                          "OperatingSystem",
                                          "OSType",
                                          "Architecture",
                                          "NCPU",
                                          "MemTotal",
                                          "LiveRestoreEnabled",
                                          "Containers",
                                          "ContainersRunning",
                                          "SecurityOptions",
                                          "Warnings",
                                          "DockerRootDir"};

/* Files of the machine. None of them contains text of a job. */
static const char *const files[] = {"/etc/os-release",
                                    "/proc/version",
                                    "/proc/self/cgroup",
                                    "/proc/self/limits",
                                    "/sys/fs/cgroup/cgroup.controllers",
                                    "/sys/fs/cgroup/cgroup.subtree_control",
                                    "/sys/fs/cgroup/cpuset.cpus.effective",
                                    "/sys/fs/cgroup/nomad.slice/cgroup.subtree_control",
                                    "/sys/fs/cgroup/nomad.slice/cpuset.cpus.effective",
                                    "/sys/fs/cgroup/nomad.slice/share.slice/cpuset.cpus",
                                    "/sys/fs/cgroup/nomad.slice/reserve.slice/cpuset.cpus",
                                    "/sys/devices/system/cpu/online",
                                    "/sys/devices/system/cpu/isolated",
                                    "/proc/sys/fs/inotify/max_user_instances",
                                    "/proc/sys/fs/inotify/max_user_watches",
                                    "/proc/pressure/cpu"};

static int print_usage(FILE *to, int status) {
    fputs(
        "usage: paddock debug [--output FILE] [--socket PATH]\n"
        "Writes a text file for a bug report: versions, `check`, `status`, `metrics`, Docker's "
        "version and settings, and the machine's cgroups and CPUs. It holds the names of tasks and "
        "images and ids of allocations; it holds no environment, no configuration of jobs, no "
        "labels and no credentials.\n"
        "--output: the file to make; it must not exist. Default: paddock-debug-TIME.txt.\n",
        to);
    return status;
}

static void put_json(FILE *out, const char *title, json_t *doc) {
    fprintf(out, "\n==== %s\n", title);
    if (doc)
        json_dumpf(doc, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    fputs(doc ? "\n" : "no answer\n", out);
    json_decref(doc);
}

static void put_file(FILE *out, const char *path) {
    AUTO_FREE char *text = malloc(FILE_MAX);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 && text ? read(fd, text, FILE_MAX) : -1;
    fprintf(out, "\n==== %s\n", path);
    if (n < 0)
        fprintf(out, "%s\n", strerror(errno));
    else
        fwrite(text, 1, (size_t)n, out);
}

static json_t *docker_facts(void) {
    static struct err err;
    struct docker_options o = {.timeout_us = ASK_US};
    struct call call = call_within(NULL, ASK_US);
    struct docker *d = NULL;
    json_t *info = NULL, *facts = NULL;
    int r = docker_new(&o, &d, &err);
    if (r == 0)
        r = docker_system_info(d, &call, &info, &err);
    if (r < 0)
        facts = json_pack("{s:s}", "error", err.text);
    else
        facts = json_object();
    for (size_t i = 0; r == 0 && facts && i < ARRAY_LEN(info_fields); i++)
        json_object_set(facts, info_fields[i], json_object_get(info, info_fields[i]));
    json_decref(info);
    docker_free(d);
    return facts;
}

static void put_metrics(FILE *out, const char *dir, const char *socket) {
    json_t *all = cli_ask(dir, socket, "metrics", ASK_US);
    const json_t *one;
    size_t i;
    fputs("\n==== metrics\n", out);
    json_array_foreach(all, i, one) {
        fputs(cli_ask_text(one, "metrics"), out);
    }
    json_decref(all);
}

static void put_all(FILE *out, const char *socket) {
    char dir[RUN_DIR_MAX];
    struct utsname u;
    run_dir_for_commands(dir);
    fprintf(out, "paddock %s, written %lld\n", PADDOCK_VERSION, (long long)time(NULL));
    if (uname(&u) == 0)
        fprintf(out, "%s %s %s %s\n", u.sysname, u.release, u.version, u.machine);
    put_json(out, "check", cli_check_document());
    put_json(out, "status", cli_ask(dir, socket, "status", ASK_US));
    put_metrics(out, dir, socket);
    put_json(out, "docker", docker_facts());
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        put_file(out, files[i]);
}

static int write_to(const char *path, const char *socket) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!out) {
        fprintf(stderr, "paddock: %s: %s\n", path, strerror(errno));
        fd_close(fd);
        return 1;
    }
    put_all(out, socket);
    bool bad = ferror(out);
    if (fclose(out) != 0 || bad) {
        fprintf(stderr, "paddock: %s: %s\n", path, strerror(errno));
        return 1;
    }
    cli_out_printf("wrote %s. It holds names of tasks and images and ids of allocations; read it "
                   "before you send it.\n",
                   path);
    return cli_out_end(0);
}

int cli_debug(int argc, char **argv) {
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"socket", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *socket = NULL, *output = NULL;
    char name[64];
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'o')
            output = optarg;
        else if (c == 's')
            socket = optarg;
        else
            return c == 'h' ? print_usage(stdout, 0) : print_usage(stderr, 2);
    }
    if (optind != argc)
        return print_usage(stderr, 2);
    time_t now = time(NULL);
    struct tm tm;
    if (!output && gmtime_r(&now, &tm) &&
        strftime(name, sizeof(name), "paddock-debug-%Y%m%d-%H%M%S.txt", &tm) > 0)
        output = name;
    return write_to(output, socket);
}
