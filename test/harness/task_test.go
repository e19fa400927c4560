/*
 * A task as Nomad's client would give it to the driver: alloc directory, env, resources, log FIFOs
 * with a reader at the other end, and the task's HCL evaluated by the driver's own schema.
 */
package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/mitchellh/mapstructure"
	"github.com/zclconf/go-cty/cty"
	ctymsgpack "github.com/zclconf/go-cty/cty/msgpack"
)

type task struct {
	t      testing.TB
	cfg    *drivers.TaskConfig
	handle *drivers.TaskHandle
	net    *drivers.DriverNetwork
	stdout *fifo
	stderr *fifo
}

/*
 * A task with this name and this task block. The alloc id is new. mod, if given, changes the
 * TaskConfig before it is used.
 */
func newTask(t testing.TB, p *plug, name, hclText string, mod ...func(*drivers.TaskConfig)) *task {
	t.Helper()
	alloc := uuid.Generate()
	dir := filepath.Join(run.dir, "alloc", alloc)
	makeAlloc(t, dir, name)
	cfg := nomadTask(alloc, dir, name)
	for _, m := range mod {
		m(cfg)
	}
	setTaskConfig(t, p, cfg, hclText)
	k := &task{t: t, cfg: cfg}
	if cfg.StdoutPath != "/dev/null" {
		k.stdout, k.stderr = newFifo(t, cfg.StdoutPath), newFifo(t, cfg.StderrPath)
	}
	t.Cleanup(func() { k.discard() })
	return k
}

/* An allocation's folders, as Nomad makes them for these tasks. */
func makeAlloc(t testing.TB, dir string, tasks ...string) {
	t.Helper()
	subs := []string{"alloc/logs", "alloc/data", "alloc/tmp"}
	for _, name := range tasks {
		subs = append(subs, name+"/local", name+"/secrets", name+"/tmp")
	}
	for _, sub := range subs {
		ok(t, os.MkdirAll(filepath.Join(dir, sub), 0o777), "alloc dir")
	}
}

/* What Nomad sends for a task, without the task block. */
func nomadTask(alloc, dir, name string) *drivers.TaskConfig {
	return &drivers.TaskConfig{
		ID:            fmt.Sprintf("%s/%s/%s", alloc, name, uuid.Generate()[:8]),
		Name:          name,
		AllocID:       alloc,
		JobName:       "harness",
		JobID:         "harness",
		TaskGroupName: "group",
		Namespace:     "default",
		NodeName:      "node",
		NodeID:        "c2a1f4a0-0000-4000-8000-000000000001",
		AllocDir:      dir,
		Env: map[string]string{
			"NOMAD_ALLOC_DIR": "/alloc", "NOMAD_TASK_DIR": "/local", "NOMAD_SECRETS_DIR": "/secrets",
			"NOMAD_ALLOC_ID": alloc, "NOMAD_TASK_NAME": name,
		},
		Resources: &drivers.Resources{
			NomadResources: &structs.AllocatedTaskResources{
				Memory: structs.AllocatedMemoryResources{MemoryMB: 64},
				Cpu:    structs.AllocatedCpuResources{CpuShares: 100},
			},
			LinuxResources: &drivers.LinuxResources{
				CPUShares: 100, MemoryLimitBytes: 64 << 20, PercentTicks: 0.05,
			},
		},
		StdoutPath: filepath.Join(dir, "alloc/logs", "."+name+".stdout.fifo"),
		StderrPath: filepath.Join(dir, "alloc/logs", "."+name+".stderr.fifo"),
	}
}

/* Evaluates a task block by the plugin's schema into the task's driver config. */
func setTaskConfig(t testing.TB, p *plug, cfg *drivers.TaskConfig, hclText string) {
	t.Helper()
	spec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")
	data, err := encode(spec, hclToInterface(t, "config {\n"+hclText+"\n}"))
	ok(t, err, "evaluating the task block")
	setRawConfig(t, cfg, data)
}

/* The driver config's bytes have no setter in Nomad. They are set as the value that they encode. */
func setRawConfig(t testing.TB, cfg *drivers.TaskConfig, data []byte) {
	t.Helper()
	ty, err := ctymsgpack.ImpliedType(data)
	ok(t, err, "task config bytes")
	val, err := ctymsgpack.Unmarshal(data, ty)
	ok(t, err, "task config bytes")
	ok(t, cfg.EncodeDriverConfig(val), "task config bytes")
}

/* A task config that no schema has checked, for wrong types. */
func setConfigValue(t testing.TB, cfg *drivers.TaskConfig, val cty.Value) {
	t.Helper()
	ok(t, cfg.EncodeDriverConfig(val), "task config value")
}

/* Converts HCL1 text to what Nomad's job and agent parsers return: the value of its one `config`
 * block. */
func hclToInterface(t testing.TB, text string) any {
	t.Helper()
	root, err := hcl.Parse(text)
	ok(t, err, "HCL")
	var m, weak map[string]any
	ok(t, hcl.DecodeObject(&m, root.Node.(*ast.ObjectList).Items[0]), "HCL")
	ok(t, mapstructure.WeakDecode(m, &weak), "HCL")
	return weak["config"]
}

func (k *task) id() string        { return k.cfg.ID }
func (k *task) container() string { return k.cfg.Name + "-" + k.cfg.AllocID }

func (k *task) tryStart(p *plug) error {
	k.t.Helper()
	return errWithin(k.t, callLimit, "StartTask", func() (err error) {
		k.handle, k.net, err = p.StartTask(k.cfg)
		return err
	})
}

func (k *task) start(p *plug) *task {
	k.t.Helper()
	ok(k.t, k.tryStart(p), "StartTask")
	if k.handle == nil || k.handle.Config == nil || k.handle.Config.ID != k.cfg.ID {
		k.t.Fatal("StartTask: the handle must carry the task's config, or the agent cannot restore the task")
	}
	return k
}

