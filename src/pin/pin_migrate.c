/* SPDX-License-Identifier: MPL-2.0 */
/* Migrates the memory of one cgroup at a time, in a thread that exists only during a migration.
 *
 * pin_mems.c starts it. Migrations are rare, so there is no permanent thread for them. The thread
 * cannot be interrupted while the kernel copies memory, so the pin thread does not join it. Both
 * threads share the job, and the last one that needs it frees it. */
#include "src/pin/pin_migrate.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>

struct pin_migrate_job {
    atomic_int users;
    atomic_bool done;
    int r; /* valid when @done */
    int done_fd;
    struct cgroup_file file;
    struct cpuset set;
    char scratch[CPUSET_TEXT_MAX];
};

static void job_drop(struct pin_migrate_job *j) {
    if (!j || atomic_fetch_sub(&j->users, 1) > 1)
        return;
    cgroup_file_close(&j->file);
    fd_close(j->done_fd);
    free(j);
}

static void *migrate_thread(void *arg) {
    struct pin_migrate_job *j = arg;
    pthread_setname_np(pthread_self(), "pin-mems");
    j->r = cgroup_file_write(&j->file, &j->set, j->scratch, sizeof(j->scratch));
    atomic_store(&j->done, true);
    eventfd_write(j->done_fd, 1);
    job_drop(j);
    return NULL;
}

/* The thread inherits the blocked signals of the pin thread, but not its priority. */
static int start_thread(struct pin_migrate_job *j) {
    pthread_attr_t a;
    pthread_t thread;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    int r = -pthread_create(&thread, &a, migrate_thread, j);
    pthread_attr_destroy(&a);
    return r;
}

int pin_migrate_start(struct pin_migrator *m, const struct cgroup_file *f,
                      const struct cpuset *set) {
    struct pin_migrate_job *j = calloc(1, sizeof(*j));
    if (!j)
        return -ENOMEM;
    atomic_init(&j->users, 1);
    j->set = *set;
    j->file = *f;
    j->file.fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    j->done_fd = fcntl(m->done_fd, F_DUPFD_CLOEXEC, 0);
    int r = j->file.fd < 0 || j->done_fd < 0 ? -errno : 0;
    if (r == 0) {
        atomic_store(&j->users, 2);
        r = start_thread(j);
        if (r < 0)
            atomic_store(&j->users, 1);
    }
    if (r < 0) {
        job_drop(j);
        return r;
    }
    m->job = j;
    return 0;
}

int pin_migrate_finish(struct pin_migrator *m, int *ret_r) {
    eventfd_t n;
    if (eventfd_read(m->done_fd, &n) < 0 || !m->job || !atomic_load(&m->job->done))
        return 0;
    *ret_r = m->job->r;
    job_drop(TAKE_PTR(m->job));
    return 1;
}

int pin_migrate_begin(struct pin_migrator *m) {
    m->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return m->done_fd < 0 ? -errno : 0;
}

void pin_migrate_end(struct pin_migrator *m) {
    job_drop(TAKE_PTR(m->job));
    m->done_fd = fd_close(m->done_fd);
}
