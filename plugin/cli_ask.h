#pragma once
/* The command line's side of the control socket. */
#include <jansson.h>
#include <stdint.h>

#define CLI_WAIT_US 10000000u /* for one plugin's whole answer */

/** Asks each plugin that answers ("status", "metrics"). @socket: the one to ask; NULL = all of
 * @dir. @timeout_us: for each. Returns an array of their documents, empty when nobody answers; NULL
 * without memory. Why one has not answered is said on stderr, but of sockets that killed plugins
 * left behind. */
json_t *cli_ask(const char *dir, const char *socket, const char *what, uint64_t timeout_us);

/** Text of @key in @o, "" when there is none. Owner: @o. */
const char *cli_text(const json_t *o, const char *key);
