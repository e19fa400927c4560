/* SPDX-License-Identifier: MPL-2.0 */
/* The table of commands, the usage text, and the dispatch of the command line.
 *
 * main.c calls cli_main() when a person has started the program. A new command needs a row
 * in the table here and a file cli_NAME.c. `logpump` is a row as well, but the driver
 * starts that one itself. */
#include "plugin/cli.h"
#include "plugin/cli_out.h"

#include "paddock/cleanup.h"
#include "paddock/logpump.h"

#include <stdio.h>
#include <string.h>

static int cli_help(int argc, char **argv);

static const struct cli_command commands[] = {
    {"status", "what the running driver does: its tasks and their cpusets", cli_status},
    {"check", "is this machine fit for the driver, and what is missing", cli_check},
    {"events", "follows corrections and changes of state, a line each", cli_events},
    {"metrics", "the running driver's counters, as Prometheus text", cli_metrics},
    {"debug", "collects what a bug report needs into one file", cli_debug},
    {"enable", "links the driver into the Nomad client's plugin_dir", cli_link_enable},
    {"disable", "removes it from there", cli_link_disable},
    {"logpump", "carries container output to Nomad; the driver starts it itself", pump_main},
    {"version", "the version; with --verbose also commit, compiler and libraries", cli_version},
    {"help", "this text", cli_help},
};

static void cli_usage(FILE *to) {
    fputs("paddock " PADDOCK_VERSION
          " - a Docker task driver for Nomad that keeps each container on its "
          "cores\n\n"
          "As a driver it is started by a Nomad client, out of its plugin_dir. By hand:\n\n",
          to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "    paddock %-8s  %s\n", commands[i].name, commands[i].help);
}

static const struct cli_command *cli_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

static int cli_unknown(const char *name) {
    fprintf(stderr, "paddock: there is no command \"%s\"\n\n", name);
    cli_usage(stderr);
    return 2;
}

/* Handles "help" alone, and "help COMMAND", which prints what "COMMAND --help" prints. */
static int cli_help(int argc, char **argv) {
    char option[] = "--help";
    if (argc > 2) {
        cli_usage(stderr);
        return 2;
    }
    if (argc == 2) {
        const struct cli_command *c = cli_find(argv[1]);
        char *args[] = {argv[1], option, NULL};
        if (!c)
            return cli_unknown(argv[1]);
        if (c->run != cli_help && c->run != pump_main)
            return c->run(2, args);
    }
    cli_usage(stdout);
    return cli_out_end(0);
}

int cli_main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    const struct cli_command *c = cli_find(name);
    if (c)
        return c->run(argc - 1, argv + 1);
    if (argc > 1)
        return cli_unknown(name);
    cli_usage(stderr);
    return 2;
}
