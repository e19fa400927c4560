/*
 * The cgroup layout of Nomad clients from 1.7 on, simulated: nomad.slice with share.slice and
 * reserve.slice, and a scope for each task. Reserve and Release rewrite the cpuset.cpus of the two
 * slices and nothing else. The scopes' own files stay empty.
 */
package main

import (
	"os"
	"path/filepath"
	"time"
)

type layout struct {
	usable   set
	reserved set
}

var (
	nomadSlice   = filepath.Join(cgroupRoot, "nomad.slice")
	shareSlice   = filepath.Join(nomadSlice, "share.slice")
	reserveSlice = filepath.Join(nomadSlice, "reserve.slice")
)

/* Like the client's start. The layout is removed when the case ends. */
func newLayout(t *T, usable string) *layout {
	l := &layout{usable: mustSet(usable)}
	t.atEnd(l.remove)
	for _, dir := range []string{nomadSlice, shareSlice, reserveSlice} {
		t.ok(os.MkdirAll(dir, 0o755), "cgroup")
	}
	enableControllers(t, cgroupRoot, nomadSlice, shareSlice, reserveSlice)
	t.ok(writeFile(filepath.Join(nomadSlice, "cpuset.cpus"), usable), "nomad.slice")
	l.write(t)
	return l
}

/*
 * Outer folders first. systemd removes controllers from the root that none of its units asks for,
 * at any time. It cannot do so any more when nomad.slice has them, provided that nomad.slice is not
 * a unit of systemd (forgetNomadSlice).
 */
func enableControllers(t *T, dirs ...string) {
	t.eventually(20*time.Second, "the controllers", func() (bool, string) {
		for _, dir := range dirs {
			if err := writeFile(filepath.Join(dir, "cgroup.subtree_control"), "+cpuset +cpu +io +memory +pids"); err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
}

/*
 * The built-in driver of 1.6 puts its containers into nomad.slice, which makes it a unit of
 * systemd. Such a unit outlives its containers, and systemd removes its controllers when no unit
 * below asks for them. All sets below are then lost.
 */
func forgetNomadSlice() { _, _ = sh("systemctl", "stop", "nomad.slice") }

func (l *layout) remove() {
	for _, slice := range []string{shareSlice, reserveSlice, nomadSlice} {
		scopes, _ := filepath.Glob(filepath.Join(slice, "*.scope"))
		for _, dir := range append(scopes, slice) {
			_ = os.Remove(dir)
		}
	}
}

func (l *layout) pool() set { return l.usable &^ l.reserved }

/* The client writes a blank when no core is left. */
func (l *layout) write(t *T) {
	for _, f := range []struct {
		slice string
		cpus  set
	}{{shareSlice, l.pool()}, {reserveSlice, l.reserved}} {
		text := f.cpus.String()
		if text == "" {
			text = " "
		}
		t.ok(writeFile(filepath.Join(f.slice, "cpuset.cpus"), text), f.slice)
	}
}

func (l *layout) reserve(t *T, cpus set) {
	l.reserved |= cpus
	l.write(t)
}

func (l *layout) release(t *T, cpus set) {
	l.reserved &^= cpus
	l.write(t)
}

/* The task's scope; the cores are "" for a task of the shared pool. */
func (l *layout) scope(t *T, alloc, task, cores string) string {
	dir := shareSlice
	if cores != "" {
		dir = reserveSlice
	}
	dir = filepath.Join(dir, alloc+"."+task+".scope")
	t.ok(os.Mkdir(dir, 0o755), "scope")
	return dir
}
