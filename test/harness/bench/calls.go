/*
 * Latencies, each the p50 of many samples. The peers take turns, in another order each round.
 *
 * The end of a task is measured from the time in Docker's own die event. The signal comes from
 * outside, so that no call of the peer is running. One signal is SIGTERM, at which the program ends
 * with code 0. The other is SIGKILL, after which a driver must ask Docker whether the kernel was
 * out of memory. The raw peer's answer is that of Docker's wait call.
 */
package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	/* ends immediately when it is stopped */
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

/* Signals the container's first process without Docker. */
func (b *bench) signalInit(j *job, sig syscall.Signal) {
	var doc struct{ State struct{ Pid int } }
	check(b.docker.call("GET", "/containers/"+j.container+"/json", nil, &doc), "inspect")
	check(syscall.Kill(doc.State.Pid, sig), "a signal to a container's program")
}

/* The order of the peers in this round. Each comes first in turn, and after each other one. */
func (b *bench) turn(round int) []peer {
	n := len(b.peers)
	out := make([]peer, n)
	for i := range out {
		out[i] = b.peers[(i+round+2*n)%n]
	}
	if round%2 != 0 {
		slices.Reverse(out)
	}
	return out
}

func (b *bench) calls() {
	b.lives()
	b.ownStarts()
	b.execs()
}

func (b *bench) lives() {
	starts, mounts, ends, exits, kills := samples{}, samples{}, samples{}, samples{}, samples{}
	deaths := b.deaths()
	for i := -1; i < b.rounds(80); i++ { /* the first round warms up and is not counted */
		for _, p := range b.turn(i) {
			begun := func() *job {
				j := p.start(sleeper)
				if i >= 0 {
					starts.add(p.label(), j.took)
				}
				return j
			}
			dies := func(sig syscall.Signal, into samples) {
				j := begun()
				answer := p.wait(j)
				b.signalInit(j, sig)
				told := <-answer
				if i >= 0 {
					into.add(p.label(), told.Sub(deaths.of(j.container)))
				}
				p.discard(j)
			}
			j := begun()
			begin := time.Now()
			p.end(j)
			if i >= 0 {
				ends.add(p.label(), time.Since(begin))
			}
			if j.task != nil {
				j.release()
			}
			dies(syscall.SIGTERM, exits)
			dies(syscall.SIGKILL, kills)
			/* a job mounts folders of its own task; the client has volumes off, so that paddock opens and
			 * mounts them */
			j = p.start(sleeper, "conf", "data")
			if i >= 0 {
				mounts.add(p.label(), j.took)
			}
			p.discard(j)
		}
	}
	b.figures.medians("StartTask p50", starts, b.peers).overRawAtMost(starts, startTargetMs)
	b.figures.medians("StartTask p50: with two volumes of the task's folder", mounts, b.peers).overRawAtMost(mounts, startTargetMs)
	b.figures.medians("StopTask + DestroyTask p50", ends, b.peers).overRawAtMost(ends, endTargetMs)
	b.figures.medians("Docker's die event to WaitTask answer p50: ended by itself", exits, b.peers).atMost(dieTargetMs)
	b.figures.medians("Docker's die event to WaitTask answer p50: SIGKILL", kills, b.peers).atMost(dieTargetMs)
}

/*
 * The times of dockerd's own create and start vary by more than a driver adds to them. Without
 * them, each sample shows what the driver adds.
 */
func (b *bench) ownStarts() {
	left := samples{}
	taps := map[string]*tap{}
	var peers []peer
	for _, p := range b.peers {
		socket := filepath.Join(b.dir, "tap-"+p.label())
		taps[p.label()] = b.tap(socket, b.daemon.Socket())
		d, is := p.(*driver)
		if !is {
			peers = append(peers, &raw{b: b, docker: newDocker(socket)})
			continue
		}
		tapped, err := newDriverAt(b, d.name+"-tap", d.binary, "unix://"+socket, "")
		check(err, "%s with a tap", d.name)
		defer tapped.client.Kill()
		tapped.name = d.name
		peers = append(peers, tapped)
	}
	for i := -1; i < b.rounds(60); i++ {
		for _, p := range peers {
			t := taps[p.label()]
			t.take()
			j := p.start(sleeper)
			if docker := t.take(); i >= 0 {
				left.add(p.label(), j.took-docker)
			}
			p.discard(j)
		}
		slices.Reverse(peers)
	}
	b.figures.medians("StartTask p50 without Docker's own create and start", left, peers).overRawAtMost(left, startTargetMs)
}

func (b *bench) execs() {
	execs, streams := samples{}, samples{}
	jobs := map[string]*job{}
	for _, p := range b.peers {
		jobs[p.label()] = p.start(sleeper)
	}
	/* The samples of all peers for a call in one round. When one fails, the round is not used. */
	round := func(what string, i int, into samples, call func(peer) func(*job, ...string) error) {
		took := map[string]time.Duration{}
		for _, p := range b.turn(i) {
			begin := time.Now()
			if err := call(p)(jobs[p.label()], "/bin/true"); err != nil {
				say("%s: %s failed, the round is left out: %v", p.label(), what, err)
				continue
			}
			took[p.label()] = time.Since(begin)
		}
		if i >= 0 && len(took) == len(b.peers) {
			for label, d := range took {
				into.add(label, d)
			}
		}
	}
	for i := -2; i < b.rounds(100); i++ {
		round("ExecTask", i, execs, func(p peer) func(*job, ...string) error { return p.exec })
		round("ExecTaskStreaming", i, streams, func(p peer) func(*job, ...string) error { return p.execStream })
	}
	for _, p := range b.peers {
		p.discard(jobs[p.label()])
	}
	b.figures.medians("ExecTask p50", execs, b.peers).overRawAtMost(execs, execTargetMs)
	b.figures.medians("ExecTaskStreaming p50", streams, b.peers).overRawAtMost(streams, streamTargetMs)
}

/* Each sample is a process of its own, which its host ends afterwards. Also the idle memory of
 * the last one. */
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
			/* after the life of one task, like a driver at work */
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
