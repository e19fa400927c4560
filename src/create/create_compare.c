/* SPDX-License-Identifier: MPL-2.0 */
/* Compares a running container with its create request. StartTask calls it before it
 * reports success.
 *
 * Docker can start a container without its networks or published ports. Docker 29 does so at the
 * second start of a container whose first start failed because of a port. A task without its
 * network would get traffic that nothing receives.
 *
 * Only Docker's own bridge publishes every port. Other network drivers (macvlan, ipvlan, plugins)
 * publish none, and jobs use `ports` with them to register services. With these networks a missing
 * port is an error only when another port of the container is published. */
#include "paddock/create.h"

#include <stdio.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static const char *network_mode(const json_t *container) {
    return text_at(json_object_get(container, "HostConfig"), "NetworkMode");
}

/* True when Docker gives the container a network interface of its own. */
static bool has_own_network(const char *mode) {
    return strcmp(mode, "none") != 0 && strcmp(mode, "host") != 0 &&
           strncmp(mode, "container:", strlen("container:")) != 0;
}

static bool is_docker_bridge(const char *mode) {
    return mode[0] == '\0' || strcmp(mode, "default") == 0 || strcmp(mode, "bridge") == 0;
}

static bool is_attached(const json_t *networks) {
    const char *name;
    json_t *endpoint;
    json_object_foreach((json_t *)networks, name,
                        endpoint) if (text_at(endpoint, "EndpointID")[0]) return true;
    return false;
}

/* Returns true when the port is published. Host port 0 or "" means that Docker chooses the port. */
static bool is_published(const json_t *bindings, const char *host_port) {
    size_t i;
    json_t *binding;
    bool any = host_port[0] == '\0' || strcmp(host_port, "0") == 0;
    json_array_foreach((json_t *)bindings, i,
                       binding) if (any || strcmp(text_at(binding, "HostPort"), host_port) ==
                                               0) return true;
    return false;
}

static bool publishes_any(const json_t *ports) {
    const char *key;
    json_t *bindings;
    json_object_foreach((json_t *)ports, key,
                        bindings) if (json_array_size(bindings) > 0) return true;
    return false;
}

static int compare_ports(const json_t *wanted, const json_t *ports, struct err *err) {
    const char *key;
    json_t *bindings;
    json_object_foreach((json_t *)wanted, key, bindings) {
        size_t i;
        json_t *binding;
        json_array_foreach(bindings, i, binding) {
            const char *host_port = text_at(binding, "HostPort");
            if (!is_published(json_object_get(ports, key), host_port))
                return err_set(err, ERR_RECOVERABLE, EADDRNOTAVAIL,
                               "Docker started it without port %s (container port %s)", host_port,
                               key);
        }
    }
    return 0;
}

/* Returns the first host port of the request ("8080"), "" when it publishes none. */
static const char *first_port(const json_t *wanted) {
    const char *key;
    json_t *bindings;
    json_object_foreach((json_t *)wanted, key, bindings) return text_at(json_array_get(bindings, 0),
                                                                        "HostPort");
    return "";
}

const char *create_compare_wanted_network(const json_t *request) {
    const char *mode = network_mode(request);
    return is_docker_bridge(mode) ? "bridge" : mode;
}

int create_compare_ports(const json_t *request, const json_t *inspect, struct err *err) {
    const json_t *settings = json_object_get(inspect, "NetworkSettings");
    const json_t *ports = json_object_get(settings, "Ports");
    const json_t *wanted = json_object_get(json_object_get(request, "HostConfig"), "PortBindings");
    const char *mode = network_mode(request);
    if (!has_own_network(mode))
        return 0;
    if (!is_attached(json_object_get(settings, "Networks"))) {
        const char *port = first_port(wanted);
        return err_set(err, ERR_RECOVERABLE, ENETUNREACH,
                       "Docker started it without network \"%s\"%s%s", mode,
                       port[0] ? ", which publishes port " : "", port);
    }
    return is_docker_bridge(mode) || publishes_any(ports) ? compare_ports(wanted, ports, err) : 0;
}
