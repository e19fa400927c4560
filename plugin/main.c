/* SPDX-License-Identifier: MPL-2.0 */
/* The entry point. One program has three roles: Nomad's plugin (serve.c), the log pump
 * (pump_main()) and the command line of a person (cli.c).
 *
 * The environment and argv[1] decide the role; see handshake_role(). Without a role
 * the usage is printed. */
#include "plugin/cli.h"
#include "plugin/handshake.h"
#include "plugin/serve.h"

#include <stdio.h>
#include <stdlib.h>

static int main_lost(void) {
    fputs("This program is a plugin: a Nomad client starts it out of its plugin_dir. By hand it "
          "takes a "
          "command.\n\n",
          stderr);
    char *none[] = {(char *)"paddock", NULL};
    (void)cli_main(1, none); /* the usage */
    return 1;
}

int main(int argc, char **argv) {
    switch (handshake_role(argc, argv, getenv(HANDSHAKE_COOKIE_NAME))) {
    case ROLE_PLUGIN:
        return serve_main(argc, argv);
    case ROLE_LOGPUMP:
    case ROLE_COMMAND:
        return cli_main(argc, argv);
    case ROLE_LOST:
        break;
    }
    return main_lost();
}
