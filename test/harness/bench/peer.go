/* The peers: a driver behind Nomad's own client, and raw calls of the Docker API. */
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
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/mitchellh/mapstructure"
	ctymsgpack "github.com/zclconf/go-cty/cty/msgpack"
	"google.golang.org/grpc"
)

const logFileSize = "1g"

/* What every peer does with one container that runs a shell line. Errors end the run. */
type peer interface {
	label() string
	/* everything before the calls of a start, and these calls; folders: of the task itself, each
	 * mounted below the container's root by its name */
	prepare(line string, folders ...string) (*job, func() error)
	/* both; took is the time of the calls */
	start(line string, folders ...string) *job
	/* StopTask and DestroyTask, or the raw calls for them */
	end(j *job)
	/* removes it, whatever its state; not measured */
	discard(j *job)
	/* reports when the end of the container is known */
	wait(j *job) <-chan time.Time
	/* a failure does not end the run: the reference's are rarely refused, without a cause of ours */
	exec(j *job, command ...string) error
	execStream(j *job, command ...string) error
	/* calls got with the number of bytes of each piece of output, until the log ends */
	follow(j *job, got func(int))
	/* its processes */
	tree() []int
}

type job struct {
	container string /* id or name in Docker */
	took      time.Duration
	task      *drivers.TaskConfig
	handle    *drivers.TaskHandle
}

/* Makes the calls of a start. */
func (j *job) begin(calls func() error, who string) *job {
	begin := time.Now()
	err := calls()
	j.took = time.Since(begin)
	check(err, "%s: start", who)
	return j
}

/* ---- a driver ---- */

type driver struct {
	b            *bench
	name, binary string
	env          []string
	config       []byte /* the plugin block, encoded */
	endpoint     string
	allocs       string /* the client's alloc folder, which identifies the client for paddock */
	client       *goplugin.Client
	conn         *grpc.ClientConn
	pid          int
	schema       *hclspec.Spec
	logs         func(f *os.File) /* how a FIFO is read; default: to its end, without keeping the data */
	drivers.DriverPlugin
}

/* Starts the driver and configures it. The program is copied, because its processes are known by
 * the folder. */
func newDriver(b *bench, name, binary string) (*driver, error) {
	return newDriverAt(b, name, binary, "unix://"+b.daemon.Socket(), "")
}

/* extra: more of the plugin's configuration */
func newDriverAt(b *bench, name, binary, endpoint, extra string) (*driver, error) {
	d := &driver{b: b, name: name, endpoint: endpoint, binary: filepath.Join(b.dir, "bin", name, "docker"),
		allocs: filepath.Join(b.dir, "alloc")}
	if err := copyFile(binary, d.binary); err != nil {
		return nil, err
	}
	if err := d.launch(); err != nil {
		return nil, err
	}
	b.atEnd(func() { d.client.Kill() })
	spec, err := d.ConfigSchema()
	if err != nil {
		return nil, err
	}
	/*
	 * No garbage collection, because it would remove what another peer made. No rotation of
	 * dockerd's log files: at full speed it drops what any follower has not read yet, and the
	 * amounts could not be compared.
	 */
	d.config, err = encode(spec, fmt.Sprintf(`config {
  endpoint = %q
  logging {
    type = "json-file"
    config { max-size = "`+logFileSize+`" }
  }
  gc {
    image = false
    dangling_containers { enabled = false }
  }
  %s
}`, endpoint, extra))
	if err != nil {
		return nil, err
	}
	if d.schema, err = d.TaskConfigSchema(); err != nil {
		return nil, err
	}
	return d, d.configure()
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Close()
}

func (d *driver) launch() error {
	logger := hclog.NewNullLogger()
	d.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: base.Handshake,
		Plugins: map[string]goplugin.Plugin{
			base.PluginTypeBase:   &base.PluginBase{},
			base.PluginTypeDriver: drivers.NewDriverPlugin(nil, logger),
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           logger,
		Cmd:              exec.Command(d.binary),
	})
	rpc, err := d.client.Client()
	if err != nil {
		return err
	}
	raw, err := rpc.Dispense(base.PluginTypeDriver)
	if err != nil {
		return err
	}
	d.conn = rpc.(*goplugin.GRPCClient).Conn
	d.DriverPlugin = raw.(drivers.DriverPlugin)
	d.pid = d.client.ReattachConfig().Pid
	return nil
}

