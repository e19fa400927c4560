/*
 * The cgroup layout of Nomad clients from 1.7 on, played: nomad.slice with share.slice and reserve.slice, a scope
 * for each task, and Reserve and Release, which rewrite the cpuset.cpus of the two slices and nothing else. The
 * scopes' own files stay empty.
 */
package main

import (
	"os"
	"path/filepath"
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
	for _, dir := range []string{cgroupRoot, nomadSlice, shareSlice, reserveSlice} {
		t.ok(writeFile(filepath.Join(dir, "cgroup.subtree_control"), "+cpuset +cpu +io +memory +pids"), "controllers")
	}
	t.ok(writeFile(filepath.Join(nomadSlice, "cpuset.cpus"), usable), "nomad.slice")
	l.write(t)
	return l
}

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
