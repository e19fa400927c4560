/*
 * A task's life through every RPC, like Nomad's task runner: start, wait, logs, inspect, signal,
 * exec, stats, stop, destroy. Also one wrong order for each RPC.
 */
package harness

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/client/structs"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/testutils"
)

func TestTaskRunsLogsAndExits(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "web", shell(`echo out-line; echo err-line >&2; exit 7`)).start(p)
	r := k.wait(p, callLimit)
	if r.ExitCode != 7 || r.Signal != 0 || r.OOMKilled {
		t.Fatalf("WaitTask: %+v, want exit code 7", r)
	}
	k.stdout.waitFor(t, 10*time.Second, "out-line\n")
	k.stderr.waitFor(t, 10*time.Second, "err-line\n")
	if k.stdout.text() != "out-line\n" || k.stderr.text() != "err-line\n" {
		t.Fatalf("stdout %q, stderr %q: each to its own FIFO, once", k.stdout.text(), k.stderr.text())
	}
	/* logmon stops when the last writer closes. That must happen when the task is over. */
	eventually(t, 10*time.Second, "the FIFOs are closed after the task's end", func() (bool, string) {
		return k.stdout.ended() && k.stderr.ended(), "open"
	})
	/* the same answer until DestroyTask */
	if again := k.wait(p, 5*time.Second); again.ExitCode != 7 {
		t.Fatalf("second WaitTask: %+v", again)
	}
	ok(t, k.destroy(p), "DestroyTask")
	if d := run.docker.inspect(t, k.container()); d != nil {
		t.Fatal("DestroyTask left the container")
	}
}

