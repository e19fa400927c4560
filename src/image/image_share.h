/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include "src/image/image_store.h"

/** Pulls, or waits for another caller's pull of the same image with the same credentials. Returns
 * 0; -errno with @err "Failed to pull `x`: ...". */
int image_share_pull(struct images *im, const struct call *call, const struct image_want *want,
                     struct err *err) MUST_CHECK;
