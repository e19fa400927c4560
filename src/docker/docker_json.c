#include "docker_priv.h"

#include <stdio.h>
#include <string.h>

const char *docker_json_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

void docker_json_copy(const json_t *object, const char *key, char *out, size_t size) {
    snprintf(out, size, "%s", docker_json_text(object, key));
}

int64_t docker_json_int(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    if (json_is_integer(v))
        return json_integer_value(v);
    double real = json_number_value(v);
    /* Beyond int64 the conversion is undefined. */
    if (real >= 9223372036854775807.0)
        return INT64_MAX;
    return real <= -9223372036854775808.0 ? INT64_MIN : (int64_t)real;
}

bool docker_json_bool(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

json_t *docker_json_parse(const char *data, size_t len, char *text, size_t text_size) {
    json_error_t e;
    json_t *j = json_loadb(data, len, JSON_DECODE_ANY, &e);
    if (!j && json_error_code(&e) == json_error_numeric_overflow)
        j = json_loadb(data, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &e);
    if (!j)
        snprintf(text, text_size, "%s", e.text);
    return j;
}
