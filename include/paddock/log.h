/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Log lines: one JSON object per line on stderr, in the format that go-plugin's host reads
 * (plugin-side hclog).
 *
 * "@level", "@message", "@module" and "@timestamp" are always strings, and the time has 6
 * fractional digits. Otherwise the host drops the line, or dies of a wrong type. Each line is one
 * write(2) of at most PIPE_BUF bytes: lines of many threads do not mix, and a pipe takes a line
 * whole or not at all. Texts are cut to fit. A line is dropped when stderr is closed (EPIPE after
 * the death of the agent).
 *
 * The host drops lines below its own level. Debug lines are written only when the environment
 * variable PADDOCK_TRACE names the module ("docker,pin") or is "all". */
#include "paddock/cleanup.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Pairs of strings: LOG_KV("task_id", id, "errno", text). A NULL value ends the list. */
#define LOG_KV(...) ((const char *const[]){__VA_ARGS__, NULL})

/** Writes one line. @kv is NULL or from LOG_KV. errno is kept. Context: any thread. */
void log_write(enum log_level level, const char *module, const char *const *kv, const char *fmt,
               ...) PRINTF_LIKE(4, 5);

/** Writes a line that another of our processes made with log_write(), given without its newline. A
 * line longer than PIPE_BUF is dropped. Context: any thread. */
void log_pass(const char *line, size_t len);

/** Makes log_write() drop lines that do not fit, when stderr is a pipe. The next line that fits
 * reports how many were dropped. Without this, a host that is stopped and does not read would block
 * each thread that logs. Call it before the first thread starts. Other holders of the pipe's end
 * are not affected. Returns 0 or -errno. */
int log_never_wait(void) MUST_CHECK;

#define log_debug(module, kv, ...) log_write(LOG_LEVEL_DEBUG, module, kv, __VA_ARGS__)
#define log_info(module, kv, ...) log_write(LOG_LEVEL_INFO, module, kv, __VA_ARGS__)
#define log_warn(module, kv, ...) log_write(LOG_LEVEL_WARN, module, kv, __VA_ARGS__)
#define log_error(module, kv, ...) log_write(LOG_LEVEL_ERROR, module, kv, __VA_ARGS__)
