#include "plugin/cli.h"
#include "plugin/cli_ask.h"

#include <getopt.h>
#include <stdio.h>

static int usage(FILE *to, int status) {
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
            return c == 'h' ? usage(stdout, 0) : usage(stderr, 2);
        socket = optarg;
    }
    if (optind != argc)
        return usage(stderr, 2);
    json_t *all = cli_ask(CLI_RUN_DIR, socket, "metrics"), *one;
    size_t i;
    int status = json_array_size(all) == 1 ? 0 : 1;
    if (json_array_size(all) == 0)
        fputs("paddock: no running driver answers\n", stderr);
    else if (status) /* two of them in one text are no Prometheus text */
        fprintf(stderr,
                "paddock: %zu drivers answer, name one: --socket " CLI_RUN_DIR
                "/control-NAME.sock\n",
                json_array_size(all));
    else
        json_array_foreach(all, i, one) fputs(cli_text(one, "metrics"), stdout);
    json_decref(all);
    return status;
}
