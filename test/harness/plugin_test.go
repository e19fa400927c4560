/*
 * The driver process as its host sees it: started by go-plugin (launch) and called by Nomad's own
 * driver client. Raw gRPC calls on the same connection make the requests that Nomad v1.6.3 has no
 * call for (Driver.Init and Shutdown, health, the go-plugin services) and messages that no honest
 * host would send.
 */
package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/zclconf/go-cty/cty/msgpack"
	"google.golang.org/grpc"
)

const (
	driverService = "/hashicorp.nomad.plugins.drivers.proto.Driver/"
	baseService   = "/hashicorp.nomad.plugins.base.proto.BasePlugin/"
)

/* The most that a plain call may take, with Docker's work. */
const callLimit = 30 * time.Second

type plug struct {
	t      testing.TB
	name   string
	client *goplugin.Client
	conn   *grpc.ClientConn
	stderr *buffer
	pid    int
	socket string
	drivers.DriverPlugin
}

type launchOptions struct {
	binary   string   /* default: the subject */
	name     string   /* file name of the program, default "docker"; a parallel test needs its own */
	env      []string /* added to ours; not in a parallel test */
	config   string   /* the plugin block's HCL; "-": no SetConfig at all */
	before   []string /* the program is the last argument of this command */
	reattach *goplugin.ReattachConfig
}

var binaries sync.Mutex

/*
 * Copies the binary under the given file name to a directory of its own, because the driver's name
 * is the name of its file. It is a copy, since a link may be followed to another name.
 */
func binaryAs(t testing.TB, binary, name string) string {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	dir := filepath.Join(run.dir, "bin", fmt.Sprintf("%x-%s", hash(binary), name))
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	ok(t, os.MkdirAll(dir, 0o755), "bin dir")
	src, err := os.Open(binary)
	ok(t, err, "the binary")
	defer src.Close()
	tmp := path + ".new"
	dst, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	ok(t, err, "copy of the binary")
	_, err = io.Copy(dst, src)
	ok(t, err, "copying the binary")
	ok(t, dst.Close(), "copying the binary")
	ok(t, os.Rename(tmp, path), "copying the binary")
	return path
}

func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

/* The plugin block of every test: our own dockerd, and no image pulled for networks. */
func baseConfig(extra string) string { return configAt(run.dockerd.Endpoint(), extra) }

func configAt(endpoint, extra string) string {
	return fmt.Sprintf(`config {
  endpoint = %q
  infra_image = %q
  %s
}`, endpoint, imagePause, extra)
}

/* Starts the subject, configured for our dockerd. It is killed at the end of the test. */
func launch(t testing.TB) *plug {
	t.Helper()
	return launchWith(t, launchOptions{})
}

func launchWith(t testing.TB, o launchOptions) *plug {
	t.Helper()
	if o.binary == "" {
		o.binary = run.subject
	}
	if o.name == "" {
		o.name = "docker"
	}
	p := &plug{t: t, name: o.name, stderr: &buffer{}}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: io.Discard})
	config := &goplugin.ClientConfig{
		HandshakeConfig: base.Handshake,
		Plugins: map[string]goplugin.Plugin{
			base.PluginTypeBase:   &base.PluginBase{},
			base.PluginTypeDriver: drivers.NewDriverPlugin(nil, logger),
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           logger,
		Stderr:           p.stderr,
	}
	if o.reattach != nil {
		config.Reattach = o.reattach
	} else {
		argv := append(slices.Clip(o.before), binaryAs(t, o.binary, o.name))
		config.Cmd = exec.Command(argv[0], argv[1:]...)
		/* go-plugin appends our own environment to the command's, so changes are made in ours */
		defer setEnv(o.env)()
	}
	p.client = goplugin.NewClient(config)
	t.Cleanup(func() {
		logPumps() /* remembers their folders, which are removed at the end */
		p.client.Kill()
		if run.isRef {
			removeSocket(p.socket)
		}
		if t.Failed() {
			t.Logf("the plugin's last words:\n%s", lastLines(p.stderr.String(), 40))
		}
	})
	rpc, err := p.client.Client()
	ok(t, err, "handshake with the plugin")
	p.conn = rpc.(*goplugin.GRPCClient).Conn
	raw, err := rpc.Dispense(base.PluginTypeDriver)
	ok(t, err, "dispense")
	p.DriverPlugin = raw.(drivers.DriverPlugin)
	p.pid = p.client.ReattachConfig().Pid
	p.socket = p.client.ReattachConfig().Addr.String()
	if o.config != "-" && o.reattach == nil {
		config := o.config
		if config == "" {
			config = baseConfig("")
		}
		ok(t, p.setConfig(t, config), "SetConfig")
	}
	return p
}

