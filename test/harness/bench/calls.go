/*
 * Latencies, each the p50 of many samples; the peers take turns.
 *
 * The end of a task is measured from the time that Docker's own die event
 * carries: the program of the container is killed from outside, so that no
 * call of the peer is under way. The raw peer's answer is that of Docker's
 * wait call.
 */
package main

import (
	"encoding/json"
	"sync"
	"syscall"
	"time"
)

const (
	/* ends at once when told to */
	sleeper = "trap 'exit 0' TERM; sleep 100000 & wait"

	startTargetMs, endTargetMs, dieTargetMs   = 3, 5, 5
	execTargetMs, streamTargetMs, setConfigMs = 3, 5, 25
)

/* The times of die events by container name. */
type deaths struct {
	mu   sync.Mutex
	cond *sync.Cond
	at   map[string]time.Time
}

func (b *bench) deaths() *deaths {
	d := &deaths{at: map[string]time.Time{}}
	d.cond = sync.NewCond(&d.mu)
	resp, err := b.docker.open("GET", `/events?filters={"event":["die"]}`)
	check(err, "events")
	b.atEnd(func() { resp.Body.Close() })
	go func() {
		dec := json.NewDecoder(resp.Body)
		for {
			var e struct {
				TimeNano int64 `json:"timeNano"`
				Actor    struct{ Attributes map[string]string }
			}
			if dec.Decode(&e) != nil {
				return
			}
			d.mu.Lock()
			d.at[e.Actor.Attributes["name"]] = time.Unix(0, e.TimeNano)
			d.cond.Broadcast()
			d.mu.Unlock()
		}
	}()
	return d
}

func (d *deaths) of(name string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.at[name].IsZero() {
		d.cond.Wait()
	}
	return d.at[name]
}

/* Kills the container's first process behind Docker's back. */
func (b *bench) killInit(j *job) {
	var doc struct{ State struct{ Pid int } }
	check(b.docker.call("GET", "/containers/"+j.container+"/json", nil, &doc), "inspect")
	check(syscall.Kill(doc.State.Pid, syscall.SIGKILL), "killing a container's program")
}

func (b *bench) calls() {
	starts, ends, dies := samples{}, samples{}, samples{}
	deaths := b.deaths()
	for i := -1; i < b.rounds(20); i++ { /* the first round warms up and is not counted */
		for _, p := range b.peers {
			j := p.start(sleeper)
			took := j.took
			begin := time.Now()
			p.end(j)
			ended := time.Since(begin)
			if j.task != nil {
				j.release()
			}
			j = p.start(sleeper)
			answer := p.wait(j)
			b.killInit(j)
			told := <-answer
			died := told.Sub(deaths.of(j.container))
			p.discard(j)
			if i >= 0 {
				starts.add(p.label(), took)
				starts.add(p.label(), j.took)
				ends.add(p.label(), ended)
				dies.add(p.label(), died)
			}
		}
	}
	b.figures.medians("StartTask p50", starts, b.peers).atMostRawPlus(startTargetMs)
	b.figures.medians("StopTask + DestroyTask p50", ends, b.peers).atMostRawPlus(endTargetMs)
	b.figures.medians("die event to WaitTask answer p50", dies, b.peers).atMost(dieTargetMs)

	execs, streams := samples{}, samples{}
	jobs := map[string]*job{}
	for _, p := range b.peers {
		jobs[p.label()] = p.start(sleeper)
	}
	for i := -2; i < b.rounds(40); i++ {
		for _, p := range b.peers {
			j := jobs[p.label()]
			timed := func(what string, into samples, call func(*job, ...string) error) {
				begin := time.Now()
				if err := call(j, "/bin/true"); err != nil {
					say("%s: %s failed, left out: %v", p.label(), what, err)
				} else if i >= 0 {
					into.add(p.label(), time.Since(begin))
				}
			}
			timed("ExecTask", execs, p.exec)
			timed("ExecTaskStreaming", streams, p.execStream)
		}
	}
	for _, p := range b.peers {
		p.discard(jobs[p.label()])
	}
	b.figures.medians("ExecTask p50", execs, b.peers).atMostRawPlus(execTargetMs)
	b.figures.medians("ExecTaskStreaming p50", streams, b.peers).atMostRawPlus(streamTargetMs)
}

/* Each sample is a process of its own, ended by its host afterwards; and what the last one weighs while idle. */
func (b *bench) setConfig() {
	times := samples{}
	for i := -1; i < b.rounds(20); i++ {
		for _, p := range b.peers {
			d, is := p.(*driver)
			if !is {
				continue
			}
			d.client.Kill()
			begin := time.Now()
			check(d.launch(), "%s: start", d.name)
			check(d.configure(), "%s: SetConfig", d.name)
			if i >= 0 {
				times.add(d.name, time.Since(begin))
			}
		}
	}
	b.figures.medians("exec of the binary to SetConfig answered p50", times, b.peers).atMost(setConfigMs)
	for _, p := range b.peers {
		if d, is := p.(*driver); is {
			/* with one task's life behind it, as a driver at work has */
			j := d.start(sleeper)
			d.end(j)
			j.release()
			f := measure([]int{d.pid})
			b.figures.set("idle, the plugin: resident", "MiB", d.name, mib(f.rssKiB)).atMost(20)
			b.figures.set("idle, the plugin: anonymous", "MiB", d.name, mib(f.anonKiB)).atMost(6)
		}
	}
}

func mib(kib int) float64 { return float64(kib) / 1024 }
