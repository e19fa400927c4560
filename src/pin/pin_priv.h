#pragma once
/* The pin thread's own state. Only the pin thread changes it, and holds the lock while it does; it
 * may read without. Other threads (status, metrics) read under the lock. */
#include "paddock/affinity.h"
#include "paddock/clock.h"
#include "paddock/loop.h"
#include "src/pin/pin_source.h"

#include <pthread.h>
#include <stdatomic.h>
#include <systemd/sd-bus.h>

#define PIN_HISTORY 64u
#define PIN_SET_TEXT 56u /* a set in the history: longer ones are cut and end in "..." */
#define PIN_NODES_MAX 256u

/* A correction that was made. */
struct pin_fix {
    int64_t at_ns; /* wall clock */
    enum pin_cause cause;
    pid_t writer; /* of the set that was replaced; 0 = not known */
    char old_set[PIN_SET_TEXT], new_set[PIN_SET_TEXT];
};

struct pin_writer {
    pid_t pid;
    bool fresh; /* has written since the last repair */
    uint64_t at_us;
    char comm[32];
};

enum pin_told { PIN_TOLD_REPAIRED = PIN_UNMANAGED + 1, PIN_TOLDS };

struct pin_task {
    uint64_t seq; /* rises along the list */
    struct pin_coord c;
    struct pin_task *next;
    bool seen; /* in the snapshot that is being merged */

    /* wanted */
    const char *below; /* of c.source, below the root; "" = none */
    bool has_own;
    struct cpuset own;
    struct pin_parent *parent; /* NULL without a source */
    struct cgroup_file source_cpus, source_effective;
    enum pin_hold hold;
    struct cpuset last_good;
    bool has_last_good;

    /* the container */
    char *dir_path; /* NULL = not open */
    struct cgroup_file cpus, effective, mems;
    struct pin_inner *inner; /* NULL = its process is in the container's own folder */
    int watch, source_watch; /* inotify's, -1 = none */
    bool watch_off;          /* the watch was removed until the next tick, of a contested task */
    bool marked;             /* by fanotify */
    struct pin_writer writer;

    /* state */
    bool dirty,
        source_dirty; /* the container's, the source's files have to be read; at a tick all */
    bool gone;
    uint64_t sent_hash[2]; /* of the sets that systemd was asked for, the last one first */
    bool quiet; /* at the last look nothing was to be done, and nothing will be until a file changes
                 */
    enum pin_state state;
    struct cpuset refused; /* what the kernel did not take, with PIN_FAILED */
    int error;             /* 0, or the -errno that goes with UNMANAGED and FAILED */
    uint64_t retry_at_us, backoff_us;
    uint64_t overwrites[PIN_CONTEST_COUNT]; /* ring of times */
    uint64_t told_us[PIN_TOLDS];
    enum pin_state told; /* the state of the last task event */

    /* the unit */
    const char *unit;     /* tail of dir_path, NULL = no unit */
    struct pin *pin;      /* for the reply */
    struct cpuset target; /* what was set or found right last: the unit gets this */
    bool has_target;
    sd_bus_slot *unit_call;
    bool unit_dirty, unit_synced;
    int unit_error;
    uint64_t unit_retry_us, unit_backoff_us, unit_sent_us;
    uint64_t unit_due_us; /* the set has been stable until then */

    uint64_t corrections[PIN_CAUSES], overwrites_n, fixes_n, errors;
    struct pin_fix fixes[PIN_HISTORY];
};

struct pin_counters {
    uint64_t passes, ticks, pass_cpu_ns, tick_cpu_ns, corrections[PIN_CAUSES], write_errors;
    uint64_t events, unit_calls, unit_errors, reopened, watch_errors;
};

struct pin_note {
    struct pin_task *task;
    enum pin_state state;
    char *message, *old_set, *new_set;
    const char *cause;
    struct pin_note *next;
};

struct pin_unit_bus {
    sd_bus *bus; /* NULL = not connected */
    struct loop_watch *watch;
    struct loop_timer *timer; /* sd-bus's own timeouts, and the back-off */
    uint64_t retry_us, backoff_us;
    unsigned in_flight;
};

struct pin {
    struct pin_options o;
    char *cgroup_root, *bus_address;
    char reason[128];

    struct loop *loop;
    pthread_t thread;
    bool running;
    int wake_fd, inotify_fd, fanotify_fd;
    struct loop_watch *wake_watch, *inotify_watch, *fanotify_watch;
    struct loop_timer *tick, *retry; /* the earliest of all retries */
    uint64_t watch_retry_us, watch_backoff_us;
    atomic_int ended; /* -errno of the loop that has ended */
    uint64_t next_tick_us;
    bool warned_inotify, want_snapshot;
    struct pin_unit_bus unit;

