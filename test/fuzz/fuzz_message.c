/* SPDX-License-Identifier: MPL-2.0 */
/* Nomad's message for a task is decoded or refused. Text that we send is repaired once: it is then
 * valid UTF-8, and the message can still be decoded. */
#include "plugin/rpc_utf8.h"
#include "plugin/task_decode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_message(const uint8_t *bytes, size_t len) {
    Driver__TaskConfig *m = driver__task_config__unpack(NULL, len, bytes);
    if (m)
        driver__task_config__free_unpacked(m, NULL);
    return m != NULL;
}

static void check_mended(const Driver__TaskConfig *m) {
    size_t len = driver__task_config__get_packed_size(m);
    AUTO_FREE uint8_t *once = malloc(len + 1);
    AUTO_FREE uint8_t *twice = malloc(len + 1);
    if (!once || !twice || driver__task_config__pack(m, once) != len)
        abort();
    /* protobuf-c packs some unknown fields in a form that it cannot read again. */
    if (!is_message(once, len))
        return;
    rpc_utf8_mend_message(once, len, &driver__task_config__descriptor);
    memcpy(twice, once, len);
    rpc_utf8_mend_message(twice, len, &driver__task_config__descriptor);
    if (memcmp(once, twice, len) != 0 || !is_message(once, len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Driver__TaskConfig *m = driver__task_config__unpack(NULL, size, data);
    AUTO_TASK_CONFIG struct task_config c = {.id = NULL};
    struct err err = {.set = false};
    int r = task_decode(m, &c, &err);
    if ((r < 0) != err.set || (r == 0 && (!c.id[0] || !c.name[0])))
        abort();
    if (m) {
        check_mended(m);
        driver__task_config__free_unpacked(m, NULL);
    }
    return 0;
}
