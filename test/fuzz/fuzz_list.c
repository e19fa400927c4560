/* SPDX-License-Identifier: MPL-2.0 */
/* Docker's list of containers, in one piece and cut in two: both keep and skip the same containers.
 * The first byte selects where to cut. Also JSON with NULs: no text of the result is cut. */
#include "src/docker/docker_list.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns the items as text, or NULL when @data is not a list. Owner: caller, free(). */
static char *feed(const char *data, size_t len, size_t step, size_t *ret_skipped) {
    struct docker_list l;
    int r = 0;
    docker_list_init(&l);
    for (size_t at = 0; r == 0 && at < len; at += step)
        r = docker_list_feed(&l, data + at, len - at < step ? len - at : step);
    char *text = r == 0 && docker_list_is_whole(&l) ? json_dumps(l.items, JSON_SORT_KEYS) : NULL;
    *ret_skipped = l.skipped;
    docker_list_done(&l);
    return text;
}

static void check_texts(const json_t *j) {
    size_t i;
    const char *key;
    json_t *v;
    if (json_is_string(j) && strlen(json_string_value(j)) != json_string_length(j))
        abort();
    json_array_foreach((json_t *)j, i, v) check_texts(v);
    json_object_foreach((json_t *)j, key, v) {
        check_texts(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    size_t a, b;
    AUTO_FREE char *whole = feed(text, size - 1, size, &a);
    AUTO_FREE char *cut = feed(text, size - 1, (size_t)data[0] + 1, &b);
    if (a != b || !whole != !cut || (whole && strcmp(whole, cut) != 0))
        abort();
    char why[JSON_ERROR_TEXT_LENGTH];
    AUTO_JSON json_t *j = json_value_parse(text, size - 1, why, sizeof(why));
    check_texts(j);
    return 0;
}