func (d *driver) configure() error {
	return d.SetConfig(&base.Config{
		ApiVersion:   drivers.ApiVersion010,
		PluginConfig: d.config,
		AgentConfig:  &base.AgentConfig{Driver: &base.ClientDriverConfig{ClientMinPort: 14000, ClientMaxPort: 14512}},
	})
}

/* Evaluates the one `config` block of an HCL text by a schema, like Nomad. Returns msgpack. */
func encode(spec *hclspec.Spec, text string) ([]byte, error) {
	root, err := hcl.Parse(text)
	if err != nil {
		return nil, err
	}
	var m, weak map[string]any
	if err := hcl.DecodeObject(&m, root.Node.(*ast.ObjectList).Items[0]); err != nil {
		return nil, err
	}
	if err := mapstructure.WeakDecode(m, &weak); err != nil {
		return nil, err
	}
	dec, diags := hclspecutils.Convert(spec)
	if diags.HasErrors() {
		return nil, diags
	}
	val, diags, errs := hclutils.ParseHclInterface(weak["config"], dec, nil)
	if diags.HasErrors() {
		return nil, fmt.Errorf("%v", errs)
	}
	return ctymsgpack.Marshal(val, val.Type())
}

func (d *driver) label() string { return d.name }
func (d *driver) tree() []int   { return processesBelow(filepath.Dir(d.binary)) }

/* A task as the client hands it over. Its FIFOs exist, and their readers wait for a writer. */
func (d *driver) task(image, line string, folders ...string) *job {
	alloc := uuid.Generate()
	dir := filepath.Join(d.allocs, alloc)
	for _, sub := range []string{"alloc/logs", "alloc/data", "t/local", "t/secrets"} {
		check(os.MkdirAll(filepath.Join(dir, sub), 0o777), "alloc dir")
	}
	var volumes []string
	for _, f := range folders {
		check(os.Mkdir(filepath.Join(dir, "t/local", f), 0o777), "alloc dir")
		volumes = append(volumes, fmt.Sprintf("%q", "local/"+f+":/"+f))
	}
	cfg := &drivers.TaskConfig{
		ID: alloc + "/t/" + uuid.Generate()[:8], Name: "t", AllocID: alloc, AllocDir: dir,
		JobName: "bench", JobID: "bench", TaskGroupName: "g", Namespace: "default", NodeName: "node",
		NodeID: "c2a1f4a0-0000-4000-8000-000000000001",
		Env:    map[string]string{"NOMAD_ALLOC_DIR": "/alloc", "NOMAD_TASK_DIR": "/local", "NOMAD_SECRETS_DIR": "/secrets"},
		Resources: &drivers.Resources{
			NomadResources: &structs.AllocatedTaskResources{
				Memory: structs.AllocatedMemoryResources{MemoryMB: 64},
				Cpu:    structs.AllocatedCpuResources{CpuShares: 100},
			},
			LinuxResources: &drivers.LinuxResources{CPUShares: 100, MemoryLimitBytes: 64 << 20, PercentTicks: 0.05},
		},
		StdoutPath: filepath.Join(dir, "alloc/logs/.t.stdout.fifo"),
		StderrPath: filepath.Join(dir, "alloc/logs/.t.stderr.fifo"),
	}
	data, err := encode(d.schema, fmt.Sprintf("config {\nimage = %q\ncommand = \"/bin/sh\"\nargs = [\"-c\", %q]\nvolumes = [%s]\n}",
		image, line, strings.Join(volumes, ", ")))
	check(err, "task block")
	/* the driver's bytes have no setter in Nomad: they are set as the value that they encode */
	ty, err := ctymsgpack.ImpliedType(data)
	check(err, "task block")
	val, err := ctymsgpack.Unmarshal(data, ty)
	check(err, "task block")
	check(cfg.EncodeDriverConfig(val), "task block")
	for _, path := range []string{cfg.StdoutPath, cfg.StderrPath} {
		check(syscall.Mkfifo(path, 0o600), "mkfifo")
	}
	return &job{container: "t-" + alloc, task: cfg}
}

