/* SPDX-License-Identifier: MPL-2.0 */
/* The create request: network mode, ports, addresses and the other values of the endpoint. */
#include "unit/create/rows.h"

#define PORT_HTTP                                                                                  \
    { .label = "http", .value = 22000, .to = 80, .host_ip = "10.0.0.5" }
#define PORT_ALT                                                                                   \
    { .label = "alt", .value = 22001, .to = 80, .host_ip = "10.0.0.6" }
#define PORT_SAME                                                                                  \
    { .label = "same", .value = 9000 }

static const struct row network_rows[] = {
    {"mode: default", {.job.image = "x"}, {{HC "NetworkMode", "\"default\""}}},
    {"mode as given",
     {.job.network_mode = "host", .task.network = {.present = true, .path = "/n"}},
     {{HC "NetworkMode", "\"host\""}}},
    {"mode: the group's sandbox",
     {.task.network = {.present = true,
                       .mode = NET_GROUP,
                       .path = "/n",
                       .labels = PAIRS({"docker_sandbox_container_id", "abc"})}},
     {{HC "NetworkMode", "\"container:abc\""}}},
    {"mode: another container",
     {.job.network_mode = "container:db", .task.network = {.present = true, .path = "/n"}},
     {{HC "NetworkMode", "\"container:db\""}}},
    {"mode: isolation without a path",
     {.task.network = {.present = true}},
     {{HC "NetworkMode", "\"default\""}}},
    {"ports of the group",
     {.job.ports = LIST("http", "same"),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP, PORT_SAME, PORT_ALT)}},
     {{HC "PortBindings", "{\"80/tcp\":[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}],\"80/"
                          "udp\":[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}],"
                          "\"9000/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9000\"}],\"9000/"
                          "udp\":[{\"HostIp\":\"\",\"HostPort\":\"9000\"}]}"},
      {"ExposedPorts", "{\"80/tcp\":{},\"80/udp\":{},\"9000/tcp\":{},\"9000/udp\":{}}"}}},
    {"two host ports, one container port",
     {.job.ports = LIST("http", "alt"),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP, PORT_ALT)}},
     {{HC "PortBindings>80/tcp", "[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"},{\"HostIp\":"
                                 "\"10.0.0.6\",\"HostPort\":\"22001\"}]"}}},
    {"a port that does not exist",
     {.job.ports = LIST("nope"), .task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     .error = "Port \"nope\" not found, check network block"},
    {"no ports of a container's network",
     {.job = {.ports = LIST("nope"), .network_mode = "container:abc"},
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     {{HC "PortBindings"}, {"ExposedPorts"}}},
    {"ports of the group on an IPv6 address",
     {.job.ports = LIST("six"),
      .task.resources = {MANY(ports, struct task_port,
                              {.label = "six", .value = 22002, .host_ip = "fd00::5"})}},
     {{HC "PortBindings", "{\"22002/tcp\":[{\"HostIp\":\"fd00::5\",\"HostPort\":\"22002\"}],"
                          "\"22002/udp\":[{\"HostIp\":\"fd00::5\",\"HostPort\":\"22002\"}]}"}}},
    {"ports without a network",
     {.job.ports = LIST("http")},
     .error = "Port \"http\" not found, check network block"},
    {"ports and a task's network",
     {.job.ports = LIST("http"),
      .task.resources = {MANY(networks, struct task_network, {.ip = "10.0.0.7"})}},
     .error = "Port \"http\" not found, check network block"},
    {"a port label twice",
     {.job.ports = LIST("http", "same", "http"),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP, PORT_SAME)}},
     {{HC "PortBindings>80/tcp", "[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}]"},
      {HC "PortBindings>80/udp", "[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}]"}}},
    {"ports of the group that the job does not list",
     {.task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     {{HC "PortBindings"}}},
    {"ports of a task's network",
     {.job.port_map = PAIRS({"db", "5432"}),
      .task.resources = {MANY(
          networks, struct task_network,
          {.ip = "10.0.0.7",
           MANY(reserved_ports, struct task_port, {.label = "db", .value = 1000}),
           MANY(dynamic_ports, struct task_port, {.label = "x", .value = 2000})})}},
     {{HC "PortBindings", "{\"5432/tcp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"1000\"}],\"5432/"
                          "udp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"1000\"}],"
                          "\"2000/tcp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"2000\"}],\"2000/"
                          "udp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"2000\"}]}"}}},
    {"ports of a task's network on an IPv6 address",
     {.job.port_map = PAIRS({"db", "5432"}),
      .task.resources = {MANY(
          networks, struct task_network,
          {.ip = "fd00::7",
           MANY(dynamic_ports, struct task_port, {.label = "db", .value = 1000})})}},
     {{HC "PortBindings>5432/tcp", "[{\"HostIp\":\"fd00::7\",\"HostPort\":\"1000\"}]"}}},
    {"ports of a task's first network alone",
     {.task.resources = {MANY(
          networks, struct task_network, {.ip = "1.1.1.1"},
          {.ip = "2.2.2.2",
           MANY(dynamic_ports, struct task_port, {.label = "x", .value = 2000})})}},
     {{HC "PortBindings"}}},
    {"a port out of range",
     {.job.port_map = PAIRS({"db", "70000"}),
      .task.resources = {MANY(
          networks, struct task_network,
          {.ip = "1.1.1.1",
           MANY(reserved_ports, struct task_port, {.label = "db", .value = 1000})})}},
     .error = "port \"db\": 1000 to 70000 is out of range"},
    {"port_map and group ports",
     {.job.port_map = PAIRS({"db", "5432"}),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     .error = "'port_map' cannot map group network ports, use 'ports' instead"},
    {"port_map and no network",
     {.job.port_map = PAIRS({"db", "5432"})},
     .error = "Trying to map ports but no network interface is available"},
    {"aliases and addresses",
     {.job = {.network_mode = "mynet",
              .network_aliases = LIST("a", "b"),
              .ipv4_address = "172.18.0.9",
              .ipv6_address = "fd00::9"}},
     {{"NetworkingConfig",
       "{\"EndpointsConfig\":{\"mynet\":{\"Aliases\":[\"a\",\"b\"],\"IPAMConfig\":{\"IPv4Address\":"
       "\"172.18.0.9\",\"IPv6Address\":\"fd00::9\"}}}}"}}},
    {"ipv4_address alone",
     {.job = {.network_mode = "mynet", .ipv4_address = "172.18.0.9"}},
     {{"NetworkingConfig>EndpointsConfig>mynet",
       "{\"IPAMConfig\":{\"IPv4Address\":\"172.18.0.9\"}}"}}},
    {"ipv6_address alone, in Docker's own network",
     {.job.ipv6_address = "fd00::9"},
     {{"NetworkingConfig>EndpointsConfig>default",
       "{\"IPAMConfig\":{\"IPv6Address\":\"fd00::9\"}}"}}},
    {"mac_address, for old and new Docker",
     {.job.mac_address = "02:68:b3:29:da:98"},
     {{"NetworkingConfig>EndpointsConfig>default", "{\"MacAddress\":\"02:68:b3:29:da:98\"}"},
      {"MacAddress", "\"02:68:b3:29:da:98\""}}},
    {"mac_address, from API 1.44 on the endpoint's alone",
     {.job.mac_address = "02:68:b3:29:da:98", .host.api_minor = 44},
     {{"NetworkingConfig>EndpointsConfig>default", "{\"MacAddress\":\"02:68:b3:29:da:98\"}"},
      {"MacAddress"}}},
    {"sysctl of an interface, before API 1.48",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}), .host.api_minor = 47},
     {{HC "Sysctls", "{\"net.ipv4.conf.eth0.forwarding\":\"1\"}"}, {"NetworkingConfig"}}},
    {"sysctls of eth0, from API 1.48 on the endpoint's",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}, {"net.core.somaxconn", "9"},
                          {"net.ipv4.neigh.eth0.a.b", "x"}, {"net.ipv4.conf.all.forwarding", "1"}),
      .host.api_minor = 48},
     {{HC "Sysctls", "{\"net.core.somaxconn\":\"9\",\"net.ipv4.conf.all.forwarding\":\"1\"}"},
      {"NetworkingConfig>EndpointsConfig>default>DriverOpts",
       "{\"com.docker.network.endpoint.sysctls\":"
       "\"net.ipv4.conf.IFNAME.forwarding=1,net.ipv4.neigh.IFNAME.a.b=x\"}"}}},
    {"a sysctl of eth0 alone leaves no others",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}), .host.api_minor = 48},
     {{HC "Sysctls"}}},
    {"sysctl of another interface",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth1.forwarding", "1"}), .host.api_minor = 48},
     .error = "sysctl: \"net.ipv4.conf.eth1.forwarding\": only interface eth0"},
    {"sysctl of eth0 whose value contains another sysctl",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.tag", "1,net.ipv4.conf.IFNAME.forwarding=1"}),
      .host.api_minor = 48},
     .error = "sysctl: \"net.ipv4.conf.eth0.tag\" = \"1,net.ipv4.conf.IFNAME.forwarding=1\""},
    {"sysctl of eth0 where the network is another container's",
     {.job = {.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}), .network_mode = "host"},
      .host.api_minor = 48},
     {{HC "Sysctls", "{\"net.ipv4.conf.eth0.forwarding\":\"1\"}"}, {"NetworkingConfig"}}},
    {"mac_address with dots",
     {.job.mac_address = "0268.b329.da98"},
     {{"MacAddress", "\"0268.b329.da98\""}}},
    {"mac_address too short",
     {.job.mac_address = "02:68:b3:29:da"},
     .error = "invalid mac_address: \"02:68:b3:29:da\""},
    {"mac_address with mixed separators",
     {.job.mac_address = "02:68-b3:29:da:98"},
     .error = "invalid mac_address"},
    {"mac_address with an extra colon",
     {.job.mac_address = "02:68:b3:29:da:98:"},
     .error = "invalid mac_address"},
    {"mac_address of one letter", {.job.mac_address = "0"}, .error = "invalid mac_address"},
    {"dns of the job",
     {.job = {.dns_servers = LIST("1.1.1.1", "nonsense", "fd00::1"),
              .dns_search_domains = LIST("a.b"),
              .dns_options = LIST("ndots:1")}},
     {{HC "Dns", "[\"1.1.1.1\",\"fd00::1\"]"},
      {HC "DnsSearch", "[\"a.b\"]"},
      {HC "DnsOptions", "[\"ndots:1\"]"}}},
    {"extra_hosts", {.job.extra_hosts = LIST("a:1.2.3.4")}, {{HC "ExtraHosts", "[\"a:1.2.3.4\"]"}}},
};

TABLE_TEST(network_rows)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_build__network_rows),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup_alloc, teardown_alloc);
}
