/* Nomad's message of a task: decoded or refused. And what we send: mended once it is UTF-8 and a
 * message still. */
#include "plugin/rpc_utf8.h"
#include "plugin/task_decode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_mended(const Driver__TaskConfig *m) {
    size_t len = driver__task_config__get_packed_size(m);
    AUTO_FREE uint8_t *once = malloc(len + 1);
    AUTO_FREE uint8_t *twice = malloc(len + 1);
    if (!once || !twice || driver__task_config__pack(m, once) != len)
        abort();
    rpc_utf8_mend_message(once, len, &driver__task_config__descriptor);
    memcpy(twice, once, len);
    rpc_utf8_mend_message(twice, len, &driver__task_config__descriptor);
    Driver__TaskConfig *back = driver__task_config__unpack(NULL, len, once);
    if (memcmp(once, twice, len) != 0 || !back)
        abort();
    driver__task_config__free_unpacked(back, NULL);
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
