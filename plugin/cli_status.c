/* SPDX-License-Identifier: MPL-2.0 */
/* The command `paddock status`: the cores of the node and one line per task, or
 * everything about one task.
 *
 * cli.c calls it. It asks the running drivers through their control sockets. --watch asks again
 * each second, also while a driver restarts. It redraws in place only on a terminal. */
#include "plugin/cli.h"
#include "plugin/cli_ask.h"
#include "plugin/cli_out.h"
#include "plugin/run_dir.h"
#include "plugin/status_detail.h"
#include "plugin/status_map.h"
#include "plugin/status_table.h"

#include "paddock/clock.h"
#include "paddock/parse.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (16u << 20)

struct status_args {
    const char *socket, *task;
    bool json, watch, help;
};

static int print_usage(FILE *to, int status) {
    fputs(
        "usage: paddock status [--json] [--watch] [--socket PATH] [TASK]\n"
        "Without TASK: a map of the node's cores, and one line a task, made to fit the terminal: "
        "\"~\" stands where something was cut.\n"
        "TASK is a task's name, or the first characters of its allocation's or container's id: "
        "everything about it.\n"
        "--json shows all: a list with a document for each running driver (with TASK: a list of "
        "tasks).\n"
        "--watch shows it again each second.\n"
        "In a task's bar of the machine's CPUs (a letter stands for the worst of several CPUs "
        "where there are many):\n"
        "    #  the task's core       !  it is there, but should not be\n"
        "    .  not its core          o  it should be there, but is not\n"
        "Exit status: 0; 1 no driver answers, no such task, or the output could not be written; 2 "
        "a wrong argument.\n",
        to);
    return status;
}

/* Returns the width of the terminal, or 0 when @fd is not a terminal; then everything is shown.
 * COLUMNS takes precedence. */
static size_t columns_of(int fd) {
    const char *told = getenv("COLUMNS");
    uint64_t n;
    struct winsize w;
    if (told && parse_u64(told, 10000, &n) == 0)
        return n;
    return ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

/* ---- output ---- */

static int put_tables(struct buf *out, const json_t *all) {
    const json_t *doc;
    size_t i, columns = columns_of(STDOUT_FILENO);
    int r = 0;
    json_array_foreach(all, i, doc) {
        if (r == 0)
            r = status_table_put(out, doc, columns, clock_wall_ns());
        if (r == 0)
            r = status_map_put(out, doc, columns);
    }
    return r;
}

static json_t *tasks_named(const json_t *all, const char *name) {
    json_t *found = json_array();
    const json_t *doc;
    size_t i;
    json_array_foreach(all, i, doc) {
        json_t *some = status_detail_find(doc, name);
        json_array_extend(found, some);
        json_decref(some);
    }
    return found;
}

static int put_details(struct buf *out, const json_t *tasks) {
    const json_t *task;
    size_t i;
    int r = 0;
    json_array_foreach(tasks, i, task) {
        if (r == 0 && i > 0)
            r = buf_puts(out, "\n");
        if (r == 0)
            r = status_detail_put(out, task);
    }
    return r;
}

/* Selects what is shown of @all, the answers of the drivers. Sets *ret (a new reference).
 * Returns the exit status. */
static int select_shown(const struct status_args *a, json_t *all, json_t **ret) {
    if (json_array_size(all) == 0) {
        fputs("paddock: no running driver answers\n", stderr);
        return 1;
    }
    *ret = a->task ? tasks_named(all, a->task) : json_incref(all);
    if (json_array_size(*ret) > 0)
        return 0;
    fprintf(stderr, "paddock: no running task is named \"%s\"\n", a->task);
    return 1;
}

/* Draws over the previous output: clears each line to its end, and everything
 * below the last line. */
static void write_in_place(const char *text) {
    fputs("\033[H", stdout);
    while (*text) {
        size_t len = strcspn(text, "\n");
        printf("%.*s\033[K\n", (int)len, text);
        text += len + (text[len] == '\n');
    }
    fputs("\033[J", stdout);
}

static int show_status(const struct status_args *a) {
    char dir[RUN_DIR_MAX];
    AUTO_BUF struct buf out;
    json_t *shown = NULL;
    buf_init(&out, TEXT_MAX);
    run_dir_for_commands(dir);
    json_t *all = cli_ask(dir, a->socket, "status", CLI_WAIT_US);
    int status = select_shown(a, all, &shown), r = 0;
    if (status == 0 && a->json)
        cli_out_json(shown, a->watch ? JSON_COMPACT : JSON_INDENT(2));
    else if (status == 0)
        r = a->task ? put_details(&out, shown) : put_tables(&out, shown);
    if (r < 0)
        fprintf(stderr, "paddock: %s\n", strerror(-r));
    else if (a->watch && !a->json && isatty(STDOUT_FILENO))
        write_in_place(buf_text(&out));
    else
        cli_out_text(buf_text(&out));
    json_decref(all);
    json_decref(shown);
    return r < 0 ? 1 : status;
}

/* ---- the command ---- */

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
    if (optind < argc)
        ret->task = argv[optind++];
    return optind == argc && (!ret->task || ret->task[0]) ? 0 : -EINVAL;
}

int cli_status(int argc, char **argv) {
    struct status_args a = {.socket = NULL};
    if (parse_args(argc, argv, &a) < 0)
        return print_usage(stderr, 2);
    if (a.help)
        return print_usage(stdout, 0);
    if (a.watch && !a.json && isatty(STDOUT_FILENO))
        fputs("\033[2J", stdout);
    int status = cli_out_end(show_status(&a));
    while (a.watch && !ferror(stdout)) {
        struct timespec second = {.tv_sec = 1};
        nanosleep(&second, NULL);
        status = cli_out_end(show_status(&a));
    }
    return status;
}
