/* SPDX-License-Identifier: MPL-2.0 */
/* Which containers of an allocation can swap Nomad's folders: rows of Docker's list of containers,
 * against the folder of a real allocation. Also: which folders are then kept open instead of being
 * sent by name. */
#include "unit/create/test_create.h"

#include "src/create/create_steps.h"

#define ALL CREATE_OWN_ALL
#define SHARED CREATE_OWN_IN_SHARED
#define TASK CREATE_OWN_IN_TASK

/* ---- Docker's list ---- */

/* "@" is the allocation's folder, "%" is the driver's folder below /run. */
static char *source_text(const char *text) {
    char *out = NULL;
    const char *root_of = text[0] == '@' ? alloc_dir : text[0] == '%' ? root : "";
    assert_true(asprintf(&out, "%s%s%s", root_of, text[0] == '%' ? "/run" : "",
                         text + (text[0] == '@' || text[0] == '%')) >= 0);
    return out;
}

static json_t *container(const char *const *sources, bool unconfined) {
    json_t *mounts = json_array();
    for (; *sources; sources++) {
        AUTO_FREE char *source = source_text(*sources);
        json_array_append_new(mounts, json_pack("{s:s,s:s}", "Type", "bind", "Source", source));
    }
    json_t *labels = json_object();
    if (unconfined)
        json_object_set_new(labels, LABEL_UNCONFINED, json_string("true"));
    return json_pack("{s:s,s:o,s:o}", "Id", "c", "Mounts", mounts, "Labels", labels);
}

#define USUAL "@/alloc", "@/alloc/logs", "@/other/local", "@/other/secrets"

static const struct {
    const char *name, *sources[8];
    bool unconfined;
    unsigned reach;
} rows[] = {
    {"usual", {USUAL}, false, 0},
    {"usual, with the files", {USUAL, "@/hosts", "@/other/resolv.conf"}, false, 0},
    {"usual, held", {"%/x/alloc", "%/x/logs", "%/x/local", "%/x/secrets", "%/x/hosts"}, false, 0},
    {"none", {NULL}, false, 0},
    {"a folder of the host", {USUAL, "/srv/data"}, false, 0},
    {"a neighbour's folder", {USUAL, "@x"}, false, 0},
    {"the allocation", {USUAL, "@"}, false, ALL},
    {"above the allocation", {USUAL, "/tmp"}, false, ALL},
    {"the host", {USUAL, "/"}, false, ALL},
    {"a task's folder, by name", {USUAL, "@/web"}, false, ALL},
    {"anything by name", {USUAL, "@/alloc/data"}, false, ALL},
    {"below local, by name", {USUAL, "@/other/local/x"}, false, ALL},
    {"local of no task", {USUAL, "@/alloc/local"}, false, ALL},
    {"no alloc/logs: an older driver", {"@/alloc", "@/other/local"}, false, SHARED},
    {"alloc twice", {USUAL, "@/alloc"}, false, SHARED},
    {"unconfined", {USUAL}, true, SHARED},
    {"unconfined, held", {"%/x/alloc", "%/x/logs"}, true, SHARED},
    {"unconfined, without alloc", {"@/other/local"}, true, 0},
    {"held: the allocation", {USUAL, "%/x/0-a1"}, false, ALL},
    {"held: alloc", {USUAL, "%/x/0-alloc"}, false, SHARED},
    {"held: this task's folder", {USUAL, "%/x/0-web"}, false, TASK},
    {"held: this task's folder and alloc", {"%/x/0-web", "%/x/1-alloc"}, false, TASK | SHARED},
    {"held: local", {USUAL, "%/x/0-local"}, false, 0},
    {"held: another folder", {USUAL, "%/x/0-outside"}, false, 0},
    {"held, and removed", {USUAL, "%/x/7-gone"}, false, ALL},
};

