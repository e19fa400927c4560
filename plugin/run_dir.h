/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The folder for sockets, records and mount points that outlive one plugin process. */
#include "paddock/err.h"

#define RUN_DIR_SYSTEM "/run/paddock"
#define RUN_DIR_MAX 64

/** Chooses the folder for the user of this process: @system (RUN_DIR_SYSTEM), or "paddock" in
 * @user_dir (XDG_RUNTIME_DIR; NULL and "" count as not set) when that user cannot own @system. Root
 * uses only @system. The folder need not exist yet; the code that uses it makes it, with mode 0700.
 * An existing folder with another mode is given that mode. Returns 0, or -EACCES (ERR_PLAIN) with a
 * text that says what to do. The text does not change while the cause is the same. */
int run_dir_choose(const char *system, const char *user_dir, char ret[static RUN_DIR_MAX],
                   struct err *err) MUST_CHECK;

/** The folder in which `paddock status` and the other commands look for running drivers. */
void run_dir_for_commands(char ret[static RUN_DIR_MAX]);
