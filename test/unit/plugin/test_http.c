/* SPDX-License-Identifier: MPL-2.0 */
/* HTTP requests that arrive whole or in parts, and requests that are not valid. */
#include "plugin/http.h"
#include "unit/cm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    int r;
    enum http_method method;
    const char *path, *host, *accept;
} requests[] = {
    {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9103\r\n\r\n", 0, HTTP_GET, "/metrics",
     "127.0.0.1:9103", ""},
    {"HEAD / HTTP/1.1\r\nACCEPT:  text/plain \r\nhost:localhost\r\n\r\n", 0, HTTP_HEAD, "/",
     "localhost", "text/plain"},
    {"GET /metrics?name[]=a&b=/c HTTP/1.1\r\n\r\n", 0, HTTP_GET, "/metrics", NULL, ""},
    {"GET /metrics#x HTTP/1.0\n\n", 0, HTTP_GET, "/metrics", NULL, ""},
    {"GET http://localhost:1/metrics?q HTTP/1.1\r\n\r\n", 0, HTTP_GET, "/metrics", NULL, ""},
    {"GET http://localhost HTTP/1.1\r\n\r\n", 0, HTTP_GET, "/", NULL, ""},
    {"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 0, HTTP_OTHER, "/", NULL, ""},
    {"GETTY / HTTP/1.1\r\n\r\n", 0, HTTP_OTHER, "/", NULL, ""},
    {"", -EAGAIN, 0, NULL, NULL, NULL},
    {"GET / HTTP/1.1\r\nHost: x\r\n", -EAGAIN, 0, NULL, NULL, NULL},
    {"\r\n\r\n", -EBADMSG, 0, NULL, NULL, NULL},
    {"GET /\r\n\r\n", -EBADMSG, 0, NULL, NULL, NULL},
    {"GET / HTTP/2.0\r\n\r\n", -EBADMSG, 0, NULL, NULL, NULL},
    {"GET / HTTP/1.1\r\nno colon\r\n\r\n", -EBADMSG, 0, NULL, NULL, NULL},
    {"\x16\x03\x01\x02\n\n", -EBADMSG, 0, NULL, NULL, NULL}, /* a TLS client */
};

static void test_parse(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct http_request got;
        char *text = strdup(requests[i].text);
        assert_non_null(text);
        int r = http_parse(text, &got);
        if (r != requests[i].r)
            fail_msg("%s: %d", requests[i].text, r);
        if (r == 0) {
            assert_int_equal(got.method, requests[i].method);
            assert_string_equal(got.path, requests[i].path);
            assert_string_equal(got.accept, requests[i].accept);
            assert_int_equal(got.host != NULL, requests[i].host != NULL);
            if (got.host)
                assert_string_equal(got.host, requests[i].host);
        } else if (r == -EAGAIN) {
            assert_string_equal(text, requests[i].text);
        }
        free(text);
    }
}

static void test_host__local_names_alone(void **state) {
    static const char *const local[] = {"localhost", "LOCALHOST:80", "127.0.0.1:9103",
                                        "127.0.0.1", "127.1.2.3:80", "[::1]",
                                        "[::1]:9103"};
    static const char *const other[] = {"",
                                        "evil.example",
                                        "localhost.evil.example",
                                        "localhost:80.evil.example",
                                        "127.0.0.1.evil.example",
                                        "127.0.0.1:80a",
                                        "10.0.0.1",
                                        "[::2]",
                                        "[::1].evil.example"};
    (void)state;
    assert_true(http_host_is_local(NULL));
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        if (!http_host_is_local(local[i]))
            fail_msg("%s is local", local[i]);
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        if (http_host_is_local(other[i]))
            fail_msg("%s is not local", other[i]);
}

static void test_accept(void **state) {
    (void)state;
    assert_false(http_wants_openmetrics(""));
    assert_false(http_wants_openmetrics("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
    assert_true(http_wants_openmetrics("application/openmetrics-text;version=1.0.0;q=0.5,*/*"));
}

static void test_reply__head_has_length_without_body(void **state) {
    (void)state;
    char *full =
        http_reply(&(struct http_reply){.status = 200, .type = "text/plain", .body = "abc\n"});
    char *head = http_reply(&(struct http_reply){.status = 405,
                                                 .type = "text/plain",
                                                 .body = "abc\n",
                                                 .fields = "Allow: GET, HEAD\r\n",
                                                 .head_only = true});
    assert_non_null(strstr(full, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(full, "\r\nContent-Length: 4\r\n"));
    assert_string_equal(strstr(full, "\r\n\r\n"), "\r\n\r\nabc\n");
    assert_non_null(strstr(head, "HTTP/1.1 405 Method Not Allowed\r\n"));
    assert_non_null(strstr(head, "\r\nContent-Length: 4\r\n"));
    assert_non_null(strstr(head, "\r\nAllow: GET, HEAD\r\n"));
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
    free(full);
    free(head);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_host__local_names_alone),
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_reply__head_has_length_without_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
