/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Decodes MessagePack, as Nomad sends it, to JSON values. Sizes are checked before
 * anything is reserved.
 *
 * Why JSON values: the default literals of the tables are JSON too (HCL2 reads it), so one decoder
 * handles given values and defaults alike. */
#include "paddock/err.h"

#include <jansson.h>

#define CONFIG_WIRE_MAX (1u << 20) /* bytes of one configuration or driver state */
#define CONFIG_WIRE_DEPTH 16       /* nesting of maps and arrays; ours need 6 */

/** Numbers become integers or reals; beyond int64 they become their decimal text. str and
 * bin become strings.
 *  Returns 0; -EINVAL (ERR_INVALID) for: cut off, trailing bytes, too deep, more elements declared
 *  than bytes follow, extension types (unknown values of HCL), keys that are not strings, texts
 *  with NUL or bad UTF-8; -EMSGSIZE (ERR_INVALID) beyond CONFIG_WIRE_MAX; -ENOMEM.
 *  @ret: set on success only. Owner: caller. Context: pure, any thread. */
int config_wire_decode(const void *data, size_t len, json_t **ret, struct err *err) MUST_CHECK;

static inline void config_json_done(json_t **j) {
    json_decref(*j);
    *j = NULL;
}
#define AUTO_CONFIG_JSON __attribute__((cleanup(config_json_done)))
