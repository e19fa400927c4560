/* SPDX-License-Identifier: MPL-2.0 */
/* Finds dockerd's endpoint and the version of its API to use. All other files of this folder
 * use it.
 *
 * Endpoint: the configured one, else DOCKER_HOST with DOCKER_CERT_PATH and DOCKER_TLS_VERIFY as
 * Docker's own client reads them, else the default socket. Version: the smaller one of the server's
 * and ours. /_ping is asked once; the answer is dropped when a connection is lost, because dockerd
 * may come back as another version. */
#include "src/docker/docker_priv.h"
#include "paddock/clock.h"
#include "paddock/parse.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define PEER_LIMIT_SEC 10 /* limit for a daemon that accepts no connection */
#define DEFAULT_ENDPOINT "unix:///var/run/docker.sock"

static const char *text_or(const char *text, const char *otherwise) {
    return text && text[0] ? text : otherwise;
}

static int set_text(char **dst, const char *text) {
    if (!text || !text[0])
        return 0;
    *dst = strdup(text);
    return *dst ? 0 : -ENOMEM;
}

/* Stores "scheme://host:port" in d->base. */
static int set_tcp(struct docker *d, const char *endpoint, const char *rest, struct err *err) {
    size_t len = strlen(rest);
    if (len > 0 && rest[len - 1] == '/')
        len--;
    if (len == 0 || memchr(rest, '/', len) || memchr(rest, '@', len))
        return err_set(err, ERR_INVALID, EINVAL, "endpoint \"%s\": expected HOST:PORT", endpoint);
    if (asprintf(&d->base, "%s://%.*s", d->tls ? "https" : "http", (int)len, rest) < 0) {
        d->base = NULL;
        return err_oom(err);
    }
    return 0;
}

static int set_endpoint(struct docker *d, const char *endpoint, struct err *err) {
    const char *rest = strstr(endpoint, "://");
    if (strncmp(endpoint, "unix://", 7) == 0) {
        if (endpoint[7] != '/')
            return err_set(err, ERR_INVALID, EINVAL, "endpoint \"%s\": not an absolute path",
                           endpoint);
        if (strlen(endpoint + 7) > 107) /* sun_path */
            return err_set(err, ERR_INVALID, EINVAL, "endpoint \"%s\": path too long", endpoint);
        d->socket_path = strdup(endpoint + 7);
        d->base = strdup("http://docker");
        d->tls = false;
        return d->socket_path && d->base ? 0 : err_oom(err);
    }
    if (strncmp(endpoint, "https://", 8) == 0)
        d->tls = true;
    else if (strncmp(endpoint, "tcp://", 6) != 0 && strncmp(endpoint, "http://", 7) != 0)
        return err_set(
            err, ERR_INVALID, EINVAL,
            "endpoint \"%s\": expected unix:///PATH, tcp://HOST:PORT or https://HOST:PORT",
            endpoint);
    return set_tcp(d, endpoint, rest + 3, err);
}

/* The same as Docker's client: a folder of certificates switches TLS on, DOCKER_TLS_VERIFY
 * the verification. */
static int set_tls_from_env(struct docker *d) {
    const char *dir = getenv("DOCKER_CERT_PATH");
    const char *verify = getenv("DOCKER_TLS_VERIFY");
    if (!dir || !dir[0])
        return 0;
    d->tls = true;
    d->verify = verify && verify[0];
    if (asprintf(&d->cert, "%s/cert.pem", dir) < 0)
        d->cert = NULL;
    if (asprintf(&d->key, "%s/key.pem", dir) < 0)
        d->key = NULL;
    if (asprintf(&d->ca, "%s/ca.pem", dir) < 0)
        d->ca = NULL;
    return d->cert && d->key && d->ca ? 0 : -ENOMEM;
}

static int set_options(struct docker *d, const struct docker_options *o, struct err *err) {
    d->timeout_us = o->timeout_us ? o->timeout_us : DOCKER_TIMEOUT_US;
    d->verify = true;
    if (o->endpoint && o->endpoint[0]) {
        if (set_text(&d->cert, o->tls_cert) < 0 || set_text(&d->key, o->tls_key) < 0 ||
            set_text(&d->ca, o->tls_ca) < 0)
            return err_oom(err);
        d->tls = d->cert || d->key || d->ca;
        return set_endpoint(d, o->endpoint, err);
    }
    if (set_tls_from_env(d) < 0)
        return err_oom(err);
    return set_endpoint(d, text_or(getenv("DOCKER_HOST"), DEFAULT_ENDPOINT), err);
}

