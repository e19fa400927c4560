/*
 * RecoverTask: what a plugin finds that did not run when things happened. A crash is SIGKILL of the
 * plugin. An agent restart is the same with a handle from the agent's database, which lacks the
 * driver config.
 */
package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

func recoverWith(t *testing.T, p *plug, h *drivers.TaskHandle) error {
	t.Helper()
	return errWithin(t, callLimit, "RecoverTask", func() error { return p.RecoverTask(h) })
}

/* The handle as the agent's state database returns it: without the driver config. */
func persisted(t *testing.T, h *drivers.TaskHandle) *drivers.TaskHandle {
	t.Helper()
	c := h.Copy()
	*c.Config = drivers.TaskConfig{
		ID: c.Config.ID, Name: c.Config.Name, AllocID: c.Config.AllocID, JobName: c.Config.JobName, JobID: c.Config.JobID,
		TaskGroupName: c.Config.TaskGroupName, Namespace: c.Config.Namespace, NodeName: c.Config.NodeName, NodeID: c.Config.NodeID,
		Env: c.Config.Env, Resources: c.Config.Resources, User: c.Config.User, AllocDir: c.Config.AllocDir,
		StdoutPath: c.Config.StdoutPath, StderrPath: c.Config.StderrPath, NetworkIsolation: c.Config.NetworkIsolation,
	}
	return c
}

/* A numbered line every 20 ms until SIGTERM. */
const counter = `i=0; trap 'echo last; exit 6' TERM; while :; do echo n $i; i=$((i+1)); sleep 0.02; done`

func TestRecoverAfterPluginCrash(t *testing.T) {
	for name, form := range map[string]func(*testing.T, *drivers.TaskHandle) *drivers.TaskHandle{
		"plugin restart": func(_ *testing.T, h *drivers.TaskHandle) *drivers.TaskHandle { return h },
		"agent restart":  persisted,
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t)
			k := newTask(t, p, "live", shell(counter)).start(p)
			k.stdout.waitFor(t, 10*time.Second, "n 10\n")
			before := k.inspect()
			broken := k.waiter(p)
			p.crash(t)
			if r := k.result(broken, 10*time.Second); r.Err == nil || !strings.Contains(r.Err.Error(), "plugin is shut down") {
				t.Errorf("WaitTask through the crash: %+v, want the host's `plugin is shut down`", r)
			}

			p2 := launch(t)
			h := form(t, k.handle)
			ok(t, recoverWith(t, p2, h), "RecoverTask")
			ok(t, recoverWith(t, p2, h), "RecoverTask of a known task is a no-op")
			after := k.inspect()
			if after.str("Id") != before.str("Id") || after.num("State.Pid") != before.num("State.Pid") {
				t.Fatal("the container was restarted")
			}
			s, err := p2.InspectTask(k.id())
			ok(t, err, "InspectTask")
			if s.State != drivers.TaskStateRunning {
				t.Errorf("state %v, want running", s.State)
			}
			if k.stdout.ended() {
				t.Fatal("the log FIFO ended: logmon has stopped reading for good")
			}
			n := k.stdout.size()
			eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, k.stdout.text()[n:] })
			r, err := p2.ExecTask(k.id(), []string{"/bin/echo", "hi"}, 10*time.Second)
			ok(t, err, "ExecTask")
			if string(r.Stdout) != "hi\n" {
				t.Errorf("exec: %+v", r)
			}
			waiter := k.waiter(p2)
			ok(t, k.stop(p2, 20*time.Second, ""), "StopTask")
			if r := k.result(waiter, callLimit); r.ExitCode != 6 {
				t.Errorf("exit %+v, want 6", r)
			}
			k.stdout.waitFor(t, 20*time.Second, "last\n")
			checkCounter(t, k.stdout.text())
			ok(t, k.destroy(p2), "DestroyTask")
		})
	}
}

/* Each number must come once and in order. */
func checkCounter(t *testing.T, text string) {
	t.Helper()
	want := 0
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "last" {
			continue
		}
		if line != "n "+itoa(want) {
			t.Errorf("the log has %q where %q must be: a line lost, repeated or cut", line, "n "+itoa(want))
			return
		}
		want++
	}
	if want == 0 {
		t.Error("no line at all")
	}
}

func TestRecoverOfATaskThatEndedMeanwhile(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "ended", shell(counter)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "n 1\n")
	p.crash(t)
	_, err := run.docker.Call("POST", "/containers/"+k.container()+"/kill?signal=TERM", nil, nil)
	ok(t, err, "docker kill")
	eventually(t, 20*time.Second, "the container ends", func() (bool, string) { return !k.inspect().running(), "running" })

	p2 := launch(t)
	ok(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask of a task that has ended")
	if r := k.wait(p2, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6: the exit that was not noticed must be reported", r)
	}
	if !run.isRef {
		eventually(t, 20*time.Second, "the rest of the log", func() (bool, string) {
			return strings.Contains(k.stdout.text(), "last\n"), lastLines(k.stdout.text(), 3)
		})
		checkCounter(t, k.stdout.text())
	}
	ok(t, k.destroy(p2), "DestroyTask")
}

