#pragma once
/* Which of several plugin processes of one Nomad client searches for dangling containers; see
 * claim.c. Context of all functions: any thread. They block on a file below /run only. */
#include "paddock/cleanup.h"

struct claim;

/** @path: of the file that all plugin processes of the client share; its folder exists. Nothing is
 * opened yet. Returns 0; -ENOMEM. Owner: caller, claim_free. */
int claim_new(const char *path, struct claim **ret) MUST_CHECK;
/** The file stays: who claimed last does not change by an end. NULL allowed. */
void claim_free(struct claim *c);

/** The agent has given this process a task: from now on the claim is its own. Returns 0; -errno
 * when the file cannot be written, which claim_is_ours tries again. */
int claim_take(struct claim *c) MUST_CHECK;

/** Whether no other process has taken the claim after this one. Returns 1; 0, also when that cannot
 * be known now; -errno when the file cannot be used. */
int claim_is_ours(struct claim *c) MUST_CHECK;
