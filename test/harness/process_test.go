/*
 * The plugin as a process: only the handshake line on stdout, the private socket, the cookie,
 * signals, a closed stderr, and the services that go-plugin expects beside Nomad's. The test itself
 * is the host here, without go-plugin's code.
 */
package harness

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/base"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

type bare struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	errPip *os.File /* our end of its stderr */
	stderr *buffer
	socket string
	done   chan struct{} /* closed when the process was waited for */
}

/* The environment of a host, with changes: "K=V" sets, "K" alone removes. */
func hostEnv(changes ...string) []string {
	env := append(os.Environ(),
		base.Handshake.MagicCookieKey+"="+base.Handshake.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=2", "PLUGIN_MIN_PORT=10000", "PLUGIN_MAX_PORT=25000")
	for _, c := range changes {
		key, _, set := strings.Cut(c, "=")
		kept := env[:0:0]
		for _, e := range env {
			if !strings.HasPrefix(e, key+"=") {
				kept = append(kept, e)
			}
		}
		env = kept
		if set {
			env = append(env, c)
		}
	}
	return env
}

func startBare(t *testing.T, env ...string) *bare {
	t.Helper()
	errR, errW, err := os.Pipe()
	ok(t, err, "pipe")
	b := startBareTo(t, errR, errW, env...)
	go func() { _, _ = io.Copy(b.stderr, errR) }()
	return b
}

/* Starts it with a pipe for its stderr that is not read yet. */
func startBareTo(t *testing.T, errR, errW *os.File, env ...string) *bare {
	t.Helper()
	outR, outW, err := os.Pipe()
	ok(t, err, "pipe")
	b := &bare{t: t, errPip: errR, stderr: &buffer{}, done: make(chan struct{}), stdout: bufio.NewReader(outR)}
	b.cmd = exec.Command(binaryAs(t, run.subject, "docker"))
	b.cmd.Env, b.cmd.Stdout, b.cmd.Stderr = hostEnv(env...), outW, errW
	ok(t, b.cmd.Start(), "starting the plugin")
	outW.Close()
	errW.Close()
	go func() {
		_ = b.cmd.Wait()
		close(b.done)
	}()
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		<-b.done
		outR.Close()
		errR.Close()
		if b.socket != "" {
			removeSocket(b.socket)
		}
		if t.Failed() {
			t.Logf("stderr:\n%s", lastLines(b.stderr.String(), 30))
		}
	})
	return b
}

/* Reads the handshake and notes the socket. */
func (b *bare) handshake() string {
	b.t.Helper()
	var line string
	err := errWithin(b.t, 10*time.Second, "the handshake line", func() (err error) {
		line, err = b.stdout.ReadString('\n')
		return err
	})
	ok(b.t, err, "the handshake line")
	if f := strings.Split(line, "|"); len(f) >= 4 {
		b.socket = f[3]
	}
	return line
}

