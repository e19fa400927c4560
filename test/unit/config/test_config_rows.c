/* SPDX-License-Identifier: MPL-2.0 */
/* Every row of both tables: name, type, default and place. The expected values are written here a
 * second time, by hand. Each row also gets a value, the value as text, a null that gives the
 * default, and a wrong type that is refused with the name of the key. */
#include "unit/config/pack.h"

#include <stdio.h>

struct expected {
    const char *path;
    enum config_type type;
    const char *fallback; /* the default that the host is sent; NULL: none */
    size_t offset;        /* in the struct, or in the element of a list of blocks */
};

#if defined(__aarch64__)
#define PAUSE_IMAGE "\"registry.k8s.io/pause-arm64:3.3\""
#else
#define PAUSE_IMAGE "\"registry.k8s.io/pause-amd64:3.3\""
#endif
#define ALLOWED_CAPS                                                                               \
    "[\"AUDIT_WRITE\", \"CHOWN\", \"DAC_OVERRIDE\", \"FOWNER\", \"FSETID\", \"KILL\", \"MKNOD\", " \
    "\"NET_BIND_SERVICE\", \"SETFCAP\", \"SETGID\", \"SETPCAP\", \"SETUID\", \"SYS_CHROOT\"]"

#define P(path, type, fallback, member)                                                            \
    { path, CONFIG_##type, fallback, offsetof(struct plugin_config, member) }
static const struct expected plugin_rows[] = {
    P("endpoint", STRING, NULL, endpoint),
    P("auth.config", STRING, NULL, auth_config),
    P("auth.helper", STRING, NULL, auth_helper),
    P("tls.cert", STRING, NULL, tls_cert),
    P("tls.key", STRING, NULL, tls_key),
    P("tls.ca", STRING, NULL, tls_ca),
    P("extra_labels", LIST_STRING, NULL, extra_labels),
    P("logging.type", STRING, NULL, logging_type),
    P("logging.config", ATTRS, NULL, logging_config),
    P("gc.image", BOOL, "true", gc_image),
    P("gc.image_delay", DURATION, "\"3m\"", gc_image_delay_us),
    P("gc.container", BOOL, "true", gc_container),
    P("gc.dangling_containers.enabled", BOOL, "true", dangling_enabled),
    P("gc.dangling_containers.period", DURATION, "\"5m\"", dangling_period_us),
    P("gc.dangling_containers.creation_grace", DURATION, "\"5m\"", dangling_grace_us),
    P("gc.dangling_containers.dry_run", BOOL, "false", dangling_dry_run),
    P("volumes.enabled", BOOL, "false", volumes_enabled),
    P("volumes.selinuxlabel", STRING, NULL, volumes_selinuxlabel),
    P("allow_privileged", BOOL, "false", allow_privileged),
    P("allow_caps", LIST_STRING, ALLOWED_CAPS, allow_caps),
    P("nvidia_runtime", STRING, "\"nvidia\"", nvidia_runtime),
    P("allow_runtimes", LIST_STRING, "[\"runc\", \"nvidia\"]", allow_runtimes),
    P("infra_image", STRING, PAUSE_IMAGE, infra_image),
    P("infra_image_pull_timeout", DURATION, "\"5m\"", infra_image_pull_timeout_us),
    P("image_pull_timeout", DURATION, "\"5m\"", image_pull_timeout_us),
    P("container_exists_attempts", NUMBER, "5", container_exists_attempts),
    P("oom_score_adj", NUMBER, "0", oom_score_adj),
    P("pull_activity_timeout", DURATION, "\"2m\"", pull_activity_timeout_us),
    P("pids_limit", NUMBER, NULL, pids_limit),
    P("log_backlog", NUMBER, "256", log_backlog_mb),
    P("disable_log_collection", BOOL, "false", disable_log_collection),
    {"windows_allow_insecure_container_admin", CONFIG_BOOL, "false", 0},
    P("allowed_modes.pid", LIST_STRING, "[]", allowed_pid_modes),
    P("allowed_modes.ipc", LIST_STRING, "[]", allowed_ipc_modes),
    P("allowed_modes.userns", LIST_STRING, "[]", allowed_userns_modes),
    P("allowed_modes.uts", LIST_STRING, "[]", allowed_uts_modes),
    P("cpuset.enabled", BOOL, "true", cpuset_enabled),
    P("cpuset.interval", DURATION, "\"1s\"", cpuset_interval_us),
    P("cpuset.systemd", BOOL, "true", cpuset_systemd),
    P("cpuset.realtime", BOOL, "true", cpuset_realtime),
    P("cpuset.mems", STRING, "\"off\"", cpuset_mems),
    P("metrics.listen", STRING, NULL, metrics_listen),
};

#define J(path, type, fallback, member)                                                            \
    { path, CONFIG_##type, fallback, offsetof(struct job_config, member) }
#define JS(type, name) J(#name, type, NULL, name)
#define D(name)                                                                                    \
    { "devices." #name, CONFIG_STRING, NULL, offsetof(struct job_device, name) }
#define M(path, type, fallback, member)                                                            \
    {"mount." path, CONFIG_##type, fallback, offsetof(struct job_mount, member)}, {                \
        "mounts." path, CONFIG_##type, fallback, offsetof(struct job_mount, member)                \
    }
static const struct expected job_rows[] = {
    JS(STRING, image),
    JS(BOOL, advertise_ipv6_address),
    JS(LIST_STRING, args),
    J("auth.username", STRING, NULL, auth_username),
    J("auth.password", STRING, NULL, auth_password),
    J("auth.email", STRING, NULL, auth_email),
    J("auth.server_address", STRING, NULL, auth_server_address),
    JS(BOOL, auth_soft_fail),
    JS(LIST_STRING, cap_add),
    JS(LIST_STRING, cap_drop),
    JS(STRING, cgroupns),
    JS(STRING, command),
    JS(NUMBER, container_exists_attempts),
    J("cpu_cfs_period", NUMBER, "100000", cpu_cfs_period),
    JS(BOOL, cpu_hard_limit),
    JS(STRING, cpuset_cpus),
    D(host_path),
    D(container_path),
    D(cgroup_permissions),
    JS(LIST_STRING, dns_search_domains),
    JS(LIST_STRING, dns_options),
    JS(LIST_STRING, dns_servers),
    JS(LIST_STRING, entrypoint),
    JS(LIST_STRING, extra_hosts),
    JS(BOOL, force_pull),
    JS(LIST_STRING, group_add),
    J("healthchecks.disable", BOOL, NULL, healthchecks_disable),
    JS(STRING, hostname),
    J("image_pull_timeout", DURATION, NULL, image_pull_timeout_us),
    JS(BOOL, init),
    JS(BOOL, interactive),
    JS(STRING, ipc_mode),
    JS(STRING, ipv4_address),
    JS(STRING, ipv6_address),
    JS(STRING, isolation),
    JS(MAP_STRING, labels),
    JS(STRING, load),
    J("logging.type", STRING, NULL, logging_type),
    J("logging.driver", STRING, NULL, logging_driver),
    J("logging.config", MAP_STRING, NULL, logging_config),
    JS(STRING, mac_address),
    J("memory_hard_limit", NUMBER, NULL, memory_hard_limit_mb),
    M("type", STRING, "\"volume\"", type),
    M("target", STRING, NULL, target),
    M("source", STRING, NULL, source),
    M("readonly", BOOL, NULL, readonly),
    M("bind_options.propagation", STRING, NULL, propagation),
    M("tmpfs_options.size", NUMBER, NULL, tmpfs_size),
    M("tmpfs_options.mode", NUMBER, NULL, tmpfs_mode),
    M("volume_options.no_copy", BOOL, NULL, no_copy),
    M("volume_options.labels", MAP_STRING, NULL, volume_labels),
    M("volume_options.driver_config.name", STRING, NULL, volume_driver_name),
    M("volume_options.driver_config.options", MAP_STRING, NULL, volume_driver_options),
    JS(LIST_STRING, network_aliases),
    JS(STRING, network_mode),
    J("oom_score_adj", NUMBER, "0", oom_score_adj),
    JS(STRING, pid_mode),
    JS(NUMBER, pids_limit),
    JS(MAP_NUMBER, port_map),
    JS(LIST_STRING, ports),
    JS(BOOL, privileged),
    JS(BOOL, readonly_rootfs),
    JS(STRING, runtime),
    JS(LIST_STRING, security_opt),
    JS(NUMBER, shm_size),
    JS(ATTRS, storage_opt),
    JS(MAP_STRING, sysctl),
    JS(BOOL, tty),
    JS(MAP_STRING, ulimit),
    JS(STRING, userns_mode),
    JS(STRING, uts_mode),
    JS(STRING, volume_driver),
    JS(LIST_STRING, volumes),
    JS(STRING, work_dir),
};

/* ---- Walk over the tables ---- */

struct walk {
    bool job;
    const char *outer[4]; /* names of the enclosing blocks */
    size_t depth, rows;
    const struct config_field *list; /* the enclosing list of blocks, or NULL */
};

typedef void (*row_test)(const struct walk *w, const struct config_field *f, const char *path);

static void walk(struct walk *w, const struct config_field *table, row_test test) {
    for (const struct config_field *f = table; f->name; f++) {
        if (f->fields) {
            const struct config_field *around = w->list;
            w->outer[w->depth++] = f->name;
            if (f->type == CONFIG_BLOCK_LIST)
                w->list = f;
            walk(w, f->fields, test);
            w->list = around;
            w->depth--;
            continue;
        }
        char path[128] = "";
        for (size_t i = 0; i < w->depth; i++)
            snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s.", w->outer[i]);
        snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s", f->name);
        w->rows++;
        test(w, f, path);
    }
}

static size_t walk_both(row_test test) {
    struct walk plugin = {.job = false}, job = {.job = true};
    walk(&plugin, config_plugin_table(), test);
    walk(&job, config_job_table(), test);
    return plugin.rows + job.rows;
}

/* The whole configuration with @value at the row's path. When @value is NULL the row is absent.
 * Takes ownership of @value. */
static struct buf with_value(const struct walk *w, const struct config_field *f, json_t *value) {
    json_t *v = value ? json_pack("{s:o}", f->name, value) : json_object();
    for (size_t i = w->depth; i-- > 0;)
        v = w->list && i == 0 ? json_pack("{s:[o]}", w->outer[i], v)
                              : json_pack("{s:o}", w->outer[i], v);
    assert_non_null(v);
    if (w->job && strcmp(f->name, "image") != 0)
        json_object_set_new(v, "image", json_string("i"));
    struct buf b = pack_json(v);
    json_decref(v);
    return b;
}

union config {
    struct plugin_config plugin;
    struct job_config job;
};

static int decode(const struct walk *w, struct buf *b, union config *c, struct err *err) {
    int r = w->job ? config_job_decode(b->data, b->len, &c->job, err)
                   : config_plugin_decode(b->data, b->len, &c->plugin, err);
    buf_done(b);
    return r;
}

static void done(const struct walk *w, union config *c) {
    if (w->job)
        config_job_done(&c->job);
    else
        config_plugin_done(&c->plugin);
}

static void *place(const struct walk *w, const struct config_field *f, union config *c) {
    if (!w->list)
        return (char *)c + f->offset;
    char *list = (char *)c + w->list->offset;
    assert_int_equal(*(size_t *)(list + sizeof(void *)), 1);
    return *(char **)list + f->offset;
}

/* Values that pass the checks. */
static const char *sample_text(const char *path) {
    if (strcmp(path, "metrics.listen") == 0)
        return "127.0.0.1:9000";
    if (strcmp(path, "cpuset.mems") == 0)
        return "follow";
    if (strncmp(path, "allowed_modes.", 14) == 0)
        return "host";
    return path;
}

static json_t *sample(const struct config_field *f, const char *path) {
    switch (f->type) {
    case CONFIG_STRING:
        return json_string(sample_text(path));
    case CONFIG_BOOL: /* the opposite of the default */
        return json_boolean(f->default_literal && strcmp(f->default_literal, "true") == 0
                                ? 0
                                : strncmp(path, "windows", 7) != 0);
    case CONFIG_NUMBER:
        return json_integer(77);
    case CONFIG_DURATION:
        return json_string("1m17s");
    case CONFIG_LIST_STRING:
        return json_pack("[s]", sample_text(path));
    case CONFIG_MAP_STRING:
        return json_pack("[{s:s}{s:s,s:s}]", "k", "old", "k", path, "l", "2");
    case CONFIG_MAP_NUMBER:
        return json_pack("[{s:i}]", "k", 77);
    default:
        return json_pack("{s:s}", "k", path);
    }
}

/* ---- Tests ---- */

static void row_place(const struct walk *w, const struct config_field *f, const char *path) {
    const struct expected *rows = w->job ? job_rows : plugin_rows;
    size_t n = w->job ? ARRAY_LEN(job_rows) : ARRAY_LEN(plugin_rows), found = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].path, path) != 0)
            continue;
        found++;
        if (rows[i].offset != f->offset)
            fail_msg("%s is put in the wrong place", path);
        if (rows[i].type != f->type)
            fail_msg("%s is of the wrong type", path);
        if (f->required != (strcmp(path, "image") == 0))
            fail_msg("%s is needed or not", path);
        const char *want = rows[i].fallback, *have = f->default_literal;
        if (want != have && (!want || !have || strcmp(want, have) != 0))
            fail_msg("%s: the default is %s", path, have ? have : "none");
    }
    if (found != 1)
        fail_msg("%s is expected %zu times", path, found);
    assert_non_null(f->help);
}

