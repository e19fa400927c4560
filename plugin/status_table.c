/* SPDX-License-Identifier: MPL-2.0 */
/* The table of `paddock status`; cli_status.c calls it.
 *
 * Each cell is formatted first. Then a list of steps narrows columns until the line fits, and the
 * lines are written. The bar shows the machine's CPUs. When it has less room than CPUs, a letter
 * stands for several of them and shows the worst state. */
#include "plugin/status_table.h"

#include "paddock/cpuset.h"
#include "plugin/cli_ask.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BAR_MAX 64u
#define CELL_MAX 256u
#define GAP 2u

enum column { ALLOC, TASK, CONTAINER, KIND, WANTED, ACTUAL, CPUS, STATE, FIXES, LAST, COLUMNS };

static const struct {
    const char *title;
    size_t most; /* characters */
} columns_of[COLUMNS] = {
    [ALLOC] = {"ALLOC", 8},     [TASK] = {"TASK", 24},     [CONTAINER] = {"CONTAINER", 12},
    [KIND] = {"KIND", 6},       [WANTED] = {"WANTED", 24}, [ACTUAL] = {"ACTUAL", 24},
    [CPUS] = {"CPUS", BAR_MAX}, [STATE] = {"STATE", 60},   [FIXES] = {"FIXES", 10},
    [LAST] = {"LAST", 40},
};

/* The order in which columns are narrowed when the terminal is too narrow; 0 = the
 * column is omitted. */
static const struct {
    enum column column;
    size_t width;
} steps[] = {
    {CONTAINER, 0}, {STATE, 30}, {TASK, 16}, {KIND, 0},  {WANTED, 12}, {ACTUAL, 12}, {CPUS, 32},
    {LAST, 20},     {TASK, 12},  {LAST, 0},  {CPUS, 16}, {STATE, 20},  {TASK, 10},   {WANTED, 8},
    {ACTUAL, 8},    {STATE, 12}, {CPUS, 8},  {FIXES, 0}, {STATE, 10},  {CPUS, 0},
};

struct row {
    char cell[COLUMNS][CELL_MAX];
    struct cpuset wanted, actual;
};

struct table {
    const json_t *tasks;
    unsigned cpus;
    int64_t now_ns;
    size_t width[COLUMNS]; /* 0 = omitted */
};

/* ---- text ---- */

static bool starts_character(char c) {
    return ((unsigned char)c & 0xc0) != 0x80;
}

static size_t count_characters(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += starts_character(*text);
    return n;
}

/* Returns the number of bytes of the first @n characters. */
static size_t bytes_of(const char *text, size_t n) {
    size_t i = 0;
    for (; text[i]; i++)
        if (starts_character(text[i]) && n-- == 0)
            break;
    return i;
}

/* Copies @text, which others have written. Control characters become '?', so a cell has no line
 * ends and no escape sequences. */
static void set_cell(char cell[CELL_MAX], const char *text) {
    size_t n = 0;
    for (; *text && n + 1 < CELL_MAX; text++)
        cell[n++] = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
    cell[n] = '\0';
}

/* ---- the bar of CPUs ---- */

static void parse_set(const char *text, struct cpuset *ret) {
    if (cpuset_parse(text, strlen(text), ret) < 0)
        *ret = (struct cpuset){{0}};
}

/* Returns the worst state of the CPUs @first to @end - 1. */
static char bar_letter(const struct cpuset *wanted, const struct cpuset *actual, unsigned first,
                       unsigned end) {
    bool has = false, lacks = false;
    for (unsigned cpu = first; cpu < end; cpu++) {
        bool w = cpuset_has(wanted, cpu), a = cpuset_has(actual, cpu);
        if (a && !w)
            return '!';
        has = has || a;
        lacks = lacks || (w && !a);
    }
    return lacks ? 'o' : has ? '#' : '.';
}

/* Returns the number of letters of a bar of at most @most letters. */
static size_t bar_length(unsigned cpus, size_t most, unsigned *ret_per_letter) {
    *ret_per_letter = (unsigned)((cpus + most - 1) / most);
    return *ret_per_letter ? (cpus + *ret_per_letter - 1) / *ret_per_letter : 0;
}

