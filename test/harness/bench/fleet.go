/*
 * 25 tasks that run at the same time, each with its logs collected and its stats requested every
 * second. The figures are what the driver's processes are and use during this time, and what
 * dockerd uses. The tasks print a line every ten seconds and sleep. Raw Docker: the same
 * containers, without any requests. Each peer has two turns of half the time, and the CPU figures
 * are those of the sum.
 */
package main

import (
	"context"
	"sync"
	"time"
)

const (
	fleetSize    = 25
	fleetTurns   = 2
	fleetSeconds = 30 /* in all turns together */
	fleetSettle  = 4 * time.Second
)

func (b *bench) fleet() {
	own, daemon := map[string]time.Duration{}, map[string]time.Duration{}
	seconds := max(2, int(fleetSeconds*b.factor))
	for turn := 0; turn < fleetTurns; turn++ {
		for _, p := range b.peers {
			ctx, cancel := context.WithCancel(context.Background())
			var readers sync.WaitGroup
			jobs := make([]*job, fleetSize)
			for i := range jobs {
				jobs[i] = p.start("trap 'exit 0' TERM; while :; do echo a line of a quiet task; sleep 10 & wait $!; done")
				if d, is := p.(*driver); is {
					stats, err := d.TaskStats(ctx, jobs[i].task.ID, time.Second)
					check(err, "%s: TaskStats", d.name)
					d.wait(jobs[i])
					readers.Add(1)
					go func() {
						defer readers.Done()
						for range stats {
						}
					}()
				}
			}
			<-time.After(fleetSettle)
			if p.label() == "paddock" {
				b.figures.set("25 tasks: mounts", "", p.label(), float64(driverMounts())).atMost(0)
			}
			pids := p.tree()
			cpu, cpuDaemon := cpuTimes(pids), cpuTime(b.daemon.Pid())
			<-time.After(time.Duration(seconds) * time.Second / fleetTurns)
			own[p.label()] += cpuTimes(pids) - cpu
			daemon[p.label()] += cpuTime(b.daemon.Pid()) - cpuDaemon
			if f := measure(p.tree()); f.processes > 0 {
				b.figures.set("25 tasks: processes", "", p.label(), float64(f.processes)).atMost(2)
				b.figures.set("25 tasks: threads", "", p.label(), float64(f.threads)).atMost(12)
				b.figures.set("25 tasks: fds", "", p.label(), float64(f.fds)).atMost(250)
				b.figures.set("25 tasks: PSS", "MiB", p.label(), mib(f.pssKiB)).atMost(24)
			}
			cancel()
			for _, j := range jobs {
				p.discard(j)
			}
			readers.Wait()
		}
	}
	for _, p := range b.peers {
		if p.label() != "raw" {
			b.figures.set("25 tasks: CPU of the driver's processes per 30 s", "s", p.label(), per30(own[p.label()], seconds)).atMost(0.10)
		}
		b.figures.set("25 tasks: CPU of dockerd per 30 s", "s", p.label(), per30(daemon[p.label()], seconds)).atMost(0.35)
	}
}

func per30(d time.Duration, seconds int) float64 { return d.Seconds() * 30 / float64(seconds) }
