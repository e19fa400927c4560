/*
 * Adoption: paddock recovers the tasks of the reference, and the reference recovers paddock's. The
 * container must keep running, and its log must go on. The functions that find and end the
 * reference's log processes are here, too.
 */
package harness

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAdoptionOfTheReferencesTasks(t *testing.T) {
	paddockOnly(t, "is the one adopted from")
	t.Cleanup(tidyReference)
	ref := launchWith(t, launchOptions{binary: needReference(t)})
	k := newTask(t, ref, "adopt", shell(counter)).start(ref)
	k.stdout.waitFor(t, 10*time.Second, "n 5\n")
	before := k.inspect()
	logger := loggers()
	if len(logger) != 1 {
		t.Fatalf("the reference's docker_logger: %v, want one", logger)
	}
	ref.crash(t)

	p := launch(t)
	ok(t, recoverWith(t, p, persisted(t, k.handle)), "RecoverTask with the reference's handle")
	after := k.inspect()
	if after.str("Id") != before.str("Id") || after.num("State.Pid") != before.num("State.Pid") {
		t.Fatal("the container was restarted")
	}
	eventually(t, 10*time.Second, "the reference's docker_logger is ended", func() (bool, string) {
		return !alive(logger[0].pid), logger[0].String()
	})
	n := k.stdout.size()
	eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) })
	if k.stdout.ended() {
		t.Fatal("the log FIFO saw an end of file")
	}
	waiter := k.waiter(p)
	ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
	if r := k.result(waiter, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6", r)
	}
	k.stdout.waitFor(t, 20*time.Second, "last\n")
	checkAdopted(t, k.stdout.text())
	ok(t, k.destroy(p), "DestroyTask")
}

/* The take-over from another log collector may repeat lines, because its position is unknown. It
 * must lose none. */
func checkAdopted(t *testing.T, text string) {
	t.Helper()
	seen := map[string]bool{}
	max := 0
	for _, line := range strings.Split(text, "\n") {
		seen[line] = true
	}
	for seen["n "+itoa(max)] {
		max++
	}
	for line := range seen {
		var n int
		if strings.HasPrefix(line, "n ") {
			n = atoi(t, line[2:])
			if n > max {
				t.Errorf("the log has line %d, but not line %d", n, max)
				return
			}
		}
	}
}

func TestAdoptionByTheReference(t *testing.T) {
	paddockOnly(t, "is the one that adopts")
	p := launch(t)
	k := newTask(t, p, "back", shell(counter)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "n 5\n")
	before := k.inspect()
	p.crash(t)
	t.Cleanup(tidyReference)
	ref := launchWith(t, launchOptions{binary: needReference(t)})
	ok(t, recoverWith(t, ref, persisted(t, k.handle)), "the reference's RecoverTask with our handle")
	if after := k.inspect(); after.str("Id") != before.str("Id") || after.num("State.Pid") != before.num("State.Pid") {
		t.Fatal("the container was restarted")
	}
	n := k.stdout.size()
	eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) })
	waiter := k.waiter(ref)
	ok(t, k.stop(ref, 20*time.Second, ""), "StopTask")
	if r := k.result(waiter, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6", r)
	}
	ok(t, k.destroy(ref), "DestroyTask")
	endLogPumps(t)
}

/* The reference's log processes of this run. */
func loggers() []process {
	var out []process
	for _, p := range processesBelow(run.dir) {
		if len(p.argv) > 1 && p.argv[1] == "docker_logger" {
			out = append(out, p)
		}
	}
	return out
}

/* What a crash of the reference leaves: log processes and sockets. */
func tidyReference() {
	for _, p := range loggers() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	removeSockets()
}
