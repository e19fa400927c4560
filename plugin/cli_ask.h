/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Asks running drivers through their control sockets, for the commands. */
#include <jansson.h>
#include <stdint.h>

#define CLI_WAIT_US 10000000u /* for the whole answer of one plugin */

/** Sends the request @what ("status", "metrics") to each running plugin. @socket: ask only this
 * one; NULL = all sockets in @dir. @timeout_us: for each plugin.
 *  Returns an array of their documents, empty when no plugin answers; NULL when out of memory. When
 *  a plugin does not answer, the reason is printed on stderr. Sockets that killed plugins left are
 *  skipped without a message. */
json_t *cli_ask(const char *dir, const char *socket, const char *what, uint64_t timeout_us);

/** Returns the text of @key in @o, or "" when it is absent. Owner: @o. */
const char *cli_ask_text(const json_t *o, const char *key);