/* Links take the place of the mount points. */
static void make_mount_points(void) {
    make_dir("run");
    make_dir("run/x");
    make_link("../../a1", "run/x/0-a1");
    make_link("../../a1/alloc", "run/x/0-alloc");
    make_link("../../a1/alloc", "run/x/1-alloc");
    make_link("../../a1/web", "run/x/0-web");
    make_link("../../a1/web/local", "run/x/0-local");
    make_link("../../outside", "run/x/0-outside");
}

static bool is_movable(void *ctx, const char *id) {
    (void)ctx;
    return strcmp(id, "movable") == 0;
}

static unsigned reach_of(json_t *list_taken) {
    AUTO_JSON json_t *list = list_taken;
    struct task_config task = {.alloc_dir = alloc_dir, .name = (char *)"web"};
    char run_dir[96];
    snprintf(run_dir, sizeof(run_dir), "%s/run", root);
    return create_reach_find(list, &task, run_dir, is_movable, NULL);
}

static void test_reach__table(void **state) {
    (void)state;
    make_mount_points();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned reach = reach_of(json_pack("[o]", container(rows[i].sources, rows[i].unconfined)));
        if (reach != rows[i].reach)
            fail_msg("%s: %u, want %u", rows[i].name, reach, rows[i].reach);
    }
}

static void test_reach__several_containers__all_count(void **state) {
    (void)state;
    make_mount_points();
    static const char *const usual[] = {USUAL, NULL};
    static const char *const web[] = {USUAL, "%/x/0-web", NULL};
    static const char *const old[] = {"@/alloc", NULL};
    assert_int_equal(reach_of(json_array()), 0);
    assert_int_equal(reach_of(json_pack("[o,o,o]", container(web, false), container(old, false),
                                        container(usual, false))),
                     TASK | SHARED);
}

static void test_reach__logs_over_another_folder__counts_as_reached(void **state) {
    (void)state;
    static const char *const usual[] = {USUAL, NULL}, *const no_alloc[] = {"@/other/local", NULL};
    static const char *const ids[] = {"movable", NULL};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        json_t *c = container(usual, false), *d = container(no_alloc, false);
        if (ids[i]) {
            json_object_set_new(c, "Id", json_string(ids[i]));
            json_object_set_new(d, "Id", json_string(ids[i]));
        } else {
            json_object_del(c, "Id");
            json_object_del(d, "Id");
        }
        assert_int_equal(reach_of(json_pack("[o]", c)), SHARED);
        assert_int_equal(reach_of(json_pack("[o]", d)), 0);
    }
}

static void test_reach__entry_without_mounts__counts_as_reached(void **state) {
    (void)state;
    assert_int_equal(reach_of(json_pack("[{s:s}]", "Id", "x")), ALL);
    assert_int_equal(reach_of(json_pack("[{s:[{s:s}]}]", "Mounts", "Type", "bind")), ALL);
    assert_int_equal(
        reach_of(json_pack("[{s:[{s:s,s:s}]}]", "Mounts", "Type", "volume", "Source", alloc_dir)),
        0);
}

/* A folder that a container mounts was moved to the place of the task's folder. */
static void test_reach__folder_moved_below_the_mount__found(void **state) {
    (void)state;
    char from[256], to[256], away[256];
    static const char *const data[] = {USUAL, "%/x/0-data", NULL};
    make_mount_points();
    make_dir("a1/alloc/data");
    snprintf(from, sizeof(from), "%s/alloc/data", alloc_dir);
    snprintf(to, sizeof(to), "%s/web", alloc_dir);
    snprintf(away, sizeof(away), "%s/away", alloc_dir);
    make_link("../../a1/web", "run/x/0-data"); /* a mount moves with its folder */
    assert_int_equal(rename(to, away), 0);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(reach_of(json_pack("[o]", container(data, false))), TASK);
}

/* ---- The request's own container, and folders that are kept open ---- */

