#include "paddock/docker_auth.h"

#include "docker_image_ref.h"
#include "paddock/buf.h"
#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/strv.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HUB "docker.io"
#define HUB_KEY "https://index.docker.io/v1/" /* how config.json names it */
#define HELPER_TIMEOUT_US (30 * US_PER_SEC)
#define HELPER_OUTPUT_MAX (64u << 10)
#define HELPER_TOKEN_USER "<token>" /* "Secret" is an identity token then */

void docker_auth_done(struct docker_auth *a) {
    free(a->username);
    free(a->password);
    free(a->identity_token);
    free(a->server_address);
    *a = (struct docker_auth){0};
}

char *docker_auth_header(const struct docker_auth *a) {
    AUTO_JSON json_t *j = json_object();
    const struct {
        const char *key, *value;
    } fields[] = {{"username", a->username},
                  {"password", a->password},
                  {"identitytoken", a->identity_token},
                  {"serveraddress", a->server_address}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (!str_empty(fields[i].value) &&
            json_object_set_new(j, fields[i].key, json_string(fields[i].value)) < 0)
            return NULL;
    AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
    AUTO_FREE char *encoded = text ? docker_image_base64url(text, strlen(text)) : NULL;
    char *header = NULL;
    if (!encoded || asprintf(&header, "X-Registry-Auth: %s", encoded) < 0)
        return NULL;
    return header;
}

static bool is_empty(const struct docker_auth *a) {
    return str_empty(a->username) && str_empty(a->password) && str_empty(a->identity_token);
}

/* ---- helper programs ---- */

struct helper {
    pid_t pid; /* leads a process group of its own */
    int pid_fd, out_fd, err_fd;
    struct buf out, err;
};

static int spawn_helper(const char *program, int in, int out, int err, pid_t *ret_pid) {
    extern char **environ;
    char *argv[] = {(char *)program, (char *)"get", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    int r = posix_spawn_file_actions_adddup2(&actions, in, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, err, 2);
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (r == 0)
        r = posix_spawnp(ret_pid, program, &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return -r;
}

/* Starts `docker-credential-@name get` with the registry on its stdin. */
static int start_helper(const char *name, const char *registry, struct helper *h) {
    AUTO_FREE char *program = NULL;
    if (asprintf(&program, "docker-credential-%s", name) < 0) {
        program = NULL;
        return -ENOMEM;
    }
    int ends[6];
    AUTO_FD int in_read = -EBADF;
    AUTO_FD int in_write = -EBADF;
    AUTO_FD int out_write = -EBADF;
    AUTO_FD int err_write = -EBADF;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    in_read = ends[0];
    in_write = ends[1];
    if (pipe2(ends + 2, O_CLOEXEC) < 0)
        return -errno;
    h->out_fd = ends[2];
    out_write = ends[3];
    if (pipe2(ends + 4, O_CLOEXEC) < 0)
        return -errno;
    h->err_fd = ends[4];
    err_write = ends[5];
    /* A registry's name fits into an empty pipe: this does not block. */
    if (write(in_write, registry, strlen(registry)) < 0)
        return -errno;
    int r = spawn_helper(program, in_read, out_write, err_write, &h->pid);
    if (r < 0)
        return r;
    h->pid_fd = (int)syscall(SYS_pidfd_open, h->pid, 0);
    return h->pid_fd < 0 ? -errno : 0;
}

/* What is there now; the pipe may stay open in something that the helper has left behind. */
static int drain(int *fd, struct buf *b) {
    char data[4096];
    ssize_t got = read(*fd, data, sizeof(data));
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (got == 0)
        *fd = fd_close(*fd);
    return got > 0 ? buf_append(b, data, (size_t)got) : 0;
}

/* Reads until the helper has ended. Its stderr is for the error's text: what is too much is
 * dropped. */
static int follow_helper(struct helper *h, const struct call *call) {
    for (;;) {
        struct pollfd p[4] = {{.fd = h->out_fd, .events = POLLIN},
                              {.fd = h->err_fd, .events = POLLIN},
                              {.fd = h->pid_fd, .events = POLLIN},
                              {.fd = call->cancel ? call->cancel->fd : -1, .events = POLLIN}};
        int n = poll(p, ARRAY_LEN(p), call_remaining_ms(call));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n < 0)
            continue;
        if (p[3].revents)
            return -ECANCELED;
        if (n == 0 || call_remaining_ms(call) == 0)
            return -ETIMEDOUT;
        int r = p[0].revents ? drain(&h->out_fd, &h->out) : 0;
        if (r == 0 && p[1].revents) {
            r = drain(&h->err_fd, &h->err);
            if (r == -EMSGSIZE)
                r = 0;
        }
        if (r < 0)
            return r;
        if (p[2].revents && !((p[0].revents | p[1].revents) & POLLIN))
            return 0;
    }
}

/* @ret_status: of waitpid. What a helper has started ends with it when it had to be killed. */
static int run_helper(const char *name, const char *registry, const struct call *call,
                      struct helper *h, int *ret_status) {
    int r = start_helper(name, registry, h);
    if (r == 0)
        r = follow_helper(h, call);
    if (h->pid > 0) {
        if (r < 0)
            kill(-h->pid, SIGKILL);
        while (waitpid(h->pid, ret_status, 0) < 0 && errno == EINTR)
            ;
    }
    return r;
}

static void helper_done(struct helper *h) {
    h->pid_fd = fd_close(h->pid_fd);
    h->out_fd = fd_close(h->out_fd);
    h->err_fd = fd_close(h->err_fd);
    buf_done(&h->out);
    buf_done(&h->err);
}

/* Returns 1 found; 0 it knows none: the registry may be public; -errno. */
static int take_answer(const char *name, const char *registry, int status, const struct helper *h,
                       struct docker_auth *ret, struct err *err) {
    if (status != 0) {
        if (strstr(buf_text(&h->out), "credentials not found"))
            return 0;
        return err_set(err, ERR_PLAIN, EACCES, "docker-credential-%s for %s failed: %.200s%.200s",
                       name, registry, buf_text(&h->out), buf_text(&h->err));
    }
    AUTO_JSON json_t *j = json_loadb(buf_text(&h->out), h->out.len, 0, NULL);
    if (!json_is_object(j))
        return err_set(err, ERR_PLAIN, EPROTO,
                       "docker-credential-%s for %s did not answer with JSON", name, registry);
    const char *user = json_string_value(json_object_get(j, "Username"));
    const char *secret = json_string_value(json_object_get(j, "Secret"));
    if (str_empty(user) && str_empty(secret))
        return 0;
    bool token = user && strcmp(user, HELPER_TOKEN_USER) == 0;
    int r = token ? str_set(&ret->identity_token, secret) : str_set(&ret->username, user);
    if (r == 0 && !token)
        r = str_set(&ret->password, secret);
    if (r == 0)
        r = str_set(&ret->server_address, registry);
    return r < 0 ? err_oom(err) : 1;
}

static int ask_by_name(const char *name, const char *registry, const struct call *call,
                       struct docker_auth *ret, struct err *err) {
    struct helper h = {.pid_fd = -EBADF, .out_fd = -EBADF, .err_fd = -EBADF};
    buf_init(&h.out, HELPER_OUTPUT_MAX);
    buf_init(&h.err, HELPER_OUTPUT_MAX);
    struct call within = call_within(call, HELPER_TIMEOUT_US);
    int status = 0;
    int r = strchr(name, '/') ? -EINVAL : run_helper(name, registry, &within, &h, &status);
    r = r < 0 ? err_set(err, ERR_PLAIN, -r, "docker-credential-%s for %s: %s", name, registry,
                        strerror(-r))
              : take_answer(name, registry, status, &h, ret, err);
    helper_done(&h);
    return r;
}

/* The hub has two names among helpers: Nomad's driver asks for "docker.io", `docker login` stores
 * an address. */
static int ask_helper(const char *name, const char *registry, const struct call *call,
                      struct docker_auth *ret, struct err *err) {
    int r = ask_by_name(name, registry, call, ret, err);
    if (r == 0 && strcmp(registry, HUB) == 0)
        r = ask_by_name(name, HUB_KEY, call, ret, err);
    return r;
}

/* ---- config.json ---- */

/* "https://host:port/path" to "host:port". */
static size_t host_of(const char *key, const char **ret) {
    const char *scheme = strstr(key, "://");
    *ret = scheme ? scheme + 3 : key;
    return strcspn(*ret, "/");
}

/* The registry's entry: by its own key, else by the host in a key that is written as an address. */
static json_t *find_entry(json_t *auths, const char *registry) {
    bool hub = strcmp(registry, HUB) == 0;
    json_t *entry = json_object_get(auths, hub ? HUB_KEY : registry);
    if (entry || hub)
        return entry;
    const char *key;
    json_t *value;
    json_object_foreach(auths, key, value) {
        const char *host;
        size_t len = host_of(key, &host);
        if (len == strlen(registry) && strncasecmp(host, registry, len) == 0)
            return value;
    }
    return NULL;
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* Docker is told in JSON, which has nothing but UTF-8. */
static bool is_utf8(const char *text, size_t len) {
    AUTO_JSON json_t *j = json_stringn(text, len);
    return j != NULL;
}

/* "user:password" out of the entry's "auth". Returns 0; -EINVAL; -ENOMEM. */
static int decode_basic(const char *text, struct docker_auth *ret) {
    size_t len = strcspn(text, "=");
    AUTO_FREE char *plain = calloc(1, len + 1);
    if (!plain)
        return -ENOMEM;
    size_t n = 0;
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < len; i++) {
        int v = base64_value(text[i]);
        if (v < 0)
            return -EINVAL;
        bits = bits << 6 | (unsigned)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            plain[n++] = (char)(bits >> have & 0xff);
        }
    }
    char *colon = memchr(plain, ':', n);
    if (!colon || !is_utf8(plain, n))
        return -EINVAL;
    *colon = '\0';
    int r = str_set(&ret->username, plain);
    return r < 0 ? r : str_set(&ret->password, colon + 1);
}

static int read_entry(const json_t *entry, struct docker_auth *ret) {
    const char *basic = json_string_value(json_object_get(entry, "auth"));
    const char *user = json_string_value(json_object_get(entry, "username"));
    const char *password = json_string_value(json_object_get(entry, "password"));
    const char *token = json_string_value(json_object_get(entry, "identitytoken"));
    int r = str_empty(basic) ? 0 : decode_basic(basic, ret);
    if (r == 0 && !str_empty(user))
        r = str_set(&ret->username, user);
    if (r == 0 && !str_empty(password))
        r = str_set(&ret->password, password);
    if (r == 0 && !str_empty(token))
        r = str_set(&ret->identity_token, token);
    return r;
}

static int from_config(const char *path, const char *registry, const struct call *call,
                       struct docker_auth *ret, struct err *err) {
    json_error_t error;
    AUTO_JSON json_t *config = json_load_file(path, 0, &error);
    if (!json_is_object(config))
        return err_set(err, ERR_PLAIN, EINVAL, "auth config %s: %s", path,
                       config ? "not an object" : error.text);
    int r = read_entry(find_entry(json_object_get(config, "auths"), registry), ret);
    if (r < 0)
        return err_set(err, ERR_PLAIN, -r, "auth config %s: the entry of %s cannot be read", path,
                       registry);
    if (!is_empty(ret)) {
        r = str_set(&ret->server_address, registry);
        return r < 0 ? err_oom(err) : 1;
    }
    const json_t *helpers = json_object_get(config, "credHelpers");
    const char *names[] = {
        strcmp(registry, HUB) == 0 ? json_string_value(json_object_get(helpers, HUB_KEY)) : NULL,
        json_string_value(json_object_get(helpers, registry)),
        json_string_value(json_object_get(config, "credsStore")),
    };
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++)
        if (!str_empty(names[i]))
            r = ask_helper(names[i], registry, call, ret, err);
    return r;
}

int docker_auth_lookup(const struct docker_auth_sources *s, const char *registry,
                       const struct call *call, struct docker_auth *ret, struct err *err) {
    AUTO_DOCKER_AUTH struct docker_auth a = {0};
    int r = 0;
    if (!str_empty(s->username) || !str_empty(s->password) || !str_empty(s->server_address)) {
        r = str_set(&a.username, s->username);
        if (r == 0)
            r = str_set(&a.password, s->password);
        if (r == 0)
            r = str_set(&a.server_address, s->server_address);
        r = r < 0 ? err_oom(err) : 1;
    }
    if (r == 0 && !str_empty(s->config))
        r = from_config(s->config, registry, call, &a, err);
    if (r == 0 && !str_empty(s->helper))
        r = ask_helper(s->helper, registry, call, &a, err);
    if (r == 1)
        *ret = TAKE_STRUCT(a);
    return r;
}
