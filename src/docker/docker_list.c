/* SPDX-License-Identifier: MPL-2.0 */
/* Docker's list of containers, parsed one container at a time.
 *
 * Every user of dockerd puts labels into this list, and one container must not make it unreadable
 * for all others. So the list is not parsed as one document. This file splits it into its elements
 * while it arrives and parses each element separately. An element that is too long or cannot be
 * parsed is counted and skipped. Only the fields that our callers read are kept, so that labels of
 * other containers take no memory. */
#include "src/docker/docker_list.h"

#include <string.h>

void docker_list_init(struct docker_list *l) {
    *l = (struct docker_list){.items = json_array()};
    buf_init(&l->item, DOCKER_LIST_ITEM_MAX);
}

void docker_list_done(struct docker_list *l) {
    json_decref(l->items);
    buf_done(&l->item);
    l->items = NULL;
}

/* ---- one element ---- */

static bool is_known_label(const char *key) {
    return strncmp(key, "io.paddock.", 11) == 0 || strncmp(key, "com.hashicorp.nomad.", 20) == 0;
}

/* Returns a new object with the fields of @container that callers read. NULL when out of memory. */
static json_t *keep_fields(const json_t *container) {
    static const char *const fields[] = {"Id", "Names", "Created"};
    json_t *kept = json_object(), *labels = json_object(), *value;
    const char *key;
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        value = json_object_get(container, fields[i]);
        r |= value ? json_object_set(kept, fields[i], value) : 0;
    }
    json_object_foreach(json_object_get(container, "Labels"), key, value) {
        r |= is_known_label(key) ? json_object_set(labels, key, value) : 0;
    }
    r |= json_object_set_new(kept, "Labels", labels);
    if (r == 0)
        return kept;
    json_decref(kept);
    return NULL;
}

static int end_item(struct docker_list *l) {
    char why[JSON_ERROR_TEXT_LENGTH];
    AUTO_JSON json_t *j =
        l->too_long ? NULL : json_value_parse(buf_text(&l->item), l->item.len, why, sizeof(why));
    if (l->too_long)
        buf_done(&l->item);
    else
        buf_consume(&l->item, l->item.len);
    l->too_long = l->in_item = false;
    if (!json_is_object(j)) {
        l->skipped++;
        return 0;
    }
    json_t *kept = keep_fields(j);
    return kept && json_array_append_new(l->items, kept) == 0 ? 0 : -ENOMEM;
}

/* ---- splitting ---- */

static int add_bytes(struct docker_list *l, const char *data, size_t len) {
    if (l->too_long)
        return 0;
    int r = buf_append(&l->item, data, len);
    if (r != -EMSGSIZE)
        return r;
    l->too_long = true;
    return 0;
}

/* Keeps track of strings and brackets. Returns true when @c is the comma or bracket that ends
 * an element. */
static bool ends_item(struct docker_list *l, char c) {
    if (l->escaped) {
        l->escaped = false;
    } else if (l->in_string) {
        l->escaped = c == '\\';
        l->in_string = c != '"';
    } else if (c == '"') {
        l->in_string = true;
    } else if (c == '{' || c == '[') {
        l->depth++;
    } else if ((c == ',' || c == ']') && l->depth == 0) {
        return true;
    } else if ((c == '}' || c == ']') && l->depth > 0) {
        l->depth--;
    }
    return false;
}

/* Handles a character between elements. Returns 0; 1 when @c begins an element; -EPROTO. */
static int between_elements(struct docker_list *l, char c) {
    if (strchr(" \t\r\n", c) && c)
        return 0;
    if (l->state == LIST_ENDED || (l->state == LIST_NOT_BEGUN && c != '[')) {
        l->broken = true;
        return -EPROTO;
    }
    if (l->state == LIST_NOT_BEGUN) {
        l->state = LIST_OPEN;
        return 0;
    }
    if (c == ']') {
        l->state = LIST_ENDED;
        return 0;
    }
    if (c == ',') /* the element before it is complete */
        return 0;
    l->in_item = true;
    return 1;
}

int docker_list_feed(struct docker_list *l, const char *data, size_t len) {
    if (!l->items)
        return -ENOMEM;
    int r = 0;
    size_t from = 0; /* start of the element in @data */
    for (size_t i = 0; i < len && r >= 0; i++) {
        if (!l->in_item) {
            r = between_elements(l, data[i]);
            if (r <= 0)
                continue;
            from = i;
        }
        if (!ends_item(l, data[i]))
            continue;
        r = add_bytes(l, data + from, i - from);
        if (r == 0)
            r = end_item(l);
        if (data[i] == ']')
            l->state = LIST_ENDED;
    }
    if (r >= 0 && l->in_item)
        r = add_bytes(l, data + from, len - from);
    return r < 0 ? r : 0;
}

bool docker_list_is_whole(const struct docker_list *l) {
    return l->state == LIST_ENDED && !l->broken;
}
