/*
 * The client's side of the plugin: Nomad's own driver client over go-plugin, with the real binary.
 */
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/msgpack"
)

const pluginPath = "/opt/nomad/plugins/docker"
const allocRoot = "/opt/nomad/played"

/* The plugin's last output, for the report of a failure. */
var pluginStderr lockedBuffer

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > 1<<20 {
		b.buf.Reset()
	}
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

/* After a failure: the plugin's last warnings. */
func explain() {
	var lines []string
	for _, line := range strings.Split(pluginStderr.take(), "\n") {
		if strings.Contains(line, `"@level":"warn"`) || strings.Contains(line, `"@level":"error"`) || line != "" && line[0] != '{' {
			lines = append(lines, fmt.Sprintf("%.400s", line))
		}
	}
	if len(lines) > 10 {
		lines = lines[len(lines)-10:]
	}
	for _, line := range lines {
		fmt.Printf("# plugin: %s\n", line)
	}
	for _, line := range strings.Split(agentLog(40), "\n") {
		if strings.Contains(line, "[WARN]") || strings.Contains(line, "[ERROR]") || strings.HasPrefix(line, "==>") {
			fmt.Printf("# agent: %.400s\n", line)
		}
	}
}

type host struct {
	drivers.DriverPlugin
	client *goplugin.Client
	pid    int
	stop   context.CancelFunc
	mu     sync.Mutex
	events []*drivers.TaskEvent
}

/* The messages of the task's events so far. */
func (h *host) eventTexts(taskID string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, e := range h.events {
		if e.TaskID == taskID {
			all = append(all, e.Message)
		}
	}
	return all
}

/* Starts the plugin and waits until it finds Docker healthy. */
func launch(t *T) *host {
	h, prints := launchWith(t, map[string]any{})
	t.healthy(prints)
	return h
}

func (t *T) healthy(prints <-chan *drivers.Fingerprint) {
	deadline := time.After(30 * time.Second)
	for {
		select {
		case fp := <-prints:
			if fp.Health == drivers.HealthStateHealthy {
				return
			}
		case <-deadline:
			t.fatalf("the plugin does not become healthy")
		}
	}
}

/* Starts the plugin like the client: SetConfig, then the two streams that stay open. */
func launchWith(t *T, block map[string]any) (*host, <-chan *drivers.Fingerprint) {
	logger := hclog.NewNullLogger()
	h := &host{client: goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: base.Handshake,
		Plugins: map[string]goplugin.Plugin{
			base.PluginTypeBase:   &base.PluginBase{},
			base.PluginTypeDriver: drivers.NewDriverPlugin(nil, logger),
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Cmd:              exec.Command(pluginPath),
		Logger:           logger,
		Stderr:           &pluginStderr,
	})}
	t.atEnd(h.client.Kill)
	rpc, err := h.client.Client()
	t.ok(err, "the plugin's handshake")
	raw, err := rpc.Dispense(base.PluginTypeDriver)
	t.ok(err, "dispense")
	h.DriverPlugin = raw.(drivers.DriverPlugin)
	h.pid = h.client.ReattachConfig().Pid

	spec, err := h.ConfigSchema()
	t.ok(err, "ConfigSchema")
	if block["endpoint"] == nil {
		block["endpoint"] = "unix://" + dockerSocket
	}
	config, err := encode(spec, block)
	t.ok(err, "plugin block")
	t.ok(h.SetConfig(&base.Config{
		ApiVersion: drivers.ApiVersion010, PluginConfig: config,
		AgentConfig: &base.AgentConfig{Driver: &base.ClientDriverConfig{ClientMinPort: 14000, ClientMaxPort: 14512}},
	}), "SetConfig")

	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	t.atEnd(cancel)
	prints, err := h.Fingerprint(ctx)
	t.ok(err, "Fingerprint")
	events, err := h.TaskEvents(ctx)
	t.ok(err, "TaskEvents")
	healthy := make(chan *drivers.Fingerprint, 64)
	go func() {
		for fp := range prints {
			select {
			case healthy <- fp:
			default:
			}
		}
	}()
	go func() {
		for e := range events {
			h.mu.Lock()
			h.events = append(h.events, e)
			h.mu.Unlock()
		}
	}()
	return h, healthy
}