func TestRecoverOfAContainerRemovedByHand(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "gone", sleeper).start(p)
	p.crash(t)
	ok(t, run.docker.Remove(k.container()), "docker rm -f")
	p2 := launch(t)
	wantError(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask of a container that was removed")
	/* Nomad's next steps: destroy what is left, then start again */
	if !run.isRef {
		ok(t, k.destroy(p2), "DestroyTask after a failed RecoverTask")
	}
	again := newTask(t, p2, "gone", sleeper, func(c *drivers.TaskConfig) { c.AllocID = k.cfg.AllocID; c.ID = k.cfg.AllocID + "/gone/second00" }).start(p2)
	ok(t, again.destroy(p2), "DestroyTask")
}

/*
 * The agent comes back before Docker does. After a failed recovery, Nomad starts the task again and
 * replaces the running container. So the task counts as running until Docker reports otherwise.
 */
func TestRecoverWhileDockerdIsDown(t *testing.T) {
	paddockOnly(t, "fails the recovery")
	ownDockerd(t)
	p := launch(t)
	goesOn := newTask(t, p, "away", shell(counter)).start(p)
	ends := newTask(t, p, "endsaway", shell(counter)).start(p)
	for _, k := range []*task{goesOn, ends} {
		k.stdout.waitFor(t, 10*time.Second, "n 1\n")
	}
	pid := goesOn.inspect().num("State.Pid")
	first := ends.inspect().num("State.Pid")
	p.crash(t)
	run.dockerd.Kill()
	ok(t, syscall.Kill(int(first), syscall.SIGTERM), "a signal to the program") /* its end, which no event reports */

	p2 := launch(t)
	for _, k := range []*task{goesOn, ends} {
		ok(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask without dockerd")
		s, err := p2.InspectTask(k.id())
		ok(t, err, "InspectTask without dockerd")
		if s.State != drivers.TaskStateRunning {
			t.Errorf("state %v, want running", s.State)
		}
	}
	waiter := goesOn.waiter(p2)
	ok(t, run.dockerd.Start(), "dockerd again")
	if r := ends.wait(p2, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6: the end that was not noticed must be reported", r)
	}
	if now := goesOn.inspect(); !now.running() || now.num("State.Pid") != pid {
		t.Fatal("live-restore did not hold the container: the test has nothing to check")
	}
	n := goesOn.stdout.size()
	eventually(t, 30*time.Second, "the log continues", func() (bool, string) { return goesOn.stdout.size() > n+200, lastLines(goesOn.stdout.text(), 2) })
	ok(t, goesOn.stop(p2, 20*time.Second, ""), "StopTask")
	if r := goesOn.result(waiter, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6", r)
	}
	for _, k := range []*task{goesOn, ends} {
		/* output that was printed without dockerd is in no log of Docker's when the container ends
		 * before dockerd is back */
		eventually(t, 20*time.Second, k.cfg.Name+": all that Docker has of its output", func() (bool, string) {
			return k.stdout.text() == containerLog(t, k.container()), lastLines(k.stdout.text(), 3)
		})
		ok(t, k.destroy(p2), "DestroyTask")
	}
}

func TestContainerRemovedByHandWhileWatched(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "rm", sleeper).start(p)
	waiter := k.waiter(p)
	ok(t, run.docker.Remove(k.container()), "docker rm -f")
	if r := k.result(waiter, callLimit); r.ExitCode != 137 {
		t.Errorf("exit %+v, want 137: `docker rm -f` kills it", r)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestRecoverOfAPausedContainer(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "paused", sleeper).start(p)
	p.crash(t)
	_, err := run.docker.Call("POST", "/containers/"+k.container()+"/pause", nil, nil)
	ok(t, err, "docker pause")
	p2 := launch(t)
	ok(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask of a paused container")
	_, err = run.docker.Call("POST", "/containers/"+k.container()+"/unpause", nil, nil)
	ok(t, err, "docker unpause")
	ok(t, k.stop(p2, 20*time.Second, ""), "StopTask")
	k.wait(p2, callLimit)
	ok(t, k.destroy(p2), "DestroyTask")
}

/* Docker restarts the container again and again, by a policy that a person set by hand. It is
 * just waiting before the next restart. */
func TestRecoverOfARestartingContainer(t *testing.T) {
	paddockOnly(t, "its Docker client waits for the container itself")
	t.Parallel()
	/* runs, or fails immediately when a file exists in its folder */
	const moody = `while [ ! -e /local/fail ]; do sleep 0.05; done; exit 3`
	for name, goOn := range map[string]func(t *testing.T, p *plug, k *task){
		"ends again": func(t *testing.T, p *plug, k *task) {
			if r := k.wait(p, callLimit); r.ExitCode != 3 {
				t.Errorf("exit %+v, want 3", r)
			}
		},
		"runs again": func(t *testing.T, p *plug, k *task) {
			ok(t, os.Remove(filepath.Join(k.cfg.AllocDir, "again/local/fail")), "rm")
			eventually(t, 20*time.Second, "Docker's next start", func() (bool, string) {
				return k.inspect().num("State.Pid") > 0, k.inspect().str("State.Status")
			})
			eventually(t, 20*time.Second, "the driver knows the process", func() (bool, string) {
				r, err := p.ExecTask(k.id(), []string{"/bin/echo", "hi"}, 10*time.Second)
				return err == nil && string(r.Stdout) == "hi\n", fmt.Sprint(r, err)
			})
			waiter := k.waiter(p)
			ok(t, k.stop(p, time.Second, "SIGKILL"), "StopTask")
			if r := k.result(waiter, callLimit); r.ExitCode != 137 {
				t.Errorf("exit %+v, want 137", r)
			}
		},
		"is stopped": func(t *testing.T, p *plug, k *task) {
			waiter := k.waiter(p)
			ok(t, k.stop(p, time.Second, ""), "StopTask")
			if r := k.result(waiter, 10*time.Second); r.ExitCode != 3 {
				t.Errorf("exit %+v, want 3: the last end", r)
			}
			if k.inspect().running() {
				t.Error("StopTask answered, but Docker starts it again")
			}
		},
		"is destroyed": func(t *testing.T, p *plug, k *task) {
			waiter := k.waiter(p)
			ok(t, k.destroy(p), "DestroyTask")
			k.result(waiter, 10*time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := launchWith(t, launchOptions{name: "restarting"})
			k := newTask(t, p, "again", shell(moody)).start(p)
			p.crash(t)
			_, err := run.docker.Call("POST", "/containers/"+k.container()+"/update",
				map[string]any{"RestartPolicy": map[string]any{"Name": "always"}}, nil)
			ok(t, err, "docker update --restart always")
			ok(t, os.WriteFile(filepath.Join(k.cfg.AllocDir, "again/local/fail"), nil, 0o644), "touch")
			/* each pause is twice as long as the one before: this one is 3.2 s or longer */
			eventually(t, 30*time.Second, "Docker waits before the next start", func() (bool, string) {
				d := k.inspect()
				return d.str("State.Status") == "restarting" && d.num("RestartCount") >= 5, d.str("State.Status")
			})
			p2 := launchWith(t, launchOptions{name: "restarting"})
			ok(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask of a restarting container")
			s, err := p2.InspectTask(k.id())
			ok(t, err, "InspectTask")
			if s.State != drivers.TaskStateRunning {
				t.Errorf("state %v: it has not ended for good", s.State)
			}
			goOn(t, p2, k)
			ok(t, k.destroy(p2), "DestroyTask")
			if d := run.docker.inspect(t, k.container()); d != nil {
				t.Errorf("the container is left: %v", d.at("State"))
			}
		})
	}
}

func TestRecoverRefusesBrokenHandles(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "h", sleeper).start(p)
	for name, state := range map[string][]byte{"empty": nil, "garbage": {0xc1, 0xff}, "cut": k.handle.DriverState[:len(k.handle.DriverState)/2]} {
		h := k.handle.Copy()
		h.Config.ID = "other/h/" + name
		h.DriverState = state
		if err := recoverWith(t, p, h); err == nil {
			t.Errorf("a handle with %s driver state was accepted", name)
		}
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* The agent died and came back. The plugin kept running and is used again, without SetConfig. */
func TestReattach(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "re", sleeper).start(p)
	cfg := p.client.ReattachConfig()
	again := launchWith(t, launchOptions{reattach: cfg})
	info, err := again.PluginInfo()
	ok(t, err, "PluginInfo after reattach")
	if info.Name != "docker" {
		t.Errorf("name %q", info.Name)
	}
	ok(t, recoverWith(t, again, k.handle), "RecoverTask of a task that the plugin still has")
	waiter := k.waiter(again)
	ok(t, k.stop(again, 10*time.Second, ""), "StopTask")
	k.result(waiter, callLimit)
	ok(t, k.destroy(again), "DestroyTask")
}

func TestGracefulPluginRestartKeepsTasks(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "grace", shell(counter)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "n 5\n")
	within(t, 5*time.Second, "Kill by the host", p.client.Kill)
	if p.client.Exited() && alive(p.pid) {
		t.Error("the plugin is alive")
	}
	if !k.inspect().running() {
		t.Fatal("GRPCController.Shutdown touched the container")
	}
	p2 := launch(t)
	ok(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask")
	n := k.stdout.size()
	eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) })
	ok(t, k.stop(p2, 20*time.Second, ""), "StopTask")
	k.wait(p2, callLimit)
	k.stdout.waitFor(t, 20*time.Second, "last\n")
	checkCounter(t, k.stdout.text())
	ok(t, k.destroy(p2), "DestroyTask")
}
