/* SPDX-License-Identifier: MPL-2.0 */
/* Runtimes, namespaces and security_opt: the client's configuration must allow them.
 *
 * create_build() calls the three steps. A seccomp profile is a file that this process reads as
 * root, so it must be a regular file of at most 1 MiB that contains a JSON object. No error shows
 * its content. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"
#include "paddock/json_reason.h"
#include "paddock/parse.h"
#include "paddock/path_file.h"
#include "paddock/path_text.h"

#include <stdio.h>
#include <string.h>

#define SECCOMP_PROFILE_MAX (1u << 20) /* Docker's own profile has 20 KiB */

/* ---- runtime ---- */

/* Is @name in the comma separated @list? */
static bool is_listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; *p;) {
        size_t k = strcspn(p, ",");
        if (k == n && strncmp(p, name, n) == 0)
            return true;
        p += k;
        p += *p == ',';
    }
    return false;
}

int create_security_runtime(struct create *c) {
    const char *runtime = text_of(c->job->runtime);
    const char *gpu = text_of(c->plugin->nvidia_runtime);
    if (kvs_get(&c->task->device_env, "NVIDIA_VISIBLE_DEVICES")) {
        const char *known = text_of(c->host->runtimes);
        if (known[0] && !is_listed(known, gpu))
            return create_fail(c, EINVAL, "requested docker runtime \"%s\" was not found", gpu);
        if (runtime[0] && strcmp(runtime, gpu) != 0)
            return create_fail(c, EINVAL,
                               "conflicting runtime requests: gpu runtime \"%s\" conflicts with "
                               "task runtime \"%s\"",
                               gpu, runtime);
        runtime = gpu;
    }
    if (runtime[0] && !strv_contains(&c->plugin->allow_runtimes, runtime))
        return create_fail(c, EACCES, "requested runtime \"%s\" is not allowed", runtime);
    create_json_set_text_if(c, c->host_config, "Runtime", runtime);
    return create_fail_code(c);
}

/* ---- namespaces ---- */

static bool is_allowed(const struct strv *globs, const char *mode) {
    for (size_t i = 0; i < globs->n; i++)
        if (parse_glob(globs->v[i], mode))
            return true;
    return false;
}

int create_security_namespaces(struct create *c) {
    const struct {
        const char *field, *key, *mode;
        const struct strv *allowed;
    } modes[] = {
        {"ipc_mode", "IpcMode", c->job->ipc_mode, &c->plugin->allowed_ipc_modes},
        {"pid_mode", "PidMode", c->job->pid_mode, &c->plugin->allowed_pid_modes},
        {"uts_mode", "UTSMode", c->job->uts_mode, &c->plugin->allowed_uts_modes},
        {"userns_mode", "UsernsMode", c->job->userns_mode, &c->plugin->allowed_userns_modes},
    };
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (str_empty(modes[i].mode))
            continue;
        if (!c->plugin->allow_privileged && !is_allowed(modes[i].allowed, modes[i].mode))
            return create_fail(c, EACCES,
                               "cannot apply \"%s\" configuration: \"%s\" is not in the client's "
                               "allowed_modes",
                               modes[i].field, modes[i].mode);
        create_json_set_text(c, c->host_config, modes[i].key, modes[i].mode);
    }
    return create_fail_code(c);
}

/* ---- security_opt ---- */

static const char security_prefix[] = "failed to parse security_opt configuration";

static bool lies_below(const char *dir, const char *path) {
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static int read_profile(struct create *c, const char *path, bool *ret_of_host, char **ret) {
    AUTO_FREE char *full = path_text_join(c->task_dir, path);
    if (!full)
        return err_oom(c->err);
    /* A profile of the host has an absolute path. A path that begins in the allocation's folder
     * must not lead out of it, because a task can put links there. */
    bool of_host = path[0] == '/' && !lies_below(c->alloc_dir, full);
    *ret_of_host = of_host;
    int r = path_file_read_stored(c->plugin->volumes_enabled || of_host ? NULL : c->alloc_dir, full,
                                  SECCOMP_PROFILE_MAX, ret);
    if (r == -ENOMEM)
        return err_oom(c->err);
    if (r == -EXDEV)
        return create_fail(
            c, EACCES,
            "%s: opening seccomp profile (%s) failed: volumes are not enabled; it is "
            "outside of the allocation's folder",
            security_prefix, path);
    if (r == -ENODATA)
        return create_fail(c, EINVAL,
                           "%s: opening seccomp profile (%s) failed: it is empty, or of a file "
                           "system without stored files",
                           security_prefix, path);
    if (r < 0)
        return create_fail(c, -r, "%s: opening seccomp profile (%s) failed: %s", security_prefix,
                           path, strerror(-r));
    return 0;
}

/* Removes the blanks between the tokens of valid JSON. Numbers keep their text, however long. */
static void remove_blanks(char *text) {
    char *out = text;
    bool quoted = false;
    for (const char *p = text; *p; p++) {
        if (!quoted && strchr(" \t\r\n", *p))
            continue;
        if (quoted && *p == '\\' && p[1])
            *out++ = *p++;
        else if (*p == '"')
            quoted = !quoted;
        *out++ = *p;
    }
    *out = '\0';
}

static int add_seccomp(struct create *c, const char *path) {
    AUTO_FREE char *text = NULL;
    bool of_host = false;
    int r = read_profile(c, path, &of_host, &text);
    if (r < 0)
        return r;
    json_error_t where;
    AUTO_JSON json_t *profile = json_loads(text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &where);
    if (!profile) {
        char why[JSON_REASON_MAX];
        json_reason(&where, why);
        /* The position where the parser stopped would reveal something about any file that root
         * can read. */
        if (of_host)
            snprintf(why, sizeof(why), "it is no JSON");
        return create_fail(c, EINVAL, "%s: compacting json for seccomp profile (%s) failed: %s",
                           security_prefix, path, why);
    }
    remove_blanks(text);
    AUTO_FREE char *option = NULL;
    if (asprintf(&option, "seccomp=%s", text) < 0) {
        option = NULL;
        return err_oom(c->err);
    }
    create_json_add_text(c, create_json_array(c, c->host_config, "SecurityOpt"), option);
    return create_fail_code(c);
}

/* Finds the value in "k=v", or in "k:v" when there is no "=". Returns NULL when it is neither. */
static const char *value_of(const char *option, size_t *ret_key_len) {
    const char *at = strchr(option, '=');
    if (!at)
        at = strchr(option, ':');
    if (!at)
        return NULL;
    *ret_key_len = (size_t)(at - option);
    return at + 1;
}

int create_security_opts(struct create *c) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->job->security_opt.n; i++) {
        const char *option = c->job->security_opt.v[i];
        size_t key_len = 0;
        const char *value = value_of(option, &key_len);
        if (!value && strcmp(option, "no-new-privileges") != 0)
            return create_fail(c, EINVAL, "%s: invalid security_opt: \"%s\"", security_prefix,
                               option);
        if (value && key_len == strlen("seccomp") && strncmp(option, "seccomp", key_len) == 0 &&
            strcmp(value, "unconfined") != 0 && strcmp(value, "builtin") != 0) {
            r = add_seccomp(c, value);
            continue;
        }
        create_json_add_text(c, create_json_array(c, c->host_config, "SecurityOpt"), option);
        r = create_fail_code(c);
    }
    return r;
}
