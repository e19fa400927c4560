/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The protocol between plugin and pump: one JSON object a line over a unix socket, one request a
 * connection.
 *   {"op":"hello"}
 *       -> {"version":TEXT,"settings":OBJECT}: the pump's version and what it was started with. A
 *       plugin that has others starts its own pump, which ends this one and succeeds it
 *   {"op":"carry","task":ID,"container":ID,"stdout":PATH,"stderr":PATH,"tty":BOOL,"since_ns":N,
 *    "runs":BOOL,"recovered":BOOL}
 *       -> {"ok":true}, with "note":TEXT for the plugin's log; or {"errno":N,"error":TEXT}.
 *       "runs" false: the container is about to be started. The answer is sent when the FIFOs and
 *       the position file are open. "runs" true: the answer is sent when the log can be read.
 *       "since_ns": delivery starts there (nanoseconds since 1970); 0: at the first line.
 *       "recovered": the task is not new. When no position of it is known, its earlier output may
 *       have been delivered. The request may be sent any number of times
 *   {"op":"finish","task":ID}
 *       -> {"ok":true} when everything is delivered. Before it, one PUMP_MOVES is sent in each
 *       second in which output is delivered or Docker has yet to send it. Closing the connection
 *       gives up the wait
 *   {"op":"close","task":ID}
 *       -> {"ok":true}: the FIFOs are closed, whatever is left
 *   {"op":"status"}
 *       -> as hello, with "tasks":[...] (pump_entries_status)
 *   {"op":"watch"}, with a descriptor (SCM_RIGHTS) that becomes the pump's stderr
 *       -> {"task":ID,"text":TEXT} for each message for a task's events; the connection breaks when
 *       the pump dies */

#define PUMP_MOVES ' '
#define PUMP_SOCKET "pump.sock"
#define PUMP_LOCK "pump.lock"
/* Folder with a file per container: ID while the container is followed, ID.done from its end
 * until DestroyTask. */
#define PUMP_RECORDS "positions"
#define PUMP_DONE ".done"
#define PUMP_DONE_MAX (64 + sizeof(PUMP_DONE))
#define PUMP_LINE_MAX 8192
