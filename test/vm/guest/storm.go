/*
 * The crowd: many shared tasks. In a random storm (seeded), `cores` tasks start and end beside them
 * until every core is reserved, CPU 3 goes offline and online, and systemd reads its units again.
 * An observer samples every container's effective set. It adds up the core-milliseconds that a
 * container was allowed on a foreign core later than 50 ms after the change: that core's
 * reservation, or the last CPU that went offline or online. That sum must be 0.
 */
package main

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

type stormSize struct {
	tasks, overwrites int
	length            time.Duration /* the storm lasts at least that long, and two laps */
}

/* The full size takes ten minutes: GUEST_STORM=full. */
var size = func() stormSize {
	if os.Getenv("GUEST_STORM") == "full" {
		return stormSize{50, 1000, 2 * time.Minute}
	}
	return stormSize{10, 150, 0}
}()

type crowd struct {
	l      *layout
	h      *host
	shared []*task
	began  time.Time
}

/* The cases share the crowd, because its start takes long. */
func stormCases() ([]testCase, func()) {
	at := "/" + cgroupDriver()
	stage := &T{name: "crowd"}
	var c *crowd
	on := func(run func(t *T, c *crowd)) func(t *T) {
		return func(t *T) {
			if c == nil {
				c = newCrowd(stage)
			}
			run(t, c)
		}
	}
	return []testCase{
		{"storm-overwrites" + at, 20 * time.Minute, on(caseOverwrites)},
		{"storm-last-state-reported" + at, 20 * time.Minute, on(caseLastState)},
		{"storm-of-changes" + at, 20 * time.Minute, on(caseStorm)},
	}, func() { stage.cleanUp() }
}

func newCrowd(t *T) *crowd {
	c := &crowd{l: newLayout(t, "1-3"), shared: make([]*task, size.tasks)}
	c.h = launch(t)
	c.began = time.Now()
	add := func(i int) {
		c.shared[i] = start(t, c.h, c.l, fmt.Sprintf("shared%d", i), "", "exec sleep 100000")
	}
	add(0)
	c.flip(t)
	t.together(len(c.shared)-1, func(i int) { add(1 + i) })
	t.atEnd(func() { t.together(len(c.shared), func(i int) { c.shared[i].end(t, c.h) }) })
	for _, k := range c.shared {
		k.becomes(t, c.l.pool(), tickLimit)
	}
	t.note("%d shared tasks run, started in %.0f s", len(c.shared), time.Since(c.began).Seconds())
	return c
}

/* The first task is pinned, held and pinned again, within the minute in which no state is
 * reported twice. */
func (c *crowd) flip(t *T) {
	k := c.shared[0]
	k.getsEvent(t, c.h, "cpuset pinned to 1-3", 10*time.Second)
	c.l.reserve(t, mustSet("1-3"))
	/* Between the two writes of the layout, the pool is empty and no task has the cores yet. A
	 * check then holds it at 1-3. */
	k.getsEvent(t, c.h, "cpuset held at ", 10*time.Second)
	k.becomes(t, mustSet("0"), tickLimit)
	c.l.release(t, mustSet("1-3"))
	k.becomes(t, mustSet("1-3"), tickLimit)
}

/* Its last state is reported in the end, although nothing else happens to it. The cases before
 * this one take about that long. */
func caseLastState(t *T, c *crowd) {
	k := c.shared[0]
	k.reaches(t, "pinned", 5*time.Second)
	t.eventually(max(time.Until(c.began.Add(75*time.Second)), time.Second), "the last event reports where the task is", func() (bool, string) {
		all := c.h.eventTexts(k.cfg.ID)
		last := all[len(all)-1]
		return strings.HasPrefix(last, "cpuset pinned to 1-3"), last
	})
}

type stormBox struct {
	name string
	fd   int
	own  set /* 0: shared */
	last time.Time
}

/* A container was seen on a core where it does not belong. */
type sighting struct {
	since  span          /* from the change to now; empty for a `cores` task off its own while no CPU changed */
	length time.Duration /* since the check before */
	what   string
}

type storm struct {
	mu       sync.Mutex
	reserved map[int]*span /* by core: from the change to the last time another task was seen there */
	all      []*span       /* with the earlier ones */
	boxes    map[*task]*stormBox
	online   set
	plugged  time.Time /* when a CPU changed last */
	plugging bool      /* a CPU changes: only the kernel can know the right set now */
	seen     []sighting
	samples  int
}

func (s *storm) look() {
	buf := make([]byte, 128)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plugging {
		return
	}
	for _, b := range s.boxes {
		n, err := syscall.Pread(b.fd, buf, 0)
		if err != nil {
			continue /* the container has ended: its file gives ENODEV */
		}
		cpus, err := parseSet(string(buf[:n]))
		if err != nil {
			continue
		}
		now := time.Now()
		s.samples++
		for core, r := range s.reserved {
			if cpus&(1<<core) == 0 || b.own&(1<<core) != 0 {
				continue
			}
			r.to = now
			if r.raw() > repairLimit {
				s.seen = append(s.seen, sighting{*r, now.Sub(b.last), fmt.Sprintf("%s on core %d (%s)", b.name, core, cpus)})
			}
		}
		/* While its own CPU is offline, a task may be on cores that are not reserved. */
		if b.own&s.online != 0 && cpus&^b.own != 0 {
			since := span{}
			if !s.plugged.IsZero() {
				since = span{from: s.plugged, to: now}
			}
			s.seen = append(s.seen, sighting{since, now.Sub(b.last), fmt.Sprintf("%s, which has %s, on %s", b.name, b.own, cpus)})
		}
		b.last = now
	}
}

