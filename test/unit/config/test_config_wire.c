/* SPDX-License-Identifier: MPL-2.0 */
/* Hostile and damaged msgpack bytes. */
#include "unit/config/pack.h"

#include "src/config/config_wire.h"

static const char whole[] =
    "{\"image\": \"i\", \"args\": [\"a\", \"b\"], \"shm_size\": 70000, \"pids_limit\": -5000000000,"
    "\"labels\": [{\"k\": \"v\"}], \"tty\": true, \"command\": null, \"mount\": [{\"target\":"
    "\"a text that is longer than thirty-one bytes\", \"tmpfs_options\": {\"size\": 1.0}}]}";

static void test_decode__cut_at_every_byte__einval(void **state) {
    (void)state;
    struct buf b = pack(whole);
    for (size_t n = 1; n < b.len; n++) {
        struct job_config c;
        struct err err = {0};
        char *exact = malloc(n); /* so that ASan detects a read beyond it */
        assert_non_null(exact);
        memcpy(exact, b.data, n);
        assert_int_equal(config_job_decode(exact, n, &c, &err), -EINVAL);
        assert_string_equal(err.text, "configuration: not a valid MessagePack value");
        free(exact);
    }
    AUTO_JOB_CONFIG struct job_config c = {0};
    assert_int_equal(config_job_decode(b.data, b.len, &c, NULL), 0);
    buf_done(&b);
}

static void test_decode__each_byte_changed__no_harm(void **state) {
    (void)state;
    struct buf b = pack(whole);
    for (size_t at = 0; at < b.len; at++) {
        for (int v = 0; v < 256; v++) {
            char keep = b.data[at];
            b.data[at] = (char)v;
            AUTO_JOB_CONFIG struct job_config c = {0};
            int r = config_job_decode(b.data, b.len, &c, NULL);
            assert_true(r == 0 || r == -EINVAL);
            b.data[at] = keep;
        }
    }
    buf_done(&b);
}

struct raw {
    const char *bytes;
    size_t len;
    const char *text;
};
#define RAW(bytes, text)                                                                           \
    { bytes, sizeof(bytes) - 1, text }
#define BAD "not a valid MessagePack value"

static void test_decode__hostile__refused(void **state) {
    static const struct raw rows[] = {
        RAW("\xdd\xff\x00\x00\x00", BAD), /* 4 billion elements */
        RAW("\xdd\x00\xff\xff\xff", BAD), /* would reserve 400 MB */
        RAW("\xdf\xff\xff\xff\xff", BAD), /* a map of 4 billion elements */
        RAW("\xdb\xff\xff\xff\xff"
            "a",
            BAD), /* a text of 4 GB */
        RAW("\xc6\xff\xff\xff\xff"
            "a",
            BAD),                                                       /* 4 GB of bytes */
        RAW("\xc1", BAD),                                               /* no msgpack type */
        RAW("\xd4\x00\x00", "configuration: the value is unknown"),     /* HCL's unknown value */
        RAW("\xc7\x01\x0c\x00", "configuration: the value is unknown"), /* with a refinement */
        RAW("\xc7\x02\x0c\x00", BAD),                                   /* cut off */
        RAW("\xd8\x00", BAD),
        RAW("\xc9\xff\xff\xff\xff\x00", BAD),
        RAW("\x81\xa4"
            "args\x92\xa1x\xd4\x00\x00",
            "args[1]: the value is unknown, Nomad could not interpolate it"),
        RAW("\x81\xa5"
            "mount\x91\x81\xa6"
            "source\xc7\x01\x0c\x00",
            "mount[0].source: the value is unknown"),
        RAW("\x81\xa4"
            "a\x1b"
            "bc\xd5\x00\x00\x00",
            "a: the value is unknown"),
        RAW("\x80\x80", BAD), /* bytes after the end */
        RAW("\x81\x01\x02", "a key is not a string"),
        RAW("\x81\xa1"
            "a\xa2"
            "b\x00",
            "a: a text holds a NUL byte"),
        RAW("\x81\xa1"
            "a\xa1\xff",
            "a: a text is not valid UTF-8"),
        RAW("\x81\xa1"
            "a\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
            "a: a number is not finite"),
        RAW("\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0", BAD),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        json_t *v = NULL;
        if (config_wire_decode(rows[i].bytes, rows[i].len, &v, &err) != -EINVAL)
            fail_msg("row %zu is accepted", i);
        assert_null(v);
        assert_contains(err.text, rows[i].text);
    }
}

static void test_decode__too_long__emsgsize(void **state) {
    (void)state;
    json_t *v = NULL;
    char *zeros = calloc(1, CONFIG_WIRE_MAX + 1);
    assert_int_equal(config_wire_decode(zeros, CONFIG_WIRE_MAX + 1, &v, NULL), -EMSGSIZE);
    free(zeros);
}

static void test_decode__every_width(void **state) {
    static const struct {
        const char *bytes;
        size_t len;
        int64_t v;
    } rows[] = {{"\x7f", 1, 127},
                {"\xe0", 1, -32},
                {"\xcc\xff", 2, 255},
                {"\xcd\xff\xff", 3, 65535},
                {"\xce\xff\xff\xff\xff", 5, 4294967295},
                {"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX},
                {"\xd0\x80", 2, -128},
                {"\xd1\x80\x00", 3, -32768},
                {"\xd2\x80\x00\x00\x00", 5, INT32_MIN},
                {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, INT64_MIN}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_CONFIG_JSON json_t *v = NULL;
        assert_int_equal(config_wire_decode(rows[i].bytes, rows[i].len, &v, NULL), 0);
        assert_true(json_integer_value(v) == rows[i].v);
    }
    AUTO_CONFIG_JSON json_t *big = NULL, *bin = NULL;
    assert_int_equal(config_wire_decode("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, &big, NULL), 0);
    assert_string_equal(json_string_value(big), "18446744073709551615");
    assert_int_equal(config_wire_decode("\xc4\x02hi", 4, &bin, NULL), 0);
    assert_string_equal(json_string_value(bin), "hi");
}

static void test_decode__random_bytes__no_harm(void **state) {
    (void)state;
    uint32_t x = 2463534242; /* xorshift: the same bytes each time */
    for (int round = 0; round < 20000; round++) {
        unsigned char data[48];
        for (size_t i = 0; i < sizeof(data); i++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            data[i] = (unsigned char)x;
        }
        AUTO_PLUGIN_CONFIG struct plugin_config c = {0};
        int r = config_plugin_decode(data, data[0] % sizeof(data), &c, NULL);
        assert_true(r == 0 || r == -EINVAL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode__cut_at_every_byte__einval),
        cmocka_unit_test(test_decode__each_byte_changed__no_harm),
        cmocka_unit_test(test_decode__hostile__refused),
        cmocka_unit_test(test_decode__too_long__emsgsize),
        cmocka_unit_test(test_decode__every_width),
        cmocka_unit_test(test_decode__random_bytes__no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
