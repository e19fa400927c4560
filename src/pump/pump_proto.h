#pragma once
/* What plugin and pump say to each other: one JSON object a line over a unix socket, one request a
 * connection. Fields are only ever added, for a new plugin may find an old pump at work.
 *   {"op":"follow","task":ID,"container":ID,"stdout":PATH,"stderr":PATH,"tty":BOOL,"since_ns":N}
 *       -> {"ok":true} when the stream is open, with "note":TEXT for the plugin's log;
 *       {"errno":N,"error":TEXT}
 *   {"op":"prepare", as follow} -> as follow, when FIFOs and position file are open: the container
 * is about to be started
 *   {"op":"begin","task":ID}    -> {"ok":true}: it was, what is prepared is followed
 *   {"op":"finish","task":ID}   -> {"ok":true} when all is delivered, with a PUMP_MOVES before it
 *       each second in which output is delivered or Docker has yet to send it; closing the
 *       connection gives up
 *   {"op":"close","task":ID}    -> {"ok":true}: the FIFOs close whatever is left
 *   {"op":"watch"}              -> nothing; the connection breaks when the pump dies */

#define PUMP_MOVES ' '
#define PUMP_SOCKET "pump.sock"
#define PUMP_LOCK "pump.lock"
/* A file per container: ID while it is followed, ID.done from its end until DestroyTask. */
#define PUMP_RECORDS "positions"
#define PUMP_DONE ".done"
#define PUMP_DONE_MAX (64 + sizeof(PUMP_DONE))
#define PUMP_LINE_MAX 8192
