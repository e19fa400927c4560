/* SPDX-License-Identifier: MPL-2.0 */
/* Files that the create request writes for the container: /etc/resolv.conf and /etc/hosts. Also:
 * the request when out of memory. */
#include "unit/create/test_create.h"

#include "src/create/create_steps.h"

/* ---- /etc/resolv.conf ---- */

#define DNS_MOUNT                                                                                  \
    "[{\"Type\":\"bind\",\"Target\":\"/etc/resolv.conf\",\"Source\":\"@/web/resolv.conf\","        \
    "\"ReadOnly\":true,\"BindOptions\":{\"Propagation\":\"private\"}}]"

static void test_dns__given__written_and_mounted(void **state) {
    (void)state;
    make_file("outside/victim", "keep");
    make_link("../../outside/victim", "a1/web/resolv.conf");
    struct input in = {.task.dns = {.present = true, .servers = LIST("1.1.1.1", "2.2.2.2")},
                       .job = {.dns_servers = LIST("9.9.9.9"), .dns_options = LIST("x")}};
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    assert_value("dns", body, "HostConfig>Mounts", DNS_MOUNT);
    assert_value("dns", body, "HostConfig>Dns", NULL);
    assert_value("dns", body, "HostConfig>DnsOptions", NULL);
    AUTO_FREE char *text = read_text("a1/web/resolv.conf");
    assert_string_equal(text, "search corp.example\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n"
                              "options ndots:2\n");
    AUTO_FREE char *victim = read_text("outside/victim");
    assert_string_equal(victim, "keep");
}

static void test_dns__empty__copy_of_the_system(void **state) {
    (void)state;
    struct input in = {.task.dns.present = true};
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    assert_value("dns", body, "HostConfig>Mounts", DNS_MOUNT);
    AUTO_FREE char *text = read_text("a1/web/resolv.conf");
    AUTO_FREE char *system = read_text("system-resolv.conf");
    assert_string_equal(text, system);
}

static void test_dns__no_system_file__named(void **state) {
    (void)state;
    struct input in = {.task.dns.present = true, .host.resolv_conf = "/no/such/file"};
    input_assert_refused(&in, -ENOENT, "failed to build mount for resolv.conf: /no/such/file");
}

static const struct {
    const char *name, *system;
    struct task_dns dns;
    const char *text;
} resolv_rows[] = {
    {"searches of the task",
     "nameserver 1.1.1.1\nsearch a\n",
     {.searches = LIST("b", "c")},
     "search b c\nnameserver 1.1.1.1\n"},
    {"options of the task",
     "nameserver 1.1.1.1\noptions a\n",
     {.options = LIST("b:1", "c")},
     "nameserver 1.1.1.1\noptions b:1 c\n"},
    {"no search at all",
     "search a\n",
     {.servers = LIST("1.1.1.1"), .searches = LIST(".")},
     "nameserver 1.1.1.1\n"},
    {"comments and blanks",
     "#nameserver 9.9.9.9\n ; x\n\tnameserver\t1.1.1.1  # c\r\nnameservers 8.8.8.8\n",
     {.options = LIST("o")},
     "nameserver 1.1.1.1\noptions o\n"},
    {"the last line without a newline",
     "nameserver 1.1.1.1",
     {.options = LIST("o")},
     "nameserver 1.1.1.1\noptions o\n"},
};

static void test_create_dns_resolv_text__table(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(resolv_rows); i++) {
        AUTO_FREE char *text = NULL;
        int r = create_dns_resolv_text(&resolv_rows[i].dns, resolv_rows[i].system, &text);
        if (r < 0 || strcmp(text, resolv_rows[i].text) != 0)
            fail_msg("%s: %s", resolv_rows[i].name, text ? text : "NULL");
    }
}