/* The core-time on foreign cores, and the first case of it. */
func (s *storm) foreign() (sum time.Duration, first string) {
	for _, x := range s.seen {
		length := x.length
		if !x.since.from.IsZero() {
			length = min(length, x.since.net()-repairLimit)
		}
		if length > 0 {
			sum += length
			if first == "" {
				first = x.what + " " + x.since.String()
			}
		}
	}
	return sum, first
}

/* From now on no other task may stay on this core. The lock is held. */
func (s *storm) reserve(core int, now time.Time) {
	s.reserved[core] = &span{from: now, to: now}
	s.all = append(s.all, s.reserved[core])
}

/* CPU 3 goes offline, or online when it is offline. */
func (s *storm) plug(t *T) {
	s.mu.Lock()
	s.plugging = true
	s.mu.Unlock()
	text := "0"
	if s.online&(1<<3) == 0 {
		text = "1"
	}
	t.ok(writeFile(cpu3Online, text), "CPU 3")
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.plugging, s.plugged = false, now
	s.online ^= 1 << 3
	for core := range s.reserved {
		s.reserve(core, now)
	}
	for _, b := range s.boxes {
		b.last = now
	}
}

func (s *storm) watch(t *T, k *task, own set) {
	fd, err := syscall.Open(effectiveFile(k), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	t.ok(err, "observer")
	s.mu.Lock()
	s.boxes[k] = &stormBox{name: k.cfg.Name, fd: fd, own: own, last: time.Now()}
	s.mu.Unlock()
}

func (s *storm) forget(k *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.boxes[k]; b != nil {
		syscall.Close(b.fd)
		delete(s.boxes, k)
	}
}

/* The core's task ends, or a task for it starts. */
func (s *storm) toggle(t *T, c *crowd, running map[int]*task, core int) {
	if k := running[core]; k != nil {
		k.end(t, c.h)
		s.forget(k)
		s.mu.Lock()
		delete(s.reserved, core)
		s.mu.Unlock()
		c.l.release(t, 1<<core)
		delete(running, core)
		return
	}
	s.mu.Lock()
	s.reserve(core, time.Now())
	s.mu.Unlock()
	c.l.reserve(t, 1<<core)
	k := start(t, c.h, c.l, fmt.Sprintf("cores%d", core), strconv.Itoa(core), "exec sleep 100000")
	s.watch(t, k, 1<<core)
	running[core] = k
}

func caseStorm(t *T, c *crowd) {
	seed := time.Now().UnixNano()
	if text := os.Getenv("GUEST_SEED"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		t.ok(err, "GUEST_SEED")
		seed = n
	}
	t.note("storm: GUEST_SEED=%d", seed)
	random := rand.New(rand.NewSource(seed))
	l, shared := c.l, c.shared
	s := &storm{reserved: map[int]*span{}, boxes: map[*task]*stormBox{}, online: mustSet("0-3")}
	t.atEnd(func() { _ = writeFile(cpu3Online, "1") })
	for _, k := range shared {
		s.watch(t, k, 0)
	}

	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t.asObserver(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.look()
					pause(2 * lookEvery)
				}
			}
		})
	}()
	running := map[int]*task{}
	/* In a lap each thing happens once. After the first lap every core is reserved, after the
	 * second none is. */
	lap := []func(){func() { s.plug(t) }, func() { t.sh("systemctl", "daemon-reload") }}
	for core := 1; core <= 3; core++ {
		core := core
		lap = append(lap, func() { s.toggle(t, c, running, core) })
	}
	changes := 0
	for began, laps := time.Now(), 0; laps%2 == 1 || laps == 0 || time.Since(began) < size.length; laps++ {
		random.Shuffle(len(lap), func(i, j int) { lap[i], lap[j] = lap[j], lap[i] })
		for _, change := range lap {
			change()
			changes++
			window(t, time.Duration(random.Intn(1000))*time.Millisecond)
		}
	}
	close(stop)
	<-done
	for k := range s.boxes {
		s.forget(k)
	}
	settle()
	slowest := &span{}
	for _, r := range s.all {
		if r.net() > slowest.net() {
			slowest = r
		}
	}
	t.note("storm: %d changes, %d samples, slowest way off a core %s", changes, s.samples, slowest)
	if sum, first := s.foreign(); sum > 0 {
		t.fatalf("%s core-ms on a foreign core; first: %s", ms(sum), first)
	}
	if s.samples < 1000 {
		t.fatalf("the observer took only %d samples", s.samples)
	}
	for _, k := range shared {
		k.becomes(t, l.pool(), tickLimit)
	}
}
