/*
 * Exclusive means exclusive: what could put a task on another task's core, and what could prevent a
 * report of it. Core 3 belongs to the `cores` task of the scene, cores 1 and 2 are the pool, and
 * core 0 is the system's. The cases share the plugin and its two tasks, because starting them takes
 * longer than a case.
 */
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const cpu3Online = "/sys/devices/system/cpu/cpu3/online"

/* The memory of the `cores` task, from 16 bytes doubled 21 times, so that its migration takes a
 * while. */
const heldBytes = 16 << 21

type exactScene struct {
	t             *T /* what lives as long as the scene */
	l             *layout
	h             *host
	shared, cores *task
}

func exactCases() ([]testCase, func()) {
	var s *exactScene
	stage := &T{name: "exact"}
	takeDown := func() {
		s = nil
		stage.cleanUp()
	}
	cases := []testCase{{"exact-upgrade-of-the-client", 6 * time.Minute, caseUpgrade}}
	for _, c := range []struct {
		name string
		run  func(t *T, s *exactScene)
	}{
		{"exact-pool-changes-in-a-start", casePoolChangesInStart},
		{"exact-every-core-reserved", caseEveryCoreReserved},
		{"exact-wanted-cpu-offline", caseWantedOffline},
		{"exact-contested-and-narrower", caseContestedNarrower},
		{"exact-plugin-back-before-dockerd", casePluginBackFirst},
		{"exact-crun-inner-cgroup", caseCrun},
		{"exact-own-threads-elsewhere", caseOwnThreads},
		{"exact-loop-ends", caseLoopEnds},
	} {
		c := c
		cases = append(cases, testCase{c.name, 6 * time.Minute, func(t *T) {
			good := false
			defer func() {
				if !good {
					t.atEnd(takeDown)
				}
			}()
			if s == nil {
				s = newExactScene(stage)
			}
			c.run(t, s)
			s.restore(t)
			good = true
		}})
	}
	return cases, takeDown
}

func newExactScene(t *T) *exactScene {
	s := &exactScene{t: t, l: newLayout(t, "1-3")}
	t.atEnd(func() { _ = writeFile(cpu3Online, "1") })
	s.launch(t, "unix://"+dockerSocket, true)
	s.shared = start(t, s.h, s.l, "shared", "", "exec sleep 100000")
	s.l.reserve(t, mustSet("3"))
	const hold = "x=aaaaaaaaaaaaaaaa; for i in $(seq 21); do x=$x$x; done; sleep 100000 & wait"
	s.cores = startWith(t, s.h, s.l.scope, "cores", "3", hold, map[string]any{"memory_hard_limit": 192})
	s.restore(t)
	return s
}

func (s *exactScene) launch(t *T, endpoint string, dockerIsUp bool) {
	h, prints := launchWith(s.t, map[string]any{
		"endpoint": endpoint, "allow_runtimes": []string{"runc", "crun"}, "cpuset": map[string]any{"mems": "follow"},
	})
	if dockerIsUp {
		t.healthy(prints)
	}
	s.h = h
}

/* The plugin is killed, things change, and a new plugin recovers the tasks. */
func (s *exactScene) restart(t *T, endpoint string, dockerIsUp bool, meanwhile func(), more ...*task) {
	s.h.crash(t)
	meanwhile()
	s.recoverTasks(t, endpoint, dockerIsUp, more...)
}

/* A new plugin recovers the tasks after the earlier one has ended. */
func (s *exactScene) recoverTasks(t *T, endpoint string, dockerIsUp bool, more ...*task) {
	s.launch(t, endpoint, dockerIsUp)
	all := append(more, s.shared, s.cores)
	t.together(len(all), func(i int) { t.ok(s.h.RecoverTask(all[i].handle), "RecoverTask "+all[i].cfg.Name) })
}

/* Restores the scene. */
func (s *exactScene) restore(t *T) {
	s.shared.becomes(t, mustSet("1-2"), tickLimit)
	s.cores.becomes(t, mustSet("3"), tickLimit)
}

func effectiveFile(k *task) string { return filepath.Join(k.cgroup, "cpuset.cpus.effective") }

