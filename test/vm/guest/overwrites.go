/*
 * A thousand outside writes, one after the other, over the containers of the crowd: how long each stood. Issued and
 * watched by one real-time thread, which looks again all the time.
 */
package main

import (
	"sort"
	"syscall"
	"time"
)

const overwrites = 1000

/* So that each container gets eight in 10 s: from ten on it is another writer's, and left to the tick. */
const overwriteEvery = 10 * time.Second / (8 * stormTasks)

const lookAgain = 200 * time.Microsecond

/* What one write took: by the clock, and without the time in which the machine stood still. */
type repair struct{ raw, net time.Duration }

func caseOverwrites(t *T, c *crowd) {
	var all []repair
	done := make(chan string, 1)
	go func() { done <- guarded(func() { all = overwriteAll(t, c) }) }()
	if why := <-done; why != "" {
		t.fatalf("%s", why)
	}
	at := func(percent int, of func(repair) time.Duration) float64 {
		sort.Slice(all, func(i, j int) bool { return of(all[i]) < of(all[j]) })
		return of(all[min(len(all)*percent/100, len(all)-1)]).Seconds() * 1e3
	}
	raw := func(r repair) time.Duration { return r.raw }
	net := func(r repair) time.Duration { return r.net }
	t.note("%d outside writes stood for: p50 %.1f ms, p99 %.1f ms, at most %.1f ms", len(all), at(50, net), at(99, net), at(100, net))
	t.note("by the clock, with what the machine stood still: p50 %.1f ms, p99 %.1f ms, at most %.1f ms", at(50, raw), at(99, raw), at(100, raw))
	if p99 := at(99, net); p99 > repairLimit.Seconds()*1e3 {
		t.fatalf("p99 is %.1f ms, limit %v", p99, repairLimit)
	}
}

func overwriteAll(t *T, c *crowd) []repair {
	observerThread()
	want := c.l.pool()
	next := time.Now()
	var all []repair
	for i := 0; i < overwrites; i++ {
		pause(time.Until(next))
		next = time.Now().Add(overwriteEvery)
		all = append(all, overwrite(t, c.shared[i%len(c.shared)], want))
	}
	return all
}

func overwrite(t *T, k *task, want set) repair {
	fd, err := syscall.Open(k.cpusFile(), syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	t.ok(err, k.cfg.Name)
	defer syscall.Close(fd)
	var s sight
	began := s.look()
	_, err = syscall.Pwrite(fd, []byte("0-3\n"), 0)
	t.ok(err, "outside write")
	buf := make([]byte, 256)
	for {
		n, err := syscall.Pread(fd, buf, 0)
		t.ok(err, k.cfg.Name)
		now := s.look()
		is, err := parseSet(string(buf[:n]))
		t.ok(err, k.cfg.Name)
		raw := now.Sub(began)
		if is == want {
			return repair{raw, raw - s.away}
		}
		if raw > 5*time.Second {
			t.fatalf("%s is still on %s", k.cfg.Name, is)
		}
		pause(lookAgain)
	}
}