static void test_table__each_row__at_its_offset(void **state) {
    (void)state;
    assert_int_equal(walk_both(row_place), ARRAY_LEN(plugin_rows) + ARRAY_LEN(job_rows));
}

static void row_lands(const struct walk *w, const struct config_field *f, const char *path) {
    struct buf b = with_value(w, f, sample(f, path));
    union config c = {0};
    struct err err = {0};
    if (decode(w, &b, &c, &err) != 0)
        fail_msg("%s: %s", path, err.text);
    void *at = place(w, f, &c);
    switch (f->type) {
    case CONFIG_STRING:
        if (strcmp(path, "cpuset.mems") == 0)
            assert_int_equal(*(enum cpuset_mems *)at, CPUSET_MEMS_FOLLOW);
        else
            assert_string_equal(*(char **)at, sample_text(path));
        break;
    case CONFIG_BOOL:
        if (strncmp(path, "windows", 7) != 0)
            assert_int_equal(*(bool *)at,
                             !(f->default_literal && strcmp(f->default_literal, "true") == 0));
        break;
    case CONFIG_NUMBER:
        if (f->aux)
            assert_true(((struct opt_int *)at)->set && ((struct opt_int *)at)->v == 77);
        else
            assert_int_equal(*(int64_t *)at, 77);
        break;
    case CONFIG_DURATION:
        assert_int_equal(*(int64_t *)at, 77000000);
        break;
    case CONFIG_LIST_STRING:
        assert_int_equal(((struct strv *)at)->n, 1);
        assert_string_equal(((struct strv *)at)->v[0], sample_text(path));
        break;
    case CONFIG_MAP_STRING:
        assert_int_equal(((struct kvs *)at)->n, 2);
        assert_string_equal(kvs_get(at, "l"), "2");
        assert_string_equal(kvs_get(at, "k"), path);
        break;
    case CONFIG_MAP_NUMBER:
        assert_string_equal(kvs_get(at, "k"), "77");
        break;
    default:
        assert_string_equal(kvs_get(at, "k"), path);
    }
    done(w, &c);
}

