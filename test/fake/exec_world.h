/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The exec that the fake makes as its second object, after the container of the task "web", and
 * Docker's answers about an exec that does not run yet. */
#include "fake/task_world.h"

/* Enough for Docker to make an exec, on a busy machine. */
#define EXEC_WORLD_TIMEOUT_US (1 * US_PER_SEC)

#define EXEC_WORLD_PATH "/exec/e0ec00000002000000000000000000000000000000000000000000000000feed"
#define EXEC_WORLD_JSON "GET " EXEC_WORLD_PATH "/json"
#define EXEC_WORLD_RESIZE "POST " EXEC_WORLD_PATH "/resize"
#define EXEC_WORLD_STARTING "{\"Running\":true,\"ExitCode\":null,\"Pid\":0}"
#define EXEC_WORLD_NOT_STARTED "{\"Running\":false,\"ExitCode\":null,\"Pid\":0}"
