/* SPDX-License-Identifier: MPL-2.0 */
/* Keeps a written cpuset in place. systemd stores its own copy (the scope's AllowedCPUs) and writes
 * it back on daemon-reload; the container runtime does the same on update.
 *
 * The pin thread calls this file to keep that copy equal to the task's set, by
 * Manager.SetUnitProperties(runtime) on the system bus. The calls are asynchronous and never delay
 * a write. Without a bus everything else works; the connection is retried with a back-off of 1 s to
 * 60 s. */
#include "src/pin/pin_unit.h"

#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/pin_plan.h"

#include <string.h>
#include <sys/epoll.h>

#define UNIT_CALL_TIMEOUT_US (5 * US_PER_SEC)
/* systemd handles calls one by one anyway, 20 to 50 ms each in an emulated guest. A set that waits
 * in systemd's queue can be stale when systemd applies it. A set that waits here is replaced by a
 * newer one. With 32 calls in flight, many reservations in a row put shared containers back on a
 * reserved core for short times, up to 2.4 s later (0.16 core-seconds in 30 s). */
#define UNIT_IN_FLIGHT_MAX 1u

/* A set is sent when it has not changed for this long. systemd applies a set some milliseconds
 * after its answer. When another set is wanted by then, systemd overwrites it with the
 * older set. */
#define UNIT_STABLE_US (150 * US_PER_MS)

static void send_next(struct pin_units *u);

/* ---- the connection ---- */

/* A restarted systemd may not have the sets that were sent before, so all sets are sent again. */
static void bus_lost(struct pin_units *u, int r) {
    u->watch = loop_watch_del(u->watch);
    pthread_mutex_lock(u->lock);
    for (struct pin_unit *x = u->list; x; x = x->next) {
        x->call = sd_bus_slot_unref(x->call);
        x->error = r;
        x->dirty = true;
        x->synced = false;
    }
    pthread_mutex_unlock(u->lock);
    u->in_flight = 0;
    u->idle = false;
    u->bus = sd_bus_close_unref(u->bus);
    u->backoff_us = pin_plan_backoff_longer(u->backoff_us);
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
    send_next(ctx);
}

static void on_timer(void *ctx) {
    struct pin_units *u = ctx;
    if (u->bus)
        send_next(u);
    else
        pin_unit_send(u);
}

static void send_next(struct pin_units *u) {
    int r;
    u->idle = false;
    do {
        r = sd_bus_process(u->bus, NULL);
    } while (r > 0 && u->bus);
    if (r < 0)
        bus_lost(u, r);
    pin_unit_send(u);
}

/* ---- the calls ---- */

