/* SPDX-License-Identifier: MPL-2.0 */
/* The thread that opens Docker's log files, and the folders that it watches.
 *
 * The file readers (pump_file.c) use it from the loop's thread. A mutex with priority inheritance
 * protects the data of both threads: a reader that holds it and waits for a CPU gets the priority
 * of the opener's thread. The opener's thread allocates no memory, because the allocator's locks do
 * not inherit priorities. */
#include "src/pump/log_opener.h"

#include "paddock/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Files of one container that were found and not taken: 3 s of the fastest rotation that
 * was measured. */
#define FOUND_MAX 64
#define NAME_MAX_LEN 88 /* the 64 characters of a container's id and "-json.log" */
#define CHAIN_TRIES 8
#define NICE_ELSE (-15) /* nice value, when the kernel refuses real time */

struct log_watch {
    struct log_opener *opener;
    loop_cb changed;
    void *ctx;
    int dir_fd, dir_wd, armed_wd;
    char name[NAME_MAX_LEN];
    int newest_fd; /* the newest file that was passed on; -EBADF: none */
    struct log_found found[FOUND_MAX];
    size_t n_found;
    bool called; /* `changed` must be called */
    bool missed; /* files exist that could not be opened or kept */
    struct log_watch *next;
};

struct log_opener {
    struct loop *loop;
    int inotify_fd, stop_fd;
    int due_fd; /* eventfd: the `changed` of some watch must be called */
    struct loop_watch *due_watch;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock; /* protects the list and the watches in it */
    struct log_watch *watches;
};

/* ---- finding files; the caller holds the lock ---- */

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* Returns true when the file with the plain name is still @fd. @fd -EBADF: when no file has
 * that name. */
static bool is_current(const struct log_watch *w, int fd) {
    struct stat now, held;
    if (fstatat(w->dir_fd, w->name, &now, AT_SYMLINK_NOFOLLOW) < 0)
        return fd < 0;
    return fd >= 0 && fstat(fd, &held) == 0 && is_same(&now, &held);
}

/* True when descriptors or memory are used up. */
static bool is_shortage(int r) {
    return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/* Opens file number @k of the rotation (0: the current file). A file that does not belong to
 * dockerd's log counts as absent. */
static int open_number(const struct log_watch *w, unsigned k, struct stat *ret) {
    char name[NAME_MAX_LEN + 16];
    snprintf(name, sizeof(name), k == 0 ? "%s" : "%s.%u", w->name, k);
    AUTO_FD int fd = openat(w->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, ret) < 0)
        return -errno;
    if (!S_ISREG(ret->st_mode) || ret->st_uid != geteuid())
        return -ENOENT;
    return TAKE_FD(fd);
}

struct chain {
    int fd[FOUND_MAX]; /* newest first */
    size_t n;
    bool current; /* the newest file has the plain name */
    bool met;     /* the next older file is the newest that was passed on */
    bool torn;    /* a file could not be opened, so the chain is useless */
};

static void chain_close(struct chain *c) {
    while (c->n > 0)
        fd_close(c->fd[--c->n]);
}

/* Opens the files from the newest to the newest that was passed on, without that one. */
static void chain_collect(const struct log_watch *w, struct chain *c) {
    struct stat known, st, before = {0};
    bool has_known = w->newest_fd >= 0 && fstat(w->newest_fd, &known) == 0;
    bool hole = false;
    *c = (struct chain){0};
    for (unsigned k = 0; c->n < FOUND_MAX; k++) {
        int fd = open_number(w, k, &st);
        c->torn = is_shortage(fd);
        if (c->torn || (fd < 0 && hole))
            return;
        hole = fd < 0;
        if (hole)
            continue; /* a rotation renames from oldest to newest, so one name may be free */
        c->met = has_known && is_same(&st, &known);
        bool twice = c->n > 0 && is_same(&st, &before); /* the file was renamed between two steps */
        if (c->met || twice)
            fd_close(fd);
        if (c->met)
            return;
        c->current = c->current || k == 0;
        if (!twice)
            c->fd[c->n++] = fd;
        before = st;
    }
}

/* Keeps the newest file open, because the next one could not be distinguished from it otherwise.
 * Returns false when no descriptor is left for it, or no room for the other files. */
static bool keep_newest(struct log_watch *w, const struct chain *c) {
    int kept = c->n > FOUND_MAX - w->n_found ? -EBADF : fcntl(c->fd[0], F_DUPFD_CLOEXEC, 0);
    if (kept < 0)
        return false;
    fd_close(w->newest_fd);
    w->newest_fd = kept;
    return true;
}

