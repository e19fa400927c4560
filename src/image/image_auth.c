/* SPDX-License-Identifier: MPL-2.0 */
/* Credentials for the registry of an image.
 *
 * A pull calls image_auth_lookup(). It asks three sources in a fixed order: the job's auth block,
 * the config.json that the plugin block names, and a credential helper. The first source that has
 * credentials, or fails, decides the result. Docker gets the credentials base64 encoded in
 * one header. */
#include "src/image/image_auth.h"

#include "src/image/image_auth_helper.h"
#include "src/image/image_ref.h"
#include "paddock/docker.h"
#include "paddock/base64.h"
#include "paddock/json_reason.h"
#include "paddock/path.h"
#include "paddock/strv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HUB "docker.io"
#define HUB_KEY "https://index.docker.io/v1/" /* the name of Docker Hub in config.json */

void image_auth_done(struct image_auth *a) {
    free(a->username);
    free(a->password);
    free(a->identity_token);
    free(a->server_address);
    *a = (struct image_auth){0};
}

char *image_auth_header(const struct image_auth *a) {
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
    AUTO_FREE char *encoded = text ? base64_url_encode(text, strlen(text)) : NULL;
    char *header = NULL;
    if (!encoded || asprintf(&header, "X-Registry-Auth: %s", encoded) < 0)
        return NULL;
    return header;
}

static bool is_empty(const struct image_auth *a) {
    return str_empty(a->username) && str_empty(a->password) && str_empty(a->identity_token);
}

/* ---- helpers ---- */

/* Helpers know Docker Hub by two names: Nomad's driver asks for "docker.io", and `docker login`
 * stores an address. So both are tried. */
static int ask_helper(const char *name, const char *registry, const struct call *call,
                      struct image_auth *ret, struct err *err) {
    int r = image_auth_helper_ask(name, registry, call, ret, err);
    if (r == 0 && strcmp(registry, HUB) == 0)
        r = image_auth_helper_ask(name, HUB_KEY, call, ret, err);
    return r;
}

/* ---- config.json ---- */

/* Finds "host:port" in "https://host:port/path". Returns its length. */
static size_t host_of(const char *key, const char **ret) {
    const char *scheme = strstr(key, "://");
    *ret = scheme ? scheme + 3 : key;
    return strcspn(*ret, "/");
}

/* Returns true when @address, which a job may write as a URL, names the host of @registry. */
static bool is_of_registry(const char *address, const char *registry) {
    static const char *const hub_hosts[] = {HUB, "index.docker.io", "registry-1.docker.io"};
    const char *host;
    size_t len = host_of(address, &host);
    if (len == strlen(registry) && strncasecmp(host, registry, len) == 0)
        return true;
    for (size_t i = 0; strcmp(registry, HUB) == 0 && i < ARRAY_LEN(hub_hosts); i++)
        if (len == strlen(hub_hosts[i]) && strncasecmp(host, hub_hosts[i], len) == 0)
            return true;
    return false;
}

/* Finds the registry's entry: by its own key, else by the host in a key that is written as
 * an address. */
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

/* The credentials are sent to Docker as JSON, which must be UTF-8. */
static bool is_utf8(const char *text, size_t len) {
    AUTO_JSON json_t *j = json_stringn(text, len);
    return j != NULL;
}

/* Decodes "user:password" from the entry's "auth". Returns 0; -EINVAL; -ENOMEM. */
static int decode_basic(const char *text, struct image_auth *ret) {
    AUTO_FREE char *plain = NULL;
    size_t n;
    int r = base64_decode(text, &plain, &n);
    if (r < 0)
        return r;
    char *colon = memchr(plain, ':', n);
    if (!colon || !is_utf8(plain, n))
        return -EINVAL;
    *colon = '\0';
    r = str_set(&ret->username, plain);
    return r < 0 ? r : str_set(&ret->password, colon + 1);
}

static int read_entry(const json_t *entry, struct image_auth *ret) {
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

/* Reads the file. An error message about its JSON does not quote the file. */
static int load_config(const char *path, json_t **ret, struct err *err) {
    AUTO_FD int at = -EBADF;
    AUTO_FD int fd = -EBADF;
    int r = path_find(path, &at);
    if (r == 0)
        r = path_open_regular(at, &fd);
    if (r < 0)
        return err_set(err, ERR_PLAIN, -r, "auth config %s: %s", path,
                       r == -EINVAL ? "not a regular file" : strerror(-r));
    json_error_t e;
    char why[JSON_REASON_MAX];
    AUTO_JSON json_t *config = json_loadfd(fd, 0, &e);
    if (!config)
        json_reason(&e, why);
    if (!json_is_object(config))
        return err_set(err, ERR_PLAIN, EINVAL, "auth config %s: %s", path,
                       config ? "not an object" : why);
    *ret = TAKE_PTR(config);
    return 0;
}

static int from_config(const char *path, const char *registry, const struct call *call,
                       struct image_auth *ret, struct err *err) {
    AUTO_JSON json_t *config = NULL;
    int r = load_config(path, &config, err);
    if (r < 0)
        return r;
    r = read_entry(find_entry(json_object_get(config, "auths"), registry), ret);
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

int image_auth_lookup(const struct image_auth_sources *s, const char *registry,
                      const struct call *call, struct image_auth *ret, struct err *err) {
    AUTO_IMAGE_AUTH struct image_auth a = {0};
    int r = 0;
    if (!str_empty(s->username) || !str_empty(s->password) || !str_empty(s->server_address)) {
        r = str_set(&a.username, s->username);
        if (r == 0)
            r = str_set(&a.password, s->password);
        /* Docker 29 drops credentials that name another host than the image's, so the pull would be
         * anonymous. Older versions ignore the host. */
        if (r == 0 && !str_empty(s->server_address) && is_of_registry(s->server_address, registry))
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