    pthread_mutex_t lock;
    struct pin_task *tasks;
    uint64_t seq, removed; /* the last one given; how often a task was removed */
    struct pin_parent *parents;
    size_t tasks_n;
    struct cpuset reserved;    /* by all tasks that we know */
    struct cgroup_file online; /* the root's effective set: the machine's online CPUs */
    bool online_changed;
    struct affinity initial;  /* the mask that this process was started with */
    int initial_r;            /* 0, or why it could not be read: then no mask is set */
    uint64_t affinity_hash;   /* of the set that our threads have; 0 = none was set */
    struct cpuset *node_cpus; /* of node i; NULL unless mems are followed */
    unsigned nodes_n;
    struct pin_counters counters;
    struct pin_note *notes, **notes_last;
    char scratch[CPUSET_TEXT_MAX];
};

/* pin.c */
/* Looks at what is dirty, or at everything. No lock held. */
void pin_pass(struct pin *p, bool at_tick);

/* pin_task.c */
int pin_task_new(struct pin *p, struct pin_coord *take, struct pin_task **ret) MUST_CHECK;
void pin_task_free(struct pin *p, struct pin_task *t);
void pin_task_close(struct pin *p, struct pin_task *t);
/* One look at one task, and the write if it takes one. Lock held. */
void pin_task_look(struct pin *p, struct pin_task *t, bool at_tick, uint64_t now_us);
/* What is shown: the state with the unit's in it. */
enum pin_state pin_task_state(const struct pin *p, const struct pin_task *t);

/* pin_inner.c */
/* The folders between the container's own one (@dir_path) and that of its process (@own). */
int pin_inner_open(int root_fd, const char *dir_path, const char *own,
                   struct pin_inner **ret) MUST_CHECK;
struct pin_inner *pin_inner_close(struct pin_inner *x);
/* Reads them again; whether one has changed. NULL allowed. */
bool pin_inner_read(struct pin_inner *x, char *scratch, size_t size);
/* Writes @set to each that has a text of its own and another one. @up: from the innermost one on,
 * for a narrower set; else from the outermost one on. Returns how many writes failed. NULL allowed.
 */
unsigned pin_inner_write(struct pin_inner *x, const struct cpuset *set, bool up, char *scratch,
                         size_t size);

/* pin_watch.c */
int pin_watch_start(struct pin *p) MUST_CHECK;
void pin_watch_stop(struct pin *p);
int pin_watch_add(struct pin *p, const struct cgroup_file *f);
int pin_watch_del(struct pin *p, int watch);

/* pin_writer.c */
/* From now on the writers of this task's file are known by name. */
void pin_writer_mark(struct pin *p, struct pin_task *t);
void pin_writer_unmark(struct pin *p, struct pin_task *t);
/* Drains the pending fanotify events. */
void pin_writer_read(struct pin *p);
/* Sets t->writer to the writer of the set that is about to be replaced; pid 0 when not known. */
void pin_writer_take(struct pin *p, struct pin_task *t);
void pin_writer_stop(struct pin *p);

/* pin_affinity.c */
/* Where the plugin's threads may run: those CPUs of @initial that are online and not reserved, or
 * @initial when none is left. Pure. */
void pin_affinity_wanted(const struct cpuset *initial, const struct cpuset *online,
                         const struct cpuset *reserved, struct cpuset *ret);
/* Sets it when it has changed. Pin thread, no lock held. */
void pin_affinity_follow(struct pin *p);

/* pin_unit.c */
int pin_unit_start(struct pin *p) MUST_CHECK;
void pin_unit_stop(struct pin *p);
/* The unit is to get the task's set, when that has been stable for a while. Lock held. */
void pin_unit_touch(struct pin_task *t, uint64_t now_us);
/* When the next call is due; 0 = none is. */
uint64_t pin_unit_next_us(const struct pin *p, const struct pin_task *t);
/* Sends what is due. No lock held. */
void pin_unit_send(struct pin *p);
void pin_unit_forget(struct pin *p, struct pin_task *t);
/* Whether systemd was asked for @set by one of the last two calls. It applies a set some
 * milliseconds after its answer, when another set may be wanted already. */
bool pin_unit_sent(const struct pin_task *t, const struct cpuset *set);

/* pin_note.c */
/* A set as short text, "..." at the end when cut, "-" for the empty set. */
void pin_text(const struct cpuset *s, char *out, size_t size);
void pin_note_fix(struct pin *p, struct pin_task *t, const char *old_set, const struct cpuset *set,
                  enum pin_cause cause);
/* @fix: what was corrected in the same look, NULL = nothing. */
void pin_note_state(struct pin *p, struct pin_task *t, const struct pin_fix *fix, uint64_t now_us);
/* When a state that was not reported yet, because it was reported a short time ago, is to be
 * reported; 0 = never. */
uint64_t pin_note_next_us(const struct pin *p, const struct pin_task *t);
/* Hands the notes to the event callback. No lock held. */
void pin_note_flush(struct pin *p);
