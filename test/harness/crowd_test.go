/*
 * Many things at the same time, and things that must not affect each other: tasks in parallel, a
 * slow call beside fast ones, two drivers on one host, links in the place of FIFOs, log drivers
 * that cannot be read, and a dockerd that stops and starts while fingerprints run.
 */
package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

func TestTwentyTasksInParallel(t *testing.T) {
	p := launch(t)
	var tasks []*task
	for i := 0; i < 20; i++ {
		tasks = append(tasks, newTask(t, p, fmt.Sprintf("par%d", i), shell(fmt.Sprintf(`echo task %d; trap 'exit %d' TERM; while :; do sleep 0.1; done`, i, i))))
	}
	each := func(what string, f func(int, *task) error) {
		t.Helper()
		var wg sync.WaitGroup
		errs := make([]error, len(tasks))
		for i, k := range tasks {
			wg.Add(1)
			go func(i int, k *task) {
				defer wg.Done()
				errs[i] = f(i, k)
			}(i, k)
		}
		within(t, 2*time.Minute, what, wg.Wait)
		for i, err := range errs {
			if err != nil {
				t.Fatalf("%s of task %d: %v", what, i, err)
			}
		}
	}
	each("StartTask", func(_ int, k *task) (err error) { k.handle, k.net, err = p.StartTask(k.cfg); return err })
	waiters := make([]<-chan *drivers.ExitResult, len(tasks))
	for i, k := range tasks {
		waiters[i] = k.waiter(p)
		k.stdout.waitFor(t, 20*time.Second, fmt.Sprintf("task %d\n", i))
	}
	f := measure(t, p.pid)
	t.Logf("20 tasks: plugin %v", f)
	if !run.isRef && f.threads > 80 {
		t.Errorf("%d threads with 20 tasks", f.threads)
	}
	each("StopTask", func(_ int, k *task) error { return p.StopTask(k.id(), 20*time.Second, "") })
	for i, k := range tasks {
		if r := k.result(waiters[i], callLimit); r.ExitCode != i {
			t.Errorf("task %d: exit %+v", i, r)
		}
	}
	each("DestroyTask", func(_ int, k *task) error { return p.DestroyTask(k.id(), true) })
	for i, k := range tasks {
		if k.stdout.text() != fmt.Sprintf("task %d\n", i) {
			t.Errorf("task %d's log: %q", i, k.stdout.text())
		}
	}
}

/* 64 pulls that hang use no worker of other calls. `docker` is behind a proxy that answers
 * everything but pulls. */
func TestHangingPullsDelayNoOtherCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err, "listen")
	var conns sync.Map
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true) /* a registry that accepts and sends nothing */
		}
	}()
	p := launch(t)
	k := newTask(t, p, "norm", sleeper).start(p)
	k.stdout.waitFor(t, 10*time.Second, "up\n")
	var wg sync.WaitGroup
	for i := 0; i < 64; i++ {
		h := newTask(t, p, fmt.Sprintf("hang%d", i), fmt.Sprintf("image = \"%s/hang%d:1\"\nimage_pull_timeout = \"6s\"", l.Addr(), i))
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, _, err := p.StartTask(h.cfg)
			if err == nil {
				t.Error("a pull from a silent registry succeeded")
			}
		}()
	}
	eventually(t, 20*time.Second, "pulls are under way", func() (bool, string) {
		n := 0
		conns.Range(func(_, _ any) bool { n++; return true })
		return n > 0, fmt.Sprint(n)
	})
	begun := time.Now()
	waiter := k.waiter(p)
	r, err := p.ExecTask(k.id(), []string{"/bin/echo", "x"}, 5*time.Second)
	ok(t, err, "ExecTask beside 64 hanging pulls")
	if string(r.Stdout) != "x\n" {
		t.Errorf("exec %+v", r)
	}
	ok(t, k.stop(p, 5*time.Second, ""), "StopTask beside 64 hanging pulls")
	k.result(waiter, callLimit)
	ok(t, k.destroy(p), "DestroyTask beside 64 hanging pulls")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("exec, stop and destroy took %v beside 64 hanging pulls", took)
	}
	within(t, time.Minute, "the end of all pulls", wg.Wait)
	p.mustLive(t, "64 hanging pulls")
}

