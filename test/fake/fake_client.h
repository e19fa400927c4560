/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A test's handle on its own fake_dockerd. Every function fails the test itself. */
#include "paddock/docker.h"

struct fake {
    pid_t pid;
    int stdin_fd;
    char dir[64], socket[128], endpoint[160];
};

/** Makes a temp folder and starts the program with @args (NULL-terminated; NULL: none). */
void fake_start(struct fake *f, const char *const *args);
/** Ends the program. The folder stays for fake_start_again(). */
void fake_stop(struct fake *f);
void fake_start_again(struct fake *f, const char *const *args);
/** Ends the program and removes the folder. */
void fake_done(struct fake *f);

/** Sends one control request. @out: the answer's body; may be NULL. */
void fake_control(const struct fake *f, const char *method, const char *path, const char *body,
                  char *out, size_t size);
void fake_rules(const struct fake *f, const char *rules);
/** How many requests "METHOD PATH" dockerd got. */
int fake_count(const struct fake *f, const char *request);
/** The requests "METHOD PATH" ("" = any), oldest first (fake.h: log). Owner: caller. */
json_t *fake_log(const struct fake *f, const char *request);
struct docker *fake_docker(const struct fake *f);

/* What most tests of src/docker have: a fake_dockerd and a client for it. */
struct fake_pair {
    struct fake fake;
    struct docker *docker;
};
/** cmocka's setup and teardown. */
int fake_pair_setup(void **state);
int fake_pair_teardown(void **state);
/** 20 s from now. */
struct call fake_call(void);