/* Docker's inspect of the container. Fails the test when the container does not exist. */
func (k *task) inspect() doc {
	k.t.Helper()
	d := run.docker.inspect(k.t, k.container())
	if d == nil {
		k.t.Fatalf("Docker knows no container %s", k.container())
	}
	return d
}

/* Starts a WaitTask call. The answer comes on the channel. */
func (k *task) waiter(p *plug) <-chan *drivers.ExitResult {
	k.t.Helper()
	ch, err := p.WaitTask(context.Background(), k.cfg.ID)
	ok(k.t, err, "WaitTask")
	return ch
}

func (k *task) wait(p *plug, limit time.Duration) *drivers.ExitResult {
	k.t.Helper()
	return k.result(k.waiter(p), limit)
}

func (k *task) result(ch <-chan *drivers.ExitResult, limit time.Duration) *drivers.ExitResult {
	k.t.Helper()
	select {
	case r := <-ch:
		return r
	case <-time.After(limit):
		k.t.Fatalf("WaitTask: no answer within %v; the container: %v", limit, k.inspect().at("State"))
	}
	return nil
}

func (k *task) stop(p *plug, grace time.Duration, signal string) error {
	k.t.Helper()
	return errWithin(k.t, grace+callLimit, "StopTask", func() error { return p.StopTask(k.cfg.ID, grace, signal) })
}

func (k *task) destroy(p *plug) error {
	k.t.Helper()
	return errWithin(k.t, callLimit, "DestroyTask", func() error { return p.DestroyTask(k.cfg.ID, true) })
}

/* Ends the task in every case and removes what it left. For cleanup: it checks no rule. */
func (k *task) discard() {
	_ = run.docker.Remove(k.container())
	for _, f := range []*fifo{k.stdout, k.stderr} {
		if f != nil {
			f.close()
		}
	}
	unmountBelow(k.cfg.AllocDir)
	_ = os.RemoveAll(k.cfg.AllocDir)
}

/*
 * A log FIFO with a reader that works like Nomad's logmon: it opens (which waits for a writer),
 * copies until every writer has closed, and then ends.
 */
type fifo struct {
	path string
	mu   sync.Mutex
	cond *sync.Cond
	data []byte
	eof  bool /* the last writer has closed: logmon would have stopped here */
	held bool /* reading is suspended: the FIFO fills */
}

func newFifo(t testing.TB, path string) *fifo {
	t.Helper()
	ok(t, syscall.Mkfifo(path, 0o600), "mkfifo")
	f := &fifo{path: path}
	f.cond = sync.NewCond(&f.mu)
	go f.read()
	return f
}

func (f *fifo) read() {
	r, err := os.OpenFile(f.path, os.O_RDONLY, 0)
	if err == nil {
		buf := make([]byte, 64<<10)
		for {
			f.mu.Lock()
			for f.held {
				f.cond.Wait()
			}
			f.mu.Unlock()
			var n int
			n, err = r.Read(buf)
			f.mu.Lock()
			f.data = append(f.data, buf[:n]...)
			f.cond.Broadcast()
			f.mu.Unlock()
			if err != nil {
				break
			}
		}
		r.Close()
	}
	f.mu.Lock()
	f.eof = err == io.EOF
	f.cond.Broadcast()
	f.mu.Unlock()
}

/* Stops and resumes reading, like a full disk or a stuck logmon. */
func (f *fifo) hold(on bool) {
	f.mu.Lock()
	f.held = on
	f.cond.Broadcast()
	f.mu.Unlock()
}

func (f *fifo) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.data)
}

func (f *fifo) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.data)
}

func (f *fifo) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.eof
}

/*
 * Continues to read after an end of file. An agent that restarts starts a stopped logmon again.
 * That is after RecoverTask, which must not wait for it.
 */
func (f *fifo) resume() {
	f.mu.Lock()
	ended := f.eof
	f.eof = false
	f.mu.Unlock()
	if ended {
		go f.read()
	}
}

/* Ends a reader that still waits for its first writer. */
func (f *fifo) close() {
	f.hold(false)
	if w, err := os.OpenFile(f.path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
		w.Close()
	}
	if w, err := os.OpenFile(f.path, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
		w.Close()
	}
}

func (f *fifo) waitFor(t testing.TB, limit time.Duration, text string) {
	t.Helper()
	eventually(t, limit, fmt.Sprintf("the log holds %q", text), func() (bool, string) {
		s := f.text()
		return strings.Contains(s, text), lastLines(s, 5)
	})
}

/* A task block that runs until it is stopped. */
const sleeper = `image = "` + imageBusybox + `"
command = "/bin/sh"
args = ["-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 1; done"]`

/* A task block that runs a shell line. */
func shell(line string) string {
	return fmt.Sprintf("image = %q\ncommand = \"/bin/sh\"\nargs = [\"-c\", %q]", imageBusybox, line)
}

/* A running container that looks like one of a task of the given alloc. No driver started it. */
func strayContainer(t testing.TB, alloc string) string {
	t.Helper()
	var made struct {
		ID string `json:"Id"`
	}
	_, err := run.docker.Call("POST", "/containers/create?name=stray-"+uuid.Generate()[:8], map[string]any{
		"Image": imagePause, "Labels": map[string]string{"com.hashicorp.nomad.alloc_id": alloc},
	}, &made)
	ok(t, err, "making a stray container")
	_, err = run.docker.Call("POST", "/containers/"+made.ID+"/start", nil, nil)
	ok(t, err, "starting a stray container")
	t.Cleanup(func() { _ = run.docker.Remove(made.ID) })
	return made.ID
}
