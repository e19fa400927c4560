/*
 * The cgroup layout of Nomad clients from 1.7 on, played: nomad.slice with share.slice and reserve.slice, a scope
 * for each task, and Reserve and Release, which rewrite the cpuset.cpus of the two slices and nothing else. The
 * scopes' own files stay empty.
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

/* As the client's start does it. The layout is taken down when the case ends. */
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
 * Outer folders first. systemd takes back from the root what none of its units asks for, at a time of its own choice. It
 * cannot any more when nomad.slice has it, provided that nomad.slice is not a unit of systemd (forgetNomadSlice).
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
 * The built-in driver of 1.6 puts its containers into nomad.slice, which makes a unit of it. Such a unit outlives its
 * containers, and systemd takes the controllers away from it when no unit below asks for them. All sets below are then lost.
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

/* A blank is what the client writes when nothing is left. */
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
