/*
 * 1,000 tasks with the fake dockerd, whose containers are names with a process that sleeps. So the
 * figures are those of the driver. Each task has what the client gives it: two log FIFOs with
 * readers, a WaitTask call that is open all the time and, in the second half, a stats stream with
 * one message per second. Memory per task is the growth of the process tree between 200 and 1,000
 * tasks. Also StopTask of one task while 64 pulls hang.
 *
 * The fake writes log files, like Docker's default log driver, and each task has printed a line.
 * Memory is measured a second time without files. The log pump then has a connection for each task.
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
	/* longer than an idle pool thread lives */
	crowdSettle = 8 * time.Second
)

/* The fake in a process of its own. pids: its containers' processes; root: "" = no log files */
func (b *bench) startFake(socket, pids, root string) docker {
	args := []string{socket, "--pids", pids}
	if root != "" {
		check(os.Mkdir(root, 0o700), "fake dockerd")
		args = append(args, "--root", root)
	}
	cmd := exec.Command(b.fake, args...)
	stdin, err := cmd.StdinPipe() /* closing it ends the fake */
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

/* Tasks with a fake dockerd, first some hundreds and then all. */
type crowd struct {
	*driver
	b    *bench
	fake docker
	name string
	few  footprint
	jobs []*job
}

func (b *bench) crowd() {
	if b.paddock == "" || b.fake == "" {
		say("no paddock or no fake_dockerd: the figures of 1,000 tasks are left out")
		return
	}
	pids := b.startSleepers(crowdSize)
	c := b.newCrowd("crowd", "1,000 tasks: ", pids, filepath.Join(b.dir, "docker-root"))
	c.fill()
	c.rest()
	stopStats := c.watch(true)
	stopStats()
	c.stops()
	c.end()

	c = b.newCrowd("crowd-api", "1,000 tasks, logs through the API: ", pids, "")
	c.fill()
	c.rest()
	c.watch(false)
	c.end()
}

func (b *bench) newCrowd(label, name, pids, root string) *crowd {
	socket := filepath.Join(b.dir, label+".s")
	c := &crowd{b: b, name: name, fake: b.startFake(socket, pids, root)}
	/* images of this registry never exist, and their pulls never end */
	check(c.fake.call("POST", "/_fake/rules", strings.NewReader(
		"GET /images/hang.test*/json status=404 body={\"message\":\"no such image\"}\nPOST /images/create hang\n"), nil), "rules")
	d, err := newDriverAt(b, label, b.paddock, "unix://"+socket,
		"volumes { enabled = true }") /* the fake's processes have no mounts that could be checked */
	check(err, "paddock at the fake dockerd")
	d.allocs = filepath.Join(b.dir, label) /* a client of its own, because the ids of the containers are the same again */
	c.driver = d
	return c
}

func (c *crowd) set(what, unit string, v float64) *figure {
	return c.b.figures.set(c.name+what, unit, "paddock", v)
}

/* Starts tasks until there are n. */
func (c *crowd) grow(n int) {
	var wg sync.WaitGroup
	fresh := make([]*job, n-len(c.jobs))
	lanes := make(chan struct{}, 4)
	errs := make(chan error, len(fresh))
	for i := range fresh {
		fresh[i] = c.task(image, "true")
		fresh[i].drain()
		wg.Add(1)
		lanes <- struct{}{}
		go func(j *job) {
			defer wg.Done()
			if _, _, err := c.StartTask(j.task); err != nil {
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
	for i, j := range fresh {
		_, err := c.WaitTask(context.Background(), j.task.ID)
		check(err, "WaitTask")
		id := fakeID(len(c.jobs) + i + 1)
		check(c.fake.call("POST", "/_fake/print/"+id, strings.NewReader("a line\n"), nil), "print")
	}
	c.jobs = append(c.jobs, fresh...)
}

func (c *crowd) settled() footprint {
	<-time.After(crowdSettle)
	return measure(c.tree())
}

/* The memory of a task in z. */
func (c *crowd) perTask(z footprint) float64 {
	return float64(z.pssKiB-c.few.pssKiB) / (crowdSize - crowdFirst)
}

func (c *crowd) fill() {
	c.grow(crowdFirst)
	c.few = c.settled()
	mounts := driverMounts()
	begin := time.Now()
	c.grow(crowdSize)
	took := time.Since(begin)
	many := c.settled()
	say("%d tasks: %v; %d tasks: %v; %d started in %v", crowdFirst, c.few, crowdSize, many, crowdSize-crowdFirst, took.Round(time.Millisecond))
	for _, pid := range c.tree() {
		say("process %d of %d tasks: %v", pid, crowdSize, measure([]int{pid}))
	}
	c.set("memory per task", "KiB", c.perTask(many)).atMost(64)
	c.set("mounts of 800 of them", "", float64(driverMounts()-mounts)).atMost(0)
	c.set("processes", "", float64(many.processes)).atMost(float64(c.few.processes))
	c.set("threads", "", float64(many.threads)).atMost(float64(c.few.threads))
}

const crowdSeconds = 10

/* The CPU of all processes over a period. */
func (c *crowd) percent() float64 {
	pids := c.tree()
	used := cpuTimes(pids)
	<-time.After(crowdSeconds * time.Second)
	return 100 * (cpuTimes(pids) - used).Seconds() / crowdSeconds
}

func (c *crowd) rest() { c.set("CPU at rest", "% of a core", c.percent()) }

/* Opens a stats stream for each task. The returned function closes them. */
func (c *crowd) watch(cpu bool) func() {
	ctx, cancel := context.WithCancel(context.Background())
	for _, j := range c.jobs {
		ch, err := c.TaskStats(ctx, j.task.ID, time.Second)
		check(err, "TaskStats")
		go func() {
			for range ch {
			}
		}()
	}
	watched := c.settled()
	say("%d tasks with stats: %v", crowdSize, watched)
	for _, pid := range c.tree() {
		say("process %d with stats: %v", pid, measure([]int{pid}))
	}
	c.set("memory per task, with a stats stream", "KiB", c.perTask(watched)).atMost(40)
	c.set("threads, with stats streams", "", float64(watched.threads)).atMost(float64(c.few.threads))
	if cpu {
		c.set("CPU with stats streams", "% of a core", c.percent()).atMost(10)
	}
	return cancel
}

func (c *crowd) stops() {
	stop := func(j *job) time.Duration {
		begin := time.Now()
		check(c.StopTask(j.task.ID, 5*time.Second, ""), "StopTask")
		return time.Since(begin)
	}
	const stops = 20
	normal, held := samples{}, samples{}
	for _, j := range c.jobs[:stops] {
		normal.add("paddock", stop(j))
	}
	c.b.hangPulls(c.fake, c.driver)
	for _, j := range c.jobs[stops : 2*stops] {
		held.add("paddock", stop(j))
	}
	usual, _ := normal.median("paddock")
	c.set("StopTask p50", "ms", usual)
	ms, _ := held.median("paddock")
	c.set(fmt.Sprintf("StopTask p50 while %d pulls hang", crowdPulls), "ms", ms).atMost(usual + 5)
	c.b.stopMany(c.fake, c.driver, c.jobs[2*stops:2*stops+crowdStops])
}

/* Ends the driver and all it has. The fake's containers need no clean-up. */
func (c *crowd) end() {
	c.client.Kill()
	killBelow(filepath.Dir(c.binary))
	for _, j := range c.jobs {
		j.release()
	}
}

/* Many StopTasks at the same time while the pulls hang; the containers take a while to end. */
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

/* Starts tasks whose pulls hang, and waits until no more pulls arrive at the fake. A driver may
 * queue some. */
func (b *bench) hangPulls(fake docker, d *driver) {
	for i := 0; i < crowdPulls; i++ {
		j := d.task(fmt.Sprintf("hang.test/image%d:1", i), "true")
		go func() { _, _, _ = d.StartTask(j.task) }() /* it fails when the driver ends */
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

/* Reads both FIFOs without a thread for each. They are open at both ends, so that no end is
 * seen. */
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
