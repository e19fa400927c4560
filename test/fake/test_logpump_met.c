/* A pump that is met anew is sent the requests of all tasks, also when sending one fails. */
#include "fake/pump_world.h"

#include "paddock/logpump.h"
#include "src/logs/logs_socket.h"
#include "src/task/driver_priv.h"

#include <glob.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_int to_fail;

int __real_logs_socket_send(int fd, const json_t *rq, int pass_fd);
int __wrap_logs_socket_send(int fd, const json_t *rq, int pass_fd);
int __wrap_logs_socket_send(int fd, const json_t *rq, int pass_fd) {
    const char *op = json_string_value(json_object_get(rq, "op"));
    if (strcmp(op, "carry") == 0 && atomic_fetch_sub(&to_fail, 1) > 0)
        return -EPIPE;
    return __real_logs_socket_send(fd, rq, pass_fd);
}

struct carried {
    struct logpump *pump;
    size_t tasks;
};

static bool are_carried(void *ctx) {
    const struct carried *c = ctx;
    AUTO_JSON json_t *status = logpump_status(c->pump);
    return json_array_size(json_object_get(status, "tasks")) == c->tasks;
}

static void forget_positions(const struct world *w) {
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*/positions/*", w->run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        assert_int_equal(unlink(found.gl_pathv[i]), 0);
    globfree(&found);
}

static void test_pump__request_was_not_sent__sent_again(void **state) {
    struct pump_world *x = *state;
    struct carried c = {.pump = x->w.d->pump, .tasks = 2};
    struct task_config two;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, NULL);
    pump_world_read(x);
    pid_t first = world_pump(&x->w);
    forget_positions(&x->w); /* the plugin alone knows the tasks */
    atomic_store(&to_fail, 1);
    world_pump_kill(&x->w);
    pump_world_until_other(x, first);
    world_until(are_carried, &c, "the next pump carries all tasks");
    assert_true(atomic_load(&to_fail) < 0);
    pump_world_print(x, "after\n");
    reader_until(&x->out, "after\n");
    task_config_done(&two);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_pump__request_was_not_sent__sent_again),
};
WORLD_MAIN(tests)
