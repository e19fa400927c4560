/*
 * The log pump as a process: the pumps of this run, their end when nothing is left to do, and the
 * new pump that the plugin starts after one was killed.
 */
package harness

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func logPumps() []process {
	var out []process
	for _, p := range processesBelow(run.dir) {
		if len(p.argv) > 2 && p.argv[1] == "logpump" {
			pumpDirs.Lock()
			pumpDirs.all[p.argv[2]] = true
			pumpDirs.Unlock()
			out = append(out, p)
		}
	}
	return out
}

/* The pump of a plugin that never comes back ends when it has nothing left to do. */
func endLogPumps(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, "a log pump without tasks and without a plugin ends", func() (bool, string) {
		var left []string
		for _, p := range logPumps() {
			left = append(left, p.String())
		}
		return len(left) == 0, strings.Join(left, "; ")
	})
}

/* Only the pump dies. Its plugin starts another one, no line is lost, and none comes twice. */
func TestLogPumpIsReplaced(t *testing.T) {
	paddockOnly(t, "has a log process for each task")
	p := launch(t)
	k := newTask(t, p, "pump", shell(counter)).start(p)
	for round := 1; round <= 3; round++ {
		n := k.stdout.size()
		eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) })
		pumps := logPumps()
		if len(pumps) != 1 {
			t.Fatalf("log pumps %v, want one for the plugin", pumps)
		}
		ok(t, syscall.Kill(pumps[0].pid, syscall.SIGKILL), "kill -9 of the pump")
		eventually(t, 20*time.Second, "a new log pump", func() (bool, string) {
			now := logPumps()
			return len(now) == 1 && now[0].pid != pumps[0].pid, "none"
		})
	}
	n := k.stdout.size()
	eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) })
	ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
	k.stdout.waitFor(t, 20*time.Second, "last\n")
	checkCounter(t, k.stdout.text())
	ok(t, k.destroy(p), "DestroyTask")
}
