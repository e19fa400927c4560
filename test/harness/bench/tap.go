/*
 * A socket between a driver and dockerd that measures the time of some of Docker's own calls. The
 * rest of a driver's call is the driver's own time. The time that this socket takes is counted as
 * the driver's.
 */
package main

import (
	"bytes"
	"net"
	"sync"
	"time"
)

type tap struct {
	mu    sync.Mutex
	spent time.Duration
}

/* Listens at path and connects each client to the unix socket upstream, until the run's end. */
func (b *bench) tap(path, upstream string) *tap {
	t := &tap{}
	l, err := net.Listen("unix", path)
	check(err, "%s", path)
	b.atEnd(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", upstream)
			if err != nil {
				in.Close()
				continue
			}
			go t.carry(in.(*net.UnixConn), out.(*net.UnixConn))
		}
	}()
	return t
}

/* Docker's part of a start: the requests that make a container and let it run. */
func makesOrStarts(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	return bytes.HasPrefix(line, []byte("POST ")) &&
		(bytes.Contains(line, []byte("/containers/create?")) || bytes.Contains(line, []byte("/start ")))
}

/* A request is expected to begin with a read of its own, as both drivers send it. */
func (t *tap) carry(in, out *net.UnixConn) {
	var mu sync.Mutex
	var asked time.Time
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := in.Read(buf)
			if makesOrStarts(buf[:n]) {
				mu.Lock()
				asked = time.Now()
				mu.Unlock()
			}
			if _, werr := out.Write(buf[:n]); err != nil || werr != nil {
				_ = out.CloseWrite()
				return
			}
		}
	}()
	defer in.Close()
	defer out.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := out.Read(buf)
		mu.Lock()
		if n > 0 && !asked.IsZero() {
			t.add(time.Since(asked))
			asked = time.Time{}
		}
		mu.Unlock()
		if _, werr := in.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (t *tap) add(d time.Duration) {
	t.mu.Lock()
	t.spent += d
	t.mu.Unlock()
}

/* The time since the last call. */
func (t *tap) take() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.spent
	t.spent = 0
	return d
}
