#pragma once
/* The links in a Nomad client's plugin_dir through which it loads the driver. The name of the link
 * is the name of the driver. */
#include "paddock/err.h"
#include "paddock/strv.h"

/* Where things are. @root is "" except in tests, where a folder stands for "/". */
struct driver_link_host {
    const char *root;
    const char *program; /* what links lead to, absolute */
};

struct driver_link_dir {
    char *path;   /* without @root */
    char *source; /* what names it, for people */
    bool sure;    /* false: no configuration names it */
};

void driver_link_dir_done(struct driver_link_dir *d);

/** Finds the plugin_dir: from the running agent's command line and the configuration that it names,
 * else from /etc/nomad.d, else the usual folders that exist.
 * Returns 0; -ENOENT when nothing names one; -EEXIST when agents with different folders run;
 * -errno.
 * @err says that --plugin-dir helps. Owner of @ret: caller. */
int driver_link_find_dir(const struct driver_link_host *h, struct driver_link_dir *ret,
                         struct err *err);

/** Makes the link @dir/@name and, where it is missing, the folder; notes the link in
 * /var/lib/paddock/links. Returns 1 when made, 0 when it was there; -EEXIST when something else has
 * that name; -errno. */
int driver_link_make(const struct driver_link_host *h, const char *dir, const char *name,
                     struct err *err);

/** Removes the link @dir/@name when it leads to the program. Returns 1 when removed, 0 when nothing
 * has that name; -EEXIST when it is something else, which stays; -errno. */
int driver_link_remove(const struct driver_link_host *h, const char *dir, const char *name,
                       struct err *err);

/** All noted links, as paths without @root. Returns 0 or -errno. Owner: caller. */
int driver_link_list(const struct driver_link_host *h, struct strv *ret);
