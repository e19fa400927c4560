/*
 * Requests that no honest host sends, and answers that no healthy Docker gives. Each causes one
 * clear error within its deadline, and the plugin keeps running.
 */
package harness

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/zclconf/go-cty/cty"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (p *plug) mustLive(t testing.TB, after string) {
	t.Helper()
	err := errWithin(t, 5*time.Second, "PluginInfo", func() error { _, err := p.PluginInfo(); return err })
	if err != nil || !alive(p.pid) {
		t.Fatalf("after %s the plugin must live: %v", after, err)
	}
}

func TestBadTaskConfigIsRefusedByName(t *testing.T) {
	p := launch(t)
	str, num := cty.StringVal, cty.NumberIntVal
	for name, c := range map[string]struct {
		config cty.Value
		words  []string
	}{
		"no image":              {cty.ObjectVal(map[string]cty.Value{"command": str("x")}), []string{"image name required for docker driver"}},
		"empty image":           {cty.ObjectVal(map[string]cty.Value{"image": str("")}), []string{"image name required for docker driver"}},
		"image is a list":       {cty.ObjectVal(map[string]cty.Value{"image": cty.ListVal([]cty.Value{str("a")})}), []string{""}},
		"args is a string":      {cty.ObjectVal(map[string]cty.Value{"image": str(imageBusybox), "args": str("a")}), []string{""}},
		"the whole is a number": {num(5), []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTask(t, p, "bad", sleeper)
			setConfigValue(t, k.cfg, c.config)
			err := k.tryStart(p)
			wantError(t, err, name, c.words...)
			p.mustLive(t, name)
		})
	}
	if run.isRef {
		return
	}
	/* ours also names the key */
	for name, c := range map[string]struct {
		config cty.Value
		word   string
	}{
		"image is a list":     {cty.ObjectVal(map[string]cty.Value{"image": cty.ListVal([]cty.Value{str("a")})}), "image"},
		"args is a string":    {cty.ObjectVal(map[string]cty.Value{"image": str(imageBusybox), "args": str("a")}), "args"},
		"privileged is a map": {cty.ObjectVal(map[string]cty.Value{"image": str(imageBusybox), "privileged": cty.MapVal(map[string]cty.Value{"a": str("b")})}), "privileged"},
	} {
		t.Run(name+" (named)", func(t *testing.T) {
			k := newTask(t, p, "bad", sleeper)
			setConfigValue(t, k.cfg, c.config)
			wantError(t, k.tryStart(p), name, c.word)
		})
	}
}

/* Nomad restarts by policy after a recoverable error, and gives up immediately after any other. */
func recoverable(err error) bool {
	r, is := err.(interface{ IsRecoverable() bool })
	return is && r.IsRecoverable()
}

func TestUnknownImage(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "img", `image = "127.0.0.1:1/no/such:1"`+"\n"+`image_pull_timeout = "10s"`)
	err := k.tryStart(p)
	wantError(t, err, "an image that no registry has", "Failed to pull `127.0.0.1:1/no/such:1`")
	if !recoverable(err) {
		t.Errorf("a failed pull is recoverable (the restart policy applies): %T %v", err, err)
	}
	k = newTask(t, p, "img", `image = "UPPER CASE:::"`)
	err = k.tryStart(p)
	wantError(t, err, "an image name that is none")
	p.mustLive(t, "unknown images")
}

func TestCommandThatIsNotThere(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "cmd", "image = \""+imageBusybox+"\"\ncommand = \"/no/such/program\"")
	wantError(t, k.tryStart(p), "a command that the image does not have", "/no/such/program")
	if d := run.docker.inspect(t, k.container()); d != nil {
		t.Error("a failed start left its container")
	}
	p.mustLive(t, "a failed start")
}

func TestTruncatedProtobuf(t *testing.T) {
	p := launch(t)
	for name, bytes := range map[string]string{
		"cut length": string([]byte{0x0a, 0x7f, 'x'}),
		"cut varint": string([]byte{0x08, 0xff, 0xff}),
		"field 0":    string([]byte{0x00, 0x00}),
		"group":      string([]byte{0x0b, 0x0b, 0x0b}),
		"noise":      strings.Repeat("\xfe\xdc\xba", 1000),
	} {
		for _, m := range []string{"StartTask", "RecoverTask", "StopTask", "WaitTask", "ExecTask", "DestroyTask", "InspectTask", "SignalTask", "CreateNetwork", "DestroyNetwork"} {
			ctx, cancel := timeout(10 * time.Second)
			_, err := p.raw(ctx, driverService+m, []byte(bytes))
			cancel()
			if err == nil && m != "StopTask" && m != "DestroyTask" {
				t.Errorf("%s with %s was accepted", m, name)
			}
			if c := status.Code(err); c == codes.DeadlineExceeded || c == codes.Unavailable || c == codes.Canceled {
				t.Errorf("%s with %s: %v; Unavailable, Canceled and silence mean something else to the host", m, name, err)
			}
		}
		p.mustLive(t, name)
	}
}

