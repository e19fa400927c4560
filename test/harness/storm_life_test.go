/*
 * The storm of lives. In each round, every task meets one of the things that people and the kernel
 * do to containers: docker kill, stop, restart, pause, rm -f, an OOM kill, a pause container that
 * ends, a host port that is taken. All happen at about the same time, in an order of the seed. In
 * some rounds Docker's events are lost, in some the plugin is killed first. At the end of each
 * life, WaitTask, InspectTask and Docker report the same, and nothing is left.
 *
 *   STORM_LIFE_SECONDS (20, two rounds at least)   STORM_SEED (1)
 */
package harness

import (
	"bufio"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
)

/* dockerd behind a proxy that drops all events while deaf is true. */
func losesEvents(t *testing.T, deaf *atomic.Bool) (endpoint string) {
	path := filepath.Join(t.TempDir(), "e")
	l, err := net.Listen("unix", path)
	ok(t, err, "listen")
	proxy := proxyTo(strings.TrimPrefix(run.dockerd.Endpoint(), "unix://"))
	proxy.ModifyResponse = func(r *http.Response) error {
		if !strings.HasSuffix(r.Request.URL.Path, "/events") {
			return nil
		}
		events := r.Body
		passed, w := io.Pipe()
		r.Body = passed
		go func() {
			defer events.Close()
			in := bufio.NewReader(events)
			for {
				line, err := in.ReadBytes('\n')
				if err == nil && !deaf.Load() {
					_, err = w.Write(line)
				}
				if err != nil {
					w.CloseWithError(err)
					return
				}
			}
		}()
		return nil
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: proxy}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return "unix://" + path
}

/* SIGTERM ends it with 6, SIGUSR1 with 5. */
const stormLife = `trap 'exit 6' TERM; trap 'exit 5' USR1; echo up; while :; do sleep 0.1; done`

/* One life: what is done to the task, and its end. */
type life struct {
	name string
	line string /* stormLife when empty */
	job  string
	mod  func(*drivers.TaskConfig)
	/* before the start and after the end; each optional */
	before, after func(k *task)
	/* what happens to it when it runs */
	fate func(p *plug, k *task)
	/* the same in a round whose events are lost, where that makes a difference */
	unheard func(p *plug, k *task)
	code    int
	oom     bool
	gone    bool /* Docker has another state of it afterwards, or none */
}

func byHand(t *testing.T, method, path string) {
	t.Helper()
	_, err := run.docker.Call(method, path, nil, nil)
	ok(t, err, "docker "+path)
}

/* A container of another user that has the port. */
func (s *lives) holdPort(port int) (id string) {
	t := s.t
	t.Helper()
	var made struct {
		ID string `json:"Id"`
	}
	_, err := run.docker.Call("POST", "/containers/create", map[string]any{
		"Image": imagePause, "ExposedPorts": map[string]any{"80/tcp": map[string]any{}}, "HostConfig": map[string]any{
			"NetworkMode": s.network, "PortBindings": map[string]any{"80/tcp": []any{map[string]any{"HostIp": "127.0.0.1", "HostPort": itoa(port)}}}},
	}, &made)
	ok(t, err, "a container with the port")
	t.Cleanup(func() { _ = run.docker.Remove(made.ID) })
	byHand(t, "POST", "/containers/"+made.ID+"/start")
	return made.ID
}

func hand(verb string) func(*plug, *task) {
	return func(_ *plug, k *task) { byHand(k.t.(*testing.T), "POST", "/containers/"+k.container()+"/"+verb) }
}

