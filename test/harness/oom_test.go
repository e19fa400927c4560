/*
 * Ends of tasks when memory is used up: which process the kernel killed, and what Nomad gets.
 */
package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

/* A child uses up the memory. Its parent continues. */
const eat = `(x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done)`

func small(c *drivers.TaskConfig) {
	c.Resources.NomadResources.Memory.MemoryMB = 16
	c.Resources.LinuxResources.MemoryLimitBytes = 16 << 20
}

func large(c *drivers.TaskConfig) {
	c.Resources.NomadResources.Memory.MemoryMB = 1024
	c.Resources.LinuxResources.MemoryLimitBytes = 1 << 30
}

/* The table of docs/differences.md: which process was killed, and what the task's end reports.
 * The task sleeps first, because containerd begins to watch for OOM kills a moment after the
 * start. On cgroup v1 only containerd reports the kill, possibly after the end, so the victim's
 * parent waits for it there. */
func TestEndsByOOMAndBySIGKILL(t *testing.T) {
	paddockOnly(t, "reports an OOM kill whenever one was in the container")
	after := "sleep 1; "
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		after = ""
	}
	p := launch(t)
	rows := []struct {
		name, line string
		during     func(t *testing.T, k *task)
		code       int
		oom        bool
	}{
		{name: "main", line: "sleep 1; exec /bin/sh -c 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'", code: 137, oom: true},
		{name: "child-fails", line: "sleep 1; " + eat + "; " + after + "exit 9", code: 9, oom: true},
		{name: "child-success", line: "sleep 1; " + eat + "; " + after + "exit 0", code: 0},
		{name: "exec", line: "echo up; while [ ! -e /local/end ]; do sleep 0.1; done; exit 0", code: 0,
			during: func(t *testing.T, k *task) {
				k.stdout.waitFor(t, 10*time.Second, "up\n")
				r, err := p.ExecTask(k.id(), []string{"/bin/sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"}, 20*time.Second)
				if err == nil && r.ExitResult.ExitCode != 137 {
					t.Errorf("the exec ended with %+v, want 137", r.ExitResult)
				}
				ok(t, os.WriteFile(filepath.Join(k.cfg.AllocDir, k.cfg.Name, "local/end"), nil, 0o644), "the task's end")
			}},
		{name: "person", line: "echo up; while :; do sleep 1; done", code: 137,
			during: func(t *testing.T, k *task) {
				k.stdout.waitFor(t, 10*time.Second, "up\n")
				_, err := run.docker.Call("POST", "/containers/"+k.container()+"/kill", nil, nil)
				ok(t, err, "docker kill")
			}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			k := newTask(t, p, row.name, shell(row.line), small).start(p)
			if row.during != nil {
				row.during(t, k)
			}
			r := k.wait(p, callLimit)
			if r.ExitCode != row.code || r.OOMKilled != row.oom || (r.Err != nil) != (row.code != 0) {
				t.Errorf("exit %+v, want code %d, OOMKilled %v; Docker reports %v", r, row.code, row.oom, k.inspect().at("State"))
			}
			ok(t, k.destroy(p), "DestroyTask")
		})
	}
}
