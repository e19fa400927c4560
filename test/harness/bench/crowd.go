/*
 * 1,000 tasks at the fake dockerd, whose containers are names with a process that sleeps: what is
 * measured is the driver. Each task has what the client gives it: two log FIFOs
 * with readers, a WaitTask call that is open all the time, and, in the second
 * half, a stats stream of one message a second. Memory per task is what the tree
 * grew by between 200 and 1,000 tasks. And StopTask of one task while 64 pulls hang.
 */
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	crowdFirst = 200
	crowdSize  = 1000
	crowdPulls = 64
	crowdStops = 100
	/* longer than a pool thread idles before it ends */
	crowdSettle = 8 * time.Second
)

/* The fake in a process of its own, and processes for its containers. */
func (b *bench) startFake() docker {
	pids := b.startSleepers(crowdSize)
	socket := filepath.Join(b.dir, "f")
	cmd := exec.Command(b.fake, socket, "--pids", pids)
	stdin, err := cmd.StdinPipe() /* its end ends the fake */
	check(err, "fake dockerd")
	stdout, err := cmd.StdoutPipe()
	check(err, "fake dockerd")
	cmd.Stderr = os.Stderr
	check(cmd.Start(), "fake dockerd")
	b.atEnd(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = io.ReadFull(stdout, make([]byte, len("ready\n")))
	check(err, "fake dockerd")
	return newDocker(socket)
}

func (b *bench) crowd() {
	if b.paddock == "" || b.fake == "" {
		say("no paddock or no fake_dockerd: the figures of 1,000 tasks are left out")
		return
	}
	fake := b.startFake()
	/* images of this registry are never there, and their pulls never end */
	check(fake.call("POST", "/_fake/rules", strings.NewReader(
		"GET /images/hang.test*/json status=404 body={\"message\":\"no such image\"}\nPOST /images/create hang\n"), nil), "rules")
	d, err := newDriverAt(b, "crowd", b.paddock, "unix://"+filepath.Join(b.dir, "f"),
		"volumes { enabled = true }") /* the fake's processes have no mounts that could be checked */
	check(err, "paddock at the fake dockerd")

	var jobs []*job
	grow := func(n int) {
		var wg sync.WaitGroup
		fresh := make([]*job, n-len(jobs))
		lanes := make(chan struct{}, 4)
		errs := make(chan error, len(fresh))
		for i := range fresh {
			fresh[i] = d.task(image, "true")
			fresh[i].drain()
			wg.Add(1)
			lanes <- struct{}{}
			go func(j *job) {
				defer wg.Done()
				if _, _, err := d.StartTask(j.task); err != nil {
					errs <- err
				}
				<-lanes
			}(fresh[i])
		}
		wg.Wait()
		select {
		case err := <-errs:
			check(err, "StartTask at the fake dockerd")
		default:
		}
		for _, j := range fresh {
			_, err := d.WaitTask(context.Background(), j.task.ID)
			check(err, "WaitTask")
		}
		jobs = append(jobs, fresh...)
	}
	settled := func() footprint {
		<-time.After(crowdSettle)
		return measure(d.tree())
	}
	grow(crowdFirst)
	few := settled()
	mounts := driverMounts()
	begin := time.Now()
	grow(crowdSize)
	took := time.Since(begin)
	many := settled()
	say("%d tasks: %v; %d tasks: %v; %d started in %v", crowdFirst, few, crowdSize, many, crowdSize-crowdFirst, took.Round(time.Millisecond))
	per := func(a, z footprint, n int) float64 { return float64(z.pssKiB-a.pssKiB) / float64(n) }
	const name = "1,000 tasks: "
	set := func(what, unit string, v float64) *figure { return b.figures.set(name+what, unit, "paddock", v) }
	set("memory per task", "KiB", per(few, many, crowdSize-crowdFirst)).atMost(64)
	set("mounts of 800 of them", "", float64(driverMounts()-mounts)).atMost(0)
	set("processes", "", float64(many.processes)).atMost(float64(few.processes))
	set("threads", "", float64(many.threads)).atMost(float64(few.threads))

	pids := d.tree()
	used := cpuTimes(pids)
	const seconds = 10
	<-time.After(seconds * time.Second)
	set("CPU at rest", "% of a core", 100*(cpuTimes(pids)-used).Seconds()/seconds)

	ctx, cancel := context.WithCancel(context.Background())
	for _, j := range jobs {
		ch, err := d.TaskStats(ctx, j.task.ID, time.Second)
		check(err, "TaskStats")
		go func() {
			for range ch {
			}
		}()
	}
	watched := settled()
	say("%d tasks with stats: %v", crowdSize, watched)
	set("memory per task, with a stats stream", "KiB", per(few, watched, crowdSize-crowdFirst)).atMost(40)
	set("threads, with stats streams", "", float64(watched.threads)).atMost(float64(few.threads))
	used = cpuTimes(pids)
	<-time.After(seconds * time.Second)
	set("CPU with stats streams", "% of a core", 100*(cpuTimes(pids)-used).Seconds()/seconds).atMost(10)
	cancel()

	stop := func(j *job) time.Duration {
		begin := time.Now()
		check(d.StopTask(j.task.ID, 5*time.Second, ""), "StopTask")
		return time.Since(begin)
	}
	const stops = 20
	normal, held := samples{}, samples{}
	for _, j := range jobs[:stops] {
		normal.add("paddock", stop(j))
	}
	b.hangPulls(fake, d)
	for _, j := range jobs[stops : 2*stops] {
		held.add("paddock", stop(j))
	}
	f := b.figures.get(name+"StopTask p50", "ms")
	f.values["paddock"], _ = normal.median("paddock")
	usual := f.values["paddock"]
	f = b.figures.get(fmt.Sprintf("%sStopTask p50 while %d pulls hang", name, crowdPulls), "ms")
	f.values["paddock"], _ = held.median("paddock")
	f.atMost(usual + 5)
	b.stopMany(fake, d, jobs[2*stops:2*stops+crowdStops])
	/* its host ends it with all it has: the fake's containers need no care */
	d.client.Kill()
	for _, j := range jobs {
		j.release()
	}
}

/* Many StopTasks at once while the pulls hang; the containers take a while to end. */
func (b *bench) stopMany(fake docker, d *driver, jobs []*job) {
	const takes = 3 * time.Second
	check(fake.call("POST", "/_fake/rules", strings.NewReader(
		fmt.Sprintf("POST /containers/*/stop delay=%d\n", takes.Milliseconds())), nil), "rules")
	before := measure(d.tree())
	times := make(chan time.Duration, len(jobs))
	for _, j := range jobs {
		go func(j *job) {
			begin := time.Now()
			check(d.StopTask(j.task.ID, 30*time.Second, ""), "StopTask")
			times <- time.Since(begin)
		}(j)
	}
	<-time.After(takes / 2)
	during := measure(d.tree())
	last := time.Duration(0)
	for range jobs {
		if took := <-times; took > last {
			last = took
		}
	}
	name := fmt.Sprintf("%d StopTasks at once while pulls hang: ", len(jobs))
	b.figures.set(name+"threads more", "", "paddock", float64(during.threads-before.threads)).atMost(0)
	b.figures.set(name+"the last, after its container's end", "ms", "paddock", float64((last-takes).Microseconds())/1000).atMost(1000)
}

/* Starts tasks whose pulls hang, and waits until no more of them come to the fake: a driver may queue some. */
func (b *bench) hangPulls(fake docker, d *driver) {
	for i := 0; i < crowdPulls; i++ {
		j := d.task(fmt.Sprintf("hang.test/image%d:1", i), "true")
		go func() { _, _, _ = d.StartTask(j.task) }() /* fails when the driver ends */
	}
	pulls := 0
	for quiet := 0; quiet < 10 && pulls < crowdPulls; quiet++ {
		<-time.After(100 * time.Millisecond)
		var seen map[string]int
		check(fake.call("GET", "/_fake/requests", nil, &seen), "requests")
		if n := seen["POST /images/create"]; n != pulls {
			pulls, quiet = n, 0
		}
	}
	say("%d StartTasks of images that never come: %d pulls are under way", crowdPulls, pulls)
}

/* Reads both FIFOs without a thread each; they are held open at both ends, so no end is seen. */
func (j *job) drain() {
	for _, path := range []string{j.task.StdoutPath, j.task.StderrPath} {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
		check(err, "FIFO")
		go func() {
			defer f.Close()
			_, _ = io.Copy(io.Discard, f)
		}()
	}
}
