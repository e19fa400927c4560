/* SPDX-License-Identifier: MPL-2.0 */
/* The plugin_dir in the configuration and on the command line of a Nomad agent. */
#include "plugin/agent_config.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>

static void test_agent_config_read__texts__top_level_values(void **state) {
    static const struct {
        const char *text, *plugin_dir, *data_dir;
    } rows[] = {
        {"plugin_dir = \"/p\"\n", "/p", NULL},
        {"data_dir=\"/d\" plugin_dir=\"/p\"", "/p", "/d"},
        {"\"plugin_dir\" = \"/p\"", "/p", NULL},
        {"plugin_dir = \"/a\"\nplugin_dir = \"/b\"", "/b", NULL},
        {"plugin_dir = \"/a\"\nplugin_dir = \"\"", "/a", NULL},
        {"plugin_dir = \"/a \\\"b\\\\\"", "/a \"b\\", NULL},
        /* comments */
        {"# plugin_dir = \"/x\"\n// plugin_dir = \"/x\"\n/* plugin_dir = \"/x\" */", NULL, NULL},
        {"plugin_dir /* x */ = // y\n \"/p\" # z", "/p", NULL},
        {"name = \"a # b\" plugin_dir = \"/p\"", "/p", NULL},
        {"/* no end plugin_dir = \"/x\"", NULL, NULL},
        /* blocks and lists */
        {"client { plugin_dir = \"/x\" }\ndata_dir = \"/d\"", NULL, "/d"},
        {"plugin \"docker\" { config { data_dir = \"/x\" } } plugin_dir = \"/p\"", "/p", NULL},
        {"a = [\"plugin_dir\", \"=\", \"/x\"]\nplugin_dir = \"/p\"", "/p", NULL},
        {"a = \"}\" b { c = \"{\" } plugin_dir = \"/p\"", "/p", NULL},
        {"} plugin_dir = \"/p\"", "/p", NULL},
        /* here-documents */
        {"a = <<EOF\nplugin_dir = \"/x\"\nEOF\nplugin_dir = \"/p\"\n", "/p", NULL},
        {"a = <<-EOF\n  plugin_dir = \"/x\"\n  EOF\n", NULL, NULL},
        {"a = <<EOF\nplugin_dir = \"/x\"", NULL, NULL},
        /* other keys, other values */
        {"my_plugin_dir = \"/x\" plugin_dir_2 = \"/x\"", NULL, NULL},
        {"plugin_dir = 7", NULL, NULL},
        {"plugin_dir = name \"/x\"", NULL, NULL},
        {"plugin_dir \"/x\" {}", NULL, NULL},
        {"a_very_long_name_of_a_key = \"/x\"", NULL, NULL},
        {"plugin_dir = \"/no-end", "/no-end", NULL},
        {"", NULL, NULL},
        /* JSON */
        {" {\"plugin_dir\": \"/p\", \"client\": {\"data_dir\": \"/x\"}}", "/p", NULL},
        {"{\"data_dir\": \"/d\", \"plugin_dir\": 7}", NULL, "/d"},
        {"{\"plugin_dir\": ", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct agent_config c = {.source = NULL};
        assert_int_equal(agent_config_read(&c, "file", rows[i].text), 0);
        if (!c.plugin_dir != !rows[i].plugin_dir || !c.data_dir != !rows[i].data_dir)
            fail_msg("%s: %s, %s", rows[i].text, c.plugin_dir, c.data_dir);
        if (c.plugin_dir) {
            assert_string_equal(c.plugin_dir, rows[i].plugin_dir);
            assert_string_equal(c.source, "file");
        }
        if (c.data_dir)
            assert_string_equal(c.data_dir, rows[i].data_dir);
        agent_config_done(&c);
    }
}

#define ARGS(text) text, sizeof(text)

static void test_agent_config_args_read__command_lines__options(void **state) {
    static const struct {
        const char *text;
        size_t len;
        int want;
        const char *plugin_dir, *data_dir, *first, *second;
    } rows[] = {
        {ARGS("/usr/bin/nomad\0agent\0-config\0/etc/nomad.d"), 1, NULL, NULL, "/etc/nomad.d", NULL},
        {ARGS("nomad\0agent\0--config=/a\0-config=b.hcl"), 1, NULL, NULL, "/a", "b.hcl"},
        {ARGS("nomad\0agent\0-plugin-dir=/p\0-data-dir\0/d"), 1, "/p", "/d", NULL, NULL},
        {ARGS("nomad\0agent\0-dev"), 1, NULL, NULL, NULL, NULL},
        {ARGS("nomad\0agent\0-config"), 1, NULL, NULL, NULL, NULL},
        {ARGS("nomad\0agent\0-plugin-dir"), 1, NULL, NULL, NULL, NULL},
        {ARGS("nomad\0agent\0-config-x=/a\0-plugin-dirs=/b"), 1, NULL, NULL, NULL, NULL},
        {ARGS("nomad\0job\0run\0-config=/a"), 0, NULL, NULL, NULL, NULL},
        {ARGS("nomad"), 0, NULL, NULL, NULL, NULL},
        {ARGS("/bin/sh\0nomad\0agent"), 0, NULL, NULL, NULL, NULL},
        {"nomad\0agent", 11, 0, NULL, NULL, NULL, NULL}, /* cut off */
        {"", 0, 0, NULL, NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct agent_args a = {.data_dir = NULL};
        assert_int_equal(agent_config_args_read(&a, rows[i].text, rows[i].len), rows[i].want);
        assert_string_equal(a.plugin_dir ? a.plugin_dir : "-",
                            rows[i].plugin_dir ? rows[i].plugin_dir : "-");
        assert_string_equal(a.data_dir ? a.data_dir : "-",
                            rows[i].data_dir ? rows[i].data_dir : "-");
        assert_int_equal(a.configs.n, !!rows[i].first + !!rows[i].second);
        if (rows[i].first)
            assert_string_equal(a.configs.v[0], rows[i].first);
        if (rows[i].second)
            assert_string_equal(a.configs.v[1], rows[i].second);
        agent_config_args_done(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_config_read__texts__top_level_values),
        cmocka_unit_test(test_agent_config_args_read__command_lines__options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
