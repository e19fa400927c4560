/*
 * What runs inside the guest: the tests that need a real systemd, cgroup v2, dockerd and Nomad
 * agent, and the demo. It is one static program, so that both Debian releases run the same bytes.
 *
 *   guest run GROUP...     groups: agent (a real Nomad 1.6.3 agent), pool and life (the simulated
 *   cgroups of
 *                          clients >= 1.7: sets that change; a driver, dockerd and tasks that end),
 *                          rows (what restores an old cpuset), exact (what could put a task on
 *                          another's
 *                          core), storm (many tasks: outside writes, the last state, a random
 *                          storm),
 *                          gap (figures of a busy loop on a reserved core, by command),
 *                          output (each line of a task that prints at full speed, by command)
 *   guest demo
 *
 * Output: "ok NAME" or "not ok NAME - why" for each case, and notes as "# ...". GUEST_ONLY selects
 * cases by a part of the name, GUEST_SEED sets the seed of the storm. GUEST_STORM=full is its full
 * size, GUEST_ROWS=all runs all rows with cgroupfs.
 */
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

type testCase struct {
	name  string
	limit time.Duration
	run   func(t *T)
}

/* T is one running case. Its methods are called from the case's own goroutine, and from within
 * together(). */
type T struct {
	name    string
	mu      sync.Mutex /* of cleanup */
	cleanup []func()
}

type failure string

func (t *T) fatalf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (t *T) ok(err error, what string) {
	if err != nil {
		t.fatalf("%s: %v", what, err)
	}
}

func (t *T) note(format string, args ...any) { fmt.Printf("# "+format+"\n", args...) }

/* f is called when the case has ended, the last one first. */
func (t *T) atEnd(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanup = append(t.cleanup, f)
}

/* Calls what atEnd() was given. Returns the first failure. */
func (t *T) cleanUp() (why string) {
	for len(t.cleanup) > 0 {
		f := t.cleanup[len(t.cleanup)-1]
		t.cleanup = t.cleanup[:len(t.cleanup)-1]
		if w := guarded(f); w != "" && why == "" {
			why = w
		}
	}
	return why
}

/* Calls f(0) to f(n-1), some at a time. The first failure is the case's. */
func (t *T) together(n int, f func(i int)) {
	const atATime = 4
	next, whys := make(chan int), make(chan string)
	for w := 0; w < atATime; w++ {
		go func() {
			for i := range next {
				whys <- guarded(func() { f(i) })
			}
		}()
	}
	go func() {
		for i := 0; i < n; i++ {
			next <- i
		}
		close(next)
	}()
	first := ""
	for i := 0; i < n; i++ {
		if why := <-whys; why != "" && first == "" {
			first = why
		}
	}
	if first != "" {
		t.fatalf("%s", first)
	}
}

/* How many times longer the limits are. The guest of arm64 runs without KVM, with the slowest emulation. */
func slowness() time.Duration {
	if runtime.GOARCH == "arm64" {
		return 5
	}
	return 1
}

/*
 * Polls until cond is true. Fails at the deadline with what it saw last. It polls every 2 ms at
 * first and then less often, by the time that has passed: what takes seconds runs on the same
 * emulated CPUs as a check.
 */
func (t *T) eventually(limit time.Duration, what string, cond func() (bool, string)) time.Duration {
	limit *= slowness()
	start := time.Now()
	for {
		good, saw := cond()
		if good {
			return time.Since(start)
		}
		took := time.Since(start)
		if took > limit {
			t.fatalf("%s: not within %v; last seen: %s", what, limit, saw)
		}
		time.Sleep(min(max(took/20, 2*time.Millisecond), 200*time.Millisecond))
	}
}

func guarded(f func()) (why string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			why = string(r)
		default:
			why = fmt.Sprintf("panic: %v", r)
			fmt.Fprintf(os.Stderr, "%s\n", debug.Stack())
		}
	}()
	f()
	return ""
}

/* Runs one case to its end or its deadline. Returns whether it passed. */
func (c testCase) execute() bool {
	t := &T{name: c.name}
	start := time.Now()
	result := make(chan string, 1)
	go func() { result <- guarded(func() { c.run(t) }) }()
	var why string
	select {
	case why = <-result:
	case <-time.After(c.limit):
		why = fmt.Sprintf("no end within %v", c.limit)
	}
	if why != "" {
		explain()
	}
	if w := t.cleanUp(); w != "" && why == "" {
		why = "clean-up: " + w
	}
	if why != "" {
		fmt.Printf("not ok %s - %s\n", c.name, strings.ReplaceAll(why, "\n", " | "))
		return false
	}
	fmt.Printf("ok %s (%.1f s)\n", c.name, time.Since(start).Seconds())
	return true
}

/* A group whose cases share nothing. */
func alone(cases func() []testCase) func() ([]testCase, func()) {
	return func() ([]testCase, func()) { return cases(), func() {} }
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "demo" {
		os.Exit(demo())
	}
	if len(os.Args) == 4 && os.Args[1] == "spin" {
		os.Exit(spin(os.Args[2], os.Args[3]))
	}
	if len(os.Args) < 3 || os.Args[1] != "run" {
		fmt.Fprintln(os.Stderr, "usage: guest run GROUP... | guest demo")
		os.Exit(2)
	}
	/* a group's cases, and the function that removes what they share */
	groups := map[string]func() ([]testCase, func()){
		"agent": alone(agentCases), "pool": alone(poolCases), "life": alone(lifeCases), "rows": rowCases, "exact": exactCases,
		"storm": stormCases, "gap": alone(gapCases), "output": alone(outputCases),
	}
	status := 0
	for _, name := range os.Args[2:] {
		group, known := groups[name]
		if !known {
			fmt.Fprintf(os.Stderr, "guest: no such group: %s\n", name)
			os.Exit(2)
		}
		cases, takeDown := group()
		for _, c := range cases {
			if strings.Contains(c.name, os.Getenv("GUEST_ONLY")) && !c.execute() {
				status = 1
			}
		}
		takeDown()
	}
	os.Exit(status)
}
