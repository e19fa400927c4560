/* SPDX-License-Identifier: MPL-2.0 */
/* Makes and removes the links through which a Nomad client loads the driver. cli_link.c calls this
 * file.
 *
 * A link whose target is missing keeps the Nomad client from starting. Each link is therefore
 * listed in /var/lib/paddock/links, and the package removes all of them before it removes the
 * program. Nothing here talks to the agent, which reads its plugin_dir only when it starts. */
#include "plugin/driver_link.h"

#include "paddock/buf.h"
#include "paddock/path_file.h"
#include "plugin/agent_config.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_FOLDER "/var/lib/paddock"
#define LINKS_NAME "links"
#define LINKS LINKS_FOLDER "/" LINKS_NAME
#define FILE_MAX (1u << 20)

void driver_link_dir_done(struct driver_link_dir *d) {
    free(d->path);
    free(d->source);
    *d = (struct driver_link_dir){.sure = false};
}

static int read_file(const char *path, struct buf *ret) {
    char part[4096];
    ssize_t n;
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int r = fd < 0 ? -errno : 0;
    while (r == 0 && (n = read(fd, part, sizeof(part))) != 0)
        r = n < 0 ? -errno : buf_append(ret, part, (size_t)n);
    return r;
}

/* ---- the client's plugin_dir ---- */

static int read_config_file(struct agent_config *c, const struct driver_link_host *h,
                            const char *path) {
    AUTO_BUF struct buf text;
    char real[PATH_MAX];
    buf_init(&text, FILE_MAX);
    snprintf(real, sizeof(real), "%s%s", h->root, path);
    /* A file that cannot be read is skipped: the agent reports it. */
    return read_file(real, &text) < 0 ? 0 : agent_config_read(c, path, buf_text(&text));
}

static int is_config(const struct dirent *e) {
    const char *dot = strrchr(e->d_name, '.');
    return e->d_name[0] != '.' && dot && (strcmp(dot, ".hcl") == 0 || strcmp(dot, ".json") == 0);
}

/* Reads a file, or all files of a folder in the order of their names, as Nomad does. */
static int read_config(struct agent_config *c, const struct driver_link_host *h, const char *path) {
    char real[PATH_MAX], file[PATH_MAX];
    struct dirent **v = NULL;
    int r = 0;
    snprintf(real, sizeof(real), "%s%s", h->root, path);
    int n = scandir(real, &v, is_config, alphasort);
    if (n < 0)
        return read_config_file(c, h, path);
    for (int i = 0; i < n; i++) {
        if (r == 0 && snprintf(file, sizeof(file), "%s/%s", path, v[i]->d_name) < PATH_MAX)
            r = read_config_file(c, h, file);
        free(v[i]);
    }
    free(v);
    return r;
}

/* Reads a path from the agent's command line. It may be relative to the agent's working folder. */
static int read_agent_config(struct agent_config *c, const struct driver_link_host *h,
                             const char *pid, const char *path) {
    char link[PATH_MAX], cwd[PATH_MAX], whole[2 * PATH_MAX];
    if (path[0] == '/')
        return read_config(c, h, path);
    snprintf(link, sizeof(link), "%s/proc/%s/cwd", h->root, pid);
    ssize_t n = readlink(link, cwd, sizeof(cwd) - 1);
    if (n < 0)
        return 0;
    cwd[n] = '\0';
    snprintf(whole, sizeof(whole), "%s/%s", cwd, path);
    return read_config(c, h, whole);
}

/* Adds the values that the agent with @args uses. Options take precedence over files. */
static int read_agent(struct agent_config *c, const struct driver_link_host *h, const char *pid,
                      const struct agent_args *args) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < args->configs.n; i++)
        r = read_agent_config(c, h, pid, args->configs.v[i]);
    if (r == 0 && args->plugin_dir) {
        r = str_set(&c->plugin_dir, args->plugin_dir);
        if (r == 0)
            r = str_set(&c->source, "the running agent's option -plugin-dir");
    }
    if (r == 0 && args->data_dir)
        r = str_set(&c->data_dir, args->data_dir);
    return r;
}

