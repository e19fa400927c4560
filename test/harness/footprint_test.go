/*
 * What the plugin costs, and that it does not grow: memory from smaps_rollup, file descriptors,
 * threads. The limits when idle are 20 MiB resident and 6 MiB anonymous. 100 start and stop cycles
 * change nothing.
 */
package harness

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

type footprint struct{ rssKiB, anonKiB, fds, threads int }

func (f footprint) String() string {
	return fmt.Sprintf("RSS %d KiB, anonymous %d KiB, %d fds, %d threads", f.rssKiB, f.anonKiB, f.fds, f.threads)
}

func measure(t testing.TB, pid int) footprint {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	var f footprint
	file, err := os.Open(filepath.Join(proc, "smaps_rollup"))
	ok(t, err, "smaps_rollup")
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 2 {
			continue
		}
		switch w[0] {
		case "Rss:":
			f.rssKiB = atoi(t, w[1])
		case "Anonymous:":
			f.anonKiB = atoi(t, w[1])
		}
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	ok(t, err, "fds")
	threads, err := os.ReadDir(filepath.Join(proc, "task"))
	ok(t, err, "threads")
	f.fds, f.threads = len(fds), len(threads)
	return f
}

func TestIdlePluginIsSmall(t *testing.T) {
	paddockOnly(t, "29 MB")
	p := launch(t)
	k := newTask(t, p, "one", shell("true")).start(p)
	k.wait(p, callLimit)
	ok(t, k.destroy(p), "DestroyTask")
	f := measure(t, p.pid)
	t.Logf("idle: %v", f)
	if f.rssKiB > 20<<10 || f.anonKiB > 6<<10 {
		t.Errorf("idle: %v; want at most 20480 KiB resident and 6144 KiB anonymous", f)
	}
}

func TestHundredCyclesLeakNothing(t *testing.T) {
	/* Not in parallel: events of a megabyte from other tests would reach this plugin, too. */
	p := launch(t)
	cycle := func(i int) {
		k := newTask(t, p, "leak", sleeper).start(p)
		waiter := k.waiter(p)
		if i%3 == 0 {
			_, err := p.ExecTask(k.id(), []string{"/bin/true"}, 5*time.Second)
			ok(t, err, "ExecTask")
		}
		if i%2 == 0 {
			ok(t, k.stop(p, 5*time.Second, "SIGKILL"), "StopTask")
		}
		ok(t, k.destroy(p), "DestroyTask")
		k.result(waiter, callLimit)
		k.discard()
	}
	/* So many at the same time that as many connections to Docker stay open as are ever kept.
	 * Descriptors can be compared then. */
	fill := func() {
		k := newTask(t, p, "fill", sleeper).start(p)
		var wg sync.WaitGroup
		for i := 0; i < 16; i++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if _, err := p.ExecTask(k.id(), []string{"/bin/sleep", "0.3"}, 10*time.Second); err != nil {
					t.Errorf("ExecTask: %v", err)
				}
			}()
		}
		within(t, time.Minute, "16 execs", wg.Wait)
		ok(t, k.destroy(p), "DestroyTask")
		k.discard()
	}
	/* no thread of earlier work is left: threads end after 5 s without work */
	settled := func(most footprint) (f footprint) {
		fill()
		eventually(t, 30*time.Second, "fds and threads are back", func() (bool, string) {
			f = measure(t, p.pid)
			return f.fds <= most.fds && f.threads <= most.threads, fmt.Sprintf("%v, at most %v", f, most)
		})
		return f
	}
	/* thread pools, arenas and connection caches first grow to their size */
	for i := 0; i < 20; i++ {
		cycle(i)
	}
	idle := footprint{fds: 1 << 20, threads: 12}
	if run.isRef {
		idle.threads = 1 << 20
	}
	before := settled(idle)
	limit := 512 /* KiB: a leak of 5 KiB for each task would reach it */
	if run.isRef {
		limit = 16 << 10 /* for a garbage collector */
	}
	/* A leak grows with every hundred. The free lists of malloc() and the stacks of threads change
	 * by up to 500 KiB. */
	for batch := 1; ; batch++ {
		for i := 0; i < 100; i++ {
			cycle(i)
		}
		after := settled(footprint{fds: before.fds, threads: before.threads + 1})
		t.Logf("before %v; after %v", before, after)
		grown := after.anonKiB - before.anonKiB
		if grown <= limit {
			break
		}
		if batch == 3 {
			t.Errorf("each of 3 times 100 cycles grew the plugin by more than %d KiB anonymous, the last by %d KiB", limit, grown)
			break
		}
		before = after
	}
	for _, c := range childrenOf(p.pid) {
		if !alive(c.pid) {
			t.Errorf("a zombie: %v", c)
		}
	}
}
