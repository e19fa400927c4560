/*
 * Starts that Docker refuses: a port that is taken, a network that was removed, a plugin that dies
 * while Docker starts the container. A task that is reported as running runs, with its network and
 * ports.
 */
package harness

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/plugins/drivers"
	"paddock.invalid/test/harness/engine"
)

/* A dockerd with a bridge, which publishes ports. The dockerd of all other tests has none. */
func startBridged(t *testing.T) (*engine.Daemon, *dockerAPI) {
	t.Helper()
	net := makeNetwork(t)
	d, err := engine.StartDaemon(filepath.Join(run.dir, "p"), "--bridge="+net)
	ok(t, err, "a dockerd with a bridge")
	docker := &dockerAPI{engine.New(d.Socket(), 0)}
	t.Cleanup(func() {
		ok(t, docker.RemoveAll(), "removing the containers")
		ok(t, d.Stop(), "the dockerd with a bridge")
	})
	ok(t, importImages(docker), "images")
	return d, docker
}

func TestPortConflict(t *testing.T) {
	d, docker := startBridged(t)
	r := record(t, d.Socket())
	p := launchWith(t, launchOptions{config: configAt(r.endpoint, "")})
	job := sleeper + "\nports = [\"web\"]"
	first := newTask(t, p, "first", job, withPort).start(p)
	second := newTask(t, p, "second", job, withPort)
	err := second.tryStart(p)
	wantError(t, err, "the port is taken", "23456")
	if !recoverable(err) {
		t.Errorf("%v: want a recoverable error, for the port may be free on the next attempt", err)
	}
	if c := docker.inspect(t, second.container()); c != nil {
		t.Errorf("left: %v", c.at("State"))
	}
	if run.isRef {
		ok(t, first.destroy(p), "DestroyTask")
		return
	}

	/* the port becomes free between two attempts */
	var starts atomic.Int32
	third := newTask(t, p, "third", job, withPort)
	r.before = func(q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/start") && starts.Add(1) == 2 {
			_ = docker.Remove(first.container())
		}
	}
	third.start(p)
	c := docker.inspect(t, third.container())
	ip := c.str("NetworkSettings.Networks.bridge.IPAddress")
	if ip == "" || third.net == nil || third.net.IP != ip {
		t.Errorf("address %q, Nomad gets %+v", ip, third.net)
	}
	if b := fmt.Sprint(c.at("NetworkSettings.Ports.8080/tcp")); b != "[map[HostIp:127.0.0.1 HostPort:23456]]" {
		t.Errorf("published %s", b)
	}
	if n := starts.Load(); n < 2 {
		t.Errorf("%d starts: the port was not taken", n)
	}
	ok(t, third.destroy(p), "DestroyTask")
	ok(t, first.destroy(p), "DestroyTask")
}

/* Docker answers 409. For no container does that mean "already started". */
func TestNetworkOfAStoppedContainer(t *testing.T) {
	p := launch(t)
	host := newTask(t, p, "host", shell("exit 0")).start(p)
	host.wait(p, callLimit)
	k := newTask(t, p, "joins", sleeper+fmt.Sprintf("\nnetwork_mode = \"container:%s\"", host.container()))
	err := k.tryStart(p)
	wantError(t, err, "Docker's text", "non running container")
	if c := run.docker.inspect(t, k.container()); c != nil {
		t.Errorf("left: %v", c.at("State"))
	}
	ok(t, host.destroy(p), "DestroyTask")
}

func TestStartWithAKilledPauseContainer(t *testing.T) {
	p := launch(t)
	m := p.networks()
	alloc := uuid.Generate()
	pause := "nomad_init_" + alloc
	t.Cleanup(func() { _ = run.docker.Remove(pause) })
	spec, _, err := m.CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	_, err = run.docker.Call("POST", "/containers/"+pause+"/kill", nil, nil)
	ok(t, err, "docker kill")
	eventually(t, callLimit, "the pause container is removed", func() (bool, string) {
		c := run.docker.inspect(t, pause)
		return !c.running(), fmt.Sprint(c.at("State"))
	})
	k := newTask(t, p, "member", sleeper, func(c *drivers.TaskConfig) { c.AllocID, c.NetworkIsolation = alloc, spec })
	wantError(t, k.tryStart(p), "Docker's text", "non running container")
	if c := run.docker.inspect(t, k.container()); c != nil {
		t.Errorf("left: %v", c.at("State"))
	}
	ok(t, m.DestroyNetwork(alloc, spec), "DestroyNetwork")
}

/* After the plugin died during StartTask, the agent sends StartTask again with the same id. It
 * died while Docker created the container, while Docker started it, or when it ran but Nomad did
 * not know it yet. */
func TestStartAgainAfterCrashDuringStart(t *testing.T) {
	rows := []struct{ name, request, state string }{
		{"create", "/containers/create", ""},
		{"start", "/start", "created"},
		{"inspect", "/json", "running"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := record(t, run.dockerd.Socket())
			reached, crashed := make(chan struct{}), make(chan struct{})
			var once atomic.Bool
			var container atomic.Value
			state := func() string {
				var d doc
				if name, _ := container.Load().(string); name != "" {
					_, _ = run.docker.Call("GET", "/containers/"+name+"/json", nil, &d)
				}
				return d.str("State.Status")
			}
			r.before = func(q *http.Request) {
				if strings.HasSuffix(q.URL.Path, row.request) && state() == row.state && once.CompareAndSwap(false, true) {
					close(reached)
					<-crashed
				}
			}
			p := launchWith(t, launchOptions{config: configAt(r.endpoint, "")})
			k := newTask(t, p, "crash", sleeper)
			container.Store(k.container())
			failed := make(chan error, 1)
			go func() {
				_, _, err := p.StartTask(k.cfg)
				failed <- err
			}()
			select {
			case <-reached:
			case err := <-failed:
				t.Fatalf("StartTask ended before it sent the request: %v", err)
			}
			p.crash(t)
			close(crashed)
			if err := <-failed; err == nil {
				t.Fatal("StartTask succeeded although the plugin died")
			}
			p2 := launchWith(t, launchOptions{config: configAt(r.endpoint, "")})
			k.start(p2)
			if !k.inspect().running() {
				t.Fatal("the container does not run")
			}
			list, err := run.docker.List()
			ok(t, err, "docker ps")
			if len(list) != 1 {
				t.Errorf("%d containers, want 1: %v", len(list), list)
			}
			ok(t, k.stop(p2, 0, ""), "StopTask")
			ok(t, k.destroy(p2), "DestroyTask")
		})
	}
}
