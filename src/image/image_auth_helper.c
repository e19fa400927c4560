/* SPDX-License-Identifier: MPL-2.0 */
/* Asks a Docker credential helper (the program docker-credential-NAME) for a registry's
 * credentials. image_auth.c calls it for the plugin's own helper and for those of a config.json.
 *
 * The helper gets a small part of the agent's environment only, because that environment contains
 * tokens that the helper must not see. The helper's stdout contains the secret, also when the
 * helper fails in the middle. So errors never quote stdout, only the start of stderr. */
#include "src/image/image_auth_helper.h"

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
#include <sys/syscall.h>
#include <sys/wait.h>

#define HELPER_TIMEOUT_US (30 * US_PER_SEC)
#define HELPER_OUTPUT_MAX (64u << 10)
#define HELPER_QUOTED_MAX 200       /* bytes of stderr in an error */
#define HELPER_TOKEN_USER "<token>" /* "Secret" is an identity token then */

/* ---- environment ---- */

/* The variables that helpers read: where to find programs and their own files, how to reach a
 * network, the settings of pass, and those of the clouds whose helpers take them from the
 * environment only. A name that ends with '_' stands for all names that begin with it.
 * docs/differences.md lists them too. */
static const char *const passed_on[] = {"PATH",
                                        "HOME",
                                        "USER",
                                        "LOGNAME",
                                        "LANG",
                                        "LC_",
                                        "TZ",
                                        "TMPDIR",
                                        "XDG_",
                                        "DBUS_SESSION_BUS_ADDRESS",
                                        "DOCKER_CONFIG",
                                        "HTTP_PROXY",
                                        "HTTPS_PROXY",
                                        "NO_PROXY",
                                        "ALL_PROXY",
                                        "http_proxy",
                                        "https_proxy",
                                        "no_proxy",
                                        "all_proxy",
                                        "SSL_CERT_FILE",
                                        "SSL_CERT_DIR",
                                        "AWS_",
                                        "AZURE_",
                                        "CLOUDSDK_",
                                        "GOOGLE_APPLICATION_CREDENTIALS",
                                        "GNUPGHOME",
                                        "PASSWORD_STORE_DIR"};

static bool is_passed_on(const char *variable) {
    size_t len = strcspn(variable, "=");
    for (size_t i = 0; i < ARRAY_LEN(passed_on); i++) {
        size_t n = strlen(passed_on[i]);
        bool prefix = passed_on[i][n - 1] == '_';
        if (strncmp(variable, passed_on[i], n) == 0 && (prefix ? len > n : len == n))
            return true;
    }
    return false;
}

/* The variables of @all that a helper gets. Owner: caller, free(); the strings stay @all's. NULL
 * when out of memory. */
static char **pick_env(char *const *all) {
    size_t n = 0, kept = 0;
    while (all[n])
        n++;
    char **env = calloc(n + 1, sizeof(*env));
    for (size_t i = 0; env && i < n; i++)
        if (is_passed_on(all[i]))
            env[kept++] = all[i];
    return env;
}

/* ---- the process ---- */

struct helper {
    pid_t pid; /* leader of its own process group */
    int pid_fd, out_fd, err_fd;
    struct buf out, err;
};

static int spawn_helper(const char *program, int in, int out, int err, pid_t *ret_pid) {
    extern char **environ;
    char *argv[] = {(char *)program, (char *)"get", NULL};
    AUTO_FREE char **env = pick_env(environ);
    if (!env)
        return -ENOMEM;
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
        r = posix_spawnp(ret_pid, program, &actions, &attr, argv, env);
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
    /* A registry's name fits into an empty pipe, so this does not block. */
    if (write(in_write, registry, strlen(registry)) < 0)
        return -errno;
    int r = spawn_helper(program, in_read, out_write, err_write, &h->pid);
    if (r < 0)
        return r;
    h->pid_fd = (int)syscall(SYS_pidfd_open, h->pid, 0);
    return h->pid_fd < 0 ? -errno : 0;
}

/* Reads what the pipe contains now. A process that the helper has left running may keep the
 * pipe open. */
static int drain_pipe(int *fd, struct buf *b) {
    char data[4096];
    ssize_t got = read(*fd, data, sizeof(data));
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (got == 0)
        *fd = fd_close(*fd);
    return got > 0 ? buf_append(b, data, (size_t)got) : 0;
}

/* Reads until the helper has ended. Its stderr is used for the error's text only, so the rest of a
 * long one is dropped. */
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
        int r = p[0].revents ? drain_pipe(&h->out_fd, &h->out) : 0;
        if (r == 0 && p[1].revents) {
            r = drain_pipe(&h->err_fd, &h->err);
            if (r == -EMSGSIZE)
                r = 0;
        }
        if (r < 0)
            return r;
        if (p[2].revents && !((p[0].revents | p[1].revents) & POLLIN))
            return 0;
    }
}

/* @ret_status: of waitpid. When the helper must be killed, its whole process group is killed. */
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

/* ---- the answer ---- */

/* The start of @text on one line, without a broken character at its end. */
static void quote_output(const char *text, char out[HELPER_QUOTED_MAX + 1]) {
    size_t n = 0;
    text += strspn(text, " \t\r\n");
    for (; text[n] && n < HELPER_QUOTED_MAX; n++)
        out[n] = (unsigned char)text[n] < ' ' || text[n] == 0x7f ? ' ' : text[n];
    if (text[n])
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

/* Handles a failed helper. Returns 0 when the helper reported that it has no credentials: the
 * registry may be public. The protocol defines that this report comes on stdout. */
static int judge_failure(const char *name, const char *registry, int status, const struct helper *h,
                         struct err *err) {
    if (strstr(buf_text(&h->out), "credentials not found"))
        return 0;
    char text[HELPER_QUOTED_MAX + 1];
    bool killed = WIFSIGNALED(status);
    quote_output(buf_text(&h->err), text);
    return err_set(err, ERR_PLAIN, EACCES, "docker-credential-%s for %s %s %d%s%s", name, registry,
                   killed ? "was ended by signal" : "exited with status",
                   killed ? WTERMSIG(status) : WEXITSTATUS(status), text[0] ? ": " : "", text);
}

/* Returns 1 found; 0 the helper has no credentials; -errno. */
static int take_answer(const char *name, const char *registry, int status, const struct helper *h,
                       struct image_auth *ret, struct err *err) {
    if (status != 0)
        return judge_failure(name, registry, status, h, err);
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

int image_auth_helper_ask(const char *name, const char *registry, const struct call *call,
                          struct image_auth *ret, struct err *err) {
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
