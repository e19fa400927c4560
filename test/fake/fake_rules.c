/* SPDX-License-Identifier: MPL-2.0 */
/* Parses the text of rules (fake.h) and finds the rule that matches a request. */
#include "fake/fake.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static void rule_free(struct rule *r) {
    free(r->method);
    free(r->path);
    free(r->type);
    free(r->header);
    free(r->body);
    free(r);
}

/* "\r\n" written as text, in place. Returns the new length. */
static size_t unescape(char *text) {
    char *out = text;
    for (const char *in = text; *in; in++) {
        if (*in != '\\' || !in[1]) {
            *out++ = *in;
            continue;
        }
        in++;
        *out++ = *in == 'n' ? '\n' : *in == 'r' ? '\r' : *in;
    }
    *out = '\0';
    return (size_t)(out - text);
}

static bool set_option(struct rule *r, const char *word) {
    const char *value = strchr(word, '=');
    size_t n = value ? (size_t)(value++ - word) : strlen(word);
#define IS(name) (n == sizeof(name) - 1 && strncmp(word, name, n) == 0)
    if (!value) {
        bool *flag = IS("chunked") ? &r->chunked
                     : IS("hang")  ? &r->hang
                     : IS("drop")  ? &r->drop
                     : IS("close") ? &r->close
                     : IS("raw")   ? &r->raw
                     : IS("stall") ? &r->stall
                                   : NULL;
        if (flag)
            *flag = true;
        return flag != NULL;
    }
    if (IS("times"))
        r->times = strtol(value, NULL, 10);
    else if (IS("skip"))
        r->skip = (unsigned)strtoul(value, NULL, 10);
    else if (IS("delay"))
        r->delay_ms = (unsigned)strtoul(value, NULL, 10);
    else if (IS("every")) {
        r->drip = true;
        r->every_ms = (unsigned)strtoul(value, NULL, 10);
    } else if (IS("status"))
        r->status = (int)strtol(value, NULL, 10);
    else if (IS("cut"))
        r->cut = strtol(value, NULL, 10);
    else if (IS("type"))
        r->type = strdup(value);
    else if (IS("header"))
        r->header = strdup(value);
    else if (IS("size")) {
        r->body_len = strtoul(value, NULL, 10);
        r->body = malloc(r->body_len + 1);
        if (r->body)
            memset(r->body, 'x', r->body_len);
    } else
        return false;
    return true;
#undef IS
}

static char *next_word(char **at) {
    *at += strspn(*at, " ");
    if (!**at)
        return NULL;
    char *word = *at;
    *at += strcspn(*at, " ");
    if (**at)
        *(*at)++ = '\0';
    return word;
}

static struct rule *parse_line(char *line) {
    struct rule *r = calloc(1, sizeof(*r));
    char *at = line, *word;
    if (!r)
        abort();
    r->times = r->cut = -1;
    char *method = next_word(&at), *path = next_word(&at);
    bool ok = method && path;
    if (ok) {
        r->method = strdup(method);
        r->path = strdup(path);
    }
    while (ok && *(at += strspn(at, " "))) {
        if (strncmp(at, "body=", 5) == 0) {
            r->body = strdup(at + 5);
            r->drip |= r->stall;
            r->body_len = r->raw || r->drip ? unescape(r->body) : strlen(r->body);
            break;
        }
        word = next_word(&at);
        ok = word && set_option(r, word);
    }
    r->drip |= r->stall;
    if ((r->body || r->drip) && !r->status)
        r->status = 200;
    if (ok)
        return r;
    rule_free(r);
    return NULL;
}

bool rules_add(struct rules *rs, const char *text) {
    char *copy = strdup(text), *save = copy;
    struct rule *first = NULL, **last = &first;
    bool ok = true;
    for (char *line; (line = strsep(&save, "\n"));) {
        if (!line[0] || line[0] == '#')
            continue;
        struct rule *r = parse_line(line);
        if (r) {
            *last = r;
            last = &r->next;
        } else {
            fprintf(stderr, "fake_dockerd: bad rule: %s\n", line);
            ok = false;
        }
    }
    *last = rs->first;
    rs->first = first;
    free(copy);
    return ok;
}

void rules_clear(struct rules *rs) {
    while (rs->first) {
        struct rule *r = rs->first;
        rs->first = r->next;
        rule_free(r);
    }
}

struct rule *rules_match(struct rules *rs, const char *method, const char *path) {
    for (struct rule *r = rs->first; r; r = r->next) {
        if (r->times == 0 || fnmatch(r->method, method, 0) != 0 || fnmatch(r->path, path, 0) != 0)
            continue;
        if (r->skip > 0) {
            r->skip--;
            continue;
        }
        if (r->times > 0)
            r->times--;
        return r;
    }
    return NULL;
}