static void build(const struct input *given, unsigned hold, json_t **ret,
                  struct create_sources *ret_sources) {
    struct input in = *given;
    struct err err = {0};
    in.host.sources_dir = "/run/x/web-a1";
    in.host.hold = hold;
    input_complete(&in);
    if (create_build(&in.task, &in.job, &in.plugin, &in.host, ret, ret_sources, &err) < 0)
        fail_msg("%s", err.text);
}

static const struct {
    const char *name;
    char *volume, *option, *cap;
    bool privileged, reaches;
} own_rows[] = {
    {"nothing", NULL, NULL, NULL, false, false},
    {"local", "local:/x", NULL, NULL, false, false},
    {"below alloc", "../alloc/data:/x", NULL, NULL, false, false},
    {"a file", "local/f:/x", NULL, NULL, false, false},
    {"the allocation", "../:/x", NULL, NULL, false, true},
    {"the allocation, read-only", "..:/x:ro", NULL, NULL, false, true},
    {"the allocation by a link", "local/up:/x", NULL, NULL, false, true},
    {"alloc", "../alloc:/x", NULL, NULL, false, true},
    {"its own folder", ".:/x", NULL, NULL, false, true},
    {"a sibling's folder", "../other:/x", NULL, NULL, false, true},
    {"no-new-privileges", NULL, "no-new-privileges", NULL, false, false},
    {"no-new-privileges:true", NULL, "no-new-privileges:true", NULL, false, false},
    {"seccomp", NULL, "seccomp=unconfined", NULL, false, true},
    {"apparmor", NULL, "apparmor=unconfined", NULL, false, true},
    {"a capability", NULL, NULL, "net_admin", false, false},
    {"sys_admin", NULL, NULL, " CAP_Sys_Admin ", false, true},
    {"all", NULL, NULL, "all", false, true},
    {"privileged", NULL, NULL, NULL, true, true},
};

static void test_build__reaches__table(void **state) {
    (void)state;
    static char *every[] = {"all"};
    make_file("a1/web/local/f", "x");
    make_link("../..", "a1/web/local/up");
    for (size_t i = 0; i < ARRAY_LEN(own_rows); i++) {
        char *volume = own_rows[i].volume, *option = own_rows[i].option, *cap = own_rows[i].cap;
        struct input in = {.job.privileged = own_rows[i].privileged,
                           .plugin = {.allow_privileged = true, .allow_caps = {every, 1}}};
        in.job.volumes = (struct strv){&volume, volume ? 1 : 0};
        in.job.security_opt = (struct strv){&option, option ? 1 : 0};
        in.job.cap_add = (struct strv){&cap, cap ? 1 : 0};
        AUTO_JSON json_t *body = NULL;
        struct create_sources sources = {0};
        build(&in, 0, &body, &sources);
        if (sources.reaches != own_rows[i].reaches)
            fail_msg("%s: %d", own_rows[i].name, sources.reaches);
        json_t *label = value_at(body, "Labels>" LABEL_UNCONFINED);
        if (!label != !(own_rows[i].reaches && !volume))
            fail_msg("%s: the label", own_rows[i].name);
        create_sources_done(&sources);
    }
}

#define NET                                                                                        \
    .task.network = {.present = true,                                                              \
                     .mode = NET_GROUP,                                                            \
                     .hosts_present = true,                                                        \
                     .hosts_hostname = "web-1",                                                    \
                     .hosts_address = "10.9.9.9"},                                                 \
    .task.dns = {.present = true}

static const struct {
    unsigned hold;
    const char *sources[6]; /* alloc, local, secrets, logs, hosts, resolv.conf */
    size_t held;
} hold_rows[] = {
    {0,
     {"@/alloc", "@/web/local", "@/web/secrets", "@/alloc/logs", "@/hosts", "@/web/resolv.conf"},
     0},
    {SHARED,
     {"@/alloc", "@/web/local", "@/web/secrets", "/run/x/web-a1/logs", "@/hosts",
      "@/web/resolv.conf"},
     1},
    {TASK,
     {"@/alloc", "/run/x/web-a1/local", "/run/x/web-a1/secrets", "@/alloc/logs", "@/hosts",
      "/run/x/web-a1/resolv.conf"},
     3},
    {ALL,
     {"/run/x/web-a1/alloc", "/run/x/web-a1/local", "/run/x/web-a1/secrets", "/run/x/web-a1/logs",
      "/run/x/web-a1/hosts", "/run/x/web-a1/resolv.conf"},
     6},
};

