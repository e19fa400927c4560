/* SPDX-License-Identifier: MPL-2.0 */
/* The set as a value: it is read from text and written as text, and its operations are compared on
 * random sets. */
#include "paddock/cpuset.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    int r;
    const char *back;
} rows[] = {
    {"0", 0, "0"},           {"0-3", 0, "0-3"},
    {"0-3\n", 0, "0-3"},     {"  0-3,8 \n\n", 0, "0-3,8"},
    {"0,1", 0, "0-1"},       {"3,1,2,1", 0, "1-3"},
    {"0-3,2-5", 0, "0-5"},   {"63-64", 0, "63-64"},
    {"0-8191", 0, "0-8191"}, {"8191", 0, "8191"},
    {"8192", -ERANGE, NULL}, {"99999999999999999999", -ERANGE, NULL},
    {"3-0", -EINVAL, NULL},  {"", -ENODATA, NULL},
    {" \n", -ENODATA, NULL}, {"\n", -ENODATA, NULL},
    {",", -EINVAL, NULL},    {"1,", -EINVAL, NULL},
    {"1-", -EINVAL, NULL},   {"-1", -EINVAL, NULL},
    {"1--2", -EINVAL, NULL}, {"1 2", -EINVAL, NULL},
    {"0x1", -EINVAL, NULL},  {"+1", -EINVAL, NULL},
    {"a", -EINVAL, NULL},
};

static void test_parse__each_row(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char back[CPUSET_TEXT_MAX];
        struct cpuset s = {{7}};
        int r = cpuset_parse(rows[i].text, strlen(rows[i].text), &s);
        if (r != rows[i].r)
            fail_msg("\"%s\": %d, not %d", rows[i].text, r, rows[i].r);
        if (r < 0) {
            assert_int_equal(s.bits[0], 7); /* not changed on failure */
            continue;
        }
        assert_int_equal(cpuset_format(&s, back, sizeof(back)), strlen(rows[i].back));
        assert_string_equal(back, rows[i].back);
    }
}

static void test_format__worst_case__fits(void **state) {
    static char text[CPUSET_TEXT_MAX];
    struct cpuset s = {{0}}, back;
    (void)state;
    for (unsigned cpu = 0; cpu < CPUSET_MAX_CPUS; cpu += 2)
        cpuset_add(&s, cpu);
    int n = cpuset_format(&s, text, sizeof(text));
    assert_true(n > 0);
    assert_int_equal(cpuset_parse(text, (size_t)n, &back), 0);
    assert_true(cpuset_equal(&s, &back));
    assert_int_equal(cpuset_format(&s, text, (size_t)n), -ENOSPC);
    assert_int_equal(cpuset_format(&s, text, (size_t)n + 1), n);
    assert_int_equal(cpuset_format(&s, text, 0), -ENOSPC);
}

static void test_bytes__little_endian_and_cut(void **state) {
    struct cpuset s = {{0}};
    uint8_t bytes[CPUSET_MAX_CPUS / 8];
    (void)state;
    assert_int_equal(cpuset_to_bytes(&s, bytes), 0);
    cpuset_add(&s, 1);
    cpuset_add(&s, 10);
    assert_int_equal(cpuset_to_bytes(&s, bytes), 2);
    assert_int_equal(bytes[0], 0x02);
    assert_int_equal(bytes[1], 0x04);
    cpuset_add(&s, CPUSET_MAX_CPUS); /* no such CPU */
    cpuset_add(&s, CPUSET_MAX_CPUS - 1);
    assert_int_equal(cpuset_to_bytes(&s, bytes), sizeof(bytes));
}

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void random_set(struct cpuset *s) {
    *s = (struct cpuset){{0}};
    for (unsigned n = (unsigned)(next_random() % 40); n > 0; n--)
        cpuset_add(s, (unsigned)(next_random() % 200));
}

static void test_algebra__random_sets(void **state) {
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct cpuset a, b, both, minus, all;
        random_set(&a);
        random_set(&b);
        both = minus = all = a;
        cpuset_intersect(&both, &b);
        cpuset_subtract(&minus, &b);
        cpuset_union(&all, &b);
        assert_int_equal(cpuset_count(&both) + cpuset_count(&minus), cpuset_count(&a));
        assert_int_equal(cpuset_count(&all), cpuset_count(&minus) + cpuset_count(&b));
        assert_int_equal(cpuset_intersects(&a, &b), !cpuset_is_empty(&both));
        assert_false(cpuset_intersects(&minus, &b));
        assert_true(cpuset_contains(&all, &a) && cpuset_contains(&a, &both));
        assert_int_equal(cpuset_contains(&b, &a), cpuset_is_empty(&minus));
        for (unsigned cpu = 0; cpu < 200; cpu++)
            assert_int_equal(cpuset_has(&minus, cpu), cpuset_has(&a, cpu) && !cpuset_has(&b, cpu));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse__each_row),
        cmocka_unit_test(test_format__worst_case__fits),
        cmocka_unit_test(test_bytes__little_endian_and_cut),
        cmocka_unit_test(test_algebra__random_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
