/*
 * Many calls at the same time: 50 StartTasks, as after a drain of another node, and 100
 * RecoverTasks, as after a restart of the plugin. A sample is the time until the last of them has
 * answered.
 *
 * For the recovery, both drivers have their 100 containers running all the time. Before each sample
 * the driver's process is killed, as in a crash, and a new one is configured.
 */
package main

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

const (
	togetherStarts   = 50
	togetherRecovers = 100
	/* how many of the recovery's containers are started or removed at the same time: not measured */
	togetherLanes = 4
	/* of the raw calls' time */
	togetherTarget = 1.02
)

func (b *bench) together() {
	b.startMany()
	b.recoverMany()
}

/* Makes all calls at the same time. Returns the time until the last has answered. */
func atTheSameTime(n int, what string, call func(i int) error) time.Duration {
	errs := make([]error, n)
	var begun, done sync.WaitGroup
	begun.Add(1)
	done.Add(n)
	for i := range errs {
		go func(i int) {
			defer done.Done()
			begun.Wait()
			errs[i] = call(i)
		}(i)
	}
	begin := time.Now()
	begun.Done()
	done.Wait()
	took := time.Since(begin)
	for _, err := range errs {
		check(err, what)
	}
	return took
}

/* Makes n calls, a few at a time. */
func inLanes(n int, call func(i int)) {
	next := make(chan int, n)
	for i := 0; i < n; i++ {
		next <- i
	}
	close(next)
	var lanes sync.WaitGroup
	for lane := 0; lane < togetherLanes; lane++ {
		lanes.Add(1)
		go func() {
			defer lanes.Done()
			for i := range next {
				call(i)
			}
		}()
	}
	lanes.Wait()
}

/*
 * The raw calls start two kinds of containers: one with the mounts that every driver makes, and one
 * that also has paddock's read-only mount of alloc/logs. The second says what paddock itself costs.
 */
func (b *bench) startMany() {
	all := b.peers
	defer func() { b.peers = all }()
	times, ratios, same := samples{}, []float64{}, []float64{}
	b.peers = append(slices.Clip(all), &raw{b: b, docker: b.docker, logs: true})
	for round := -1; round < b.rounds(6); round++ { /* the first round warms up and is not counted */
		took := map[string]time.Duration{}
		for _, p := range b.turn(round) {
			jobs, begins := make([]*job, togetherStarts), make([]func() error, togetherStarts)
			for i := range jobs {
				jobs[i], begins[i] = p.prepare(sleeper)
			}
			took[p.label()] = atTheSameTime(len(jobs), p.label()+": StartTask", func(i int) error { return begins[i]() })
			inLanes(len(jobs), func(i int) { p.discard(jobs[i]) })
		}
		if round < 0 {
			continue
		}
		for label, d := range took {
			times.add(label, d)
		}
		if d, is := took["paddock"]; is {
			ratios = append(ratios, float64(d)/float64(took["raw"]))
			same = append(same, float64(d)/float64(took[rawWithLogs]))
		}
	}
	b.figures.medians("50 StartTasks at once, until the last has answered, p50", times, all).ofRawAtMost(ratios, togetherTarget)
	times["raw"] = times[rawWithLogs]
	b.figures.medians("same, the raw calls mount alloc/logs, too, p50", times, all).ofRawAtMost(same, togetherTarget)
}

func (b *bench) recoverMany() {
	type fleet struct {
		*driver
		jobs []*job
	}
	var fleets []fleet
	for _, p := range b.peers {
		d, is := p.(*driver)
		if !is {
			continue
		}
		f := fleet{driver: d, jobs: make([]*job, togetherRecovers)}
		inLanes(len(f.jobs), func(i int) { f.jobs[i] = d.start(sleeper) })
		fleets = append(fleets, f)
	}
	times := samples{}
	for round := -1; round < b.rounds(8); round++ {
		for _, f := range fleets {
			check(syscall.Kill(f.pid, syscall.SIGKILL), "%s: kill", f.name)
			f.client.Kill() /* returns after its end */
			for _, j := range f.jobs {
				j.read(nil) /* the reader got an end of file when the driver's process ended */
			}
			check(f.launch(), "%s: start", f.name)
			check(f.configure(), "%s: SetConfig", f.name)
			took := atTheSameTime(len(f.jobs), f.name+": RecoverTask", func(i int) error { return f.RecoverTask(f.jobs[i].handle) })
			if round >= 0 {
				times.add(f.name, took)
			}
			for _, j := range f.jobs {
				s, err := f.InspectTask(j.task.ID)
				check(err, "%s: InspectTask", f.name)
				if s.State != drivers.TaskStateRunning {
					check(fmt.Errorf("it is %s", s.State), "%s: a task after RecoverTask", f.name)
				}
			}
		}
		slices.Reverse(fleets)
	}
	for _, f := range fleets {
		inLanes(len(f.jobs), func(i int) { f.discard(f.jobs[i]) })
	}
	figure := b.figures.medians("100 RecoverTasks at once, until the last has answered, p50", times, b.peers)
	if limit, have := figure.values["reference"]; have {
		figure.atMost(limit)
	}
}