func (b *bare) dial() *grpc.ClientConn {
	b.t.Helper()
	conn, err := grpc.Dial("unix:"+b.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ok(b.t, err, "dial")
	b.t.Cleanup(func() { conn.Close() })
	return conn
}

func (b *bare) waitExit(limit time.Duration, what string) int {
	b.t.Helper()
	select {
	case <-b.done:
	case <-time.After(limit):
		b.t.Fatalf("%s: still running after %v", what, limit)
	}
	return b.cmd.ProcessState.ExitCode()
}

func (b *bare) mustLive(what string) *grpc.ClientConn {
	b.t.Helper()
	conn := b.dial()
	ctx, cancel := timeout(5 * time.Second)
	defer cancel()
	if _, err := rawCall(ctx, conn, baseService+"PluginInfo", nil); err != nil {
		b.t.Fatalf("%s: the plugin must keep running, but PluginInfo returns: %v", what, err)
	}
	return conn
}

/* go-plugin's own server stops before its answer is sent, and its host ignores that. Ours
 * answers. */
func shutDown(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	t.Helper()
	if _, err := rawCall(ctx, conn, "/plugin.GRPCController/Shutdown", nil); err != nil && !run.isRef {
		t.Fatalf("GRPCController.Shutdown must answer before the process goes: %v", err)
	}
}

func TestHandshakeIsOneLineAndTheSocketListens(t *testing.T) {
	b := startBare(t)
	line := b.handshake()
	if !regexp.MustCompile(`^1\|2\|unix\|/[^|]+\|grpc\|\n$`).MatchString(line) {
		t.Fatalf("handshake line %q: want 1|2|unix|/path|grpc|", line)
	}
	if len(b.socket) > 107 {
		t.Fatalf("socket path of %d bytes: unix sockets end at 107", len(b.socket))
	}
	/* the host dials immediately, with calls that fail fast: the plugin must be listening already */
	c, err := net.Dial("unix", b.socket)
	ok(t, err, "the socket listens before the line is printed")
	c.Close()
	b.mustLive("a connection that was closed immediately")
}

func TestHandshakeNothingElseOnStdout(t *testing.T) {
	b := startBare(t)
	b.handshake()
	conn := b.mustLive("handshake")
	ctx, cancel := timeout(5 * time.Second)
	defer cancel()
	shutDown(t, ctx, conn)
	var rest []byte
	ok(t, errWithin(t, 10*time.Second, "end of stdout", func() (err error) {
		rest, err = io.ReadAll(b.stdout)
		return err
	}), "end of stdout")
	if len(rest) > 0 {
		t.Fatalf("stdout after the handshake line: %q; want nothing", rest)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	paddockOnly(t, "its socket lies in the shared temporary directory, mode by umask")
	b := startBare(t)
	b.handshake()
	dir, err := os.Stat(filepath.Dir(b.socket))
	ok(t, err, "socket directory")
	sock, err := os.Stat(b.socket)
	ok(t, err, "socket")
	if dir.Mode().Perm()&0o077 != 0 && sock.Mode().Perm()&0o077 != 0 {
		t.Fatalf("directory %v, socket %v: one of both must be closed to others", dir.Mode(), sock.Mode())
	}
	if dir.Mode().Perm() != 0o700 {
		t.Fatalf("socket directory %s has mode %v, want 0700", filepath.Dir(b.socket), dir.Mode().Perm())
	}
}

func TestSocketDirectoryOfTheHostIsHonoured(t *testing.T) {
	paddockOnly(t, "go-plugin 1.4.10 does not know PLUGIN_UNIX_SOCKET_DIR")
	dir, err := os.MkdirTemp("", "sd")
	ok(t, err, "temp dir")
	b := startBare(t, "PLUGIN_UNIX_SOCKET_DIR="+dir)
	b.handshake()
	if !strings.HasPrefix(b.socket, dir+"/") {
		t.Fatalf("socket %s: PLUGIN_UNIX_SOCKET_DIR asked for %s", b.socket, dir)
	}
}

func TestWrongCookieIsExplainedOnStderr(t *testing.T) {
	for name, change := range map[string]string{
		"wrong":   base.Handshake.MagicCookieKey + "=nonsense",
		"absent":  base.Handshake.MagicCookieKey,
		"trimmed": base.Handshake.MagicCookieKey + "=" + base.Handshake.MagicCookieValue[1:],
	} {
		t.Run(name, func(t *testing.T) {
			if name == "absent" {
				/* without any cookie paddock is the command line program, which prints its help */
				paddockOnly(t, "calls itself a plugin, exit 1, like for a wrong cookie")
			}
			b := startBare(t, change)
			code := b.waitExit(5*time.Second, "started without the cookie")
			out, _ := io.ReadAll(b.stdout)
			eventually(t, 5*time.Second, "a word on stderr or help on stdout", func() (bool, string) {
				return b.stderr.Len() > 0 || (name == "absent" && len(out) > 0), ""
			})
			if name == "absent" {
				return
			}
			if code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			if len(out) > 0 {
				t.Errorf("stdout %q: a wrong cookie must print nothing there", out)
			}
			if !strings.Contains(b.stderr.String(), "plugin") {
				t.Errorf("stderr %q: must say that this is a plugin", b.stderr.String())
			}
		})
	}
}

func TestClientCertificateIsRefusedClearly(t *testing.T) {
	paddockOnly(t, "does mutual TLS")
	b := startBare(t, "PLUGIN_CLIENT_CERT=-----BEGIN CERTIFICATE-----")
	if code := b.waitExit(5*time.Second, "PLUGIN_CLIENT_CERT set"); code == 0 {
		t.Error("exit status 0, want a failure")
	}
	if out, _ := io.ReadAll(b.stdout); len(out) > 0 {
		t.Errorf("stdout %q, want nothing", out)
	}
	eventually(t, 5*time.Second, "the refusal names PLUGIN_CLIENT_CERT", func() (bool, string) {
		return strings.Contains(b.stderr.String(), "PLUGIN_CLIENT_CERT"), b.stderr.String()
	})
}

func TestSignalsOfATerminalAndSigpipeAreIgnored(t *testing.T) {
	b := startBare(t)
	b.handshake()
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGPIPE, syscall.SIGINT}
	if !run.isRef { /* go-plugin does not catch SIGHUP: a Go program ends */
		signals = append(signals, syscall.SIGHUP)
	}
	for _, sig := range signals {
		ok(t, b.cmd.Process.Signal(sig), "signal")
		b.mustLive(sig.String())
	}
}

func TestClosedStderrIsSurvived(t *testing.T) {
	b := startBare(t)
	b.handshake()
	conn := b.mustLive("handshake")
	/* like a crash of the agent: the pipe has no reader, and writes fail with EPIPE */
	b.errPip.Close()
	for i := 0; i < 20; i++ {
		ctx, cancel := timeout(5 * time.Second)
		/* a refused configuration makes it log a line */
		_, _ = rawCall(ctx, conn, baseService+"SetConfig", pbBytes(1, "\xc1 not msgpack"))
		_, _ = rawCall(ctx, conn, driverService+"StartTask", pbBytes(1, ""))
		cancel()
	}
	b.mustLive("EPIPE on stderr")
}

/* A stopped agent does not read, so its pipe fills up. A log line must then delay no request. */
func TestFullStderrDelaysNoRequest(t *testing.T) {
	if run.isRef { /* the reference does not reach its handshake */
		return
	}
	errR, errW, err := os.Pipe()
	ok(t, err, "pipe")
	ok(t, errW.SetWriteDeadline(time.Now().Add(100*time.Millisecond)), "deadline")
	if _, err = errW.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the pipe is not full: %v", err)
	}
	b := startBareTo(t, errR, errW)
	b.handshake()
	conn := b.mustLive("handshake")
	ctx, cancel := timeout(10 * time.Second)
	defer cancel()
	/* the first fingerprint logs whether Docker answers */
	_, err = rawCall(ctx, conn, baseService+"SetConfig", pbBytes(2, string(pbBytes(1, ""))))
	ok(t, err, "SetConfig")
	s, err := rawStream(ctx, conn, driverService+"Fingerprint")
	ok(t, err, "Fingerprint")
	empty := []byte{}
	ok(t, s.SendMsg(&empty), "Fingerprint")
	ok(t, s.CloseSend(), "Fingerprint")
	ok(t, s.RecvMsg(&empty), "the first fingerprint")
	shutDown(t, ctx, conn)
	b.waitExit(5*time.Second, "Shutdown")
}

