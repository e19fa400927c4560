/* SPDX-License-Identifier: MPL-2.0 */
/* The commands `paddock enable` and `paddock disable`: put the driver into a Nomad client's
 * plugin_dir and remove it again.
 *
 * cli.c calls them; driver_link.c does the work. Both commands change only a link. They print what
 * the client's next restart will do, because the client reads the folder only when it starts. */
#include "plugin/cli.h"
#include "plugin/cli_out.h"
#include "plugin/driver_link.h"

#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"docker", "paddock"};

struct enable_args {
    const char *name, *plugin_dir;
    bool all, help;
};

static int print_usage(bool enable, FILE *to, int status) {
    if (enable)
        fputs(
            "usage: paddock enable docker|paddock [--plugin-dir DIR]\n"
            "Links the driver into the Nomad client's plugin_dir. The client loads it at its next\n"
            "restart: as \"docker\" in place of the built-in driver, as \"paddock\" beside it.\n"
            "DIR is found from the client's configuration where it is not named.\n",
            to);
    else
        fputs("usage: paddock disable [docker|paddock] [--plugin-dir DIR]\n"
              "       paddock disable --all\n"
              "Removes the driver's links from the Nomad client's plugin_dir; --all removes every "
              "link\nthat `paddock enable` has made. The client drops the driver at its next "
              "restart.\n",
              to);
    return to == stdout ? cli_out_end(status) : status;
}

static bool is_name(const char *name) {
    return strcmp(name, names[0]) == 0 || strcmp(name, names[1]) == 0;
}

/* Returns false when the arguments are wrong. */
static bool parse_args(bool enable, int argc, char **argv, struct enable_args *ret) {
    static const struct option options[] = {{"plugin-dir", required_argument, NULL, 'd'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd')
            ret->plugin_dir = optarg;
        else if (c == 'h')
            ret->help = true;
        else if (c == 'a' && !enable)
            ret->all = true;
        else
            return false;
    }
    if (optind < argc)
        ret->name = argv[optind++];
    if (ret->help)
        return true;
    if (optind < argc || (ret->all && (ret->name || ret->plugin_dir)) || (enable && !ret->name) ||
        (ret->name && !is_name(ret->name)))
        return false;
    if (ret->plugin_dir && ret->plugin_dir[0] != '/') {
        fprintf(stderr, "paddock: --plugin-dir \"%s\" is not an absolute path\n", ret->plugin_dir);
        return false;
    }
    return true;
}

static int program_path(char ret[static PATH_MAX], struct err *err) {
    ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
    if (n < 0)
        return err_set(err, ERR_PLAIN, errno, "/proc/self/exe: %s", strerror(errno));
    ret[n] = '\0';
    return 0;
}

static int find_dir(const struct driver_link_host *h, const struct enable_args *args,
                    struct driver_link_dir *ret, struct err *err) {
    int r = 0;
    if (!args->plugin_dir)
        return driver_link_find_dir(h, ret, err);
    ret->path = str_dup(args->plugin_dir, &r);
    ret->source = str_dup("--plugin-dir", &r);
    return r;
}

static int enable_one(const struct driver_link_host *h, const struct enable_args *args,
                      struct err *err) {
    struct driver_link_dir dir = {.sure = false};
    int r = find_dir(h, args, &dir, err);
    if (r == 0)
        r = driver_link_make(h, dir.path, args->name, err);
    if (r >= 0) {
        cli_out_printf("%s %s/%s -> %s\n(%s)\n", r > 0 ? "linked" : "already there:", dir.path,
                       args->name, h->program, dir.source);
        if (!dir.sure)
            cli_out_printf("The client finds it there when its configuration says: plugin_dir = "
                           "\"%s\"\n",
                           dir.path);
        cli_out_printf("Nothing happens before the Nomad client's next restart. Then it loads "
                       "paddock as the driver \"%s\", %s; tasks that run go on.\n",
                       args->name,
                       strcmp(args->name, "docker") == 0 ? "in place of the built-in one"
                                                         : "beside the built-in \"docker\"");
    }
    driver_link_dir_done(&dir);
    return r < 0 ? r : 0;
}

static int remove_one(const struct driver_link_host *h, const char *dir, const char *name,
                      struct err *err) {
    int r = driver_link_remove(h, dir, name, err);
    if (r > 0)
        cli_out_printf("removed %s/%s\n", dir, name);
    return r;
}

static int remove_noted(const struct driver_link_host *h, size_t *ret_removed, struct err *err) {
    AUTO_STRV struct strv links = {0};
    int r = driver_link_list(h, &links);
    for (size_t i = 0; r >= 0 && i < links.n; i++) {
        char *slash = strrchr(links.v[i], '/');
        if (!slash)
            continue;
        *slash = '\0';
        r = remove_one(h, links.v[i], slash + 1, err);
        if (r == -EEXIST) { /* another file has that name now */
            fprintf(stderr, "paddock: %s\n", err->text);
            err_clear(err);
            r = 0;
        }
        *ret_removed += r > 0;
    }
    return r < 0 ? r : 0;
}

static int remove_in_dir(const struct driver_link_host *h, const struct enable_args *args,
                         size_t *ret_removed, struct err *err) {
    struct driver_link_dir dir = {.sure = false};
    int r = find_dir(h, args, &dir, err);
    for (size_t i = 0; r >= 0 && i < ARRAY_LEN(names); i++) {
        if (args->name && strcmp(args->name, names[i]) != 0)
            continue;
        r = remove_one(h, dir.path, names[i], err);
        if (r == -EEXIST && !args->name) { /* another file, and no name was asked for */
            err_clear(err);
            r = 0;
        }
        *ret_removed += r > 0;
    }
    driver_link_dir_done(&dir);
    return r < 0 ? r : 0;
}

static int disable_names(const struct driver_link_host *h, const struct enable_args *args,
                         struct err *err) {
    size_t removed = 0;
    int r = args->all ? remove_noted(h, &removed, err) : remove_in_dir(h, args, &removed, err);
    if (r < 0)
        return r;
    if (removed == 0)
        cli_out_printf("no link of paddock is there: nothing to do\n");
    else
        cli_out_printf("Nothing happens before the Nomad client's next restart. Then it uses its "
                       "built-in driver \"docker\", which takes over the tasks that run as "
                       "\"docker\". Tasks of a driver \"paddock\" cannot be recovered then: stop "
                       "them before.\n");
    return 0;
}

static int run_command(bool enable, int argc, char **argv) {
    struct enable_args args = {.all = false};
    struct err err = {.set = false};
    char path[PATH_MAX];
    struct driver_link_host h = {.root = "", .program = path};
    if (!parse_args(enable, argc, argv, &args))
        return print_usage(enable, stderr, 2);
    if (args.help)
        return print_usage(enable, stdout, 0);
    int r = program_path(path, &err);
    if (r == 0)
        r = enable ? enable_one(&h, &args, &err) : disable_names(&h, &args, &err);
    if (r < 0)
        fprintf(stderr, "paddock: %s\n", err.set ? err.text : strerror(-r));
    return cli_out_end(r < 0);
}

int cli_link_enable(int argc, char **argv) {
    return run_command(true, argc, argv);
}

int cli_link_disable(int argc, char **argv) {
    return run_command(false, argc, argv);
}