static void test_create_dns_resolv_is_stub__only_the_stub(void **state) {
    (void)state;
    assert_true(create_dns_resolv_is_stub("# x\nnameserver 127.0.0.53\noptions edns0\n"));
    assert_false(create_dns_resolv_is_stub("nameserver 127.0.0.53\nnameserver 1.1.1.1\n"));
    assert_false(create_dns_resolv_is_stub("nameserver 127.0.0.1\n"));
    assert_false(create_dns_resolv_is_stub(""));
}

static void test_dns__too_long__named(void **state) {
    (void)state;
    AUTO_FREE char *search = calloc(1, (128u << 10) + 1);
    memset(search, 'x', 128u << 10);
    struct input in = {.task.dns = {.present = true, .searches = LIST(search)}};
    input_assert_refused(&in, -EINVAL, "dns: the generated resolv.conf has more than 131072 bytes");
}

/* ---- /etc/hosts ---- */

#define GROUP_NET                                                                                  \
    .task.network = {.present = true,                                                              \
                     .mode = NET_GROUP,                                                            \
                     .path = "/n",                                                                 \
                     .hosts_present = true,                                                        \
                     .hosts_hostname = "web-1",                                                    \
                     .hosts_address = "10.9.9.9"}

static void test_hosts__group__written_once_and_mounted(void **state) {
    (void)state;
    struct input in = {GROUP_NET, .job.extra_hosts = LIST("db:10.0.0.1", "six:fd00::1")};
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    assert_value("hosts", body, "HostConfig>Mounts",
                 "[{\"Type\":\"bind\",\"Target\":\"/etc/hosts\",\"Source\":\"@/hosts\","
                 "\"BindOptions\":{\"Propagation\":\"private\"}}]");
    assert_value("hosts", body, "HostConfig>ExtraHosts", NULL);
    AUTO_FREE char *text = read_text("a1/hosts");
    assert_non_null(strstr(text, "127.0.0.1 localhost\n"));
    assert_non_null(strstr(text, "\n10.9.9.9 web-1\n"));
    assert_non_null(strstr(text, "\n10.0.0.1 db\n"));
    assert_non_null(strstr(text, "\nfd00::1 six\n"));

    make_file("a1/hosts", "changed by a task\n");
    in.job.extra_hosts.n = 0;
    AUTO_JSON json_t *again = NULL;
    input_assert_builds(&in, &again);
    AUTO_FREE char *kept = read_text("a1/hosts");
    assert_string_equal(kept, "changed by a task\n");
}

/* Another start has written the file: of a second task of the group, or with another address. */
static void test_hosts__extra_hosts_of_another_start__in_a_file_of_the_task(void **state) {
    (void)state;
    struct input first = {GROUP_NET, .job.extra_hosts = LIST("db:10.0.0.1", "x:10.0.0.9")};
    struct input second = {GROUP_NET, .job.extra_hosts = LIST("db:10.0.0.2", "y:fd00::1")};
    struct input third = {GROUP_NET};
    json_t *body[4] = {0};
    make_dir("a1/side");
    make_dir("a1/side/local");
    make_dir("a1/side/secrets");
    second.task.name = "side";
    input_assert_builds(&first, &body[0]);
    input_assert_builds(&second, &body[1]);
    assert_value("side", body[1], "HostConfig>Mounts",
                 "[{\"Type\":\"bind\",\"Target\":\"/etc/hosts\",\"Source\":\"@/side/hosts\","
                 "\"BindOptions\":{\"Propagation\":\"private\"}}]");
    AUTO_FREE char *text = read_text("a1/side/hosts");
    assert_non_null(strstr(text, "\n10.0.0.2 db\nfd00::1 y\n"));
    assert_non_null(strstr(text, "\n10.9.9.9 web-1\n"));
    assert_true(strstr(text, "10.0.0.2 db") < strstr(text, "10.0.0.1 db"));

    input_assert_builds(&third, &body[2]);
    assert_value("none of its own", body[2], "HostConfig>Mounts>0>Source", "\"@/hosts\"");
    first.job.extra_hosts.v[1] = "x:10.0.0.8";
    input_assert_builds(&first, &body[3]);
    assert_value("restarted", body[3], "HostConfig>Mounts>0>Source", "\"@/web/hosts\"");
    AUTO_FREE char *again = read_text("a1/web/hosts");
    assert_non_null(strstr(again, "\n10.0.0.1 db\n10.0.0.8 x\n"));
    for (size_t i = 0; i < ARRAY_LEN(body); i++)
        json_decref(body[i]);
}

