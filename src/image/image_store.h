/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The data that the files of the image module share: the table of users and the pulls, under
 * one lock. */
#include "src/image/image_count.h"
#include "src/image/image_waiters.h"
#include "paddock/image.h"

struct image_held;
struct image_shared;

struct images {
    struct images_options o;
    char *auth_config, *auth_helper;
    struct loop_timer *timer; /* the next removal */
    struct image_counts counts;
    pthread_mutex_t lock; /* guards all fields below; no call that blocks holds it */
    struct image_waiters waiters;
    struct image_held *held;
    struct image_shared *shared;
    unsigned removals; /* how many have ended; an image seen before one of them may be removed */
    unsigned looks;    /* how many wait for their answer; while there is one, no removal begins */
    bool put_off;      /* a removal was put off because of looks; no new look begins before it */
};
