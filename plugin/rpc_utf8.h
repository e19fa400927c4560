/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Replaces each byte that is not UTF-8 by a question mark. A Go host refuses a whole message
 * because of one invalid string, and texts come from Docker, from files, or were cut in the
 * middle of a character. */
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/** Changes @text in place. A NUL is an ordinary character. Pure. */
void rpc_utf8_mend(uint8_t *text, size_t len);

/** Changes all strings of an encoded message of that @type in place; bytes fields are not changed.
 * @bytes must be the output of protobuf-c. Pure. */
void rpc_utf8_mend_message(uint8_t *bytes, size_t len, const ProtobufCMessageDescriptor *type);
