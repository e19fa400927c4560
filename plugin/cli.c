#include "plugin/cli.h"

#include "paddock/cleanup.h"
#include "paddock/logpump.h"

#include <stdio.h>
#include <string.h>

static int cli_help(int argc, char **argv);

static int cli_version(int argc, char **argv) {
    (void)argc;
    (void)argv;
    puts("paddock " PADDOCK_VERSION);
    return 0;
}

static const struct cli_command commands[] = {
    {"status", "what the running driver does: its tasks and their cpusets", cli_status},
    {"check", "is this machine fit for the driver, and what is missing", cli_check},
    {"metrics", "the running driver's counters, as Prometheus text", cli_metrics},
    {"logpump", "carries container output to Nomad; the driver starts it itself", logpump_main},
    {"version", "the version", cli_version},
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

static int cli_help(int argc, char **argv) {
    (void)argc;
    (void)argv;
    cli_usage(stdout);
    return 0;
}

int cli_main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1)
        fprintf(stderr, "paddock: there is no command \"%s\"\n\n", name);
    cli_usage(stderr);
    return 2;
}
