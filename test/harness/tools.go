//go:build tools

/*
 * Pins, in this module, the programs that the tests need besides the test binary itself: the whole
 * agent (command) and the reference driver as an external plugin (drivers/docker/cmd). `build`
 * builds both from here, so that one go.sum covers all downloads.
 */
package harness

import (
	_ "github.com/hashicorp/nomad"
	_ "github.com/hashicorp/nomad/command"
	_ "github.com/hashicorp/nomad/drivers/docker/cmd"
)
