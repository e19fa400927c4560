/*
 * Docker over TCP with TLS: the plugin's tls block, and the environment variables of the docker
 * client. The server in front of dockerd asks for a certificate. All certificates are made here.
 */
package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = a.sign(t, "ca")
	return a
}

/* A certificate of this authority, or a self-signed one when the authority has none yet. hosts:
 * the names of a server. */
func (a *authority) sign(t *testing.T, name string, hosts ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err, "key")
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	ok(t, err, "serial")
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        a.cert == nil, BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	ok(t, err, "certificate")
	cert, err := x509.ParseCertificate(der)
	ok(t, err, "certificate")
	return cert, key
}

/* ca.pem, cert.pem and key.pem, as DOCKER_CERT_PATH needs them: this authority, and a client
 * certificate of the other. */
func (a *authority) certPath(t *testing.T, client *authority) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := client.sign(t, "client")
	der, err := x509.MarshalECPrivateKey(key)
	ok(t, err, "key")
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Raw},
		"key.pem":  {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		ok(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600), name)
	}
	return dir
}

/* A TLS server of this authority in front of dockerd. It accepts only the authority's clients.
 * Returns HOST:PORT. */
func (a *authority) serve(t *testing.T, host string) string {
	t.Helper()
	cert, key := a.sign(t, "server", host)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	ok(t, err, "listen")
	srv := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		Handler: proxyTo(run.dockerd.Socket())}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

func tlsBlock(dir string) string {
	return fmt.Sprintf("tls { ca = %q  cert = %q  key = %q }", dir+"/ca.pem", dir+"/cert.pem", dir+"/key.pem")
}

func TestDockerOverTLS(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	addr, alias := ours.serve(t, "127.0.0.1"), ours.serve(t, "elsewhere.example")
	good, stranger, deceived := ours.certPath(t, ours), ours.certPath(t, other), other.certPath(t, ours)
	plain := fmt.Sprintf("config { infra_image = %q }", imagePause)
	env := func(host, dir string, more ...string) []string {
		return append([]string{"DOCKER_HOST=" + host, "DOCKER_CERT_PATH=" + dir}, more...)
	}
	for _, c := range []struct {
		name   string
		config string
		env    []string
		reason string /* in the description of an unhealthy fingerprint */
		notRef string
	}{
		{name: "tls block", config: configAt("tcp://"+addr, tlsBlock(good))},
		{name: "https endpoint", config: configAt("https://"+addr, tlsBlock(good))},
		{name: "environment", config: plain, env: env("tcp://"+addr, good, "DOCKER_TLS_VERIFY=1")},
		{name: "environment, any server", config: plain, env: env("tcp://"+alias, deceived),
			notRef: "no TLS without DOCKER_TLS_VERIFY; the docker client since then leaves only the check away"},
		{name: "DOCKER_HOST without TLS", config: plain, env: []string{"DOCKER_HOST=" + run.dockerd.Endpoint()}},
		{name: "endpoint before the environment", config: configAt("tcp://"+addr, tlsBlock(good)),
			env: env("tcp://127.0.0.1:1", deceived, "DOCKER_TLS_VERIFY=1")},
		{name: "no client certificate", config: configAt("https://"+addr, fmt.Sprintf("tls { ca = %q }", good+"/ca.pem")), reason: addr},
		{name: "client of another authority", config: configAt("tcp://"+addr, tlsBlock(stranger)), reason: addr},
		{name: "server of another authority", config: configAt("tcp://"+addr, tlsBlock(deceived)), reason: "certificate"},
		{name: "server of another name", config: configAt("tcp://"+alias, tlsBlock(good)), reason: "certificate"},
		{name: "no TLS to a TLS port", config: configAt("tcp://"+addr, ""), reason: "HTTPS server"},
		{name: "certificates that do not exist", config: configAt("tcp://"+addr, tlsBlock("/no/such")), reason: "/no/such"},
		{name: "environment, server of another authority", config: plain, reason: "certificate",
			env: env("tcp://"+addr, deceived, "DOCKER_TLS_VERIFY=1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.reason != "" {
				paddockOnly(t, "some of these it finds at SetConfig, others it does not explain")
			}
			if c.notRef != "" {
				paddockOnly(t, c.notRef)
			}
			p := launchWith(t, launchOptions{config: c.config, env: c.env})
			f := firstFingerprint(t, p)
			if c.reason != "" {
				if f.Health != drivers.HealthStateUndetected || !strings.Contains(f.HealthDescription, c.reason) {
					t.Errorf("fingerprint %s %q: want undetected, with %q", f.Health, f.HealthDescription, c.reason)
				}
				return
			}
			if f.Health != drivers.HealthStateHealthy {
				t.Fatalf("fingerprint %s %q", f.Health, f.HealthDescription)
			}
			/* everything that connects to Docker: requests, the event stream, exec, the log pump */
			k := newTask(t, p, "tls", shell(`echo hello; cat`)+"\ninteractive = true").start(p)
			k.stdout.waitFor(t, 10*time.Second, "hello\n")
			out, err := p.ExecTask(k.id(), []string{"/bin/echo", "inside"}, 10*time.Second)
			ok(t, err, "ExecTask")
			if string(out.Stdout) != "inside\n" {
				t.Errorf("exec's output %q", out.Stdout)
			}
			ok(t, k.destroy(p), "DestroyTask")
		})
	}
}
