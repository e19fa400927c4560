#pragma once
/* What plugin and pump say to each other: one JSON object a line over a unix socket, one request a
 * connection.
 *   {"op":"hello"}
 *       -> {"version":TEXT,"settings":OBJECT}: what the pump is, and what it was started with. A
 *       plugin that has others starts a pump of its own, which ends this one and succeeds it
 *   {"op":"carry","task":ID,"container":ID,"stdout":PATH,"stderr":PATH,"tty":BOOL,"since_ns":N,
 *    "runs":BOOL,"recovered":BOOL}
 *       -> {"ok":true}, with "note":TEXT for the plugin's log; {"errno":N,"error":TEXT}.
 *       With "runs" false the answer comes when FIFOs and position file are open (the container is
 *       about to be started), else when the log can be read. It may be sent any number of times.
 *       "recovered": the task is not new, so where nothing is known of it, its old output may have
 *       been delivered
 *   {"op":"finish","task":ID}
 *       -> {"ok":true} when all is delivered, with a PUMP_MOVES before it each second in which
 *       output is delivered or Docker has yet to send it; closing the connection gives up
 *   {"op":"close","task":ID}
 *       -> {"ok":true}: the FIFOs close whatever is left
 *   {"op":"status"}
 *       -> as hello, with "tasks":[...] (pump_entries_status)
 *   {"op":"watch"}, with a descriptor (SCM_RIGHTS) that becomes the pump's stderr
 *       -> {"task":ID,"text":TEXT} for each thing to be said in the task's events; the connection
 *       breaks when the pump dies */

#define PUMP_MOVES ' '
#define PUMP_SOCKET "pump.sock"
#define PUMP_LOCK "pump.lock"
/* A file per container: ID while it is followed, ID.done from its end until DestroyTask. */
#define PUMP_RECORDS "positions"
#define PUMP_DONE ".done"
#define PUMP_DONE_MAX (64 + sizeof(PUMP_DONE))
#define PUMP_LINE_MAX 8192
