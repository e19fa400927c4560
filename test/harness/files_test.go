/*
 * Files that others may place or swap: log FIFOs below a link, and device nodes in the place of
 * files that the plugin opens. Also what credential helpers get and print.
 */
package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

/* Puts the task into k's allocation. */
func inAllocOf(t testing.TB, k *task) func(*drivers.TaskConfig) {
	return func(c *drivers.TaskConfig) {
		ok(t, os.RemoveAll(c.AllocDir), "the folder of its own")
		c.AllocID, c.AllocDir = k.cfg.AllocID, k.cfg.AllocDir
		c.ID = fmt.Sprintf("%s/%s/00000002", c.AllocID, c.Name)
		for _, sub := range []string{"local", "secrets", "tmp"} {
			ok(t, os.MkdirAll(filepath.Join(c.AllocDir, c.Name, sub), 0o777), "a task's folder")
		}
		logs := filepath.Join(c.AllocDir, "alloc/logs")
		c.StdoutPath = filepath.Join(logs, "."+c.Name+".stdout.fifo")
		c.StderrPath = filepath.Join(logs, "."+c.Name+".stderr.fifo")
	}
}

/* Waits for so many more bytes of a log that never stops. */
func waitForMore(t testing.TB, f *fifo, bytes int) {
	t.Helper()
	n := f.size()
	eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return f.size() > n+bytes, lastLines(f.text(), 2) })
}

/*
 * A job that mounts its allocation's folder puts a link to another allocation in the place of
 * `alloc`. A process that opens its FIFO by name opens the other job's. Pump and plugin do that
 * when they are restarted.
 */
func TestLinesStayInTheirAllocation(t *testing.T) {
	paddockOnly(t, "its log process keeps the FIFOs")
	p := launch(t)
	victim := newTask(t, p, "web", shell(counter)).start(p)
	/* it swaps after its own log works: an earlier swap is refused and shows nothing */
	attacker := newTask(t, p, "web", shell(fmt.Sprintf(`cd /whole; echo up; while [ ! -e alloc/go ]; do sleep 0.02; done
		mv alloc away && ln -s ../%s/alloc alloc && echo swapped; while :; do echo secret; sleep 0.02; done`, victim.cfg.AllocID))+
		"\nvolumes = [\"..:/whole\"]").start(p)
	attacker.stdout.waitFor(t, 20*time.Second, "up\n")
	ok(t, os.WriteFile(filepath.Join(attacker.cfg.AllocDir, "alloc/go"), nil, 0o644), "the start signal")
	attacker.stdout.waitFor(t, 20*time.Second, "swapped\nsecret\n")
	if s, err := os.Stat(attacker.cfg.StdoutPath); err != nil || s.Mode()&os.ModeNamedPipe == 0 {
		t.Fatalf("the link does not lead to the other job's FIFO: %v", err)
	}
	wantOwnLines := func(when string) {
		t.Helper()
		waitForMore(t, victim.stdout, 500)
		if n := strings.Count(victim.stdout.text(), "secret"); n > 0 {
			t.Fatalf("%s: %d lines of another job are in the log", when, n)
		}
	}
	pumps := logPumps()
	if len(pumps) != 1 {
		t.Fatalf("log pumps %v, want one for the plugin", pumps)
	}
	ok(t, syscall.Kill(pumps[0].pid, syscall.SIGKILL), "kill -9 of the pump")
	wantOwnLines("after the pump was replaced")

	p.crash(t)
	again := launch(t)
	ok(t, recoverWith(t, again, victim.handle), "RecoverTask")
	/* it loses its own logs, but keeps running */
	ok(t, recoverWith(t, again, attacker.handle), "recovery of the attacker")
	wantOwnLines("after the plugin was replaced")
	ok(t, victim.stop(again, 20*time.Second, ""), "StopTask")
	victim.stdout.waitFor(t, 20*time.Second, "last\n")
	checkCounter(t, victim.stdout.text())
	ok(t, victim.destroy(again), "DestroyTask")
	ok(t, attacker.destroy(again), "DestroyTask of the attacker")
	wantNoSources(t, attacker.container(), "after DestroyTask")
}

/* Reports each open() of a file, but not with O_PATH. */
func watchOpens(t testing.TB, path string) (seen func() bool) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	ok(t, err, "inotify")
	t.Cleanup(func() { syscall.Close(fd) })
	_, err = syscall.InotifyAddWatch(fd, path, syscall.IN_OPEN)
	ok(t, err, "watching "+path)
	return func() bool {
		n, _ := syscall.Read(fd, make([]byte, 4096))
		return n > 0
	}
}

/*
 * Opening a device node can do harm: it starts a watchdog or rewinds a tape. A container may make
 * nodes in the folders that it shares with the host. The number of /dev/null stands for such a
 * device.
 */
