#pragma once
/* The plugin process, from its start by a Nomad client to its end. Facts: plugin-protocol 1. */

/** Returns the exit status. */
int serve_main(int argc, char **argv);
