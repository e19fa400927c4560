/*
 * Between the driver and dockerd: passes everything on, and lets a case change the system between
 * an answer of dockerd and the driver's next request.
 */
package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
)

const proxySocket = "/run/guest-docker.sock"

type dockerProxy struct {
	created func() /* called after dockerd has made a container, before the driver knows it */
}

/* Serves until the case ends. */
func (p *dockerProxy) serve(t *T) {
	_ = os.Remove(proxySocket)
	listener, err := net.Listen("unix", proxySocket)
	t.ok(err, "the proxy's socket")
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	forward.FlushInterval = -1
	forward.ErrorLog = log.New(io.Discard, "", 0) /* a killed plugin leaves open requests */
	forward.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", dockerSocket)
	}}
	forward.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == "POST" && strings.HasSuffix(r.Request.URL.Path, "/containers/create") && r.StatusCode == 201 {
			p.created()
		}
		return nil
	}
	server := &http.Server{Handler: forward}
	t.atEnd(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
}
