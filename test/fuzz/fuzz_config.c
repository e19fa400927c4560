/* SPDX-License-Identifier: MPL-2.0 */
/* Both configurations and driver_state, decoded from the same bytes. The first byte has no special
 * meaning; each decoder gets all bytes. A state that can be decoded must be the same after it is
 * written and read again. */
#include "paddock/config.h"
#include "paddock/task_state.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    AUTO_PLUGIN_CONFIG struct plugin_config plugin = {.endpoint = NULL};
    AUTO_JOB_CONFIG struct job_config job = {.image = NULL};
    AUTO_TASK_STATE struct task_state state = {.container_id = NULL},
                                      again = {.container_id = NULL};
    struct err err = {.set = false};
    if (config_plugin_decode(data, size, &plugin, &err) == 0 && !plugin.endpoint)
        abort();
    if (config_job_decode(data, size, &job, NULL) == 0 && str_empty(job.image))
        abort();
    if (task_state_decode(data, size, &state, NULL) < 0)
        return 0;
    AUTO_BUF struct buf out;
    buf_init(&out, 4u << 20);
    if (task_state_encode(&state, &out, NULL) < 0 ||
        task_state_decode(out.data, out.len, &again, NULL) < 0 ||
        strcmp(state.container_id, again.container_id) != 0)
        abort();
    return 0;
}
