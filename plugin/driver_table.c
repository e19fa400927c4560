#include "plugin/driver_table.h"

/* Fingerprint and TaskEvents must never end: Nomad opens them again at once, without a pause. */
static const struct rpc_method rows[] = {
    {DRIVER_SERVICE "Fingerprint", .kind = RPC_STREAM},
    {DRIVER_SERVICE "TaskEvents", .kind = RPC_STREAM},
};

const struct rpc_method *driver_table(size_t *ret_n) {
    *ret_n = ARRAY_LEN(rows);
    return rows;
}
