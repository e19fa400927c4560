/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the stream of JSON documents that Docker sends while it pulls or loads an image.
 *
 * image_pull.c and image_load.c feed it. Progress is a document with new contents: Docker 29
 * repeats its lines every 100 ms while no data arrives. The stream is sent after the status 200, so
 * an error of the pull is one of its documents. A registry's error page can make a line of any
 * length; such a line is skipped, but searched for its error. */
#include "src/image/image_progress.h"

#include "paddock/json_value.h"
#include "paddock/strv.h"

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

static struct image_layer *find_layer(struct image_progress *p, const char *id) {
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

/* FNV-1a. */
static uint64_t hash_of(const char *text, size_t len) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    return h;
}

/* A document that repeats the last one of its layer is no progress. Docker 29 repeats documents ten
 * times a second, even while no data arrives. */
static void note_change(struct image_progress *p, uint64_t *last, uint64_t hash) {
    p->changes += *last != hash;
    *last = hash;
}

/* Returns NULL when the status does not describe the progress of a layer. */
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
    struct image_layer *l = i < ARRAY_LEN(states) ? find_layer(p, id) : NULL;
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

static void take_error(struct image_progress *p, const char *error) {
    if (!str_empty(error) && !p->error[0])
        snprintf(p->error, sizeof(p->error), "%s", error);
}

static void take_document(struct image_progress *p, const json_t *j, uint64_t hash) {
    take_error(p, json_value_text(json_object_get(j, "errorDetail"), "message"));
    take_error(p, json_value_text(j, "error")); /* the older of the two fields */
    const char *id = json_string_value(json_object_get(j, "id"));
    const char *status = json_string_value(json_object_get(j, "status"));
    struct image_layer *l = id && status ? set_state(p, id, status) : NULL;
    note_change(p, l ? &l->last : &p->other, hash);
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

static int take_line(struct image_progress *p, const char *line, size_t len) {
    if (strspn(line, " \t\r\n") >= len)
        return 0;
    char why[JSON_ERROR_TEXT_LENGTH];
    AUTO_JSON json_t *j = json_value_parse(line, len, why, sizeof(why));
    if (!json_is_object(j) && !json_is_array(j))
        return -EPROTO;
    take_document(p, j, hash_of(line, len));
    return 0;
}

/* Handles the start of a line that is longer than we keep, such as an error page. */
static void take_head(struct image_progress *p, const char *head, size_t len) {
    char error[sizeof(p->error)];
    if (json_value_cut_text(head, len, "error", error, sizeof(error)) ||
        json_value_cut_text(head, len, "message", error, sizeof(error)))
        take_error(p, error);
    note_change(p, &p->other, hash_of(head, len));
}

/* Handles one piece of a line. @ends: the piece ends the line. */
static int take_piece(struct image_progress *p, const char *data, size_t len, bool ends) {
    int r = 0;
    size_t room = PROGRESS_LINE_MAX - p->line.len;
    if (!p->passing_over && len < room) {
        r = buf_append(&p->line, data, len);
        if (r == 0 && ends)
            r = take_line(p, buf_text(&p->line), p->line.len);
    } else if (!p->passing_over) {
        r = buf_append(&p->line, data, room);
        if (r == 0)
            take_head(p, buf_text(&p->line), p->line.len);
        p->passing_over = true;
    }
    if (ends || p->passing_over)
        buf_consume(&p->line, p->line.len);
    if (ends)
        p->passing_over = false;
    return r;
}

/* Each line is a document; blank lines are skipped. */
int image_progress_feed(struct image_progress *p, const char *data, size_t len) {
    int r = 0;
    while (r == 0 && len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len;
        r = take_piece(p, data, n, end != NULL);
        n += end != NULL;
        data += n;
        len -= n;
    }
    return r;
}

int image_progress_end(struct image_progress *p) {
    return image_progress_feed(p, "\n", 1);
}

uint64_t image_progress_bytes(const struct image_progress *p) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->n; i++)
        bytes += (uint64_t)p->layers[i].current;
    return bytes;
}

/* Formats a size as Docker's own tools do. */
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
