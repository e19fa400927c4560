/* SPDX-License-Identifier: MPL-2.0 */
/* What a failed request to Docker means: an errno, a class and one line of text.
 *
 * A failure is an HTTP status with a body, or a result of curl. The same fault always gives the
 * same text, because the text becomes the node's health description. docker_transfer.c,
 * docker_multi.c and docker_stream.c call this file. */
#include "src/docker/docker_priv.h"

#include <string.h>

static int status_errno(int status) {
    switch (status) {
    case 400:
        return EINVAL;
    case 401:
    case 403:
        return EACCES;
    case 404:
        return ENOENT;
    case 409:
        return EEXIST;
    default:
        return status >= 500 && status <= 599 ? EIO : EPROTO;
    }
}

static enum err_class status_class(int status) {
    switch (status) {
    case 400:
        return ERR_INVALID;
    case 404:
        return ERR_NOT_FOUND;
    default:
        return ERR_PLAIN;
    }
}

/* Copies the start of a foreign text so that it fits on one line. */
static void clean_line(const char *text, char *out, size_t size) {
    size_t n = 0;
    for (; *text && n + 1 < size; text++)
        out[n++] = (unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text;
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

int docker_failure_of_status(int status, const struct buf *body, const char *method,
                             const char *path, struct err *err) {
    if ((status >= 200 && status <= 299) || status == 304)
        return 0;
    char why[128];
    AUTO_JSON json_t *j = json_value_parse(buf_text(body), body->len, why, sizeof(why));
    const char *message = json_value_text(j, "message");
    if (message[0])
        return err_set(err, status_class(status), status_errno(status), "%s", message);
    char cut[ERR_TEXT_MAX]; /* the body was too long to keep all of it */
    if (json_value_cut_text(buf_text(body), body->len, "message", cut, sizeof(cut)))
        return err_set(err, status_class(status), status_errno(status), "%s", cut);
    char start[256];
    clean_line(buf_text(body), start, sizeof(start));
    return err_set(err, status_class(status), status_errno(status),
                   "Docker answered %d to %s %.200s%s%s", status, method, path,
                   start[0] ? ": " : "", start);
}

/* Returns the reason of a failed connection. curl's own text is not used, because it contains the
 * elapsed milliseconds, and a port even for a Unix socket. */
static const char *connect_reason(CURL *easy, CURLcode code) {
    long os = 0;
    if (code == CURLE_COULDNT_CONNECT &&
        curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os) == CURLE_OK && os > 0)
        return strerror((int)os);
    return curl_easy_strerror(code);
}

/* When the peer closes the connection during the handshake, OpenSSL's and curl's text depends on
 * the timing. */
static const char *tls_reason(CURLcode code, const char *detail) {
    if (!detail || !detail[0])
        return curl_easy_strerror(code);
    bool lost = code == CURLE_SSL_CONNECT_ERROR &&
                (strstr(detail, "SYSCALL") || strstr(detail, "failure: ") ||
                 strstr(detail, "unexpected eof"));
    return lost ? "the connection was lost during the TLS handshake" : detail;
}

int docker_failure_of_curl(const struct docker *d, CURL *easy, CURLcode code, const char *detail,
                           struct err *err) {
    const char *where = d->socket_path ? d->socket_path : d->base;
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OUT_OF_MEMORY:
        return err_oom(err);
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(err, ERR_PLAIN, ENOTCONN, "cannot connect to Docker at %s: %s", where,
                       connect_reason(easy, code));
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(err, ERR_PLAIN, ENOTCONN, "cannot connect to Docker at %s: %s", where,
                       tls_reason(code, detail));
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return err_set(err, ERR_PLAIN, ENOTCONN, "the connection to Docker at %s was lost", where);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, ERR_DEADLINE, ETIMEDOUT, "Docker at %s did not answer in time", where);
    default:
        return err_set(err, ERR_PLAIN, EPROTO, "Docker at %s gave no valid answer: %s", where,
                       curl_easy_strerror(code));
    }
}
