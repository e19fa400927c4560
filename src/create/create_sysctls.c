/* SPDX-License-Identifier: MPL-2.0 */
/* The job's sysctls. Docker sets most of them when it makes the container's namespaces.
 *
 * A sysctl of a network interface (net.ipv4.conf.eth0.forwarding) can only be set after Docker has
 * attached the network. From API 1.48 on Docker refuses such a sysctl in HostConfig. It must be a
 * driver option of the endpoint. In that option IFNAME stands for the interface's name, and a comma
 * separates two settings. A task has one network when it starts, so the interface is
 * always eth0. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"

#include <stdio.h>
#include <string.h>

#define MINOR_OF_ENDPOINT_SYSCTLS 48
#define ENDPOINT_SYSCTLS "com.docker.network.endpoint.sysctls"
#define IFNAME "IFNAME"

/* Finds offset and length of the interface in @key ("net.ipv4.conf.eth0.forwarding"). Returns false
 * when @key contains no interface that Docker recognises. */
static bool find_interface(const char *key, size_t *ret_at, size_t *ret_len) {
    if (strncmp(key, "net.", strlen("net.")) != 0)
        return false;
    const char *at = key;
    for (int dots = 0; dots < 3; dots++) {
        at = strchr(at, '.');
        if (!at)
            return false;
        at++;
    }
    size_t len = strcspn(at, ".");
    if (strncmp(at, "eth", strlen("eth")) != 0 || at[len] != '.')
        return false;
    *ret_at = (size_t)(at - key);
    *ret_len = len;
    return true;
}

/* Returns true when Docker attaches a network, so that an endpoint exists. */
static bool has_endpoint(const char *mode) {
    return strcmp(mode, "host") != 0 && strncmp(mode, "container:", strlen("container:")) != 0;
}

/* Adds "net.ipv4.conf.IFNAME.forwarding=1" to *@options. */
static int add_option(struct create *c, const char *key, const char *value, size_t at, size_t len,
                      char **options) {
    if (len != strlen("eth0") || strncmp(key + at, "eth0", len) != 0)
        return create_fail(c, EINVAL, "sysctl: \"%s\": only interface eth0 can be set", key);
    if (strpbrk(key, ",=") || strchr(value, ','))
        return create_fail(c, EINVAL,
                           "sysctl: \"%s\" = \"%s\": Docker takes no comma in a setting of an "
                           "interface",
                           key, value);
    char *longer;
    if (asprintf(&longer, "%s%s%.*s" IFNAME "%s=%s", *options ? *options : "", *options ? "," : "",
                 (int)at, key, key + at + len, value) < 0)
        return err_oom(c->err);
    free(*options);
    *options = longer;
    return 0;
}

int create_sysctls_add(struct create *c) {
    bool moves = c->host->api_minor >= MINOR_OF_ENDPOINT_SYSCTLS && has_endpoint(c->network_mode);
    AUTO_FREE char *options = NULL;
    for (size_t i = 0; i < c->job->sysctl.n; i++) {
        const char *key = c->job->sysctl.v[i].key, *value = c->job->sysctl.v[i].value;
        size_t at, len;
        if (moves && find_interface(key, &at, &len)) {
            int r = add_option(c, key, value, at, len, &options);
            if (r < 0)
                return r;
        } else {
            create_json_set_text(c, create_json_object(c, c->host_config, "Sysctls"), key, value);
        }
    }
    if (options) {
        json_t *opts = create_json_object(c, create_network_endpoint(c), "DriverOpts");
        create_json_set_text(c, opts, ENDPOINT_SYSCTLS, options);
    }
    return create_fail_code(c);
}
