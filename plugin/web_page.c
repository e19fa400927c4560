/* SPDX-License-Identifier: MPL-2.0 */
/* Draws the page that plugin/web.c serves at "/": converts a status document to HTML. Pure.
 *
 * The page has no script, so even a text that escaped the escaping could run nothing. The browser
 * loads the page again every five seconds. Colours: each task that holds cores has one of twelve. A
 * CPU that a task runs on against its set is striped. */
#include "plugin/web_page.h"

#include "plugin/cli_ask.h"
#include "plugin/core_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLOURS 12u
#define BINS 30u
#define BIN_NS (120 * INT64_C(1000000000)) /* 30 bins are the last hour */

/* ---- text ---- */

/* Appends @text escaped for HTML. Control characters become "?": C0, DEL, and C1, which is C2 80
 * to C2 9F in UTF-8. */
static int put_text(struct buf *b, const char *text) {
    int r = 0;
    for (; *text && r == 0; text++) {
        unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];
        if (c == '<')
            r = buf_puts(b, "&lt;");
        else if (c == '>')
            r = buf_puts(b, "&gt;");
        else if (c == '&')
            r = buf_puts(b, "&amp;");
        else if (c == '"')
            r = buf_puts(b, "&quot;");
        else if (c == '\'')
            r = buf_puts(b, "&#39;");
        else if (c < ' ' || c == 0x7f)
            r = buf_puts(b, "?");
        else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
            r = buf_puts(b, "?");
            text++;
        } else
            r = buf_append(b, text, 1);
    }
    return r;
}

static const json_t *get_member(const json_t *o, const char *key) {
    return json_object_get(o, key);
}

static json_int_t get_number(const json_t *o, const char *key) {
    return json_integer_value(get_member(o, key));
}

/* Writes an age: "3 s", "12 min", "4 h", "9 d". */
static void age_text(int64_t ns, char *out, size_t size) {
    int64_t s = ns < 0 ? 0 : ns / 1000000000;
    if (s < 120)
        snprintf(out, size, "%" PRId64 " s", s);
    else if (s < 7200)
        snprintf(out, size, "%" PRId64 " min", s / 60);
    else if (s < 172800)
        snprintf(out, size, "%" PRId64 " h", s / 3600);
    else
        snprintf(out, size, "%" PRId64 " d", s / 86400);
}

