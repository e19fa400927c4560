#pragma once
/* The table of users: see image_users.c. */
#include "image_store.h"

/** Under the lock. @name: by which @user asked for it, "" = not known. Returns 0; 1 it is being
 * removed right now; -ENOMEM. */
int image_users_add(struct images *im, const char *id, const char *name,
                    const char *user) MUST_CHECK;
/** Under the lock: a removal is under way. */
bool image_users_removing(const struct images *im);
/** The timer's: starts the removals that are due. */
void image_users_on_timer(void *im);
void image_users_free(struct images *im);
