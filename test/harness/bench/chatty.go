/*
 * 25 tasks that print 40 KB/s each, then 25 that print nothing: the CPU that the
 * log pump (the reference: all its processes) uses for the first, and how often a
 * thread of the pump wakes up for the others.
 */
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	chattyTasks   = 25
	chattySeconds = 20
	/* 400 lines of 100 bytes a second */
	chattyLine = "trap 'exit 0' TERM; while :; do for i in $(seq 40); do echo %090d; done; sleep 0.1 & wait $!; done"
)

func (b *bench) chatty() {
	seconds := max(2, int(chattySeconds*b.factor))
	for _, p := range b.peers {
		d, is := p.(*driver)
		if !is {
			continue
		}
		b.withTasks(d, fmt.Sprintf(chattyLine, 1), func() {
			pids := p.tree()
			if pumps := pumpsOf(pids); len(pumps) > 0 {
				pids = pumps
			}
			cpu := cpuTimes(pids)
			<-time.After(time.Duration(seconds) * time.Second)
			b.figures.set("25 tasks that print 1 MB/s: CPU that carries their logs", "% of a core", p.label(),
				100*(cpuTimes(pids)-cpu).Seconds()/float64(seconds)).atMost(0.5)
		})
		b.withTasks(d, "trap 'exit 0' TERM; sleep 1000 & wait $!", func() {
			wakes := wakeups(pumpsOf(p.tree()))
			<-time.After(time.Duration(seconds) * time.Second)
			b.figures.set("25 silent tasks: wake-ups of the log pump", "/s", p.label(),
				float64(wakeups(pumpsOf(p.tree()))-wakes)/float64(seconds)).atMost(0)
		})
	}
}

func (b *bench) withTasks(d *driver, line string, measure func()) {
	jobs := make([]*job, chattyTasks)
	for i := range jobs {
		jobs[i] = d.start(line)
		d.wait(jobs[i])
	}
	<-time.After(fleetSettle)
	measure()
	for _, j := range jobs {
		d.discard(j)
	}
}

func pumpsOf(pids []int) (out []int) {
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(line), "\x00logpump\x00") {
			out = append(out, pid)
		}
	}
	return out
}

/* How often the processes' threads gave up their CPU voluntarily: once for each time that they
 * woke up. */
func wakeups(pids []int) (sum int) {
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			if _, rest, found := strings.Cut(string(text), "\nvoluntary_ctxt_switches:"); found {
				n, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
				sum += n
			}
		}
	}
	return sum
}
