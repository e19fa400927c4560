/*
 * How long a busy loop on a reserved core has to wait, with the driver and without it. The figures
 * are for people, by command only (guest run gap). They are not part of the tests, because an
 * emulated machine stands still for longer. Outside writes keep the driver at work. Without the
 * driver they are not repaired.
 */
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

var gapLength = envMillis("GUEST_GAP_MS", 10*time.Second)

func gapCases() []testCase {
	return []testCase{{"gap-of-a-busy-loop", 10 * time.Minute, caseGap}}
}

func caseGap(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	var shared []*task
	for i := 0; i < 4; i++ {
		shared = append(shared, start(t, h, l, fmt.Sprintf("shared%d", i), "", "exec sleep 100000"))
	}
	l.reserve(t, mustSet("3"))
	start(t, h, l, "cores", "3", "exec sleep 100000")
	self, err := os.Executable()
	t.ok(err, "executable")
	measure := func(what string) {
		spin := exec.Command(self, "spin", "3", strconv.Itoa(int(gapLength.Milliseconds())))
		var out strings.Builder
		spin.Stdout = &out
		t.ok(spin.Start(), "spin")
		/* each task gets eight in 10 s: from ten on they count as another writer's */
		for i, end := 0, time.Now().Add(gapLength); time.Now().Before(end); i++ {
			t.ok(writeFile(shared[i%len(shared)].cpusFile(), "0-3"), "outside write")
			pause(10 * time.Second / time.Duration(8*len(shared)))
		}
		t.ok(spin.Wait(), "spin")
		t.note("%s: %s", what, strings.TrimSpace(out.String()))
	}
	for i := 0; i < 2; i++ {
		measure("with the driver")
		h.crash(t)
		measure("without the driver")
		h = launch(t)
		for _, k := range shared {
			t.ok(h.RecoverTask(k.handle), "RecoverTask")
		}
	}
}

/* guest spin CPU MS: reads the clock on this CPU all the time. */
func spin(cpu, ms string) int {
	c, err1 := strconv.Atoi(cpu)
	n, err2 := strconv.Atoi(ms)
	if err1 != nil || err2 != nil {
		return 2
	}
	runtime.LockOSThread()
	mask := [16]uint64{1 << c}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		fmt.Println(errno)
		return 1
	}
	waited := runDelay()
	start := time.Now()
	last, longest, gaps := start, time.Duration(0), 0
	for last.Sub(start) < time.Duration(n)*time.Millisecond {
		now := time.Now()
		gap := now.Sub(last)
		longest = max(longest, gap)
		if gap > time.Millisecond {
			gaps++
		}
		last = now
	}
	fmt.Printf("longest gap %s ms, %d gaps over 1 ms, waited for the CPU %s ms\n", ms1(longest), gaps, ms1(runDelay()-waited))
	return 0
}

func ms1(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1e3) }

/* How long this thread was ready to run while its CPU ran something else. What the host does is
 * not included. */
func runDelay() time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", syscall.Gettid()))
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[1], 10, 64)
	return time.Duration(n)
}
