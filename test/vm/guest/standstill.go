/*
 * When the machine stood still. An emulated machine shares the host's cores. Now and then each of
 * its CPUs gets none for tens of milliseconds, and nothing runs on it, neither the driver nor
 * anything else. Such time is reported, but it is not the driver's. On each CPU a real-time thread
 * rests for a millisecond at a time. A rest that takes longer than a standstill is one. A CPU that
 * is busy, with the driver or with others, does not stand still. The CPUs are watched only while
 * something is measured, because four thousand rests per second are half of what such a machine can
 * do.
 */
package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const standstill = 5 * time.Millisecond

const lookAgain = 200 * time.Microsecond

type span struct {
	from, to time.Time
	saw      set
}

type standstills struct {
	measuring atomic.Int32 /* how many; changed with mu locked, read without */
	mu        sync.Mutex
	begun     *sync.Cond
	since     time.Time /* when the first of them began */
	cpus      [][]span
}

var machine = sync.OnceValue(func() *standstills {
	s := &standstills{cpus: make([][]span, runtime.NumCPU())}
	s.begun = sync.NewCond(&s.mu)
	for cpu := range s.cpus {
		go s.watch(cpu)
	}
	return s
})

func (s *standstills) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.measuring.Add(1) == 1 {
		s.since = time.Now()
		s.begun.Broadcast()
	}
}

/* Ends it when the standstills up to now are known. */
func (s *standstills) end() {
	settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measuring.Add(-1)
}

/* Waits for a measurement and returns its begin. A CPU that stands still then counts from that time. */
func (s *standstills) whenBegun() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.measuring.Load() == 0 {
		s.begun.Wait()
	}
	return s.since
}

func (s *standstills) watch(cpu int) {
	realTime(cpu)
	for {
		for last := s.whenBegun(); s.measuring.Load() > 0; pause(lookEvery) {
			now := time.Now()
			if now.Sub(last) > standstill {
				s.mu.Lock()
				s.cpus[cpu] = append(s.cpus[cpu], span{from: last, to: now})
				s.mu.Unlock()
			}
			last = now
		}
	}
}

/* How long the CPU that stood still longest did so in this time. */
func (s *standstills) in(from, to time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, gaps := range s.cpus {
		var sum time.Duration
		for i := len(gaps) - 1; i >= 0 && gaps[i].to.After(from); i-- {
			begin, end := gaps[i].from, gaps[i].to
			if begin.Before(from) {
				begin = from
			}
			if end.After(to) {
				end = to
			}
			sum += max(0, end.Sub(begin))
		}
		longest = max(longest, sum)
	}
	return longest
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1e3) }

/* By the clock. */
func (s span) raw() time.Duration { return s.to.Sub(s.from) }

/* Without the time in which the machine stood still. Call it some time after the span's end: see
 * settle(). */
func (s span) net() time.Duration { return s.raw() - machine().in(s.from, s.to) }

/* After this the standstills up to now are known. */
func settle() { pause(4 * standstill) }

/* Puts the calling thread on a CPU, with priority over all that is not real-time there. */
func realTime(cpu int) {
	runtime.LockOSThread()
	mask := [16]uint64{1 << cpu}
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	priority := int32(10)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, 2 /* SCHED_RR */, uintptr(unsafe.Pointer(&priority)))
}

/* Rests the thread, by the kernel's timer only. */
func pause(d time.Duration) {
	if d > 0 {
		rest := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&rest, nil)
	}
}

/* Calls f on a real-time thread of core 0, which no task gets. */
func (t *T) asObserver(f func()) {
	machine().begin()
	defer machine().end()
	why := make(chan string, 1)
	go func() {
		realTime(0)
		why <- guarded(f)
	}()
	if w := <-why; w != "" {
		t.fatalf("%s", w)
	}
}

/* Calls act and polls until cond is true. Call it within asObserver(). */
func (t *T) swiftly(what string, act func(), cond func() (bool, string)) span {
	s := span{from: time.Now()}
	act()
	for {
		good, saw := cond()
		s.to = time.Now()
		if good {
			return s
		}
		if s.raw() > 5*time.Second {
			t.fatalf("%s: not within %v; last seen: %s", what, s.raw(), saw)
		}
		pause(lookAgain)
	}
}

/* Each of them took no longer than the limit. */
func (t *T) inTime(what string, all []span) {
	settle()
	bad := false
	for _, s := range all {
		bad = bad || s.net() > repairLimit
	}
	if bad {
		t.fatalf("%s:%s (limit: %v)", what, describe(all), repairLimit)
	}
}

func describe(spans []span) string {
	text := ""
	for i, s := range spans {
		if i == 5 {
			return text + " ..."
		}
		text += " " + s.String()
	}
	return text
}

func (s span) String() string {
	text := ms(s.net()) + " ms"
	if s.saw != 0 {
		text = s.saw.String() + " for " + text
	}
	if s.net() != s.raw() {
		text += " (by the clock " + ms(s.raw()) + ")"
	}
	return text
}