/* The kernel's cpuset of the task's first process, which prints it. */
func firstAllowed(t *T, k *task) set {
	var line string
	t.eventually(20*time.Second, k.cfg.Name+": its first line", func() (bool, string) {
		k.stdout.mu.Lock()
		defer k.stdout.mu.Unlock()
		text := k.stdout.buf.String()
		found := false
		line, _, found = strings.Cut(text, "\n")
		return found, text
	})
	fields := strings.Fields(line)
	return mustSet(fields[len(fields)-1])
}

const printAllowed = "grep Cpus_allowed_list /proc/self/status; "

/* Calls act. Then the container must be on want within the limit. Only events are as fast as
 * that. */
func (k *task) follows(t *T, act func(), want string) {
	var s span
	t.asObserver(func() {
		s = t.swiftly(k.cfg.Name+" is on "+want, act, func() (bool, string) {
			return k.now() == mustSet(want), k.now().String()
		})
	})
	t.inTime(k.cfg.Name+" was on "+want+" after", []span{s})
}

/*
 * The scopes of a client 1.6 stay where they are when a newer client takes over the node, and are
 * no longer written. The new client's slices are read instead: for a task's own cores, for the
 * pool, and for the cores of tasks that this driver does not know.
 */
func caseUpgrade(t *T) {
	t.ok(os.MkdirAll(nomadSlice, 0o755), "cgroup")
	t.atEnd(func() { _ = os.Remove(nomadSlice) })
	oldScope := func(cpus string) func(t *T, alloc, task, cores string) string {
		return func(t *T, alloc, task, cores string) string {
			dir := filepath.Join(nomadSlice, alloc+"."+task+".scope")
			t.ok(os.Mkdir(dir, 0o755), "scope")
			enableControllers(t, cgroupRoot, nomadSlice)
			t.ok(writeFile(filepath.Join(dir, "cpuset.cpus"), cpus), "scope")
			t.atEnd(func() { _ = os.Remove(dir) })
			return dir
		}
	}
	h := launch(t)
	shared := startWith(t, h, oldScope("2-3"), "shared", "", "exec sleep 100000", nil)
	cores := startWith(t, h, oldScope("1-3"), "cores", "1", "exec sleep 100000", nil)
	shared.becomes(t, mustSet("2-3"), tickLimit)
	cores.becomes(t, mustSet("1-3"), tickLimit)

	/* systemd removes the controller from the slice. The client enables it again before it has
	 * written a set. */
	t.ok(writeFile(filepath.Join(nomadSlice, "cgroup.subtree_control"), "-cpuset"), "the controller")
	enableControllers(t, cgroupRoot, nomadSlice)
	cores.becomes(t, mustSet("1"), 5*time.Second)
	shared.reaches(t, "held", 5*time.Second)
	shared.becomes(t, mustSet("2-3"), 0)
	t.ok(writeFile(filepath.Join(shared.scope, "cpuset.cpus"), "2-3"), "scope")
	t.ok(writeFile(filepath.Join(cores.scope, "cpuset.cpus"), "1-3"), "scope")
	shared.reaches(t, "pinned", 5*time.Second)
	cores.becomes(t, mustSet("1-3"), tickLimit)

	h.crash(t)
	l := newLayout(t, "1-3")
	l.reserve(t, mustSet("1"))
	h = launch(t)
	for _, k := range []*task{shared, cores} {
		t.ok(h.RecoverTask(k.handle), "RecoverTask "+k.cfg.Name)
	}
	cores.becomes(t, mustSet("1"), tickLimit)
	shared.becomes(t, mustSet("2-3"), tickLimit)
	shared.follows(t, func() { l.reserve(t, mustSet("3")) }, "2")
	shared.follows(t, func() { l.release(t, mustSet("3")) }, "2-3")
	if text, err := readSet(filepath.Join(shared.scope, "cpuset.cpus")); err != nil || text != mustSet("2-3") {
		t.fatalf("the simulated layout is not the real one: the client has written the old scope: %s %v", text, err)
	}
}

/* A core is reserved while dockerd creates the container. Docker's record is right, and so is
 * the first instruction. */
