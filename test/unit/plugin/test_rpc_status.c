/* SPDX-License-Identifier: MPL-2.0 */
/* The gRPC status of each class of error, and the details that Nomad reads. */
#include "plugin/rpc_status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "google/status.pb-c.h"
#include "structs.pb-c.h"

#include <string.h>

static struct rpc_status status_of(enum err_class cls, const char *text) {
    struct err err = {.set = false};
    struct rpc_status st;
    err_set(&err, cls, EIO, "%s", text);
    rpc_status_from_err(&err, &st);
    return st;
}

static void test_rpc_status__no_error__ok(void **state) {
    struct rpc_status st;
    (void)state;
    rpc_status_from_err(NULL, &st);
    assert_int_equal(st.code, 0);
    assert_string_equal(st.text, "");
    assert_int_equal(st.details_len, 0);
}

static void test_rpc_status__unset_error__unknown(void **state) {
    const struct err err = {.set = false};
    struct rpc_status st;
    (void)state;
    rpc_status_from_err(&err, &st);
    assert_int_equal(st.code, 2);
    assert_string_equal(st.text, "unknown error");
}

/* The host relies on the numbers of the gRPC specification, so they are written here. */
static void test_rpc_status__classes__codes(void **state) {
    static const struct {
        enum err_class cls;
        int code;
    } rows[] = {{ERR_PLAIN, 2},       {ERR_INVALID, 3},      {ERR_NOT_FOUND, 5},
                {ERR_RECOVERABLE, 9}, {ERR_UNSUPPORTED, 12}, {ERR_DEADLINE, 4}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rpc_status st = status_of(rows[i].cls, "x");
        assert_int_equal(st.code, rows[i].code);
        assert_string_equal(st.text, "x");
        assert_true((st.details_len > 0) == (rows[i].cls == ERR_RECOVERABLE));
    }
}

static void test_rpc_status__recoverable__in_the_first_detail(void **state) {
    struct rpc_status st = status_of(ERR_RECOVERABLE, "pull: busy");
    (void)state;
    Google__Rpc__Status *out = google__rpc__status__unpack(NULL, st.details_len, st.details);
    assert_non_null(out);
    assert_int_equal(out->code, 9);
    assert_string_equal(out->message, "pull: busy");
    assert_int_equal(out->n_details, 1);
    assert_string_equal(
        out->details[0]->type_url,
        "type.googleapis.com/hashicorp.nomad.plugins.shared.structs.RecoverableError");
    static const uint8_t yes[] = {0x08, 0x01}; /* field 1, varint 1 */
    assert_int_equal(out->details[0]->value.len, sizeof(yes));
    assert_memory_equal(out->details[0]->value.data, yes, sizeof(yes));
    google__rpc__status__free_unpacked(out, NULL);
}

static void test_rpc_status__longest_text__details_fit(void **state) {
    char text[ERR_TEXT_MAX];
    (void)state;
    memset(text, 'z', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct rpc_status st = status_of(ERR_RECOVERABLE, text);
    assert_string_equal(st.text, text);
    assert_true(st.details_len > sizeof(text));
}

static void test_rpc_status__bad_utf8__question_marks(void **state) {
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"a\xff"
         "b",
         "a?b"},
        {"cut \xc3", "cut ?"},
        {"cut \xe2\x82", "cut ??"},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb4", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xb4"},
        {"\xc0\xaf", "??"},           /* over-long */
        {"\xed\xa0\x80", "???"},      /* surrogate */
        {"\xf5\x80\x80\x80", "????"}, /* beyond Unicode */
        {"\xe0\x80\x80 \xf0\x80\x80\x80 \xf4\x90\x80\x80", "??? ???? ????"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rpc_status st = status_of(ERR_PLAIN, rows[i].in);
        assert_string_equal(st.text, rows[i].out);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rpc_status__no_error__ok),
        cmocka_unit_test(test_rpc_status__unset_error__unknown),
        cmocka_unit_test(test_rpc_status__classes__codes),
        cmocka_unit_test(test_rpc_status__recoverable__in_the_first_detail),
        cmocka_unit_test(test_rpc_status__longest_text__details_fit),
        cmocka_unit_test(test_rpc_status__bad_utf8__question_marks),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
