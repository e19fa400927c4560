/* SPDX-License-Identifier: MPL-2.0 */
/* Writes the reference of all fields from the tables, as Markdown and as a manual page.
 *
 * The test test_reference compares the result with docs/configuration.md and paddock-config(5), and
 * prints it to update them. The program itself does not call it. */
#include "paddock/config.h"

#include <stdio.h>
#include <string.h>

static const char *type_text(enum config_type type) {
    switch (type) {
    case CONFIG_STRING:
        return "string";
    case CONFIG_BOOL:
        return "bool";
    case CONFIG_NUMBER:
        return "number";
    case CONFIG_DURATION:
        return "duration";
    case CONFIG_LIST_STRING:
        return "list of strings";
    case CONFIG_MAP_STRING:
    case CONFIG_ATTRS:
        return "map of strings";
    case CONFIG_MAP_NUMBER:
        return "map of numbers";
    case CONFIG_BLOCK:
        return "block";
    case CONFIG_BLOCK_LIST:
        return "blocks";
    }
    return "";
}

static void write_rows(FILE *out, const struct config_field *table, const char *prefix) {
    for (const struct config_field *f = table; f->name; f++) {
        const char *tick = f->default_literal ? "`" : "";
        fprintf(out, "| `%s%s` | %s | %s%s%s | %s |\n", prefix, f->name, type_text(f->type), tick,
                f->default_literal ? f->default_literal
                : f->required      ? "required"
                                   : "",
                tick, f->help);
        if (f->fields) {
            char inner[128];
            snprintf(inner, sizeof(inner), "%s%s.", prefix, f->name);
            write_rows(out, f->fields, inner);
        }
    }
}

/* ---- the manual page ---- */

/* Writes @text for roff. Text between backquotes becomes bold. */
static void put_roff(FILE *out, const char *text) {
    bool bold = false;
    for (; *text; text++) {
        if (*text == '`')
            fputs((bold = !bold) ? "\\fB" : "\\fR", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\'')
            fputs("\\(aq", out);
        else
            fputc(*text, out);
    }
}

static void write_entries(FILE *out, const struct config_field *table, const char *prefix) {
    for (const struct config_field *f = table; f->name; f++) {
        fputs(".TP\n.B ", out);
        put_roff(out, prefix);
        put_roff(out, f->name);
        fprintf(out, "\n%s", type_text(f->type));
        if (f->required)
            fputs(", required", out);
        if (f->default_literal) {
            fputs(", default ", out);
            put_roff(out, f->default_literal);
        }
        fputs(": ", out);
        put_roff(out, f->help);
        fputs(".\n", out);
        if (f->fields) {
            char inner[128];
            snprintf(inner, sizeof(inner), "%s%s.", prefix, f->name);
            write_entries(out, f->fields, inner);
        }
    }
}

int config_reference_man(FILE *out) {
    fputs(
        ".TH PADDOCK\\-CONFIG 5 \"\" paddock \"Nomad task driver\"\n"
        ".SH NAME\npaddock\\-config \\- configuration of the paddock task driver\n"
        ".SH DESCRIPTION\n"
        "Two blocks are read: the\n.B config\nblock of the plugin in the configuration of the "
        "Nomad "
        "client, and the\n.B config\nblock of each task in a job file.\n"
        "The names are those of Nomad's built\\-in Docker driver; what is paddock's own says so.\n"
        ".SH PLUGIN BLOCK\n",
        out);
    write_entries(out, config_plugin_table(), "");
    fputs(".SH TASK BLOCK\n", out);
    write_entries(out, config_job_table(), "");
    fputs(".SH SEE ALSO\n.BR paddock (8)\n", out);
    return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}

int config_reference_markdown(FILE *out) {
    static const char head[] = "| field | type | default | what |\n|---|---|---|---|\n";
    fprintf(out, "### Plugin block (client configuration)\n\n%s", head);
    write_rows(out, config_plugin_table(), "");
    fprintf(out, "\n### `config` block of a task\n\n%s", head);
    write_rows(out, config_job_table(), "");
    return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
