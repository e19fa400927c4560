/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Finds out where a Nomad client looks for plugins, from the text of its configuration and from its
 * command line. Nothing here checks that the folder exists. */
#include "paddock/strv.h"
#include <stddef.h>

/* The values of one agent. NULL for a value that is not configured. Owner:
 * caller, agent_config_done(). */
struct agent_config {
    char *plugin_dir, *data_dir;
    char *source; /* the file or option that plugin_dir comes from */
};

/* The values on an agent's command line. */
struct agent_args {
    char *plugin_dir, *data_dir;
    struct strv configs; /* files and folders, in order */
};

/** Frees the strings and zeroes the struct. Accepts a zeroed one. */
void agent_config_done(struct agent_config *c);
/** As agent_config_done(). */
void agent_config_args_done(struct agent_args *a);

/** Reads plugin_dir and data_dir from @text, which is HCL, or JSON when its first character is "{".
 * Only values at the top level count. A later value replaces an earlier one, as in Nomad. Text that
 * is not a configuration changes nothing.
 *  @name: the file, for @c->source.
 *  Returns 0 or -ENOMEM. */
int agent_config_read(struct agent_config *c, const char *name, const char *text);

/** Reads the options of `nomad agent`. @text: @len bytes of NUL-terminated arguments, as in
 * /proc/PID/cmdline. Returns 1; 0 when it is not the command line of an agent; -ENOMEM. */
int agent_config_args_read(struct agent_args *ret, const char *text, size_t len);