func (s *lives) all(round int) []life {
	t := s.t
	network := s.p.networks()
	alloc := fmt.Sprintf("storm-%d-%d", s.seed, round)
	infra := "nomad_init_" + alloc
	t.Cleanup(func() { _ = run.docker.Remove(infra) })
	port := 23500 + round%100
	busy := s.holdPort(port)
	var spec *drivers.NetworkIsolationSpec
	return []life{
		{name: "kill", fate: hand("kill"), code: 137},
		{name: "signal", fate: hand("kill?signal=USR1"), code: 5},
		{name: "stop", fate: hand("stop"), code: 6},
		{name: "restart", fate: hand("restart"), code: 6, gone: true, unheard: func(p *plug, k *task) {
			/* the end was not noticed, and the container runs: so the task runs, too */
			byHand(t, "POST", "/containers/"+k.container()+"/restart")
			if st, err := p.InspectTask(k.id()); err != nil || st.State != drivers.TaskStateRunning {
				t.Errorf("a task that was restarted unheard is %+v, %v", st, err)
			}
			/* before the shell has set its traps, a SIGTERM ends the process that the runtime starts */
			k.stdout.waitFor(t, 20*time.Second, "up\nup\n")
			ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
		}},
		{name: "rm", fate: func(_ *plug, k *task) { byHand(t, "DELETE", "/containers/"+k.container()+"?force=1") }, code: 137, gone: true},
		{name: "pause", code: 6, fate: func(p *plug, k *task) {
			byHand(t, "POST", "/containers/"+k.container()+"/pause")
			if st, err := p.InspectTask(k.id()); err != nil || st.State != drivers.TaskStateRunning {
				t.Errorf("a paused task is %+v, %v", st, err)
			}
			byHand(t, "POST", "/containers/"+k.container()+"/unpause")
			ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
		}},
		{name: "nomad", code: 6, fate: func(p *plug, k *task) { ok(t, k.stop(p, 20*time.Second, ""), "StopTask") }},
		{name: "exits", line: "echo up; sleep 1; exit 3", code: 3, fate: func(*plug, *task) {}},
		{name: "oom", line: "echo up; sleep 2; exec /bin/sh -c 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'", mod: small, code: 137, oom: true, fate: func(*plug, *task) {}},
		{name: "port", code: 6, job: fmt.Sprintf("ports = [\"web\"]\nnetwork_mode = %q", s.network), mod: func(c *drivers.TaskConfig) {
			mapped := structs.AllocatedPortMapping{Label: "web", Value: port, HostIP: "127.0.0.1"}
			c.Resources.Ports = &structs.AllocatedPorts{mapped}
		}, before: func(k *task) {
			err := k.tryStart(s.p)
			wantError(t, err, "a port that is taken", fmt.Sprint(port))
			if !recoverable(err) {
				t.Errorf("a port that is taken is not recoverable: %v", err)
			}
			if run.docker.inspect(t, k.container()) != nil {
				t.Error("the container of the failed start is still there")
			}
			ok(t, run.docker.Remove(busy), "the end of the port's holder")
			k.stdout.resume() /* like the agent's next attempt */
			k.stderr.resume()
		}, fate: func(p *plug, k *task) { ok(t, k.stop(p, 20*time.Second, ""), "StopTask") }},
		{name: "group", code: 6, job: fmt.Sprintf("network_mode = %q", "container:"+infra), before: func(*task) {
			var err error
			spec, _, err = network.CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
			ok(t, err, "CreateNetwork")
		}, fate: func(p *plug, k *task) {
			byHand(t, "POST", "/containers/"+infra+"/kill")
			late := newTask(t, p, "late", shell(stormLife)+fmt.Sprintf("\nnetwork_mode = %q", "container:"+infra))
			wantError(t, late.tryStart(p), "the network of a pause container that was killed", "container")
			if run.docker.inspect(t, late.container()) != nil {
				t.Error("the container of the failed start is still there")
			}
			ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
		}, after: func(*task) {
			ok(t, s.p.networks().DestroyNetwork(alloc, spec), "DestroyNetwork")
			if run.docker.inspect(t, infra) != nil {
				t.Error("DestroyNetwork left the pause container")
			}
		}},
	}
}

type lives struct {
	t        *testing.T
	seed     int
	endpoint string
	network  string /* for a task that publishes ports, because this dockerd has no bridge */
	deaf     atomic.Bool
	p        *plug
}

func (s *lives) launch() {
	s.p = launchWith(s.t, launchOptions{config: configAt(s.endpoint, "")})
}

