/* SPDX-License-Identifier: MPL-2.0 */
/* Network mode, published ports and the settings of the endpoint.
 *
 * create_build() calls the steps. create_network_override_get() reads the address that StartTask
 * reports to Nomad from the inspect of the running container. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"
#include "paddock/log.h"
#include "paddock/parse.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define SANDBOX_LABEL "docker_sandbox_container_id" /* label in the answer of CreateNetwork */
#define PORT_MAX 65535
#define MINOR_OF_ENDPOINT_MAC 44

/* ---- network mode ---- */

int create_network_mode(struct create *c) {
    const struct net_isolation *net = &c->task->network;
    const char *mode = !str_empty(c->job->network_mode) ? c->job->network_mode : "default";
    AUTO_FREE char *sandbox = NULL;
    if (str_empty(c->job->network_mode) && net->present && !str_empty(net->path)) {
        if (asprintf(&sandbox, "container:%s", text_of(kvs_get(&net->labels, SANDBOX_LABEL))) < 0) {
            sandbox = NULL;
            return err_oom(c->err);
        }
        mode = sandbox;
    }
    create_json_set_text(c, c->host_config, "NetworkMode", mode);
    c->network_mode = json_string_value(json_object_get(c->host_config, "NetworkMode"));
    return create_fail_code(c);
}

/* ---- ports ---- */

static bool is_bound(const json_t *bindings, const char *host_ip, const char *port) {
    size_t i;
    json_t *b;
    json_array_foreach(bindings, i, b) {
        const char *ip = json_string_value(json_object_get(b, "HostIp"));
        const char *at = json_string_value(json_object_get(b, "HostPort"));
        if (ip && at && strcmp(ip, text_of(host_ip)) == 0 && strcmp(at, port) == 0)
            return true;
    }
    return false;
}

/* Both protocols are exposed and bound. Several host ports may lead to one container port. A label
 * that the job names twice gives one binding: Docker cannot bind the same host port again. */
static int publish_port(struct create *c, const char *label, const char *host_ip, int64_t port,
                        int64_t inside) {
    static const char *const protocols[] = {"tcp", "udp"};
    if (port < 0 || port > PORT_MAX || inside <= 0 || inside > PORT_MAX)
        return create_fail(c, EINVAL, "port \"%s\": %lld to %lld is out of range", text_of(label),
                           (long long)port, (long long)inside);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        char key[32], text[16];
        snprintf(key, sizeof(key), "%d/%s", (int)inside, protocols[i]);
        snprintf(text, sizeof(text), "%d", (int)port);
        json_t *bindings =
            create_json_array(c, create_json_object(c, c->host_config, "PortBindings"), key);
        if (is_bound(bindings, host_ip, text))
            continue;
        json_t *binding = json_object();
        create_json_add(c, bindings, binding);
        if (create_fail_code(c) < 0)
            return create_fail_code(c);
        create_json_set_text(c, binding, "HostIp", host_ip);
        create_json_set_text(c, binding, "HostPort", text);
        create_json_object(c, create_json_object(c, c->body, "ExposedPorts"), key);
    }
    return create_fail_code(c);
}

static int publish_group(struct create *c) {
    const struct task_resources *res = &c->task->resources;
    if (strncmp(text_of(c->network_mode), "container:", strlen("container:")) == 0)
        return 0; /* the pause container has published them */
    for (size_t i = 0; i < c->job->ports.n; i++) {
        const char *label = c->job->ports.v[i];
        const struct task_port *p = NULL;
        for (size_t k = 0; !p && k < res->n_ports; k++)
            if (strcmp(text_of(res->ports[k].label), label) == 0)
                p = &res->ports[k];
        if (!p)
            return create_fail(c, EINVAL, "Port \"%s\" not found, check network block", label);
        int r = publish_port(c, label, p->host_ip, p->value, p->to ? p->to : p->value);
        if (r < 0)
            return r;
    }
    return 0;
}

