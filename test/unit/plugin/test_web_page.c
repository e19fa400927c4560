/* SPDX-License-Identifier: MPL-2.0 */
/* The page for the browser: its contents. Also: no text of a job becomes markup. */
#include "plugin/openmetrics.h"
#include "plugin/web_page.h"
#include "unit/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000000000000
#define EVIL "</td><script>alert(1)</script>\" onload='x' &amp; \x1b[31m\xc2\x9b"

/* Returns the page. Owner: caller, free(). */
static char *render(const char *json, const json_t *check) {
    struct buf out;
    json_t *doc = json_loads(json, 0, NULL);
    assert_non_null(doc);
    buf_init(&out, 1u << 20);
    assert_int_equal(web_page_put(&out, doc, check, NOW, "0123abcd"), 0);
    json_decref(doc);
    return buf_take(&out);
}

static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part) {
    if (strstr(text, part))
        fail_msg("\"%s\" is in:\n%s", part, text);
}

static const char node[] =
    "{\"driver\":{\"name\":\"docker\",\"version\":\"1.2.3\",\"pid\":42},"
    "\"machine\":{\"online\":\"0-2,4-7\",\"present\":\"0-7\",\"isolated\":\"5\","
    "\"cores\":[\"0,4\",\"1,5\",\"2,6\",\"7\"],\"nodes\":[{\"id\":0,\"cpus\":\"0-1,4-5\"},"
    "{\"id\":1,\"cpus\":\"2,6-7\"}]},"
    "\"pin\":{\"host\":{\"disabled\":\"\"},\"tasks\":["
    "{\"task_id\":\"i/web/1\",\"alloc_id\":\"3f7d2c1a-9b1e\",\"task\":\"web\",\"kind\":\"cores\","
    "\"wanted\":\"4\",\"actual\":\"4\",\"state\":\"pinned\",\"why\":\"\",\"corrections\":2,"
    "\"history\":[{\"time_ns\":1699999990000000000,\"cause\":\"overwritten\"}]},"
    "{\"task_id\":\"i/job/1\",\"alloc_id\":\"8aaa\",\"task\":\"job\",\"kind\":\"shared\","
    "\"wanted\":\"0-1\",\"actual\":\"0-2\",\"state\":\"failed\",\"why\":\"No such file\","
    "\"corrections\":0,\"history\":[]}]},"
    "\"log_pump\":{\"sum\":{\"lag_bytes\":2048},\"tasks\":[{\"task\":\"i/web/1\",\"way\":\"file\","
    "\"lag_bytes\":2048,\"lag_seconds\":3.2,\"bytes_dropped\":0}]}}";

static void test_put__cpus_by_what_they_are(void **state) {
    (void)state;
    char *page = render(node, NULL);
    assert_has(page, "<h3>NUMA node 0</h3>");
    /* Sibling CPUs are shown in one core. */
    assert_has(page, "<span class=core><span class=\"cpu pool\" title=\"CPU 0: shared\">0</span>"
                     "<span class=\"cpu own t0\" title=\"CPU 4: web\">4</span></span>");
    assert_has(page, "title=\"CPU 5: in no task's set, isolated at boot\">5<");
    assert_has(page,
               "<span class=\"cpu free foreign\" title=\"CPU 2: in no task's set, a task runs "
               "here that should not\">2<");
    /* sysfs lists an offline CPU in no node. */
    assert_has(page, "<span class=\"cpu free off\" title=\"CPU 3: in no task's set, offline\">3<");
    free(page);
}

static void test_put__tasks(void **state) {
    (void)state;
    char *page = render(node, NULL);
    assert_has(page, "<b class=\"bad\">1 of 2</b><span>tasks on their cores");
    assert_has(page, "<span class=\"state ok\">pinned</span>");
    assert_has(page, "<span class=\"state bad\">failed</span> <span class=dim>No such file</span>");
    assert_has(page, "overwritten, 10 s ago");
    assert_has(page, "<title>1 in the last hour</title>");
    assert_has(page, "file, 2.0 KiB and 3 s behind");
    assert_has(page, "paddock check has not answered yet");
    free(page);
}

static void test_put__check(void **state) {
    (void)state;
    json_t *check = json_pack("{s:I,s:[{s:s,s:s,s:s}]}", "time_ns", (json_int_t)NOW, "results",
                              "verdict", "warning", "name", "inotify", "text", "<few>");
    char *page = render(node, check);
    assert_has(page, "<span class=\"state warn\">warning</span>");
    assert_has(page, "&lt;few&gt;");
    json_decref(check);
    free(page);
}

/* Each text of the document is hostile in turn. */
static void test_put__hostile_texts__stay_text(void **state) {
    static const char *const of_task[] = {"task_id", "alloc_id", "task",  "kind",
                                          "wanted",  "actual",   "state", "why"};
    (void)state;
    json_t *doc = json_loads(node, 0, NULL);
    for (size_t i = 0; i < sizeof(of_task) / sizeof(of_task[0]); i++)
        json_object_set_new(
            json_array_get(json_object_get(json_object_get(doc, "pin"), "tasks"), 0), of_task[i],
            json_string(EVIL));
    json_object_set_new(json_object_get(doc, "driver"), "name", json_string(EVIL));
    json_object_set_new(json_object_get(doc, "driver"), "version", json_string(EVIL));
    json_object_set_new(json_object_get(json_object_get(doc, "pin"), "host"), "disabled",
                        json_string(EVIL));
    json_object_set_new(json_object_get(doc, "log_pump"), "error", json_string(EVIL));
    json_t *check =
        json_pack("{s:[{s:s,s:s,s:s}]}", "results", "verdict", EVIL, "name", EVIL, "text", EVIL);
    char *json = json_dumps(doc, 0), *page = render(json, check);
    assert_has(page, "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; "
                     "&amp;amp; ?[31m?");
    assert_lacks(page, "<script");
    assert_lacks(page, "\" onload");
    assert_lacks(page, "\x1b");
    assert_lacks(page, "\xc2\x9b");
    json_decref(doc);
    json_decref(check);
    free(json);
    free(page);
}

static void test_put__odd_documents__a_page(void **state) {
    static const char *const odd[] = {
        "{}", "{\"pin\":[],\"machine\":3,\"log_pump\":\"x\"}",
        "{\"machine\":{\"online\":\"9999999\",\"cores\":[1,\"x\"],\"nodes\":[2,{\"id\":\"x\"}]}}",
        "{\"pin\":{\"tasks\":[1,{},{\"history\":[1],\"corrections\":\"x\"}]}}"};
    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        char *page = render(odd[i], NULL);
        assert_has(page, "</main></body></html>");
        free(page);
    }
}

static void test_openmetrics(void **state) {
    (void)state;
    char *text =
        openmetrics_from("# HELP a_total count\n# TYPE a_total counter\na_total{x=\"1\"} 3\n"
                         "# HELP total now\n# TYPE total gauge\ntotal 1\n");
    assert_string_equal(text, "# HELP a count\n# TYPE a counter\na_total{x=\"1\"} 3\n"
                              "# HELP total now\n# TYPE total gauge\ntotal 1\n# EOF\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put__cpus_by_what_they_are),
        cmocka_unit_test(test_put__tasks),
        cmocka_unit_test(test_put__check),
        cmocka_unit_test(test_put__hostile_texts__stay_text),
        cmocka_unit_test(test_put__odd_documents__a_page),
        cmocka_unit_test(test_openmetrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