func casePoolChangesInStart(t *T, s *exactScene) {
	proxy := &dockerProxy{created: func() {}}
	proxy.serve(s.t)
	s.restart(t, "unix://"+proxySocket, true, func() {})
	proxy.created = func() { s.l.reserve(t, mustSet("2")) }
	k := start(t, s.h, s.l, "late", "", printAllowed+"exec sleep 100000")
	proxy.created = func() {}
	if got := firstAllowed(t, k); got != mustSet("1") {
		t.fatalf("core 2 was reserved before the start, and the first process was allowed on %s", got)
	}
	if got := mustSet(k.box.HostConfig.CpusetCpus); got != mustSet("1") {
		t.fatalf("docker inspect reports %s, not 1", got)
	}
	k.end(t, s.h)
	s.l.release(t, mustSet("2"))
}

/*
 * No core is left to share. Four shared tasks must be on core 0, which is not reserved: one that
 * runs, one that starts, both after the plugin was killed, one whose source was removed since, and
 * a busy one that starts after that.
 */
func caseEveryCoreReserved(t *T, s *exactScene) {
	s.shared.follows(t, func() { s.l.reserve(t, mustSet("1-2")) }, "0")
	o := observe()
	t.atEnd(o.end)
	t.ok(o.expect(effectiveFile(s.shared), mustSet("0")), "observer")
	t.ok(o.expect(effectiveFile(s.cores), mustSet("3")), "observer")
	starts := func(name, script string) *task {
		k := start(t, s.h, s.l, name, "", printAllowed+script)
		if got := firstAllowed(t, k); got != mustSet("0") {
			t.fatalf("%s: its first process was allowed on %s", name, got)
		}
		if got := mustSet(k.box.HostConfig.CpusetCpus); got != mustSet("0") {
			t.fatalf("%s: docker inspect reports %s", name, got)
		}
		t.ok(o.expect(effectiveFile(k), mustSet("0")), "observer")
		return k
	}
	first := starts("first", "exec sleep 100000")
	orphan := start(t, s.h, s.l, "orphan", "", "exec sleep 100000")
	s.restart(t, "unix://"+dockerSocket, true, func() {
		t.ok(os.Remove(orphan.scope), "the source of orphan")
		t.ok(writeFile(orphan.cpusFile(), "0-3"), "outside write")
	}, first, orphan)
	orphan.becomes(t, mustSet("0"), tickLimit)
	busy := starts("again", "while :; do :; done")
	for end, n := time.Now().Add(time.Second), 0; time.Now().Before(end); n++ {
		if cpu := lastCPU(t, busy.box.State.Pid); cpu != 0 {
			t.fatalf("look %d: the busy shared task runs on core %d", n, cpu)
		}
		pause(lookEvery)
	}
	for _, k := range []*task{s.shared, s.cores, first, busy} {
		wrong, _, err := o.seen(effectiveFile(k))
		t.ok(err, "observer")
		if len(wrong) > 0 {
			t.fatalf("%s was allowed on%s", k.cfg.Name, describe(wrong))
		}
	}
	for _, k := range []*task{busy, orphan, first} {
		k.end(t, s.h)
	}
	s.l.release(t, mustSet("1-2"))
}

/* The CPU on which the process was seen last. */
func lastCPU(t *T, pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	t.ok(err, "the process")
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 37 {
		t.fatalf("/proc/%d/stat: %s", pid, data)
	}
	cpu, err := strconv.Atoi(fields[36])
	t.ok(err, "the CPU")
	return cpu
}

/*
 * The only CPU of a `cores` task goes offline. The kernel puts it on its parent's CPUs, with those
 * of other tasks. It must be where no other task is. Its memory moves with it, and comes back.
 */
