/* SPDX-License-Identifier: MPL-2.0 */
/* Default values, and the rules that check values. */
#include "unit/config/pack.h"

#include <fcntl.h>
#include <unistd.h>

static void check_defaults(const struct plugin_config *c) {
    const char *const empty[] = {
        c->endpoint, c->auth_config, c->auth_helper,          c->tls_cert,
        c->tls_key,  c->tls_ca,      c->volumes_selinuxlabel, c->metrics_listen};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        assert_string_equal(empty[i], "");
    const struct strv *const none[] = {&c->extra_labels, &c->allowed_pid_modes,
                                       &c->allowed_ipc_modes, &c->allowed_userns_modes,
                                       &c->allowed_uts_modes};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_int_equal(none[i]->n, 0);
    assert_string_equal(c->logging_type, "json-file");
    assert_int_equal(c->logging_config.n, 2);
    assert_string_equal(kvs_get(&c->logging_config, "max-file"), "2");
    assert_string_equal(kvs_get(&c->logging_config, "max-size"), "2m");
    assert_true(c->gc_image && c->gc_container && c->dangling_enabled && !c->dangling_dry_run);
    assert_int_equal(c->gc_image_delay_us, 180000000);
    assert_int_equal(c->dangling_period_us, 300000000);
    assert_int_equal(c->dangling_grace_us, 300000000);
    assert_false(c->volumes_enabled || c->allow_privileged || c->disable_log_collection);
    assert_int_equal(c->allow_caps.n, 13);
    assert_false(strv_contains(&c->allow_caps, "NET_RAW"));
    assert_true(strv_contains(&c->allow_caps, "AUDIT_WRITE"));
    assert_string_equal(c->nvidia_runtime, "nvidia");
    assert_int_equal(c->allow_runtimes.n, 2);
    assert_string_equal(c->allow_runtimes.v[0], "runc");
    assert_string_equal(c->allow_runtimes.v[1], "nvidia");
    assert_contains(c->infra_image, "registry.k8s.io/pause-");
    assert_int_equal(c->infra_image_pull_timeout_us, 300000000);
    assert_int_equal(c->image_pull_timeout_us, 300000000);
    assert_int_equal(c->pull_activity_timeout_us, 120000000);
    assert_int_equal(c->container_exists_attempts, 5);
    assert_int_equal(c->oom_score_adj, 0);
    assert_int_equal(c->pids_limit, 0);
    assert_int_equal(c->log_backlog_mb, 256);
    assert_true(c->cpuset_enabled && c->cpuset_systemd);
    assert_int_equal(c->cpuset_interval_us, 1000000);
    assert_int_equal(c->cpuset_mems, CPUSET_MEMS_OFF);
}

static void test_plugin__absent_in_every_way__defaults(void **state) {
    static const char *const same[] = {
        "{}", "null", "{\"gc\": null, \"logging\": null, \"cpuset\": null, \"allow_caps\": null}",
        "{\"gc\": {}, \"volumes\": {}, \"cpuset\": {}, \"allowed_modes\": {}, \"metrics\": {},"
        "\"auth\": {}, \"tls\": {}}",
        "{\"auth\": null, \"tls\": null, \"volumes\": null, \"allowed_modes\": null, \"metrics\": "
        "null}",
        "{\"gc\": {\"dangling_containers\": {}}, \"auth\": [], \"tls\": [{}]}",
        /* the host may send a block that lacks a key, here dry_run */
        "{\"gc\": {\"dangling_containers\": {\"enabled\": true, \"period\": \"5m\"}}}",
        "{\"unknown\": 1, \"gc\": {\"image\": null}}"};
    (void)state;
    struct plugin_config c;
    assert_int_equal(config_plugin_decode(NULL, 0, &c, NULL), 0);
    check_defaults(&c);
    config_plugin_done(&c);
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        assert_int_equal(plugin_from(same[i], &c, NULL), 0);
        check_defaults(&c);
        config_plugin_done(&c);
    }
}

