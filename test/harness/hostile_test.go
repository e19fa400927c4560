/*
 * A client that is not an honest host, and texts that are not chosen with care. Each RPC gets
 * nothing, too much and the wrong thing, before and after SetConfig. Streams are opened and
 * dropped, or not read. Commands hang. The plugin survives, no answer lacks what Nomad
 * dereferences, and none contains what Go cannot decode.
 */
package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes/duration"
	"github.com/hashicorp/nomad/plugins/drivers"
	pb "github.com/hashicorp/nomad/plugins/drivers/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type oddCall struct {
	what, method string
	request      proto.Message
}

func oddTask(driverConfig string, more func(*pb.TaskConfig)) *pb.StartTaskRequest {
	c := &pb.TaskConfig{Id: "odd/odd/00000000", Name: "odd", AllocId: "odd", AllocDir: "/tmp/odd", MsgpackDriverConfig: []byte(driverConfig)}
	if more != nil {
		more(c)
	}
	return &pb.StartTaskRequest{Task: c}
}

func oddCalls() []oddCall {
	nested := strings.Repeat("\x91", 10000)    /* msgpack: a list in a list in ... */
	maps := strings.Repeat("\x81\xa1a", 10000) /* the same of maps */
	promise := "\xdf\xff\xff\xff\xff"          /* a map of 4 G entries, without any entry */
	calls := []oddCall{}
	add := func(method, what string, m proto.Message) { calls = append(calls, oddCall{what, method, m}) }
	for what, text := range map[string]string{"nested lists": nested, "nested maps": maps, "a promise": promise, "noise": "\xc1\xff\x00"} {
		add("StartTask", what, oddTask(text, nil))
		add("RecoverTask", what+" as configuration", &pb.RecoverTaskRequest{Handle: &pb.TaskHandle{Version: 1, Config: oddTask(text, nil).Task}})
		add("RecoverTask", what+" as state", &pb.RecoverTaskRequest{Handle: &pb.TaskHandle{Version: 1, Config: oddTask("", nil).Task, DriverState: []byte(text)}})
	}
	add("StartTask", "64 MiB", oddTask("\x81\xa5image\xdb\x04\x00\x00\x00"+strings.Repeat("x", 64<<20), nil))
	add("StartTask", "an empty task", &pb.StartTaskRequest{Task: &pb.TaskConfig{}})
	add("StartTask", "many of all", oddTask("", func(c *pb.TaskConfig) {
		c.Env = map[string]string{}
		c.Resources = &pb.Resources{AllocatedResources: &pb.AllocatedTaskResources{Networks: []*pb.NetworkResource{nil, {}}}}
		for i := 0; i < 20000; i++ {
			c.Env[fmt.Sprint(i)] = "x"
			c.Mounts = append(c.Mounts, &pb.Mount{})
			c.Devices = append(c.Devices, &pb.Device{})
			c.Resources.Ports = append(c.Resources.Ports, &pb.PortMapping{Value: -1, To: 1 << 30})
		}
	}))
	add("RecoverTask", "an empty handle", &pb.RecoverTaskRequest{Handle: &pb.TaskHandle{}})
	add("RecoverTask", "no task", &pb.RecoverTaskRequest{Handle: &pb.TaskHandle{Version: 1}})
	for what, id := range map[string]string{"an unknown id": "nope/nope/1", "a path as id": "../../../etc/passwd", "a NUL as id": "a\x00b", "an id of 8 MiB": strings.Repeat("i", 8<<20)} {
		add("WaitTask", what, &pb.WaitTaskRequest{TaskId: id})
		add("StopTask", what, &pb.StopTaskRequest{TaskId: id, Timeout: &duration.Duration{Seconds: -5}, Signal: "NO SUCH"})
		add("DestroyTask", what, &pb.DestroyTaskRequest{TaskId: id, Force: true})
		add("InspectTask", what, &pb.InspectTaskRequest{TaskId: id})
		add("SignalTask", what, &pb.SignalTaskRequest{TaskId: id, Signal: id})
		add("ExecTask", what, &pb.ExecTaskRequest{TaskId: id, Command: []string{"true"}})
		add("ExecTask", what+" and no command", &pb.ExecTaskRequest{TaskId: id})
	}
	add("ExecTask", "100,000 arguments", &pb.ExecTaskRequest{TaskId: "nope", Command: make([]string, 100000)})
	return calls
}

/* The result: an error that has a text and does not mean the plugin's death, or a complete
 * answer. */
