package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

/* How late the tick may be: its second, and the time that an emulated machine needs. */
const tickLimit = 1500 * time.Millisecond

func poolCases() []testCase {
	at := "/" + cgroupDriver()
	return []testCase{
		{"layout-first-instruction" + at, 2 * time.Minute, caseFirstInstruction},
		{"layout-shared-follows-pool" + at, 2 * time.Minute, caseSharedFollows},
		{"layout-cores-stay-apart" + at, 2 * time.Minute, caseCoresApart},
		{"layout-all-reserved-and-released" + at, 2 * time.Minute, caseAllReserved},
		{"layout-cpu-offline-online" + at, 2 * time.Minute, caseCPUOffline},
	}
}

func lifeCases() []testCase {
	at := "/" + cgroupDriver()
	return []testCase{
		{"layout-plugin-killed-and-back" + at, 3 * time.Minute, casePluginKilled},
		{"layout-dockerd-restart-live-restore" + at, 3 * time.Minute, caseDockerdRestart},
		{"layout-oom-reported" + at, 3 * time.Minute, caseOOM},
		{"layout-stats-are-the-kernels" + at, 2 * time.Minute, caseStats},
		{"layout-nothing-left" + at, 2 * time.Minute, caseNothingLeft},
	}
}

/* The task prints the kernel's cpuset of its very first process. */
func caseFirstInstruction(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	l.reserve(t, mustSet("1"))
	const script = "grep Cpus_allowed_list /proc/self/status; exec sleep 100000"
	for _, c := range []struct{ name, cores, want string }{{"shared", "", "2-3"}, {"cores", "1", "1"}} {
		k := start(t, h, l, c.name, c.cores, script)
		var text string
		t.eventually(20*time.Second, c.name+": its first line", func() (bool, string) {
			k.stdout.mu.Lock()
			defer k.stdout.mu.Unlock()
			text = k.stdout.buf.String()
			return strings.Contains(text, "\n"), text
		})
		fields := strings.Fields(text)
		if got := mustSet(fields[len(fields)-1]); got != mustSet(c.want) {
			t.fatalf("%s: its first process was allowed on %s, not on %s", c.name, got, c.want)
		}
		if got := mustSet(k.box.HostConfig.CpusetCpus); got != mustSet(c.want) {
			t.fatalf("%s: created with %s, not with %s", c.name, got, c.want)
		}
	}
}

/* The pool shrinks and grows. The shared task follows share.slice immediately. */
func caseSharedFollows(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	k := start(t, h, l, "shared", "", "exec sleep 100000")
	k.becomes(t, mustSet("1-3"), tickLimit)
	var all []span
	for _, step := range []struct {
		reserve bool
		cores   string
		want    string
	}{{true, "1", "2-3"}, {true, "3", "2"}, {false, "1", "1-2"}, {false, "3", "1-3"}} {
		change := l.release
		if step.reserve {
			change = l.reserve
		}
		t.asObserver(func() {
			all = append(all, t.swiftly("the shared task follows", func() { change(t, mustSet(step.cores)) },
				func() (bool, string) { return k.now() == mustSet(step.want), k.now().String() }))
		})
	}
	t.inTime("the shared task followed after", all)
}

/* reserve.slice contains the cores of both tasks. Each task is still alone on its own cores. */
func caseCoresApart(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	l.reserve(t, mustSet("1"))
	one := start(t, h, l, "one", "1", "exec sleep 100000")
	l.reserve(t, mustSet("2"))
	two := start(t, h, l, "two", "2", "exec sleep 100000")
	effective, err := readSet(filepath.Join(one.scope, "cpuset.cpus.effective"))
	t.ok(err, "the scope")
	if effective != mustSet("1-2") {
		t.fatalf("the played layout is not the real one: a reserve scope's effective set is %s", effective)
	}
	o := observe()
	t.atEnd(o.end)
	t.ok(o.expect(one.cpusFile(), mustSet("1")), "observer")
	t.ok(o.expect(two.cpusFile(), mustSet("2")), "observer")
	window(t, 2500*time.Millisecond) /* two ticks */
	for _, k := range []*task{one, two} {
		if wrong, _, err := o.seen(k.cpusFile()); err != nil || len(wrong) > 0 {
			t.fatalf("%s left its core: %v%s", k.cfg.Name, err, describe(wrong))
		}
	}
	/* and it is back there after an outside write */
	one.repairs(t, mustSet("1"), "two cores tasks;")
}

