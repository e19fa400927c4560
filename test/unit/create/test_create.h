/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of the create request share: an allocation's folder in a temp dir, configurations
 * with sensible values, a lookup by path in the body. Texts in the tables are literals. The structs
 * own their texts elsewhere, but here they free nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "paddock/buf.h"
#include "paddock/create.h"
#include "paddock/json_value.h"
#include "unit/alloc.h"

#include <stdio.h>
#include <string.h>

/* Rows set only the fields that they test; the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wincompatible-pointer-types-discards-qualifiers"
#else
#pragma GCC diagnostic ignored "-Wdiscarded-qualifiers"
#endif

#define LIST(...)                                                                                  \
    { .v = (char *[]){__VA_ARGS__}, .n = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *) }
#define PAIRS(...)                                                                                 \
    { .v = (struct kv[]){__VA_ARGS__}, .n = sizeof((struct kv[]){__VA_ARGS__}) / sizeof(struct kv) }
#define MANY(field, type, ...)                                                                     \
    .field = (type[]){__VA_ARGS__}, .n_##field = sizeof((type[]){__VA_ARGS__}) / sizeof(type)

struct input {
    struct job_config job;
    struct plugin_config plugin;
    struct task_config task;
    struct create_host host;
    bool no_resources, cgroup_v1;
};

/* Fills in the values that every real call has. */
static inline void input_complete(struct input *in) {
    static char *default_caps[] = {
        "AUDIT_WRITE",      "CHOWN",   "DAC_OVERRIDE", "FOWNER",  "FSETID", "KILL",       "MKNOD",
        "NET_BIND_SERVICE", "SETFCAP", "SETGID",       "SETPCAP", "SETUID", "SYS_CHROOT",
    };
    static char *default_runtimes[] = {"runc", "nvidia"};
    static struct kv default_logging[] = {{"max-file", "2"}, {"max-size", "2m"}};
    static char resolv[96];
    if (!in->job.image)
        in->job.image = "busybox:1";
    if (!in->plugin.allow_caps.n)
        in->plugin.allow_caps = (struct strv){default_caps, ARRAY_LEN(default_caps)};
    if (!in->plugin.allow_runtimes.n)
        in->plugin.allow_runtimes = (struct strv){default_runtimes, ARRAY_LEN(default_runtimes)};
    if (!in->plugin.nvidia_runtime)
        in->plugin.nvidia_runtime = "nvidia";
    if (!in->plugin.logging_type) {
        in->plugin.logging_type = "json-file";
        in->plugin.logging_config = (struct kvs){default_logging, ARRAY_LEN(default_logging)};
    }
    if (!in->task.id)
        in->task.id = "a1/web/0123";
    if (!in->task.name)
        in->task.name = "web";
    in->task.alloc_id = "a1";
    in->task.alloc_dir = alloc_dir;
    in->task.resources.present = !in->no_resources;
    in->task.resources.nomad_present = in->task.resources.linux_present = !in->no_resources;
    if (!in->task.resources.memory_mb)
        in->task.resources.memory_mb = 64;
    if (!in->host.owner_label)
        in->host.owner_label = "node-1/docker";
    in->host.cgroup_v2 = !in->cgroup_v1;
    snprintf(resolv, sizeof(resolv), "%s/system-resolv.conf", root);
    if (!in->host.resolv_conf)
        in->host.resolv_conf = resolv;
}

static inline int input_build(const struct input *given, json_t **ret, struct err *err) {
    struct input in = *given;
    input_complete(&in);
    struct create_sources sources = {0};
    int r = create_build(&in.task, &in.job, &in.plugin, &in.host, ret, &sources, err);
    if (sources.n > 0)
        fail_msg("%zu sources", sources.n);
    create_sources_done(&sources);
    return r;
}

static inline void input_assert_builds(const struct input *in, json_t **ret) {
    struct err err = {0};
    int r = input_build(in, ret, &err);
    if (r < 0)
        fail_msg("%d %s", r, err.text);
}

static inline void input_assert_refused(const struct input *in, int code, const char *text) {
    AUTO_JSON json_t *body = NULL;
    struct err err = {0};
    int r = input_build(in, &body, &err);
    if (r != code || !strstr(err.text, text))
        fail_msg("%d \"%s\", want %d \"%s\"", r, err.text, code, text);
}

/* The value at "a>b>c"; NULL when absent. An array takes a number as a step. */
static inline json_t *value_at(json_t *body, const char *path) {
    char copy[256];
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *key = copy; key && body;) {
        char *next = strchr(key, '>');
        if (next)
            *next++ = '\0';
        body = json_is_array(body) ? json_array_get(body, (size_t)(key[0] - '0'))
                                   : json_object_get(body, key);
        key = next;
    }
    return body;
}

/* Compares the value at @path with @json; NULL means absent. "@" before "/", ":" or a quote is the
 * allocation's folder. */
static inline void assert_value(const char *name, json_t *body, const char *path,
                                const char *json) {
    AUTO_BUF struct buf text;
    buf_init(&text, 0);
    for (const char *p = json ? json : "null"; *p; p++)
        assert_int_equal(*p == '@' && strchr("/:\"", p[1]) ? buf_puts(&text, alloc_dir)
                                                           : buf_append(&text, p, 1),
                         0);
    json_t *want = json ? json_loads(buf_text(&text), JSON_DECODE_ANY, NULL) : NULL;
    json_t *have = value_at(body, path);
    if (json && !want)
        fail_msg("%s: the test's own JSON is bad: %s", name, json);
    if (want != have && !json_equal(want, have)) {
        char *shown = have ? json_dumps(have, JSON_ENCODE_ANY) : strdup("nothing");
        fail_msg("%s: %s is %s, want %s", name, path, shown, json ? buf_text(&text) : "nothing");
    }
    json_decref(want);
}
