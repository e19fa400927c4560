/* SPDX-License-Identifier: MPL-2.0 */
/* Lists of strings.
 *
 * The configurations and the create request are made of them. A lookup is a linear search, because
 * the lists are short. */
#include "paddock/strv.h"

#include <string.h>

int strv_add_take(struct strv *s, char *text) {
    AUTO_FREE char *owned = text;
    if (!owned)
        return -ENOMEM;
    char **v = reallocarray(s->v, s->n + 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    s->v = v;
    s->v[s->n++] = TAKE_PTR(owned);
    return 0;
}

int strv_add(struct strv *s, const char *text) {
    return strv_add_take(s, strdup(text));
}

bool strv_contains(const struct strv *s, const char *text) {
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->v[i], text) == 0)
            return true;
    return false;
}

void strv_done(struct strv *s) {
    for (size_t i = 0; i < s->n; i++)
        cleanup_free(&s->v[i]);
    cleanup_free(&s->v);
    *s = (struct strv){0};
}
