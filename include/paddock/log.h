#pragma once
/* One JSON object a line on stderr, in the form that go-plugin's host reads (plugin-side hclog):
 * "@level", "@message", "@module", "@timestamp" are always strings, the time has 6 fractional
 * digits (else the host drops the line, or dies of a wrong type). Each line is one write(2) of at
 * most PIPE_BUF bytes, so that lines of many threads do not mix and a pipe takes one whole or not
 * at all; texts are cut for that. When stderr is gone (EPIPE after the death of the agent) the line
 * is dropped. What is too quiet for the host's level is dropped there; debug lines are written only
 * when the environment variable PADDOCK_TRACE names the module ("docker,pin") or is "all". */
#include "paddock/cleanup.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Pairs of strings: LOG_KV("task_id", id, "errno", text). A NULL value ends the list. */
#define LOG_KV(...) ((const char *const[]){__VA_ARGS__, NULL})

/** Writes one line. @kv is NULL or from LOG_KV. errno is kept. Context: any thread. */
void log_write(enum log_level level, const char *module, const char *const *kv, const char *fmt,
               ...) PRINTF_LIKE(4, 5);

/** Writes a line that another process of ours made with log_write, without its newline. Longer than
 * PIPE_BUF: dropped. Context: any thread. */
void log_pass(const char *line, size_t len);

/** Where stderr is a pipe: what it cannot take is dropped from now on, and the next line says how
 * many were. Without it a host that is stopped and reads nothing would stop whoever logs. Before
 * the first thread. Other holders of the pipe's end are not touched. Returns 0; -errno. */
int log_never_wait(void) MUST_CHECK;

#define log_debug(module, kv, ...) log_write(LOG_LEVEL_DEBUG, module, kv, __VA_ARGS__)
#define log_info(module, kv, ...) log_write(LOG_LEVEL_INFO, module, kv, __VA_ARGS__)
#define log_warn(module, kv, ...) log_write(LOG_LEVEL_WARN, module, kv, __VA_ARGS__)
#define log_error(module, kv, ...) log_write(LOG_LEVEL_ERROR, module, kv, __VA_ARGS__)