func caseWantedOffline(t *T, s *exactScene) {
	near, far := nodeOf(t, 3), nodeOf(t, 0)
	if got, err := readSet(filepath.Join(s.cores.cgroup, "cpuset.mems")); err != nil || got != 1<<near {
		t.fatalf("on core 3 the memory comes from the nodes %s, not from %d: %v", got, near, err)
	}
	s.memoryIsOn(t, near)
	s.l.reserve(t, mustSet("2"))
	s.shared.becomes(t, mustSet("1"), tickLimit)
	effective := func() set {
		cpus, err := readSet(effectiveFile(s.cores))
		t.ok(err, "the container's effective set")
		return cpus
	}
	var on, off span
	t.asObserver(func() {
		t.ok(writeFile(cpu3Online, "0"), "CPU 3 off")
		off = t.swiftly("the task of CPU 3 is on a free core", func() {}, func() (bool, string) {
			return effective() == mustSet("0-1"), effective().String()
		})
	})
	s.cores.becomes(t, mustSet("0-1"), tickLimit)
	s.cores.reaches(t, "spilled", 5*time.Second)
	s.cores.getsEvent(t, s.h, "cpuset spilled: no CPU of 3 is online or allowed, running on 0-1", 5*time.Second)
	s.memoryIsOn(t, far)
	t.asObserver(func() {
		t.ok(writeFile(cpu3Online, "1"), "CPU 3 on")
		on = t.swiftly("the task of CPU 3 is back there", func() {}, func() (bool, string) {
			return effective() == mustSet("3"), effective().String()
		})
	})
	s.memoryIsOn(t, near)
	s.cores.reaches(t, "pinned", 5*time.Second)
	t.inTime("off the cores of others, and back on its own, after", []span{off, on})
	t.note("off the cores of others after %s, back on its own after %s", off, on)
	s.l.release(t, mustSet("2"))
}

func nodeOf(t *T, cpu int) int {
	nodes, err := filepath.Glob(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/node[0-9]*", cpu))
	if err != nil || len(nodes) != 1 {
		t.fatalf("the guest is not a NUMA machine: %v, %v", nodes, err)
	}
	node, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(nodes[0]), "node"))
	t.ok(err, "node")
	return node
}

/* The memory of the `cores` task is on this node, except for a hundredth. */
func (s *exactScene) memoryIsOn(t *T, node int) {
	t.eventually(10*time.Second, fmt.Sprintf("the memory is on node %d", node), func() (bool, string) {
		data, err := os.ReadFile(filepath.Join(s.cores.cgroup, "memory.numa_stat"))
		t.ok(err, "memory.numa_stat")
		line, _, _ := strings.Cut(string(data), "\n")
		here, elsewhere := 0, 0
		for _, field := range strings.Fields(line)[1:] {
			name, value, _ := strings.Cut(field, "=")
			n, err := strconv.Atoi(value)
			t.ok(err, line)
			if name == fmt.Sprintf("N%d", node) {
				here = n
			} else {
				elsewhere += n
			}
		}
		return here >= heldBytes && elsewhere < heldBytes/100, line
	})
}

/*
 * Another program writes the set again and again, so that the repair of these writes waits for the
 * tick as long as they do no harm. Nomad's own change does not wait.
 */
func caseContestedNarrower(t *T, s *exactScene) {
	k := start(t, s.h, s.l, "contested", "", "exec sleep 100000")
	k.becomes(t, mustSet("1-2"), tickLimit)
	t.asObserver(func() {
		for i := 0; i < 10; i++ {
			overwrite(t, k, mustSet("1-2"))
		}
	})
	k.reaches(t, "contested", 5*time.Second)
	t.ok(writeFile(k.cpusFile(), "0-2"), "outside write to free cores")
	k.follows(t, func() { s.l.reserve(t, mustSet("1")) }, "2")
	k.follows(t, func() { s.l.release(t, mustSet("1")) }, "1-2")
	/* a pool that becomes smaller without a reservation while the container is elsewhere */
	t.ok(writeFile(k.cpusFile(), "0"), "outside write to free cores")
	k.follows(t, func() {
		s.l.usable = mustSet("2-3")
		s.l.write(t)
	}, "2")
	s.l.usable = mustSet("1-3")
	s.l.write(t)
	k.end(t, s.h)
}

/* dockerd is down when the plugin comes back. What the plugin knows from the handles is enough
 * to guard the tasks. */
func casePluginBackFirst(t *T, s *exactScene) {
	t.atEnd(func() { _, _ = sh("systemctl", "start", "docker.socket", "docker.service") })
	t.sh("systemctl", "stop", "docker.socket", "docker.service")
	s.restart(t, "unix://"+dockerSocket, false, func() {
		t.ok(writeFile(s.shared.cpusFile(), "0-3"), "outside write")
	})
	s.restore(t)
	s.shared.repairs(t, mustSet("1-2"), "before dockerd is back,")
	s.cores.repairs(t, mustSet("3"), "before dockerd is back,")
	s.shared.follows(t, func() { s.l.reserve(t, mustSet("1")) }, "2")
	s.l.release(t, mustSet("1"))
	t.sh("systemctl", "start", "docker.socket", "docker.service")
	t.eventually(60*time.Second, "dockerd is back", func() (bool, string) {
		box, err := inspect(s.shared.box.ID)
		return err == nil && box.State.Running, fmt.Sprint(err)
	})
	s.shared.repairs(t, mustSet("1-2"), "after dockerd is back,")
}

