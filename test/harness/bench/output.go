/*
 * One task prints 200 MB in lines of 80 bytes as fast as they are read. Its readers drain the FIFOs
 * as fast as they can. The rate is that of the bytes that arrived, from the start's answer to the
 * last byte. Whether all arrived is a figure, too. paddock is compared with dockerd's own rate and
 * CPU when the log is not followed.
 *
 * Rates are those of all rounds together. One round is not enough, because dockerd's own rate
 * varies by a third from minute to minute. The reference, which takes longest, prints in one round.
 * Only a driver that continues after a loss must ask for times. What they cost dockerd is a figure
 * of its own: the raw calls ask for them once, and only the bytes of the lines are counted.
 */
package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	outputBytes  = 200_000_000
	outputRounds = 6
	outputLimit  = 3 * time.Minute
)

func (b *bench) output() {
	rates, cpus, parts := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	daemons := map[string][]float64{}
	var unread, unreadDaemon []float64
	bytes := max(10_000_000, int(outputBytes*min(1, b.factor)))
	for round := 0; round < outputRounds; round++ {
		rate, daemon := b.printUnread(bytes)
		unread, unreadDaemon = append(unread, rate), append(unreadDaemon, daemon)
		for _, p := range b.turn(round) {
			if p.label() == "reference" && round > 0 {
				continue
			}
			daemon := cpuTime(b.daemon.Pid())
			rate, cpu, part := b.print(p, bytes)
			daemons[p.label()] = append(daemons[p.label()], (cpuTime(b.daemon.Pid()) - daemon).Seconds())
			rates[p.label()] = append(rates[p.label()], rate)
			cpus[p.label()] = append(cpus[p.label()], cpu)
			parts[p.label()] = append(parts[p.label()], part)
		}
	}
	for label, list := range rates {
		b.figures.set("200 MB of output: rate", "MB/s", label, together(list))
		b.figures.set("200 MB of output: came out", "%", label, 100*slices.Min(parts[label]))
		if label != "raw" {
			b.figures.set("200 MB of output: CPU of the driver's processes", "s", label, middle(cpus[label])).atMost(1.0)
		}
		b.figures.set("200 MB of output: CPU of dockerd", "s", label, middle(daemons[label])).atMost(1.05 * middle(unreadDaemon))
	}
	b.figures.get("200 MB of output: rate", "MB/s").atLeast(0.98 * together(unread))
	b.figures.set("200 MB that nobody follows: rate", "MB/s", "raw", together(unread))
	b.figures.set("200 MB that nobody follows: CPU of dockerd", "s", "raw", middle(unreadDaemon))
	timed, _, _ := b.print(&raw{b: b, docker: b.docker, times: true}, bytes)
	b.figures.set("200 MB of output with its times: rate", "MB/s", "raw", timed)
}

/* What dockerd writes when the log is not followed: the rate, and dockerd's CPU seconds. */
func (b *bench) printUnread(bytes int) (rate, daemon float64) {
	p := &raw{b: b, docker: b.docker}
	before := cpuTime(b.daemon.Pid())
	j := p.start(fmt.Sprintf("yes %079d | head -c %d", 1, bytes))
	begin := time.Now()
	end := <-p.wait(j)
	daemon = (cpuTime(b.daemon.Pid()) - before).Seconds()
	p.discard(j)
	return float64(bytes) / 1e6 / end.Sub(begin).Seconds(), daemon
}

/* The rate of rounds that print the same number of bytes each. */
func together(rates []float64) float64 {
	seconds := 0.0
	for _, r := range rates {
		seconds += 1 / r
	}
	return float64(len(rates)) / seconds
}

func (b *bench) print(p peer, bytes int) (rate, cpu, part float64) {
	var came, last atomic.Int64
	got := func(n int) {
		came.Add(int64(n))
		last.Store(time.Now().UnixNano())
	}
	var readers sync.WaitGroup
	d, isDriver := p.(*driver)
	if isDriver {
		readers.Add(2)
		d.logs = func(f *os.File) {
			defer readers.Done()
			buf := make([]byte, 64<<10)
			for {
				n, err := f.Read(buf)
				if err != nil {
					return
				}
				got(n)
			}
		}
		defer func() { d.logs = nil }()
	}
	before := p.tree()
	used := cpuTimes(before)
	j := p.start(fmt.Sprintf("yes %079d | head -c %d", 1, bytes))
	begin := time.Now()
	answer := p.wait(j)
	if !isDriver {
		readers.Add(1)
		go func() {
			defer readers.Done()
			p.follow(j, got)
		}()
	}
	/* processes that only one task has (the reference has one per task) are counted from their
	 * start */
	tree := p.tree()
	ended := make(chan struct{})
	go func() {
		<-answer
		/* the last bytes of the log come before the end of the FIFO, which is waited for */
		readers.Wait()
		close(ended)
	}()
	sample := time.NewTicker(100 * time.Millisecond)
	defer sample.Stop()
	limit := time.After(outputLimit)
	now := cpuTimes(tree)
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-sample.C:
		case <-limit:
			say("%s: the log did not end within %v", p.label(), outputLimit)
			running = false
		}
		now = max(now, cpuTimes(tree)) /* a process that has ended keeps its last value */
	}
	p.discard(j)
	readers.Wait()
	seconds := time.Unix(0, last.Load()).Sub(begin).Seconds()
	return float64(came.Load()) / 1e6 / seconds, (now - used).Seconds(), float64(came.Load()) / float64(bytes)
}
