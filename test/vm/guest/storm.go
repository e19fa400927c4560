/*
 * Two random minutes: 50 shared tasks run, `cores` tasks come and go (seeded), and an observer samples every
 * container's cpuset. It adds up the core-milliseconds that a container had a foreign core later than 50 ms after
 * that core's reservation. That sum must be 0.
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

/* GUEST_STORM_MS is for a shorter look while something is worked on. */
var stormLength = envMillis("GUEST_STORM_MS", 2*time.Minute)

func stormCases() []testCase {
	return []testCase{{"storm-two-minutes/" + cgroupDriver(), 15 * time.Minute, caseStorm}}
}

type stormBox struct {
	name string
	fd   int
	own  set /* 0: shared */
	last time.Time
}

/*
 * A time, and how long the observer had been away by then: an emulated machine stands still when its host does
 * something else, and then the driver does not run either. Such time does not count.
 */
type moment struct {
	at   time.Time
	away time.Duration
}

const standstill = 10 * time.Millisecond

type storm struct {
	mu       sync.Mutex
	since    map[int]moment /* reserved cores, since when */
	away     time.Duration  /* so long in all the observer, which never rests, was not let run */
	boxes    map[*task]*stormBox
	foreign  time.Duration /* core-time on foreign cores */
	first    string        /* the first such case, for the report */
	slowest  time.Duration /* the latest sight of a foreign core after its reservation */
	samples  int
	gap      time.Duration
	lastLook time.Time
}

func (s *storm) look() {
	buf := make([]byte, 128)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := time.Since(s.lastLook); !s.lastLook.IsZero() {
		if d > s.gap {
			s.gap = d
		}
		if d > standstill {
			s.away += d
		}
	}
	s.lastLook = time.Now()
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
		for core, since := range s.since {
			if cpus&(1<<core) == 0 || b.own&(1<<core) != 0 {
				continue
			}
			late := now.Sub(since.at) - (s.away - since.away)
			if late > s.slowest {
				s.slowest = late
			}
			if late > repairLimit {
				s.add(b, now, late, fmt.Sprintf("%s on core %d (%s) %v after its reservation", b.name, core, cpus, late))
			}
		}
		if b.own != 0 && cpus&^b.own != 0 {
			s.add(b, now, 0, fmt.Sprintf("%s, which has %s, on %s", b.name, b.own, cpus))
		}
		b.last = now
	}
}

func (s *storm) add(b *stormBox, now time.Time, late time.Duration, what string) {
	span := now.Sub(b.last)
	if late > 0 && late-repairLimit < span {
		span = late - repairLimit
	}
	s.foreign += span
	if s.first == "" {
		s.first = what
	}
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

func caseStorm(t *T) {
	seed := time.Now().UnixNano()
	if text := os.Getenv("GUEST_SEED"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		t.ok(err, "GUEST_SEED")
		seed = n
	}
	t.note("storm: GUEST_SEED=%d", seed)
	random := rand.New(rand.NewSource(seed))
	l := newLayout(t, "1-3")
	h := launch(t)
	s := &storm{since: map[int]moment{}, boxes: map[*task]*stormBox{}}
	shared := make([]*task, 0, stormTasks)
	for i := 0; i < stormTasks; i++ {
		k := start(t, h, l, fmt.Sprintf("shared%d", i), "", "exec sleep 100000")
		s.watch(t, k, 0)
		shared = append(shared, k)
	}
	t.note("storm: %d shared tasks run", len(shared))

	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		observerThread()
		pause := syscall.Timespec{Nsec: 2e6}
		for {
			select {
			case <-stop:
				return
			default:
				s.look()
				_ = syscall.Nanosleep(&pause, nil)
			}
		}
	}()
	running := map[int]*task{}
	rounds := 0
	for end := time.Now().Add(stormLength); time.Now().Before(end); rounds++ {
		core := 1 + random.Intn(3)
		if k := running[core]; k != nil {
			k.end(t, h)
			s.forget(k)
			s.mu.Lock()
			delete(s.since, core)
			s.mu.Unlock()
			l.release(t, 1<<core)
			delete(running, core)
		} else if len(running) < 2 { /* one core is left to share */
			l.reserve(t, 1<<core)
			s.mu.Lock()
			s.since[core] = moment{time.Now(), s.away}
			s.mu.Unlock()
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
	t.note("storm: %d changes, %d samples, longest gap between looks %.0f ms, slowest way off a core %.1f ms",
		rounds, s.samples, s.gap.Seconds()*1e3, s.slowest.Seconds()*1e3)
	if s.foreign > 0 {
		t.fatalf("%.1f core-ms on a foreign core; first: %s", s.foreign.Seconds()*1e3, s.first)
	}
	if rounds < int(stormLength/(12*time.Second)) || s.samples < 1000 {
		t.fatalf("too little happened: %d changes, %d samples", rounds, s.samples)
	}
	for _, k := range shared {
		k.becomes(t, l.pool(), tickLimit)
	}
}
