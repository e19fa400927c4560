/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The links in a Nomad client's plugin_dir through which the client loads the driver. The name of a
 * link is the name of the driver. */
#include "paddock/err.h"
#include "paddock/strv.h"

/* The paths to work with. @root is "" except in tests, where a folder stands for "/". */
struct driver_link_host {
    const char *root;
    const char *program; /* the target of the links, absolute */
};

struct driver_link_dir {
    char *path;   /* without @root */
    char *source; /* where the path is configured, for people */
    bool sure;    /* false: the path is a guess, no configuration contains it */
};

/** Frees the strings and zeroes the struct. Accepts a zeroed one. */
void driver_link_dir_done(struct driver_link_dir *d);

/** Finds the plugin_dir. The order is: the running agent's command line and the configuration files
 * on it; /etc/nomad.d; the usual folders that exist.
 *  Returns 0; -ENOENT when none is found; -EEXIST when agents with different folders run; -errno.
 *  @err then says that --plugin-dir helps. Owner of @ret: caller. */
int driver_link_find_dir(const struct driver_link_host *h, struct driver_link_dir *ret,
                         struct err *err);

/** Makes the link @dir/@name and, when it is missing, the folder. Adds the link to the list in
 * /var/lib/paddock/links. Returns 1 when made; 0 when it existed; -EEXIST when something else has
 * that name; -errno. */
int driver_link_make(const struct driver_link_host *h, const char *dir, const char *name,
                     struct err *err);

/** Removes the link @dir/@name when it leads to the program. Returns 1 when removed; 0 when nothing
 * has that name; -EEXIST when it is something else, which is kept; -errno. */
int driver_link_remove(const struct driver_link_host *h, const char *dir, const char *name,
                       struct err *err);

/** Reads the list of links, as paths without @root. Returns 0 or -errno. Owner: caller. */
int driver_link_list(const struct driver_link_host *h, struct strv *ret);
