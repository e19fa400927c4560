/*
 * A dockerd of our own: own data, own socket, own pid file, no bridge of the
 * host's, live-restore on (the storm kills it under running containers). Its
 * containerd is a process of its own, as Debian's packages have it, so that the
 * death of dockerd is the death of dockerd alone. Both are started from threads
 * that live as long as the test process, so that the kernel ends them (PDEATHSIG)
 * should the test process be killed.
 */
package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

type dockerd struct {
	dir string
	/* held during start, stop and kill; cmd and done belong to one daemon process */
	mu         sync.Mutex
	cmd        *exec.Cmd
	done       chan struct{}
	args       []string
	containerd *exec.Cmd
	cdDone     chan struct{}
}

func (d *dockerd) socket() string   { return filepath.Join(d.dir, "s") }
func (d *dockerd) endpoint() string { return "unix://" + d.socket() }
func (d *dockerd) logFile() string  { return filepath.Join(d.dir, "log") }
func (d *dockerd) api() *dockerAPI  { return newDockerAPI(d.socket()) }

/* Starts one below dir and waits until it answers. Extra arguments come last. */
func startDockerd(dir string, extra ...string) (*dockerd, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &dockerd{dir: dir}
	d.args = append([]string{
		"--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"),
		"--host", d.endpoint(),
		"--config-file", filepath.Join(dir, "daemon.json"),
		"--containerd", d.containerdSocket(),
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false",
		"--live-restore", "--shutdown-timeout=5",
		/* a layer that was cut off is an error at once, not after five tries and a minute */
		"--max-download-attempts=1",
	}, extra...)
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	if err := d.startContainerd(); err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	if err := d.start(); err != nil {
		_ = d.stop()
		return nil, err
	}
	return d, nil
}

func (d *dockerd) containerdSocket() string { return filepath.Join(d.dir, "c.sock") }

func (d *dockerd) startContainerd() (err error) {
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n",
		filepath.Join(d.dir, "cd-root"), filepath.Join(d.dir, "cd-state"), d.containerdSocket(), d.containerdSocket()+".ttrpc")
	file := filepath.Join(d.dir, "containerd.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	d.containerd, d.cdDone, err = d.spawn("containerd", "--config", file)
	if err != nil {
		return err
	}
	saw, up := poll(time.Minute, func() (bool, string) {
		c, err := net.Dial("unix", d.containerdSocket())
		if err != nil {
			return false, err.Error()
		}
		c.Close()
		return true, ""
	})
	if !up {
		return fmt.Errorf("does not listen: %s; its last words:\n%s", saw, tail(d.logFile(), 10))
	}
	return nil
}

/* Starts the daemon (again) and waits, at most a minute, for its first answer. */
func (d *dockerd) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.cmd, d.done, err = d.spawn("dockerd", d.args...); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	api := d.api()
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err := api.do(ctx, "GET", "/_ping", nil, nil)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("it ended at once; its last words:\n%s", tail(d.logFile(), 20))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("no answer within a minute; its last words:\n%s", tail(d.logFile(), 20))
}

func (d *dockerd) spawn(name string, args ...string) (*exec.Cmd, chan struct{}, error) {
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	/* its own group: a terminal's Ctrl-C is ours to hand on, after the containers are gone */
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	done := make(chan struct{})
	started := make(chan error)
	go func() {
		/* PDEATHSIG is sent when the *thread* ends: this one stays for the daemon's life */
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(done)
	}()
	return cmd, done, <-started
}

/* SIGKILL, as a crash does it. With live-restore the containers go on. */
func (d *dockerd) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.cmd.Process.Kill()
	<-d.done
	/* a stale pid file makes the next start fail when the pid was taken anew */
	_ = os.Remove(filepath.Join(d.dir, "pid"))
}

func (d *dockerd) pause()  { _ = d.cmd.Process.Signal(syscall.SIGSTOP) }
func (d *dockerd) resume() { _ = d.cmd.Process.Signal(syscall.SIGCONT) }

/* Ends both daemons. */
func (d *dockerd) stop() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := func(name string, cmd *exec.Cmd, done chan struct{}) {
		if cmd == nil || cmd.Process == nil {
			return
		}
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-done
			err = fmt.Errorf("%s did not end within 20 s of SIGTERM: killed; last words:\n%s", name, tail(d.logFile(), 10))
		}
	}
	end("dockerd", d.cmd, d.done)
	end("containerd", d.containerd, d.cdDone)
	return err
}

/* The last lines of a log, for an error message. */
func tail(path string, lines int) string {
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