/* Passes on all files or none. Files that are not passed on now are found again later. */
static void pass_on(struct log_watch *w, struct chain *c) {
    bool gap = w->newest_fd >= 0 && !c->met;
    if (!keep_newest(w, c)) {
        chain_close(c);
        w->missed = true;
    }
    while (c->n > 0) {
        w->found[w->n_found++] = (struct log_found){.fd = c->fd[--c->n], .gap = gap};
        gap = false;
        w->called = true;
    }
}

/* Finds the new files of @w: from the newest to the newest known one. After that the newest file
 * must still have the plain name. Otherwise a rotation happened during the search, the order is not
 * certain, and the search is repeated. */
static void find_new_files(struct log_watch *w) {
    struct chain c;
    w->missed = false;
    if (w->newest_fd >= 0 && is_current(w, w->newest_fd))
        return;
    for (int i = 0; i < CHAIN_TRIES; i++) {
        chain_collect(w, &c);
        /* Met without newer files: a rename is in progress, and the event of the new
         * file follows. */
        if (c.torn || (c.met && c.n == 0))
            break;
        if (is_current(w, c.current ? c.fd[0] : -EBADF))
            break;
        chain_close(&c);
    }
    if (c.torn) {
        chain_close(&c);
        w->missed = true;
    }
    if (c.n > 0)
        pass_on(w, &c);
}

/* ---- the opener's thread ---- */

/* Calls the reader also when a file could not be opened now: a quiet reader has to check
 * again later. */
static void look_and_call(struct log_watch *w) {
    find_new_files(w);
    w->called = w->called || w->missed;
}

/* Our descriptor keeps the folder's inode, so the removal of the folder raises no event. The
 * removal of the log file does. */
static void take_folder_event(struct log_watch *w, const struct inotify_event *e) {
    if (e->mask & IN_IGNORED) /* unmounted */
        w->dir_wd = -1;
    if (e->len == 0 || strncmp(e->name, w->name, strlen(w->name)) != 0)
        return;
    if (!(e->mask & IN_DELETE))
        look_and_call(w);
    else if (strcmp(e->name, w->name) == 0)
        w->called = true;
}

static void take_event(struct log_opener *o, const struct inotify_event *e) {
    for (struct log_watch *w = o->watches; w; w = w->next) {
        if (e->mask & IN_Q_OVERFLOW) {
            look_and_call(w);
        } else if (e->wd == w->armed_wd) {
            w->armed_wd = -1;
            w->called = true;
        } else if (e->wd == w->dir_wd) {
            take_folder_event(w, e);
        }
    }
}

static void take_events(struct log_opener *o) {
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n = read(o->inotify_fd, buf, sizeof(buf));
    bool due = false;
    pthread_mutex_lock(&o->lock);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(buf + at);
        take_event(o, e);
        at += (ssize_t)(sizeof(*e) + e->len);
    }
    for (const struct log_watch *w = o->watches; w; w = w->next)
        due = due || w->called;
    pthread_mutex_unlock(&o->lock);
    if (due && eventfd_write(o->due_fd, 1) < 0)
        return; /* the counter is full: the loop wakes up all the same */
}

/* Gives this thread the lowest real-time priority, or else a better nice value. */
static void be_quick(void) {
    struct sched_param lowest = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) == 0)
        return;
    log_debug("pump", LOG_KV("errno", strerror(errno)), "the opener of files is not in real time");
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_ELSE) < 0)
        log_debug("pump", LOG_KV("errno", strerror(errno)), "nor is it preferred");
}

static void *opener_thread(void *arg) {
    struct log_opener *o = arg;
    struct pollfd p[] = {{.fd = o->inotify_fd, .events = POLLIN},
                         {.fd = o->stop_fd, .events = POLLIN}};
    pthread_setname_np(pthread_self(), "opener");
    be_quick();
    for (;;) {
        if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            return NULL;
        if (p[1].revents)
            return NULL;
        if (p[0].revents)
            take_events(o);
    }
}

/* ---- the loop's thread ---- */

/* A callback may delete any watch, so the search starts again after each call. */
static void on_due(void *arg, uint32_t events) {
    struct log_opener *o = arg;
    eventfd_t count;
    (void)events;
    if (eventfd_read(o->due_fd, &count) < 0)
        return;
    for (;;) {
        pthread_mutex_lock(&o->lock);
        struct log_watch *w = o->watches;
        while (w && !w->called)
            w = w->next;
        if (w)
            w->called = false;
        pthread_mutex_unlock(&o->lock);
        if (!w)
            return;
        w->changed(w->ctx);
    }
}

static int start_thread(struct log_opener *o) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(&o->thread, NULL, opener_thread, o);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    o->started = r == 0;
    return r;
}