static void test_table__each_row__value_stored(void **state) {
    (void)state;
    walk_both(row_lands);
}

/* HCL may send numbers and bools as text. */
static void row_text(const struct walk *w, const struct config_field *f, const char *path) {
    if (f->type != CONFIG_NUMBER && f->type != CONFIG_BOOL)
        return;
    bool number = f->type == CONFIG_NUMBER, yes = !number && json_is_true(sample(f, path));
    struct buf b = with_value(w, f, json_string(number ? "77" : yes ? "true" : "false"));
    union config c = {0};
    struct err err = {0};
    if (decode(w, &b, &c, &err) != 0)
        fail_msg("%s: %s", path, err.text);
    void *at = place(w, f, &c);
    if (number)
        assert_int_equal(f->aux ? ((struct opt_int *)at)->v : *(int64_t *)at, 77);
    else if (strncmp(path, "windows", 7) != 0)
        assert_int_equal(*(bool *)at, yes);
    done(w, &c);
}

static void test_table__each_number_and_bool__as_text(void **state) {
    (void)state;
    walk_both(row_text);
}

static void check_same(const struct config_field *f, const char *path, const void *a,
                       const void *b) {
    bool same = false;
    switch (f->type) {
    case CONFIG_STRING:
        same = strcmp(path, "cpuset.mems") == 0
                   ? *(const enum cpuset_mems *)a == *(const enum cpuset_mems *)b
                   : strcmp(*(char *const *)a, *(char *const *)b) == 0;
        break;
    case CONFIG_BOOL:
        same = *(const bool *)a == *(const bool *)b;
        break;
    case CONFIG_NUMBER:
        same = f->aux ? !((const struct opt_int *)a)->set && !((const struct opt_int *)b)->set
                      : *(const int64_t *)a == *(const int64_t *)b;
        break;
    case CONFIG_DURATION:
        same = *(const int64_t *)a == *(const int64_t *)b;
        break;
    case CONFIG_LIST_STRING:
        same = ((const struct strv *)a)->n == ((const struct strv *)b)->n;
        break;
    default:
        same = ((const struct kvs *)a)->n == ((const struct kvs *)b)->n;
    }
    if (!same)
        fail_msg("%s: null is not absent", path);
}

