#include "docker_image_progress.h"

#include "paddock/docker.h"

#include <stdio.h>
#include <string.h>

#define PROGRESS_LINE_MAX (64u << 10)

void image_progress_init(struct image_progress *p) {
    *p = (struct image_progress){0};
    buf_init(&p->line, PROGRESS_LINE_MAX);
}

void image_progress_done(struct image_progress *p) {
    buf_done(&p->line);
}

static struct image_layer *layer(struct image_progress *p, const char *id) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->layers[i].id, id) == 0)
            return &p->layers[i];
    if (p->n == IMAGE_LAYERS_MAX)
        return NULL;
    struct image_layer *l = &p->layers[p->n++];
    *l = (struct image_layer){.waiting = true};
    snprintf(l->id, sizeof(l->id), "%s", id);
    return l;
}

static void set_state(struct image_layer *l, const char *status) {
    static const struct {
        const char *status;
        bool waiting, pulling, done;
    } states[] = {
        {"Pulling fs layer", true, false, false},  {"Waiting", true, false, false},
        {"Downloading", false, true, false},       {"Verifying Checksum", false, true, false},
        {"Download complete", false, true, false}, {"Extracting", false, true, false},
        {"Pull complete", false, false, true},     {"Already exists", false, false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(states[i].status, status) == 0) {
            l->waiting = states[i].waiting;
            l->pulling = states[i].pulling;
            l->done = states[i].done;
        }
    }
}

static void take_document(struct image_progress *p, const json_t *j) {
    const char *error = json_string_value(json_object_get(j, "error"));
    if (error && !p->error[0])
        snprintf(p->error, sizeof(p->error), "%s", error);
    const char *id = json_string_value(json_object_get(j, "id"));
    const char *status = json_string_value(json_object_get(j, "status"));
    /* "Pulling from library/x" carries the tag as its id. */
    if (!id || !status || strncmp(status, "Pulling from", 12) == 0)
        return;
    struct image_layer *l = layer(p, id);
    if (!l)
        return;
    set_state(l, status);
    json_t *detail = json_object_get(j, "progressDetail");
    if (strcmp(status, "Downloading") == 0) {
        l->current = (int64_t)json_number_value(json_object_get(detail, "current"));
        l->total = (int64_t)json_number_value(json_object_get(detail, "total"));
    } else if (l->done || strcmp(status, "Download complete") == 0) {
        l->current = l->total;
    }
}

/* Documents are lines; blank ones mean nothing. */
int image_progress_feed(struct image_progress *p, const char *data, size_t len) {
    int r = buf_append(&p->line, data, len);
    char *end;
    while (r == 0 && p->line.len > 0 && (end = memchr(p->line.data, '\n', p->line.len))) {
        size_t n = (size_t)(end - p->line.data);
        bool blank = strspn(p->line.data, " \t\r\n") > n;
        AUTO_JSON json_t *j = blank ? NULL : json_loadb(p->line.data, n, 0, NULL);
        if (j)
            take_document(p, j);
        else if (!blank)
            r = -EPROTO;
        buf_consume(&p->line, n + 1);
    }
    return r;
}

static void size_text(int64_t bytes, char *out, size_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < ARRAY_LEN(units); u++)
        v /= 1024;
    snprintf(out, size, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

void image_progress_text(const struct image_progress *p, uint64_t elapsed_us, char *out, size_t size) {
    size_t done = 0, waiting = 0, pulling = 0;
    int64_t current = 0, total = 0;
    for (size_t i = 0; i < p->n; i++) {
        done += p->layers[i].done;
        waiting += p->layers[i].waiting;
        pulling += p->layers[i].pulling;
        current += p->layers[i].current;
        total += p->layers[i].total;
    }
    char have[32], all[32], rest[64] = "";
    size_text(current, have, sizeof(have));
    size_text(total, all, sizeof(all));
    if (current > 0 && total > current)
        snprintf(rest, sizeof(rest), " - est %.1fs remaining",
                 (double)elapsed_us / 1e6 * (double)(total - current) / (double)current);
    snprintf(out, size, "Pulled %zu/%zu (%s/%s) layers: %zu waiting/%zu pulling%s", done, p->n, have, all,
             waiting, pulling, rest);
}
