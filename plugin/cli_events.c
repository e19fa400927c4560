/* SPDX-License-Identifier: MPL-2.0 */
/* The command `paddock events`: follows corrections and changes of state, one line each.
 *
 * cli.c calls it. It asks the running drivers once a second and prints what is new since
 * the previous answer. A driver keeps the last 64 corrections of each task. When a task
 * has more than 64 in one second, the rest is counted but not listed. The command waits
 * while a driver restarts. */
#include "plugin/cli.h"
#include "plugin/cli_ask.h"
#include "plugin/cli_out.h"
#include "plugin/run_dir.h"

#include "paddock/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int print_usage(FILE *to, int status) {
    fputs(
        "usage: paddock events [--json] [--socket PATH]\n"
        "Prints each correction of a task's cpuset and each change of its state as it comes, until "
        "it is interrupted. The drivers are asked once a second.\n"
        "--json: one JSON object a line.\n",
        to);
    return status;
}

static void print_time(int64_t ns) {
    time_t s = (time_t)(ns / 1000000000);
    struct tm tm;
    char when[32] = "";
    if (gmtime_r(&s, &tm))
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    cli_out_printf("%s.%03dZ ", when, (int)(ns / 1000000 % 1000));
}

/* Prints @event. Takes ownership of it. */
static void print_event(json_t *event, bool json) {
    if (json) {
        cli_out_json(event, JSON_COMPACT);
        json_decref(event);
        return;
    }
    const char *cause = cli_ask_text(event, "cause"), *why = cli_ask_text(event, "why");
    int pid = (int)json_integer_value(json_object_get(event, "writer_pid"));
    print_time(json_integer_value(json_object_get(event, "time_ns")));
    cli_out_printf("%.8s %s: ", cli_ask_text(event, "alloc_id"), cli_ask_text(event, "task"));
    if (cause[0])
        cli_out_printf("%s, %s -> %s", cause, cli_ask_text(event, "old"),
                       cli_ask_text(event, "new"));
    else
        cli_out_printf("%s -> %s", cli_ask_text(event, "from"), cli_ask_text(event, "to"));
    if (pid > 0)
        cli_out_printf(", written by pid %d", pid);
    cli_out_printf("%s%s\n", why[0] ? ": " : "", why);
    json_decref(event);
}

static json_t *event_of(const json_t *task, int64_t time_ns) {
    return json_pack("{s:I,s:s,s:s}", "time_ns", (json_int_t)time_ns, "alloc_id",
                     cli_ask_text(task, "alloc_id"), "task", cli_ask_text(task, "task"));
}

/* Prints the corrections of @task after @since_ns. */
static void print_fixes(const json_t *task, int64_t since_ns, bool json) {
    const json_t *history = json_object_get(task, "history"), *fix;
    size_t i;
    json_array_foreach(history, i, fix) {
        int64_t at = json_integer_value(json_object_get(fix, "time_ns"));
        json_t *event = at > since_ns ? event_of(task, at) : NULL;
        if (!event)
            continue;
        json_object_update(event, (json_t *)fix);
        print_event(event, json);
    }
}

static int64_t last_fix_ns(const json_t *task) {
    const json_t *history = json_object_get(task, "history");
    const json_t *last = json_array_get(history, json_array_size(history) - 1);
    return json_integer_value(json_object_get(last, "time_ns"));
}

/* Prints what changed in @task. @known: {task id: {"state", "last"}}. The first
 * call prints nothing. */
static void print_task_changes(json_t *known, const json_t *task, bool first, bool json) {
    const char *id = cli_ask_text(task, "task_id"), *state = cli_ask_text(task, "state");
    const json_t *before = json_object_get(known, id);
    if (!first)
        print_fixes(task, json_integer_value(json_object_get(before, "last")), json);
    if (!first && strcmp(cli_ask_text(before, "state"), state) != 0) {
        json_t *event = event_of(task, clock_wall_ns());
        json_object_set_new(event, "from",
                            json_string(before ? cli_ask_text(before, "state") : "new"));
        json_object_set_new(event, "to", json_string(state));
        json_object_set_new(event, "why", json_string(cli_ask_text(task, "why")));
        print_event(event, json);
    }
    json_object_set_new(
        known, id, json_pack("{s:s,s:I}", "state", state, "last", (json_int_t)last_fix_ns(task)));
}

/* Removes tasks that have ended from @known. */
static void forget_ended(json_t *known, json_t *present) {
    const char *id;
    void *next;
    json_t *value;
    json_object_foreach_safe(known, next, id, value) {
        if (!json_object_get(present, id))
            json_object_del(known, id);
    }
}

static void print_changes(json_t *known, const json_t *all, bool first, bool json) {
    json_t *present = json_object();
    const json_t *doc, *task;
    size_t i, j;
    json_array_foreach(all, i, doc) {
        const json_t *tasks = json_object_get(json_object_get(doc, "pin"), "tasks");
        json_array_foreach(tasks, j, task) {
            print_task_changes(known, task, first, json);
            json_object_set_new(present, cli_ask_text(task, "task_id"), json_true());
        }
    }
    /* No driver answers while it restarts, but its tasks go on: keep them. */
    if (json_array_size(all) > 0)
        forget_ended(known, present);
    json_decref(present);
}

int cli_events(int argc, char **argv) {
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *socket = NULL;
    bool json = false, first = true;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 's')
            socket = optarg;
        else if (c == 'j')
            json = true;
        else
            return c == 'h' ? print_usage(stdout, 0) : print_usage(stderr, 2);
    }
    if (optind != argc)
        return print_usage(stderr, 2);
    char dir[RUN_DIR_MAX];
    run_dir_for_commands(dir);
    json_t *known = json_object();
    int status = 0;
    while (status == 0) {
        struct timespec second = {.tv_sec = 1};
        json_t *all = cli_ask(dir, socket, "status", CLI_WAIT_US);
        if (first && json_array_size(all) == 0) {
            fputs("paddock: no running driver answers\n", stderr);
            status = 1;
        } else {
            print_changes(known, all, first, json);
            first = false;
            status = cli_out_end(0);
        }
        json_decref(all);
        if (status == 0)
            nanosleep(&second, NULL);
    }
    json_decref(known);
    return status;
}
