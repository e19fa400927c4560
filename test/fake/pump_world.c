/* SPDX-License-Identifier: MPL-2.0 */
/* The fixture of the log pump's tests (pump_world.h): a task that prints numbered lines, and the
 * readers that count them. */
#include "fake/pump_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int setup_job(void **state, const char *job, unsigned timeout_ms) {
    struct pump_world *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    world_start(&x->w, "{}", timeout_ms);
    world_task(&x->w, &x->task, "web", job);
    world_run(&x->w, &x->task, NULL);
    *state = x;
    return 0;
}

int pump_world_setup(void **state) {
    return setup_job(state, PUMP_WORLD_RUNS, 0);
}

int pump_world_setup_hasty(void **state) {
    return setup_job(state, PUMP_WORLD_RUNS, PUMP_WORLD_HASTY_MS);
}

int pump_world_setup_tty(void **state) {
    return setup_job(state, PUMP_WORLD_TERMINAL, 0);
}

int pump_world_teardown(void **state) {
    struct pump_world *x = *state;
    reader_done(&x->out);
    reader_done(&x->err);
    world_done(&x->w);
    task_config_done(&x->task);
    free(x);
    return 0;
}

void pump_world_read(struct pump_world *x) {
    reader_start(&x->out, x->task.stdout_path);
    reader_start(&x->err, x->task.stderr_path);
}

void pump_world_print(struct pump_world *x, const char *text) {
    fake_control(&x->w.fake, "POST", "print/web-a1", text, NULL, 0);
}

void pump_world_lines(struct pump_world *x, unsigned count, unsigned max) {
    char path[96];
    snprintf(path, sizeof(path), "lines/web-a1?count=%u&max=%u", count, max);
    fake_control(&x->w.fake, "POST", path, "", NULL, 0);
}

/* The fake's numbered lines must come from 0 on, each once and whole. Returns how many came. */
unsigned pump_world_count(struct reader *r) {
    size_t len;
    unsigned n = 0;
    AUTO_FREE char *text = reader_text(r, &len);
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, n++) {
        char want[16];
        snprintf(want, sizeof(want), "%08u ", n);
        if (strncmp(at, want, 9) != 0)
            fail_msg("%s: line %u is \"%.40s\"", r->path, n, at);
        for (char *p = at + 9; p < end; p++)
            if (*p != 'a' + (int)(n % 26))
                fail_msg("%s: line %u is torn", r->path, n);
    }
    return n;
}

void pump_world_end(struct pump_world *x, unsigned out, unsigned err) {
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    reader_until_eof(&x->out);
    reader_until_eof(&x->err);
    assert_int_equal(pump_world_count(&x->out), out);
    assert_int_equal(pump_world_count(&x->err), err);
}

long pump_world_rss_kb(pid_t pid) {
    char path[64], line[128];
    long kb = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    fclose(f);
    return kb;
}

bool pump_world_has_ended(void *pid) {
    siginfo_t info = {0};
    int r = waitid(P_PID, (id_t) * (pid_t *)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    return r < 0 || info.si_pid != 0;
}

struct other_pump {
    struct world *w;
    pid_t first;
};

static bool pump_is_other(void *ctx) {
    struct other_pump *o = ctx;
    pid_t now = world_pump(o->w);
    return now && now != o->first;
}

void pump_world_until_other(struct pump_world *x, pid_t first) {
    struct other_pump o = {&x->w, first};
    world_until(pump_is_other, &o, "another pump");
}
