/* SPDX-License-Identifier: MPL-2.0 */
/* The fingerprint: whether Docker is healthy, and the node's attributes.
 *
 * Probes Docker every 30 s, or every 5 s while it is not healthy, one probe at a time, and sends
 * each result to the subscribers. A refused connection makes Docker unhealthy immediately. A
 * late answer does so only when the next answer is late, too, because a loaded dockerd is
 * sometimes slow.
 *
 * Nomad writes a node event for each new description and a node update for each new attribute.
 * Therefore neither changes while Docker's state is the same: see settle_description() and
 * keep_info(). The attributes are the built-in driver's, and also driver.<name>.cpuset.*.
 *
 * driver.c creates and starts it; exit.c asks for a probe when the event stream is lost. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/docker_userns.h"
#include "paddock/log.h"

#include <stdio.h>
#include <string.h>

#define PROBE_PERIOD_US (30 * US_PER_SEC)
#define PROBE_PERIOD_SICK_US (5 * US_PER_SEC)
#define PROBE_TIMEOUT_US (10 * US_PER_SEC)
#define PROBE_LATE_MAX 2 /* consecutive late answers that make Docker unhealthy */

struct fingerprint {
    struct driver *d;
    struct fan fan; /* its lock guards all below */
    bool known;     /* `last` is valid: Docker has answered, or has certainly failed */
    bool probing, again;
    bool was_connected;
    unsigned late;
    struct driver_fingerprint last;
    char next_description[256]; /* was seen once and not sent yet; "" = none */
    struct node_info {
        char runtimes[DRIVER_ATTR_TEXT_MAX], os_type[32], bridge_ip[64];
        bool runtimes_cut;      /* more names exist than fit */
        bool remapped;          /* dockerd has userns-remap: root in containers is @root */
        struct path_owner root; /* of this host */
        bool info, bridge;      /* Docker has answered GET /info, GET /networks/bridge */
        bool lacks_bridge;      /* /networks/bridge gave 404 */
    } info;                     /* the last answers */
    struct loop_timer *timer;   /* the streams thread's */
    struct pool *prober;        /* one thread, so that a probe waits for no other call to Docker */
};

/* The result of one probe. */
struct probe {
    int r;
    struct err err;
    struct docker_version version;
    struct node_info info;
};

int fingerprint_new(struct driver *d, struct fingerprint **ret) {
    struct fingerprint *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    int r = pool_new(1, &f->prober);
    if (r < 0) {
        free(f);
        return r;
    }
    f->d = d;
    fan_init(&f->fan);
    *ret = f;
    return 0;
}

void fingerprint_stop(struct fingerprint *f) {
    if (f)
        pool_free(TAKE_PTR(f->prober));
}

void fingerprint_free(struct fingerprint *f) {
    if (!f)
        return;
    fingerprint_stop(f);
    loop_timer_del(f->timer);
    fan_done(&f->fan);
    free(f);
}

/* ---- asking Docker ---- */

static int text_compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of @object, sorted and comma separated. Returns false when some of them do not fit. */
static bool join_keys(const json_t *object, char *out, size_t size) {
    const char *names[256];
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (n < ARRAY_LEN(names))
            names[n++] = key;
    }
    qsort(names, n, sizeof(names[0]), text_compare);
    out[0] = '\0';
    size_t len = 0, i = 0;
    for (; i < n && len + 1 + strlen(names[i]) < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? "," : "", names[i]);
    return i == json_object_size(object);
}

static int read_info(struct driver *d, const struct call *call, struct node_info *n,
                     struct err *err) {
    AUTO_JSON json_t *info = NULL;
    int r = docker_system_info(d->docker, call, &info, err);
    if (r < 0)
        return r;
    n->runtimes_cut =
        !join_keys(json_object_get(info, "Runtimes"), n->runtimes, sizeof(n->runtimes));
    const char *os = json_string_value(json_object_get(info, "OSType"));
    snprintf(n->os_type, sizeof(n->os_type), "%s", os ? os : "");
    n->remapped = docker_userns_root(info, &n->root.uid, &n->root.gid);
    n->info = true;
    return 0;
}

