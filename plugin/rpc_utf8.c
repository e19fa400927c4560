/* SPDX-License-Identifier: MPL-2.0 */
/* Makes the strings of a message valid UTF-8, in place.
 *
 * rpc_base.c mends each encoded message, rpc_status.c each error text. It changes an
 * encoded message by its wire format: a replacement has the length of the original, so no
 * length field changes. */
#include "plugin/rpc_utf8.h"

enum wire { WIRE_VARINT = 0, WIRE_64_BITS = 1, WIRE_LENGTH = 2, WIRE_32_BITS = 5 };

/* Returns the length of the character at @p, or 0 when it is invalid (also for over-long
 * forms and surrogates). */
static size_t utf8_len(const uint8_t *p, size_t left) {
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

void rpc_utf8_mend(uint8_t *text, size_t len) {
    for (size_t at = 0; at < len;) {
        size_t n = utf8_len(text + at, len - at);
        if (n == 0) {
            text[at] = '?';
            n = 1;
        }
        at += n;
    }
}

static uint64_t take_varint(uint8_t **at, const uint8_t *end) {
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

void rpc_utf8_mend_message(uint8_t *bytes, size_t len, const ProtobufCMessageDescriptor *type) {
    uint8_t *at = bytes, *end = bytes + len;
    while (at < end) {
        uint64_t key = take_varint(&at, end);
        size_t n = 0;
        if ((key & 7) == WIRE_VARINT)
            (void)take_varint(&at, end);
        else if ((key & 7) == WIRE_64_BITS)
            n = 8;
        else if ((key & 7) == WIRE_32_BITS)
            n = 4;
        else
            n = take_varint(&at, end); /* WIRE_LENGTH: protobuf-c writes no others */
        if (n > (size_t)(end - at))
            return;
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(key >> 3));
        if ((key & 7) == WIRE_LENGTH && f && f->type == PROTOBUF_C_TYPE_STRING)
            rpc_utf8_mend(at, n);
        else if ((key & 7) == WIRE_LENGTH && f && f->type == PROTOBUF_C_TYPE_MESSAGE)
            rpc_utf8_mend_message(at, n, f->descriptor);
        at += n;
    }
}
