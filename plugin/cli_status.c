/* What the running drivers do with their tasks' cores, at a glance. */
#include "plugin/cli.h"
#include "plugin/cli_ask.h"

#include "paddock/clock.h"
#include "paddock/cpuset.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BAR_MAX 64u

struct status_args {
    const char *socket;
    bool json, watch, help;
};

static int usage(FILE *to, int status) {
    fputs("usage: paddock status [--json] [--watch] [--socket PATH]\n"
          "One line a task; --json: a list with a document for each running driver. In the bar of "
          "the machine's CPUs:\n"
          "    #  the task's core    !  it is there, but should not be    o  it should be there, "
          "but is not\n"
          "    .  not its core       (a letter stands for several CPUs on a machine of more than "
          "64)\n",
          to);
    return status;
}

/* ---- the bar ---- */

static void parse_set(const json_t *task, const char *key, struct cpuset *ret) {
    const char *text = cli_text(task, key);
    if (cpuset_parse(text, strlen(text), ret) < 0)
        *ret = (struct cpuset){{0}};
}

/* The worst of the CPUs @first to @end - 1. */
static char bar_cell(const struct cpuset *wanted, const struct cpuset *actual, unsigned first,
                     unsigned end) {
    bool has = false, lacks = false;
    for (unsigned cpu = first; cpu < end; cpu++) {
        bool w = cpuset_has(wanted, cpu), a = cpuset_has(actual, cpu);
        if (a && !w)
            return '!';
        has = has || a;
        lacks = lacks || (w && !a);
    }
    return lacks ? 'o' : has ? '#' : '.';
}

static void draw_bar(const json_t *task, unsigned cpus, char *out) {
    struct cpuset wanted, actual;
    parse_set(task, "wanted", &wanted);
    parse_set(task, "actual", &actual);
    if (cpuset_is_empty(&wanted))
        wanted = actual; /* nothing is wanted: nothing is wrong */
    unsigned per = (cpus + BAR_MAX - 1) / BAR_MAX, n = 0;
    for (unsigned cpu = 0; per && cpu < cpus; cpu += per)
        out[n++] = bar_cell(&wanted, &actual, cpu, cpu + per);
    out[n] = '\0';
}

/* ---- the table ---- */

static void age_text(const json_t *fix, char *out, size_t size) {
    if (!fix) {
        out[0] = '\0';
        return;
    }
    int64_t then = json_integer_value(json_object_get(fix, "time_ns"));
    int64_t s = (clock_wall_ns() - then) / 1000000000;
    if (s < 120)
        snprintf(out, size, ", %" PRId64 " s ago", s);
    else if (s < 7200)
        snprintf(out, size, ", %" PRId64 " min ago", s / 60);
    else
        snprintf(out, size, ", %" PRId64 " h ago", s / 3600);
}

static void print_task(const json_t *task, unsigned cpus) {
    const json_t *history = json_object_get(task, "history");
    const json_t *last = json_array_get(history, json_array_size(history) - 1);
    char bar[BAR_MAX + 1], age[32], state[64];
    const char *why = cli_text(task, "why");
    draw_bar(task, cpus, bar);
    age_text(last, age, sizeof(age));
    snprintf(state, sizeof(state), "%s%s%s", cli_text(task, "state"), why[0] ? ": " : "", why);
    printf("%-8.8s  %-16.16s  %-12.12s  %-6s  %-10s  %-10s  %s  %-22s  %5" JSON_INTEGER_FORMAT
           "  %s%s\n",
           cli_text(task, "alloc_id"), cli_text(task, "task"), cli_text(task, "container_id"),
           cli_text(task, "kind"), cli_text(task, "wanted"), cli_text(task, "actual"), bar, state,
           json_integer_value(json_object_get(task, "corrections")),
           last ? cli_text(last, "cause") : "-", age);
}

static void print_driver(const json_t *doc) {
    const json_t *driver = json_object_get(doc, "driver"), *pin = json_object_get(doc, "pin");
    const json_t *host = json_object_get(pin, "host"), *tasks = json_object_get(pin, "tasks"),
                 *task;
    unsigned cpus = (unsigned)json_integer_value(json_object_get(host, "cpus"));
    unsigned per = (cpus + BAR_MAX - 1) / BAR_MAX;
    int width = per ? (int)((cpus + per - 1) / per) : 4;
    size_t i;
    printf("%s %s, pid %" JSON_INTEGER_FORMAT ", %zu task%s\n", cli_text(driver, "name"),
           cli_text(driver, "version"), json_integer_value(json_object_get(driver, "pid")),
           json_array_size(tasks), json_array_size(tasks) == 1 ? "" : "s");
    if (!pin || json_is_null(pin)) {
        printf("no Nomad client has put it to work yet\n");
        return;
    }
    if (cli_text(host, "disabled")[0])
        printf("cpusets are not kept: %s\n", cli_text(host, "disabled"));
    if (json_array_size(tasks))
        printf("%-8s  %-16s  %-12s  %-6s  %-10s  %-10s  %-*s  %-22s  %5s  %s\n", "ALLOC", "TASK",
               "CONTAINER", "KIND", "WANTED", "ACTUAL", width, "CPUS", "STATE", "FIXES", "LAST");
    json_array_foreach(tasks, i, task) print_task(task, cpus);
}

/* ---- the command ---- */

static int show(const struct status_args *a) {
    json_t *all = cli_ask(CLI_RUN_DIR, a->socket, "status"), *doc;
    size_t i;
    if (a->watch && !a->json)
        fputs("\033[H\033[2J", stdout);
    if (!json_array_size(all)) {
        json_decref(all);
        fputs("paddock: no running driver answers\n", stderr);
        return 1;
    }
    if (a->json) {
        json_dumpf(all, stdout, a->watch ? JSON_COMPACT : JSON_INDENT(2));
        putchar('\n');
    } else {
        json_array_foreach(all, i, doc) print_driver(doc);
    }
    fflush(stdout);
    json_decref(all);
    return 0;
}

static int parse_args(int argc, char **argv, struct status_args *ret) {
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"watch", no_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 's')
            ret->socket = optarg;
        else if (c == 'j')
            ret->json = true;
        else if (c == 'w')
            ret->watch = true;
        else if (c == 'h')
            ret->help = true;
        else
            return -EINVAL;
    }
    return optind == argc ? 0 : -EINVAL;
}

int cli_status(int argc, char **argv) {
    struct status_args a = {.socket = NULL};
    if (parse_args(argc, argv, &a) < 0)
        return usage(stderr, 2);
    if (a.help)
        return usage(stdout, 0);
    int status = show(&a);
    while (a.watch) {
        struct timespec second = {.tv_sec = 1};
        nanosleep(&second, NULL);
        status = show(&a);
    }
    return status;
}
