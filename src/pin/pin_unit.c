/* Keeps a written cpuset in place. systemd stores its own copy (the scope's AllowedCPUs) and writes
 * it back on daemon-reload; the container runtime does the same on update. The pin thread calls
 * this file to keep that copy equal to the task's set, by Manager.SetUnitProperties(runtime) on the
 * system bus. The calls are asynchronous and never delay a write. Without a bus everything else
 * works; the connection is retried with a back-off of 1 s to 60 s. */
#include "src/pin/pin_priv.h"

#include "paddock/log.h"

#include <string.h>
#include <sys/epoll.h>

#define UNIT_CALL_TIMEOUT_US (5 * US_PER_SEC)
/* systemd does them one by one anyway, 20 to 50 ms each in an emulated guest. What waits there and
 * not here is a set of yesterday when its turn comes: with 32 on the way a storm of reservations
 * put shared containers back on a foreign core for moments, up to 2.4 s later (0.16 core-s in 30
 * s). */
#define UNIT_IN_FLIGHT_MAX 1u

/* A set is sent when it has been the same for so long. systemd applies a set some milliseconds
 * after its answer; when another set is wanted by then, it overwrites that one. */
#define UNIT_STABLE_US (150 * US_PER_MS)

static void unit_pump(struct pin *p);

/* ---- the connection ---- */

static void bus_lost(struct pin *p, int r) {
    struct pin_unit_bus *u = &p->unit;
    u->watch = loop_watch_del(u->watch);
    pthread_mutex_lock(&p->lock);
    for (struct pin_task *t = p->tasks; t; t = t->next) {
        if (!t->unit)
            continue;
        t->unit_call = sd_bus_slot_unref(t->unit_call);
        t->unit_error = r;
        t->unit_dirty = true;
        t->unit_synced = false;
    }
    pthread_mutex_unlock(&p->lock);
    u->in_flight = 0;
    u->bus = sd_bus_close_unref(u->bus);
    u->backoff_us = pin_backoff_longer(u->backoff_us);
    u->retry_us = clock_now_us() + u->backoff_us;
    log_debug("pin", LOG_KV("errno", strerror(-r)), "no system bus, retrying");
}

static int bus_open(const char *address, sd_bus **ret) {
    if (!address)
        return sd_bus_open_system(ret);
    sd_bus *bus = NULL;
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(bus, 1);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0) {
        sd_bus_unref(bus);
        return r;
    }
    *ret = bus;
    return 0;
}

static void on_bus(void *ctx, uint32_t events) {
    (void)events;
    unit_pump(ctx);
}

static void on_bus_timer(void *ctx) {
    struct pin *p = ctx;
    if (p->unit.bus)
        unit_pump(p);
    else
        pin_unit_send(p);
}

/* Waits for what the bus waits for. */
static int bus_rewatch(struct pin *p) {
    struct pin_unit_bus *u = &p->unit;
    uint64_t at = UINT64_MAX;
    int events = sd_bus_get_events(u->bus);
    if (events < 0)
        return events;
    int r = sd_bus_get_timeout(u->bus, &at);
    if (r < 0)
        return r;
    loop_timer_at(u->timer, r == 0 || at == UINT64_MAX ? 0 : at ? at : 1);
    return u->watch ? loop_watch_set(u->watch, (uint32_t)events)
                    : loop_watch_add(p->loop, sd_bus_get_fd(u->bus), (uint32_t)events, on_bus, p,
                                     &u->watch);
}

static void unit_pump(struct pin *p) {
    int r;
    do {
        r = sd_bus_process(p->unit.bus, NULL);
    } while (r > 0 && p->unit.bus);
    if (r >= 0)
        r = bus_rewatch(p);
    if (r < 0)
        bus_lost(p, r);
    else
        pin_unit_send(p);
}

/* ---- the calls ---- */

