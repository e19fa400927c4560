/* SPDX-License-Identifier: MPL-2.0 */
/* Makes a map of the cores from a status document, for status_map.c and web_page.c.
 *
 * The document may come from a driver of another version. A set that is absent or malformed
 * is treated as empty. */
#include "plugin/core_map.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static void parse_set(const char *text, struct cpuset *ret) {
    if (cpuset_parse(text, strlen(text), ret) < 0)
        *ret = (struct cpuset){{0}};
}

static void set_of(const json_t *o, const char *key, struct cpuset *ret) {
    parse_set(text_of(o, key), ret);
}

bool core_map_holds_cores(const json_t *task) {
    return strcmp(text_of(task, "kind"), "cores") == 0;
}

static void add_owner(struct core_map *m, const struct cpuset *cpus, size_t place) {
    for (unsigned cpu = 0; cpu < CPUSET_MAX_CPUS; cpu++) {
        if (!cpuset_has(cpus, cpu))
            continue;
        if (m->owner[cpu])
            cpuset_add(&m->shared, cpu);
        else if (place < UINT16_MAX)
            m->owner[cpu] = (unsigned short)(place + 1);
    }
}

/* A Nomad agent of 1.6 lets a task with cores of its own also run on the shared pool. */
static void drop_owners_of_shared(struct core_map *m) {
    for (unsigned cpu = 0; cpu < CPUSET_MAX_CPUS; cpu++)
        if (cpuset_has(&m->shared, cpu))
            m->owner[cpu] = 0;
}

static void add_task(struct core_map *m, const json_t *task, size_t place) {
    struct cpuset wanted, actual;
    set_of(task, "wanted", &wanted);
    set_of(task, "actual", &actual);
    if (core_map_holds_cores(task))
        add_owner(m, &wanted, place);
    else
        cpuset_union(&m->shared, &wanted);
    cpuset_subtract(&actual, &wanted);
    if (!cpuset_is_empty(&wanted))
        cpuset_union(&m->foreign, &actual);
}

struct core_map *core_map_new(const json_t *doc) {
    struct core_map *m = calloc(1, sizeof(*m));
    const json_t *machine = json_object_get(doc, "machine"), *task;
    size_t i;
    if (!m)
        return NULL;
    m->tasks = json_object_get(json_object_get(doc, "pin"), "tasks");
    set_of(machine, "online", &m->online);
    set_of(machine, "present", &m->present);
    set_of(machine, "isolated", &m->isolated);
    cpuset_union(&m->present, &m->online);
    json_array_foreach(m->tasks, i, task) {
        add_task(m, task, i);
    }
    drop_owners_of_shared(m);
    return m;
}

void core_map_free(struct core_map *m) {
    free(m);
}

int core_map_nodes(const struct core_map *m, const json_t *machine,
                   int (*put)(void *ctx, int id, const struct cpuset *cpus, const json_t *cores),
                   void *ctx) {
    const json_t *nodes = json_object_get(machine, "nodes"), *node,
                 *cores = json_object_get(machine, "cores");
    struct cpuset rest = m->present, cpus;
    size_t i;
    int r = 0;
    json_array_foreach(nodes, i, node) {
        set_of(node, "cpus", &cpus);
        cpuset_intersect(&cpus, &rest);
        cpuset_subtract(&rest, &cpus);
        if (r == 0 && !cpuset_is_empty(&cpus))
            r = put(ctx,
                    json_array_size(nodes) > 1
                        ? (int)json_integer_value(json_object_get(node, "id"))
                        : -1,
                    &cpus, cores);
    }
    return r == 0 && !cpuset_is_empty(&rest) ? put(ctx, -1, &rest, cores) : r;
}

int core_map_cores(const struct core_map *m, const struct cpuset *cpus, const json_t *cores,
                   int (*put)(void *ctx, const struct cpuset *core), void *ctx) {
    struct cpuset rest = *cpus, core;
    const json_t *text;
    size_t i;
    int r = 0;
    json_array_foreach(cores, i, text) {
        parse_set(json_string_value(text) ?: "", &core);
        cpuset_intersect(&core, &m->online);
        cpuset_intersect(&core, &rest);
        cpuset_subtract(&rest, &core);
        if (r == 0 && !cpuset_is_empty(&core))
            r = put(ctx, &core);
    }
    for (unsigned cpu = 0; r == 0 && cpu < CPUSET_MAX_CPUS; cpu++)
        if (cpuset_has(&rest, cpu)) {
            core = (struct cpuset){{0}};
            cpuset_add(&core, cpu);
            r = put(ctx, &core);
        }
    return r;
}