/* Sets @ret from @c. Returns 1; 0 when @c has no folder; -ENOMEM. */
static int dir_of(const struct agent_config *c, struct driver_link_dir *ret) {
    int r = 0;
    if (c->plugin_dir) {
        ret->path = str_dup(c->plugin_dir, &r);
        ret->source = str_dup(c->source, &r);
    } else if (c->data_dir) {
        if (asprintf(&ret->path, "%s/plugins", c->data_dir) < 0)
            ret->path = NULL;
        ret->source = str_dup("plugins in the client's data_dir", &r);
        r = ret->path ? r : -ENOMEM;
    } else {
        return 0;
    }
    ret->sure = true;
    return r < 0 ? r : 1;
}

/* Checks the process @pid. Returns 1 when it is an agent that has a folder configured. */
static int read_process(const struct driver_link_host *h, const char *pid,
                        struct driver_link_dir *ret) {
    AUTO_BUF struct buf text;
    struct agent_args args = {.data_dir = NULL};
    struct agent_config c = {.source = NULL};
    char path[PATH_MAX];
    buf_init(&text, FILE_MAX);
    snprintf(path, sizeof(path), "%s/proc/%s/cmdline", h->root, pid);
    if (read_file(path, &text) < 0)
        return 0; /* the process has just ended */
    int r = agent_config_args_read(&args, buf_text(&text), text.len);
    if (r > 0) {
        r = read_agent(&c, h, pid, &args);
        r = r < 0 ? r : dir_of(&c, ret);
    }
    agent_config_done(&c);
    agent_config_args_done(&args);
    return r;
}

static int find_agents(const struct driver_link_host *h, struct driver_link_dir *ret,
                       struct err *err) {
    char proc[PATH_MAX];
    const struct dirent *e;
    int r = 0;
    snprintf(proc, sizeof(proc), "%s/proc", h->root);
    DIR *d = opendir(proc);
    while (d && r >= 0 && (e = readdir(d))) {
        struct driver_link_dir one = {.sure = false};
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        r = read_process(h, e->d_name, &one);
        if (r > 0 && !ret->path)
            *ret = TAKE_STRUCT(one);
        else if (r > 0 && strcmp(ret->path, one.path) != 0)
            r = err_set(err, ERR_PLAIN, EEXIST,
                        "Nomad agents with different plugin folders run (%s, %s): name one with "
                        "--plugin-dir",
                        ret->path, one.path);
        driver_link_dir_done(&one);
    }
    if (d)
        closedir(d);
    return r < 0 ? r : ret->path != NULL;
}

