/* SPDX-License-Identifier: MPL-2.0 */
/* Finds plugin_dir and data_dir in a Nomad agent's configuration, for `paddock enable`;
 * driver_link.c calls it.
 *
 * An HCL parser would be a large library for two strings. A scanner walks over the text instead: it
 * skips comments, strings and here-documents, counts brackets, and reads `name = "text"` outside of
 * all brackets. jansson reads JSON. */
#include "plugin/agent_config.h"

#include "paddock/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void agent_config_done(struct agent_config *c) {
    free(c->plugin_dir);
    free(c->data_dir);
    free(c->source);
    *c = (struct agent_config){.source = NULL};
}

void agent_config_args_done(struct agent_args *a) {
    free(a->plugin_dir);
    free(a->data_dir);
    strv_done(&a->configs);
    *a = (struct agent_args){.data_dir = NULL};
}

/* An empty value is ignored, as Nomad does when it merges files. */
static int take_value(struct agent_config *c, const char *name, const char *key,
                      const char *value) {
    if (!value || !*value)
        return 0;
    if (strcmp(key, "data_dir") == 0)
        return str_set(&c->data_dir, value);
    if (strcmp(key, "plugin_dir") != 0)
        return 0;
    int r = str_set(&c->plugin_dir, value);
    return r < 0 ? r : str_set(&c->source, name);
}

/* ---- HCL ---- */

static const char *skip_line(const char *p) {
    return p + strcspn(p, "\n");
}

/* @p is after "<<". Skips to the line that contains only the marker. */
static const char *skip_heredoc(const char *p) {
    if (*p == '-' || *p == '~')
        p++;
    const char *marker = p;
    size_t n = strcspn(p, " \t\r\n");
    for (p = skip_line(p); *p; p = skip_line(p)) {
        p += 1 + strspn(p + 1, " \t");
        if (strncmp(p, marker, n) == 0 && strchr("\r\n", p[n]))
            return p + n;
    }
    return p;
}

/* @p is after the opening quote. Copies the text to @ret, which must hold at least strlen(@p) + 1
 * bytes. Returns the position after the closing quote. */
static const char *read_quoted(const char *p, char *ret) {
    while (*p && *p != '"' && *p != '\n') {
        if (*p == '\\' && p[1])
            p++;
        *ret++ = *p++;
    }
    *ret = '\0';
    return *p == '"' ? p + 1 : p;
}

/* Skips blanks, comments and here-documents. */
static const char *skip_blank(const char *p) {
    for (;;) {
        p += strspn(p, " \t\r\n");
        if (*p == '#' || strncmp(p, "//", 2) == 0) {
            p = skip_line(p);
        } else if (strncmp(p, "/*", 2) == 0) {
            const char *end = strstr(p + 2, "*/");
            p = end ? end + 2 : p + strlen(p);
        } else if (strncmp(p, "<<", 2) == 0) {
            p = skip_heredoc(p + 2);
        } else {
            return p;
        }
    }
}

static bool in_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static int read_hcl(struct agent_config *c, const char *name, const char *p) {
    AUTO_FREE char *text = malloc(strlen(p) + 1);
    char key[16] = "";
    bool assigned = false;
    int depth = 0, r = text ? 0 : -ENOMEM;
    for (p = skip_blank(p); r == 0 && *p; p = skip_blank(p)) {
        if (*p == '"') {
            p = read_quoted(p + 1, text);
            if (depth == 0 && assigned)
                r = take_value(c, name, key, text);
            else if (depth == 0) /* a quoted name, as HCL 1 allows */
                snprintf(key, sizeof(key), "%s", text);
            assigned = false;
        } else if (in_word(*p)) {
            size_t n = 0;
            while (in_word(p[n]))
                n++;
            snprintf(key, sizeof(key), "%.*s", n < sizeof(key) ? (int)n : 0, p);
            assigned = false;
            p += n;
        } else {
            assigned = *p == '=';
            if (strchr("{[(", *p))
                depth++;
            else if (strchr("}])", *p) && depth > 0)
                depth--;
            p++;
        }
    }
    return r;
}

int agent_config_read(struct agent_config *c, const char *name, const char *text) {
    if (text[strspn(text, " \t\r\n")] != '{')
        return read_hcl(c, name, text);
    json_t *doc = json_loads(text, 0, NULL);
    int r = take_value(c, name, "data_dir", json_string_value(json_object_get(doc, "data_dir")));
    if (r == 0)
        r = take_value(c, name, "plugin_dir",
                       json_string_value(json_object_get(doc, "plugin_dir")));
    json_decref(doc);
    return r;
}

/* ---- command line ---- */

/* True when @arg is -@name or --@name. @ret: the text after "=", else NULL. */
static bool is_option(const char *arg, const char *name, const char **ret) {
    size_t n = strlen(name);
    if (*arg != '-')
        return false;
    arg += arg[1] == '-' ? 2 : 1;
    if (strncmp(arg, name, n) != 0 || (arg[n] && arg[n] != '='))
        return false;
    *ret = arg[n] ? arg + n + 1 : NULL;
    return true;
}

static int read_option(struct agent_args *ret, const char *arg, const char *next) {
    const char *value;
    bool config = is_option(arg, "config", &value);
    bool plugin_dir = !config && is_option(arg, "plugin-dir", &value);
    if (!config && !plugin_dir && !is_option(arg, "data-dir", &value))
        return 0;
    value = value ? value : next;
    if (!value)
        return 0;
    return config ? strv_add(&ret->configs, value)
                  : str_set(plugin_dir ? &ret->plugin_dir : &ret->data_dir, value);
}

int agent_config_args_read(struct agent_args *ret, const char *text, size_t len) {
    const char *end = text + len, *base = strrchr(text, '/');
    bool agent = false;
    int r = 0;
    if (len == 0 || end[-1] || strcmp(base ? base + 1 : text, "nomad") != 0)
        return 0;
    for (const char *p = text + strlen(text) + 1; r == 0 && p < end; p += strlen(p) + 1) {
        const char *next = p + strlen(p) + 1;
        if (!agent)
            agent = strcmp(p, "agent") == 0;
        else
            r = read_option(ret, p, next < end ? next : NULL);
    }
    return r < 0 ? r : agent;
}
