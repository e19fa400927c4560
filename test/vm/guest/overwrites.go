/*
 * Outside writes, one after the other, to all containers of the crowd but the first: how long each
 * was in effect. Nothing may happen to the first one (caseLastState).
 */
package main

import (
	"fmt"
	"sort"
	"syscall"
	"time"
)

func caseOverwrites(t *T, c *crowd) {
	var all []span
	them := c.shared[1:]
	/* So that each container gets eight in 10 s: from ten on they count as another writer's and
	 * wait for the tick. */
	every := 10 * time.Second / time.Duration(8*len(them))
	t.asObserver(func() {
		next := time.Now()
		for i := 0; i < size.overwrites; i++ {
			pause(time.Until(next))
			next = time.Now().Add(every)
			all = append(all, overwrite(t, them[i%len(them)], c.l.pool()))
		}
	})
	settle()
	figures := func(of func(span) time.Duration) (string, time.Duration) {
		var v []time.Duration
		for _, s := range all {
			v = append(v, of(s))
		}
		sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
		p50, p99, last := v[len(v)/2], v[len(v)*99/100], v[len(v)-1]
		return fmt.Sprintf("p50 %s ms, p99 %s ms, at most %s ms", ms(p50), ms(p99), ms(last)), p99
	}
	net, p99 := figures(span.net)
	raw, _ := figures(span.raw)
	t.note("%d outside writes stood for: %s; with what the machine stood still: %s", len(all), net, raw)
	if p99 > repairLimit {
		t.fatalf("p99 is %v, limit %v", p99, repairLimit)
	}
}

/* Puts the container on all CPUs and waits until it is back. Call it within asObserver(). */
func overwrite(t *T, k *task, want set) span {
	fd, err := syscall.Open(k.cpusFile(), syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	t.ok(err, k.cfg.Name)
	defer syscall.Close(fd)
	buf := make([]byte, 256)
	return t.swiftly("the repair of "+k.cfg.Name, func() {
		_, err := syscall.Pwrite(fd, []byte("0-3\n"), 0)
		t.ok(err, "outside write")
	}, func() (bool, string) {
		n, err := syscall.Pread(fd, buf, 0)
		t.ok(err, k.cfg.Name)
		is, err := parseSet(string(buf[:n]))
		t.ok(err, k.cfg.Name)
		return is == want, is.String()
	})
}