static void test_build__hold__mount_points_instead_of_names(void **state) {
    (void)state;
    static const char *const targets[] = {"/alloc", "/local", "/secrets", "/alloc/logs:ro"};
    for (size_t i = 0; i < ARRAY_LEN(hold_rows); i++) {
        struct input in = {NET};
        AUTO_JSON json_t *body = NULL;
        struct create_sources sources = {0};
        struct err err = {0};
        build(&in, hold_rows[i].hold, &body, &sources);
        for (size_t k = 0; k < 6; k++) {
            char at[64], want[128];
            snprintf(at, sizeof(at),
                     k < 4 ? "HostConfig>Binds>%zu" : "HostConfig>Mounts>%zu>Source",
                     k < 4 ? k : k - 4);
            snprintf(want, sizeof(want), "\"%s%s%s\"", hold_rows[i].sources[k], k < 4 ? ":" : "",
                     k < 4 ? targets[k] : "");
            assert_value("source", body, at, want);
        }
        assert_int_equal(sources.n, hold_rows[i].held);
        assert_int_equal(sources.n_sent, 6 - hold_rows[i].held);
        assert_int_equal(create_own_check_sent(alloc_dir, &sources, &err), 0);
        create_sources_done(&sources);
    }
}

/* A name that was checked leads to another place when the request is sent. */
static void test_sent_check__swapped__refused(void **state) {
    (void)state;
    static const struct {
        const char *path, *text;
    } swaps[] = {{"alloc", "folder"},        {"web", "folder"}, {"web/local", "folder"},
                 {"web/secrets", "folder"},  {"hosts", "file"}, {"alloc/logs", "folder"},
                 {"web/resolv.conf", "file"}};
    for (size_t i = 0; i < ARRAY_LEN(swaps); i++) {
        struct input in = {NET};
        AUTO_JSON json_t *body = NULL;
        struct create_sources sources = {0};
        char from[256], to[256], below[64];
        struct err err = {0}, removed = {0};
        build(&in, 0, &body, &sources);
        snprintf(from, sizeof(from), "%s/%s", alloc_dir, swaps[i].path);
        snprintf(to, sizeof(to), "%s/away", alloc_dir);
        assert_int_equal(rename(from, to), 0);
        if (create_own_check_sent(alloc_dir, &sources, &removed) != -ENOENT)
            fail_msg("%s: removed: %s", swaps[i].path, removed.text);
        snprintf(below, sizeof(below), "a1/%s", swaps[i].path);
        make_link("/", below);
        if (create_own_check_sent(alloc_dir, &sources, &err) != -EACCES ||
            !strstr(err.text, "is not as Nomad made it: it is a symlink") ||
            !strstr(err.text, swaps[i].text))
            fail_msg("%s: %s", swaps[i].path, err.text);
        create_sources_done(&sources);
        assert_int_equal(remove(from), 0);
        assert_int_equal(rename(to, from), 0);
    }
}

static int setup(void **state) {
    int r = setup_alloc(state);
    make_dir("a1/other");
    make_dir("a1/other/local");
    return r;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown_alloc)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(test_reach__table),
        TEST(test_reach__several_containers__all_count),
        TEST(test_reach__logs_over_another_folder__counts_as_reached),
        TEST(test_reach__entry_without_mounts__counts_as_reached),
        TEST(test_reach__folder_moved_below_the_mount__found),
        TEST(test_build__reaches__table),
        TEST(test_build__hold__mount_points_instead_of_names),
        TEST(test_sent_check__swapped__refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
