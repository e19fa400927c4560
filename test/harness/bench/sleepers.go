/*
 * Processes for the fake dockerd's containers. Each sleeps in a cgroup with its container's name,
 * as with Docker. So the driver reads stats from the kernel's files, like on a real node.
 */
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const sleepersFolder = "paddock-bench"

/* The id that the fake gives its n-th container. */
func fakeID(n int) string { return fmt.Sprintf("c0de%08x%052x", n, 0xfeed) }

/* Where a container's cgroups are made: in v2, or in each controller of v1 whose files are read. */
func cgroupRoots() (roots []string) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil {
		folder := filepath.Join(root, sleepersFolder)
		check(os.MkdirAll(folder, 0o755), "cgroup")
		for _, dir := range []string{root, folder} {
			/* a missing controller is a missing figure */
			for _, c := range []string{"+cpu", "+memory"} {
				_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(c), 0o644)
			}
		}
		return []string{folder}
	}
	for _, c := range []string{"cpu", "cpuacct", "memory"} {
		roots = append(roots, filepath.Join(root, c, sleepersFolder))
	}
	return roots
}

/* Starts n of them. Returns a file with their numbers, for the fake's --pids. */
func (b *bench) startSleepers(n int) string {
	roots := cgroupRoots()
	var all []*exec.Cmd
	b.atEnd(func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		for _, root := range roots {
			for i := 1; i <= n; i++ {
				_ = os.Remove(filepath.Join(root, fakeID(i)))
			}
			_ = os.Remove(root)
		}
	})
	var pids strings.Builder
	for i := 1; i <= n; i++ {
		c := exec.Command("sleep", "infinity")
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		check(c.Start(), "sleep")
		all = append(all, c)
		pid := strconv.Itoa(c.Process.Pid)
		for _, root := range roots {
			dir := filepath.Join(root, fakeID(i))
			check(os.MkdirAll(dir, 0o755), "cgroup")
			check(os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pid), 0o644), "cgroup")
		}
		pids.WriteString(pid + "\n")
	}
	path := filepath.Join(b.dir, "pids")
	check(os.WriteFile(path, []byte(pids.String()), 0o644), "pids")
	return path
}