/* The gateway of the network "bridge". A daemon without that network answers 404. */
static void read_bridge(struct driver *d, const struct call *call, struct node_info *n) {
    AUTO_JSON json_t *net = NULL;
    struct docker_request rq = {.method = "GET", .path = "/networks/bridge"};
    int r = docker_http_do(d->docker, call, &rq, NULL, &net, NULL);
    n->bridge = r == 0 || r == -ENOENT;
    n->lacks_bridge = r == -ENOENT;
    json_t *config = json_object_get(json_object_get(net, "IPAM"), "Config");
    const char *ip = json_string_value(json_object_get(json_array_get(config, 0), "Gateway"));
    snprintf(n->bridge_ip, sizeof(n->bridge_ip), "%s", ip ? ip : "");
}

static void probe_docker(struct driver *d, struct probe *p) {
    uint64_t timeout = d->timeout_us < PROBE_TIMEOUT_US ? d->timeout_us : PROBE_TIMEOUT_US;
    struct call call = call_within(NULL, timeout);
    call.cancel = &d->ended;
    p->r = docker_system_version(d->docker, &call, &p->version, &p->err);
    if (p->r < 0)
        return;
    if (read_info(d, &call, &p->info, NULL) < 0)
        log_debug("fingerprint", NULL, "/info failed, ignoring");
    read_bridge(d, &call, &p->info);
}

/* ---- judging the answers ---- */

static void add_attr(struct fingerprint *f, struct driver_fingerprint *fp, const char *suffix,
                     enum driver_attr_type type, const char *text, int64_t number) {
    if (fp->n_attrs == DRIVER_ATTRS_MAX)
        return;
    struct driver_attr *a = &fp->attrs[fp->n_attrs++];
    snprintf(a->key, sizeof(a->key), "driver.%s%s%s", f->d->name, suffix[0] ? "." : "", suffix);
    a->type = type;
    snprintf(a->text, sizeof(a->text), "%s", text ? text : "");
    a->number = number;
}

static void add_cpuset_attrs(struct fingerprint *f, struct driver_fingerprint *fp) {
    const char *why = f->d->pin ? pin_disabled_reason(f->d->pin) : "not started";
    add_attr(f, fp, "paddock.version", ATTR_STRING, PADDOCK_VERSION, 0);
    add_attr(f, fp, "cgroup", ATTR_STRING, f->d->cgroup_v2 ? "v2" : "v1", 0);
    add_attr(f, fp, "cpuset", ATTR_STRING, why[0] ? "off" : "on", 0);
    if (why[0]) {
        add_attr(f, fp, "cpuset.reason", ATTR_STRING, why, 0);
        add_attr(f, fp, "cpuset_management.disabled", ATTR_BOOL, NULL, 1); /* the built-in's name */
    }
}

static void describe_healthy(struct fingerprint *f, const struct probe *p,
                             struct driver_fingerprint *fp) {
    AUTO_CONFIG struct config_snapshot *c = client_config_get(f->d);
    fp->health = DRIVER_HEALTHY;
    snprintf(fp->description, sizeof(fp->description), "Healthy");
    add_attr(f, fp, "", ATTR_BOOL, NULL, 1);
    add_attr(f, fp, "version", ATTR_STRING, p->version.text, 0);
    if (c && c->c.allow_privileged)
        add_attr(f, fp, "privileged.enabled", ATTR_BOOL, NULL, 1);
    if (c && c->c.pids_limit > 0)
        add_attr(f, fp, "pids.limit", ATTR_INT, NULL, c->c.pids_limit);
    if (c && c->c.volumes_enabled)
        add_attr(f, fp, "volumes.enabled", ATTR_BOOL, NULL, 1);
    if (f->info.bridge_ip[0])
        add_attr(f, fp, "bridge_ip", ATTR_STRING, f->info.bridge_ip, 0);
    if (f->info.info) {
        add_attr(f, fp, "runtimes", ATTR_STRING, f->info.runtimes, 0);
        add_attr(f, fp, "os_type", ATTR_STRING, f->info.os_type, 0);
    }
    add_cpuset_attrs(f, fp);
}

