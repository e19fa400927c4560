#pragma once
/* The command line's side of the control socket. */
#include <jansson.h>

#define CLI_RUN_DIR "/run/paddock"

/** Asks each plugin that answers ("status", "metrics"). @socket: the one to ask; NULL = all of
 * @dir. Returns an array of their documents, empty when nobody answers; NULL without memory. */
json_t *cli_ask(const char *dir, const char *socket, const char *what);

/** Text of @key in @o, "" when there is none. Owner: @o. */
const char *cli_text(const json_t *o, const char *key);
