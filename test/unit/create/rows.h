/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Tables of the create request. A row is one rule: the input, and either what Docker is sent or the
 * error that names the input. */
#include "unit/create/test_create.h"

#define HC "HostConfig>"

struct row {
    const char *name;
    struct input in;
    struct {
        const char *path, *json;
    } want[5];
    const char *error; /* substring */
    int code;          /* 0 = any */
};

/** Builds the request of each row and compares. */
static inline void rows_run(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct row *row = &rows[i];
        AUTO_JSON json_t *body = NULL;
        struct err err = {0};
        int r = input_build(&row->in, &body, &err);
        if (row->error) {
            if (r >= 0 || !strstr(err.text, row->error) || err.cls != ERR_PLAIN)
                fail_msg("%s: %d \"%s\", want \"%s\"", row->name, r, err.text, row->error);
            assert_null(body);
            if (row->code)
                assert_int_equal(r, row->code);
            continue;
        }
        if (r < 0)
            fail_msg("%s: %d %s", row->name, r, err.text);
        assert_non_null(row->want[0].path);
        for (size_t k = 0; k < ARRAY_LEN(row->want) && row->want[k].path; k++)
            assert_value(row->name, body, row->want[k].path, row->want[k].json);
    }
}

/** The test of a table. */
#define TABLE_TEST(table)                                                                          \
    static void test_create_build__##table(void **state) {                                         \
        (void)state;                                                                               \
        rows_run(table, ARRAY_LEN(table));                                                         \
    }
