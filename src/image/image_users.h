/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The table of image users; see image_users.c. */
#include "src/image/image_store.h"

/** Adds @user to image @id. The caller holds the lock. @name: the image's name in the request of
 * @user, "" = not known. Returns 0; 1 when the image is being removed now; -ENOMEM. */
int image_users_add(struct images *im, const char *id, const char *name,
                    const char *user) MUST_CHECK;
/** Returns true while a removal is running. The caller holds the lock. */
bool image_users_removing(const struct images *im);
/** The timer's callback: starts the due removals. */
void image_users_on_timer(void *im);
void image_users_free(struct images *im);