static void test_plugin__empty_is_not_absent(void **state) {
    (void)state;
    AUTO_PLUGIN_CONFIG struct plugin_config c = {0};
    assert_int_equal(plugin_from("{\"allow_caps\": [], \"allow_runtimes\": [],"
                                 "\"nvidia_runtime\": \"\", \"logging\": {}}",
                                 &c, NULL),
                     0);
    assert_int_equal(c.allow_caps.n, 0);
    assert_int_equal(c.allow_runtimes.n, 0);
    assert_string_equal(c.nvidia_runtime, "");
    assert_string_equal(c.logging_type, ""); /* only the whole block has a default */
    assert_int_equal(c.logging_config.n, 0);
}

struct row {
    const char *config, *text; /* NULL: accepted */
};

static const struct row plugin_rows[] = {
    {"{\"cpuset\": {\"interval\": \"abc\"}}", "cpuset.interval: \"abc\" is not a duration"},
    {"{\"cpuset\": {\"interval\": \"10ms\"}}", NULL},
    {"{\"cpuset\": {\"interval\": \"9ms\"}}", "cpuset.interval: 0.009s is less than 10ms"},
    {"{\"cpuset\": {\"interval\": \"1h\"}}", NULL},
    {"{\"cpuset\": {\"interval\": \"61m\"}}", "cpuset.interval: 3660s is more than 1h"},
    {"{\"cpuset\": {\"interval\": \"-1s\"}}", "cpuset.interval: \"-1s\" must not be negative"},
    {"{\"cpuset\": {\"mems\": \"follow\"}}", NULL},
    {"{\"cpuset\": {\"mems\": \"on\"}}", "cpuset.mems: \"on\" is neither \"off\" nor \"follow\""},
    {"{\"cpuset\": 5}", "cpuset: 5 is not a block"},
    {"{\"gc\": {\"dangling_containers\": {\"creation_grace\": \"1m\"}}}", NULL},
    {"{\"gc\": {\"dangling_containers\": {\"creation_grace\": \"59s\"}}}",
     "gc.dangling_containers.creation_grace: 59s is less than 1m"},
    {"{\"gc\": {\"dangling_containers\": {\"period\": \"0s\"}}}", "period: 0s is less than 1s"},
    {"{\"gc\": {\"dangling_containers\": {\"period\": \"5 min\"}}}",
     "gc.dangling_containers.period: \"5 min\" is not a duration"},
    {"{\"gc\": {\"image_delay\": \"\"}}", NULL}, /* none */
    {"{\"gc\": {\"image_delay\": \"-1s\"}}", "gc.image_delay: \"-1s\" must not be negative"},
    {"{\"gc\": {\"image_delay\": \"1h30m5.5s\"}}", NULL},
    {"{\"gc\": {\"image_delay\": 180}}", "gc.image_delay: 180 is not a duration"},
    {"{\"pull_activity_timeout\": \"1m\"}", NULL},
    {"{\"pull_activity_timeout\": \"59s\"}", "pull_activity_timeout: 59s is less than 1m"},
    {"{\"image_pull_timeout\": \"0\"}", "image_pull_timeout: 0s is less than 1s"},
    {"{\"infra_image_pull_timeout\": \"5\"}", "infra_image_pull_timeout: \"5\" is not a duration"},
    {"{\"allowed_modes\": {\"pid\": [\"host\", \"container:*\"]}}", NULL},
    {"{\"allowed_modes\": {\"pid\": [\"container:\"]}}",
     "cannot apply allowed_modes configuration, allowed_modes.pid: \"container:\""},
    {"{\"allowed_modes\": {\"pid\": [\"private\"]}}", "cannot apply allowed_modes configuration, "},
    {"{\"allowed_modes\": {\"ipc\": [\"none\", \"private\", \"shareable\", \"host\"]}}", NULL},
    {"{\"allowed_modes\": {\"ipc\": [\"public\"]}}", "cannot apply allowed_modes configuration, "},
    {"{\"allowed_modes\": {\"userns\": [\"host\"], \"uts\": [\"host\"]}}", NULL},
    {"{\"allowed_modes\": {\"userns\": [\"private\"]}}", "allowed_modes.userns: \"private\""},
    {"{\"allowed_modes\": {\"uts\": [\"x\"]}}", "allowed_modes.uts: \"x\""},
    {"{\"metrics\": {\"listen\": \"127.0.0.1:9101\"}}", NULL},
    {"{\"metrics\": {\"listen\": \"[::1]:9101\"}}", NULL},
    {"{\"metrics\": {\"listen\": \"localhost:1\"}}", NULL},
    {"{\"metrics\": {\"listen\": \"0.0.0.0:9101\"}}", "\"0.0.0.0:9101\" is not a loopback address"},
    {"{\"metrics\": {\"listen\": \":9101\"}}", "is not a loopback address"},
    {"{\"metrics\": {\"listen\": \"127.0.0.1\"}}",
     "metrics.listen: \"127.0.0.1\" is not HOST:PORT"},
    {"{\"metrics\": {\"listen\": \"127.0.0.1:0\"}}", "is not HOST:PORT"},
    {"{\"metrics\": {\"listen\": \"127.0.0.1:65536\"}}", "is not HOST:PORT"},
    {"{\"windows_allow_insecure_container_admin\": false}", NULL},
    {"{\"windows_allow_insecure_container_admin\": true}", NULL},
    {"{\"log_backlog\": 1}", NULL},
    {"{\"log_backlog\": 0}", "log_backlog: 0 is not from 1 to 1000000"},
    {"{\"log_backlog\": -1}", "log_backlog: -1 is not from 1 to 1000000"},
    {"{\"log_backlog\": 1000001}", "log_backlog: 1000001 is not from 1 to 1000000"},
    {"{\"pids_limit\": \"100\"}", NULL},
    {"{\"pids_limit\": 100.0}", NULL},
    {"{\"pids_limit\": \"0.1\"}", "pids_limit: \"0.1\" is not a whole number"},
    {"{\"pids_limit\": 0.5}", "pids_limit: 0.5 is not a whole number"},
    {"{\"pids_limit\": 1e30}", "is out of range"},
    {"{\"pids_limit\": \"9223372036854775808\"}", "is out of range"},
    {"{\"pids_limit\": \"many\"}", "pids_limit: \"many\" is not a number"},
    {"{\"container_exists_attempts\": -1}", "container_exists_attempts: -1 is not in 0..1000"},
    {"{\"allow_privileged\": \"true\"}", NULL},
    {"{\"allow_privileged\": \"yes\"}", "allow_privileged: \"yes\" is not a bool"},
    {"[]", "configuration: not a map"},
};