func checkOdd(t *testing.T, p *plug, c oddCall) {
	t.Helper()
	var request []byte
	if c.request != nil {
		var err error
		request, err = proto.Marshal(c.request)
		ok(t, err, "request")
	}
	ctx, cancel := timeout(20 * time.Second)
	defer cancel()
	reply, err := p.raw(ctx, driverService+c.method, request)
	if err != nil {
		s := status.Convert(err)
		switch s.Code() {
		case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted:
			t.Errorf("%s with %s: %.300v", c.method, c.what, err)
		}
		if s.Message() == "" || len(s.Message()) > 4096 {
			t.Errorf("%s with %s: an error text of %d bytes", c.method, c.what, len(s.Message()))
		}
		return
	}
	missing := false
	switch c.method {
	case "WaitTask":
		m := &pb.WaitTaskResponse{}
		err, missing = proto.Unmarshal(reply, m), m.Result == nil
	case "ExecTask":
		m := &pb.ExecTaskResponse{}
		err, missing = proto.Unmarshal(reply, m), m.Result == nil
	case "InspectTask":
		m := &pb.InspectTaskResponse{}
		err, missing = proto.Unmarshal(reply, m), m.Task == nil || m.Task.Result == nil || m.Task.StartedAt == nil || m.Task.CompletedAt == nil
	case "StartTask":
		m := &pb.StartTaskResponse{}
		err, missing = proto.Unmarshal(reply, m), m.Handle == nil || m.Handle.Config == nil
	case "TaskConfigSchema":
		m := &pb.TaskConfigSchemaResponse{}
		err, missing = proto.Unmarshal(reply, m), m.Spec == nil
	case "Capabilities":
		m := &pb.CapabilitiesResponse{}
		err, missing = proto.Unmarshal(reply, m), m.Capabilities == nil
	}
	if err != nil || missing {
		t.Errorf("%s with %s: answer lacks what the host dereferences: %v %x", c.method, c.what, err, reply[:min(len(reply), 64)])
	}
}

func TestOddInputToEveryRPC(t *testing.T) {
	paddockOnly(t, "panics")
	for _, config := range []string{"-", `config { endpoint = "unix:///tmp/paddock-no-such-socket" }`} {
		p := launchWith(t, launchOptions{config: config, env: []string{shortDocker}})
		for _, m := range []string{"Init", "TaskConfigSchema", "Capabilities", "StartTask", "RecoverTask", "WaitTask", "StopTask",
			"DestroyTask", "InspectTask", "SignalTask", "ExecTask", "CreateNetwork", "DestroyNetwork", "Shutdown"} {
			checkOdd(t, p, oddCall{"nothing", m, nil})
		}
		p.mustLive(t, "empty requests, config "+config)
		for _, c := range oddCalls() {
			checkOdd(t, p, c)
			p.mustLive(t, c.method+" with "+c.what)
		}
		for _, m := range []string{"TaskStats", "ExecTaskStreaming", "Fingerprint", "TaskEvents"} {
			for _, request := range []string{"", "\x0a\x7fx", strings.Repeat("\xfe\xdc\xba", 1000)} {
				ctx, cancel := timeout(20 * time.Second)
				s, err := rawStream(ctx, p.conn, driverService+m)
				ok(t, err, m)
				msg, reply := []byte(request), []byte{}
				_ = s.SendMsg(&msg)
				if m == "TaskStats" || m == "ExecTaskStreaming" || request != "" {
					if c := status.Code(s.RecvMsg(&reply)); c == codes.OK || c == codes.Unavailable || c == codes.DeadlineExceeded {
						t.Errorf("%s with %q: %v", m, request[:min(len(request), 8)], c)
					}
				}
				cancel()
			}
			p.mustLive(t, "odd requests to "+m)
		}
		for what, data := range map[string]string{"nested": strings.Repeat("\x91", 10000), "a promise": "\xdf\xff\xff\xff\xff", "64 MiB": "\x81\xa8endpoint\xdb\x04\x00\x00\x00" + strings.Repeat("x", 64<<20)} {
			wantError(t, p.setConfigBytes(t, []byte(data), true), "SetConfig with "+what)
			p.mustLive(t, "SetConfig with "+what)
		}
	}
}

/*
 * Docker's own text, in characters of three bytes. Wherever a text is cut, UTF-8 reaches the host.
 * Otherwise Go takes the whole message for broken. For a fingerprint, the host would then open the
 * stream again immediately and without end.
 */
