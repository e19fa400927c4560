/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A container's systemd unit has a copy of the container's set. This file does not know tasks: a
 * struct pin_unit is embedded in its owner and points to the owner's set.
 *
 * The pin thread calls all of these functions. The lock that pin_unit_begin() gets is the
 * reconciler's; status reads the units with it. "Lock held" and "no lock held" are about
 * that one. */
#include "paddock/cpuset.h"
#include "paddock/loop.h"

#include <pthread.h>
#include <systemd/sd-bus.h>

struct pin_unit {
    const char *name;          /* "docker-<id>.scope", borrowed; NULL = no unit */
    const struct cpuset *set;  /* the set that the unit must have, borrowed; NULL = not known yet */
    const struct cpuset *mems; /* AllowedMemoryNodes, borrowed; NULL = not changed */
    bool hold;                 /* nothing is sent now */
    bool dirty;                /* @set must be sent */
    bool synced;               /* systemd accepted the last set */
    int error;                 /* -errno of the last call, 0 = none failed */
    uint64_t due_us;           /* when @set has been stable for long enough */
    uint64_t retry_us, backoff_us;
    uint64_t sent_us;
    uint64_t sent_hash[2];   /* of the last two different sets that systemd was asked for */
    sd_bus_slot *call;       /* in flight; NULL = none */
    struct pin_units *units; /* NULL = not in the list */
    struct pin_unit *next;
};

struct pin_units {
    bool on;             /* false = units are not changed */
    const char *address; /* of the bus, borrowed; NULL = the host's system bus */
    struct loop *loop;
    pthread_mutex_t *lock;
    struct pin_unit *list;
    sd_bus *bus; /* NULL = not connected */
    struct loop_watch *watch;
    struct loop_timer *timer; /* the next set that is due, and sd-bus's own timeouts */
    uint64_t retry_us, backoff_us;
    unsigned in_flight;
    bool idle;              /* nothing to send until pin_unit_touch() */
    uint64_t calls, errors; /* counted since the start */
};

/** Sets up @u, whose @on and @address are set. Returns 0; -ENOMEM. */
int pin_unit_begin(struct pin_units *u, struct loop *loop, pthread_mutex_t *lock) MUST_CHECK;
/** Closes the connection. The list is empty by then. */
void pin_unit_end(struct pin_units *u);

/** Starts to keep the unit @name equal to x->set. Lock held. */
void pin_unit_open(struct pin_units *u, struct pin_unit *x, const char *name, uint64_t now_us);
/** Stops that, and drops a call in flight. Does nothing for a unit that is not open. Lock held. */
void pin_unit_close(struct pin_unit *x);
/** Reports that the set has changed, or that the unit's copy differs. The set is sent when it has
 * been stable for a while. Lock held. */
void pin_unit_touch(struct pin_unit *x, uint64_t now_us);
/** Sets x->mems and x->hold. Nodes that are new to the unit are sent. Lock held. */
void pin_unit_set_mems(struct pin_unit *x, const struct cpuset *mems, bool hold, uint64_t now_us);
/** Sends the due sets, and sets the timer for the others. No lock held. */
void pin_unit_send(struct pin_units *u);
/** Returns true when @set is one of the last two different sets that were sent to systemd. systemd
 * applies a set some milliseconds after its answer, when a different set may be wanted already. */
bool pin_unit_sent(const struct pin_unit *x, const struct cpuset *set);
