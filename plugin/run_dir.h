#pragma once
/* The folder of the sockets, records and mount points that outlive one plugin process. */
#include "paddock/err.h"

#define RUN_DIR_SYSTEM "/run/paddock"
#define RUN_DIR_MAX 64

/** Chooses the folder of the process's user: @system (RUN_DIR_SYSTEM), or "paddock" in @user_dir
 * (XDG_RUNTIME_DIR; NULL and "" are not given) where @system cannot be that user's. Root uses
 * @system alone. The folder need not exist yet; its users make it, mode 0700. One that is there
 * with another mode is given that mode. Returns 0, or -EACCES with a text that stays the same and
 * says what to do (ERR_PLAIN). */
int run_dir_choose(const char *system, const char *user_dir, char ret[static RUN_DIR_MAX],
                   struct err *err) MUST_CHECK;

/** The folder where `paddock status` and its like look for running drivers. */
void run_dir_for_commands(char ret[static RUN_DIR_MAX]);
