/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The plugin process, from its start by a Nomad client to its end. The client's
 * expectations are in docs/internals/nomad-host.md. */

/** Runs the plugin. Returns the exit status. */
int serve_main(int argc, char **argv);