/* The last core is reserved: share.slice is blank, and its effective set is all CPUs. A shared
 * task leaves the reserved cores. It runs on CPU 0, which is online and not reserved. */
func caseAllReserved(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	k := start(t, h, l, "shared", "", "exec sleep 100000")
	l.reserve(t, mustSet("1"))
	k.becomes(t, mustSet("2-3"), tickLimit)
	k.settles(t, mustSet("2-3"))
	l.reserve(t, mustSet("2-3"))
	effective, err := readSet(filepath.Join(k.scope, "cpuset.cpus.effective"))
	t.ok(err, "the scope")
	if effective&mustSet("1") == 0 {
		t.fatalf("the played layout is not the real one: with all reserved the shared scope has %s", effective)
	}
	k.becomes(t, mustSet("0"), tickLimit)
	o := observe()
	t.atEnd(o.end)
	t.ok(o.expect(k.cpusFile(), mustSet("0")), "observer")
	window(t, 2500*time.Millisecond) /* two ticks */
	wrong, _, err := o.seen(k.cpusFile())
	t.ok(err, "observer")
	if len(wrong) > 0 {
		t.fatalf("with every core reserved the shared task is to stay on CPU 0; it became%s", describe(wrong))
	}
	l.release(t, mustSet("2"))
	k.becomes(t, mustSet("2"), tickLimit)
	l.release(t, mustSet("1,3"))
	k.becomes(t, mustSet("1-3"), tickLimit)
}

/* A CPU goes offline and comes back. */
func caseCPUOffline(t *T) {
	const online = "/sys/devices/system/cpu/cpu3/online"
	l := newLayout(t, "1-3")
	h := launch(t)
	l.reserve(t, mustSet("1"))
	k := start(t, h, l, "shared", "", "exec sleep 100000")
	k.becomes(t, mustSet("2-3"), tickLimit)
	t.atEnd(func() { _ = writeFile(online, "1") })
	effective := func() set {
		s, err := readSet(filepath.Join(k.cgroup, "cpuset.cpus.effective"))
		t.ok(err, "the container's effective set")
		return s
	}
	never := func() {
		if s := effective(); s&mustSet("0-1") != 0 {
			t.fatalf("the container runs on %s", s)
		}
	}
	t.ok(writeFile(online, "0"), "CPU 3 off")
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); window(t, 5*time.Millisecond) {
		never()
	}
	if s := effective(); s != mustSet("2") {
		t.fatalf("with CPU 3 off the container runs on %s", s)
	}
	t.ok(writeFile(online, "1"), "CPU 3 on")
	t.eventually(2*tickLimit, "back on 2-3", func() (bool, string) {
		never()
		return effective() == mustSet("2-3"), effective().String()
	})
	k.becomes(t, mustSet("2-3"), tickLimit)
}

/* kill -9: the container keeps running, RecoverTask recovers it, and what was overwritten since
 * then is repaired. */
func casePluginKilled(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	l.reserve(t, mustSet("1"))
	shared := start(t, h, l, "shared", "", "exec sleep 100000")
	cores := start(t, h, l, "cores", "1", "exec sleep 100000")
	shared.becomes(t, mustSet("2-3"), tickLimit)
	h.crash(t)
	for _, k := range []*task{shared, cores} {
		t.ok(writeFile(k.cpusFile(), "0-3"), "outside write")
		box, err := inspect(k.box.ID)
		t.ok(err, "the container after the crash")
		if !box.State.Running || box.State.StartedAt != k.box.State.StartedAt {
			t.fatalf("%s did not live through the plugin's death", k.cfg.Name)
		}
	}
	l.reserve(t, mustSet("3")) /* the pool changes while no plugin runs */
	h = launch(t)
	for _, k := range []*task{shared, cores} {
		t.ok(h.RecoverTask(k.handle), "RecoverTask "+k.cfg.Name)
	}
	shared.becomes(t, mustSet("2"), tickLimit)
	cores.becomes(t, mustSet("1"), tickLimit)
	/* from now on immediately again */
	cores.repairs(t, mustSet("1"), "after the recovery")
}

/* dockerd stops and starts (live-restore). Containers keep running, and stay where they belong
 * while it is down. */
