/* SPDX-License-Identifier: MPL-2.0 */
/* The generated /etc/resolv.conf and /etc/hosts.
 *
 * create_build() calls create_dns_hosts() and create_dns_resolv().
 *
 * resolv.conf: only for a task with a dns block. It lies in the task's folder, is written again at
 * each start, and is mounted read-only.
 *
 * hosts: for tasks in a group's network. It lies in the allocation's folder and is shared by the
 * group's tasks. The tasks may change it, so it is written once, with the extra_hosts of the task
 * that starts first. A task whose extra_hosts are not in that file gets a file of its own, in the
 * task's folder.
 *
 * Tasks may be able to write to both folders. So no symlink is followed, and an existing file is
 * mounted only when it is a regular file. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_own.h"
#include "src/create/create_steps.h"
#include "paddock/buf.h"
#include "paddock/log.h"
#include "paddock/parse.h"
#include "paddock/path_file.h"
#include "paddock/path_text.h"

#include <stdio.h>
#include <string.h>

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"
#define RESOLVED_STUB "127.0.0.53"
#define RESOLV_CONF_MAX (64u << 10)
#define HOSTS_MAX (1u << 20)
#define BLANKS " \t\r"

/* ---- parsing ---- */

/* Finds the next word of the line at *@p (up to the newline). Returns its length, 0 at the end of
 * the line. */
static size_t next_word(const char **p, const char **ret_word) {
    *p += strspn(*p, BLANKS);
    *ret_word = *p;
    size_t n = strcspn(*p, BLANKS "\n");
    *p += n;
    return n;
}

static int add_word(struct strv *list, const char *word, size_t n) {
    return strv_add_take(list, strndup(word, n));
}

/* Parses one line. nameserver: each line adds its first word. search, options: the last
 * line counts. */
static int parse_line(const char *line, struct task_dns *out) {
    const char *word;
    size_t n = next_word(&line, &word);
    bool server = n == strlen("nameserver") && strncmp(word, "nameserver", n) == 0;
    struct strv *list = server                                                   ? &out->servers
                        : n == strlen("search") && !strncmp(word, "search", n)   ? &out->searches
                        : n == strlen("options") && !strncmp(word, "options", n) ? &out->options
                                                                                 : NULL;
    if (!list)
        return 0;
    if (!server)
        strv_done(list);
    int r = 0;
    while (r == 0 && (n = next_word(&line, &word)) > 0) {
        r = add_word(list, word, n);
        if (server)
            break;
    }
    return r;
}

