/* SPDX-License-Identifier: MPL-2.0 */
/* Converts MessagePack from Nomad to JSON values.
 *
 * config_plugin.c, config_job.c and task_state.c call it. msgpack-c trusts the lengths that a
 * message declares: `dd 00 ff ff ff` makes it reserve 400 MB. So check_bytes() first walks over the
 * bytes without reserving anything. After it, every declared element is known to be present. */
#include "src/config/config_wire.h"
#include "paddock/buf.h"

#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#define PLACE_NAME_MAX 256

static uint64_t big_endian(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* The layout of one element: the type byte, a length field of @size_len bytes, then @payload bytes
 * (plus as many as the length field says), then @children elements. With @sized_children, the
 * number of elements is the length times @children, and the length field adds no bytes. */
struct shape {
    uint64_t payload, children;
    size_t size_len;
    bool sized_children;
};

static int shape_of(unsigned char t, struct shape *ret) {
    struct shape s = {0};
    if (t <= 0x7f || t >= 0xe0 || t == 0xc0 || t == 0xc2 || t == 0xc3)
        ;
    else if (t <= 0x8f)
        s.children = (uint64_t)(t & 0x0f) * 2;
    else if (t <= 0x9f)
        s.children = t & 0x0f;
    else if (t <= 0xbf)
        s.payload = t & 0x1f;
    else if (t >= 0xc4 && t <= 0xc6) /* bin */
        s.size_len = (size_t)1 << (t - 0xc4);
    else if (t == 0xca) /* float */
        s.payload = 4;
    else if (t == 0xcb)
        s.payload = 8;
    else if (t >= 0xcc && t <= 0xcf)
        s.payload = UINT64_C(1) << (t - 0xcc);
    else if (t >= 0xd0 && t <= 0xd3)
        s.payload = UINT64_C(1) << (t - 0xd0);
    else if (t >= 0xc7 && t <= 0xc9) { /* ext, with a type byte */
        s.size_len = (size_t)1 << (t - 0xc7);
        s.payload = 1;
    } else if (t >= 0xd4 && t <= 0xd8) /* fixext */
        s.payload = 1 + (UINT64_C(1) << (t - 0xd4));
    else if (t >= 0xd9 && t <= 0xdb) /* str */
        s.size_len = (size_t)1 << (t - 0xd9);
    else if (t >= 0xdc && t <= 0xdf) { /* array16, array32, map16, map32 */
        s.size_len = t & 1 ? 4 : 2;
        s.children = t >= 0xde ? 2 : 1;
        s.sized_children = true;
    } else
        return -EINVAL; /* 0xc1 is never used */
    *ret = s;
    return 0;
}

static int check_bytes(const unsigned char *p, size_t len) {
    uint64_t left[CONFIG_WIRE_DEPTH + 1] = {1}; /* elements that are still expected on each level */
    size_t at = 0, depth = 0;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return at == len ? 0 : -EINVAL;
            depth--;
        }
        left[depth]--;
        struct shape s;
        if (at == len || shape_of(p[at++], &s) < 0 || len - at < s.size_len)
            return -EINVAL;
        uint64_t size = big_endian(p + at, s.size_len);
        at += s.size_len;
        if (s.sized_children)
            s.children *= size;
        else
            s.payload += size;
        if (s.payload > len - at)
            return -EINVAL;
        at += (size_t)s.payload;
        if (s.children) {
            if (depth == CONFIG_WIRE_DEPTH)
                return -EINVAL;
            left[++depth] = s.children;
        }
    }
}

/* The place of a value, for errors: a chain from the value up to the whole configuration. */
struct place {
    const struct place *up;
    const msgpack_object *key; /* NULL = an element of a list */
    uint32_t index;            /* of the element */
};

/* Writes the name of the place, for example "mount[1].source". A key is cut at the first byte that
 * is not printable ASCII. */
static void place_name(const struct place *at, struct buf *out) {
    if (!at)
        return;
    place_name(at->up, out);
    int r;
    if (at->key) {
        const char *text = at->key->via.str.ptr;
        size_t n = 0;
        while (n < at->key->via.str.size && text[n] > ' ' && text[n] < 0x7f)
            n++;
        r = buf_printf(out, "%s%.*s", out->len ? "." : "", (int)n, text);
    } else {
        r = buf_printf(out, "[%u]", at->index);
    }
    (void)r; /* a name that is cut short is still useful */
}

static int refuse_at(const struct place *at, struct err *err, const char *why) {
    AUTO_BUF struct buf name;
    buf_init(&name, PLACE_NAME_MAX);
    place_name(at, &name);
    return err_set(err, ERR_INVALID, EINVAL, "%s: %s", name.len ? buf_text(&name) : "configuration",
                   why);
}

