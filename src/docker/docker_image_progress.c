#include "docker_image_progress.h"

#include "docker_priv.h"

#include <stdio.h>
#include <string.h>

#define PROGRESS_LINE_MAX (64u << 10)
#define LAYER_BYTES_MAX (INT64_C(1) << 50)

void image_progress_init(struct image_progress *p) {
    *p = (struct image_progress){0};
    buf_init(&p->line, PROGRESS_LINE_MAX);
}

void image_progress_done(struct image_progress *p) {
    buf_done(&p->line);
}

static struct image_layer *layer(struct image_progress *p, const char *id) {
    for (size_t i = 0; i < p->n; i++)
        if (strncmp(p->layers[i].id, id, sizeof(p->layers[i].id) - 1) == 0)
            return &p->layers[i];
    if (p->n == IMAGE_LAYERS_MAX)
        return NULL;
    struct image_layer *l = &p->layers[p->n++];
    *l = (struct image_layer){.waiting = true};
    snprintf(l->id, sizeof(l->id), "%s", id);
    return l;
}

/* NULL: a status that says nothing of how far a layer is. */
static struct image_layer *set_state(struct image_progress *p, const char *id, const char *status) {
    static const struct {
        const char *status;
        bool waiting, pulling, pulled;
    } states[] = {
        {"Pulling fs layer", true, false, false},  {"Waiting", true, false, false},
        {"Downloading", false, true, false},       {"Verifying Checksum", false, true, false},
        {"Download complete", false, false, true}, {"Extracting", false, false, true},
        {"Pull complete", false, false, true},     {"Already exists", false, false, true},
    };
    size_t i = 0;
    while (i < ARRAY_LEN(states) && strcmp(states[i].status, status) != 0)
        i++;
    struct image_layer *l = i < ARRAY_LEN(states) ? layer(p, id) : NULL;
    if (!l)
        return NULL;
    l->waiting = states[i].waiting;
    l->pulling = states[i].pulling;
    l->pulled = states[i].pulled;
    return l;
}

static int64_t bytes_of(const json_t *detail, const char *key) {
    json_int_t n = json_integer_value(json_object_get(detail, key));
    return n < 0 ? 0 : n > LAYER_BYTES_MAX ? LAYER_BYTES_MAX : n;
}

static void take_document(struct image_progress *p, const json_t *j) {
    const char *error = json_string_value(json_object_get(j, "error"));
    if (error && !p->error[0])
        snprintf(p->error, sizeof(p->error), "%s", error);
    const char *id = json_string_value(json_object_get(j, "id"));
    const char *status = json_string_value(json_object_get(j, "status"));
    if (!id || !status)
        return;
    struct image_layer *l = set_state(p, id, status);
    if (!l)
        return;
    json_t *detail = json_object_get(j, "progressDetail");
    if (strcmp(status, "Downloading") == 0) {
        l->current = bytes_of(detail, "current");
        l->total = bytes_of(detail, "total");
    } else if (l->pulled) {
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
        char why[JSON_ERROR_TEXT_LENGTH];
        AUTO_JSON json_t *j = blank ? NULL : docker_json_parse(p->line.data, n, why, sizeof(why));
        if (json_is_object(j) || json_is_array(j))
            take_document(p, j);
        else if (!blank)
            r = -EPROTO;
        buf_consume(&p->line, n + 1);
    }
    return r;
}

int image_progress_end(struct image_progress *p) {
    return image_progress_feed(p, "\n", 1);
}

/* As Docker's own tools print sizes. */
static void size_text(int64_t bytes, char *out, size_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < ARRAY_LEN(units); u++)
        v /= 1024;
    snprintf(out, size, "%.4g%s", v, units[u]);
}

void image_progress_text(const struct image_progress *p, uint64_t elapsed_us, char *out,
                         size_t size) {
    size_t pulled = 0, waiting = 0, pulling = 0;
    int64_t current = 0, total = 0;
    for (size_t i = 0; i < p->n; i++) {
        pulled += p->layers[i].pulled;
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
    snprintf(out, size, "Pulled %zu/%zu (%s/%s) layers: %zu waiting/%zu pulling%s", pulled, p->n,
             have, all, waiting, pulling, rest);
}