func TestFiveMegabytesOfEnvironment(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "fat", shell(`echo never`), func(c *drivers.TaskConfig) {
		for i := 0; i < 5; i++ {
			c.Env[fmt.Sprintf("BIG%d", i)] = strings.Repeat("x", 1<<20)
		}
	})
	/* one string of 1 MB is more than the kernel accepts (128 KiB) */
	refusal := "argument list too long"
	if run.isRef {
		refusal = "larger than max" /* Go's gRPC server ends at 4 MiB, before Docker is asked */
	}
	wantError(t, k.tryStart(p), "5 MB of environment", refusal)
	p.mustLive(t, "5 MB of environment")

	/* 1.5 MB in strings that the kernel accepts */
	k = newTask(t, p, "fit", shell(`case "$BIG11" in yyyyyyyy*) [ "$BIG11" = "$BIG14" ] && echo fits;; esac`), func(c *drivers.TaskConfig) {
		for i := 0; i < 15; i++ {
			c.Env[fmt.Sprintf("BIG%d", i)] = strings.Repeat("y", 100<<10)
		}
	}).start(p)
	k.stdout.waitFor(t, 20*time.Second, "fits\n")
	ok(t, k.destroy(p), "DestroyTask")
}

/* ---- Docker that is unhealthy ---- */

const shortDocker = "PADDOCK_DOCKER_TIMEOUT_MS=1500"

/* Listens like dockerd and gives each connection to the test. */
func fakeDockerd(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	ok(t, err, "listen")
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go serve(c)
		}
	}()
	return "unix://" + path
}

/* Every call that needs Docker, with the time it may take. */
func callsWithoutDocker(t *testing.T, p *plug, what string, limit time.Duration) {
	t.Helper()
	k := newTask(t, p, "none", sleeper)
	for name, f := range map[string]func() error{
		"StartTask": func() error { _, _, err := p.StartTask(k.cfg); return err },
		"CreateNetwork": func() error {
			_, _, err := p.networks().CreateNetwork("a", nil)
			return err
		},
		"RecoverTask": func() error {
			return p.RecoverTask(&drivers.TaskHandle{Version: 1, Config: k.cfg, State: drivers.TaskStateRunning,
				DriverState: []byte("\x83\xabContainerID\xa3abc\xadDriverNetwork\xc0\xaeReattachConfig\xc0")})
		},
	} {
		start := time.Now()
		err := errWithin(t, limit, name+" with "+what, f)
		wantError(t, err, name+" with "+what)
		if c := status.Code(err); c == codes.Unavailable || c == codes.Canceled {
			t.Errorf("%s with %s: code %v makes the host think that the plugin died", name, what, c)
		}
		t.Logf("%s with %s: %.1f s, %v", name, what, time.Since(start).Seconds(), err)
	}
	p.mustLive(t, what)
}

func TestDeadDockerd(t *testing.T) {
	p := launchWith(t, launchOptions{config: `config { endpoint = "unix:///tmp/paddock-no-such-socket" }`, env: []string{shortDocker}})
	callsWithoutDocker(t, p, "a dead dockerd", 15*time.Second)
}

func TestSilentDockerd(t *testing.T) {
	paddockOnly(t, "waits five minutes for an answer")
	endpoint := fakeDockerd(t, func(c net.Conn) {
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	})
	p := launchWith(t, launchOptions{config: fmt.Sprintf("config { endpoint = %q }", endpoint), env: []string{shortDocker}})
	callsWithoutDocker(t, p, "a dockerd that accepts and never answers", 15*time.Second)
	if f := firstFingerprint(t, p); f.Health == drivers.HealthStateHealthy {
		t.Errorf("healthy, with a dockerd that never answers")
	}
}