/* The end as Nomad gets it, as InspectTask reports it and as Docker reports it. */
func (s *lives) check(l *life, k *task, r *drivers.ExitResult) {
	t := s.t
	if r.Err != nil && r.ExitCode == 0 || r.ExitCode != l.code || r.OOMKilled != l.oom {
		t.Errorf("%s: exit %+v, want code %d, OOM %v", l.name, r, l.code, l.oom)
	}
	st, err := s.p.InspectTask(k.id())
	ok(t, err, "InspectTask")
	if st.State != drivers.TaskStateExited || st.ExitResult == nil || st.ExitResult.ExitCode != r.ExitCode {
		t.Errorf("%s: InspectTask reports %+v, %+v", l.name, st, st.ExitResult)
	}
	if d := run.docker.inspect(t, k.container()); !l.gone {
		if d == nil || d.running() || int(d.num("State.ExitCode")) != r.ExitCode || d.at("State.OOMKilled") != r.OOMKilled {
			t.Errorf("%s: exit %+v, Docker reports %v", l.name, r, d.at("State"))
		}
	}
}

func (s *lives) round(n int, rng *rand.Rand, deaf, crash bool) {
	t := s.t
	all := s.all(n)
	tasks := make([]*task, len(all))
	waiters := make([]<-chan *drivers.ExitResult, len(all))
	each := func(what string, f func(i int, l *life, k *task)) {
		t.Helper()
		var wg sync.WaitGroup
		pauses := rng.Perm(len(all))
		for i := range all {
			wg.Add(1)
			pause := time.Duration(pauses[i]) * 20 * time.Millisecond
			go func(i int) {
				defer wg.Done()
				<-time.After(pause) /* gives the order of the seed */
				f(i, &all[i], tasks[i])
			}(i)
		}
		within(t, time.Minute, fmt.Sprintf("round %d: %s", n, what), wg.Wait)
		if t.Failed() {
			t.FailNow()
		}
	}
	for i := range all {
		l := &all[i]
		line := l.line
		if line == "" {
			line = stormLife
		}
		var mods []func(*drivers.TaskConfig)
		if l.mod != nil {
			mods = append(mods, l.mod)
		}
		tasks[i] = newTask(t, s.p, l.name, shell(line)+"\n"+l.job, mods...)
	}
	each("StartTask", func(_ int, l *life, k *task) {
		if l.before != nil {
			l.before(k)
		}
		k.start(s.p)
		k.stdout.waitFor(t, 20*time.Second, "up\n")
	})
	if crash {
		s.p.crash(t)
		s.launch()
		for _, k := range tasks {
			ok(t, recoverWith(t, s.p, persisted(t, k.handle)), "RecoverTask")
		}
	}
	for i, k := range tasks {
		waiters[i] = k.waiter(s.p)
	}
	s.deaf.Store(deaf)
	each("the fates", func(i int, l *life, k *task) {
		fate := l.fate
		if deaf && l.unheard != nil {
			fate = l.unheard
		}
		fate(s.p, k)
		r := k.result(waiters[i], 40*time.Second)
		s.check(l, k, r)
	})
	s.deaf.Store(false)
	each("DestroyTask", func(_ int, l *life, k *task) {
		ok(t, k.destroy(s.p), "DestroyTask")
		if run.docker.inspect(t, k.container()) != nil {
			t.Errorf("%s: DestroyTask left the container", l.name)
		}
		if l.after != nil {
			l.after(k)
		}
	})
}

func TestStormOfLives(t *testing.T) {
	paddockOnly(t, "takes some of these ends for others")
	seconds, seed := envInt(t, "STORM_LIFE_SECONDS", 20), envInt(t, "STORM_SEED", 1)
	t.Logf("STORM_LIFE_SECONDS=%d STORM_SEED=%d", seconds, seed)
	rng := rand.New(rand.NewSource(int64(seed)))
	s := &lives{t: t, seed: seed, network: makeNetwork(t)}
	s.endpoint = losesEvents(t, &s.deaf)
	s.launch()
	begun := time.Now()
	n := 0
	for ; n < 2 || time.Since(begun) < time.Duration(seconds)*time.Second; n++ {
		/* the first two are one of each kind */
		s.round(n, rng, n == 0 || n > 1 && rng.Intn(10) == 0, n == 1 || n > 1 && rng.Intn(3) == 0)
	}
	t.Logf("%d rounds in %v", n, time.Since(begun).Round(time.Second))
	s.p.mustLive(t, "the storm")
	within(t, 10*time.Second, "Kill by the host", s.p.client.Kill)
	endLogPumps(t)
}
