/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* User namespaces of a dockerd with userns-remap. */
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/** @info: Docker's GET /info. Returns true when dockerd runs with userns-remap: root in its
 * containers is then the user @ret_uid and the group @ret_gid of the host. Context: pure. */
bool docker_userns_root(const json_t *info, uid_t *ret_uid, gid_t *ret_gid);
