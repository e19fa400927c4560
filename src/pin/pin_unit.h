#pragma once
/* The container's systemd unit holds a copy of its set. Nothing here knows what a task is: a
 * struct pin_unit is embedded in its owner and points to the owner's set.
 *
 * The pin thread calls all of these functions. The lock that pin_unit_begin() gets is the
 * reconciler's; status reads the units with it. "Lock held" and "no lock held" are about that one.
 */
#include "paddock/cpuset.h"
#include "paddock/loop.h"

#include <pthread.h>
#include <systemd/sd-bus.h>

struct pin_unit {
    const char *name;          /* "docker-<id>.scope", borrowed; NULL = no unit */
    const struct cpuset *set;  /* what the unit is to hold, borrowed; NULL = not known yet */
    const struct cpuset *mems; /* AllowedMemoryNodes, borrowed; NULL = left alone */
    bool hold;                 /* nothing is sent now */
    bool dirty;                /* @set is to be sent */
    bool synced;               /* systemd took the last set */
    int error;                 /* -errno of the last call, 0 = none failed */
    uint64_t due_us;           /* @set has been stable by then */
    uint64_t retry_us, backoff_us;
    uint64_t sent_us;
    uint64_t sent_hash[2];   /* of the last two different sets that systemd was asked for */
    sd_bus_slot *call;       /* in flight; NULL = none */
    struct pin_units *units; /* NULL = not in the list */
    struct pin_unit *next;
};

struct pin_units {
    bool on;             /* else units are left alone */
    const char *address; /* of the bus, borrowed; NULL = the machine's */
    struct loop *loop;
    pthread_mutex_t *lock;
    struct pin_unit *list;
    sd_bus *bus; /* NULL = not connected */
    struct loop_watch *watch;
    struct loop_timer *timer; /* the next set that is due, and sd-bus's own timeouts */
    uint64_t retry_us, backoff_us;
    unsigned in_flight;
    bool idle;              /* nothing is to be sent until a unit is touched */
    uint64_t calls, errors; /* counted since the start */
};

/** Sets up @u, whose @on and @address are set. Returns 0; -ENOMEM. */
int pin_unit_begin(struct pin_units *u, struct loop *loop, pthread_mutex_t *lock) MUST_CHECK;
/** Closes the connection. The list is empty by then. */
void pin_unit_end(struct pin_units *u);

/** Begins to keep the unit @name in step with x->set. Lock held. */
void pin_unit_open(struct pin_units *u, struct pin_unit *x, const char *name, uint64_t now_us);
/** Ends that, and forgets a call in flight. Does nothing for a unit that is not open. Lock held. */
void pin_unit_close(struct pin_unit *x);
/** The set has changed, or was found changed in the unit. It is sent when it has been stable for a
 * while. Lock held. */
void pin_unit_touch(struct pin_unit *x, uint64_t now_us);
/** Sets x->mems and x->hold. Nodes that are new to the unit are sent. Lock held. */
void pin_unit_set_mems(struct pin_unit *x, const struct cpuset *mems, bool hold, uint64_t now_us);
/** Sends what is due, and arms the timer for the rest. No lock held. */
void pin_unit_send(struct pin_units *u);
/** Whether systemd was asked for @set by one of the last two calls. It applies a set some
 * milliseconds after its answer, when another set may be wanted already. */
bool pin_unit_sent(const struct pin_unit *x, const struct cpuset *set);