func (d *driver) prepare(line string, folders ...string) (*job, func() error) {
	j := d.task(image, line, folders...)
	j.read(d.logs)
	return j, func() (err error) {
		j.handle, _, err = d.StartTask(j.task)
		return err
	}
}

func (d *driver) start(line string, folders ...string) *job {
	j, calls := d.prepare(line, folders...)
	return j.begin(calls, d.name)
}

/* Reads both FIFOs from their first writer to the end of the last one, like logmon. */
func (j *job) read(how func(*os.File)) {
	if how == nil {
		how = func(f *os.File) { _, _ = io.Copy(io.Discard, f) }
	}
	for _, path := range []string{j.task.StdoutPath, j.task.StderrPath} {
		go func(path string) {
			f, err := os.OpenFile(path, os.O_RDONLY, 0)
			if err == nil {
				how(f)
				f.Close()
			}
		}(path)
	}
}

func (d *driver) end(j *job) {
	check(d.StopTask(j.task.ID, 5*time.Second, ""), "%s: StopTask", d.name)
	check(d.DestroyTask(j.task.ID, true), "%s: DestroyTask", d.name)
}

func (d *driver) discard(j *job) {
	check(d.DestroyTask(j.task.ID, true), "%s: DestroyTask", d.name)
	j.release()
}

/* Ends readers that still wait for a writer, and removes the alloc directory. */
func (j *job) release() {
	for _, path := range []string{j.task.StdoutPath, j.task.StderrPath} {
		if w, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
			w.Close()
		}
	}
	_ = os.RemoveAll(j.task.AllocDir)
}

func (d *driver) wait(j *job) <-chan time.Time {
	out := make(chan time.Time, 1)
	ch, err := d.WaitTask(context.Background(), j.task.ID)
	check(err, "%s: WaitTask", d.name)
	go func() {
		<-ch
		out <- time.Now()
	}()
	return out
}

func (d *driver) exec(j *job, command ...string) error {
	r, err := d.ExecTask(j.task.ID, command, 10*time.Second)
	if err == nil && r.ExitResult.ExitCode != 0 {
		err = fmt.Errorf("exit code %d: %s", r.ExitResult.ExitCode, r.Stderr)
	}
	return err
}

