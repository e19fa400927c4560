/* Every row of both tables: its name, its place (said here a second time, by hand), a value that
 * lands there, null that gives the default, a wrong type that is refused with the key's name. */
#include "unit/config/pack.h"

#include <stdio.h>

struct expected {
    const char *path;
    size_t offset; /* in the struct, or in the element of a list of blocks */
};

#define P(path, member)                                                                            \
    { path, offsetof(struct plugin_config, member) }
static const struct expected plugin_rows[] = {
    P("endpoint", endpoint),
    P("auth.config", auth_config),
    P("auth.helper", auth_helper),
    P("tls.cert", tls_cert),
    P("tls.key", tls_key),
    P("tls.ca", tls_ca),
    P("extra_labels", extra_labels),
    P("logging.type", logging_type),
    P("logging.config", logging_config),
    P("gc.image", gc_image),
    P("gc.image_delay", gc_image_delay_us),
    P("gc.container", gc_container),
    P("gc.dangling_containers.enabled", dangling_enabled),
    P("gc.dangling_containers.period", dangling_period_us),
    P("gc.dangling_containers.creation_grace", dangling_grace_us),
    P("gc.dangling_containers.dry_run", dangling_dry_run),
    P("volumes.enabled", volumes_enabled),
    P("volumes.selinuxlabel", volumes_selinuxlabel),
    P("allow_privileged", allow_privileged),
    P("allow_caps", allow_caps),
    P("nvidia_runtime", nvidia_runtime),
    P("allow_runtimes", allow_runtimes),
    P("infra_image", infra_image),
    P("infra_image_pull_timeout", infra_image_pull_timeout_us),
    P("image_pull_timeout", image_pull_timeout_us),
    P("container_exists_attempts", container_exists_attempts),
    P("oom_score_adj", oom_score_adj),
    P("pull_activity_timeout", pull_activity_timeout_us),
    P("pids_limit", pids_limit),
    P("disable_log_collection", disable_log_collection),
    {"windows_allow_insecure_container_admin", 0},
    P("allowed_modes.pid", allowed_pid_modes),
    P("allowed_modes.ipc", allowed_ipc_modes),
    P("allowed_modes.userns", allowed_userns_modes),
    P("allowed_modes.uts", allowed_uts_modes),
    P("cpuset.enabled", cpuset_enabled),
    P("cpuset.interval", cpuset_interval_us),
    P("cpuset.systemd", cpuset_systemd),
    P("cpuset.mems", cpuset_mems),
    P("metrics.listen", metrics_listen)};

#define J(path, member)                                                                            \
    { path, offsetof(struct job_config, member) }
#define JS(name)                                                                                   \
    { #name, offsetof(struct job_config, name) }
#define D(name)                                                                                    \
    { "devices." #name, offsetof(struct job_device, name) }
#define M(path, member)                                                                            \
    {"mount." path, offsetof(struct job_mount, member)}, {                                         \
        "mounts." path, offsetof(struct job_mount, member)                                         \
    }
static const struct expected job_rows[] = {
    JS(image),
    JS(advertise_ipv6_address),
    JS(args),
    J("auth.username", auth_username),
    J("auth.password", auth_password),
    J("auth.email", auth_email),
    J("auth.server_address", auth_server_address),
    JS(auth_soft_fail),
    JS(cap_add),
    JS(cap_drop),
    JS(cgroupns),
    JS(command),
    JS(container_exists_attempts),
    JS(cpu_cfs_period),
    JS(cpu_hard_limit),
    JS(cpuset_cpus),
    D(host_path),
    D(container_path),
    D(cgroup_permissions),
    JS(dns_search_domains),
    JS(dns_options),
    JS(dns_servers),
    JS(entrypoint),
    JS(extra_hosts),
    JS(force_pull),
    JS(group_add),
    J("healthchecks.disable", healthchecks_disable),
    JS(hostname),
    J("image_pull_timeout", image_pull_timeout_us),
    JS(init),
    JS(interactive),
    JS(ipc_mode),
    JS(ipv4_address),
    JS(ipv6_address),
    JS(isolation),
    JS(labels),
    JS(load),
    J("logging.type", logging_type),
    J("logging.driver", logging_driver),
    J("logging.config", logging_config),
    JS(mac_address),
    J("memory_hard_limit", memory_hard_limit_mb),
    M("type", type),
    M("target", target),
    M("source", source),
    M("readonly", readonly),
    M("bind_options.propagation", propagation),
    M("tmpfs_options.size", tmpfs_size),
    M("tmpfs_options.mode", tmpfs_mode),
    M("volume_options.no_copy", no_copy),
    M("volume_options.labels", volume_labels),
    M("volume_options.driver_config.name", volume_driver_name),
    M("volume_options.driver_config.options", volume_driver_options),
    JS(network_aliases),
    JS(network_mode),
    JS(oom_score_adj),
    JS(pid_mode),
    JS(pids_limit),
    JS(port_map),
    JS(ports),
    JS(privileged),
    JS(readonly_rootfs),
    JS(runtime),
    JS(security_opt),
    JS(shm_size),
    JS(storage_opt),
    JS(sysctl),
    JS(tty),
    JS(ulimit),
    JS(userns_mode),
    JS(uts_mode),
    JS(volume_driver),
    JS(volumes),
    JS(work_dir)};

/* ---- walking ---- */

struct walk {
    bool job;
    const char *outer[4]; /* names of the blocks around */
    size_t depth, rows;
    const struct config_field *list; /* the list of blocks around, NULL = none */
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

/* The whole configuration with @value at the row's path. Takes @value. */
static struct buf with_value(const struct walk *w, const struct config_field *f, json_t *value) {
    json_t *v = json_pack("{s:o}", f->name, value);
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

/* Values that keep the rules. */
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
    case CONFIG_BOOL: /* the other one than the default */
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

/* ---- the tests ---- */

static void row_place(const struct walk *w, const struct config_field *f, const char *path) {
    const struct expected *rows = w->job ? job_rows : plugin_rows;
    size_t n = w->job ? ARRAY_LEN(job_rows) : ARRAY_LEN(plugin_rows), found = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].path, path) != 0)
            continue;
        found++;
        if (rows[i].offset != f->offset)
            fail_msg("%s is put in the wrong place", path);
    }
    if (found != 1)
        fail_msg("%s is expected %zu times", path, found);
    assert_non_null(f->help);
}

static void test_table__each_row__is_where_it_belongs(void **state) {
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

static void test_table__each_row__value_lands(void **state) {
    (void)state;
    walk_both(row_lands);
}

static void row_null(const struct walk *w, const struct config_field *f, const char *path) {
    if (f->required)
        return;
    struct buf b = with_value(w, f, json_null());
    union config c = {0};
    struct err err = {0};
    if (decode(w, &b, &c, &err) != 0)
        fail_msg("%s: %s", path, err.text);
    if (f->type == CONFIG_STRING && !f->default_literal)
        assert_string_equal(*(char **)place(w, f, &c), "");
    done(w, &c);
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
        cmocka_unit_test(test_table__each_row__is_where_it_belongs),
        cmocka_unit_test(test_table__each_row__value_lands),
        cmocka_unit_test(test_table__each_row__null_is_absent),
        cmocka_unit_test(test_table__each_row__wrong_type_names_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