func TestDeviceNodesAreNotOpened(t *testing.T) {
	paddockOnly(t, "opens them")
	p := launch(t)
	maker := newTask(t, p, "maker", shell(`mknod /whole/alloc/node c 1 3 && echo made; sleep 1000`)+"\nvolumes = [\"..:/whole\"]").start(p)
	maker.stdout.waitFor(t, 20*time.Second, "made\n")
	node := filepath.Join(maker.cfg.AllocDir, "alloc/node")
	seen := watchOpens(t, node)
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	ok(t, err, "opening the node")
	f.Close()
	if !seen() {
		t.Fatal("the opening of a node is not seen here")
	}
	fifo := func(k *task, swap bool) {
		if swap {
			/* the test's own reader must have opened the FIFO before, otherwise it opens the node */
			w, err := os.OpenFile(k.cfg.StdoutPath, os.O_WRONLY, 0)
			ok(t, err, "the FIFO")
			w.Close()
			eventually(t, 10*time.Second, "the reader ends", func() (bool, string) { return k.stdout.ended(), "" })
			ok(t, os.Rename(k.cfg.StdoutPath, k.cfg.StdoutPath+".away"), "moving the FIFO away")
			ok(t, os.Rename(node, k.cfg.StdoutPath), "the node in its place")
		} else {
			ok(t, os.Rename(k.cfg.StdoutPath, node), "moving the node back")
			ok(t, os.Rename(k.cfg.StdoutPath+".away", k.cfg.StdoutPath), "moving the FIFO back")
		}
	}
	for _, r := range []struct {
		name, block, refusal string
		swap                 func(*task, bool)
	}{
		{"seccomp", shell("true") + "\nsecurity_opt = [\"seccomp=../alloc/node\"]", "seccomp profile", nil},
		{"load", "image = \"paddock.test/none:1\"\nload = \"../../alloc/node\"", "not a regular file", nil},
		{"fifo", shell("true"), "log FIFO", fifo},
	} {
		t.Run(r.name, func(t *testing.T) {
			p.t = t
			k := newTask(maker.t, p, "next"+r.name, r.block, inAllocOf(t, maker)) /* the other rows need what it leaves */
			if r.swap != nil {
				r.swap(k, true)
				defer r.swap(k, false)
			}
			wantError(t, k.tryStart(p), r.name, r.refusal)
			if seen() {
				t.Error("the device node was opened")
			}
		})
	}
	ok(t, maker.destroy(p), "DestroyTask")
}

/* A helper's stdout can be the secret, and the helper must not get the agent's environment. */
func TestHelperGetsLittleAndIsQuotedLittle(t *testing.T) {
	paddockOnly(t, "passes everything on, and quotes stdout")
	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	for name, end := range map[string]string{"fails": "echo printed on stderr >&2; exit 3", "garbled": "exit 0"} {
		script := fmt.Sprintf("#!/bin/sh\nenv >%s\necho '{\"Username\":\"u\",\"Secret\":\"hunter2\"'\n%s\n", env, end)
		ok(t, os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(script), 0o755), "helper program")
	}
	for _, r := range []struct{ helper, words string }{{"fails", "exited with status 3: printed on stderr"}, {"garbled", "did not answer with JSON"}} {
		t.Run(r.helper, func(t *testing.T) {
			p := launchWith(t, launchOptions{
				config: baseConfig(fmt.Sprintf("auth { helper = %q }", r.helper)),
				env:    []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "VAULT_TOKEN=hunter2", "AWS_PROFILE=of-the-node"},
			})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ch, err := p.TaskEvents(ctx)
			ok(t, err, "TaskEvents")
			var said []string
			events := make(chan struct{})
			go func() {
				defer close(events)
				for e := range ch {
					if e.Err != nil {
						return
					}
					said = append(said, e.Message)
				}
			}()
			hard := newTask(t, p, "hard", `image = "127.0.0.1:1/nothing:1"`).tryStart(p)
			wantError(t, hard, "a helper that fails", "docker-credential-"+r.helper, r.words)
			soft := newTask(t, p, "soft", "image = \"127.0.0.1:1/nothing:1\"\nauth_soft_fail = true").tryStart(p)
			wantError(t, soft, "auth_soft_fail continues with the pull", "Failed to pull")
			cancel()
			<-events
			if !strings.Contains(p.stderr.String(), r.words) {
				t.Errorf("the log does not say why there are no credentials")
			}
			for what, text := range map[string]string{"error": hard.Error() + soft.Error(), "log": p.stderr.String(), "task events": strings.Join(said, "\n")} {
				if strings.Contains(text, "hunter2") {
					t.Errorf("the %s shows a secret:\n%s", what, text)
				}
			}
			given, err := os.ReadFile(env)
			ok(t, err, "the helper's environment")
			if strings.Contains(string(given), "hunter2") {
				t.Error("the helper gets VAULT_TOKEN")
			}
			if !strings.Contains(string(given), "AWS_PROFILE=of-the-node\n") {
				t.Error("the helper does not get AWS_PROFILE")
			}
		})
	}
}
