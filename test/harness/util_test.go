/*
 * Deadlines, and the checks for what a run leaves.
 *
 * No test sleeps for a guessed time. within() puts a deadline on a call that has none. eventually()
 * checks a condition until it is true, and reports the last state at the deadline.
 */
package harness

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

/* Runs f; fails the test at the deadline. Nomad's driver client has calls without a context. */
func within(t testing.TB, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		stacks := make([]byte, 1<<16)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if os.Getenv("HARNESS_STACKS") != "" {
			t.Logf("%s", stacks)
		}
		t.Fatalf("%s: no answer within %v", what, limit)
	}
}

/* within() for calls that return an error. */
func errWithin(t testing.TB, limit time.Duration, what string, f func() error) error {
	t.Helper()
	var err error
	within(t, limit, what, func() { err = f() })
	return err
}

/* Checks every 10 ms. cond returns whether it is true, and the state. */
func eventually(t testing.TB, limit time.Duration, what string, cond func() (bool, string)) {
	t.Helper()
	if saw, ok := poll(limit, cond); !ok {
		t.Fatalf("%s: not within %v; last seen: %s", what, limit, saw)
	}
}

func poll(limit time.Duration, cond func() (bool, string)) (saw string, ok bool) {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, saw = cond(); ok {
			return saw, true
		}
		if time.Now().After(deadline) {
			return saw, false
		}
		<-tick.C
	}
}

func ok(t testing.TB, err error, what string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

/* The error must exist and contain each of the words. */
func wantError(t testing.TB, err error, rule string, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error at all", rule)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("%s: the error does not say %q: %v", rule, w, err)
		}
	}
}

func joinLines(lines []string) string { return strings.Join(lines, "\n  ") }

/* A writer that several threads may write to and read from. */
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *buffer) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Len()
}

/* A process, from /proc. */
type process struct {
	pid  int
	exe  string
	argv []string
}

func (p process) String() string { return fmt.Sprintf("pid %d: %s", p.pid, strings.Join(p.argv, " ")) }

/* The processes whose program file or working socket is below dir, without this process. */
func processesBelow(dir string) []process {
	var out []process
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err != nil || !strings.HasPrefix(exe, dir+"/") {
			continue
		}
		out = append(out, process{pid, strings.TrimSuffix(exe, " (deleted)"), argvOf(pid)})
	}
	return out
}

func argvOf(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	/* a zombie is dead: its parent (this process, through go-plugin) has not waited for it yet */
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	rest := string(data[bytes.LastIndexByte(data, ')')+1:])
	fields := strings.Fields(rest)
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}

func killBelow(dir string) {
	for _, p := range processesBelow(dir) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

/* Kills containers and shims of a dockerd that could no longer remove them. */
func killShims(dir string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		argv := argvOf(pid)
		if len(argv) < 5 || !strings.Contains(argv[0], "containerd-shim") || !strings.Contains(strings.Join(argv, " "), dir+"/") {
			continue
		}
		for i, a := range argv[:len(argv)-1] {
			if a == "-id" {
				killCgroup(argv[i+1])
			}
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func killCgroup(container string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
		data, err := os.ReadFile(filepath.Join(root, "docker", container, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(f); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

func mountsBelow(dir string) []string {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	var out []string
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			out = append(out, f[4])
		}
	}
	return out
}

func unmountBelow(dir string) {
	mounts := mountsBelow(dir)
	for i := len(mounts) - 1; i >= 0; i-- {
		_ = syscall.Unmount(mounts[i], syscall.MNT_DETACH)
	}
}

/*
 * What is left of what the tests made: plugin processes, containers, sockets, mounts of alloc
 * directories. Processes and containers get a moment to end.
 */
func leftovers(limit time.Duration) []string {
	var left []string
	poll(limit, func() (bool, string) {
		left = nil
		for _, p := range processesBelow(filepath.Join(run.dir, "bin")) {
			left = append(left, "process "+p.String())
		}
		list, err := run.docker.List()
		if err != nil {
			left = append(left, "listing containers: "+err.Error())
		}
		for _, c := range list {
			left = append(left, fmt.Sprintf("container %.12s %v %s", c.ID, c.Names, c.State))
		}
		for _, m := range mountsBelow(filepath.Join(run.dir, "alloc")) {
			left = append(left, "mount "+m)
		}
		for dir := range pumpDirs.all {
			for _, m := range mountsBelow(dir + "-volumes") {
				left = append(left, "mount "+m)
			}
		}
		for _, s := range socketsBelow(filepath.Join(run.dir, "t")) {
			left = append(left, "socket "+s)
		}
		/* last, because a check of a pump's socket is a connection, which a pump without tasks takes
		 * for work */
		if len(left) == 0 {
			for _, s := range deadSockets() {
				left = append(left, "socket without a listener: "+s)
			}
		}
		return len(left) == 0, ""
	})
	return left
}

/* The folders of this run's log pumps, as their command lines name them. */
var pumpDirs = struct {
	sync.Mutex
	all map[string]bool
}{all: map[string]bool{}}

/* Sockets of pumps that have ended. */
func deadSockets() []string {
	var out []string
	for dir := range pumpDirs.all {
		for _, s := range socketsBelow(dir) {
			if c, err := net.Dial("unix", s); err == nil {
				c.Close()
			} else {
				out = append(out, s)
			}
		}
	}
	return out
}

func socketsBelow(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type()&os.ModeSocket != 0 {
			out = append(out, path)
		}
		return nil
	})
	return out
}

func childrenOf(pid int) []process {
	var out []process
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			out = append(out, process{pid: child, argv: argvOf(child)})
		}
	}
	return out
}

/* Ends a plugin process by SIGTERM, as an administrator would. It is a failure when it does not
 * end. */
func endProcess(t testing.TB, pid int) {
	t.Helper()
	_ = syscall.Kill(pid, syscall.SIGTERM)
	if _, gone := poll(5*time.Second, func() (bool, string) { return !alive(pid), "" }); !gone {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Errorf("pid %d did not end within 5 s of SIGTERM", pid)
	}
	if run.isRef {
		removeSockets() /* the reference does not remove its socket */
	}
}

/* For tests that do not run in parallel: every socket below our temporary directory is then
 * dead. */
func removeSockets() {
	for _, s := range socketsBelow(os.TempDir()) {
		os.Remove(s)
	}
}

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o666) }

/* Lets a container continue that waits for a line from a FIFO. */
func openGate(t testing.TB, path string) {
	t.Helper()
	ok(t, errWithin(t, 20*time.Second, "the container opens its gate", func() error {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer w.Close()
		_, err = w.WriteString("go\n")
		return err
	}), "gate")
}

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	ok(t, err, "a number")
	return n
}

/* Removes the socket of a process that was killed, and the private directory around it. */
func removeSocket(path string) {
	os.Remove(path)
	if dir := filepath.Dir(path); dir != os.TempDir() {
		os.Remove(dir)
	}
}
