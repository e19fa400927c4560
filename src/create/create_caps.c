/* SPDX-License-Identifier: MPL-2.0 */
/* Capabilities.
 *
 * create_build() calls create_caps_add(). The client's configuration must allow the capabilities
 * that the job adds. A capability that Docker gives by default, but the client does not allow, is
 * dropped. The request contains the difference to Docker's own default set. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* linux/capability.h up to CAP_CHECKPOINT_RESTORE (5.9), without "cap_", sorted. */
static const char *const all_caps[] = {
    "audit_control",   "audit_read",   "audit_write",
    "block_suspend",   "bpf",          "checkpoint_restore",
    "chown",           "dac_override", "dac_read_search",
    "fowner",          "fsetid",       "ipc_lock",
    "ipc_owner",       "kill",         "lease",
    "linux_immutable", "mac_admin",    "mac_override",
    "mknod",           "net_admin",    "net_bind_service",
    "net_broadcast",   "net_raw",      "perfmon",
    "setfcap",         "setgid",       "setpcap",
    "setuid",          "sys_admin",    "sys_boot",
    "sys_chroot",      "sys_module",   "sys_nice",
    "sys_pacct",       "sys_ptrace",   "sys_rawio",
    "sys_resource",    "sys_time",     "sys_tty_config",
    "syslog",          "wake_alarm",
};
_Static_assert(ARRAY_LEN(all_caps) == 41, "one name for each capability of the kernel");

/* The capabilities that Docker gives a container by default. */
static const char *const docker_caps[] = {
    "audit_write",      "chown",   "dac_override", "fowner", "fsetid",  "kill",   "mknod",
    "net_bind_service", "net_raw", "setfcap",      "setgid", "setpcap", "setuid", "sys_chroot",
};

/* " CAP_Chown" -> "chown". NULL when out of memory. */
static char *plain_name(const char *text) {
    text += strspn(text, " \t\r\n");
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    if (n >= 4 && strncasecmp(text, "cap_", 4) == 0) {
        text += 4;
        n -= 4;
    }
    char *name = strndup(text, n);
    for (char *p = name; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return name;
}

static int add_once(struct strv *set, const char *name) {
    return strv_contains(set, name) ? 0 : strv_add(set, name);
}

/* Adds @names to @set. @ret_all: "all" was among them; @set then contains every name. */
static int set_from(const struct strv *names, struct strv *set, bool *ret_all) {
    int r = 0;
    *ret_all = false;
    for (size_t i = 0; r == 0 && i < names->n; i++) {
        AUTO_FREE char *name = plain_name(names->v[i]);
        if (!name)
            return -ENOMEM;
        if (strcmp(name, "all") != 0) {
            r = name[0] ? add_once(set, name) : 0;
            continue;
        }
        *ret_all = true;
        for (size_t k = 0; r == 0 && k < ARRAY_LEN(all_caps); k++)
            r = add_once(set, all_caps[k]);
    }
    return r;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_set(struct create *c, const char *key, struct strv *set, bool all) {
    if (all) {
        create_json_add_text(c, create_json_array(c, c->host_config, key), "all");
        return;
    }
    if (set->n)
        qsort(set->v, set->n, sizeof(*set->v), by_name);
    create_json_set_list_if(c, c->host_config, key, set);
}

static int refuse_missing(struct create *c, struct strv *missing) {
    char names[1024] = "";
    size_t len = 0;
    qsort(missing->v, missing->n, sizeof(*missing->v), by_name);
    for (size_t i = 0; i < missing->n && len < sizeof(names); i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
                                missing->v[i]);
    return create_fail(c, EACCES,
                       "driver does not allow the following capabilities: %s (cap_add, allow_caps)",
                       names);
}

int create_caps_add(struct create *c) {
    AUTO_STRV struct strv allow = {0};
    AUTO_STRV struct strv add = {0};
    AUTO_STRV struct strv drop = {0};
    AUTO_STRV struct strv missing = {0};
    bool allow_all, add_all, drop_all;
    int r = set_from(&c->plugin->allow_caps, &allow, &allow_all);
    if (r == 0)
        r = set_from(&c->job->cap_add, &add, &add_all);
    if (r == 0)
        r = set_from(&c->job->cap_drop, &drop, &drop_all);
    for (size_t i = 0; r == 0 && i < add.n; i++)
        if (!strv_contains(&allow, add.v[i]))
            r = strv_add(&missing, add.v[i]);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(docker_caps); i++)
        if (!strv_contains(&allow, docker_caps[i]))
            r = add_once(&drop, docker_caps[i]);
    if (r < 0)
        return err_oom(c->err);
    if (missing.n)
        return refuse_missing(c, &missing);
    put_set(c, "CapAdd", &add, add_all);
    put_set(c, "CapDrop", &drop, drop_all);
    return create_fail_code(c);
}
