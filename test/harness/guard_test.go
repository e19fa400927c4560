/*
 * The plugin's server when something around it fails: a dockerd that hangs during many calls, a
 * port in use, odd folders for its socket, and folders of plugins that were killed.
 */
package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang/protobuf/ptypes/duration"
	"github.com/hashicorp/nomad/plugins/drivers"
	pb "github.com/hashicorp/nomad/plugins/drivers/proto"
)

/* Sends the one request of a raw stream. Reads the first answer when @answers. */
func openStream(ctx context.Context, p *plug, method string, request []byte, answers bool) error {
	s, err := rawStream(ctx, p.conn, method)
	if err != nil {
		return err
	}
	if err = s.SendMsg(&request); err == nil {
		err = s.CloseSend()
	}
	if err != nil || !answers {
		return err
	}
	var reply []byte
	return s.RecvMsg(&reply)
}

/*
 * Two hundred stops and as many signals wait for a dockerd that hangs. A stop uses no worker, a
 * signal does, and more signals come than there are workers. Calls that need no Docker are still
 * answered, and the agent can end the plugin within its usual time.
 */
func TestHangingDockerdDelaysNoCallWithoutDocker(t *testing.T) {
	paddockOnly(t, "has no workers to run out of")
	const stops = 200
	p := launch(t)
	k := newTask(t, p, "hung", sleeper).start(p)
	k.stdout.waitFor(t, 10*time.Second, "up\n")
	config := p.configBytes(t, baseConfig(""))
	run.dockerd.Pause()
	defer run.dockerd.Resume()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	for i := 0; i < stops; i++ {
		all.Add(2)
		go func() {
			defer all.Done()
			_, _ = pb.NewDriverClient(p.conn).SignalTask(ctx, &pb.SignalTaskRequest{TaskId: k.id(), Signal: "SIGUSR1"})
		}()
		go func() {
			defer all.Done()
			_, _ = pb.NewDriverClient(p.conn).StopTask(ctx, &pb.StopTaskRequest{TaskId: k.id(), Timeout: &duration.Duration{Seconds: 5}})
		}()
	}
	eventually(t, 30*time.Second, "every worker waits for dockerd", func() (bool, string) {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
		return err == nil && len(threads) >= 128, fmt.Sprint(len(threads), " threads")
	})

	raw := func(method string, request []byte) func() error {
		return func() error { _, err := p.raw(ctx, method, request); return err }
	}
	stream := func(method string, request []byte, answers bool) func() error {
		return func() error { return openStream(ctx, p, method, request, answers) }
	}
	unknown := func(method string) func() error {
		return func() error {
			if _, err := p.raw(ctx, driverService+method, pbBytes(1, "unknown")); err == nil {
				return fmt.Errorf("an unknown task was found")
			}
			return nil
		}
	}
	calls := []struct {
		name string
		call func() error
	}{
		{"PluginInfo", raw(baseService+"PluginInfo", nil)},
		{"ConfigSchema", raw(baseService+"ConfigSchema", nil)},
		{"SetConfig", func() error { return p.setConfigBytes(t, config, true) }},
		{"Init", raw(driverService+"Init", nil)},
		{"TaskConfigSchema", raw(driverService+"TaskConfigSchema", nil)},
		{"Capabilities", raw(driverService+"Capabilities", nil)},
		{"InspectTask", func() error { _, err := p.InspectTask(k.id()); return err }},
		{"InspectTask of an unknown task", unknown("InspectTask")},
		{"WaitTask of an unknown task", unknown("WaitTask")},
		{"Fingerprint", stream(driverService+"Fingerprint", nil, true)},
		{"TaskEvents", stream(driverService+"TaskEvents", nil, false)},
		{"TaskStats of an unknown task", func() error {
			if err := openStream(ctx, p, driverService+"TaskStats", pbBytes(1, "unknown"), true); err == nil || err == io.EOF {
				return fmt.Errorf("an unknown task was found: %v", err)
			}
			return nil
		}},
		{"Health", raw("/grpc.health.v1.Health/Check", pbBytes(1, "plugin"))},
		{"StreamStdio", stream("/plugin.GRPCStdio/StreamStdio", nil, false)},
		{"Driver.Shutdown", raw(driverService+"Shutdown", nil)},
	}
	for _, c := range calls {
		begun := time.Now()
		ok(t, errWithin(t, 5*time.Second, c.name, c.call), c.name)
		t.Logf("%-30s %v", c.name, time.Since(begun))
	}
	if s, err := p.InspectTask(k.id()); err != nil || s.State != drivers.TaskStateRunning {
		t.Errorf("InspectTask: %+v, %v; want a running task", s, err)
	}

	begun := time.Now()
	_, err := p.raw(ctx, "/plugin.GRPCController/Shutdown", nil)
	ok(t, err, "Shutdown")
	eventually(t, 2*time.Second-time.Since(begun), "the plugin's end after Shutdown",
		func() (bool, string) { return !alive(p.pid), "running" })
	t.Logf("%-30s %v", "Shutdown and the end", time.Since(begun))
	within(t, 10*time.Second, "the end of all calls", all.Wait)
}

