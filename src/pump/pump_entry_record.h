/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The position files of the tasks, in the folder @records_fd; see pump_entry_record.c. All
 * functions: the loop's thread. */
#include "src/pump/pump_record.h"

#include <jansson.h>

/** Returns true when @id is the id of a container, and so the name of a position file. */
bool pump_entry_record_is_id(const char *id);
/** Opens the task's record, as an earlier pump left it, or a fresh one with what the request @rq
 * (`carry`, pump_proto.h) contains. A record that is damaged or has an unknown layout is replaced
 * by a fresh one, because the task must not fail for this reason; *@ret_note (static text) then
 * reports that. Returns 0; -EINVAL and -ENAMETOOLONG for a bad request; another -errno. Owner of
 * @ret: caller, pump_record_close(). */
int pump_entry_record_take(int records_fd, const char *id, const json_t *rq,
                           struct pump_record **ret, bool *ret_fresh,
                           const char **ret_note) MUST_CHECK;
/** Keeps the position file of a task that has ended, because a plugin that was restarted may ask
 * for the task again. DestroyTask removes the file (logpump_forget). */
void pump_entry_record_keep(int records_fd, const char *container_id);
/** Returns true when the error @r means that the record is useless: it is empty, or its FIFOs were
 * removed or are not FIFOs. After any other error, such as a full file system, the record is kept:
 * its position is all that is known of what was delivered, and pump_entry_record_take() opens it
 * later. */
bool pump_entry_record_is_lost(int r);
