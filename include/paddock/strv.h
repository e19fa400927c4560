/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Lists of strings and of key/value pairs, for configurations. All strings are owned. Any thread,
 * one thread at a time for each list. _done accepts an empty list and keeps errno. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

struct strv {
    char **v; /* n strings; not NULL-terminated */
    size_t n;
};

struct kv {
    char *key;
    char *value;
};

/* In order of arrival. Keys are unique: kvs_set() replaces a value. */
struct kvs {
    struct kv *v;
    size_t n;
};

/** Each returns 0 or -ENOMEM. The text is copied. */
int strv_add(struct strv *s, const char *text) MUST_CHECK;
int strv_add_take(struct strv *s, char *text) MUST_CHECK; /* frees @text on failure too */
bool strv_contains(const struct strv *s, const char *text);
/** Frees all strings; the list is empty afterwards. */
void strv_done(struct strv *s);
#define AUTO_STRV __attribute__((cleanup(strv_done)))

/** Copies both texts. Returns 0, or -ENOMEM with @s unchanged. */
int kvs_set(struct kvs *s, const char *key, const char *value) MUST_CHECK;
/** Returns 0 or -ENOMEM. @ret: set on success only; its previous content is not freed. */
int kvs_copy(const struct kvs *from, struct kvs *ret) MUST_CHECK;
/** Returns NULL when absent. Owner: @s, until the next change. */
const char *kvs_get(const struct kvs *s, const char *key);
/** Frees all pairs; the list is empty afterwards. */
void kvs_done(struct kvs *s);
#define AUTO_KVS __attribute__((cleanup(kvs_done)))

/** Like strdup(), but NULL gives NULL and is no error. On failure *ret_r becomes -ENOMEM; otherwise
 * *ret_r is unchanged. */
char *str_dup(const char *text, int *ret_r);
/** True for NULL and for "". */
bool str_empty(const char *text);
/** Frees *@dst and replaces it with a copy of @text. Returns 0, or -ENOMEM with *@dst unchanged. */
int str_set(char **dst, const char *text) MUST_CHECK;