func TestShutdownAnswersAndExitsWithinTwoSeconds(t *testing.T) {
	b := startBare(t)
	b.handshake()
	conn := b.mustLive("handshake")
	/* open streams must not delay it */
	for _, m := range []string{"/plugin.GRPCStdio/StreamStdio", driverService + "TaskEvents"} {
		s, err := rawStream(context.Background(), conn, m)
		ok(t, err, m)
		empty := []byte{}
		ok(t, s.SendMsg(&empty), m)
		ok(t, s.CloseSend(), m)
	}
	start := time.Now()
	ctx, cancel := timeout(2 * time.Second)
	defer cancel()
	shutDown(t, ctx, conn)
	b.waitExit(2*time.Second-time.Since(start), "Shutdown")
	if _, err := os.Lstat(b.socket); err == nil && !run.isRef {
		t.Errorf("socket %s is still there after Shutdown", b.socket)
	}
	if _, err := os.Lstat(filepath.Dir(b.socket)); err == nil && !run.isRef {
		t.Errorf("directory %s is still there after Shutdown", filepath.Dir(b.socket))
	}
}

func TestSigtermEndsIt(t *testing.T) {
	paddockOnly(t, "dies of the signal, the socket stays")
	b := startBare(t)
	b.handshake()
	b.mustLive("handshake")
	ok(t, b.cmd.Process.Signal(syscall.SIGTERM), "SIGTERM")
	b.waitExit(3*time.Second, "SIGTERM")
	if _, err := os.Lstat(b.socket); err == nil {
		t.Errorf("socket %s is still there after SIGTERM", b.socket)
	}
}

func TestHundredConnectionsClosedImmediately(t *testing.T) {
	b := startBare(t)
	b.handshake()
	for i := 0; i < 100; i++ {
		c, err := net.Dial("unix", b.socket)
		ok(t, err, "connect")
		if i%2 == 1 {
			_, _ = c.Write([]byte("PRI * HTTP/2.0\r\n")) /* half of a preface */
		}
		c.Close()
	}
	b.mustLive("100 connections that were closed immediately")
}

