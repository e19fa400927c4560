/*
 * The bench: what a task costs with paddock, next to the reference driver (Nomad v1.6.3's
 * drivers/docker/cmd as an external plugin) and to raw calls of the Docker API, in one run with one
 * dockerd of its own.
 *
 * The peers take turns sample by sample, so that other load on the machine affects all of them
 * alike. The host side is Nomad's own driver client and go-plugin, the same code for both drivers.
 * Nothing here is a test: no figure fails the run, and the exit status is 0 when it was measured.
 * The figures are meant for two cores without other load. The table reports the load.
 *
 * One file for each group of figures: calls.go (latencies), together.go (many calls at the same
 * time), fleet.go (25 tasks), output.go (200 MB), chatty.go (25 that print), crowd.go (1,000 tasks
 * with the fake dockerd).
 */
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"paddock.invalid/test/harness/engine"
)

/* The setting of one run. Set up by main, read-only afterwards. */
type bench struct {
	dir     string /* everything of this run is below it */
	daemon  *engine.Daemon
	docker  docker
	peers   []peer /* paddock first when it is given; raw Docker last */
	figures *figures
	fake    string /* fake_dockerd, "" = it was not built */
	paddock string
	factor  float64
	ended   []func()
	once    sync.Once
}

/* A failed measurement ends the run: check panics with this, and main cleans up. */
type failure struct{ text string }

func check(err error, what string, args ...any) {
	if err != nil {
		panic(failure{fmt.Sprintf(what, args...) + ": " + err.Error()})
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func main() { os.Exit(run()) }

func run() (status int) {
	paddock := flag.String("paddock", "", "the driver (absolute path)")
	reference := flag.String("reference", "", "the reference driver (absolute path)")
	fake := flag.String("fake", "", "fake_dockerd; without it the figures of 1,000 tasks are left out")
	file := flag.String("json", "", "one JSON object a line into this file")
	only := flag.String("only", "", "some groups alone, by comma: "+strings.Join(groupNames(), ","))
	factor := flag.Float64("factor", 1, "so many times the rounds")
	flag.Parse()

	b := &bench{figures: &figures{}, fake: *fake, paddock: *paddock, factor: *factor}
	defer b.end()
	defer func() {
		if r := recover(); r != nil {
			f, mine := r.(failure)
			if !mine {
				panic(r)
			}
			say("%s", f.text)
			status = 1
		}
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		say("%v, cleaning up", <-signals)
		b.end()
		os.Exit(130)
	}()

	b.begin(*paddock, *reference)
	for _, g := range groups {
		if *only == "" || strings.Contains(","+*only+",", ","+g.name+",") {
			say("%s: %s", g.name, g.about)
			g.run(b)
		}
	}
	b.figures.table(os.Stdout)
	if *file != "" {
		check(b.figures.writeJSON(*file), "%s", *file)
	}
	return 0
}

var groups = []struct {
	name, about string
	run         func(*bench)
}{
	{"setconfig", "from exec of the binary to SetConfig answered", (*bench).setConfig},
	{"calls", "StartTask, StopTask, DestroyTask, WaitTask, ExecTask", (*bench).calls},
	{"together", "50 StartTasks at once, 100 RecoverTasks at once", (*bench).together},
	{"fleet", "25 tasks with logs and 1 s stats", (*bench).fleet},
	{"output", "one task that prints 200 MB", (*bench).output},
	{"chatty", "25 tasks that print 1 MB/s together, and 25 that are silent", (*bench).chatty},
	{"crowd", "1,000 tasks at the fake dockerd", (*bench).crowd},
}

func groupNames() (out []string) {
	for _, g := range groups {
		out = append(out, g.name)
	}
	return out
}

func (b *bench) rounds(n int) int { return max(1, int(float64(n)*b.factor)) }

/* Registers what must be undone at the end, the last one first. */
func (b *bench) atEnd(f func()) { b.ended = append(b.ended, f) }

func (b *bench) end() {
	b.once.Do(func() {
		for i := len(b.ended) - 1; i >= 0; i-- {
			b.ended[i]()
		}
	})
}

func (b *bench) begin(paddock, reference string) {
	dir, err := os.MkdirTemp("", "pb-") /* short: unix socket paths end at 107 bytes */
	check(err, "temporary directory")
	b.dir = dir
	b.atEnd(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"t", "bin", "alloc"} {
		check(os.Mkdir(filepath.Join(dir, sub), 0o755), "temporary directory")
	}
	check(os.Setenv("TMPDIR", filepath.Join(dir, "t")), "TMPDIR")
	b.atEnd(func() { killBelow(filepath.Join(dir, "bin")) })

	b.daemon, err = engine.StartDaemon(filepath.Join(dir, "d"))
	check(err, "dockerd")
	b.docker = newDocker(b.daemon.Socket())
	b.atEnd(func() {
		for _, err := range []error{b.docker.RemoveAll(), b.daemon.Stop()} {
			if err != nil {
				say("%v", err)
			}
		}
		unmountBelow(dir)
	})
	check(b.docker.importBusybox(), "making the image")

	for _, p := range []struct{ name, binary string }{{"paddock", paddock}, {"reference", reference}} {
		if p.binary == "" {
			say("no %s", p.name)
			continue
		}
		d, err := newDriver(b, p.name, p.binary)
		check(err, "%s", p.name)
		b.peers = append(b.peers, d)
	}
	b.peers = append(b.peers, &raw{b: b, docker: b.docker})
}
