/*
 * The crowd: 50 shared tasks. In a random storm `cores` tasks come and go beside them (seeded), and an observer
 * samples every container's cpuset. It adds up the core-milliseconds that a container had a foreign core later than
 * 50 ms after that core's reservation. That sum must be 0.
 */
package main

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const stormTasks = 50

/* The long form: GUEST_STORM_MS=120000. */
var stormLength = envMillis("GUEST_STORM_MS", 40*time.Second)

type crowd struct {
	l      *layout
	h      *host
	shared []*task
}

/* The cases share the crowd, for its start takes long. */
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
		{"storm-thousand-overwrites" + at, 20 * time.Minute, on(caseOverwrites)},
		{"storm-of-changes" + at, 20 * time.Minute, on(caseStorm)},
	}, func() { stage.cleanUp() }
}

func newCrowd(t *T) *crowd {
	c := &crowd{l: newLayout(t, "1-3"), shared: make([]*task, stormTasks)}
	c.h = launch(t)
	began := time.Now()
	t.together(len(c.shared), func(i int) {
		c.shared[i] = start(t, c.h, c.l, fmt.Sprintf("shared%d", i), "", "exec sleep 100000")
	})
	t.atEnd(func() { t.together(len(c.shared), func(i int) { c.shared[i].end(t, c.h) }) })
	for _, k := range c.shared {
		k.becomes(t, c.l.pool(), tickLimit)
	}
	t.note("%d shared tasks run, started in %.0f s", len(c.shared), time.Since(began).Seconds())
	return c
}

type stormBox struct {
	name string
	fd   int
	own  set /* 0: shared */
	last time.Time
}

/* A container was seen where it does not belong. */
type sighting struct {
	reserved span          /* from the core's reservation to now; empty for a `cores` task off its own */
	length   time.Duration /* since the look before */
	what     string
}

type storm struct {
	mu       sync.Mutex
	reserved map[int]*span /* by core: from its reservation to the last sight of somebody else there */
	all      []*span       /* those of before, too */
	boxes    map[*task]*stormBox
	seen     []sighting
	samples  int
}

func (s *storm) look() {
	buf := make([]byte, 128)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.boxes {
		n, err := syscall.Pread(b.fd, buf, 0)
		if err != nil {
			continue /* gone: its file says ENODEV */
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
		if b.own != 0 && cpus&^b.own != 0 {
			s.seen = append(s.seen, sighting{span{}, now.Sub(b.last), fmt.Sprintf("%s, which has %s, on %s", b.name, b.own, cpus)})
		}
		b.last = now
	}
}

/* The core-time on foreign cores, and the first case of it. */
func (s *storm) foreign() (sum time.Duration, first string) {
	for _, x := range s.seen {
		length := x.length
		if !x.reserved.from.IsZero() {
			length = min(length, x.reserved.net()-repairLimit)
		}
		if length > 0 {
			sum += length
			if first == "" {
				first = x.what + " " + x.reserved.String()
			}
		}
	}
	return sum, first
}

func (s *storm) watch(t *T, k *task, own set) {
	fd, err := syscall.Open(k.cpusFile(), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
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

func caseStorm(t *T, c *crowd) {
	seed := time.Now().UnixNano()
	if text := os.Getenv("GUEST_SEED"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		t.ok(err, "GUEST_SEED")
		seed = n
	}
	t.note("storm: GUEST_SEED=%d", seed)
	random := rand.New(rand.NewSource(seed))
	l, h, shared := c.l, c.h, c.shared
	s := &storm{reserved: map[int]*span{}, boxes: map[*task]*stormBox{}}
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
	rounds := 0
	for end := time.Now().Add(stormLength); time.Now().Before(end); rounds++ {
		core := 1 + random.Intn(3)
		if k := running[core]; k != nil {
			k.end(t, h)
			s.forget(k)
			s.mu.Lock()
			delete(s.reserved, core)
			s.mu.Unlock()
			l.release(t, 1<<core)
			delete(running, core)
		} else if len(running) < 2 { /* one core is left to share */
			now := time.Now()
			s.mu.Lock()
			s.reserved[core] = &span{from: now, to: now}
			s.all = append(s.all, s.reserved[core])
			s.mu.Unlock()
			l.reserve(t, 1<<core)
			k := start(t, h, l, fmt.Sprintf("cores%d", rounds), strconv.Itoa(core), "exec sleep 100000")
			s.watch(t, k, 1<<core)
			running[core] = k
		}
		window(t, time.Duration(random.Intn(1500))*time.Millisecond)
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
	t.note("storm: %d changes, %d samples, slowest way off a core %s", rounds, s.samples, slowest)
	if sum, first := s.foreign(); sum > 0 {
		t.fatalf("%s core-ms on a foreign core; first: %s", ms(sum), first)
	}
	if rounds < int(stormLength/(12*time.Second)) || s.samples < 1000 {
		t.fatalf("too little happened: %d changes, %d samples", rounds, s.samples)
	}
	for _, k := range shared {
		k.becomes(t, l.pool(), tickLimit)
	}
}