static int find_usual(const struct driver_link_host *h, struct driver_link_dir *ret) {
    static const char *const usual[] = {"/opt/nomad/plugins", "/opt/nomad/data/plugins"};
    char real[PATH_MAX];
    struct stat st;
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        snprintf(real, sizeof(real), "%s%s", h->root, usual[i]);
        if (stat(real, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        ret->path = str_dup(usual[i], &r);
        ret->source = str_dup("a usual folder; no configuration names one", &r);
        return r < 0 ? r : 1;
    }
    return 0;
}

int driver_link_find_dir(const struct driver_link_host *h, struct driver_link_dir *ret,
                         struct err *err) {
    int r = find_agents(h, ret, err);
    if (r == 0) {
        struct agent_config c = {.source = NULL};
        r = read_config(&c, h, "/etc/nomad.d");
        r = r < 0 ? r : dir_of(&c, ret);
        agent_config_done(&c);
    }
    if (r == 0)
        r = find_usual(h, ret);
    if (r == 0)
        return err_set(
            err, ERR_PLAIN, ENOENT,
            "no plugin_dir was found: no Nomad agent runs, and neither /etc/nomad.d nor a "
            "usual folder names one; name it with --plugin-dir");
    if (r > 0 && ret->path[0] != '/')
        return err_set(err, ERR_PLAIN, EINVAL,
                       "plugin_dir \"%s\" (%s) is relative: name it with --plugin-dir", ret->path,
                       ret->source);
    return r < 0 ? err_set(err, ERR_PLAIN, -r, "the client's configuration: %s", strerror(-r)) : 0;
}

/* ---- links ---- */

static int make_folders(const char *path, struct err *err) {
    char part[PATH_MAX];
    snprintf(part, sizeof(part), "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char end = *p;
        *p = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_set(err, ERR_PLAIN, errno, "folder %s: %s", part, strerror(errno));
        if (!end)
            return 0;
        *p = end;
    }
}

/* Returns 1 when @path leads to the program, 0 when it does not exist, -EEXIST
 * for anything else. */
static int leads_to_program(const struct driver_link_host *h, const char *path, struct err *err) {
    char to[PATH_MAX];
    ssize_t n = readlink(path, to, sizeof(to) - 1);
    if (n < 0 && errno == ENOENT)
        return 0;
    if (n < 0 && errno != EINVAL)
        return err_set(err, ERR_PLAIN, errno, "%s: %s", path, strerror(errno));
    if (n >= 0) {
        to[n] = '\0';
        if (strcmp(to, h->program) == 0)
            return 1;
    }
    return err_set(err, ERR_PLAIN, EEXIST, "%s is not a link to %s; it stays as it is", path,
                   h->program);
}

int driver_link_list(const struct driver_link_host *h, struct strv *ret) {
    AUTO_BUF struct buf text;
    char path[PATH_MAX];
    buf_init(&text, FILE_MAX);
    snprintf(path, sizeof(path), "%s" LINKS, h->root);
    int r = read_file(path, &text);
    if (r < 0 || !text.data)
        return r == -ENOENT ? 0 : r;
    char *rest = text.data, *line;
    while (r == 0 && (line = strsep(&rest, "\n")))
        if (*line && !strv_contains(ret, line))
            r = strv_add(ret, line);
    return r;
}

/* Rewrites the list of links, with @link added or removed. An empty list means no file. */
static int note_link(const struct driver_link_host *h, const char *link, bool add,
                     struct err *err) {
    AUTO_STRV struct strv all = {0};
    AUTO_BUF struct buf text;
    char folder[PATH_MAX], path[PATH_MAX];
    buf_init(&text, FILE_MAX);
    snprintf(folder, sizeof(folder), "%s" LINKS_FOLDER, h->root);
    snprintf(path, sizeof(path), "%s" LINKS, h->root);
    int r = driver_link_list(h, &all);
    for (size_t i = 0; r == 0 && i < all.n; i++)
        if (strcmp(all.v[i], link) != 0)
            r = buf_printf(&text, "%s\n", all.v[i]);
    if (r == 0 && add)
        r = buf_printf(&text, "%s\n", link);
    if (r == 0 && text.len == 0) {
        (void)unlink(path);
        (void)rmdir(folder);
        return 0;
    }
    if (r == 0 && make_folders(folder, err) < 0)
        return -EACCES;
    if (r == 0)
        r = path_file_write(folder, folder, LINKS_NAME, buf_text(&text), NULL, PATH_FILE_REPLACE);
    return r < 0 ? err_set(err, ERR_PLAIN, -r, "%s: %s", path, strerror(-r)) : 0;
}

int driver_link_make(const struct driver_link_host *h, const char *dir, const char *name,
                     struct err *err) {
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX];
    snprintf(folder, sizeof(folder), "%s%s", h->root, dir);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int r = make_folders(folder, err);
    int ours = r < 0 ? r : leads_to_program(h, path, err);
    if (ours < 0)
        return ours;
    /* The list comes first: a link that is not listed could outlive the program. */
    r = note_link(h, path + strlen(h->root), true, err);
    if (r == 0 && !ours && symlink(h->program, path) < 0)
        r = err_set(err, ERR_PLAIN, errno, "link %s: %s", path, strerror(errno));
    return r < 0 ? r : !ours;
}

int driver_link_remove(const struct driver_link_host *h, const char *dir, const char *name,
                       struct err *err) {
    char path[2 * PATH_MAX];
    snprintf(path, sizeof(path), "%s%s/%s", h->root, dir, name);
    int ours = leads_to_program(h, path, err);
    if (ours < 0)
        return ours;
    if (ours && unlink(path) < 0)
        return err_set(err, ERR_PLAIN, errno, "%s: %s", path, strerror(errno));
    int r = note_link(h, path + strlen(h->root), false, err);
    return r < 0 ? r : ours;
}
