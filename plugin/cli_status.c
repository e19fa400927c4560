/* What the running drivers do with their tasks' cores, at a glance. */
#include "plugin/cli.h"
#include "plugin/cli_ask.h"
#include "plugin/run_dir.h"
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
    const char *socket;
    bool json, watch, help;
};

static int usage(FILE *to, int status) {
    fputs("usage: paddock status [--json] [--watch] [--socket PATH]\n"
          "One line a task, made to fit the terminal: \"~\" stands where something was cut.\n"
          "--json shows all: a list with a document for each running driver.\n"
          "In the bar of the machine's CPUs (a letter stands for the worst of several CPUs where "
          "there are many):\n"
          "    #  the task's core       !  it is there, but should not be\n"
          "    .  not its core          o  it should be there, but is not\n",
          to);
    return status;
}

/* How wide the terminal is; 0 = it is none, everything is shown. COLUMNS counts more. */
static size_t columns_of(int fd) {
    const char *told = getenv("COLUMNS");
    uint64_t n;
    struct winsize w;
    if (told && parse_u64(told, 10000, &n) == 0)
        return n;
    return ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static int print_tables(const json_t *all) {
    AUTO_BUF struct buf out;
    const json_t *doc;
    size_t i, columns = columns_of(STDOUT_FILENO);
    int r = 0;
    buf_init(&out, TEXT_MAX);
    json_array_foreach(all, i, doc) {
        if (r == 0)
            r = status_table_put(&out, doc, columns, clock_wall_ns());
    }
    fputs(buf_text(&out), stdout);
    if (r < 0)
        fprintf(stderr, "paddock: %s\n", strerror(-r));
    return r < 0 ? 1 : 0;
}

/* ---- the command ---- */

static int show(const struct status_args *a) {
    int status = 0;
    char dir[RUN_DIR_MAX];
    run_dir_for_commands(dir);
    if (a->watch && !a->json)
        fputs("\033[H\033[2J", stdout);
    fflush(stdout); /* before what may be said on stderr */
    json_t *all = cli_ask(dir, a->socket, "status", CLI_WAIT_US);
    if (!json_array_size(all)) {
        json_decref(all);
        fputs("paddock: no running driver answers\n", stderr);
        return 1;
    }
    if (a->json) {
        json_dumpf(all, stdout, a->watch ? JSON_COMPACT : JSON_INDENT(2));
        putchar('\n');
    } else {
        status = print_tables(all);
    }
    fflush(stdout);
    json_decref(all);
    return status;
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
