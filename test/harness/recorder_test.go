/*
 * A proxy between the driver and dockerd that records what Docker gets: create requests and the
 * credentials of pulls, which Docker does not return.
 */
package harness

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

type recorder struct {
	endpoint string
	mu       sync.Mutex
	creates  map[string]doc /* container name to request body */
	auths    []doc          /* decoded X-Registry-Auth of each pull */
	pulls    int
	before   func(q *http.Request) /* of a test: called before Docker gets the request */
	close    func()                /* closes the endpoint */
}

/* A proxy to the dockerd at this socket. It passes each piece of an answer on immediately. */
func proxyTo(socket string) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Director:      func(q *http.Request) { q.URL.Scheme, q.URL.Host = "http", "docker" },
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}},
	}
}

func record(t *testing.T, socket string) *recorder {
	t.Helper()
	r := &recorder{creates: map[string]doc{}}
	path := filepath.Join(t.TempDir(), "r")
	l, err := net.Listen("unix", path)
	ok(t, err, "listen")
	r.endpoint = "unix://" + path
	proxy := proxyTo(socket)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.note(q)
		if r.before != nil {
			r.before(q)
		}
		proxy.ServeHTTP(w, q)
	})}
	go func() { _ = srv.Serve(l) }()
	r.close = func() { srv.Close() }
	t.Cleanup(func() {
		/* a pump that was started with this endpoint can no longer reach Docker */
		for _, p := range logPumps() {
			if strings.Contains(strings.Join(p.argv, " "), r.endpoint) {
				endProcess(t, p.pid)
			}
		}
		srv.Close()
	})
	return r
}

func (r *recorder) note(q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case strings.HasSuffix(q.URL.Path, "/containers/create"):
		body, _ := io.ReadAll(q.Body)
		q.Body = io.NopCloser(bytes.NewReader(body))
		q.ContentLength = int64(len(body))
		var d doc
		if json.Unmarshal(body, &d) == nil {
			r.creates[q.URL.Query().Get("name")] = doc{"Config": map[string]any(d), "HostConfig": d["HostConfig"], "NetworkingConfig": d["NetworkingConfig"]}
		}
	case strings.HasSuffix(q.URL.Path, "/images/create"):
		r.pulls++
		text := strings.TrimRight(q.Header.Get("X-Registry-Auth"), "=")
		data, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(text))
		var d doc
		if err == nil && json.Unmarshal(data, &d) == nil {
			r.auths = append(r.auths, d)
		}
	}
}

func (r *recorder) created(t *testing.T, name string) doc {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.creates[name]
	if d == nil {
		t.Fatalf("no create request for %s", name)
	}
	return d
}

func (r *recorder) lastAuth(t *testing.T) doc {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.auths) == 0 {
		t.Fatalf("no credentials in %d pulls", r.pulls)
	}
	return r.auths[len(r.auths)-1]
}