int log_opener_new(struct loop *loop, struct log_opener **ret) {
    struct log_opener *o = calloc(1, sizeof(*o));
    if (!o)
        return -ENOMEM;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&o->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    o->loop = loop;
    o->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    o->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    o->due_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = o->inotify_fd < 0 || o->stop_fd < 0 || o->due_fd < 0 ? -errno : 0;
    if (r == 0)
        r = loop_watch_add(loop, o->due_fd, EPOLLIN, on_due, o, &o->due_watch);
    if (r == 0)
        r = start_thread(o);
    if (r < 0) {
        log_opener_free(o);
        return r;
    }
    *ret = o;
    return 0;
}

void log_opener_free(struct log_opener *o) {
    if (!o)
        return;
    if (o->started && eventfd_write(o->stop_fd, 1) == 0)
        pthread_join(o->thread, NULL);
    loop_watch_del(o->due_watch);
    fd_close(o->inotify_fd);
    fd_close(o->stop_fd);
    fd_close(o->due_fd);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* Watches the file of @fd, whatever its name is now. Returns the watch descriptor; -errno. */
static int watch_fd(const struct log_opener *o, int fd, uint32_t mask) {
    char path[40];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(o->inotify_fd, path, mask);
    return wd < 0 ? -errno : wd;
}

int log_opener_watch_new(struct log_opener *o, int dir_fd, const char *name, loop_cb changed,
                         void *ctx, struct log_watch **ret) {
    if (strlen(name) >= NAME_MAX_LEN)
        return -ENAMETOOLONG;
    struct log_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct log_watch){.opener = o,
                            .changed = changed,
                            .ctx = ctx,
                            .dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0),
                            .dir_wd = -1,
                            .armed_wd = -1,
                            .newest_fd = -EBADF};
    snprintf(w->name, sizeof(w->name), "%s", name);
    pthread_mutex_lock(&o->lock);
    int r = w->dir_fd < 0
                ? -errno
                : watch_fd(o, w->dir_fd, IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR);
    if (r >= 0) {
        w->dir_wd = r;
        find_new_files(w);
        w->next = o->watches;
        o->watches = w;
        /* Called from the loop, like every later call. */
        if (w->called && eventfd_write(o->due_fd, 1) < 0)
            log_debug("pump", LOG_KV("errno", strerror(errno)), "eventfd");
    }
    pthread_mutex_unlock(&o->lock);
    if (r < 0) {
        fd_close(w->dir_fd);
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

struct log_watch *log_opener_watch_del(struct log_watch *w) {
    if (!w)
        return NULL;
    struct log_opener *o = w->opener;
    log_opener_watch_disarm(w);
    pthread_mutex_lock(&o->lock);
    struct log_watch **at = &o->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (w->dir_wd >= 0)
        inotify_rm_watch(o->inotify_fd, w->dir_wd);
    pthread_mutex_unlock(&o->lock);
    for (size_t i = 0; i < w->n_found; i++)
        fd_close(w->found[i].fd);
    fd_close(w->newest_fd);
    fd_close(w->dir_fd);
    free(w);
    return NULL;
}

size_t log_opener_watch_take(struct log_watch *w, struct log_found *ret, size_t max) {
    pthread_mutex_lock(&w->opener->lock);
    find_new_files(w); /* finds the files that the thread could not open or keep */
    size_t n = w->n_found < max ? w->n_found : max;
    memcpy(ret, w->found, n * sizeof(*ret));
    w->n_found -= n;
    memmove(w->found, w->found + n, w->n_found * sizeof(*ret));
    pthread_mutex_unlock(&w->opener->lock);
    return n;
}

bool log_opener_watch_has_missed(struct log_watch *w) {
    pthread_mutex_lock(&w->opener->lock);
    bool missed = w->missed;
    pthread_mutex_unlock(&w->opener->lock);
    return missed;
}

bool log_opener_watch_is_removed(const struct log_watch *w) {
    struct stat st;
    return fstat(w->dir_fd, &st) < 0 || st.st_nlink == 0;
}

int log_opener_watch_arm(struct log_watch *w, int fd) {
    pthread_mutex_lock(&w->opener->lock);
    int r = watch_fd(w->opener, fd, IN_MODIFY | IN_ONESHOT);
    if (r >= 0)
        w->armed_wd = r;
    pthread_mutex_unlock(&w->opener->lock);
    return r < 0 ? r : 0;
}

void log_opener_watch_disarm(struct log_watch *w) {
    pthread_mutex_lock(&w->opener->lock);
    if (w->armed_wd >= 0)
        inotify_rm_watch(w->opener->inotify_fd, w->armed_wd);
    w->armed_wd = -1;
    pthread_mutex_unlock(&w->opener->lock);
}
