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

int config_reference_markdown(FILE *out) {
    static const char head[] = "| field | type | default | what |\n|---|---|---|---|\n";
    fprintf(out, "### Plugin block (client configuration)\n\n%s", head);
    write_rows(out, config_plugin_table(), "");
    fprintf(out, "\n### `config` block of a task\n\n%s", head);
    write_rows(out, config_job_table(), "");
    return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
