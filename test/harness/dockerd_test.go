/*
 * A dockerd of our own: own data, own socket, own pid file, no bridge of the
 * host's, live-restore on (the storm kills it under running containers). It is
 * started from a thread that lives as long as the test process, so that the
 * kernel ends it (PDEATHSIG) should the test process be killed.
 */
package harness

import (
	"context"
	"fmt"
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
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	args []string
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
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false",
		"--live-restore", "--shutdown-timeout=5",
		/* a layer that was cut off is an error at once, not after five tries and a minute */
		"--max-download-attempts=1",
	}, extra...)
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	if err := d.start(); err != nil {
		return nil, err
	}
	return d, nil
}

/* Starts the daemon (again) and waits, at most a minute, for its first answer. */
func (d *dockerd) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spawn(); err != nil {
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

func (d *dockerd) spawn() error {
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("dockerd", d.args...)
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
	if err := <-started; err != nil {
		return err
	}
	d.cmd, d.done = cmd, done
	return nil
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

/* Ends it, and the containerd that it left behind when it was killed before. */
func (d *dockerd) stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
		return fmt.Errorf("did not end within 20 s of SIGTERM: killed; its last words:\n%s", tail(d.logFile(), 10))
	}
	return nil
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
