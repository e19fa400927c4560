/* SPDX-License-Identifier: MPL-2.0 */
/* The event stream, in one piece and cut in two: both give the same events. The first byte selects
 * where to cut. */
#include "src/docker/docker_events.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t sum, events;
};

static void add(struct seen *s, const char *text) {
    for (; *text; text++)
        s->sum = (s->sum ^ (unsigned char)*text) * UINT64_C(1099511628211);
}

static void on_event(void *ctx, const struct docker_event *event) {
    struct seen *s = ctx;
    if (!event->action[0] || !event->container_id[0] || strchr(event->action, ':') ||
        event->exit_code < -1)
        abort();
    add(s, event->action);
    add(s, event->container_id);
    s->sum += (uint64_t)event->time_ns + (uint64_t)event->exit_code;
    s->events++;
}

static void on_skipped(void *ctx, const char *container_id, const char *why) {
    struct seen *s = ctx;
    if (strlen(container_id) > 64 || !why[0])
        abort();
    add(s, container_id);
    s->events++;
}

static int feed(const char *data, size_t len, size_t step, struct seen *ret) {
    struct docker d = {.minor = 0};
    struct docker_events e = {
        .docker = &d, .ops = {.event = on_event, .skipped = on_skipped}, .ctx = ret};
    int r = 0;
    buf_init(&e.line, LINE_MAX_BYTES);
    for (size_t at = 0; r == 0 && at < len; at += step)
        r = on_data(&e, data + at, len - at < step ? len - at : step);
    buf_done(&e.line);
    free(e.last);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct seen whole = {0}, cut = {0};
    int a = feed((const char *)data + 1, size - 1, size, &whole);
    int b = feed((const char *)data + 1, size - 1, (size_t)data[0] + 1, &cut);
    if (a != b || whole.sum != cut.sum || whole.events != cut.events)
        abort();
    return 0;
}
