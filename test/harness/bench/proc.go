/* What processes cost, as the kernel reports it. */
package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

/* The processes whose program file is below dir: all of a driver's, also those with a session of
 * their own. */
func processesBelow(dir string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err == nil && strings.HasPrefix(exe, dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func killBelow(dir string) {
	for _, pid := range processesBelow(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

/* The mounts that drivers have made for tasks. systemd has a unit for each. */
func driverMounts() int {
	data, err := os.ReadFile("/proc/self/mountinfo")
	check(err, "mountinfo")
	return strings.Count(string(data), " /run/paddock/")
}

func unmountBelow(dir string) {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(data), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		f := strings.Fields(lines[i])
		if len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = syscall.Unmount(f[4], syscall.MNT_DETACH)
		}
	}
}

/* The CPU time that a process has used, to the nanosecond; 0 when it has ended. */
func cpuTime(pid int) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func cpuTimes(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		sum += cpuTime(pid)
	}
	return sum
}

type footprint struct {
	processes, threads, fds int
	rssKiB, pssKiB, anonKiB int
}

func (f footprint) String() string {
	return fmt.Sprintf("%d processes, %d threads, %d fds, %d KiB PSS, %d KiB anonymous", f.processes, f.threads, f.fds, f.pssKiB, f.anonKiB)
}

func measure(pids []int) (f footprint) {
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		file, err := os.Open(filepath.Join(dir, "smaps_rollup"))
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(file); s.Scan(); {
			w := strings.Fields(s.Text())
			if len(w) < 2 {
				continue
			}
			n, _ := strconv.Atoi(w[1])
			switch w[0] {
			case "Rss:":
				f.rssKiB += n
			case "Pss:":
				f.pssKiB += n
			case "Anonymous:":
				f.anonKiB += n
			}
		}
		file.Close()
		threads, _ := os.ReadDir(filepath.Join(dir, "task"))
		fds, _ := os.ReadDir(filepath.Join(dir, "fd"))
		f.processes++
		f.threads += len(threads)
		f.fds += len(fds)
	}
	return f
}