/*
 * The name of the socket's folder need not be valid in a URI. A plugin that was killed leaves its
 * folder, and the next start removes it. The folder of a running plugin stays, so that an agent
 * that comes back finds it.
 */
func TestSocketFolderOfAnyNameIsClearedOfDeadPlugins(t *testing.T) {
	paddockOnly(t, "leaves its socket")
	dir, err := os.MkdirTemp(run.dir, "s%41 #?")
	ok(t, err, "a folder")
	env := launchOptions{env: []string{"PLUGIN_UNIX_SOCKET_DIR=" + dir}}
	killed := launchWith(t, env)
	folder := filepath.Dir(killed.socket)
	if filepath.Dir(folder) != dir {
		t.Fatalf("the socket is %q, not below %q", killed.socket, dir)
	}
	ok(t, syscall.Kill(killed.pid, syscall.SIGKILL), "kill -9 of the plugin")
	eventually(t, 10*time.Second, "the plugin's end", func() (bool, string) { return killed.client.Exited(), "running" })
	if _, err := os.Lstat(killed.socket); err != nil {
		t.Fatalf("the killed plugin's socket: %v; the test has nothing to check", err)
	}

	lives := launchWith(t, env)
	if _, err := os.Lstat(folder); !os.IsNotExist(err) {
		t.Errorf("the killed plugin's folder %s is still there: %v", folder, err)
	}
	launchWith(t, env)
	conn, err := net.Dial("unix", lives.socket)
	ok(t, err, "the socket of a plugin that lives, after another one's start")
	conn.Close()
	lives.mustLive(t, "another one's start")
}

/* A port in use costs only the metrics, and only until it is free. */
func TestBusyMetricsPortLeavesStatusAndIsTriedAgain(t *testing.T) {
	paddockOnly(t, "has no metrics")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err, "a port")
	address := busy.Addr().String()
	/* another name, to tell its socket from those of other tests' plugins */
	p := launchWith(t, launchOptions{name: "busyport", config: baseConfig(fmt.Sprintf("metrics { listen = %q }", address))})
	socket := filepath.Join("/run/paddock", "control-busyport.sock")
	command := func(name string) string {
		out, _ := exec.Command(binaryAs(t, run.subject, "busyport"), name, "--socket", socket).CombinedOutput()
		return string(out)
	}
	const why = "Address already in use"
	if out := command("status"); !strings.Contains(out, fmt.Sprintf("pid %d", p.pid)) || !strings.Contains(out, why) {
		t.Errorf("status: %s", out)
	}
	if out := command("check"); !strings.Contains(out, "warning running driver: busyport") || !strings.Contains(out, address) {
		t.Errorf("check: %s", out)
	}
	busy.Close()
	eventually(t, 20*time.Second, "the metrics listener", func() (bool, string) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil, fmt.Sprint(err)
	})
	if out := command("status"); strings.Contains(out, why) {
		t.Errorf("status with the port open: %s", out)
	}
}