static int on_reply(sd_bus_message *m, void *ctx, sd_bus_error *unused) {
    struct pin_unit *x = ctx;
    struct pin_units *u = x->units;
    int code = sd_bus_message_get_errno(m);
    (void)unused;
    u->in_flight--;
    u->backoff_us = 0;
    pthread_mutex_lock(u->lock);
    x->call = sd_bus_slot_unref(x->call);
    x->error = -code;
    x->synced = code == 0 && !x->dirty;
    if (code) {
        u->errors++;
        x->dirty = true;
        x->backoff_us = pin_plan_backoff_longer(x->backoff_us);
        x->retry_us = clock_now_us() + x->backoff_us;
    } else {
        x->backoff_us = x->retry_us = 0;
    }
    pthread_mutex_unlock(u->lock);
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

static int fill_call(const struct pin_unit *x, sd_bus_message *m) {
    int r = sd_bus_message_append(m, "sb", x->name, 1);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_set(m, "AllowedCPUs", x->set);
    if (r >= 0 && x->mems)
        r = append_set(m, "AllowedMemoryNodes", x->mems);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/* Sending the same set again keeps the different set before it in the list. */
static void note_sent(struct pin_unit *x, const struct cpuset *set) {
    uint64_t hash = cpuset_hash(set);
    if (hash == x->sent_hash[0])
        return;
    x->sent_hash[1] = x->sent_hash[0];
    x->sent_hash[0] = hash;
}

static int call_unit(struct pin_units *u, struct pin_unit *x, uint64_t now_us) {
    sd_bus_message *m = NULL;
    int r = sd_bus_message_new_method_call(u->bus, &m, "org.freedesktop.systemd1",
                                           "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "SetUnitProperties");
    if (r >= 0)
        r = fill_call(x, m);
    sd_bus_slot *slot = NULL;
    if (r >= 0)
        r = sd_bus_call_async(u->bus, &slot, m, on_reply, x, UNIT_CALL_TIMEOUT_US);
    sd_bus_message_unref(m);
    if (r < 0)
        return r;
    u->in_flight++;
    pthread_mutex_lock(u->lock);
    u->calls++;
    note_sent(x, x->set);
    x->call = slot;
    x->dirty = false;
    x->sent_us = now_us;
    pthread_mutex_unlock(u->lock);
    return 0;
}

/* ---- order of the calls ---- */

static uint64_t due_us(const struct pin_unit *x) {
    return x->retry_us > x->due_us ? x->retry_us : x->due_us;
}

static bool wants_call(const struct pin_unit *x) {
    return x->dirty && !x->call && x->set && !x->hold;
}

/* Returns the due unit whose last call is the oldest. Otherwise units whose sets change faster than
 * systemd accepts them would make the others wait for ever. */
static struct pin_unit *next_due(const struct pin_units *u, uint64_t now_us) {
    struct pin_unit *next = NULL;
    for (struct pin_unit *x = u->list; x; x = x->next)
        if (wants_call(x) && due_us(x) <= now_us && (!next || x->sent_us <= next->sent_us))
            next = x;
    return next;
}

static int send_due(struct pin_units *u) {
    uint64_t now = clock_now_us();
    struct pin_unit *x = next_due(u, now);
    int r = 0;
    if (!x || (!u->bus && now < u->retry_us))
        return 0;
    if (!u->bus)
        r = bus_open(u->address, &u->bus);
    while (r == 0 && u->in_flight < UNIT_IN_FLIGHT_MAX && (x = next_due(u, now)))
        r = call_unit(u, x, now);
    return r;
}

/* Returns when the next call is due. While a call is in flight, its reply starts the next one. */
static uint64_t next_us(const struct pin_units *u) {
    uint64_t at = UINT64_MAX;
    for (const struct pin_unit *x = u->list; x && u->in_flight < UNIT_IN_FLIGHT_MAX; x = x->next)
        if (wants_call(x) && due_us(x) < at)
            at = due_us(x);
    return !u->bus && at < u->retry_us ? u->retry_us : at;
}

/* Sets the timer and the watch for the next due set and for what sd-bus waits for. */
static int set_timer(struct pin_units *u) {
    uint64_t at = next_us(u), bus_at = UINT64_MAX;
    int r = 0;
    if (u->bus) {
        int events = sd_bus_get_events(u->bus);
        r = events < 0 ? events : sd_bus_get_timeout(u->bus, &bus_at);
        if (r >= 0)
            r = u->watch ? loop_watch_set(u->watch, (uint32_t)events)
                         : loop_watch_add(u->loop, sd_bus_get_fd(u->bus), (uint32_t)events, on_bus,
                                          u, &u->watch);
    }
    u->idle = at == UINT64_MAX && u->in_flight == 0;
    at = bus_at < at ? bus_at : at;
    loop_timer_at(u->timer, at == UINT64_MAX ? 0 : at ? at : 1);
    return r < 0 ? r : 0;
}

void pin_unit_send(struct pin_units *u) {
    if (!u->on || u->idle)
        return;
    int r = send_due(u);
    if (r >= 0)
        r = set_timer(u);
    if (r < 0) {
        bus_lost(u, r);
        set_timer(u); /* without a bus it cannot fail */
    }
}

/* ---- one unit ---- */

void pin_unit_touch(struct pin_unit *x, uint64_t now_us) {
    if (!x->units)
        return;
    x->dirty = true;
    x->due_us = now_us + UNIT_STABLE_US;
    x->units->idle = false;
}

void pin_unit_set_mems(struct pin_unit *x, const struct cpuset *mems, bool hold, uint64_t now_us) {
    bool fresh = mems && !x->mems, released = x->hold && !hold;
    x->mems = mems;
    x->hold = hold;
    if (fresh)
        pin_unit_touch(x, now_us);
    if (released && x->units)
        x->units->idle = false;
}

void pin_unit_open(struct pin_units *u, struct pin_unit *x, const char *name, uint64_t now_us) {
    if (!u->on || !name)
        return;
    x->name = name;
    x->units = u;
    x->next = u->list;
    u->list = x;
    pin_unit_touch(x, now_us);
}

void pin_unit_close(struct pin_unit *x) {
    struct pin_units *u = x->units;
    if (!u)
        return;
    for (struct pin_unit **at = &u->list; *at; at = &(*at)->next)
        if (*at == x) {
            *at = x->next;
            break;
        }
    if (x->call)
        u->in_flight--;
    sd_bus_slot_unref(x->call);
    *x = (struct pin_unit){.set = x->set, .sent_us = x->sent_us};
}

bool pin_unit_sent(const struct pin_unit *x, const struct cpuset *set) {
    uint64_t hash = x->sent_hash[0] ? cpuset_hash(set) : 0;
    return hash && (hash == x->sent_hash[0] || hash == x->sent_hash[1]);
}

int pin_unit_begin(struct pin_units *u, struct loop *loop, pthread_mutex_t *lock) {
    u->loop = loop;
    u->lock = lock;
    return loop_timer_new(loop, on_timer, u, &u->timer);
}

void pin_unit_end(struct pin_units *u) {
    u->watch = loop_watch_del(u->watch);
    u->timer = loop_timer_del(u->timer);
    u->bus = sd_bus_close_unref(u->bus);
}
