/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Decides which of several plugin processes of one Nomad client searches for dangling containers;
 * see claim.c. Context of all functions: any thread. They block only on a file below /run. */
#include "paddock/cleanup.h"

#include <sys/types.h>

struct claim;

/** @path: the file that all plugin processes of the client share; its folder exists. Opens nothing
 * yet. Returns 0; -ENOMEM. Owner: caller, claim_free(). */
int claim_new(const char *path, struct claim **ret) MUST_CHECK;
/** The file stays: a process that ends does not hand the claim back. NULL allowed. */
void claim_free(struct claim *c);

/** Takes the claim for this process. Call it for each task that the agent starts or recovers: about
 * 5 us when the process holds it already. Returns 0, or -errno when the file cannot be written;
 * claim_is_ours() then tries again. */
int claim_take(struct claim *c) MUST_CHECK;

/** Returns 1 when this process holds the claim; 0 when another one took it later, or when that is
 * not certain yet (the next call decides); -errno when the file cannot be used. */
int claim_is_ours(struct claim *c) MUST_CHECK;

/** For a client of which this process has no task. Returns the pid of the living process, other
 * than this one, that has the claim in the file @path; 0 = none. */
pid_t claim_holder(const char *path);