static int publish_mapped(struct create *c, const char *host_ip, const struct task_port *ports,
                          size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *label = text_of(ports[i].label);
        const char *mapped = kvs_get(&c->job->port_map, label);
        int64_t inside = 0;
        if (mapped && parse_i64(mapped, &inside) < 0)
            return create_fail(c, EINVAL, "port_map: \"%s\" of \"%s\" is not a port", mapped,
                               label);
        int r = publish_port(c, label, host_ip, ports[i].value, inside ? inside : ports[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

int create_network_ports(struct create *c) {
    const struct task_resources *res = &c->task->resources;
    if (c->job->ports.n)
        return publish_group(c);
    if (res->n_networks) {
        const struct task_network *net = &res->networks[0];
        int r = publish_mapped(c, net->ip, net->reserved_ports, net->n_reserved_ports);
        return r < 0 ? r : publish_mapped(c, net->ip, net->dynamic_ports, net->n_dynamic_ports);
    }
    if (c->job->port_map.n && res->n_ports)
        return create_fail(c, EINVAL,
                           "'port_map' cannot map group network ports, use 'ports' instead");
    if (c->job->port_map.n)
        return create_fail(c, EINVAL, "Trying to map ports but no network interface is available");
    return 0;
}

/* ---- endpoint ---- */

/* Returns true for 01:23:45:67:89:ab, 01-23-45-67-89-ab or 0123.4567.89ab, the forms that
 * Docker accepts. */
static bool is_mac(const char *text) {
    size_t group = text[0] && strchr(text, '.') ? 4 : 2;
    char sep = group == 4 ? '.' : text[0] && text[1] ? text[2] : '\0';
    if (group == 2 && sep != ':' && sep != '-')
        return false;
    size_t digits = 0;
    for (size_t i = 0; text[i]; i++) {
        if (i % (group + 1) == group) {
            if (text[i] != sep)
                return false;
        } else if (!isxdigit((unsigned char)text[i])) {
            return false;
        } else {
            digits++;
        }
    }
    return digits == 12 && isxdigit((unsigned char)text[strlen(text) - 1]);
}

json_t *create_network_endpoint(struct create *c) {
    json_t *all = create_json_object(c, create_json_object(c, c->body, "NetworkingConfig"),
                                     "EndpointsConfig");
    return create_json_object(c, all, text_of(c->network_mode));
}

int create_network_endpoints(struct create *c) {
    const struct job_config *job = c->job;
    bool has_ip = !str_empty(job->ipv4_address) || !str_empty(job->ipv6_address);
    bool has_mac = !str_empty(job->mac_address);
    if (has_mac && !is_mac(job->mac_address))
        return create_fail(c, EINVAL, "invalid mac_address: \"%s\"", job->mac_address);
    if (job->network_aliases.n == 0 && !has_ip && !has_mac)
        return 0;
    json_t *endpoint = create_network_endpoint(c);
    create_json_set_list_if(c, endpoint, "Aliases", &job->network_aliases);
    if (has_ip) {
        json_t *ipam = create_json_object(c, endpoint, "IPAMConfig");
        create_json_set_text_if(c, ipam, "IPv4Address", job->ipv4_address);
        create_json_set_text_if(c, ipam, "IPv6Address", job->ipv6_address);
    }
    if (has_mac) {
        /* API versions before 1.44 read only the MAC address of the container. Version 1.52 and
         * later ones refuse it. */
        create_json_set_text(c, endpoint, "MacAddress", job->mac_address);
        if (c->host->api_minor < MINOR_OF_ENDPOINT_MAC)
            create_json_set_text(c, c->body, "MacAddress", job->mac_address);
    }
    return create_fail_code(c);
}

/* ---- address for Nomad ---- */

static const char *text_at(const json_t *object, const char *key) {
    return text_of(json_string_value(json_object_get(object, key)));
}

void create_network_override_get(const struct job_config *job, const json_t *inspect,
                                 struct create_network_override *ret) {
    *ret = (struct create_network_override){0};
    json_t *networks = json_object_get(json_object_get(inspect, "NetworkSettings"), "Networks");
    const char *name;
    json_t *net;
    json_object_foreach(networks, name, net) {
        const char *ipv4 = text_at(net, "IPAddress");
        const char *ipv6 = job->advertise_ipv6_address ? text_at(net, "GlobalIPv6Address") : "";
        if (ipv4[0] == '\0' && ipv6[0] == '\0')
            continue;
        snprintf(ret->addr, sizeof(ret->addr), "%s", ipv6[0] ? ipv6 : ipv4);
        /* Addresses of Docker's default networks cannot be reached from outside. */
        ret->auto_advertise = ipv6[0] || (strcmp(name, "bridge") != 0 && strcmp(name, "nat") != 0);
        break;
    }
    if (json_object_size(networks) > 1)
        log_debug("docker", LOG_KV("container_id", text_at(inspect, "Id")),
                  "the container has %zu networks, Nomad is told of the first",
                  json_object_size(networks));
}
