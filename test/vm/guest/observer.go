/*
 * Reads cpuset files about every millisecond, from a thread of its own on core 0, which no task
 * gets. For each file it keeps the spans of time in which the set was wrong.
 */
package main

import (
	"os"
	"sync"
	"syscall"
	"time"
)

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
	looks int
}

const lookEvery = time.Millisecond

func observe() *observer {
	o := &observer{files: map[string]*watched{}, stop: make(chan struct{}), done: make(chan struct{})}
	machine().begin()
	go o.loop()
	return o
}

func (o *observer) loop() {
	defer close(o.done)
	realTime(0)
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

/* Watches the file. From now on want is its right value. */
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

/* What was seen of the file since expect(): the spans with a wrong set, and whether it is wrong
 * now. */
func (o *observer) seen(path string) (wrong []span, wrongNow bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.files[path]
	return append([]span(nil), w.wrong...), w.open, w.err
}

func (o *observer) end() {
	close(o.stop)
	<-o.done
	machine().end()
	for _, w := range o.files {
		w.file.Close()
	}
}