func TestHealth(t *testing.T) {
	b := startBare(t)
	b.handshake()
	conn := b.dial()
	check := func(service string) ([]byte, error) {
		ctx, cancel := timeout(5 * time.Second)
		defer cancel()
		var req []byte
		if service != "" {
			req = pbBytes(1, service)
		}
		return rawCall(ctx, conn, "/grpc.health.v1.Health/Check", req)
	}
	serving := string([]byte{0x08, 0x01})
	reply, err := check("plugin")
	ok(t, err, `health of "plugin"`)
	if string(reply) != serving {
		t.Errorf(`health of "plugin": answer %x, want SERVING (%x)`, reply, serving)
	}
	if _, err := check("another owner"); status.Code(err) != codes.NotFound {
		t.Errorf("health of an unknown service: %v, want NotFound", err)
	}
	reply, err = check("")
	ok(t, err, "health of the whole server")
	if string(reply) != serving {
		t.Errorf("health of the whole server: answer %x, want SERVING (%x)", reply, serving)
	}
}

/* The host opens these first on every connection. When one ends, the host logs it or opens it
 * again in a busy loop. */
func TestLongStreamsStayOpen(t *testing.T) {
	t.Parallel()
	p := launch(t)
	for _, m := range []string{
		"/plugin.GRPCStdio/StreamStdio", "/plugin.GRPCBroker/StartStream",
		driverService + "TaskEvents", driverService + "Fingerprint",
	} {
		t.Run(m[strings.LastIndex(m, "/")+1:], func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s, err := rawStream(ctx, p.conn, m)
			ok(t, err, "open")
			empty := []byte{}
			ok(t, s.SendMsg(&empty), "request")
			ended := make(chan error, 1)
			go func() {
				for {
					var msg []byte
					if err := s.RecvMsg(&msg); err != nil {
						ended <- err
						return
					}
				}
			}()
			/* the test shows that nothing happens, so it has to wait */
			select {
			case err := <-ended:
				t.Fatalf("ended by itself: %v", err)
			case <-time.After(1500 * time.Millisecond):
			}
			cancel()
			select {
			case err := <-ended:
				if status.Code(err) != codes.Canceled {
					t.Fatalf("after the host's cancel: %v, want Canceled", err)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the host's cancel did not end it")
			}
		})
	}
}

func TestUnknownMethodIsUnimplemented(t *testing.T) {
	p := launch(t)
	for _, m := range []string{driverService + "Teleport", "/no.such.Service/Call", "/x"} {
		ctx, cancel := timeout(5 * time.Second)
		_, err := p.raw(ctx, m, nil)
		cancel()
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v, want Unimplemented", m, err)
		}
	}
}

/* RPCs of hosts that are newer than v1.6.3: called by name with empty messages, as those hosts
 * do. */
func TestInitAndDriverShutdownAnswer(t *testing.T) {
	paddockOnly(t, "v1.6.3 has neither")
	p := launch(t)
	k := newTask(t, p, "stays", sleeper).start(p)
	for _, m := range []string{"Init", "Init", "Shutdown"} {
		ctx, cancel := timeout(2 * time.Second)
		_, err := p.raw(ctx, driverService+m, nil)
		cancel()
		ok(t, err, "Driver."+m)
	}
	if !k.inspect().running() {
		t.Fatal("Driver.Shutdown touched the container: tasks must go on")
	}
}

/* Every log line is a JSON object with string members where the host asserts strings (it panics
 * otherwise). */
func TestStderrLinesAreHclogJSON(t *testing.T) {
	p := launchWith(t, launchOptions{config: `config { endpoint = "unix:///tmp/paddock-no-such-socket" }`, env: []string{shortDocker}})
	_ = p.setConfig(t, baseConfig(`gc { image_delay = "nonsense" }`))
	k := newTask(t, p, "nope", sleeper)
	_ = k.tryStart(p)
	/* every driver logs a dockerd that cannot be reached */
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.Fingerprint(ctx)
	ok(t, err, "Fingerprint")
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		t.Fatal("no fingerprint")
	}
	eventually(t, 10*time.Second, "a line in the log about a dockerd that cannot be reached", func() (bool, string) { return p.stderr.Len() > 0, "nothing" })
	text := p.stderr.String()
	checkLogLines(t, text)
}
