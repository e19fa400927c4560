/* SPDX-License-Identifier: MPL-2.0 */
/* Draws the map of cores that `paddock status` shows below its table; cli_status.c calls it.
 *
 * A letter stands for a task that holds cores; the key below the map names them. With more tasks
 * than letters, letters repeat. The page for the browser (web_page.c) draws the same map from the
 * same document as this file. */
#include "plugin/status_map.h"

#include "plugin/core_map.h"

#include <stdio.h>
#include <string.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwyz" /* no x */

static char letter_of(const struct core_map *m, unsigned cpu) {
    if (cpuset_has(&m->foreign, cpu))
        return '!';
    if (!cpuset_has(&m->online, cpu))
        return 'x';
    if (m->owner[cpu])
        return LETTERS[(m->owner[cpu] - 1u) % strlen(LETTERS)];
    return cpuset_has(&m->shared, cpu) ? '.' : '-';
}

struct line {
    struct buf *out;
    const struct core_map *map;
    size_t columns, used, indent;
};

static int put_core(void *ctx, const struct cpuset *core) {
    struct line *l = ctx;
    char text[CPUSET_MAX_CPUS / 8];
    size_t n = 0;
    for (unsigned cpu = 0; cpu < CPUSET_MAX_CPUS && n + 1 < sizeof(text); cpu++)
        if (cpuset_has(core, cpu))
            text[n++] = letter_of(l->map, cpu);
    text[n] = '\0';
    int r = 0;
    if (l->columns && l->used + 1 + n > l->columns && l->used > l->indent) {
        r = buf_printf(l->out, "\n%*s", (int)l->indent, "");
        l->used = l->indent;
    }
    l->used += 1 + n;
    return r < 0 ? r : buf_printf(l->out, " %s", text);
}

static int put_node(void *ctx, int id, const struct cpuset *cpus, const json_t *cores) {
    struct line *l = ctx;
    char title[24];
    snprintf(title, sizeof(title), id < 0 ? "cores  " : "node %-2d", id);
    l->indent = l->used = strlen(title);
    int r = buf_puts(l->out, title);
    if (r == 0)
        r = core_map_cores(l->map, cpus, cores, put_core, l);
    return r < 0 ? r : buf_puts(l->out, "\n");
}

/* Lists which letter is which task. */
static int put_key(struct line *l) {
    const json_t *task;
    size_t i;
    int r = 0;
    json_array_foreach(l->map->tasks, i, task) {
        char text[300];
        if (r < 0 || !core_map_holds_cores(task))
            continue;
        snprintf(text, sizeof(text), "%c %s", LETTERS[i % strlen(LETTERS)],
                 json_string_value(json_object_get(task, "task")) ?: "");
        if (l->used > 0 && l->columns && l->used + 2 + strlen(text) > l->columns) {
            r = buf_puts(l->out, "\n");
            l->used = 0;
        }
        if (r == 0)
            r = buf_printf(l->out, "%s%s", l->used ? ", " : "", text);
        l->used += strlen(text) + 2;
    }
    if (r == 0)
        r = buf_printf(l->out, "%s. shared, - in no task's set, x offline, ! against the set\n",
                       l->used == 0                              ? ""
                       : l->columns && l->used + 60 > l->columns ? "\n"
                                                                 : ", ");
    return r;
}

int status_map_put(struct buf *out, const json_t *doc, size_t columns) {
    struct core_map *m = core_map_new(doc);
    struct line l = {.out = out, .map = m, .columns = columns};
    if (!m)
        return -ENOMEM;
    int r = 0;
    if (json_array_size(m->tasks) > 0 && !cpuset_is_empty(&m->present)) {
        r = core_map_nodes(m, json_object_get(doc, "machine"), put_node, &l);
        l.used = 0;
        if (r == 0)
            r = put_key(&l);
    }
    core_map_free(m);
    return r;
}