static void row_null(const struct walk *w, const struct config_field *f, const char *path) {
    if (f->required || strncmp(path, "windows", 7) == 0) /* not stored */
        return;
    struct buf null = with_value(w, f, json_null()), none = with_value(w, f, NULL);
    union config a = {0}, b = {0};
    struct err err = {0};
    if (decode(w, &null, &a, &err) != 0 || decode(w, &none, &b, &err) != 0)
        fail_msg("%s: %s", path, err.text);
    check_same(f, path, place(w, f, &a), place(w, f, &b));
    if (f->type == CONFIG_STRING && !f->default_literal)
        assert_string_equal(*(char **)place(w, f, &a), "");
    done(w, &a);
    done(w, &b);
}

static void test_table__each_row__null_is_absent(void **state) {
    (void)state;
    walk_both(row_null);
}

static void row_wrong_type(const struct walk *w, const struct config_field *f, const char *path) {
    json_t *wrong = f->type == CONFIG_STRING || f->type == CONFIG_DURATION ? json_pack("[s]", "x")
                                                                           : json_string("x");
    struct buf b = with_value(w, f, wrong);
    union config c = {0};
    struct err err = {0};
    if (decode(w, &b, &c, &err) != -EINVAL)
        fail_msg("%s takes a wrong type", path);
    assert_int_equal(err.cls, ERR_INVALID);
    const char *key = w->list ? strchr(path, '.') : path; /* "mount[0].type" */
    assert_contains(err.text, key);
}

static void test_table__each_row__wrong_type_names_the_key(void **state) {
    (void)state;
    walk_both(row_wrong_type);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table__each_row__at_its_offset),
        cmocka_unit_test(test_table__each_row__value_stored),
        cmocka_unit_test(test_table__each_number_and_bool__as_text),
        cmocka_unit_test(test_table__each_row__null_is_absent),
        cmocka_unit_test(test_table__each_row__wrong_type_names_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
