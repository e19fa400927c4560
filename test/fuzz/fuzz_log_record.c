/* SPDX-License-Identifier: MPL-2.0 */
/* A line of a json-file log: the scanner and jansson must agree on what it contains. */
#include "src/pump/log_record.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int expect(const json_t *root, const char **ret_text, size_t *ret_len, int *ret_stream) {
    const json_t *log = json_object_get(root, "log"), *stream = json_object_get(root, "stream"),
                 *time = json_object_get(root, "time");
    if (!json_is_string(stream) || !json_is_string(time) || (log && !json_is_string(log)))
        return -EPROTO;
    const char *name = json_string_value(stream), *stamp = json_string_value(time);
    if ((strcmp(name, "stdout") != 0 && strcmp(name, "stderr") != 0) ||
        json_string_length(time) >= LOG_RECORD_TIME_MAX ||
        strspn(stamp, "0123456789-:.+TZ") != json_string_length(time))
        return -EPROTO;
    *ret_text = log ? json_string_value(log) : "";
    *ret_len = log ? json_string_length(log) : 0;
    *ret_stream = strcmp(name, "stderr") == 0;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *line = (const char *)data, *want;
    char *text = malloc(size + 8);
    struct log_record r;
    size_t len;
    int stream;
    json_t *root = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
    if (!text)
        abort();
    int got = log_record_parse(line, size, text, &r), wanted = expect(root, &want, &len, &stream);
    if (got != wanted)
        abort();
    if (got == 0 && (r.text_len != len || memcmp(text, want, len) != 0 || r.stream != stream ||
                     strcmp(r.time, json_string_value(json_object_get(root, "time"))) != 0))
        abort();
    size_t next = log_record_resync(line, size);
    if (next > size || (size > 0 && next == 0))
        abort();
    json_decref(root);
    free(text);
    return 0;
}