func TestDockersTextsAreReadable(t *testing.T) {
	paddockOnly(t, "Go mends what it sends")
	for pad := 0; pad < 3; pad++ {
		words := strings.Repeat("x", pad) + strings.Repeat("語", 4000)
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		ok(t, err, "listen")
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, `{"message":%q}`, words)
		})}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { server.Close() })
		p := launchWith(t, launchOptions{config: fmt.Sprintf("config { endpoint = %q }", "unix://"+path), env: []string{shortDocker}})
		ctx, cancel := timeout(20 * time.Second)
		f, err := pb.NewDriverClient(p.conn).Fingerprint(ctx, &pb.FingerprintRequest{})
		ok(t, err, "Fingerprint")
		m, err := f.Recv()
		cancel()
		ok(t, err, "a fingerprint whose text was cut")
		if !strings.Contains(m.HealthDescription, "語") || !utf8.ValidString(m.HealthDescription) {
			t.Errorf("health description %q", m.HealthDescription)
		}
		_, _, err = p.StartTask(newTask(t, p, "words", `image = "127.0.0.1:1/words:1"`).cfg)
		wantError(t, err, "StartTask", "語")
		if !utf8.ValidString(err.Error()) || !recoverable(err) {
			t.Errorf("StartTask: recoverable %v, %.300q", recoverable(err), err)
		}
	}
}

/* Script checks that hang do not delay a stop, another task's command or the fingerprint. */
func TestHangingCommandsDelayNoOtherCall(t *testing.T) {
	paddockOnly(t, "has no limit")
	const n = 130 /* more than there are workers */
	p := launch(t)
	hung := newTask(t, p, "hung", sleeper).start(p)
	other := newTask(t, p, "other", sleeper).start(p)
	other.stdout.waitFor(t, 10*time.Second, "up\n")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			_, _ = pb.NewDriverClient(p.conn).ExecTask(ctx, &pb.ExecTaskRequest{TaskId: hung.id(), Command: []string{"sleep", "1000"}})
		}()
	}
	eventually(t, 60*time.Second, "the commands run", func() (bool, string) {
		ids, _ := hung.inspect()["ExecIDs"].([]any)
		return len(ids) >= 60, fmt.Sprint(len(ids))
	})
	begun := time.Now()
	waiter := other.waiter(p)
	ok(t, other.stop(p, time.Second, ""), "StopTask beside commands that hang")
	other.result(waiter, callLimit)
	ok(t, other.destroy(p), "DestroyTask beside commands that hang")
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("stop, wait and destroy took %v beside commands that hang", took)
	}
	cancel()
	within(t, time.Minute, "the end of all commands", all.Wait)
	ok(t, hung.destroy(p), "DestroyTask")
}

/* ---- streams ---- */

func TestTenThousandStreamsLeaveNothing(t *testing.T) {
	p := launch(t)
	open := func(n int) {
		var all sync.WaitGroup
		gate := make(chan bool, 50)
		for i := 0; i < n; i++ {
			all.Add(1)
			gate <- true
			go func(i int) {
				defer func() { <-gate; all.Done() }()
				ctx, cancel := timeout(20 * time.Second)
				defer cancel()
				m := driverService + []string{"TaskEvents", "Fingerprint", "TaskStats", "ExecTaskStreaming"}[i%4]
				s, err := rawStream(ctx, p.conn, m)
				if err != nil {
					t.Error(err)
					return
				}
				msg, reply := []byte{}, []byte{}
				_ = s.SendMsg(&msg)
				if i%4 != 0 && i%8 < 4 {
					_ = s.RecvMsg(&reply) /* half of them wait for an answer, half end immediately */
				}
			}(i)
		}
		all.Wait()
	}
	open(10000) /* the heap keeps what fifty at the same time need */
	p.mustLive(t, "10,000 streams")
	before := measure(t, p.pid)
	open(10000)
	eventually(t, 20*time.Second, "all is given back", func() (bool, string) {
		now := measure(t, p.pid)
		return now.fds <= before.fds+2 && now.anonKiB <= before.anonKiB+1024, fmt.Sprintf("%v, was %v", now, before)
	})
}

