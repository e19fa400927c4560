/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Values from Docker's JSON. An absent member, or one of another type, is no error.
 * Context: pure, any thread. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void json_value_done(json_t **j) {
    json_decref(*j);
    *j = NULL;
}
#define AUTO_JSON __attribute__((cleanup(json_value_done)))

const char *json_value_text(const json_t *object, const char *key); /* "" when absent */
void json_value_copy(const json_t *object, const char *key, char *out, size_t size);
int64_t json_value_int(const json_t *object, const char *key); /* 0 when absent; reals are cut */
bool json_value_bool(const json_t *object, const char *key);
/** Parses @data. A number beyond int64 becomes a real. A NUL in a text becomes U+FFFD. Returns NULL
 * with the reason in @text. */
json_t *json_value_parse(const char *data, size_t len, char *text, size_t text_size);
/** Copies the first string member named @key ("message"), at any depth, from a JSON text that
 * may be cut off anywhere. The copy is cut to @size. Returns false when there is no such
 * member, or it is empty. */
bool json_value_cut_text(const char *data, size_t len, const char *key, char *out, size_t size);
