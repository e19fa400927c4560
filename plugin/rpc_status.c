/* SPDX-License-Identifier: MPL-2.0 */
/* Converts an error to gRPC's status. rpc_call.c and rpc_stream.c call it.
 *
 * This is the only place that maps an error class to a gRPC code. Only ERR_RECOVERABLE has details:
 * Nomad restarts a task locally only when they contain RecoverableError{true}. */
#include "plugin/rpc_status.h"
#include "plugin/rpc_utf8.h"

#include "google/status.pb-c.h"
#include "structs.pb-c.h"

#include <grpc/status.h>
#include <string.h>

#define RECOVERABLE_URL                                                                            \
    "type.googleapis.com/hashicorp.nomad.plugins.shared.structs.RecoverableError"

static grpc_status_code status_code(enum err_class cls) {
    switch (cls) {
    case ERR_INVALID:
        return GRPC_STATUS_INVALID_ARGUMENT;
    case ERR_NOT_FOUND:
        return GRPC_STATUS_NOT_FOUND;
    case ERR_RECOVERABLE:
        return GRPC_STATUS_FAILED_PRECONDITION;
    case ERR_UNSUPPORTED:
        return GRPC_STATUS_UNIMPLEMENTED;
    case ERR_DEADLINE:
        return GRPC_STATUS_DEADLINE_EXCEEDED;
    case ERR_PLAIN:
        break;
    }
    return GRPC_STATUS_UNKNOWN;
}

static void status_add_recoverable(struct rpc_status *st) {
    Structs__RecoverableError recoverable = STRUCTS__RECOVERABLE_ERROR__INIT;
    recoverable.recoverable = true;
    uint8_t value[16];
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.type_url = (char *)RECOVERABLE_URL;
    any.value.data = value;
    any.value.len = structs__recoverable_error__pack(&recoverable, value);
    Google__Protobuf__Any *details[] = {&any};
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    status.code = st->code;
    status.message = st->text;
    status.details = details;
    status.n_details = 1;
    if (google__rpc__status__get_packed_size(&status) <= sizeof(st->details))
        st->details_len = google__rpc__status__pack(&status, st->details);
}

void rpc_status_from_err(const struct err *err, struct rpc_status *ret) {
    ret->code = GRPC_STATUS_OK;
    ret->text[0] = '\0';
    ret->details_len = 0;
    if (!err)
        return;
    ret->code = status_code(err->set ? err->cls : ERR_PLAIN);
    const char *text = err->set && err->text[0] ? err->text : "unknown error";
    size_t len = strnlen(text, sizeof(ret->text) - 1);
    memcpy(ret->text, text, len);
    ret->text[len] = '\0';
    rpc_utf8_mend((uint8_t *)ret->text, len);
    if (err->set && err->cls == ERR_RECOVERABLE)
        status_add_recoverable(ret);
}