static int parse_resolv(const char *text, struct task_dns *out) {
    int r = 0;
    while (r == 0 && *text) {
        r = parse_line(text, out);
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return r;
}

static void dns_done(struct task_dns *dns) {
    strv_done(&dns->servers);
    strv_done(&dns->searches);
    strv_done(&dns->options);
}
#define AUTO_DNS __attribute__((cleanup(dns_done)))

bool create_dns_resolv_is_stub(const char *system) {
    AUTO_DNS struct task_dns dns = {0};
    return parse_resolv(system, &dns) == 0 && dns.servers.n == 1 &&
           strcmp(dns.servers.v[0], RESOLVED_STUB) == 0;
}

/* ---- writing ---- */

static int put_line(struct buf *out, const char *keyword, const struct strv *words) {
    int r = buf_puts(out, keyword);
    for (size_t i = 0; r == 0 && i < words->n; i++)
        r = buf_printf(out, " %s", words->v[i]);
    return r < 0 ? r : buf_puts(out, "\n");
}

int create_dns_resolv_text(const struct task_dns *dns, const char *system, char **ret_text) {
    if (dns->servers.n == 0 && dns->searches.n == 0 && dns->options.n == 0) {
        *ret_text = strdup(system);
        return *ret_text ? 0 : -ENOMEM;
    }
    AUTO_DNS struct task_dns from = {0};
    if (parse_resolv(system, &from) < 0)
        return -ENOMEM;
    const struct strv *searches = dns->searches.n ? &dns->searches : &from.searches;
    const struct strv *servers = dns->servers.n ? &dns->servers : &from.servers;
    const struct strv *options = dns->options.n ? &dns->options : &from.options;
    AUTO_BUF struct buf out;
    buf_init(&out, RESOLV_CONF_MAX * 2);
    int r = 0;
    /* "search ." means no search domain. */
    if (searches->n && !(searches->n == 1 && strcmp(searches->v[0], ".") == 0))
        r = put_line(&out, "search", searches);
    for (size_t i = 0; r == 0 && i < servers->n; i++)
        r = buf_printf(&out, "nameserver %s\n", servers->v[i]);
    if (r == 0 && options->n)
        r = put_line(&out, "options", options);
    if (r < 0)
        return r;
    *ret_text = buf_take(&out);
    return *ret_text ? 0 : -ENOMEM;
}

static int system_resolv(struct create *c, char **ret) {
    bool given = !str_empty(c->host->resolv_conf);
    const char *path = given ? c->host->resolv_conf : RESOLV_CONF;
    AUTO_FREE char *text = NULL;
    int r = path_file_read(NULL, path, RESOLV_CONF_MAX, &text);
    if (r == 0 && !given && create_dns_resolv_is_stub(text)) {
        cleanup_free(&text);
        text = NULL;
        path = RESOLVED_CONF;
        r = path_file_read(NULL, path, RESOLV_CONF_MAX, &text);
    }
    if (r == -ENOMEM)
        return err_oom(c->err);
    if (r < 0)
        return create_fail(c, -r, "failed to build mount for resolv.conf: %s: %s", path,
                           strerror(-r));
    *ret = TAKE_PTR(text);
    return 0;
}

/* Mounts a generated file, which exists. */
static int mount_file(struct create *c, enum create_own lies_in, const char *below,
                      const char *target, bool readonly) {
    AUTO_FREE char *source = NULL;
    int r = create_own_source(c, lies_in, below, false, &source);
    if (r < 0)
        return r;
    json_t *m = json_object();
    create_json_add(c, c->mounts, m);
    if (create_fail_code(c) < 0)
        return create_fail_code(c);
    create_json_set_text(c, m, "Type", "bind");
    create_json_set_text(c, m, "Target", target);
    create_json_set_text(c, m, "Source", source);
    create_json_set_true_if(c, m, "ReadOnly", readonly);
    create_json_set_text(c, create_json_object(c, m, "BindOptions"), "Propagation", "private");
    return create_fail_code(c);
}

static int own_resolv(struct create *c) {
    AUTO_FREE char *system = NULL;
    int r = system_resolv(c, &system);
    if (r < 0)
        return r;
    AUTO_FREE char *text = NULL;
    r = create_dns_resolv_text(&c->task->dns, system, &text);
    if (r == -EMSGSIZE)
        return create_fail(c, EINVAL,
                           "dns: the generated resolv.conf has more than %u bytes, give fewer "
                           "servers, searches or options",
                           RESOLV_CONF_MAX * 2);
    if (r < 0)
        return err_oom(c->err);
    r = path_file_write(c->alloc_dir, c->task_dir, "resolv.conf", text, NULL, PATH_FILE_REPLACE);
    if (r < 0)
        return create_fail(c, -r, "failed to build mount for resolv.conf: %s/resolv.conf: %s",
                           c->task_dir, strerror(-r));
    AUTO_FREE char *below = NULL;
    if (asprintf(&below, "%s/resolv.conf", text_of(c->task->name)) < 0) {
        below = NULL;
        return err_oom(c->err);
    }
    return mount_file(c, CREATE_OWN_IN_TASK, below, RESOLV_CONF, true);
}

int create_dns_resolv(struct create *c) {
    const struct job_config *job = c->job;
    json_t *hc = c->host_config;
    if (c->task->dns.present)
        return own_resolv(c);
    create_json_set_list_if(c, hc, "DnsSearch", &job->dns_search_domains);
    create_json_set_list_if(c, hc, "DnsOptions", &job->dns_options);
    for (size_t i = 0; i < job->dns_servers.n; i++) {
        const char *ip = job->dns_servers.v[i];
        if (parse_is_ip(ip))
            create_json_add_text(c, create_json_array(c, hc, "Dns"), ip);
        else
            log_warn("docker", LOG_KV("task_id", text_of(c->task->id), "ip", ip),
                     "invalid ip address for container dns server, ignoring");
    }
    return create_fail_code(c);
}

/* ---- hosts ---- */

static int put_extra_hosts(struct create *c, struct buf *out) {
    const struct strv *hosts = &c->job->extra_hosts;
    int r = 0;
    for (size_t i = 0; r == 0 && i < hosts->n; i++) {
        const char *colon = strchr(hosts->v[i], ':');
        if (!colon)
            return create_fail(c, EINVAL,
                               "failed to build mount for /etc/hosts: invalid hosts entry \"%s\"",
                               hosts->v[i]);
        if (strcmp(colon + 1, "host-gateway") == 0)
            return create_fail(
                c, EINVAL,
                "extra_hosts \"%s\": Docker knows no host-gateway in the network of a group, give "
                "an address (${attr.driver.docker.bridge_ip}, ${attr.unique.network.ip-address})",
                hosts->v[i]);
        if (!parse_is_ip(colon + 1))
            return create_fail(c, EINVAL,
                               "failed to build mount for /etc/hosts: invalid IP address \"%s\"",
                               hosts->v[i]);
        r = buf_printf(out, "%s %.*s\n", colon + 1, (int)(colon - hosts->v[i]), hosts->v[i]);
    }
    return r;
}

static int put_hosts(struct create *c, const char *extra, struct buf *out) {
    const struct net_isolation *net = &c->task->network;
    int r = buf_printf(out,
                       "127.0.0.1 localhost\n"
                       "::1 localhost\n"
                       "::1 ip6-localhost ip6-loopback\n"
                       "fe00::0 ip6-localnet\n"
                       "ff00::0 ip6-mcastprefix\n"
                       "ff02::1 ip6-allnodes\n"
                       "ff02::2 ip6-allrouters\n"
                       "ff02::3 ip6-allhosts\n"
                       "\n# the allocation, shared by the tasks of its group\n"
                       "%s %s\n",
                       net->hosts_address, net->hosts_hostname);
    if (r == 0 && extra[0])
        r = buf_printf(out, "\n# extra_hosts of the task that wrote this file first\n%s", extra);
    return r;
}

/* Returns true when each line of @lines is a line of @text. */
static bool has_lines(const char *text, const char *lines) {
    for (const char *line = lines; *line;) {
        size_t n = strcspn(line, "\n") + 1;
        const char *at = text;
        while (at && strncmp(at, line, n) != 0) {
            at = strchr(at, '\n');
            at = at ? at + 1 : NULL;
        }
        if (!at)
            return false;
        line += n;
    }
    return true;
}

/* Writes a file for this task only: its own extra_hosts first, so that they have priority, then the
 * shared file. */
static int own_hosts(struct create *c, const char *extra, const char *shared) {
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *below = NULL;
    if (asprintf(&text, "# extra_hosts of this task\n%s\n%s", extra, shared) < 0) {
        text = NULL;
        return err_oom(c->err);
    }
    int r =
        path_file_write(c->alloc_dir, c->task_dir, "hosts", text, c->host->root, PATH_FILE_REPLACE);
    if (r < 0)
        return create_fail(c, -r, "failed to build mount for /etc/hosts: %s/hosts: %s", c->task_dir,
                           strerror(-r));
    if (asprintf(&below, "%s/hosts", text_of(c->task->name)) < 0) {
        below = NULL;
        return err_oom(c->err);
    }
    return mount_file(c, CREATE_OWN_IN_TASK, below, "/etc/hosts", false);
}

int create_dns_hosts(struct create *c) {
    const struct net_isolation *net = &c->task->network;
    if (!net->present || !str_empty(c->job->network_mode) || net->mode != NET_GROUP ||
        !net->hosts_present || str_empty(net->hosts_address) || str_empty(net->hosts_hostname))
        return 0;
    AUTO_BUF struct buf extra;
    AUTO_BUF struct buf text;
    buf_init(&extra, 0);
    buf_init(&text, 0);
    int r = put_extra_hosts(c, &extra);
    if (r == 0)
        r = put_hosts(c, buf_text(&extra), &text);
    if (r == -ENOMEM)
        return err_oom(c->err);
    if (r < 0)
        return create_fail(c, -r, "failed to build mount for /etc/hosts: %s", strerror(-r));
    r = path_file_write(c->alloc_dir, c->alloc_dir, "hosts", buf_text(&text), c->host->root,
                        PATH_FILE_IF_ABSENT);
    if (r < 0)
        return create_fail(c, -r, "failed to build mount for /etc/hosts: %s/hosts: %s",
                           c->alloc_dir, r == -EEXIST ? "it is no regular file" : strerror(-r));
    c->own_hosts = true;
    if (extra.len) {
        AUTO_FREE char *shared = NULL;
        AUTO_FREE char *path = path_text_join(c->alloc_dir, "hosts");
        r = path ? path_file_read(c->alloc_dir, path, HOSTS_MAX, &shared) : -ENOMEM;
        if (r == -ENOMEM)
            return err_oom(c->err);
        /* Another task wrote the shared file, or an earlier start of this task with other
         * addresses. When a task has damaged the shared file, this task gets a correct file of
         * its own. */
        if (r < 0 || !has_lines(shared, buf_text(&extra)))
            return own_hosts(c, buf_text(&extra), r < 0 ? buf_text(&text) : shared);
    }
    return mount_file(c, CREATE_OWN_IN_ALLOC, "hosts", "/etc/hosts", false);
}
