/*
 * Looks at cpuset files about every millisecond from a thread of its own on core 0, which no task gets, and
 * keeps what it saw: for each file the spans of time in which the set was not the right one.
 */
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

type span struct {
	from, to time.Time
	saw      set
}

func (s span) length() time.Duration { return s.to.Sub(s.from) }

type watched struct {
	file  *os.File
	want  set
	wrong []span
	open  bool
	err   error
}

type observer struct {
	mu    sync.Mutex
	files map[string]*watched
	stop  chan struct{}
	done  chan struct{}
	sight sight
	looks int
}

const lookEvery = time.Millisecond

/*
 * When a thread that never rests for long has looked. An emulated machine stands still when its host does something
 * else, and then the driver does not run either: such time is told apart, for it is not the driver's.
 */
type sight struct {
	last time.Time
	gap  time.Duration /* the longest time between two looks */
	away time.Duration /* the sum of those that were a standstill */
}

const standstill = 10 * time.Millisecond

func (s *sight) look() time.Time {
	now := time.Now()
	if d := now.Sub(s.last); !s.last.IsZero() {
		s.gap = max(s.gap, d)
		if d > standstill {
			s.away += d
		}
	}
	s.last = now
	return now
}

/* Rests the thread, by the kernel's timer alone. */
func pause(d time.Duration) {
	if d > 0 {
		rest := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&rest, nil)
	}
}

func observe() *observer {
	o := &observer{files: map[string]*watched{}, stop: make(chan struct{}), done: make(chan struct{})}
	go o.loop()
	return o
}

/* Puts the calling thread on core 0 and asks for a real-time turn, so that busy tasks do not blind the observer. */
func observerThread() {
	runtime.LockOSThread()
	mask := [16]uint64{1}
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	priority := int32(10)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, 2 /* SCHED_RR */, uintptr(unsafe.Pointer(&priority)))
}

func (o *observer) loop() {
	defer close(o.done)
	observerThread()
	for {
		select {
		case <-o.stop:
			return
		default:
		}
		o.look()
		pause(lookEvery)
	}
}

func (o *observer) look() {
	buf := make([]byte, 256)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sight.look()
	o.looks++
	for _, w := range o.files {
		if w.err != nil {
			continue
		}
		n, err := syscall.Pread(int(w.file.Fd()), buf, 0)
		at := time.Now()
		if err != nil {
			w.err = err
			w.open = false
			continue
		}
		s, err := parseSet(string(buf[:n]))
		switch {
		case err != nil:
			w.err = err
		case s == w.want:
			if w.open {
				w.wrong[len(w.wrong)-1].to = at
			}
			w.open = false
		case !w.open:
			w.wrong = append(w.wrong, span{from: at, to: at, saw: s})
			w.open = true
		default:
			w.wrong[len(w.wrong)-1].to = at
		}
	}
}

/* Watches the file, whose right value is want from now on. */
func (o *observer) expect(path string, want set) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w := o.files[path]; w != nil {
		w.want = want
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	o.files[path] = &watched{file: f, want: want}
	return nil
}

/* What was seen of the file since expect(): the spans with a wrong set, and whether it is wrong now. */
func (o *observer) seen(path string) (wrong []span, wrongNow bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.files[path]
	return append([]span(nil), w.wrong...), w.open, w.err
}

func (o *observer) end() {
	close(o.stop)
	<-o.done
	for _, w := range o.files {
		w.file.Close()
	}
}

func describe(spans []span) string {
	text := ""
	for i, s := range spans {
		if i == 5 {
			return text + " ..."
		}
		text += fmt.Sprintf(" %s for %.1f ms", s.saw, float64(s.length().Microseconds())/1000)
	}
	return text
}
