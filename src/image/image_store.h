#pragma once
/* What the parts of the image module share: the table of users, the pulls, one lock over both. */
#include "image_waiters.h"
#include "paddock/image.h"

struct image_held;
struct image_shared;

struct images {
    struct images_options o;
    char *auth_config, *auth_helper;
    struct loop_timer *timer; /* the next removal */
    pthread_mutex_t lock;     /* guards all below; held by no call that blocks */
    struct image_waiters waiters;
    struct image_held *held;
    struct image_shared *shared;
    unsigned removals; /* that have ended: what was seen before one may be gone */
    unsigned looks;    /* that wait for their answer: no removal begins */
    bool put_off;      /* a removal was, because of them: no more of them until it has begun */
};
