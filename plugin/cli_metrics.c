/* SPDX-License-Identifier: MPL-2.0 */
/* The command `paddock metrics`: prints the counters of the running driver.
 *
 * cli.c calls it. It asks through the control sockets in the run folder. Two drivers can run on a
 * node. Both texts together would repeat metric names, which is not valid Prometheus text. So only
 * one answer is printed; with several drivers, the user has to name a socket. */
#include "plugin/cli.h"
#include "plugin/cli_ask.h"
#include "plugin/cli_out.h"
#include "plugin/run_dir.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

static int print_usage(FILE *to, int status) {
    fputs("usage: paddock metrics [--socket PATH]\n"
          "Prints the running driver's counters as Prometheus text, for node_exporter's textfile "
          "collector.\n",
          to);
    return status;
}

int cli_metrics(int argc, char **argv) {
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *socket = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c != 's')
            return c == 'h' ? print_usage(stdout, 0) : print_usage(stderr, 2);
        socket = optarg;
    }
    if (optind != argc)
        return print_usage(stderr, 2);
    char dir[RUN_DIR_MAX];
    run_dir_for_commands(dir);
    json_t *all = cli_ask(dir, socket, "metrics", CLI_WAIT_US);
    size_t n = json_array_size(all);
    const char *text = json_string_value(json_object_get(json_array_get(all, 0), "metrics"));
    if (n == 0)
        fputs("paddock: no running driver answers\n", stderr);
    else if (n > 1) /* two texts together are not valid Prometheus text */
        fprintf(stderr, "paddock: %zu drivers answer, name one: --socket %s/control-NAME.sock\n", n,
                dir);
    else if (!text)
        fputs("paddock: the driver's answer has no metrics in it\n", stderr);
    else
        cli_out_text(text);
    json_decref(all);
    return cli_out_end(n == 1 && text ? 0 : 1);
}