/* Draws the bar. It is empty when the task's CPUs are unknown. */
static void draw_bar(struct row *row, unsigned cpus, size_t most) {
    unsigned per = 0;
    size_t n = most && !cpuset_is_empty(&row->actual) ? bar_length(cpus, most, &per) : 0;
    for (unsigned i = 0; i < n; i++)
        row->cell[CPUS][i] = bar_letter(&row->wanted, &row->actual, i * per, (i + 1) * per);
    row->cell[CPUS][n] = '\0';
}

/* ---- cells ---- */

static void set_last(struct row *row, const json_t *task, int64_t now_ns) {
    const json_t *history = json_object_get(task, "history");
    const json_t *last = json_array_get(history, json_array_size(history) - 1);
    int64_t s = (now_ns - json_integer_value(json_object_get(last, "time_ns"))) / 1000000000;
    char text[CELL_MAX];
    if (s < 120)
        snprintf(text, sizeof(text), "%s, %" PRId64 " s ago", cli_ask_text(last, "cause"), s);
    else if (s < 7200)
        snprintf(text, sizeof(text), "%s, %" PRId64 " min ago", cli_ask_text(last, "cause"),
                 s / 60);
    else
        snprintf(text, sizeof(text), "%s, %" PRId64 " h ago", cli_ask_text(last, "cause"),
                 s / 3600);
    set_cell(row->cell[LAST], last ? text : "-");
}

static void fill_row(struct row *row, const struct table *t, const json_t *task) {
    const char *why = cli_ask_text(task, "why");
    char text[CELL_MAX];
    set_cell(row->cell[ALLOC], cli_ask_text(task, "alloc_id"));
    row->cell[ALLOC][bytes_of(row->cell[ALLOC], 8)] = '\0';
    set_cell(row->cell[TASK], cli_ask_text(task, "task"));
    set_cell(row->cell[CONTAINER], cli_ask_text(task, "container_id"));
    row->cell[CONTAINER][bytes_of(row->cell[CONTAINER], 12)] = '\0';
    set_cell(row->cell[KIND], cli_ask_text(task, "kind"));
    set_cell(row->cell[WANTED], cli_ask_text(task, "wanted"));
    set_cell(row->cell[ACTUAL], cli_ask_text(task, "actual"));
    snprintf(text, sizeof(text), "%s%s%s", cli_ask_text(task, "state"), why[0] ? ": " : "", why);
    set_cell(row->cell[STATE], text);
    snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(task, "corrections")));
    set_cell(row->cell[FIXES], text);
    set_last(row, task, t->now_ns);
    parse_set(cli_ask_text(task, "wanted"), &row->wanted);
    parse_set(cli_ask_text(task, "actual"), &row->actual);
    if (cpuset_is_empty(&row->wanted))
        row->wanted = row->actual; /* nothing is wanted, so nothing is wrong */
    draw_bar(row, t->cpus, t->width[CPUS]);
}

/* ---- fitting the columns ---- */

static size_t line_width(const struct table *t) {
    size_t sum = 0;
    for (int c = 0; c < COLUMNS; c++)
        sum += t->width[c] ? t->width[c] + GAP : 0;
    return sum - GAP;
}

static void measure_row(struct table *t, struct row *row, bool limited) {
    const json_t *task;
    size_t i;
    unsigned per;
    size_t bar = bar_length(t->cpus, BAR_MAX, &per);
    for (int c = 0; c < COLUMNS; c++)
        t->width[c] = strlen(columns_of[c].title);
    t->width[CPUS] = bar > t->width[CPUS] ? bar : t->width[CPUS];
    json_array_foreach(t->tasks, i, task) {
        fill_row(row, t, task);
        for (int c = 0; c < COLUMNS; c++) {
            size_t n = count_characters(row->cell[c]);
            if (n > t->width[c])
                t->width[c] = limited && n > columns_of[c].most ? columns_of[c].most : n;
        }
    }
}

static void fit_columns(struct table *t, size_t columns) {
    for (size_t i = 0; columns && i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (line_width(t) <= columns)
            return;
        size_t *width = &t->width[steps[i].column];
        if (steps[i].width < *width)
            *width = steps[i].width;
    }
}

/* ---- the lines ---- */