func (d *driver) execStream(j *job, command ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := proto.NewDriverClient(d.conn).ExecTaskStreaming(ctx)
	if err != nil {
		return err
	}
	err = s.Send(&proto.ExecTaskStreamingRequest{Setup: &proto.ExecTaskStreamingRequest_Setup{
		TaskId: j.task.ID, Command: command}})
	if err != nil {
		return err
	}
	exited := false
	for {
		m, err := s.Recv()
		switch {
		case err == io.EOF && !exited:
			return fmt.Errorf("no exit was reported")
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		exited = exited || m.Exited
	}
}

func (d *driver) follow(*job, func(int)) {} /* its FIFOs report: driver.logs */

/* ---- raw calls ---- */

const rawWithLogs = "raw, with the mount of alloc/logs"

/* The calls that every driver needs, and no others. */
type raw struct {
	b      *bench
	docker docker
	times  bool /* asks for each line's time, as a driver must that continues after a loss */
	logs   bool /* mounts alloc/logs read-only, as paddock does and the built-in driver does not */
}

func (r *raw) label() string {
	if r.logs {
		return rawWithLogs
	}
	return "raw"
}

func (r *raw) tree() []int { return nil }

func (r *raw) prepare(line string, folders ...string) (*job, func() error) {
	alloc := uuid.Generate()
	dir := filepath.Join(r.b.dir, "alloc", alloc)
	var binds []string
	for _, sub := range []string{"alloc", "local", "secrets"} {
		check(os.MkdirAll(filepath.Join(dir, sub), 0o777), "alloc dir")
		binds = append(binds, filepath.Join(dir, sub)+":/"+sub)
	}
	for _, f := range folders {
		check(os.Mkdir(filepath.Join(dir, "local", f), 0o777), "alloc dir")
		binds = append(binds, filepath.Join(dir, "local", f)+":/"+f)
	}
	if r.logs {
		check(os.Mkdir(filepath.Join(dir, "alloc", "logs"), 0o777), "alloc dir")
		binds = append(binds, filepath.Join(dir, "alloc", "logs")+":/alloc/logs:ro")
	}
	j := &job{container: "t-" + alloc}
	body := map[string]any{
		"Image": image, "Cmd": []string{"/bin/sh", "-c", line},
		"Env":    []string{"NOMAD_ALLOC_DIR=/alloc", "NOMAD_SECRETS_DIR=/secrets", "NOMAD_TASK_DIR=/local"},
		"Labels": map[string]string{"com.hashicorp.nomad.alloc_id": alloc},
		"HostConfig": map[string]any{
			"Binds": binds, "Memory": 64 << 20, "MemorySwap": 64 << 20, "CpuShares": 100, "CapDrop": []string{"NET_RAW"},
			"LogConfig": map[string]any{"Type": "json-file", "Config": map[string]string{"max-size": logFileSize}},
		},
	}
	return j, func() error {
		if err := r.docker.call("POST", "/containers/create?name="+j.container, body, nil); err != nil {
			return err
		}
		return r.docker.call("POST", "/containers/"+j.container+"/start", nil, nil)
	}
}

func (r *raw) start(line string, folders ...string) *job {
	j, calls := r.prepare(line, folders...)
	return j.begin(calls, "raw")
}

func (r *raw) end(j *job) {
	check(r.docker.call("POST", "/containers/"+j.container+"/stop?t=5", nil, nil), "stop")
	r.remove(j)
}

func (r *raw) remove(j *job) {
	check(r.docker.call("DELETE", "/containers/"+j.container+"?force=1", nil, nil), "remove")
}

func (r *raw) discard(j *job) { r.remove(j) }

func (r *raw) wait(j *job) <-chan time.Time {
	out := make(chan time.Time, 1)
	resp, err := r.docker.open("POST", "/containers/"+j.container+"/wait?condition=not-running")
	check(err, "wait")
	go func() {
		_, _ = io.Copy(io.Discard, resp.Body)
		out <- time.Now()
		resp.Body.Close()
	}()
	return out
}

func (r *raw) exec(j *job, command ...string) error {
	var made struct {
		ID string `json:"Id"`
	}
	err := r.docker.call("POST", "/containers/"+j.container+"/exec",
		map[string]any{"AttachStdout": true, "AttachStderr": true, "Cmd": command}, &made)
	if err == nil {
		/* without an upgrade, the same stream is the answer's body */
		err = r.docker.call("POST", "/exec/"+made.ID+"/start", map[string]any{}, nil)
	}
	var state struct{ Running bool }
	if err == nil {
		err = r.docker.call("GET", "/exec/"+made.ID+"/json", nil, &state)
	}
	return err
}

func (r *raw) execStream(j *job, command ...string) error { return r.exec(j, command...) }

/* The log stream without its frames' heads and the lines' times. */
func (r *raw) follow(j *job, got func(int)) {
	path := "/containers/" + j.container + "/logs?follow=1&stdout=1&stderr=1"
	count := &frames{got: got}
	if r.times {
		path += "&timestamps=1"
		count.time = len("2006-01-02T15:04:05.000000000Z ")
	}
	resp, err := r.docker.open("GET", path)
	check(err, "logs")
	defer resp.Body.Close()
	_, err = io.CopyBuffer(count, resp.Body, make([]byte, 64<<10))
	check(err, "logs")
}

/* Reads the stream of frames (a head of 8 bytes, with the payload's length in its last 4) and
 * reports payload bytes. */
type frames struct {
	head []byte
	left int
	time int /* bytes at the start of each payload that do not count */
	skip int
	got  func(int)
}

func (f *frames) Write(p []byte) (int, error) {
	total := len(p)
	for r := bytes.NewBuffer(p); r.Len() > 0; {
		if f.left == 0 {
			f.head = append(f.head, r.Next(8-len(f.head))...)
			if len(f.head) == 8 {
				f.left = int(f.head[4])<<24 | int(f.head[5])<<16 | int(f.head[6])<<8 | int(f.head[7])
				f.head = f.head[:0]
				f.skip = f.time
			}
			continue
		}
		n := len(r.Next(f.left))
		f.left -= n
		skip := min(f.skip, n)
		f.skip -= skip
		f.got(n - skip)
	}
	return total, nil
}
