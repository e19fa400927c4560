/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Converts a configuration table to the schema message of ConfigSchema and TaskConfigSchema. */
#include "paddock/cleanup.h"

struct config_field;
struct Hclspec__Spec;

/** Returns 0 or -ENOMEM. @ret: set on success only. Owner: caller, hclspec_free().
 * Context: pure, any thread. */
int hclspec_build(const struct config_field *table, struct Hclspec__Spec **ret) MUST_CHECK;
/** NULL allowed. */
void hclspec_free(struct Hclspec__Spec *spec);
