/*
 * Each line of a task that prints at full speed with the default log settings: with a reader that
 * drains and with one that pauses, alone and beside busy loops. By command only (guest run output):
 * the harness has the same test for the machine's Docker, and an emulated guest takes minutes for
 * it. GUEST_OUTPUT_MB (20) sets how much.
 */
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

const (
	outputLine  = 100 /* bytes, with the newline */
	outputLoops = 12
)

func outputCases() []testCase {
	var all []testCase
	for _, c := range []struct {
		name  string
		pause time.Duration
		loops int
	}{
		{"output-drained", 0, 0},
		{"output-pausing", 2 * time.Second, 0},
		{"output-drained-beside-loops", 0, outputLoops},
		{"output-pausing-beside-loops", 2 * time.Second, outputLoops},
	} {
		all = append(all, testCase{c.name, 15 * time.Minute, func(t *T) { caseOutput(t, c.pause, c.loops) }})
	}
	return all
}

/* Counts how the lines with the numbers from 0 on arrive. The reader stands still while mu is
 * locked. */
type numberedLines struct {
	mu                        sync.Mutex
	seen                      []bool
	last                      int
	rest                      []byte
	came, twice, torn, behind int
	ended                     bool
}

func (n *numberedLines) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rest = append(n.rest, p...)
	for {
		end := bytes.IndexByte(n.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		i, err := strconv.Atoi(string(n.rest[:end]))
		switch {
		case err != nil || end != outputLine-1 || i < 0 || i >= len(n.seen):
			n.torn++
		case n.seen[i]:
			n.twice++
		default:
			if i < n.last {
				n.behind++
			}
			n.seen[i], n.last = true, i
			n.came++
		}
		n.rest = n.rest[end+1:]
	}
}

func (n *numberedLines) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	return nil
}

func (n *numberedLines) String() string {
	return fmt.Sprintf("%d lines, lost %d, twice %d, torn %d, out of order %d", len(n.seen), len(n.seen)-n.came, n.twice, n.torn, n.behind)
}

/* Stops reading for a part of every 5 s, until the returned function is called. */
func (n *numberedLines) pauses(pause time.Duration) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(5*time.Second - pause):
			}
			n.mu.Lock()
			select {
			case <-end:
			case <-time.After(pause):
			}
			n.mu.Unlock()
		}
	}()
	return func() { close(end); <-done }
}

func caseOutput(t *T, pause time.Duration, loops int) {
	megabytes, err := strconv.Atoi(os.Getenv("GUEST_OUTPUT_MB"))
	if err != nil {
		megabytes = 20
	}
	for i := 0; i < loops; i++ {
		c := exec.Command("sh", "-c", "while :; do :; done")
		t.ok(c.Start(), "busy loop")
		t.atEnd(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
	}
	l := newLayout(t, "1-3")
	h := launch(t)
	out := &numberedLines{seen: make([]bool, megabytes*1000000/outputLine)}
	if pause > 0 {
		t.atEnd(out.pauses(pause))
	}
	began := time.Now()
	script := fmt.Sprintf(`awk 'BEGIN { for (i = 0; i < %d; i++) printf "%%0%dd\n", i }'`, len(out.seen), outputLine-1)
	k := startTo(t, h, l.scope, "fast", "", script, nil, out)
	ended, err := h.WaitTask(context.Background(), k.cfg.ID)
	t.ok(err, "WaitTask")
	<-ended
	printed := time.Since(began)
	t.eventually(5*time.Minute, "the end of the log", func() (bool, string) {
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.ended, out.String()
	})
	version, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").Output()
	t.ok(err, "docker version")
	t.note("Docker %s: %s; printed in %.0f s, delivered in %.0f s", bytes.TrimSpace(version), out, printed.Seconds(), time.Since(began).Seconds())
	if out.came != len(out.seen) || out.twice+out.torn+out.behind+len(out.rest) > 0 {
		t.fatalf("not each line came once: %s", out)
	}
	k.end(t, h)
}
