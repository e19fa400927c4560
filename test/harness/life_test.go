/*
 * A task's life through every RPC, like Nomad's task runner: start, wait, logs, inspect, signal,
 * exec, stats, stop, destroy. Also one wrong order for each RPC.
 */
package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		t.Errorf("a program that does not exist: %+v", r.ExitResult)
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
	t.Parallel()
	p := launchWith(t, launchOptions{name: "conformance"})
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