static int put_cell(struct buf *out, const char *text, size_t width, bool last, bool right) {
    size_t have = count_characters(text), pad = have < width ? width - have : 0;
    if (right)
        return buf_printf(out, "%*s%s%s", (int)pad, "", text, last ? "" : "  ");
    if (have > width) /* too long: cut */
        return buf_printf(out, "%.*s~%s", (int)bytes_of(text, width - 1), text, last ? "" : "  ");
    return buf_printf(out, "%s%*s", text, last ? 0 : (int)(pad + GAP), "");
}

static int put_line(struct buf *out, const struct table *t, const struct row *row) {
    int r = 0, last = 0;
    for (int c = 0; c < COLUMNS; c++)
        last = t->width[c] ? c : last;
    for (int c = 0; r == 0 && c < COLUMNS; c++)
        if (t->width[c])
            r = put_cell(out, row ? row->cell[c] : columns_of[c].title, t->width[c], c == last,
                         c == FIXES);
    return r < 0 ? r : buf_puts(out, "\n");
}

static json_int_t get_number(const json_t *of, const char *key) {
    return json_integer_value(json_object_get(of, key));
}

static int put_pump(struct buf *out, const json_t *pump) {
    const json_t *sum = json_object_get(pump, "sum");
    const char *error = cli_ask_text(pump, "error");
    if (error[0])
        return buf_printf(out, "log pump: %s, starts %d\n", error, (int)get_number(pump, "starts"));
    return buf_printf(
        out,
        "log pump %s, starts %d: %d tasks by file, %d by API, %d not read; %lld bytes and "
        "%.0f s behind, %lld lines skipped, %lld bytes dropped\n",
        cli_ask_text(pump, "version"), (int)get_number(pump, "starts"),
        (int)get_number(sum, "file"), (int)get_number(sum, "api"), (int)get_number(sum, "none"),
        (long long)get_number(sum, "lag_bytes"),
        json_number_value(json_object_get(sum, "lag_seconds")),
        (long long)get_number(sum, "lines_skipped"), (long long)get_number(sum, "bytes_dropped"));
}

static int put_head(struct buf *out, const json_t *doc, const json_t *pin, size_t n) {
    const json_t *driver = json_object_get(doc, "driver"),
                 *metrics = json_object_get(doc, "metrics");
    const char *disabled = cli_ask_text(json_object_get(pin, "host"), "disabled");
    int r = buf_printf(out, "%s %s, pid %" JSON_INTEGER_FORMAT ", %zu task%s\n",
                       cli_ask_text(driver, "name"), cli_ask_text(driver, "version"),
                       json_integer_value(json_object_get(driver, "pid")), n, n == 1 ? "" : "s");
    if (r == 0 && !json_is_object(pin))
        return buf_puts(out, "no Nomad client has put it to work yet\n");
    if (r == 0 && disabled[0])
        r = buf_printf(out, "cpusets are not kept: %s\n", disabled);
    if (r == 0 && cli_ask_text(metrics, "error")[0])
        r = buf_printf(out, "metrics are not served on %s: %s\n", cli_ask_text(metrics, "listen"),
                       cli_ask_text(metrics, "error"));
    if (r == 0 && json_is_object(json_object_get(doc, "log_pump")))
        r = put_pump(out, json_object_get(doc, "log_pump"));
    return r;
}

int status_table_put(struct buf *out, const json_t *doc, size_t columns, int64_t now_ns) {
    const json_t *pin = json_object_get(doc, "pin"), *task;
    json_int_t cpus = json_integer_value(json_object_get(json_object_get(pin, "host"), "cpus"));
    struct table t = {
        .tasks = json_object_get(pin, "tasks"),
        .cpus = cpus < 0 || cpus > CPUSET_MAX_CPUS ? CPUSET_MAX_CPUS : (unsigned)cpus,
        .now_ns = now_ns,
    };
    size_t n = json_array_size(t.tasks), i;
    int r = put_head(out, doc, pin, n);
    if (r < 0 || n == 0)
        return r;
    AUTO_FREE struct row *row = calloc(1, sizeof(*row));
    if (!row)
        return -ENOMEM;
    measure_row(&t, row, columns > 0);
    fit_columns(&t, columns);
    r = put_line(out, &t, NULL);
    json_array_foreach(t.tasks, i, task) {
        fill_row(row, &t, task);
        if (r == 0)
            r = put_line(out, &t, row);
    }
    return r;
}