/* More StopTasks than there are workers wait for a task that ends slowly. */
func TestWaitingStopsDelayNoOtherCall(t *testing.T) {
	paddockOnly(t, "has a goroutine for each")
	p := launch(t)
	slow := newTask(t, p, "slow", shell(`trap "" USR1; echo up; while :; do sleep 1; done`)).start(p)
	quick := newTask(t, p, "quick", sleeper).start(p)
	slow.stdout.waitFor(t, 10*time.Second, "up\n")
	quick.stdout.waitFor(t, 10*time.Second, "up\n")
	before := measure(t, p.pid)
	var wg sync.WaitGroup
	for i := 0; i < 80; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := p.StopTask(slow.id(), time.Minute, "SIGUSR1"); err != nil {
				t.Errorf("StopTask: %v", err)
			}
		}()
	}
	eventually(t, 20*time.Second, "80 signals are sent", func() (bool, string) {
		n := measure(t, p.pid).fds - before.fds
		return n >= 80, fmt.Sprint(n, " fds") /* each has a cancel */
	})
	begun := time.Now()
	ok(t, quick.stop(p, 10*time.Second, ""), "StopTask beside 80 that wait")
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("StopTask took %v beside 80 that wait", took)
	}
	eventually(t, 20*time.Second, "no thread waits", func() (bool, string) {
		n := measure(t, p.pid).threads - before.threads
		return n <= 8, fmt.Sprint(n, " threads more")
	})
	ok(t, slow.destroy(p), "DestroyTask")
	within(t, 20*time.Second, "the end of all stops", wg.Wait)
	ok(t, quick.destroy(p), "DestroyTask")
	p.mustLive(t, "80 waiting stops")
}

/* Two driver names on one host: each has its own pump and its own tasks. */
func TestTwoDriversDoNotMeet(t *testing.T) {
	paddockOnly(t, "has one name")
	a, b := launch(t), launchWith(t, launchOptions{name: "paddock"})
	ka, kb := newTask(t, a, "ta", shell(counter)).start(a), newTask(t, b, "tb", shell(counter)).start(b)
	ka.stdout.waitFor(t, 10*time.Second, "n 5\n")
	kb.stdout.waitFor(t, 10*time.Second, "n 5\n")
	pumps := logPumps()
	if len(pumps) != 2 || pumps[0].exe == pumps[1].exe {
		t.Fatalf("log pumps %v, want one for each driver", pumps)
	}
	_, err := b.InspectTask(ka.id())
	wantError(t, err, "one driver asked for the other's task", "task not found for given id")
	a.crash(t)
	for _, pump := range pumps {
		if strings.HasSuffix(pump.exe, "/docker") {
			ok(t, syscall.Kill(pump.pid, syscall.SIGKILL), "kill -9")
		}
	}
	n := kb.stdout.size()
	eventually(t, 10*time.Second, "the other driver's log continues", func() (bool, string) { return kb.stdout.size() > n+100, "stands" })
	a = launch(t)
	ok(t, recoverWith(t, a, persisted(t, ka.handle)), "RecoverTask")
	ka.stdout.resume() /* both its writers had died */
	ka.stderr.resume()
	for _, s := range []struct {
		p *plug
		k *task
	}{{a, ka}, {b, kb}} {
		ok(t, s.k.stop(s.p, 10*time.Second, ""), "StopTask")
		s.k.stdout.waitFor(t, 20*time.Second, "last\n")
		checkCounter(t, s.k.stdout.text())
		ok(t, s.k.destroy(s.p), "DestroyTask")
	}
}

/* A task that can write to /alloc/logs could put a link there, and root would write through it. */
func TestLogFifoThatIsALinkIsNotFollowed(t *testing.T) {
	paddockOnly(t, "follows it (CVE-2026-6959)")
	p := launch(t)
	victim := filepath.Join(t.TempDir(), "victim")
	ok(t, os.WriteFile(victim, []byte("untouched"), 0o600), "victim")
	k := newTask(t, p, "link", shell(`while :; do echo evil; sleep 0.1; done`))
	ok(t, os.Rename(k.cfg.StdoutPath, k.cfg.StdoutPath+".real"), "rename")
	ok(t, os.Symlink(victim, k.cfg.StdoutPath), "link")
	err := k.tryStart(p) /* refused, or started without that log */
	t.Logf("StartTask with a link for a FIFO: %v", err)
	if err == nil {
		eventually(t, 10*time.Second, "the task prints", func() (bool, string) { return strings.Contains(containerLog(t, k.container()), "evil"), "" })
		ok(t, k.stop(p, time.Second, "SIGKILL"), "StopTask")
		ok(t, k.destroy(p), "DestroyTask")
	}
	if data, _ := os.ReadFile(victim); string(data) != "untouched" {
		t.Errorf("written through the link: %q", data)
	}
	/* ends the reader, which still waits at the moved FIFO */
	ok(t, os.Remove(k.cfg.StdoutPath), "remove the link")
	ok(t, os.Rename(k.cfg.StdoutPath+".real", k.cfg.StdoutPath), "rename back")
}