static void bytes_text(json_int_t bytes, char *out, size_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t unit = 0;
    while (n >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        n /= 1024;
        unit++;
    }
    snprintf(out, size, unit && n < 10 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

/* ---- the map ---- */

static int put_title(struct buf *b, const struct core_map *m, unsigned cpu) {
    const json_t *owner = m->owner[cpu] ? json_array_get(m->tasks, m->owner[cpu] - 1u) : NULL;
    bool online = cpuset_has(&m->online, cpu);
    int r = buf_printf(b, "CPU %u: ", cpu);
    if (r == 0 && owner)
        r = put_text(b, cli_ask_text(owner, "task"));
    else if (r == 0)
        r = buf_puts(b, cpuset_has(&m->shared, cpu) ? "shared" : "in no task's set");
    if (r == 0 && !online)
        r = buf_puts(b, ", offline");
    if (r == 0 && cpuset_has(&m->foreign, cpu))
        r = buf_puts(b, ", a task runs here that should not");
    if (r == 0 && cpuset_has(&m->isolated, cpu))
        r = buf_puts(b, ", isolated at boot");
    return r;
}

static int put_cpu(struct buf *b, const struct core_map *m, unsigned cpu) {
    char colour[16];
    if (m->owner[cpu])
        snprintf(colour, sizeof(colour), "own t%u", (m->owner[cpu] - 1u) % COLOURS);
    else
        snprintf(colour, sizeof(colour), "%s", cpuset_has(&m->shared, cpu) ? "pool" : "free");
    int r = buf_printf(b, "<span class=\"cpu %s%s%s\" title=\"", colour,
                       cpuset_has(&m->online, cpu) ? "" : " off",
                       cpuset_has(&m->foreign, cpu) ? " foreign" : "");
    if (r == 0)
        r = put_title(b, m, cpu);
    return r < 0 ? r : buf_printf(b, "\">%u</span>", cpu);
}

struct cores {
    struct buf *b;
    const struct core_map *m;
};

static int put_core(void *ctx, const struct cpuset *core) {
    const struct cores *c = ctx;
    int r = buf_puts(c->b, "<span class=core>");
    for (unsigned cpu = 0; r == 0 && cpu < CPUSET_MAX_CPUS; cpu++)
        if (cpuset_has(core, cpu))
            r = put_cpu(c->b, c->m, cpu);
    return r < 0 ? r : buf_puts(c->b, "</span>");
}

static int put_node(void *ctx, int id, const struct cpuset *cpus, const json_t *cores) {
    const struct cores *c = ctx;
    int r = buf_puts(c->b, "<div class=node>");
    if (r == 0 && id >= 0)
        r = buf_printf(c->b, "<h3>NUMA node %d</h3>", id);
    if (r == 0)
        r = buf_puts(c->b, "<div class=cores>");
    if (r == 0)
        r = core_map_cores(c->m, cpus, cores, put_core, ctx);
    return r < 0 ? r : buf_puts(c->b, "</div></div>");
}

static int put_map(struct buf *b, const struct core_map *m, const json_t *machine) {
    struct cores c = {.b = b, .m = m};
    int r = buf_puts(b, "<section><h2>Cores</h2><div class=map>");
    if (r == 0)
        r = core_map_nodes(m, machine, put_node, &c);
    if (r == 0)
        r = buf_puts(b, "</div><p class=key><span class=\"cpu own t0\"></span>one task's own "
                        "<span class=\"cpu pool\"></span>shared "
                        "<span class=\"cpu free\"></span>in no task's set "
                        "<span class=\"cpu off\"></span>offline "
                        "<span class=\"cpu free foreign\"></span>used against the task's "
                        "set</p></section>");
    return r;
}

/* ---- tasks ---- */

/* Returns the CSS class that shows how good a state is. */
static const char *class_of_state(const char *state) {
    static const char *const bad[] = {"failed", "spilled", "no-cpu", "contested", "unmanaged"};
    static const char *const good[] = {"pinned", "unit-unsynced"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (strcmp(state, bad[i]) == 0)
            return "bad";
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (strcmp(state, good[i]) == 0)
            return "ok";
    return "warn";
}

/* Appends a curve of the corrections of the last hour, summed up from left to right. */
static int put_curve(struct buf *b, const json_t *history, int64_t now_ns) {
    unsigned bins[BINS] = {0}, sum = 0, total = 0;
    const json_t *fix;
    size_t i;
    json_array_foreach(history, i, fix) {
        int64_t age = now_ns - get_number(fix, "time_ns");
        if (age >= 0 && age < BINS * BIN_NS) {
            bins[BINS - 1 - (size_t)(age / BIN_NS)]++;
            total++;
        }
    }
    int r = buf_printf(b,
                       "<svg class=curve viewBox=\"0 0 62 18\" role=img><title>%u in the last "
                       "hour</title><polyline points=\"",
                       total);
    for (i = 0; r == 0 && i < BINS; i++) {
        sum += bins[i];
        r = buf_printf(b, "%zu,%.1f ", 1 + 2 * i, 16.0 - (total ? 14.0 * sum / total : 0));
    }
    return r < 0 ? r : buf_puts(b, "\"/></svg>");
}

static int put_cell(struct buf *b, const char *open, const char *text) {
    int r = buf_puts(b, open);
    if (r == 0)
        r = put_text(b, text);
    return r < 0 ? r : buf_puts(b, "</td>");
}

static const json_t *log_of(const json_t *pump, const char *task_id) {
    const json_t *list = get_member(pump, "tasks"), *task;
    size_t i;
    json_array_foreach(list, i,
                       task) if (strcmp(cli_ask_text(task, "task"), task_id) == 0) return task;
    return NULL;
}

static int put_log(struct buf *b, const json_t *log) {
    char bytes[32];
    int r = buf_puts(b, log ? "<td>" : "<td class=dim>no");
    if (r == 0)
        r = put_text(b, cli_ask_text(log, "way"));
    bytes_text(get_number(log, "lag_bytes"), bytes, sizeof(bytes));
    if (r == 0 && get_number(log, "lag_bytes") > 0)
        r = buf_printf(b, ", %s and %.0f s behind", bytes,
                       json_number_value(get_member(log, "lag_seconds")));
    bytes_text(get_number(log, "bytes_dropped"), bytes, sizeof(bytes));
    if (r == 0 && get_number(log, "bytes_dropped") > 0)
        r = buf_printf(b, ", <span class=bad>%s dropped</span>", bytes);
    return r < 0 ? r : buf_puts(b, "</td>");
}

static int put_last(struct buf *b, const json_t *history, int64_t now_ns) {
    const json_t *last = json_array_get(history, json_array_size(history) - 1);
    char age[32];
    if (!last)
        return 0;
    age_text(now_ns - get_number(last, "time_ns"), age, sizeof(age));
    int r = buf_puts(b, "<br><span class=dim>");
    if (r == 0)
        r = put_text(b, cli_ask_text(last, "cause"));
    return r < 0 ? r : buf_printf(b, ", %s ago</span>", age);
}

static int put_task(struct buf *b, const json_t *task, size_t i, const json_t *pump,
                    int64_t now_ns) {
    const char *state = cli_ask_text(task, "state"), *why = cli_ask_text(task, "why"),
               *wanted = cli_ask_text(task, "wanted"), *actual = cli_ask_text(task, "actual");
    char alloc[9];
    int r = core_map_holds_cores(task)
                ? buf_printf(b, "<tr><td><span class=\"cpu own t%zu\"></span></td>", i % COLOURS)
                : buf_puts(b, "<tr><td><span class=\"cpu pool\"></span></td>");
    snprintf(alloc, sizeof(alloc), "%s", cli_ask_text(task, "alloc_id"));
    if (r == 0)
        r = put_cell(b, "<td class=name>", cli_ask_text(task, "task"));
    if (r == 0)
        r = put_cell(b, "<td class=id>", alloc);
    if (r == 0)
        r = put_cell(b, "<td class=set>", wanted);
    if (r == 0)
        r = put_cell(b, strcmp(actual, wanted) == 0 ? "<td class=\"set same\">" : "<td class=set>",
                     actual);
    if (r == 0)
        r = buf_printf(b, "<td><span class=\"state %s\">", class_of_state(state));
    if (r == 0)
        r = put_text(b, state);
    if (r == 0)
        r = buf_puts(b, "</span>");
    if (r == 0 && why[0])
        r = buf_puts(b, " <span class=dim>");
    if (r == 0 && why[0])
        r = put_text(b, why);
    if (r == 0)
        r = buf_printf(b, "%s</td><td class=num>%" JSON_INTEGER_FORMAT, why[0] ? "</span>" : "",
                       get_number(task, "corrections"));
    if (r == 0)
        r = put_last(b, get_member(task, "history"), now_ns);
    if (r == 0)
        r = buf_puts(b, "</td><td>");
    if (r == 0)
        r = put_curve(b, get_member(task, "history"), now_ns);
    if (r == 0)
        r = buf_puts(b, "</td>");
    if (r == 0)
        r = put_log(b, log_of(pump, cli_ask_text(task, "task_id")));
    return r < 0 ? r : buf_puts(b, "</tr>\n");
}

static int put_tasks(struct buf *b, const json_t *doc, int64_t now_ns) {
    const json_t *tasks = get_member(get_member(doc, "pin"), "tasks"), *task;
    size_t i;
    if (json_array_size(tasks) == 0)
        return buf_puts(b, "<section><h2>Tasks</h2><p class=dim>No task runs.</p></section>");
    int r = buf_puts(
        b, "<section><h2>Tasks</h2><div class=scroll><table><thead><tr><th></th><th>task</th>"
           "<th>alloc</th><th>wanted</th><th>actual</th><th>state</th><th>corrections</th>"
           "<th>last hour</th><th>logs</th></tr></thead><tbody>\n");
    json_array_foreach(tasks, i, task) if (r == 0) r =
        put_task(b, task, i, get_member(doc, "log_pump"), now_ns);
    return r < 0 ? r : buf_puts(b, "</tbody></table></div></section>");
}

/* ---- results of the check ---- */

static int put_result(struct buf *b, const json_t *result) {
    const char *verdict = cli_ask_text(result, "verdict");
    const char *class = strcmp(verdict, "ok") == 0        ? "ok"
                        : strcmp(verdict, "warning") == 0 ? "warn"
                                                          : "bad";
    int r = buf_printf(b, "<tr><td><span class=\"state %s\">", class);
    if (r == 0)
        r = put_text(b, verdict);
    if (r == 0)
        r = buf_puts(b, "</span></td>");
    if (r == 0)
        r = put_cell(b, "<td class=name>", cli_ask_text(result, "name"));
    if (r == 0)
        r = put_cell(b, "<td>", cli_ask_text(result, "text"));
    return r < 0 ? r : buf_puts(b, "</tr>\n");
}

static int put_check(struct buf *b, const json_t *check, int64_t now_ns) {
    const json_t *results = get_member(check, "results"), *result;
    char age[32];
    size_t i;
    if (!check)
        return buf_puts(b, "<section><h2>Check</h2><p class=dim>paddock check has not answered "
                           "yet.</p></section>");
    age_text(now_ns - get_number(check, "time_ns"), age, sizeof(age));
    int r = buf_printf(b,
                       "<section><h2>Check <span class=dim>%s ago</span></h2><div class=scroll>"
                       "<table class=check><tbody>\n",
                       age);
    json_array_foreach(results, i, result) if (r == 0) r = put_result(b, result);
    return r < 0 ? r : buf_puts(b, "</tbody></table></div></section>");
}

/* ---- the page ---- */

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f7f7f5;--card:#fff;--fg:#1b1d20;--dim:#63676e;"
    "--line:#e2e3e5;--pool:#cfd6de;--free:transparent;--ok:#256f45;--warn:#8f5600;--bad:#b32d1c}"
    "@media(prefers-color-scheme:dark){:root{--bg:#131416;--card:#1b1d20;--fg:#e7e8ea;--dim:#"
    "9a9fa7;"
    "--line:#303338;--pool:#3c434c;--ok:#6fce96;--warn:#e0ac5c;--bad:#ff8a78}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--fg);font:14px/1.45 system-ui,sans-serif}"
    "main{max-width:1320px;margin:0 auto;padding:20px 16px 40px}"
    "header{display:flex;flex-wrap:wrap;gap:4px 24px;align-items:baseline;margin-bottom:16px}"
    "h1{font-size:20px;margin:0}h2{font-size:15px;margin:0 0 10px}"
    "h3{font-size:12px;font-weight:500;color:var(--dim);margin:0 0 6px}"
    "section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px "
    "16px;margin-bottom:14px}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:14px;"
    "margin-bottom:14px}"
    ".tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 16px}"
    ".tile b{display:block;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}"
    ".tile span{color:var(--dim)}"
    ".dim{color:var(--dim);font-weight:400}.ok{color:var(--ok)}.warn{color:var(--warn)}"
    ".bad{color:var(--bad)}"
    ".note{border-left:4px solid var(--bad)}"
    ".map{display:flex;flex-wrap:wrap;gap:14px 28px}"
    ".cores{display:flex;flex-wrap:wrap;gap:5px}"
    ".core{display:inline-flex;gap:2px;padding:2px;border:1px solid var(--line);border-radius:6px}"
    ".cpu{display:inline-block;min-width:26px;height:26px;line-height:26px;text-align:center;"
    "border-radius:4px;font-size:11px;font-variant-numeric:tabular-nums;vertical-align:middle;"
    "border:1px solid transparent;line-height:24px;padding:0 2px}"
    ".pool{background:var(--pool)}.free{border-color:var(--line);color:var(--dim)}"
    ".off{border:1px dashed var(--dim);color:var(--dim);background:none}"
    ".own{background:hsl(var(--h) 55% 45%);color:#fff}"
    ".own.off{background:none;border:1px dashed hsl(var(--h) 55% 45%);color:var(--fg)}"
    ".foreign{outline:2px solid var(--bad);outline-offset:1px}"
    ".t0{--h:212}.t1{--h:28}.t2{--h:152}.t3{--h:282}.t4{--h:338}.t5{--h:188}.t6{--h:52}.t7{--h:248}"
    ".t8{--h:100}.t9{--h:312}.t10{--h:8}.t11{--h:170}"
    ".key{color:var(--dim);margin:12px 0 0;display:flex;flex-wrap:wrap;gap:6px 8px;align-items:"
    "center}.key .cpu{min-width:14px;width:14px;height:14px;margin-left:10px}"
    ".key .cpu:first-child{margin-left:0}"
    "td .cpu{min-width:12px;width:12px;height:12px;padding:0}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "th{font-size:12px;font-weight:500;color:var(--dim);text-align:left}"
    "th,td{padding:6px 14px 6px 0;vertical-align:top}tr+tr td,tbody tr:first-child "
    "td{border-top:1px "
    "solid var(--line)}.check td:last-child{width:100%;overflow-wrap:anywhere}"
    ".name{font-weight:600;overflow-wrap:anywhere;min-width:90px}.check .name{white-space:nowrap}"
    ".id,.set{font-family:ui-monospace,monospace;font-size:12.5px;overflow-wrap:anywhere}"
    ".id{white-space:nowrap;color:var(--dim)}.set{min-width:60px;max-width:280px}"
    ".num{font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".state{font-weight:600;white-space:nowrap}.state::before{content:\"\";display:inline-block;"
    "width:8px;height:8px;border-radius:50%;background:currentColor;margin-right:6px}"
    ".same{color:var(--dim)}.curve{width:62px;height:18px;display:block}.curve "
    "polyline{fill:none;stroke:var(--dim);"
    "stroke-width:1.5}";

static int put_tile(struct buf *b, const char *value, const char *class, const char *label) {
    int r = buf_printf(b, "<div class=tile><b class=\"%s\">", class);
    if (r == 0)
        r = put_text(b, value);
    return r < 0 ? r : buf_printf(b, "</b><span>%s</span></div>", label);
}

static int put_tiles(struct buf *b, const json_t *doc) {
    const json_t *tasks = get_member(get_member(doc, "pin"), "tasks"),
                 *pump = get_member(doc, "log_pump"), *task;
    size_t n = json_array_size(tasks), good = 0, i;
    json_int_t fixes = 0;
    char text[64];
    json_array_foreach(tasks, i, task) {
        good += strcmp(class_of_state(cli_ask_text(task, "state")), "ok") == 0;
        fixes += get_number(task, "corrections");
    }
    snprintf(text, sizeof(text), "%zu of %zu", good, n);
    int r = buf_puts(b, "<div class=tiles>");
    if (r == 0)
        r = put_tile(b, text, good == n ? "ok" : "bad", "tasks on their cores");
    snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, fixes);
    if (r == 0)
        r = put_tile(b, text, "", "corrections of the tasks that run");
    bytes_text(get_number(get_member(pump, "sum"), "lag_bytes"), text, sizeof(text));
    if (r == 0)
        r = put_tile(b, get_member(pump, "error") ? "no log pump" : text,
                     get_member(pump, "error") ? "bad" : "", "of logs not delivered yet");
    return r < 0 ? r : buf_puts(b, "</div>");
}

static int put_note(struct buf *b, const char *what, const char *why) {
    if (!why[0])
        return 0;
    int r = buf_printf(b, "<section class=note><b class=bad>%s</b> ", what);
    if (r == 0)
        r = put_text(b, why);
    return r < 0 ? r : buf_puts(b, "</section>");
}

static int put_head(struct buf *b, const json_t *doc, const char *nonce) {
    const json_t *driver = get_member(doc, "driver");
    int r = buf_puts(b, "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
                        "<meta name=viewport content=\"width=device-width,initial-scale=1\">"
                        "<meta http-equiv=refresh content=5><title>");
    if (r == 0)
        r = put_text(b, cli_ask_text(driver, "name"));
    if (r == 0)
        r = buf_printf(b,
                       " - paddock</title><style nonce=\"%s\">%s</style></head><body><main>"
                       "<header><h1>",
                       nonce, style);
    if (r == 0)
        r = put_text(b, cli_ask_text(driver, "name"));
    if (r == 0)
        r = buf_puts(b, "</h1><span class=dim>paddock ");
    if (r == 0)
        r = put_text(b, cli_ask_text(driver, "version"));
    return r < 0 ? r
                 : buf_printf(b, ", pid %" JSON_INTEGER_FORMAT "</span></header>\n",
                              get_number(driver, "pid"));
}

int web_page_put(struct buf *out, const json_t *doc, const json_t *check, int64_t now_ns,
                 const char *nonce) {
    struct core_map *m = core_map_new(doc);
    if (!m)
        return -ENOMEM;
    int r = put_head(out, doc, nonce);
    if (r == 0)
        r = put_note(out, "Cpusets are not kept:",
                     cli_ask_text(get_member(get_member(doc, "pin"), "host"), "disabled"));
    if (r == 0)
        r = put_note(
            out, "The log pump does not work:", cli_ask_text(get_member(doc, "log_pump"), "error"));
    if (r == 0)
        r = put_tiles(out, doc);
    if (r == 0)
        r = put_map(out, m, get_member(doc, "machine"));
    if (r == 0)
        r = put_tasks(out, doc, now_ns);
    if (r == 0)
        r = put_check(out, check, now_ns);
    if (r == 0)
        r = buf_puts(out, "</main></body></html>\n");
    core_map_free(m);
    return r;
}