/* Stores what Docker answered. What it did not answer this time keeps its last value, because an
 * attribute that comes and goes would be a node update each time. The caller holds the lock. */
static void keep_info(struct fingerprint *f, const struct node_info *n) {
    if (n->info) {
        snprintf(f->info.runtimes, sizeof(f->info.runtimes), "%s", n->runtimes);
        f->info.runtimes_cut = n->runtimes_cut;
        f->info.remapped = n->remapped;
        f->info.root = n->root;
        snprintf(f->info.os_type, sizeof(f->info.os_type), "%s", n->os_type);
        f->info.info = true;
    }
    if (n->bridge) {
        snprintf(f->info.bridge_ip, sizeof(f->info.bridge_ip), "%s", n->bridge_ip);
        f->info.lacks_bridge = n->lacks_bridge;
    }
}

/* While Docker stays unhealthy, a new description replaces the last one only when it came twice in
 * a row. Some faults alternate (a proxy that closes or resets the connection), and Docker's own
 * error text may contain a time or a request's id. The caller holds the lock. */
static void settle_description(struct fingerprint *f, struct driver_fingerprint *fp) {
    char fresh[sizeof(fp->description)];
    snprintf(fresh, sizeof(fresh), "%s", fp->description);
    bool settled = !f->known || f->last.health != fp->health ||
                   strcmp(fresh, f->last.description) == 0 ||
                   strcmp(fresh, f->next_description) == 0;
    if (!settled)
        snprintf(fp->description, sizeof(fp->description), "%s", f->last.description);
    snprintf(f->next_description, sizeof(f->next_description), "%s", settled ? "" : fresh);
}

/* Fills @fp from the probe's result. Returns true when the result counts; the first late answer
 * does not. The caller holds the lock. */
static bool judge_probe(struct fingerprint *f, const struct probe *p,
                        struct driver_fingerprint *fp) {
    if (f->d->unfit[0]) {
        fp->health = DRIVER_UNHEALTHY;
        snprintf(fp->description, sizeof(fp->description), "%s", f->d->unfit);
        return true;
    }
    if (p->r == 0) {
        f->late = 0;
        f->was_connected = true;
        describe_healthy(f, p, fp);
        return true;
    }
    bool late = p->r == -ETIMEDOUT;
    if (late && ++f->late < PROBE_LATE_MAX && f->known && f->last.health == DRIVER_HEALTHY)
        return false;
    fp->health = f->was_connected ? DRIVER_UNHEALTHY : DRIVER_UNDETECTED;
    snprintf(fp->description, sizeof(fp->description), "Failed to connect to docker daemon: %.180s",
             p->err.text);
    settle_description(f, fp);
    return true;
}

static void set_timer(void *arg) {
    struct fingerprint *f = arg;
    pthread_mutex_lock(&f->fan.lock);
    bool well = f->known && f->last.health == DRIVER_HEALTHY && f->late == 0;
    pthread_mutex_unlock(&f->fan.lock);
    loop_timer_at(f->timer, clock_now_us() + (well ? PROBE_PERIOD_US : PROBE_PERIOD_SICK_US));
}

static void log_change(const struct fingerprint *f, const struct driver_fingerprint *fp) {
    if (f->known && f->last.health == fp->health)
        return;
    if (fp->health == DRIVER_HEALTHY)
        log_info("fingerprint", NULL, "docker answers");
    else
        log_error("fingerprint", NULL, "%s", fp->description);
}