func caseDockerdRestart(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	k := start(t, h, l, "shared", "", "exec sleep 100000")
	k.becomes(t, mustSet("1-3"), tickLimit)
	t.atEnd(func() { _, _ = sh("systemctl", "start", "docker.service") })
	t.sh("systemctl", "stop", "docker.socket", "docker.service")
	if _, err := os.Stat(k.cgroup); err != nil {
		t.fatalf("live-restore is off in this guest: %v", err)
	}
	l.reserve(t, mustSet("1"))
	k.becomes(t, mustSet("2-3"), tickLimit)
	k.repairs(t, mustSet("2-3"), "without dockerd")
	t.sh("systemctl", "start", "docker.socket", "docker.service")
	t.eventually(60*time.Second, "dockerd is back", func() (bool, string) {
		_, err := inspect(k.box.ID)
		return err == nil, fmt.Sprint(err)
	})
	k.repairs(t, mustSet("2-3"), "after dockerd's return")
	status, err := h.InspectTask(k.cfg.ID)
	t.ok(err, "InspectTask")
	if status.State != drivers.TaskStateRunning {
		t.fatalf("the task is %s", status.State)
	}
	box, err := inspect(k.box.ID)
	t.ok(err, "inspect")
	if box.State.StartedAt != k.box.State.StartedAt {
		t.fatalf("the container was restarted")
	}
}

/* TaskStats reports what cgroup v2's files contain: CPU over a period, memory now. */
func caseStats(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	k := start(t, h, l, "stats", "", "head -c 8000000 /dev/zero >/dev/shm/x; echo up; while :; do i=$((i+1)); done")
	t.eventually(20*time.Second, "the task is up", func() (bool, string) {
		k.stdout.mu.Lock()
		defer k.stdout.mu.Unlock()
		return k.stdout.buf.String() == "up\n", k.stdout.buf.String()
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stats, err := h.TaskStats(ctx, k.cfg.ID, 200*time.Millisecond)
	t.ok(err, "TaskStats")
	next := func() *drivers.TaskResourceUsage {
		select {
		case s, open := <-stats:
			if open {
				return s
			}
			t.fatalf("the stream ended while the task runs")
		case <-time.After(20 * time.Second):
			t.fatalf("no sample within 20 s")
		}
		return nil
	}
	first := next()
	before := number(t, k, "cpu.stat", "usage_usec ")
	last, used := first, 0.0
	for last.Timestamp-first.Timestamp < int64(3*time.Second) {
		s := next()
		used += s.ResourceUsage.CpuStats.Percent / 100 * float64(s.Timestamp-last.Timestamp) / 1e3
		last = s
	}
	counted := number(t, k, "cpu.stat", "usage_usec ") - before
	near := func(what string, ours, kernels, slack float64) {
		if math.Abs(ours-kernels) > slack {
			t.fatalf("%s: %.0f, the kernel's %.0f", what, ours, kernels)
		}
	}
	near("us of CPU", used, counted, 0.25*counted+200000)
	cpu, mem := last.ResourceUsage.CpuStats, last.ResourceUsage.MemoryStats
	if cpu.Percent < 20 || cpu.TotalTicks <= 0 {
		t.fatalf("a busy loop: %+v", cpu)
	}
	const slack = 1 << 20
	near("memory in use", float64(mem.Usage), number(t, k, "memory.current", ""), slack)
	near("the most ever in use", float64(mem.MaxUsage), number(t, k, "memory.peak", ""), slack)
	near("resident memory", float64(mem.RSS), number(t, k, "memory.stat", "anon "), slack)
	near("cache", float64(mem.Cache), number(t, k, "memory.stat", "file "), slack)
	if mem.Cache < 8000000 {
		t.fatalf("8 MB in a tmpfs: cache %d", mem.Cache)
	}
	k.end(t, h)
}

/* A number in a file of the container's cgroup: the line that begins with the key. */
func number(t *T, k *task, file, key string) float64 {
	data, err := os.ReadFile(filepath.Join(k.cgroup, file))
	t.ok(err, file)
	for _, line := range strings.Split(string(data), "\n") {
		if text, found := strings.CutPrefix(line, key); found && line != "" {
			n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			t.ok(err, file+": "+key)
			return n
		}
	}
	t.fatalf("%s does not contain %q", file, key)
	return 0
}

/* After StopTask and DestroyTask neither the container nor a cgroup of it exists. */
func caseNothingLeft(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	l.reserve(t, mustSet("1"))
	shared := start(t, h, l, "shared", "", "exec sleep 100000")
	cores := start(t, h, l, "cores", "1", "exec sleep 100000")
	shared.end(t, h)
	cores.end(t, h)
	t.eventually(20*time.Second, "no containers and cgroups", func() (bool, string) {
		names, err := containers()
		left := containerCgroups()
		return err == nil && len(names) == 0 && len(left) == 0, fmt.Sprint(names, left, err)
	})
}