static int on_reply(sd_bus_message *m, void *ctx, sd_bus_error *unused) {
    struct pin_task *t = ctx;
    struct pin *p = t->pin;
    int code = sd_bus_message_get_errno(m);
    (void)unused;
    p->unit.in_flight--;
    p->unit.backoff_us = 0;
    pthread_mutex_lock(&p->lock);
    t->unit_call = sd_bus_slot_unref(t->unit_call);
    t->unit_error = -code;
    t->unit_synced = code == 0 && !t->unit_dirty;
    if (code) {
        p->counters.unit_errors++;
        t->unit_dirty = true;
        t->unit_backoff_us = pin_backoff_longer(t->unit_backoff_us);
        t->unit_retry_us = clock_now_us() + t->unit_backoff_us;
    } else {
        t->unit_backoff_us = t->unit_retry_us = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return 0;
}

static int append_set(sd_bus_message *m, const char *name, const struct cpuset *set) {
    uint8_t bytes[CPUSET_MAX_CPUS / 8];
    size_t n = cpuset_to_bytes(set, bytes);
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "ay");
    if (r >= 0)
        r = sd_bus_message_append_array(m, 'y', bytes, n);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int fill_call(struct pin *p, const struct pin_task *t, sd_bus_message *m) {
    struct cpuset mems;
    int r = sd_bus_message_append(m, "sb", t->unit, 1);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_set(m, "AllowedCPUs", &t->target);
    pin_mems(p, &t->target, &mems);
    if (r >= 0 && t->has_own && !cpuset_is_empty(&mems))
        r = append_set(m, "AllowedMemoryNodes", &mems);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int call_unit(struct pin *p, struct pin_task *t, uint64_t now_us) {
    sd_bus_message *m = NULL;
    int r = sd_bus_message_new_method_call(p->unit.bus, &m, "org.freedesktop.systemd1",
                                           "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "SetUnitProperties");
    if (r >= 0)
        r = fill_call(p, t, m);
    sd_bus_slot *slot = NULL;
    if (r >= 0)
        r = sd_bus_call_async(p->unit.bus, &slot, m, on_reply, t, UNIT_CALL_TIMEOUT_US);
    sd_bus_message_unref(m);
    if (r < 0)
        return r;
    p->unit.in_flight++;
    pthread_mutex_lock(&p->lock);
    p->counters.unit_calls++;
    t->sent_hash[1] = t->sent_hash[0];
    t->sent_hash[0] = cpuset_hash(&t->target);
    t->unit_call = slot;
    t->unit_dirty = false;
    t->unit_sent_us = now_us;
    pthread_mutex_unlock(&p->lock);
    return 0;
}

void pin_unit_touch(struct pin_task *t, uint64_t now_us) {
    t->unit_dirty = t->unit != NULL;
    t->unit_due_us = now_us + UNIT_STABLE_US;
}

static uint64_t due_us(const struct pin_task *t) {
    return t->unit_retry_us > t->unit_due_us ? t->unit_retry_us : t->unit_due_us;
}

static bool wants_call(const struct pin_task *t) {
    return t->unit && t->unit_dirty && !t->unit_call && t->has_target;
}

static bool is_due(const struct pin_task *t, uint64_t now_us) {
    return wants_call(t) && due_us(t) <= now_us;
}

uint64_t pin_unit_next_us(const struct pin *p, const struct pin_task *t) {
    /* With a call in flight its reply sends the next one. */
    if (!p->o.systemd || p->unit.in_flight >= UNIT_IN_FLIGHT_MAX || !wants_call(t))
        return 0;
    uint64_t at = due_us(t);
    return !p->unit.bus && p->unit.retry_us > at ? p->unit.retry_us : at;
}

/* The one whose turn is longest ago: with sets that change faster than systemd takes them none
 * waits for ever behind the others. */
static struct pin_task *next_due(const struct pin *p, uint64_t now_us) {
    struct pin_task *next = NULL;
    for (struct pin_task *t = p->tasks; t; t = t->next)
        if (is_due(t, now_us) && (!next || t->unit_sent_us < next->unit_sent_us))
            next = t;
    return next;
}

static int send_due(struct pin *p, uint64_t now_us) {
    struct pin_task *t;
    int r = 0;
    while (r == 0 && p->unit.in_flight < UNIT_IN_FLIGHT_MAX && (t = next_due(p, now_us)))
        r = call_unit(p, t, now_us);
    return r == 0 ? bus_rewatch(p) : r;
}

void pin_unit_send(struct pin *p) {
    uint64_t now = clock_now_us();
    if (!p->o.systemd || !next_due(p, now))
        return;
    if (!p->unit.bus) {
        if (now < p->unit.retry_us)
            return;
        int r = bus_open(p->bus_address, &p->unit.bus);
        if (r < 0) {
            bus_lost(p, r);
            return;
        }
    }
    int r = send_due(p, now);
    if (r < 0)
        bus_lost(p, r);
}

void pin_unit_forget(struct pin *p, struct pin_task *t) {
    if (t->unit_call)
        p->unit.in_flight--;
    t->unit_call = sd_bus_slot_unref(t->unit_call);
    t->unit_dirty = t->unit_synced = false;
    t->sent_hash[0] = t->sent_hash[1] = 0;
    t->unit_error = 0;
    t->unit_retry_us = t->unit_backoff_us = 0;
}

bool pin_unit_sent(const struct pin_task *t, const struct cpuset *set) {
    uint64_t hash = t->sent_hash[0] ? cpuset_hash(set) : 0;
    return hash && (hash == t->sent_hash[0] || hash == t->sent_hash[1]);
}

int pin_unit_start(struct pin *p) {
    return loop_timer_new(p->loop, on_bus_timer, p, &p->unit.timer);
}

void pin_unit_stop(struct pin *p) {
    p->unit.watch = loop_watch_del(p->unit.watch);
    p->unit.timer = loop_timer_del(p->unit.timer);
    p->unit.bus = sd_bus_close_unref(p->unit.bus);
}