static void test_hosts__host_gateway__refused_with_a_reason(void **state) {
    (void)state;
    struct input in = {GROUP_NET, .job.extra_hosts = LIST("host.docker.internal:host-gateway")};
    input_assert_refused(&in, -EINVAL,
                         "extra_hosts \"host.docker.internal:host-gateway\": Docker knows no "
                         "host-gateway in the network of a group");
}

static void test_hosts__ipv6__written(void **state) {
    (void)state;
    struct input in = {GROUP_NET, .job.extra_hosts = LIST("db:fd00::1", "v4mapped:::ffff:1.2.3.4")};
    in.task.network.hosts_address = "fd00::9";
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    AUTO_FREE char *text = read_text("a1/hosts");
    assert_non_null(strstr(text, "\nfd00::9 web-1\n"));
    assert_non_null(strstr(text, "\nfd00::1 db\n"));
    assert_non_null(strstr(text, "\n::ffff:1.2.3.4 v4mapped\n"));
}

/* When the files are made, relative to the other checks (the table in create.c). */
static void test_order__mounts_hosts_dns_namespaces(void **state) {
    (void)state;
    struct job_mount wrong = {.type = "x", .target = "/t"};
    struct input in = {GROUP_NET, .job = {.extra_hosts = LIST("bad"), .pid_mode = "host"}};
    in.task.dns.present = true;
    in.host.resolv_conf = "/no/such/file";
    in.job.mounts = &wrong;
    in.job.n_mounts = 1;
    input_assert_refused(&in, -EINVAL, "mount type");
    in.job.n_mounts = 0;
    input_assert_refused(&in, -EINVAL, "hosts entry");
    in.job.extra_hosts.n = 0;
    input_assert_refused(&in, -ENOENT, "resolv.conf");
    in.host.resolv_conf = NULL;
    input_assert_refused(&in, -EACCES, "pid_mode");
}

static void test_hosts__mounts_in_order(void **state) {
    (void)state;
    struct job_mount tmpfs = {.type = "tmpfs", .target = "/t"};
    struct task_mount volume = {.task_path = "/v", .host_path = "/h"};
    struct input in = {GROUP_NET, .job = {.mounts = &tmpfs, .n_mounts = 1}};
    in.task.mounts = &volume;
    in.task.n_mounts = 1;
    in.task.dns.present = true;
    AUTO_JSON json_t *body = NULL;
    input_assert_builds(&in, &body);
    assert_value("order", body, "HostConfig>Mounts>0>Target", "\"/t\"");
    assert_value("order", body, "HostConfig>Mounts>1>Target", "\"/etc/hosts\"");
    assert_value("order", body, "HostConfig>Mounts>2>Target", "\"/etc/resolv.conf\"");
    assert_value("order", body, "HostConfig>Mounts>3>Target", "\"/v\"");
}

static void test_hosts__link_in_its_place__refused(void **state) {
    (void)state;
    make_link("/etc/shadow", "a1/hosts");
    struct input in = {GROUP_NET};
    input_assert_refused(&in, -EEXIST, "hosts: it is no regular file");
}

static void test_hosts__bad_entries__named(void **state) {
    (void)state;
    struct input in = {GROUP_NET, .job.extra_hosts = LIST("db")};
    input_assert_refused(&in, -EINVAL,
                         "failed to build mount for /etc/hosts: invalid hosts entry \"db\"");
    in = (struct input){GROUP_NET, .job.extra_hosts = LIST("db:1.2.3")};
    input_assert_refused(&in, -EINVAL, "invalid IP address \"db:1.2.3\"");
}