/* A terminal that is not read blocks the command, and does not fill the plugin's memory. */
func TestExecWithoutAReaderIsBlocked(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "flood", sleeper).start(p)
	before := measure(t, p.pid).anonKiB
	e := openExec(t, p, k.id(), false, "sh", "-c", "n=0; while head -c 1000000 /dev/zero; do n=$((n+1)); echo $n >/tmp/n; done")
	count := func() string {
		r, err := p.ExecTask(k.id(), []string{"cat", "/tmp/n"}, 10*time.Second)
		ok(t, err, "ExecTask")
		return string(r.Stdout)
	}
	last, same := "", 0
	eventually(t, 60*time.Second, "the command stands still", func() (bool, string) {
		now := count()
		if now != "" && now == last {
			same++
		} else {
			last, same = now, 0
		}
		return same == 10, now
	})
	if grown := measure(t, p.pid).anonKiB - before; grown > 6<<10 {
		t.Errorf("%d KiB more for %s MB that are not read", grown, strings.TrimSpace(last))
	}
	for total := 0; total < 20<<20; {
		m, err := e.stream.Recv()
		ok(t, err, "output after a pause")
		total += len(m.GetStdout().GetData())
	}
	e.cancel()
	ok(t, k.destroy(p), "DestroyTask")
}

/* Nomad sends keys and pipes in small pieces. Input that is too large is refused with an error,
 * not left out. */
func TestExecInputBeyondAllBoundsIsAnError(t *testing.T) {
	paddockOnly(t, "takes it into memory")
	p := launch(t)
	k := newTask(t, p, "glut", sleeper).start(p)
	e := openExec(t, p, k.id(), false, "wc", "-c")
	e.stdin(strings.Repeat("x", 70<<20))
	_ = e.stream.Send(&pb.ExecTaskStreamingRequest{Stdin: &pb.ExecTaskStreamingIOOperation{Close: true}})
	end := e.finish(30 * time.Second)
	wantError(t, end.err, fmt.Sprintf("70 MiB of input in one message (%+v)", end), "input of 73400320 bytes")
	ok(t, k.destroy(p), "DestroyTask")
}

/* ---- ends ---- */

func TestShutdownTwiceAndSigterm(t *testing.T) {
	paddockOnly(t, "dies of the signal")
	b := startBare(t)
	b.handshake()
	conn := b.mustLive("handshake")
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			ctx, cancel := timeout(5 * time.Second)
			defer cancel()
			if i == 4 {
				_ = b.cmd.Process.Signal(syscall.SIGTERM)
			}
			/* the later ones may find no listener, like a host that calls too late */
			var reply []byte
			request := []byte{}
			_ = conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &request, &reply, grpc.ForceCodec(bytesCodec{}))
		}(i)
	}
	if code := b.waitExit(3*time.Second, "eight orders to end"); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	all.Wait()
	if _, err := os.Lstat(filepath.Dir(b.socket)); err == nil {
		t.Errorf("%s is still there", filepath.Dir(b.socket))
	}
}

/* An administrator ends the plugin. Tasks and their logs continue. Waiting calls end without an
 * invented answer. */
func TestSigtermLeavesTasksAlone(t *testing.T) {
	paddockOnly(t, "takes its loggers along")
	p := launch(t)
	k := newTask(t, p, "on", shell(counter)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "n 3\n")
	calls := map[string]grpc.ClientStream{}
	for m, request := range map[string]proto.Message{"WaitTask": &pb.WaitTaskRequest{TaskId: k.id()}, "StopTask": &pb.StopTaskRequest{TaskId: k.id(), Signal: "SIGURG", Timeout: &duration.Duration{Seconds: 600}}} {
		s, err := rawStream(context.Background(), p.conn, driverService+m)
		ok(t, err, m)
		msg, err := proto.Marshal(request)
		ok(t, err, m)
		ok(t, s.SendMsg(&msg), m)
		ok(t, s.CloseSend(), m)
		calls[m] = s
	}
	p.mustLive(t, "calls that wait") /* answered after them, so that they have arrived */
	endProcess(t, p.pid)
	/* The host takes this for the plugin's death and continues with the next plugin. Canceled would
	 * fail its present work. */
	for m, s := range calls {
		var reply []byte
		if err := errWithin(t, 5*time.Second, m, func() error { return s.RecvMsg(&reply) }); status.Code(err) != codes.Unavailable {
			t.Errorf("%s over the plugin's end: %v, want Unavailable", m, err)
		}
	}
	n := k.stdout.size()
	eventually(t, 10*time.Second, "the log continues without the plugin", func() (bool, string) { return k.stdout.size() > n+100, lastLines(k.stdout.text(), 2) })
	if !k.inspect().running() {
		t.Error("the container ended with the plugin")
	}
	again := launch(t)
	ok(t, again.RecoverTask(&drivers.TaskHandle{Version: k.handle.Version, Config: k.cfg, State: k.handle.State, DriverState: k.handle.DriverState}), "RecoverTask")
	ok(t, k.destroy(again), "DestroyTask")
}
