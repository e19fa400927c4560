/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The command line: the commands that a person can run. Each command has its own cli_*.c. */
#include <jansson.h>

struct cli_command {
    const char *name, *help;
    /* argv[0] is the command's name. Returns the exit status. */
    int (*run)(int argc, char **argv);
};

/** Runs the command argv[1]. Returns its exit status, or 2 with the usage on stderr when no
 * such command exists. */
int cli_main(int argc, char **argv);

/** The commands, as cli_command.run. */
int cli_status(int argc, char **argv);
int cli_check(int argc, char **argv);
/** Runs the check now, which takes seconds. Returns the document that `paddock check --json`
 * prints. Owner: caller. NULL when out of memory. */
json_t *cli_check_document(void);
int cli_events(int argc, char **argv);
int cli_metrics(int argc, char **argv);
int cli_debug(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_link_enable(int argc, char **argv);
int cli_link_disable(int argc, char **argv);