static void test_plugin__rules(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plugin_rows); i++) {
        AUTO_PLUGIN_CONFIG struct plugin_config c = {0};
        struct err err = {0};
        int r = plugin_from(plugin_rows[i].config, &c, &err);
        if ((r == 0) != !plugin_rows[i].text)
            fail_msg("%s: %d %s", plugin_rows[i].config, r, err.text);
        if (!plugin_rows[i].text)
            continue;
        assert_int_equal(r, -EINVAL);
        assert_int_equal(err.cls, ERR_INVALID);
        assert_contains(err.text, plugin_rows[i].text);
        assert_null(c.endpoint); /* output not changed */
    }
}

static void test_plugin__infra_image__loses_https(void **state) {
    (void)state;
    AUTO_PLUGIN_CONFIG struct plugin_config c = {0};
    assert_int_equal(plugin_from("{\"infra_image\": \"https://r/p:1\"}", &c, NULL), 0);
    assert_string_equal(c.infra_image, "r/p:1");
}

/* Decodes @json. Returns what was logged. Owner: caller, free(). */
static char *log_of(const char *json) {
    int ends[2];
    int old = dup(STDERR_FILENO);
    AUTO_PLUGIN_CONFIG struct plugin_config c = {0};
    char *text = calloc(1, 4096);
    assert_non_null(text);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_true(old >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    int r = plugin_from(json, &c, NULL);
    ssize_t n = read(ends[0], text, 4095);
    assert_true(dup2(old, STDERR_FILENO) >= 0);
    close(old);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(r, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void test_plugin__field_for_windows__warning_when_true(void **state) {
    (void)state;
    AUTO_FREE char *no = log_of("{\"windows_allow_insecure_container_admin\": false}");
    AUTO_FREE char *yes = log_of("{\"windows_allow_insecure_container_admin\": true}");
    assert_string_equal(no, "");
    assert_non_null(strstr(yes, "\"warn\""));
    assert_non_null(strstr(yes, "windows_allow_insecure_container_admin"));
}

static void test_job__no_image__refused(void **state) {
    static const char *const none[] = {"{}", "{\"image\": null}", "{\"image\": \"\"}",
                                       "{\"image\": \"https://\"}", "null"};
    (void)state;
    struct job_config c;
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        struct err err = {0};
        assert_int_equal(job_from(none[i], &c, &err), -EINVAL);
        assert_string_equal(err.text, "image name required for docker driver");
    }
    assert_int_equal(config_job_decode(NULL, 0, &c, NULL), -EINVAL);
}

static void test_job__only_image__defaults(void **state) {
    (void)state;
    AUTO_JOB_CONFIG struct job_config c = {0};
    assert_int_equal(job_from("{\"image\": \"https://r/i:1\"}", &c, NULL), 0);
    assert_string_equal(c.image, "r/i:1");
    assert_int_equal(c.cpu_cfs_period, 100000);
    assert_int_equal(c.image_pull_timeout_us, 0);
    assert_false(c.pids_limit.set || c.container_exists_attempts.set);
    assert_string_equal(c.command, "");
    assert_int_equal(c.n_mounts, 0);
    assert_null(c.mounts);
}

static void test_job__mounts__old_name_after_the_new(void **state) {
    (void)state;
    AUTO_JOB_CONFIG struct job_config c = {0};
    assert_int_equal(
        job_from("{\"mounts\": [{\"target\": \"/c\", \"type\": \"tmpfs\"}], \"image\": \"i\","
                 "\"mount\": [{\"target\": \"/a\"}, {\"target\": \"/b\","
                 "\"tmpfs_options\": {\"size\": 0}}], \"logging\": {}}",
                 &c, NULL),
        0);
    assert_int_equal(c.n_mounts, 3);
    assert_string_equal(c.mounts[0].target, "/a");
    assert_string_equal(c.mounts[0].type, "volume");
    assert_string_equal(c.mounts[0].source, "");
    assert_false(c.mounts[0].tmpfs_size.set);
    assert_true(c.mounts[1].tmpfs_size.set); /* zero differs from absent */
    assert_string_equal(c.mounts[2].target, "/c");
    assert_string_equal(c.mounts[2].type, "tmpfs");
}

static const struct row job_rows[] = {
    {"{\"image\": \"i\", \"mount\": [{}, {\"readonly\": 3}]}",
     "mount[1].readonly: 3 is not a bool"},
    {"{\"image\": \"i\", \"mount\": [7]}", "mount: the value is not a list of blocks"},
    {"{\"image\": \"i\", \"labels\": [{\"a\": \"1\"}, null, {\"b\": null}]}", NULL},
    {"{\"image\": \"i\", \"labels\": {\"a\": \"1\"}}", NULL},
    {"{\"image\": \"i\", \"labels\": [3]}", "labels: [3] is not a map"},
    {"{\"image\": \"i\", \"labels\": [{\"a\": 3}]}", "labels: {\"a\":3} is not a map of strings"},
    {"{\"image\": \"i\", \"port_map\": [{\"a\": \"80\"}]}", NULL},
    {"{\"image\": \"i\", \"port_map\": [{\"a\": 0.5}]}", "port_map: 0.5 is not a whole number"},
    {"{\"image\": \"i\", \"args\": [1]}", "args: [1] is not a list of strings"},
    {"{\"image\": \"i\", \"auth\": [{\"username\": \"u\"}]}", NULL},
    {"{\"image\": \"i\", \"auth\": [{}, {}]}", "auth: the value is not a block"},
    {"{\"image\": \"i\", \"auth\": {\"password\": 4711}}",
     "auth.password: the value is not a string"},
};

/* A value of the wrong type is quoted, unless it can be a secret. Every value below `auth` can be
 * one, and so can options of drivers, which contain tokens and passwords. */
static void test_config__wrong_value_that_can_be_secret__not_quoted(void **state) {
    (void)state;
    static const struct {
        bool plugin;
        const char *config, *text;
    } rows[] = {
        {false, "{\"auth\": \"4711\"}", "auth: the value is not a block"},
        {false, "{\"auth\": [{\"password\": \"4711\"}, {}]}", "auth: the value is not a block"},
        {false, "{\"auth\": {\"password\": 4711}}", "auth.password: the value is not a string"},
        {false, "{\"auth\": {\"username\": [\"4711\"]}}",
         "auth.username: the value is not a string"},
        {false, "{\"auth\": {\"email\": 4711}}", "auth.email: the value is not a string"},
        {false, "{\"auth\": {\"server_address\": {\"a\": 4711}}}",
         "auth.server_address: the value is not a string"},
        {true, "{\"auth\": 4711}", "auth: the value is not a block"},
        {true, "{\"auth\": {\"config\": {\"auths\": 4711}}}",
         "auth.config: the value is not a string"},
        {true, "{\"auth\": {\"helper\": 4711}}", "auth.helper: the value is not a string"},
        {false, "{\"logging\": {\"config\": {\"splunk-token\": \"4711\", \"x\": []}}}",
         "logging.config: the value is not a map of strings"},
        {false, "{\"mount\": [{\"volume_options\": [{\"labels\": {\"a\": \"4711\"}}, {}]}]}",
         "mount[0].volume_options: the value is not a block"},
        {false, "{\"mount\": [7, {\"source\": \"4711\"}]}",
         "mount: the value is not a list of blocks"},
        {true, "{\"logging\": {\"config\": [{\"splunk-token\": \"4711\"}, 1]}}",
         "logging.config: the value is not a map"},
        {false, "{\"mount\": [{\"volume_options\": {\"driver_config\": {\"options\": \"4711\"}}}]}",
         "mount[0].volume_options.driver_config.options: the value is not a map"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_JOB_CONFIG struct job_config job = {0};
        AUTO_PLUGIN_CONFIG struct plugin_config plugin = {0};
        struct err err = {0};
        int r = rows[i].plugin ? plugin_from(rows[i].config, &plugin, &err)
                               : job_from(rows[i].config, &job, &err);
        print_message("%s: %s\n", rows[i].config, err.text);
        assert_int_equal(r, -EINVAL);
        assert_non_null(strstr(err.text, rows[i].text));
        assert_null(strstr(err.text, "4711"));
    }
}

static void test_job__types(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(job_rows); i++) {
        AUTO_JOB_CONFIG struct job_config c = {0};
        struct err err = {0};
        int r = job_from(job_rows[i].config, &c, &err);
        if ((r == 0) != !job_rows[i].text)
            fail_msg("%s: %d %s", job_rows[i].config, r, err.text);
        if (job_rows[i].text)
            assert_contains(err.text, job_rows[i].text);
    }
}

static void test_job__too_many_entries__refused(void **state) {
    (void)state;
    json_t *v = json_pack("{s:s,s:[]}", "image", "i", "args");
    for (int i = 0; i < 4097; i++)
        json_array_append_new(json_object_get(v, "args"), json_string("x"));
    struct buf b = pack_json(v);
    json_decref(v);
    struct job_config c;
    struct err err = {0};
    assert_int_equal(config_job_decode(b.data, b.len, &c, &err), -EINVAL);
    assert_contains(err.text, "args: more than 4096 entries");
    buf_done(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plugin__absent_in_every_way__defaults),
        cmocka_unit_test(test_plugin__empty_is_not_absent),
        cmocka_unit_test(test_plugin__rules),
        cmocka_unit_test(test_plugin__infra_image__loses_https),
        cmocka_unit_test(test_plugin__field_for_windows__warning_when_true),
        cmocka_unit_test(test_job__no_image__refused),
        cmocka_unit_test(test_job__only_image__defaults),
        cmocka_unit_test(test_job__mounts__old_name_after_the_new),
        cmocka_unit_test(test_config__wrong_value_that_can_be_secret__not_quoted),
        cmocka_unit_test(test_job__types),
        cmocka_unit_test(test_job__too_many_entries__refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
