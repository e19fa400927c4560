#pragma once
/* What is not UTF-8 becomes question marks, byte by byte: a Go host refuses a whole message for one
 * broken string, and texts come from Docker, from files, or were cut in the middle of a character.
 */
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/** In place; a NUL is a character like others. Pure. */
void rpc_utf8_mend(uint8_t *text, size_t len);

/** All strings of an encoded message of that @type, in place; bytes fields stay. @bytes must be
 * what protobuf-c packed. Pure. */
void rpc_utf8_mend_message(uint8_t *bytes, size_t len, const ProtobufCMessageDescriptor *type);
