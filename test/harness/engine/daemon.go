/*
 * A dockerd for one run: own data, own socket, own pid file, no bridge of the host's, live-restore
 * on (it may be killed while containers run). Its containerd is a process of its own, like in
 * Debian's packages, so that only dockerd dies with dockerd, and its CPU is its own. Both are
 * started from threads that live as long as their process, so that the kernel ends them (PDEATHSIG)
 * when the test process is killed.
 *
 * Also as much of the Docker Engine API as tests and bench need (api.go), and their image, made
 * from the machine's busybox without a registry (image.go).
 */
package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

type Daemon struct {
	dir  string
	args []string
	/* locked during start, stop and kill */
	mu         sync.Mutex
	dockerd    *process
	containerd *process
}

type process struct {
	*exec.Cmd
	done chan struct{}
}

func (d *Daemon) Socket() string   { return filepath.Join(d.dir, "s") }
func (d *Daemon) Endpoint() string { return "unix://" + d.Socket() }
func (d *Daemon) Pid() int         { return d.dockerd.Process.Pid }
func (d *Daemon) log() string      { return filepath.Join(d.dir, "log") }

/* Starts one below dir and waits until it answers. Extra arguments come last. */
func StartDaemon(dir string, extra ...string) (*Daemon, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	d := &Daemon{dir: dir}
	containerd := filepath.Join(dir, "c.sock")
	d.args = append([]string{
		"--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"),
		"--host", d.Endpoint(),
		"--config-file", filepath.Join(dir, "daemon.json"),
		"--containerd", containerd,
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false",
		"--live-restore", "--shutdown-timeout=5",
		/* a layer that was cut off is an error immediately, not after five attempts and a minute */
		"--max-download-attempts=1",
	}, append(storeArgs(), extra...)...)
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	if err := d.startContainerd(containerd); err != nil {
		_ = d.Stop()
		return nil, fmt.Errorf("containerd: %w", err)
	}
	if err := d.Start(); err != nil {
		_ = d.Stop()
		return nil, fmt.Errorf("dockerd: %w", err)
	}
	return d, nil
}

/* HARNESS_STORE: the image store of Docker 29. Without it, the daemon chooses. */
func storeArgs() []string {
	switch os.Getenv("HARNESS_STORE") {
	case "containerd":
		return []string{"--feature", "containerd-snapshotter=true"}
	case "graph":
		return []string{"--feature", "containerd-snapshotter=false"}
	}
	return nil
}

func (d *Daemon) startContainerd(socket string) (err error) {
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"+
		"[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n",
		filepath.Join(d.dir, "cd-root"), filepath.Join(d.dir, "cd-state"), socket, socket+".ttrpc")
	file := filepath.Join(d.dir, "containerd.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	if d.containerd, err = d.spawn("containerd", "--config", file); err != nil {
		return err
	}
	return d.await(d.containerd, func() error {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err
	})
}

/* Starts dockerd (again) and waits for its first answer. Extra arguments are for this time and
 * take precedence. */
func (d *Daemon) Start(extra ...string) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dockerd, err = d.spawn("dockerd", append(slices.Clip(d.args), extra...)...); err != nil {
		return err
	}
	api := New(d.Socket(), 0)
	return d.await(d.dockerd, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := api.Do(ctx, "GET", "/_ping", nil, nil)
		return err
	})
}

func (d *Daemon) spawn(name string, args ...string) (*process, error) {
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{exec.Command(name, args...), make(chan struct{})}
	p.Stdout, p.Stderr = log, log
	/* its own group: we pass on a terminal's Ctrl-C, after the containers have ended */
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		/* PDEATHSIG is sent when the *thread* ends, so this one stays as long as the daemon */
		runtime.LockOSThread()
		err := p.Cmd.Start()
		started <- err
		if err == nil {
			_ = p.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

/*
 * Polls until the process answers, at most a minute after its last log line, and five in all. After
 * a kill, dockerd first removes the network sandbox of each container that has ended since its last
 * start. A few hundred of them take a minute on a busy machine.
 */
func (d *Daemon) await(p *process, answers func() error) error {
	const quiet, limit = time.Minute, 5 * time.Minute
	began := time.Now()
	words, spoke := int64(-1), began
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := answers()
		if err == nil {
			return nil
		}
		if st, err := os.Stat(d.log()); err == nil && st.Size() != words {
			words, spoke = st.Size(), time.Now()
		}
		if time.Since(spoke) > quiet || time.Since(began) > limit {
			return fmt.Errorf("no answer in %v: %v; its last words:\n%s", time.Since(began), err, Tail(d.log(), 20))
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended immediately; its last lines:\n%s", Tail(d.log(), 20))
		case <-tick.C:
		}
	}
}

/* SIGKILL of dockerd, as in a crash. With live-restore the containers keep running. */
func (d *Daemon) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.dockerd.Process.Kill()
	<-d.dockerd.done
	/* a stale pid file makes the next start fail when another process has that pid */
	_ = os.Remove(filepath.Join(d.dir, "pid"))
}

func (d *Daemon) Pause()  { _ = d.dockerd.Process.Signal(syscall.SIGSTOP) }
func (d *Daemon) Resume() { _ = d.dockerd.Process.Signal(syscall.SIGCONT) }

/* Ends both daemons. */
func (d *Daemon) Stop() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range []*process{d.dockerd, d.containerd} {
		if p == nil {
			continue
		}
		_ = p.Process.Signal(syscall.SIGCONT)
		_ = p.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			_ = p.Process.Kill()
			<-p.done
			err = fmt.Errorf("%s did not end within 20 s of SIGTERM: killed; last words:\n%s", p.Path, Tail(d.log(), 10))
		}
	}
	return err
}

/* The last lines of a log, for an error message. */
func Tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