int docker_metrics(const struct docker *d, struct buf *b) {
    const char *name = "paddock_docker_skipped_total";
    int r = docker_count_put(&d->counts, b);
    if (r == 0)
        r = metrics_family(b, name, "counter",
                           "Parts of dockerd's answers that could not be read and were left out.");
    if (r == 0)
        r = metrics_sample(b, name, "kind=\"event\"", (double)atomic_load(&d->skipped_events));
    return r < 0 ? r
                 : metrics_sample(b, name, "kind=\"container\"",
                                  (double)atomic_load(&d->skipped_items));
}

int docker_global_init(void) {
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM;
}

int docker_new(const struct docker_options *o, struct docker **ret, struct err *err) {
    struct docker *d = calloc(1, sizeof(*d));
    if (!d)
        return err_oom(err);
    pthread_mutex_init(&d->lock, NULL);
    int r = set_options(d, o, err);
    if (r < 0) {
        docker_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

void docker_free(struct docker *d) {
    if (!d)
        return;
    int keep = errno;
    for (unsigned i = 0; i < d->idle_count; i++)
        curl_multi_cleanup(d->idle[i]);
    pthread_mutex_destroy(&d->lock);
    free(d->base);
    free(d->socket_path);
    free(d->cert);
    free(d->key);
    free(d->ca);
    free(d);
    errno = keep;
}

int docker_peer(struct docker *d, pid_t *ret, struct err *err) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = PEER_LIMIT_SEC};
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (!d->socket_path)
        return err_set(err, ERR_PLAIN, EPROTONOSUPPORT, "%s is no Unix socket", d->base);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", d->socket_path);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return err_set(err, ERR_RECOVERABLE, ENOTCONN, "cannot connect to Docker at %s: %s",
                       d->socket_path, strerror(errno));
    *ret = peer.pid;
    return 0;
}

bool docker_has_socket(const struct docker *d) {
    return d->socket_path != NULL;
}

int docker_minor(struct docker *d) {
    pthread_mutex_lock(&d->lock);
    int minor = d->minor;
    pthread_mutex_unlock(&d->lock);
    return minor;
}

static void set_minor(struct docker *d, int minor) {
    pthread_mutex_lock(&d->lock);
    d->minor = minor;
    pthread_mutex_unlock(&d->lock);
}

void docker_minor_forget(struct docker *d) {
    set_minor(d, 0);
}

int docker_minor_take(struct docker *d, const char *api_version, struct err *err) {
    uint64_t minor;
    if (!api_version)
        return err_set(err, ERR_PLAIN, EPROTO,
                       "what answers at %s is no Docker Engine: its /_ping tells no Api-Version",
                       d->socket_path ? d->socket_path : d->base);
    if (strncmp(api_version, "1.", 2) != 0 || parse_u64(api_version + 2, 10000, &minor) < 0)
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's API version \"%.32s\" is not known here",
                       api_version);
    if (minor < DOCKER_MINOR_MIN)
        return err_set(
            err, ERR_PLAIN, EPROTO,
            "Docker's API version %.32s is too old: at least %s (Docker 20.10) is needed",
            api_version, DOCKER_API_MIN);
    int use = minor > DOCKER_MINOR_MAX ? DOCKER_MINOR_MAX : (int)minor;
    set_minor(d, use);
    return use;
}

bool docker_minor_refused(struct docker *d, int minor, int status, int *r, struct err *err) {
    bool too_old = strstr(err->text, "is too old");
    if (status != 400 || !strstr(err->text, "client version") ||
        (!too_old && !strstr(err->text, "is too new")))
        return false;
    if (too_old && minor == DOCKER_MINOR_MAX) {
        struct err theirs = *err;
        err_clear(err);
        *r = err_set(err, ERR_PLAIN, EPROTO,
                     "paddock speaks Docker's API up to version 1.%d, and Docker answers: %s",
                     DOCKER_MINOR_MAX, theirs.text);
        return false;
    }
    docker_minor_forget(d);
    return true;
}