static void probe_work(void *arg) {
    struct fingerprint *f = arg;
    bool again;
    do {
        struct probe p = {0};
        probe_docker(f->d, &p);
        pthread_mutex_lock(&f->fan.lock);
        struct driver_fingerprint fp = {0};
        keep_info(f, &p.info);
        if (judge_probe(f, &p, &fp)) {
            log_change(f, &fp);
            f->last = fp;
            f->known = true;
            fan_tell_locked(&f->fan, &f->last);
        }
        again = f->again;
        f->again = false;
        f->probing = again;
        pthread_mutex_unlock(&f->fan.lock);
    } while (again);
    if (loop_post(f->d->loop, set_timer, f) < 0)
        log_warn("fingerprint", NULL, "out of memory, retrying");
}

/* Starts a probe, unless one is running. @again: then one more probe follows the running one, which
 * may have asked too early. */
static void probe_now(struct fingerprint *f, bool again) {
    pthread_mutex_lock(&f->fan.lock);
    bool start = !f->probing;
    f->probing = true;
    if (!start && again)
        f->again = true;
    pthread_mutex_unlock(&f->fan.lock);
    if (start && pool_run(f->prober, probe_work, f) < 0) {
        pthread_mutex_lock(&f->fan.lock);
        f->probing = false;
        pthread_mutex_unlock(&f->fan.lock);
        loop_timer_at(f->timer, clock_now_us() + PROBE_PERIOD_SICK_US);
    }
}

static void on_timer(void *arg) {
    probe_now(arg, false);
}

void fingerprint_start(struct fingerprint *f) {
    if (f->timer || loop_timer_new(f->d->loop, on_timer, f, &f->timer) == 0)
        loop_timer_at(f->timer, clock_now_us()); /* immediately */
}

void fingerprint_docker_lost(struct fingerprint *f) {
    pthread_mutex_lock(&f->fan.lock);
    f->info.lacks_bridge = false; /* the next dockerd may have one */
    pthread_mutex_unlock(&f->fan.lock);
    probe_now(f, true);
}

bool fingerprint_lacks_bridge(struct fingerprint *f) {
    pthread_mutex_lock(&f->fan.lock);
    bool lacks = f->info.lacks_bridge;
    pthread_mutex_unlock(&f->fan.lock);
    return lacks;
}

bool fingerprint_healthy(struct fingerprint *f) {
    pthread_mutex_lock(&f->fan.lock);
    bool healthy = f->known && f->last.health == DRIVER_HEALTHY;
    pthread_mutex_unlock(&f->fan.lock);
    return healthy;
}

static void copy_info(const struct node_info *n, struct fingerprint_docker *ret) {
    snprintf(ret->runtimes, sizeof(ret->runtimes), "%s", n->runtimes_cut ? "" : n->runtimes);
    ret->remapped = n->remapped;
    ret->root = n->root;
}

int fingerprint_info(struct fingerprint *f, const struct call *call, struct fingerprint_docker *ret,
                     struct err *err) {
    pthread_mutex_lock(&f->fan.lock);
    bool known = f->info.info;
    copy_info(&f->info, ret);
    pthread_mutex_unlock(&f->fan.lock);
    if (known)
        return 0;
    struct node_info n = {0};
    struct call within = call_within(call, f->d->timeout_us);
    int r = read_info(f->d, &within, &n, err);
    if (r < 0)
        return err_reclass(err, r, ERR_RECOVERABLE);
    copy_info(&n, ret);
    return 0;
}

/* ---- subscribers ---- */

static void call_listener(struct driver_sub *sub, const void *what) {
    ((void (*)(void *, const struct driver_fingerprint *))sub->on)(sub->ctx, what);
}

int fingerprint_subscribe(struct driver *d,
                          void (*on)(void *ctx, const struct driver_fingerprint *f), void *ctx,
                          struct driver_sub **ret, struct err *err) {
    struct fingerprint *f = d->fingerprint;
    struct driver_sub *sub = fan_sub_new(&f->fan, call_listener, (void (*)(void))on, ctx);
    if (!sub)
        return err_oom(err);
    pthread_mutex_lock(&f->fan.lock);
    if (f->known)
        on(ctx, &f->last);
    fan_add_locked(&f->fan, sub); /* else the running probe sends it the first value */
    pthread_mutex_unlock(&f->fan.lock);
    *ret = sub;
    return 0;
}
