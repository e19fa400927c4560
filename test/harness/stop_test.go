/*
 * StopTask: Docker has the task's kill_timeout, the stop signal comes once, and any number of stops
 * can wait without a thread.
 */
package harness

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

/* Prints each signal that it gets. None of them ends it. */
var stubborn = shell(`trap "echo term" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.1; done`)

func countLines(text, line string) (n int) {
	for _, l := range strings.Split(text, "\n") {
		if l == line {
			n++
		}
	}
	return n
}

/* Plugin and agent die during a stop. Docker still sends SIGKILL. */
func TestDockerContinuesAStop(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "orphan", stubborn).start(p)
	k.stdout.waitFor(t, 10*time.Second, "up\n")
	go func() { _ = p.StopTask(k.id(), 3*time.Second, "") }()
	k.stdout.waitFor(t, 10*time.Second, "term\n")
	p.crash(t)
	eventually(t, 20*time.Second, "the container has ended", func() (bool, string) {
		d := k.inspect()
		return !d.running(), fmt.Sprint(d.at("State"))
	})
	if code := k.inspect().num("State.ExitCode"); code != 137 {
		t.Errorf("exit code %v, want 137: SIGKILL after the timeout", code)
	}
}

func TestStopSignalComesOnce(t *testing.T) {
	p := launch(t)
	for signal, want := range map[string]string{"": "term", "SIGUSR1": "usr1"} {
		k := newTask(t, p, "once", stubborn).start(p)
		k.stdout.waitFor(t, 10*time.Second, "up\n")
		ok(t, k.stop(p, 2*time.Second, signal), "StopTask")
		if r := k.wait(p, 5*time.Second); r.ExitCode != 137 {
			t.Errorf("exit %+v, want 137", r)
		}
		text := containerLog(t, k.container())
		terms, usr1s := countLines(text, "term"), countLines(text, "usr1")
		if run.isRef {
			t.Logf("kill_signal %q: %d TERM, %d USR1", signal, terms, usr1s)
		} else if terms+usr1s != 1 || countLines(text, want) != 1 {
			t.Errorf("kill_signal %q: %d TERM, %d USR1; want one %s", signal, terms, usr1s, want)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
}

/* 64 pulls hang, and 100 StopTasks wait for tasks that end slowly. */
func TestHundredStopsBesideHangingPulls(t *testing.T) {
	paddockOnly(t, "has a goroutine for each")
	const grace = 5 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0") /* a registry that accepts and sends nothing */
	ok(t, err, "listen")
	var pulling atomic.Int32
	closing, accepting := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				<-closing
				c.Close()
			}()
			pulling.Add(1)
		}
	}()
	endPulls := sync.OnceFunc(func() {
		l.Close()
		<-accepting
		close(closing)
	})
	t.Cleanup(endPulls)
	p := launch(t)
	var tasks [4]*task
	for i := range tasks {
		tasks[i] = newTask(t, p, fmt.Sprintf("slow%d", i), stubborn).start(p)
		tasks[i].stdout.waitFor(t, 10*time.Second, "up\n")
	}
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	var pulls sync.WaitGroup
	for i := 0; i < 64; i++ {
		h := newTask(t, p, fmt.Sprintf("hang%d", i), fmt.Sprintf("image = \"%s/hang%d:1\"\nimage_pull_timeout = \"25s\"", l.Addr(), i))
		pulls.Add(1)
		go func() {
			defer pulls.Done()
			_, _, _ = p.StartTask(h.cfg)
		}()
	}
	eventually(t, 20*time.Second, "48 pulls are under way", func() (bool, string) {
		n := pulling.Load()
		return n >= 48, fmt.Sprint(n) /* the pool for images has 48 threads */
	})
	before := measure(t, p.pid)
	begun := time.Now()
	var stops sync.WaitGroup
	for i := 0; i < 100; i++ {
		id := tasks[i%len(tasks)].id()
		stops.Add(1)
		go func() {
			defer stops.Done()
			err := p.StopTask(id, grace, "")
			if took := time.Since(begun); err != nil || took < grace-time.Second || took > grace+5*time.Second {
				t.Errorf("StopTask: %v after %v, want success after %v", err, took, grace)
			}
		}()
	}
	most := 0
	for ctx.Err() == nil && time.Since(begun) < grace-time.Second {
		if n := measure(t, p.pid).threads; n > most {
			most = n
		}
		time.Sleep(100 * time.Millisecond) /* the interval of a sample; nothing is waited for */
	}
	stops.Wait()
	t.Logf("%d threads before, at most %d while 100 stops waited", before.threads, most)
	if most > before.threads {
		t.Errorf("%d threads, %d before the stops", most, before.threads)
	}
	for _, k := range tasks {
		ok(t, k.destroy(p), "DestroyTask")
	}
	endPulls()
	within(t, time.Minute, "the end of all pulls", pulls.Wait)
}