/* crun puts the container's process one level deeper, into a cgroup with the set of the create
 * request. */
func caseCrun(t *T, s *exactScene) {
	s.l.reserve(t, mustSet("2"))
	k := startWith(t, s.h, s.l.scope, "crun", "", "exec sleep 100000", map[string]any{"runtime": "crun"})
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", k.box.State.Pid))
	t.ok(err, "the process")
	inner := filepath.Join(cgroupRoot, strings.TrimSpace(strings.TrimPrefix(string(data), "0::")))
	if text, err := readSet(filepath.Join(inner, "cpuset.cpus")); inner == k.cgroup || err != nil || text != mustSet("1") {
		t.fatalf("crun is not what it was: %s has %s, %v", inner, text, err)
	}
	innerIs := func(want string) {
		t.eventually(tickLimit, "the process is on "+want, func() (bool, string) {
			cpus, err := readSet(filepath.Join(inner, "cpuset.cpus.effective"))
			return err == nil && cpus == mustSet(want), fmt.Sprint(cpus, err)
		})
	}
	k.follows(t, func() { s.l.release(t, mustSet("2")) }, "1-2")
	innerIs("1-2")
	k.follows(t, func() { s.l.reserve(t, mustSet("1")) }, "2")
	innerIs("2")
	s.l.release(t, mustSet("1"))
	innerIs("1-2")
	k.end(t, s.h)
}

/* The reconciler's loop gets an error that it cannot handle. The plugin reports it and exits,
 * and the agent starts another one. */
func caseLoopEnds(t *T, s *exactScene) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", s.h.pid))
	t.ok(err, "threads")
	thread := ""
	for _, name := range names {
		if data, _ := os.ReadFile(name); string(data) == "pin\n" {
			thread = filepath.Base(filepath.Dir(name))
		}
	}
	const calls = "epoll_pwait2,epoll_wait,epoll_pwait"
	out, _ := sh("timeout", "20", "strace", "-p", thread, "-o", "/dev/null", "-e", "trace="+calls, "-e", "inject="+calls+":error=EBADF")
	t.eventually(5*time.Second, "the plugin has exited", func() (bool, string) { return s.h.client.Exited(), out })
	t.eventually(5*time.Second, "its last word", func() (bool, string) {
		all := pluginStderr.String()
		return strings.Contains(all, "the reconciler has ended") && strings.Contains(all, "cpusets are not kept any more"), all
	})
	t.ok(writeFile(s.shared.cpusFile(), "0-3"), "outside write")
	s.recoverTasks(t, "unix://"+dockerSocket, true)
}

/* No thread of the plugin or of the log pump may run on a reserved core. */
func caseOwnThreads(t *T, s *exactScene) {
	off := func(reserved string) {
		t.eventually(tickLimit, "all threads are off "+reserved, func() (bool, string) {
			all, err := threadsMayRun()
			t.ok(err, "threads")
			processes, bad := map[string]bool{}, ""
			for name, mask := range all {
				processes[strings.SplitN(name, "/", 2)[0]] = true
				if mask&mustSet(reserved) != 0 || mask == 0 {
					bad += fmt.Sprintf(" %s: %s", name, mask)
				}
			}
			if len(processes) < 2 {
				t.fatalf("plugin and log pump are not there: %v", all)
			}
			return bad == "", bad
		})
	}
	off("3")
	s.l.reserve(t, mustSet("1"))
	off("1,3")
	s.l.reserve(t, mustSet("2"))
	off("1-3")
	s.l.release(t, mustSet("1-2"))
	off("3")
	all, err := threadsMayRun()
	t.ok(err, "threads")
	for name, mask := range all {
		if mask != mustSet("0-2") {
			t.fatalf("%s may run on %s: cores 1 and 2 are free again", name, mask)
		}
	}
}