static int to_json(const msgpack_object *o, const struct place *at, json_t **ret, struct err *err);

static int text_to_json(const char *text, size_t len, const struct place *at, json_t **ret,
                        struct err *err) {
    if (len && memchr(text, '\0', len))
        return refuse_at(at, err, "a text holds a NUL byte");
    *ret = json_stringn(len ? text : "", len);
    if (*ret)
        return 0;
    /* jansson returns NULL for both reasons. */
    AUTO_CONFIG_JSON json_t *unchecked = json_stringn_nocheck(text, len);
    if (!unchecked)
        return err_oom(err);
    return refuse_at(at, err, "a text is not valid UTF-8");
}

static int array_to_json(const msgpack_object_array *a, const struct place *at, json_t **ret,
                         struct err *err) {
    AUTO_CONFIG_JSON json_t *out = json_array();
    if (!out)
        return err_oom(err);
    for (uint32_t i = 0; i < a->size; i++) {
        const struct place inner = {.up = at, .index = i};
        json_t *v = NULL;
        int r = to_json(&a->ptr[i], &inner, &v, err);
        if (r < 0)
            return r;
        if (json_array_append_new(out, v) < 0)
            return err_oom(err);
    }
    *ret = TAKE_PTR(out);
    return 0;
}

static int map_to_json(const msgpack_object_map *m, const struct place *at, json_t **ret,
                       struct err *err) {
    AUTO_CONFIG_JSON json_t *out = json_object();
    if (!out)
        return err_oom(err);
    for (uint32_t i = 0; i < m->size; i++) {
        const msgpack_object *k = &m->ptr[i].key;
        if (k->type != MSGPACK_OBJECT_STR && k->type != MSGPACK_OBJECT_BIN)
            return refuse_at(at, err, "a key is not a string");
        const struct place inner = {.up = at, .key = k};
        AUTO_CONFIG_JSON json_t *key = NULL;
        int r = to_json(k, at, &key, err);
        json_t *v = NULL;
        if (r == 0)
            r = to_json(&m->ptr[i].val, &inner, &v, err);
        if (r < 0)
            return r;
        if (json_object_set_new(out, json_string_value(key), v) < 0)
            return err_oom(err);
    }
    *ret = TAKE_PTR(out);
    return 0;
}

/* check_bytes() has limited the depth. */
static int to_json(const msgpack_object *o, const struct place *at, json_t **ret, struct err *err) {
    char text[24];
    json_t *v = NULL;
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        v = json_null();
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        v = json_boolean(o->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        snprintf(text, sizeof(text), "%" PRIu64, o->via.u64);
        v = o->via.u64 <= INT64_MAX ? json_integer((json_int_t)o->via.u64) : json_string(text);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        v = json_integer(o->via.i64);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        if (!__builtin_isfinite(o->via.f64))
            return refuse_at(at, err, "a number is not finite");
        v = json_real(o->via.f64);
        break;
    case MSGPACK_OBJECT_STR:
        return text_to_json(o->via.str.ptr, o->via.str.size, at, ret, err);
    case MSGPACK_OBJECT_BIN:
        return text_to_json(o->via.bin.ptr, o->via.bin.size, at, ret, err);
    case MSGPACK_OBJECT_ARRAY:
        return array_to_json(&o->via.array, at, ret, err);
    case MSGPACK_OBJECT_MAP:
        return map_to_json(&o->via.map, at, ret, err);
    case MSGPACK_OBJECT_EXT:
        /* HCL's unknown value. Nomad sends it when a ${...} has no value. */
        return refuse_at(at, err, "the value is unknown, Nomad could not interpolate it");
    }
    if (!v)
        return err_oom(err);
    *ret = v;
    return 0;
}

int config_wire_decode(const void *data, size_t len, json_t **ret, struct err *err) {
    if (len > CONFIG_WIRE_MAX)
        return err_set(err, ERR_INVALID, EMSGSIZE, "configuration: %zu bytes are more than %u", len,
                       CONFIG_WIRE_MAX);
    if (len == 0 || check_bytes(data, len) < 0)
        return err_set(err, ERR_INVALID, EINVAL, "configuration: not a valid MessagePack value");
    msgpack_unpacked u;
    msgpack_unpacked_init(&u);
    size_t off = 0;
    msgpack_unpack_return got = msgpack_unpack_next(&u, data, len, &off);
    int r;
    if (got == MSGPACK_UNPACK_SUCCESS)
        r = to_json(&u.data, NULL, ret, err);
    else if (got == MSGPACK_UNPACK_NOMEM_ERROR)
        r = err_oom(err);
    else
        r = err_set(err, ERR_INVALID, EINVAL, "configuration: not a valid MessagePack value");
    msgpack_unpacked_destroy(&u);
    return r;
}