/* Sends SIGKILL. Returns when the host has noticed, like the agent. */
func (h *host) crash(t *T) {
	t.ok(syscall.Kill(h.pid, syscall.SIGKILL), "kill -9 of the plugin")
	t.eventually(15*time.Second, "the host notices that the plugin is dead",
		func() (bool, string) { return h.client.Exited(), "not exited" })
}

func encodeValue(spec *hclspec.Spec, config any) (cty.Value, error) {
	dec, diags := hclspecutils.Convert(spec)
	if diags.HasErrors() {
		return cty.NilVal, diags
	}
	val, diags, errs := hclutils.ParseHclInterface(config, dec, nil)
	if diags.HasErrors() {
		return cty.NilVal, fmt.Errorf("%v", errs)
	}
	return val, nil
}

func encode(spec *hclspec.Spec, config any) ([]byte, error) {
	val, err := encodeValue(spec, config)
	if err != nil {
		return nil, err
	}
	return msgpack.Marshal(val, val.Type())
}

/* A task of the simulated client. */
type task struct {
	cfg    *drivers.TaskConfig
	handle *drivers.TaskHandle
	scope  string
	cores  set
	box    *container
	cgroup string
	stdout *lockedBuffer
}

func (k *task) cpusFile() string { return filepath.Join(k.cgroup, "cpuset.cpus") }

/*
 * Starts a task on the plugin. cores "" is a task of the shared pool. Otherwise the cores are
 * reserved first, as the client's prerun hook does, and the caller releases them.
 */
func start(t *T, h *host, l *layout, name, cores, script string) *task {
	return startWith(t, h, l.scope, name, cores, script, nil)
}

/* scope makes the task's source; more goes into the task block. */
func startWith(t *T, h *host, scope func(t *T, alloc, task, cores string) string, name, cores, script string, more map[string]any) *task {
	out := &lockedBuffer{}
	k := startTo(t, h, scope, name, cores, script, more, out)
	k.stdout = out
	return k
}

/* The task's stdout goes to out, which is closed at the task's end when it is a Closer. */
func startTo(t *T, h *host, scope func(t *T, alloc, task, cores string) string, name, cores, script string, more map[string]any, out io.Writer) *task {
	alloc := uuid.Generate()
	dir := filepath.Join(allocRoot, alloc)
	for _, sub := range []string{"alloc/logs", "alloc/data", "alloc/tmp", name + "/local", name + "/secrets", name + "/tmp"} {
		t.ok(os.MkdirAll(filepath.Join(dir, sub), 0o777), "alloc dir")
	}
	k := &task{cores: mustSet(cores), scope: scope(t, alloc, name, cores)}
	k.cfg = &drivers.TaskConfig{
		ID: fmt.Sprintf("%s/%s/%s", alloc, name, uuid.Generate()[:8]), Name: name, AllocID: alloc,
		JobName: "played", JobID: "played", TaskGroupName: "group", Namespace: "default", NodeName: "guest",
		NodeID: uuid.Generate(), AllocDir: dir,
		Env: map[string]string{
			"NOMAD_ALLOC_DIR": "/alloc", "NOMAD_TASK_DIR": "/local", "NOMAD_SECRETS_DIR": "/secrets",
			"NOMAD_ALLOC_ID": alloc, "NOMAD_TASK_NAME": name,
		},
		Resources: &drivers.Resources{
			NomadResources: &structs.AllocatedTaskResources{
				Memory: structs.AllocatedMemoryResources{MemoryMB: 32},
				Cpu:    structs.AllocatedCpuResources{CpuShares: 100},
			},
			LinuxResources: &drivers.LinuxResources{
				CPUShares: 100, MemoryLimitBytes: 32 << 20, PercentTicks: 0.05,
				CpusetCpus: strings.Join(listOf(k.cores), ","), CpusetCgroupPath: k.scope,
			},
		},
		StdoutPath: filepath.Join(dir, "alloc/logs", "."+name+".stdout.fifo"),
		StderrPath: filepath.Join(dir, "alloc/logs", "."+name+".stderr.fifo"),
	}
	for path, to := range map[string]io.Writer{k.cfg.StdoutPath: out, k.cfg.StderrPath: io.Discard} {
		t.ok(syscall.Mkfifo(path, 0o600), "mkfifo")
		go drain(path, to)
	}
	spec, err := h.TaskConfigSchema()
	t.ok(err, "TaskConfigSchema")
	/* the host's network: without a network namespace, a container starts in half the time */
	block := map[string]any{
		"image": image, "command": "/bin/sh", "args": []string{"-c", script}, "network_mode": "host",
	}
	for key, value := range more {
		block[key] = value
	}
	val, err := encodeValue(spec, block)
	t.ok(err, "task block")
	t.ok(k.cfg.EncodeDriverConfig(val), "task block")
	handle, _, err := h.StartTask(k.cfg)
	if err != nil {
		_ = os.Remove(k.scope)
		t.ok(err, "StartTask "+name)
	}
	k.handle = handle
	t.atEnd(func() { _ = remove(name + "-" + alloc) })
	k.box, err = inspect(name + "-" + alloc)
	t.ok(err, "the task's container")
	if k.box.State.Running {
		k.cgroup, err = k.box.cgroup()
		t.ok(err, "the task's cgroup")
	}
	return k
}

