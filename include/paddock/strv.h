#pragma once
/* Lists of strings and of key/value pairs, as configurations are made of. All strings are owned.
 * Any thread, one at a time per list. _done accepts an empty list and keeps errno. */
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

/* In order of arrival, keys unique: kvs_set replaces. */
struct kvs {
    struct kv *v;
    size_t n;
};

/** Each returns 0 or -ENOMEM; the text is copied. */
int strv_add(struct strv *s, const char *text) MUST_CHECK;
int strv_add_take(struct strv *s, char *text) MUST_CHECK; /* frees @text on failure too */
bool strv_contains(const struct strv *s, const char *text);
void strv_done(struct strv *s);
#define AUTO_STRV __attribute__((cleanup(strv_done)))

int kvs_set(struct kvs *s, const char *key, const char *value) MUST_CHECK;
int kvs_copy(const struct kvs *from, struct kvs *ret) MUST_CHECK;
/** NULL when absent. Owner: @s, until the next change. */
const char *kvs_get(const struct kvs *s, const char *key);
void kvs_done(struct kvs *s);
#define AUTO_KVS __attribute__((cleanup(kvs_done)))

/** strdup that takes NULL (gives NULL with *ret_r = 0); *ret_r = -ENOMEM on failure, else
 * untouched. */
char *str_dup(const char *text, int *ret_r);
/** NULL or "". */
bool str_empty(const char *text);
/** Frees *@dst and puts a copy of @text there. Returns 0 or -ENOMEM (then *dst is unchanged). */
int str_set(char **dst, const char *text) MUST_CHECK;