/* Sets "K=V" entries of the environment. Returns a function that undoes it. */
func setEnv(entries []string) (undo func()) {
	var undos []func()
	for _, e := range entries {
		key, value, _ := strings.Cut(e, "=")
		old, had := os.LookupEnv(key)
		os.Setenv(key, value)
		undos = append(undos, func() {
			if had {
				os.Setenv(key, old)
			} else {
				os.Unsetenv(key)
			}
		})
	}
	return func() {
		for _, u := range undos {
			u()
		}
	}
}

/* SetConfig with agent configuration, as the driver manager sends it. */
func (p *plug) setConfig(t testing.TB, hcl string) error {
	t.Helper()
	return p.setConfigBytes(t, p.configBytes(t, hcl), true)
}

func (p *plug) setConfigBytes(t testing.TB, data []byte, withAgent bool) error {
	t.Helper()
	config := &base.Config{ApiVersion: drivers.ApiVersion010, PluginConfig: data}
	if withAgent {
		config.AgentConfig = &base.AgentConfig{Driver: &base.ClientDriverConfig{ClientMinPort: 14000, ClientMaxPort: 14512}}
	}
	return errWithin(t, callLimit, "SetConfig", func() error { return p.SetConfig(config) })
}

/* The plugin block's HCL, encoded like the agent does, by the plugin's own schema. */
func (p *plug) configBytes(t testing.TB, hcl string) []byte {
	t.Helper()
	spec, err := p.ConfigSchema()
	ok(t, err, "ConfigSchema")
	data, err := encode(spec, hclToInterface(t, hcl))
	ok(t, err, "evaluating the plugin block")
	return data
}

/* Evaluates a config value by a schema with Nomad's own code. Returns msgpack. */
func encode(spec *hclspec.Spec, config any) ([]byte, error) {
	dec, diags := hclspecutils.Convert(spec)
	if diags.HasErrors() {
		return nil, fmt.Errorf("the schema does not convert: %v", diags)
	}
	val, diags, errs := hclutils.ParseHclInterface(config, dec, nil)
	if diags.HasErrors() {
		return nil, fmt.Errorf("%v", errs)
	}
	return msgpack.Marshal(val, val.Type())
}

/* The first fingerprint of a new stream. */
func firstFingerprint(t *testing.T, p *plug) *drivers.Fingerprint {
	t.Helper()
	return firstFingerprintWithin(t, p, 20*time.Second)
}

func firstFingerprintWithin(t *testing.T, p *plug, limit time.Duration) *drivers.Fingerprint {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.Fingerprint(ctx)
	ok(t, err, "Fingerprint")
	select {
	case f := <-ch:
		return f
	case <-time.After(limit):
		t.Fatalf("no fingerprint within %v", limit)
		return nil
	}
}

/* Sends SIGKILL, as in a crash. Returns when the host has noticed. */
func (p *plug) crash(t testing.TB) {
	t.Helper()
	ok(t, syscall.Kill(p.pid, syscall.SIGKILL), "kill -9 of the plugin")
	eventually(t, 10*time.Second, "the host notices that the plugin died (no other process has its stdout and stderr)",
		func() (bool, string) { return p.client.Exited(), "not exited" })
	/* no process can remove its socket after SIGKILL; a private directory is removed, too */
	removeSocket(p.socket)
}

/* A raw call. The caller encodes request and answer as protobuf. */
func (p *plug) raw(ctx context.Context, method string, request []byte) ([]byte, error) {
	return rawCall(ctx, p.conn, method, request)
}

func rawCall(ctx context.Context, conn *grpc.ClientConn, method string, request []byte) ([]byte, error) {
	var reply []byte
	err := conn.Invoke(ctx, method, &request, &reply, grpc.ForceCodec(bytesCodec{}))
	return reply, err
}

func rawStream(ctx context.Context, conn *grpc.ClientConn, method string) (grpc.ClientStream, error) {
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	return conn.NewStream(ctx, desc, method, grpc.ForceCodec(bytesCodec{}))
}

/* Passes bytes through. It is named "proto" so that the content-type is the one that a host
 * sends. */
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

/* Hand-encoded protobuf: a length-delimited field. */
func pbBytes(field int, data string) []byte {
	out := pbVarint(uint64(field)<<3 | 2)
	out = append(out, pbVarint(uint64(len(data)))...)
	return append(out, data...)
}

func pbVarint(v uint64) []byte {
	var out []byte
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

func timeout(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}