func listOf(s set) []string {
	var out []string
	for i := 0; i < 64; i++ {
		if s&(1<<i) != 0 {
			out = append(out, fmt.Sprint(i))
		}
	}
	return out
}

func drain(path string, to io.Writer) {
	if f, err := os.Open(path); err == nil {
		_, _ = io.Copy(to, f)
		f.Close()
		if c, can := to.(io.Closer); can {
			_ = c.Close()
		}
	}
}

func (k *task) end(t *T, h *host) {
	t.ok(h.StopTask(k.cfg.ID, time.Second, "SIGKILL"), "StopTask")
	t.ok(h.DestroyTask(k.cfg.ID, true), "DestroyTask")
	_ = os.Remove(k.scope)
}

func (k *task) now() set {
	s, err := readSet(k.cpusFile())
	if err != nil {
		panic(failure(err.Error()))
	}
	return s
}

/* Outside writes are undone immediately. */
func (k *task) repairs(t *T, want set, when string) {
	var all []span
	t.asObserver(func() {
		for i := 0; i < outsideWrites; i++ {
			all = append(all, overwrite(t, k, want))
		}
	})
	t.inTime(when+" outside writes stood for", all)
}

func (k *task) unit() string { return "docker-" + k.box.ID + ".scope" }

/*
 * The container is on exactly this set, and no earlier set is still to be written. A set that
 * systemd gets while it writes an earlier one is written after that one. The unit's own record is
 * requested from systemd, not from the driver.
 */
func (k *task) settles(t *T, want set) {
	k.becomes(t, want, 5*time.Second)
	if cgroupDriver() != "systemd" {
		return
	}
	t.eventually(10*time.Second, "AllowedCPUs of "+k.cfg.Name, func() (bool, string) {
		out := t.sh("systemctl", "show", "-P", "AllowedCPUs", k.unit())
		got, err := parseSet(strings.ReplaceAll(out, " ", ","))
		return err == nil && got == want, out
	})
	k.becomes(t, want, 5*time.Second)
}

/* Waits until the container is on exactly this set. */
func (k *task) becomes(t *T, want set, limit time.Duration) {
	t.eventually(limit, fmt.Sprintf("%s on cores %s", k.cfg.Name, want), func() (bool, string) {
		s, err := readSet(k.cpusFile())
		if err != nil {
			return false, err.Error()
		}
		return s == want, s.String()
	})
}