func TestGarbageDockerd(t *testing.T) {
	for name, reply := range map[string]string{
		"closes immediately": "",
		"noise":              strings.Repeat("\x00\xff garbage\r\n", 100),
		"html":               "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<html></html>\n",
		"cut body":           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"ApiVersion\":",
		"endless head":       "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 20000),
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := fakeDockerd(t, func(c net.Conn) {
				buf := make([]byte, 64<<10)
				_, _ = c.Read(buf)
				_, _ = c.Write([]byte(reply))
				c.Close()
			})
			p := launchWith(t, launchOptions{config: fmt.Sprintf("config { endpoint = %q }", endpoint), env: []string{shortDocker}})
			callsWithoutDocker(t, p, "a dockerd that "+name, 30*time.Second)
		})
	}
}

/* The daemon stops answering while tasks run, then continues. No task looks finished or failed. */
func TestStoppedDockerdIsWaitedFor(t *testing.T) {
	p := launchWith(t, launchOptions{env: []string{shortDocker}})
	k := newTask(t, p, "hang", shell(counter)).start(p)
	waiter := k.waiter(p)
	run.dockerd.Pause()
	resumed := false
	defer func() {
		if !resumed {
			run.dockerd.Resume()
		}
	}()
	if !run.isRef {
		err := errWithin(t, 20*time.Second, "StopTask", func() error { return p.StopTask(k.id(), time.Second, "") })
		wantError(t, err, "StopTask while dockerd hangs")
	}
	p.mustLive(t, "a hanging dockerd")
	select {
	case r := <-waiter:
		t.Fatalf("the task looks finished because dockerd hangs: %+v", r)
	default:
	}
	run.dockerd.Resume()
	resumed = true
	ok(t, k.stop(p, 20*time.Second, ""), "StopTask after dockerd continues")
	if r := k.result(waiter, callLimit); r.ExitCode != 6 && r.ExitCode != 137 {
		t.Errorf("exit %+v", r)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* dockerd is killed and comes back, with live-restore. The task keeps running, and its end is
 * noticed. */
func TestDockerdRestartUnderTasks(t *testing.T) {
	paddockOnly(t, "its wait call breaks and the task looks finished")
	ownDockerd(t)
	p := launchWith(t, launchOptions{env: []string{shortDocker}})
	k := newTask(t, p, "lr", shell(counter)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "n 5\n")
	waiter := k.waiter(p)
	pid := k.inspect().num("State.Pid")
	run.dockerd.Kill()
	ok(t, run.dockerd.Start(), "dockerd again")
	if now := k.inspect(); !now.running() || now.num("State.Pid") != pid {
		t.Fatal("live-restore did not hold the container: the test has nothing to check")
	}
	n := k.stdout.size()
	eventually(t, 30*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) })
	select {
	case r := <-waiter:
		t.Fatalf("the task looks finished after dockerd's restart: %+v", r)
	default:
	}
	ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
	if r := k.result(waiter, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6", r)
	}
	k.stdout.waitFor(t, 20*time.Second, "last\n")
	checkCounter(t, k.stdout.text())
	ok(t, k.destroy(p), "DestroyTask")
}

/*
 * The same without live-restore. While dockerd is down, nothing is concluded. When it is back, it
 * ends the containers that run. That is the end of the task, with its code and its last line.
 */
func TestDockerdRestartWithoutLiveRestore(t *testing.T) {
	paddockOnly(t, "its wait call breaks and the task looks finished")
	ownDockerd(t)
	p := launchWith(t, launchOptions{env: []string{shortDocker}})
	k := newTask(t, p, "nolr", shell(counter)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "n 5\n")
	waiter := k.waiter(p)
	run.dockerd.Kill()
	n := k.stdout.size()
	status, err := p.InspectTask(k.id())
	ok(t, err, "InspectTask without dockerd")
	if status.State != drivers.TaskStateRunning {
		t.Errorf("without dockerd the task is reported as %s", status.State)
	}
	select {
	case r := <-waiter:
		t.Fatalf("the task looks finished because dockerd is away: %+v", r)
	default:
	}
	ok(t, run.dockerd.Start("--live-restore=false"), "dockerd without live-restore")
	if r := k.result(waiter, 30*time.Second); r.ExitCode != 6 || r.Signal != 0 {
		t.Errorf("exit %+v, want 6", r)
	}
	k.stdout.waitFor(t, 20*time.Second, "last\n")
	if k.stdout.size() <= n {
		t.Error("nothing of what was printed without dockerd came")
	}
	checkCounter(t, k.stdout.text())
	ok(t, k.destroy(p), "DestroyTask")
}
