/* SPDX-License-Identifier: MPL-2.0 */
/* Lists of key/value pairs.
 *
 * The configurations and the create request are made of them. A lookup is a linear search, because
 * the lists are short; task_decode.c sorts the long ones (environments) itself. */
#include "paddock/strv.h"

#include <string.h>

int kvs_set(struct kvs *s, const char *key, const char *value) {
    AUTO_FREE char *v = strdup(value);
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->v[i].key, key) == 0) {
            free(s->v[i].value);
            s->v[i].value = TAKE_PTR(v);
            return 0;
        }
    }
    AUTO_FREE char *k = strdup(key);
    if (!k)
        return -ENOMEM;
    struct kv *grown = reallocarray(s->v, s->n + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    s->v = grown;
    s->v[s->n++] = (struct kv){.key = TAKE_PTR(k), .value = TAKE_PTR(v)};
    return 0;
}

int kvs_copy(const struct kvs *from, struct kvs *ret) {
    AUTO_KVS struct kvs copy = {0};
    for (size_t i = 0; i < from->n; i++) {
        int r = kvs_set(&copy, from->v[i].key, from->v[i].value);
        if (r < 0)
            return r;
    }
    *ret = TAKE_STRUCT(copy);
    return 0;
}

const char *kvs_get(const struct kvs *s, const char *key) {
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->v[i].key, key) == 0)
            return s->v[i].value;
    return NULL;
}

void kvs_done(struct kvs *s) {
    for (size_t i = 0; i < s->n; i++) {
        cleanup_free(&s->v[i].key);
        cleanup_free(&s->v[i].value);
    }
    cleanup_free(&s->v);
    *s = (struct kvs){0};
}
