/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Parser of GET /containers/json that splits the list into its elements while it arrives; see
 * docker_list.c. Pure; one thread. */
#include "src/docker/docker_priv.h"

/* Limit of one container's part of the list. */
#define DOCKER_LIST_ITEM_MAX (1u << 20)

struct docker_list {
    json_t *items;  /* array of objects: Id, Names, Created, Labels of Nomad and ours */
    size_t skipped; /* elements that are too long or no JSON object */
    /* ---- state of the splitting ---- */
    enum { LIST_NOT_BEGUN, LIST_OPEN, LIST_ENDED } state;
    struct buf item; /* the part of the element that has arrived */
    bool in_item, too_long, in_string, escaped;
    bool broken;  /* the answer is no array */
    size_t depth; /* open brackets inside of the element */
};

void docker_list_init(struct docker_list *l);
void docker_list_done(struct docker_list *l);

/** Parses the next bytes. Returns 0; -EPROTO when this is no JSON array; -ENOMEM. */
int docker_list_feed(struct docker_list *l, const char *data, size_t len) MUST_CHECK;
/** Returns true when the array is complete. */
bool docker_list_is_whole(const struct docker_list *l);
