/*
 * Today's go-plugin (v1.8.0, which the newest Nomad links) as the host. It is a module of its own:
 * Nomad v1.6.3's test packages need go-plugin 1.4.10, and v1.8.0 needs Go 1.24, which an older
 * toolchain downloads automatically.
 *
 * The differences from 1.4.10 for a plugin: an exit is noticed only when stdout *and* stderr have
 * ended, the handshake is split into more fields, the mux environment exists, and gRPC is many
 * versions newer. Nomad's services are called by name with hand-encoded messages.
 */
package newhost

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const (
	cookie      = "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255"
	baseService = "/hashicorp.nomad.plugins.base.proto.BasePlugin/"
	drvService  = "/hashicorp.nomad.plugins.drivers.proto.Driver/"
)

var handshake = plugin.HandshakeConfig{
	ProtocolVersion: 2, MagicCookieKey: "NOMAD_PLUGIN_MAGIC_COOKIE", MagicCookieValue: cookie,
}

type driver struct{ plugin.NetRPCUnsupportedPlugin }

func (driver) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }
func (driver) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

type logText struct {
	sync.Mutex
	bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(p)
}

type host struct {
	client *plugin.Client
	conn   *grpc.ClientConn
	rpc    plugin.ClientProtocol
	log    *logText
}

func start(t *testing.T, reattach *plugin.ReattachConfig) *host {
	t.Helper()
	binary := os.Getenv("PADDOCK_BIN")
	if !filepath.IsAbs(binary) {
		t.Fatalf("PADDOCK_BIN: want an absolute path, have %q", binary)
	}
	h := &host{log: &logText{}}
	config := &plugin.ClientConfig{
		HandshakeConfig: handshake, Plugins: map[string]plugin.Plugin{"driver": driver{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Reattach: reattach,
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: h.log}),
	}
	if reattach == nil {
		config.Cmd = exec.Command(binary)
	}
	h.client = plugin.NewClient(config)
	t.Cleanup(func() {
		h.client.Kill()
		if t.Failed() {
			h.log.Lock()
			t.Logf("the host's log:\n%s", h.log.String())
			h.log.Unlock()
		}
	})
	var err error
	if h.rpc, err = h.client.Client(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	raw, err := h.rpc.Dispense("driver")
	if err != nil {
		t.Fatalf("dispense: %v", err)
	}
	h.conn = raw.(*grpc.ClientConn)
	return h
}

type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (raw) Name() string                       { return "proto" }

func (h *host) call(t *testing.T, method string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var request, reply []byte
	if err := h.conn.Invoke(ctx, method, &request, &reply, grpc.ForceCodec(raw{})); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return reply
}

func TestDispensePingAndInfo(t *testing.T) {
	h := start(t, nil)
	if err := h.rpc.Ping(); err != nil {
		t.Fatalf("Ping: %v", err)
	}
	if info := h.call(t, baseService+"PluginInfo"); !bytes.Contains(info, []byte("v0.1.0")) {
		t.Fatalf("PluginInfo %q: no API version v0.1.0 in it", info)
	}
	for _, m := range []string{baseService + "ConfigSchema", drvService + "TaskConfigSchema", drvService + "Capabilities"} {
		if reply := h.call(t, m); len(reply) == 0 {
			t.Errorf("%s: an empty answer", m)
		}
	}
}

/* The host asks for multiplexing in its broker. A plugin without it must still be dispensed or
 * clearly refused. */
func TestMultiplexingHost(t *testing.T) {
	binary := os.Getenv("PADDOCK_BIN")
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: handshake, Plugins: map[string]plugin.Plugin{"driver": driver{}}, Cmd: exec.Command(binary),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, GRPCBrokerMultiplex: true, Logger: hclog.NewNullLogger(),
	})
	defer client.Kill()
	done := make(chan error, 1)
	go func() { _, err := client.Client(); done <- err }()
	select {
	case err := <-done:
		t.Logf("a host that wants multiplexing: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("a host that wants multiplexing hangs")
	}
}

func TestKillIsGraceful(t *testing.T) {
	h := start(t, nil)
	begun := time.Now()
	h.client.Kill()
	if took := time.Since(begun); took > 2*time.Second {
		t.Fatalf("Kill took %v: the plugin must end by GRPCController.Shutdown, within 2 s", took)
	}
	h.log.Lock()
	defer h.log.Unlock()
	if bytes.Contains(h.log.Bytes(), []byte("failed to exit gracefully")) {
		t.Fatal("the host had to kill it")
	}
}

func TestCrashIsNoticed(t *testing.T) {
	h := start(t, nil)
	cfg := h.client.ReattachConfig()
	socket, pid := cfg.Addr.String(), cfg.Pid
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !h.client.Exited() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the host does not notice the crash: another process has the plugin's stdout or stderr")
		}
	}
	/* no process can remove its socket after SIGKILL */
	os.Remove(socket)
	if dir := filepath.Dir(socket); dir != filepath.Clean(os.TempDir()) {
		os.Remove(dir)
	}
}

func TestReattachAndKill(t *testing.T) {
	h := start(t, nil)
	again := start(t, h.client.ReattachConfig())
	again.call(t, baseService+"PluginInfo")
	h.call(t, baseService+"PluginInfo")
	again.client.Kill()
}
