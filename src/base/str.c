/* SPDX-License-Identifier: MPL-2.0 */
/* Copies of strings where NULL or "" means "not set".
 *
 * The modules that keep texts of a job or of Docker's answers call these functions. */
#include "paddock/strv.h"

#include <string.h>

char *str_dup(const char *text, int *ret_r) {
    if (!text)
        return NULL;
    char *copy = strdup(text);
    if (!copy)
        *ret_r = -ENOMEM;
    return copy;
}

bool str_empty(const char *text) {
    return !text || text[0] == '\0';
}

int str_set(char **dst, const char *text) {
    char *copy = strdup(text ? text : "");
    if (!copy)
        return -ENOMEM;
    free(*dst);
    *dst = copy;
    return 0;
}
