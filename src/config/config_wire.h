#pragma once
/* MessagePack as Nomad sends it, turned into JSON values, bounded before anything is reserved.
 *
 * Why JSON values: the tables' default literals are JSON too (HCL2 reads it), so that one decoder
 * places given values and defaults alike. */
#include "paddock/err.h"

#include <jansson.h>

#define CONFIG_WIRE_MAX (1u << 20) /* bytes of one configuration or driver state */
#define CONFIG_WIRE_DEPTH 16       /* maps and arrays inside each other; ours need 6 */

/** Numbers become integers or reals (beyond int64: their decimal text), str and bin become strings.
 *  Returns 0; -EINVAL (ERR_INVALID): cut off, trailing bytes, too deep, more elements declared than
 * bytes are there, extension types (unknown values of HCL), keys that are no strings, texts with
 * NUL or bad UTF-8; -EMSGSIZE (ERR_INVALID) beyond CONFIG_WIRE_MAX; -ENOMEM.
 *  @ret: set on success only. Owner: caller. Context: pure, any thread. */
int config_wire_decode(const void *data, size_t len, json_t **ret, struct err *err) MUST_CHECK;

static inline void config_json_done(json_t **j) {
    json_decref(*j);
    *j = NULL;
}
#define AUTO_CONFIG_JSON __attribute__((cleanup(config_json_done)))