static void test_hosts__not_in_a_group__no_mount(void **state) {
    (void)state;
    struct input cases[] = {{GROUP_NET}, {GROUP_NET}, {GROUP_NET}, {GROUP_NET}};
    cases[0].job.network_mode = "bridge";
    cases[1].task.network.mode = NET_HOST;
    cases[2].task.network.hosts_present = false;
    cases[3].task.network.hosts_address = "";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_JSON json_t *body = NULL;
        cases[i].job.extra_hosts = (struct strv)LIST("db:1.2.3.4");
        input_assert_builds(&cases[i], &body);
        assert_value("no group", body, "HostConfig>Mounts", NULL);
        assert_value("no group", body, "HostConfig>ExtraHosts", "[\"db:1.2.3.4\"]");
    }
}

/* ---- Out of memory ---- */

static unsigned left; /* number of the allocation that fails */
static bool for_good; /* all later ones fail, too */

static void *scarce(size_t size) {
    if (left == 0 || --left == 0) {
        left = for_good ? 0 : UINT32_MAX;
        return NULL;
    }
    return malloc(size);
}

static void assert_survives(const struct input *in) {
    unsigned failed = 0;
    for (unsigned n = 1;; n++) {
        AUTO_JSON json_t *body = NULL;
        struct err err = {0};
        left = n;
        int r = input_build(in, &body, &err);
        if (r == 0)
            break;
        if (r != -ENOMEM || body)
            fail_msg("allocation %u: %d %s", n, r, err.text);
        failed++;
    }
    assert_true(failed > 200);
}

static void test_build__out_of_memory_for_json__enomem(void **state) {
    (void)state;
    struct job_mount mounts[] = {
        {.type = "bind", .source = "local", .target = "/b"},
        {.source = "v", .target = "/v", .volume_labels = PAIRS({"a", "b"})}};
    struct task_port port = {.label = "http", .value = 1, .to = 2};
    struct input in = {GROUP_NET};
    in.plugin.volumes_enabled = true;
    in.task.dns.present = true;
    in.task.resources.ports = &port;
    in.task.resources.n_ports = 1;
    in.task.network.path = "";
    in.job.mounts = mounts;
    in.job.n_mounts = ARRAY_LEN(mounts);
    in.job.ports = (struct strv)LIST("http");
    in.job.network_aliases = (struct strv)LIST("a");
    in.job.ulimit = (struct kvs)PAIRS({"nofile", "1"});
    in.job.cap_drop = (struct strv)LIST("chown");
    in.job.labels = (struct kvs)PAIRS({"a", "b"});
    in.job.healthchecks_disable = true;
    json_set_alloc_funcs(scarce, free);
    assert_survives(&in);
    for_good = true;
    assert_survives(&in);
    json_set_alloc_funcs(malloc, free);
}

int main(int argc, char **argv) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_alloc, teardown_alloc)
    const struct CMUnitTest tests[] = {
        TEST(test_dns__given__written_and_mounted),
        TEST(test_dns__empty__copy_of_the_system),
        TEST(test_dns__no_system_file__named),
        cmocka_unit_test(test_create_dns_resolv_text__table),
        cmocka_unit_test(test_create_dns_resolv_is_stub__only_the_stub),
        TEST(test_dns__too_long__named),
        TEST(test_hosts__group__written_once_and_mounted),
        TEST(test_hosts__extra_hosts_of_another_start__in_a_file_of_the_task),
        TEST(test_hosts__host_gateway__refused_with_a_reason),
        TEST(test_hosts__ipv6__written),
        TEST(test_order__mounts_hosts_dns_namespaces),
        TEST(test_hosts__mounts_in_order),
        TEST(test_hosts__link_in_its_place__refused),
        TEST(test_hosts__bad_entries__named),
        TEST(test_hosts__not_in_a_group__no_mount),
        TEST(test_build__out_of_memory_for_json__enomem),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
