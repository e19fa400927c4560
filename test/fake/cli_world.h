/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of the command line share. A double of the plugin serves the control socket: it
 * answers each request with the test's text, or not at all. The program runs as a person starts it.
 * Every function fails the test itself. */
#include "unit/cm.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/** The folder of the control socket, and the socket itself. */
extern char cli_dir[64], cli_socket[128];
/** A status document with one task. The double answers with it until peer_says(). */
extern const char cli_status_doc[];

/** cmocka's setup and teardown. */
int cli_world_setup(void **state);
int cli_world_teardown(void **state);

/* ---- The double of the plugin ---- */

/** How many bytes of its text it sends before it ends; 0 = all. */
extern atomic_size_t peer_cut;
/** It sends one byte at a time, without an end. */
extern atomic_bool peer_dribbles;
/** It answers with @text, which must stay valid; NULL = no answer. Resets the two above. */
void peer_says(const char *text);
/** Its last request was @want. */
void peer_assert_asked(const char *want);
bool peer_was_asked(void);

/* ---- The program ---- */

struct ran {
    pid_t pid;
    int out_fd, err_fd, status;
    char out[65536], err[8192];
};

/** Starts it with these arguments, which end with NULL. */
void ran_start(struct ran *r, const char *const *args);
/** The same with the pair @out as its stdout: the first is the test's end, the second the
 * program's, which is closed here. */
void ran_start_on(struct ran *r, int out[2], const char *const *args);
/** The same with a terminal as its stdout. */
void ran_start_on_terminal(struct ran *r, const char *const *args);
/** Reads what comes within 100 ms. */
void ran_read_some(struct ran *r);
/** Reads until both outputs have ended, or one of them contains @text. @text: NULL = the end. */
void ran_read_on(struct ran *r, const char *text);
/** Closes its outputs and waits for its end. */
void ran_finish(struct ran *r);
/** Starts it and waits for its end. */
void ran_run(struct ran *r, const char *const *args);
#define RUN(r, ...) ran_run(r, (const char *const[]){__VA_ARGS__, NULL})

/** @text contains @part. */
void assert_says(const char *text, const char *part);

#define CLI_TEST(name) cmocka_unit_test_setup_teardown(name, cli_world_setup, cli_world_teardown)
