/*
 * What restores an old cpuset, event by event, with the layout of clients from 1.7 on. A shared
 * container is created with 1-3. Then core 1 is reserved for a `cores` task, so that the shared one
 * belongs on 2-3. Then one of the things happens that people do on a server. There are two
 * promises. The right set is back within 50 ms each time. Where systemd has the unit's own
 * AllowedCPUs, the set is never lost.
 */
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

/* GUEST_REPAIR_MS is for a trial of the cases with a driver that promises less. */
var repairLimit = envMillis("GUEST_REPAIR_MS", 50*time.Millisecond)

func envMillis(name string, otherwise time.Duration) time.Duration {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return time.Duration(n) * time.Millisecond
	}
	return otherwise
}

/* The number of writes in a row. Ten within 10 s would count as another writer, which waits for
 * the tick. */
const outsideWrites = 3

/* The containers are watched this long after the event, because systemd and dockerd do their
 * part later. */
const watchFor = 2 * time.Second

/* Whether a row is run with the cgroupfs driver, too. With it the container has no unit of
 * systemd. */
type alsoCgroupfs int

const (
	never     alsoCgroupfs = iota /* the row needs the unit */
	byCommand                     /* GUEST_ROWS=all: systemd has a smaller part in it than in another row */
	always
)

type row struct {
	name string
	keep bool /* with the systemd cgroup driver: the set is never lost */
	also alsoCgroupfs
	do   func(t *T, s *rowScene)
}

type rowScene struct {
	h      *host
	l      *layout
	shared *task
	cores  *task
	extra  int
}

/* Another container starts and is removed. */
func (s *rowScene) otherContainer(t *T, cpus string) {
	s.extra++
	name := fmt.Sprintf("other%d", s.extra)
	docker(t, "POST", "/containers/create?name="+name, map[string]any{
		"Image": image, "Cmd": []string{"true"}, "HostConfig": map[string]any{"NetworkMode": "host", "CpusetCpus": cpus},
	})
	docker(t, "POST", "/containers/"+name+"/start", nil)
	docker(t, "POST", "/containers/"+name+"/wait", nil)
	docker(t, "DELETE", "/containers/"+name, nil)
}

var rows = []row{
	{"containers-come-and-go", true, byCommand, func(t *T, s *rowScene) {
		s.otherContainer(t, "")
		s.otherContainer(t, "1-3")
	}},
	{"daemon-reload", true, byCommand, func(t *T, s *rowScene) { t.sh("systemctl", "daemon-reload") }},
	{"daemon-reexec", true, byCommand, func(t *T, s *rowScene) { t.sh("systemctl", "daemon-reexec") }},
	{"daemon-reload-then-a-unit", true, always, func(t *T, s *rowScene) {
		t.sh("systemctl", "daemon-reload")
		s.otherContainer(t, "")
		t.sh("systemctl", "restart", "systemd-networkd.service")
	}},
	{"docker-update-memory", true, always, func(t *T, s *rowScene) {
		for _, k := range []*task{s.shared, s.cores} {
			docker(t, "POST", "/containers/"+k.box.ID+"/update", map[string]any{"Memory": 48 << 20, "MemorySwap": 96 << 20})
		}
	}},
	{"set-property-cpuweight", true, never, func(t *T, s *rowScene) {
		for _, k := range []*task{s.shared, s.cores} {
			t.sh("systemctl", "set-property", "--runtime", k.unit(), "CPUWeight=77")
		}
	}},
	{"outside-write", false, always, func(t *T, s *rowScene) {
		for _, k := range []*task{s.shared, s.cores} {
			k.repairs(t, k.now(), k.cfg.Name)
		}
	}},
}

/* All rows happen to the same two containers, one after the other. After a failed row, new ones
 * are made. */
func rowCases() ([]testCase, func()) {
	driver := cgroupDriver()
	var scene *rowScene
	stage := &T{name: "rows"}
	takeDown := func() {
		scene = nil
		stage.cleanUp()
	}
	var cases []testCase
	for _, r := range rows {
		r := r
		if driver != "systemd" && (r.also == never || r.also == byCommand && os.Getenv("GUEST_ROWS") != "all") {
			continue
		}
		name := "row-" + r.name + "/" + driver
		if driver != "systemd" {
			name += "-without-unit"
		}
		cases = append(cases, testCase{name, 3 * time.Minute, func(t *T) {
			good := false
			defer func() {
				if !good {
					t.atEnd(takeDown)
				}
			}()
			if scene == nil {
				scene = newRowScene(stage)
			}
			runRow(t, scene, r, driver)
			good = true
		}})
	}
	return cases, takeDown
}

/* The scene: a shared container, created with 1-3, and a `cores` one on core 1, both settled. */
func newRowScene(t *T) *rowScene {
	s := &rowScene{l: newLayout(t, "1-3")}
	s.h = launch(t)
	s.shared = start(t, s.h, s.l, "shared", "", "exec sleep 100000")
	s.shared.becomes(t, mustSet("1-3"), 2*time.Second)
	s.l.reserve(t, mustSet("1"))
	s.cores = start(t, s.h, s.l, "cores", "1", "exec sleep 100000")
	return s
}

func runRow(t *T, s *rowScene, r row, driver string) {
	want := map[*task]set{s.shared: mustSet("2-3"), s.cores: mustSet("1")}
	for k, cpus := range want {
		k.settles(t, cpus)
	}
	o := observe()
	t.atEnd(o.end)
	for k, cpus := range want {
		t.ok(o.expect(k.cpusFile(), cpus), "observer")
	}
	r.do(t, s)
	window(t, watchFor)
	for k, cpus := range want {
		wrong, now, err := o.seen(k.cpusFile())
		t.ok(err, "observer of "+k.cfg.Name)
		if now {
			t.fatalf("%s is not back on %s after %v:%s", k.cfg.Name, cpus, watchFor, describe(wrong))
		}
		t.inTime(k.cfg.Name+" was elsewhere", wrong)
		if len(wrong) > 0 && r.keep && driver == "systemd" {
			t.fatalf("%s was lost, though repaired:%s", k.cfg.Name, describe(wrong))
		}
		if r.name == "outside-write" {
			t.note("%s: outside write seen%s", k.cfg.Name, describe(wrong))
		}
	}
	if o.looks < 100 {
		t.fatalf("the observer looked only %d times", o.looks)
	}
}

/* Observes for this long. The case checks that nothing happens. */
func window(t *T, length time.Duration) {
	end := time.NewTimer(length)
	defer end.Stop()
	<-end.C
}
