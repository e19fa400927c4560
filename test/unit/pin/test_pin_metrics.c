/* SPDX-License-Identifier: MPL-2.0 */
/* The metrics of the reconciler, parsed as Prometheus parses them. */
#include "unit/pin/pin_world.h"

static size_t name_len(const char *p, bool metric) {
    size_t n = 0;
    while ((p[n] >= 'a' && p[n] <= 'z') || (p[n] >= 'A' && p[n] <= 'Z') || p[n] == '_' ||
           (metric && p[n] == ':') || (n > 0 && p[n] >= '0' && p[n] <= '9'))
        n++;
    return n;
}

/* Skips `name="value"` at @p. Returns the text after it, or NULL when there is no valid label. */
static const char *skip_label(const char *p) {
    size_t n = name_len(p, false);
    if (n == 0 || p[n] != '=' || p[n + 1] != '"')
        return NULL;
    for (p += n + 2; *p && *p != '"'; p++)
        if (*p == '\n' || (*p == '\\' && (!*++p || !strchr("\\\"n", *p))))
            return NULL;
    return *p ? p + 1 : NULL;
}

static bool is_suffix(const char *text, size_t len) {
    static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (strlen(suffixes[i]) == len && strncmp(text, suffixes[i], len) == 0)
            return true;
    return false;
}

/* Is @line a sample of the metric @name? */
static bool is_sample(const char *line, const char *name) {
    size_t n = name_len(line, true), family = strlen(name);
    const char *p = line + n;
    char *end;
    if (n < family || strncmp(line, name, family) != 0 || !is_suffix(line + family, n - family))
        return false;
    if (*p == '{') {
        do
            p = skip_label(p + 1);
        while (p && *p == ',');
        if (!p || *p++ != '}')
            return false;
    }
    return *p == ' ' && p[1] && strtod(p + 1, &end) >= 0 && *end == '\0';
}

/* Each metric has HELP, TYPE and samples. Counters end in _total. No name appears twice. */
static void assert_prometheus(char *text) {
    char seen[32][80], *save = NULL;
    size_t n = 0;
    assert_true(text[0] && text[strlen(text) - 1] == '\n');
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[80] = "", kind[16] = "";
        if (strncmp(line, "# HELP ", 7) != 0) {
            if (n == 0 || !is_sample(line, seen[n - 1]))
                fail_msg("no sample: %s", line);
            continue;
        }
        assert_int_equal(sscanf(line, "# HELP %79s", name), 1);
        assert_true(name_len(name, true) == strlen(name) && strlen(line) > 8 + strlen(name));
        for (size_t i = 0; i < n; i++)
            assert_string_not_equal(seen[i], name);
        assert_true(n < ARRAY_LEN(seen));
        snprintf(seen[n++], sizeof(seen[0]), "%s", name);
        line = strtok_r(NULL, "\n", &save);
        assert_non_null(line);
        assert_int_equal(sscanf(line, "# TYPE %79s %15s", name, kind), 2);
        assert_string_equal(name, seen[n - 1]);
        bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
        if (strcmp(kind, "histogram") != 0)
            assert_string_equal(kind, total ? "counter" : "gauge");
    }
    assert_true(n > 5);
}

static void test_pin__metrics(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(x->name, sizeof(x->name), "a\"b\\c\nd{},=e");
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(x, "1-3");
    assert_true(pin_world_wait_state(0, "pinned"));
    AUTO_FREE char *text = pin_show_metrics(pin);
    assert_non_null(text);
    assert_non_null(strstr(text, "\npaddock_cpuset_tasks{state=\"pinned\"} 1\n"));
    assert_non_null(strstr(text, "\npaddock_cpuset_corrections_total{cause=\"late start\"} 1\n"));
    assert_non_null(strstr(text, ",task=\"a\\\"b\\\\c\\nd{},=e\"} 1\n"));
    assert_prometheus(text);
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        PIN_WORLD_TEST(test_pin__metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