func TestContainerIsWhatNomadPromisesToTasks(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "env", shell(`echo "secret=$SECRET alloc=$NOMAD_ALLOC_DIR"; echo a >/alloc/data/f && echo b >/local/f && echo c >/secrets/f; id -u; echo done`),
		func(c *drivers.TaskConfig) {
			c.Env["SECRET"] = `quote " and $ and é`
			c.User = "nobody"
		})
	for _, dir := range []string{"alloc/data", "env/local", "env/secrets"} {
		ok(t, os.Chmod(filepath.Join(k.cfg.AllocDir, dir), 0o777), "chmod")
	}
	k.start(p)
	if r := k.wait(p, callLimit); r.ExitCode != 0 {
		t.Errorf("exit %+v", r)
	}
	k.stdout.waitFor(t, 10*time.Second, "done\n")
	if want := "secret=quote \" and $ and é alloc=/alloc\n65534\ndone\n"; k.stdout.text() != want {
		t.Errorf("log %q, want %q; stderr %q", k.stdout.text(), want, k.stderr.text())
	}
	for file, want := range map[string]string{"alloc/data/f": "a\n", "env/local/f": "b\n", "env/secrets/f": "c\n"} {
		if data, err := os.ReadFile(filepath.Join(k.cfg.AllocDir, file)); err != nil || string(data) != want {
			t.Errorf("%s: %q %v, want %q: the bind is missing", file, data, err, want)
		}
	}
	d := k.inspect()
	if d.str("Name") != "/env-"+k.cfg.AllocID {
		t.Errorf("container name %s, want /<task>-<alloc>", d.str("Name"))
	}
	if got := d.at("Config.Labels").(map[string]any)["com.hashicorp.nomad.alloc_id"]; got != k.cfg.AllocID {
		t.Errorf("label com.hashicorp.nomad.alloc_id %v, want %s", got, k.cfg.AllocID)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestInspectTaskTellsTheState(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "insp", sleeper).start(p)
	s, err := p.InspectTask(k.id())
	ok(t, err, "InspectTask")
	if s.State != drivers.TaskStateRunning || s.ID != k.id() || s.Name != "insp" {
		t.Errorf("running task: %+v", s)
	}
	if s.DriverAttributes["container_id"] != k.inspect().str("Id") {
		t.Errorf("attributes %v: container_id must be %s", s.DriverAttributes, k.inspect().str("Id"))
	}
	if age := time.Since(s.StartedAt); age < 0 || age > time.Minute {
		t.Errorf("started at %v", s.StartedAt)
	}
	ok(t, k.stop(p, 10*time.Second, ""), "StopTask")
	k.wait(p, callLimit)
	s, err = p.InspectTask(k.id())
	ok(t, err, "InspectTask after the end")
	if !run.isRef { /* the reference reports UNKNOWN for a task that has exited */
		if s.State != drivers.TaskStateExited || s.ExitResult == nil || s.ExitResult.ExitCode != 0 {
			t.Errorf("exited task: %+v %+v", s, s.ExitResult)
		}
		if s.CompletedAt.Before(s.StartedAt) {
			t.Errorf("completed at %v, started at %v", s.CompletedAt, s.StartedAt)
		}
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestStopTaskSendsTermThenKills(t *testing.T) {
	p := launch(t)
	t.Run("obeys TERM", func(t *testing.T) {
		k := newTask(t, p, "soft", sleeper).start(p)
		k.stdout.waitFor(t, 10*time.Second, "up\n")
		ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
		if k.inspect().running() {
			t.Error("StopTask answered, but the container runs")
		}
		if r := k.wait(p, 5*time.Second); r.ExitCode != 0 {
			t.Errorf("exit %+v, want 0: the task handled SIGTERM", r)
		}
		k.stdout.waitFor(t, 10*time.Second, "bye\n")
		ok(t, k.stop(p, time.Second, ""), "StopTask of a stopped task")
		ok(t, k.destroy(p), "DestroyTask")
	})
	t.Run("ignores TERM", func(t *testing.T) {
		k := newTask(t, p, "hard", shell(`trap "" TERM; echo up; while :; do sleep 1; done`)).start(p)
		k.stdout.waitFor(t, 10*time.Second, "up\n")
		start := time.Now()
		ok(t, k.stop(p, 2*time.Second, ""), "StopTask")
		if took := time.Since(start); took < 1800*time.Millisecond || took > 12*time.Second {
			t.Errorf("StopTask took %v: 2 s of grace, then SIGKILL", took)
		}
		if r := k.wait(p, 5*time.Second); r.ExitCode != 137 && r.Signal != 9 {
			t.Errorf("exit %+v, want 137 (killed)", r)
		}
		ok(t, k.destroy(p), "DestroyTask")
	})
	t.Run("own signal", func(t *testing.T) {
		k := newTask(t, p, "usr1", shell(`trap "echo got usr1; exit 3" USR1; trap "echo got term; exit 4" TERM; echo up; while :; do sleep 0.1; done`)).start(p)
		k.stdout.waitFor(t, 10*time.Second, "up\n")
		ok(t, k.stop(p, 20*time.Second, "SIGUSR1"), "StopTask with SIGUSR1")
		if r := k.wait(p, 5*time.Second); r.ExitCode != 3 {
			t.Errorf("exit %+v, want 3: the given signal first", r)
		}
		k.stdout.waitFor(t, 10*time.Second, "got usr1\n")
		ok(t, k.destroy(p), "DestroyTask")
	})
	t.Run("unknown signal", func(t *testing.T) {
		k := newTask(t, p, "sigx", sleeper).start(p)
		wantError(t, k.stop(p, time.Second, "SIGFOO"), "StopTask with a signal that does not exist", "SIGFOO")
		if !k.inspect().running() {
			t.Error("a refused signal must not stop the task")
		}
		ok(t, k.destroy(p), "DestroyTask")
	})
}

func TestSignalTask(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "sig", shell(`trap "echo hup" HUP; echo up; while :; do sleep 0.1; done`)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "up\n")
	ok(t, p.SignalTask(k.id(), "SIGHUP"), "SignalTask")
	k.stdout.waitFor(t, 10*time.Second, "hup\n")
	wantError(t, p.SignalTask(k.id(), "SIGNONE"), "SignalTask with a signal that does not exist", "SIGNONE")
	ok(t, p.SignalTask(k.id(), "SIGKILL"), "SignalTask SIGKILL")
	r := k.wait(p, callLimit)
	if text := "Docker container exited with non-zero exit code: 137"; r.ExitCode != 137 || r.Signal != 0 || r.OOMKilled || fmt.Sprint(r.Err) != text {
		t.Errorf("exit %+v, want %q without a signal", r, text)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestManyWaitersGetTheSameAnswer(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "many", shell(`read x </local/go; exit 5`))
	gate := filepath.Join(k.cfg.AllocDir, "many/local/go")
	ok(t, mkfifo(gate), "mkfifo")
	k.start(p)
	var waiters []<-chan *drivers.ExitResult
	for i := 0; i < 100; i++ {
		waiters = append(waiters, k.waiter(p))
	}
	cancelled, cancel := context.WithCancel(context.Background())
	quitter, err := p.WaitTask(cancelled, k.id())
	ok(t, err, "WaitTask")
	cancel()
	if r := k.result(quitter, 5*time.Second); r.Err == nil {
		t.Errorf("a cancelled WaitTask: %+v, want an error", r)
	}
	openGate(t, gate)
	for _, ch := range waiters {
		if r := k.result(ch, callLimit); r.ExitCode != 5 {
			t.Fatalf("one of 100 waiters: %+v, want exit code 5", r)
		}
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* A child uses up the memory. Its parent continues. */
const eat = `(x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done)`

func small(c *drivers.TaskConfig) {
	c.Resources.NomadResources.Memory.MemoryMB = 16
	c.Resources.LinuxResources.MemoryLimitBytes = 16 << 20
}

func large(c *drivers.TaskConfig) {
	c.Resources.NomadResources.Memory.MemoryMB = 1024
	c.Resources.LinuxResources.MemoryLimitBytes = 1 << 30
}

/* The table of docs/differences.md: which process was killed, and what the task's end reports.
 * The task sleeps first, because containerd begins to watch for OOM kills a moment after the
 * start. On cgroup v1 only containerd reports the kill, possibly after the end, so the victim's
 * parent waits for it there. */
func TestEndsByOOMAndBySIGKILL(t *testing.T) {
	paddockOnly(t, "reports an OOM kill whenever one was in the container")
	after := "sleep 1; "
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		after = ""
	}
	p := launch(t)
	rows := []struct {
		name, line string
		during     func(t *testing.T, k *task)
		code       int
		oom        bool
	}{
		{name: "main", line: "sleep 1; exec /bin/sh -c 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'", code: 137, oom: true},
		{name: "child-fails", line: "sleep 1; " + eat + "; " + after + "exit 9", code: 9, oom: true},
		{name: "child-success", line: "sleep 1; " + eat + "; " + after + "exit 0", code: 0},
		{name: "exec", line: "echo up; while [ ! -e /local/end ]; do sleep 0.1; done; exit 0", code: 0,
			during: func(t *testing.T, k *task) {
				k.stdout.waitFor(t, 10*time.Second, "up\n")
				r, err := p.ExecTask(k.id(), []string{"/bin/sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"}, 20*time.Second)
				if err == nil && r.ExitResult.ExitCode != 137 {
					t.Errorf("the exec ended with %+v, want 137", r.ExitResult)
				}
				ok(t, os.WriteFile(filepath.Join(k.cfg.AllocDir, k.cfg.Name, "local/end"), nil, 0o644), "the task's end")
			}},
		{name: "person", line: "echo up; while :; do sleep 1; done", code: 137,
			during: func(t *testing.T, k *task) {
				k.stdout.waitFor(t, 10*time.Second, "up\n")
				_, err := run.docker.Call("POST", "/containers/"+k.container()+"/kill", nil, nil)
				ok(t, err, "docker kill")
			}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			k := newTask(t, p, row.name, shell(row.line), small).start(p)
			if row.during != nil {
				row.during(t, k)
			}
			r := k.wait(p, callLimit)
			if r.ExitCode != row.code || r.OOMKilled != row.oom || (r.Err != nil) != (row.code != 0) {
				t.Errorf("exit %+v, want code %d, OOMKilled %v; Docker reports %v", r, row.code, row.oom, k.inspect().at("State"))
			}
			ok(t, k.destroy(p), "DestroyTask")
		})
	}
}

func TestLastLinesBeforeTheExitAreLogged(t *testing.T) {
	paddockOnly(t, "ends its docker_logger at the exit, with what it has not yet read (seen: 3859 of 208890 bytes)")
	p := launch(t)
	const lines = 20000
	k := newTask(t, p, "tail", shell(fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done`, lines))).start(p)
	k.wait(p, time.Minute)
	eventually(t, 20*time.Second, "end of the log", func() (bool, string) { return k.stdout.ended(), "open" })
	text := k.stdout.text()
	var want strings.Builder
	for i := 0; i < lines; i++ {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if text != want.String() {
		t.Fatalf("log of %d bytes, want %d: last lines %q", len(text), want.Len(), lastLines(text, 2))
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestTTYTaskLogsRaw(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "tty", "tty = true\n"+shell(`echo out; echo err >&2; tty`)).start(p)
	k.wait(p, callLimit)
	k.stdout.waitFor(t, 10*time.Second, "/dev/pts/")
	if got := k.stdout.text(); !strings.HasPrefix(got, "out\r\nerr\r\n/dev/pts/") || k.stderr.text() != "" {
		t.Errorf("stdout %q, stderr %q: a terminal has one stream, undivided", got, k.stderr.text())
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestLogsToDevNullStartNoCollection(t *testing.T) {
	p := launch(t)
	before := len(childrenOf(p.pid))
	k := newTask(t, p, "mute", sleeper, func(c *drivers.TaskConfig) { c.StdoutPath, c.StderrPath = "/dev/null", "/dev/null" }).start(p)
	if n := len(childrenOf(p.pid)); n > before {
		t.Errorf("%d children, were %d: logs { disabled = true } needs no collector", n, before)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestExecTask(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "ex", sleeper).start(p)
	exec := func(limit time.Duration, cmd ...string) (r *drivers.ExecTaskResult, err error) {
		within(t, callLimit, "ExecTask", func() { r, err = p.ExecTask(k.id(), cmd, limit) })
		return
	}
	r, err := exec(10*time.Second, "/bin/sh", "-c", "echo o; echo e >&2; exit 9")
	ok(t, err, "ExecTask")
	if r.ExitResult.ExitCode != 9 || string(r.Stdout) != "o\n" || string(r.Stderr) != "e\n" {
		t.Errorf("exit %+v, stdout %q, stderr %q", r.ExitResult, r.Stdout, r.Stderr)
	}
	r, err = exec(10*time.Second, "/bin/no-such-program")
	if err == nil && r.ExitResult.ExitCode != 126 && r.ExitResult.ExitCode != 127 {
		t.Errorf("a program that is not there: %+v", r.ExitResult)
	}
	_, err = exec(10 * time.Second)
	wantError(t, err, "an empty command", "empty")
	if !run.isRef { /* the reference ignores the timeout */
		start := time.Now()
		r, err = exec(time.Second, "/bin/sh", "-c", "echo begun; sleep 25")
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("a timeout of 1 s took %v", took)
		}
		if err == nil && r.ExitResult.ExitCode == 0 {
			t.Errorf("a timeout must not look like success: %+v", r.ExitResult)
		}
		eventually(t, 10*time.Second, "the command that timed out is ended", func() (bool, string) {
			r, err := exec(5*time.Second, "/bin/sh", "-c", "ps | grep 'sleep 2[5]'")
			return err == nil && r.ExitResult.ExitCode != 0, "still runs"
		})
	}
	if !k.inspect().running() {
		t.Error("exec ended the task")
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* Nomad's own cases for `nomad alloc exec`, and its own driver harness. */
func TestExecStreamingConformance(t *testing.T) {
	p := launch(t)
	h := testutils.NewDriverHarness(t, p.DriverPlugin)
	defer h.Kill()
	k := newTask(t, p, "conf", sleeper).start(p)
	ok(t, h.WaitUntilStarted(k.id(), 20*time.Second), "WaitUntilStarted")
	testutils.ExecTaskStreamingConformanceTests(t, h, k.id())
	ok(t, k.destroy(p), "DestroyTask")
}

/* Nomad's logmon at the FIFOs and its alloc directory, instead of ours. */
func TestNomadsLogmonCollects(t *testing.T) {
	p := launch(t)
	h := testutils.NewDriverHarness(t, p.DriverPlugin)
	defer h.Kill()
	k := newTask(t, p, "mon", shell(`echo to logmon; echo and stderr >&2; cat /secrets/s`), func(c *drivers.TaskConfig) { c.StdoutPath = "/dev/null" })
	cleanup := h.MkAllocDir(k.cfg, true)
	defer cleanup()
	ok(t, os.WriteFile(filepath.Join(k.cfg.TaskDir().SecretsDir, "s"), []byte("a secret\n"), 0o644), "secret")
	k.start(p)
	if r := k.wait(p, callLimit); r.ExitCode != 0 {
		t.Errorf("exit %+v", r)
	}
	for file, want := range map[string]string{"mon.stdout.0": "to logmon\na secret\n", "mon.stderr.0": "and stderr\n"} {
		path := filepath.Join(k.cfg.TaskDir().LogDir, file)
		eventually(t, 20*time.Second, file, func() (bool, string) {
			data, _ := os.ReadFile(path)
			return string(data) == want, string(data)
		})
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestTaskStats(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "stats", shell(`head -c 8000000 /dev/zero >/dev/shm/x; while :; do i=$((i+1)); done`)).start(p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.TaskStats(ctx, k.id(), 500*time.Millisecond)
	ok(t, err, "TaskStats")
	var last *structs.TaskResourceUsage
	/* the first samples may have nothing to be compared with */
	for deadline, n := time.After(20*time.Second), 0; n < 3 || last.ResourceUsage.CpuStats.Percent < 5; n++ {
		select {
		case s, open := <-ch:
			if !open {
				t.Fatal("the stream ended while the task runs")
			}
			last = s
		case <-deadline:
			if last == nil {
				t.Fatal("no sample within 20 s")
			}
			t.Fatalf("%d samples within 20 s, none with more than 5 %% CPU of a busy loop: %+v", n, last.ResourceUsage.CpuStats)
		}
	}
	cpu, mem := last.ResourceUsage.CpuStats, last.ResourceUsage.MemoryStats
	if cpu.Percent > 400 {
		t.Errorf("a busy loop of one thread: %.1f %% CPU", cpu.Percent)
	}
	if mem.Usage+mem.RSS < 4<<20 {
		t.Errorf("a task that holds 8 MB: usage %d, RSS %d", mem.Usage, mem.RSS)
	}
	if age := time.Since(time.Unix(0, last.Timestamp)); age < -time.Second || age > 10*time.Second {
		t.Errorf("the sample is %v old", age)
	}
	if len(cpu.Measured) == 0 || len(mem.Measured) == 0 {
		t.Errorf("measured fields: CPU %v, memory %v: what is not listed is not shown", cpu.Measured, mem.Measured)
	}
	if !run.isRef { /* the reference ends only after the container is removed */
		ok(t, k.stop(p, time.Second, "SIGKILL"), "StopTask")
		eventually(t, 10*time.Second, "the stats stream ends with the task", func() (bool, string) {
			select {
			case _, open := <-ch:
				return !open, "a sample"
			default:
				return false, "open, nothing sent"
			}
		})
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/*
 * The figures themselves. CPU is compared with what Docker has counted between two of its own
 * answers, memory with such an answer. MHz are those of one core for each 100 %.
 */
func TestTaskStatsAreDockersFigures(t *testing.T) {
	paddockOnly(t, "percent of all cores, no ticks")
	p := launch(t)
	k := newTask(t, p, "figures", shell(`head -c 8000000 /dev/zero >/dev/shm/x; echo up; while :; do i=$((i+1)); done`)+"\ncpu_hard_limit = true",
		func(c *drivers.TaskConfig) { c.Resources.LinuxResources.PercentTicks = 0.1 }).start(p)
	k.stdout.waitFor(t, 20*time.Second, "up\n")
	docker := func() (d doc) {
		_, err := run.docker.Call("GET", "/containers/"+k.container()+"/stats?stream=0&one-shot=1", nil, &d)
		ok(t, err, "Docker's stats")
		return d
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.TaskStats(ctx, k.id(), 200*time.Millisecond)
	ok(t, err, "TaskStats")
	var last *structs.TaskResourceUsage
	next := func() *structs.TaskResourceUsage {
		select {
		case s, open := <-ch:
			if !open {
				t.Fatal("the stream ended while the task runs")
			}
			return s
		case <-time.After(20 * time.Second):
			t.Fatal("no sample within 20 s")
		}
		return nil
	}
	from, before := next(), docker()
	percent, system, user, mhz := 0.0, 0.0, 0.0, 0.0
	age := func() time.Duration { return time.Duration(last.Timestamp - from.Timestamp) }
	/* on a busy machine the loop may not reach its limit immediately */
	for last = from; age() < 4*time.Second || last.ResourceUsage.CpuStats.ThrottledPeriods == 0 && age() < 30*time.Second; {
		s := next()
		cpu, seconds := s.ResourceUsage.CpuStats, float64(s.Timestamp-last.Timestamp)/1e9
		percent, system, user = percent+cpu.Percent*seconds, system+cpu.SystemMode*seconds, user+cpu.UserMode*seconds
		if cpu.Percent > 1 {
			core := cpu.TotalTicks / cpu.Percent * 100
			if core < 200 || core > 20000 || mhz != 0 && (core < 0.99*mhz || core > 1.01*mhz) {
				t.Errorf("%.1f ticks at %.1f %%: a core of %.0f MHz, was %.0f", cpu.TotalTicks, cpu.Percent, core, mhz)
			}
			mhz = core
		}
		last = s
	}
	after := docker()
	counted := func(key string) float64 {
		return (after.num("cpu_stats.cpu_usage."+key) - before.num("cpu_stats.cpu_usage."+key)) / 1e7 /* percent times seconds */
	}
	near := func(what string, ours, theirs, part, slack float64) {
		t.Helper()
		if d := math.Abs(ours - theirs); d > part*theirs+slack {
			t.Errorf("%s: %.0f, Docker's %.0f", what, ours, theirs)
		}
	}
	near("CPU, percent times seconds", percent, counted("total_usage"), 0.25, 20)
	near("the same in user mode", user, counted("usage_in_usermode"), 0.25, 25)
	near("the same in system mode", system, counted("usage_in_kernelmode"), 0.25, 25)
	cpu, mem := last.ResourceUsage.CpuStats, last.ResourceUsage.MemoryStats
	near("throttled periods", float64(cpu.ThrottledPeriods), after.num("cpu_stats.throttling_data.throttled_periods"), 0.1, 10)
	near("throttled time", float64(cpu.ThrottledTime), after.num("cpu_stats.throttling_data.throttled_time"), 0.1, 1e9)
	if cpu.ThrottledPeriods == 0 {
		t.Error("a busy loop with a hard limit was never throttled")
	}
	near("memory in use", float64(mem.Usage), after.num("memory_stats.usage"), 0, 1<<20)
	near("resident memory", float64(mem.RSS), math.Max(after.num("memory_stats.stats.total_rss"), after.num("memory_stats.stats.anon")), 0, 1<<19)
	near("cache", float64(mem.Cache), math.Max(after.num("memory_stats.stats.total_cache"), after.num("memory_stats.stats.file")), 0, 1<<19)
	if mem.Cache < 8000000 || mem.MaxUsage != 0 && mem.MaxUsage < mem.Cache {
		t.Errorf("8 MB in a tmpfs: cache %d, most ever %d", mem.Cache, mem.MaxUsage)
	}
	if list := fmt.Sprint(cpu.Measured); list != "[System Mode User Mode Throttled Periods Throttled Time Percent]" {
		t.Errorf("measured of the CPU: %s", list)
	}
	if list := fmt.Sprint(mem.Measured); !strings.HasPrefix(list, "[RSS Cache Swap Usage") {
		t.Errorf("measured of memory: %s", list)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestFingerprintIsHealthyImmediately(t *testing.T) {
	p := launchWith(t, launchOptions{config: baseConfig(`
		allow_privileged = true
		pids_limit = 77
		volumes { enabled = true }`)})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.Fingerprint(ctx)
	ok(t, err, "Fingerprint")
	select {
	case f := <-ch:
		ok(t, f.Err, "fingerprint")
		if f.Health != drivers.HealthStateHealthy || f.HealthDescription != drivers.DriverHealthy {
			t.Fatalf("health %q %q", f.Health, f.HealthDescription)
		}
		var info doc
		_, err := run.docker.Call("GET", "/version", nil, &info)
		ok(t, err, "docker version")
		want := map[string]string{
			"driver.docker": "true", "driver.docker.version": info.str("Version"),
			"driver.docker.privileged.enabled": "true", "driver.docker.volumes.enabled": "true",
			"driver.docker.pids.limit": "77", "driver.docker.os_type": "linux",
		}
		for key, value := range want {
			a := f.Attributes[key]
			if a == nil || a.GoString() != value {
				t.Errorf("attribute %s: %v, want %s; all: %s", key, a, value, attributeNames(f))
			}
		}
		if rt := f.Attributes["driver.docker.runtimes"]; rt == nil || !strings.Contains(rt.GoString(), "runc") {
			t.Errorf("driver.docker.runtimes: %v, want runc in it", rt)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no first fingerprint within 5 s: the agent waits for it")
	}
}

func attributeNames(f *drivers.Fingerprint) string {
	var names []string
	for k := range f.Attributes {
		names = append(names, k)
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func TestFingerprintGivesTheReason(t *testing.T) {
	p := launchWith(t, launchOptions{config: `config { endpoint = "unix:///tmp/paddock-no-such-socket" }`})
	f := firstFingerprint(t, p)
	if f.Health != drivers.HealthStateUndetected || !strings.Contains(f.HealthDescription, "docker") && !strings.Contains(f.HealthDescription, "Docker") {
		t.Fatalf("health %q %q: want undetected, with the reason", f.Health, f.HealthDescription)
	}
}

func TestCapabilities(t *testing.T) {
	p := launch(t)
	c, err := p.Capabilities()
	ok(t, err, "Capabilities")
	if !c.SendSignals || !c.Exec || !c.MustInitiateNetwork || c.FSIsolation != drivers.FSIsolationImage ||
		c.MountConfigs != drivers.MountConfigSupportAll || c.DisableLogCollection {
		t.Errorf("capabilities %+v", c)
	}
	modes := map[drivers.NetIsolationMode]bool{}
	for _, m := range c.NetIsolationModes {
		modes[m] = true
	}
	for _, m := range []drivers.NetIsolationMode{drivers.NetIsolationModeHost, drivers.NetIsolationModeGroup, drivers.NetIsolationModeTask} {
		if !modes[m] {
			t.Errorf("network isolation mode %q is missing from %v", m, c.NetIsolationModes)
		}
	}
}

func TestCapabilitiesSayThatLogCollectionIsOff(t *testing.T) {
	paddockOnly(t, "Go's server shim drops the field")
	p := launchWith(t, launchOptions{config: baseConfig(`disable_log_collection = true`)})
	c, err := p.Capabilities()
	ok(t, err, "Capabilities")
	if !c.DisableLogCollection {
		t.Error("disable_log_collection = true must reach the host's logmon hook")
	}
}

func TestNetworkIsMadeOnceAndRemovedTwice(t *testing.T) {
	p := launch(t)
	m, isManager := p.DriverPlugin.(drivers.DriverNetworkManager)
	if !isManager {
		t.Fatal("no network manager")
	}
	alloc := uuid.Generate()
	t.Cleanup(func() { _ = run.docker.Remove("nomad_init_" + alloc) })
	create := func() (spec *drivers.NetworkIsolationSpec, created bool) {
		ok(t, errWithin(t, callLimit, "CreateNetwork", func() (err error) {
			spec, created, err = m.CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
			return err
		}), "CreateNetwork")
		return
	}
	spec, created := create()
	d := run.docker.inspect(t, "nomad_init_"+alloc)
	if d == nil || !d.running() {
		t.Fatal("no running pause container nomad_init_<alloc>")
	}
	id := d.str("Id")
	if !created || spec.Mode != drivers.NetIsolationModeGroup || spec.Labels["docker_sandbox_container_id"] != id {
		t.Errorf("created %v, spec %+v: want mode group and the label docker_sandbox_container_id", created, spec)
	}
	if _, err := os.Stat(spec.Path); err != nil {
		t.Errorf("namespace path: %v", err)
	}
	if d.str("HostConfig.NetworkMode") != "none" || d.str("HostConfig.RestartPolicy.Name") != "unless-stopped" {
		t.Errorf("pause container: network %q, restart %q", d.str("HostConfig.NetworkMode"), d.str("HostConfig.RestartPolicy.Name"))
	}
	again, createdAgain := create()
	if createdAgain || again.Labels["docker_sandbox_container_id"] != id || again.Path != spec.Path {
		t.Errorf("second CreateNetwork: created %v, spec %+v, want the first one's", createdAgain, again)
	}

	/* a task of that group joins the namespace */
	k := newTask(t, p, "member", sleeper, func(c *drivers.TaskConfig) { c.AllocID, c.NetworkIsolation = alloc, spec })
	k.start(p)
	if mode := k.inspect().str("HostConfig.NetworkMode"); mode != "container:"+id {
		t.Errorf("network mode %q, want container:%s", mode, id)
	}
	ok(t, k.destroy(p), "DestroyTask")

	destroy := func() error {
		return errWithin(t, callLimit, "DestroyNetwork", func() error { return m.DestroyNetwork(alloc, spec) })
	}
	ok(t, destroy(), "DestroyNetwork")
	if run.docker.inspect(t, id) != nil {
		t.Error("DestroyNetwork left the pause container")
	}
	if !run.isRef { /* the reference fails with "No such container" */
		ok(t, destroy(), "second DestroyNetwork")
	}
}

func TestTaskEventsCarryPullProgress(t *testing.T) {
	p := launch(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.TaskEvents(ctx)
	ok(t, err, "TaskEvents")
	k := newTask(t, p, "pull", `image = "127.0.0.1:1/nothing:1"`+"\n"+`image_pull_timeout = "10s"`)
	/* the stream must be open before the event is made; any event shows that, so start containers
	 * until one comes */
	started := make(chan error, 1)
	go func() { _, _, err := p.StartTask(k.cfg); started <- err }()
	select {
	case e := <-ch:
		ok(t, e.Err, "task event")
		if e.TaskID != k.id() || e.AllocID != k.cfg.AllocID || e.TaskName != "pull" {
			t.Errorf("event %+v: wrong task", e)
		}
		if !strings.Contains(e.Message, "Downloading image") || e.Timestamp.IsZero() {
			t.Errorf("event %+v: want `Downloading image` and a time", e)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no task event of the pull within 20 s")
	}
	select {
	case err := <-started:
		wantError(t, err, "pull of an image from nowhere", "nothing")
	case <-time.After(callLimit):
		t.Fatal("StartTask hangs")
	}
}

/* ---- one wrong order for each RPC ---- */

func TestUnknownTaskIDs(t *testing.T) {
	p := launch(t)
	const id = "nope/nope/00000000"
	const notFound = "task not found for given id"
	ch, err := p.WaitTask(context.Background(), id)
	ok(t, err, "WaitTask")
	select {
	case r := <-ch:
		wantError(t, r.Err, "WaitTask of an unknown id", notFound)
	case <-time.After(10 * time.Second):
		t.Fatal("WaitTask of an unknown id hangs")
	}
	for name, f := range map[string]func() error{
		"InspectTask": func() error { _, err := p.InspectTask(id); return err },
		"SignalTask":  func() error { return p.SignalTask(id, "SIGHUP") },
		"ExecTask":    func() error { _, err := p.ExecTask(id, []string{"true"}, time.Second); return err },
		"TaskStats": func() error {
			ctx, cancel := timeout(10 * time.Second)
			defer cancel()
			s, err := rawStream(ctx, p.conn, driverService+"TaskStats")
			if err != nil {
				return err
			}
			req, msg := append(pbBytes(1, id), pbBytes(2, "\x08\x01")...), []byte{} /* interval: 1 s */
			_ = s.SendMsg(&req)
			_ = s.CloseSend()
			return s.RecvMsg(&msg)
		},
		"ExecTaskStreaming": func() error {
			ctx, cancel := timeout(10 * time.Second)
			defer cancel()
			s, err := rawStream(ctx, p.conn, driverService+"ExecTaskStreaming")
			if err != nil {
				return err
			}
			req, msg := pbBytes(1, string(pbBytes(1, id))+string(pbBytes(2, "true"))), []byte{}
			_ = s.SendMsg(&req)
			return s.RecvMsg(&msg)
		},
	} {
		wantError(t, errWithin(t, 15*time.Second, name, f), name+" of an unknown id", notFound)
	}
	if run.isRef {
		return /* the reference's StopTask and DestroyTask fail, which Nomad retries for minutes */
	}
	ok(t, errWithin(t, 10*time.Second, "StopTask", func() error { return p.StopTask(id, time.Second, "") }), "StopTask of an unknown id is success")
	ok(t, errWithin(t, 10*time.Second, "DestroyTask", func() error { return p.DestroyTask(id, true) }), "DestroyTask of an unknown id is success")
}

func TestStartTaskTwiceIsRefused(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "twice", sleeper).start(p)
	err := k.tryStart(p)
	wantError(t, err, "the same id while it runs", fmt.Sprintf("task with ID %q already started", k.id()))
	if !k.inspect().running() {
		t.Error("the refused start hurt the running task")
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestDestroyTaskNeedsForceForARunningTask(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "force", sleeper).start(p)
	err := errWithin(t, callLimit, "DestroyTask", func() error { return p.DestroyTask(k.id(), false) })
	wantError(t, err, "DestroyTask without force", "must call StopTask for the given task before Destroy or set force to true")
	if !k.inspect().running() {
		t.Error("DestroyTask without force ended the task")
	}
	waiter := k.waiter(p)
	ok(t, k.destroy(p), "DestroyTask with force")
	k.result(waiter, callLimit) /* a waiter gets its answer, not a hang */
	_, err = p.InspectTask(k.id())
	wantError(t, err, "InspectTask after DestroyTask", "task not found for given id")
}

/* A restart by Nomad: the same alloc and task, a new id. The old container may not be destroyed
 * yet. */
func TestStartAfterTheContainerWasLeft(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "again", shell(`echo first`)).start(p)
	k.wait(p, callLimit)
	first := k.inspect().str("Id")
	/* no DestroyTask: after a plugin's crash at the wrong moment the name is still in use */
	second := newTask(t, p, "again", sleeper, func(c *drivers.TaskConfig) { c.AllocID = k.cfg.AllocID; c.ID = k.cfg.AllocID + "/again/second00" })
	second.start(p)
	if id := second.inspect().str("Id"); id == first || !second.inspect().running() {
		t.Errorf("container %s (first %s), running %v: a dead container of that name must be replaced", id, first, second.inspect().running())
	}
	ok(t, second.destroy(p), "DestroyTask")
}

/* Between the task's end and DestroyTask Nomad may still ask for anything. */
func TestCallsOnAnEndedTask(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "over", shell("exit 2")).start(p)
	k.wait(p, callLimit)
	if err := errWithin(t, callLimit, "SignalTask", func() error { return p.SignalTask(k.id(), "SIGHUP") }); err == nil {
		t.Error("SignalTask of an ended task: success, want an error")
	}
	r, err := (*drivers.ExecTaskResult)(nil), error(nil)
	within(t, callLimit, "ExecTask", func() { r, err = p.ExecTask(k.id(), []string{"/bin/true"}, 5*time.Second) })
	if err == nil && r.ExitResult.ExitCode == 0 {
		t.Errorf("ExecTask of an ended task: %+v, want an error", r)
	}
	if !run.isRef { /* the reference fails with Docker's 409 for a stopped container */
		ok(t, k.stop(p, time.Second, "SIGTERM"), "StopTask with a signal of an ended task")
	}
	ok(t, k.stop(p, time.Second, ""), "StopTask of an ended task")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if ch, err := p.TaskStats(ctx, k.id(), 100*time.Millisecond); err == nil && !run.isRef {
		eventually(t, 10*time.Second, "stats of an ended task end", func() (bool, string) {
			select {
			case _, open := <-ch:
				return !open, "a sample"
			default:
				return false, "open"
			}
		})
	}
	if again := k.wait(p, 5*time.Second); again.ExitCode != 2 {
		t.Errorf("WaitTask afterwards: %+v", again)
	}
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, func() error {
		if run.isRef {
			return nil
		}
		return k.destroy(p)
	}(), "second DestroyTask")
}
