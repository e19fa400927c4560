/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Tests write configurations as JSON; msgpack-c makes the bytes. */
#include "unit/cm.h"

#include "paddock/buf.h"
#include "paddock/config.h"

#include <jansson.h>
#include <msgpack.h>
#include <string.h>

static inline int pack_write(void *out, const char *data, size_t len) {
    return buf_append(out, data, len);
}

static inline void pack_value(msgpack_packer *pk, const json_t *v) {
    const char *key;
    json_t *one;
    size_t i;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        msgpack_pack_map(pk, json_object_size(v));
        json_object_foreach((json_t *)v, key, one) {
            msgpack_pack_str_with_body(pk, key, strlen(key));
            pack_value(pk, one);
        }
        break;
    case JSON_ARRAY:
        msgpack_pack_array(pk, json_array_size(v));
        json_array_foreach(v, i, one) pack_value(pk, one);
        break;
    case JSON_STRING:
        msgpack_pack_str_with_body(pk, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        msgpack_pack_int64(pk, json_integer_value(v));
        break;
    case JSON_REAL:
        msgpack_pack_double(pk, json_real_value(v));
        break;
    case JSON_TRUE:
        msgpack_pack_true(pk);
        break;
    case JSON_FALSE:
        msgpack_pack_false(pk);
        break;
    case JSON_NULL:
        msgpack_pack_nil(pk);
        break;
    }
}

static inline struct buf pack_json(const json_t *v) {
    struct buf out;
    buf_init(&out, 4u << 20);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &out, pack_write);
    pack_value(&pk, v);
    return out;
}

static inline struct buf pack(const char *text) {
    json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(v);
    struct buf out = pack_json(v);
    json_decref(v);
    return out;
}

static inline int plugin_from(const char *text, struct plugin_config *ret, struct err *err) {
    struct buf b = pack(text);
    int r = config_plugin_decode(b.data, b.len, ret, err);
    buf_done(&b);
    return r;
}

static inline int job_from(const char *text, struct job_config *ret, struct err *err) {
    struct buf b = pack(text);
    int r = config_job_decode(b.data, b.len, ret, err);
    buf_done(&b);
    return r;
}

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("\"%s\" is not in \"%s\"", (part), (text));                                   \
    } while (0)