/* logging { type = "none" }: the task runs as any other, and the log collector gives up without
 * an error. */
func TestLogDriverThatCannotBeRead(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "unread", sleeper+"\nlogging { type = \"none\" }").start(p)
	r, err := p.ExecTask(k.id(), []string{"/bin/echo", "x"}, 5*time.Second)
	ok(t, err, "ExecTask")
	if string(r.Stdout) != "x\n" {
		t.Errorf("exec %+v", r)
	}
	waiter := k.waiter(p)
	ok(t, k.stop(p, 10*time.Second, ""), "StopTask")
	if r := k.result(waiter, callLimit); r.ExitCode != 0 {
		t.Errorf("exit %+v", r)
	}
	ok(t, k.destroy(p), "DestroyTask")
	p.mustLive(t, "logging none")
}

func TestFingerprintFollowsDockerd(t *testing.T) {
	ownDockerd(t)
	p := launchWith(t, launchOptions{env: []string{shortDocker}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.Fingerprint(ctx)
	ok(t, err, "Fingerprint")
	next := func(limit time.Duration, want drivers.HealthState) *drivers.Fingerprint {
		t.Helper()
		deadline := time.After(limit)
		last := "none"
		for {
			select {
			case f, open := <-ch:
				if !open || f.Err != nil {
					t.Fatalf("the fingerprint stream ended: %+v", f)
				}
				if f.Health == want {
					return f
				}
				last = fmt.Sprintf("%s %q", f.Health, f.HealthDescription)
			case <-deadline:
				t.Fatalf("no fingerprint %q within %v; last: %s", want, limit, last)
			}
		}
	}
	next(10*time.Second, drivers.HealthStateHealthy)
	run.dockerd.Kill()
	f := next(75*time.Second, drivers.HealthStateUnhealthy)
	if !strings.Contains(f.HealthDescription, "Failed to connect to docker daemon") {
		t.Errorf("description %q", f.HealthDescription)
	}
	ok(t, run.dockerd.Start(), "dockerd again")
	next(75*time.Second, drivers.HealthStateHealthy)
}

/* The operator gives dockerd another socket and restarts the agent. Logs must be collected
 * immediately. */
func TestChangedEndpointIsUsedForLogsToo(t *testing.T) {
	paddockOnly(t, "has a log process for each task")
	rec := record(t, run.dockerd.Socket())
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, "")})
	k := newTask(t, p, "before", shell(`echo one`)).start(p)
	k.wait(p, callLimit)
	k.stdout.waitFor(t, 10*time.Second, "one\n")
	ok(t, k.destroy(p), "DestroyTask")
	within(t, 5*time.Second, "Kill by the host", p.client.Kill)
	rec.close()
	p = launch(t)
	k = newTask(t, p, "after", shell(`echo two`)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "two\n")
	ok(t, k.destroy(p), "DestroyTask")
}

/* The same while a task runs. Its log continues from the new endpoint at the exact line, in one
 * pump. */
func TestChangedEndpointKeepsRunningTasksLogs(t *testing.T) {
	paddockOnly(t, "has a log process for each task")
	rec := record(t, run.dockerd.Socket())
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, "")})
	k := newTask(t, p, "moves", shell(counter)).start(p)
	k.stdout.waitFor(t, 20*time.Second, "n 5\n")
	before := logPumps()
	if len(before) != 1 {
		t.Fatalf("log pumps %v, want one", before)
	}
	within(t, 5*time.Second, "Kill by the host", p.client.Kill)
	rec.close()
	p = launch(t)
	ok(t, recoverWith(t, p, persisted(t, k.handle)), "RecoverTask")
	n := k.stdout.size()
	eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) })
	now := logPumps()
	if len(now) != 1 || now[0].pid == before[0].pid {
		t.Fatalf("log pumps %v after %v, want another one", now, before)
	}
	ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
	k.stdout.waitFor(t, 20*time.Second, "last\n")
	checkCounter(t, k.stdout.text())
	ok(t, k.destroy(p), "DestroyTask")
}
