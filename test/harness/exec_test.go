/*
 * ExecTaskStreaming beyond Nomad's own cases: large output, half-closed input, a client that
 * disconnects, a program that does not exist. The test sends the stream message by message, as the
 * agent's exec endpoint does.
 */
package harness

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type execStream struct {
	t      *testing.T
	stream proto.Driver_ExecTaskStreamingClient
	cancel context.CancelFunc
}

func openExec(t *testing.T, p *plug, id string, tty bool, command ...string) *execStream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s, err := proto.NewDriverClient(p.conn).ExecTaskStreaming(ctx)
	ok(t, err, "ExecTaskStreaming")
	e := &execStream{t: t, stream: s, cancel: cancel}
	e.send(&proto.ExecTaskStreamingRequest{Setup: &proto.ExecTaskStreamingRequest_Setup{TaskId: id, Command: command, Tty: tty}})
	return e
}

func (e *execStream) send(m *proto.ExecTaskStreamingRequest) {
	e.t.Helper()
	ok(e.t, e.stream.Send(m), "exec request")
}

func (e *execStream) stdin(data string) {
	e.t.Helper()
	e.send(&proto.ExecTaskStreamingRequest{Stdin: &proto.ExecTaskStreamingIOOperation{Data: []byte(data)}})
}

func (e *execStream) closeStdin() {
	e.t.Helper()
	e.send(&proto.ExecTaskStreamingRequest{Stdin: &proto.ExecTaskStreamingIOOperation{Close: true}})
}

type execEnd struct {
	stdout, stderr string
	code           int
	exited         bool
	err            error
}

/* Everything up to the end of the stream. Output after the exit is a failure, because the host
 * stops there. */
func (e *execStream) finish(limit time.Duration) execEnd {
	e.t.Helper()
	var out, errOut strings.Builder
	var end execEnd
	within(e.t, limit, "end of the exec stream", func() {
		for {
			m, err := e.stream.Recv()
			if err != nil {
				if err.Error() != "EOF" {
					end.err = err
				}
				return
			}
			if end.exited {
				e.t.Errorf("a message after the exit: %v", m)
			}
			out.Write(m.GetStdout().GetData())
			errOut.Write(m.GetStderr().GetData())
			if m.Exited {
				end.exited, end.code = true, int(m.GetResult().GetExitCode())
			}
		}
	})
	end.stdout, end.stderr = out.String(), errOut.String()
	return end
}

func TestExecLargeOutputIsWhole(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "big", sleeper).start(p)
	/* 6 MB in numbered lines, and the exit directly after the last one */
	e := openExec(t, p, k.id(), false, "/bin/sh", "-c", "seq 1000000; exit 3")
	e.closeStdin()
	end := e.finish(time.Minute)
	if end.err != nil || !end.exited || end.code != 3 {
		t.Errorf("end %v, exited %v, code %d", end.err, end.exited, end.code)
	}
	var want strings.Builder
	for i := 1; i <= 1000000; i++ {
		fmt.Fprintln(&want, i)
	}
	if end.stdout != want.String() {
		t.Errorf("stdout of %d bytes, want %d", len(end.stdout), want.Len())
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestExecInputArrivesAndCloses(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "in", sleeper).start(p)
	/* the program must see the end of input, and its later output must arrive */
	e := openExec(t, p, k.id(), false, "/bin/sh", "-c", "wc -c; echo after")
	chunk := strings.Repeat("0123456789abcdef", 4096)
	for i := 0; i < 32; i++ { /* 2 MB */
		e.stdin(chunk)
	}
	e.send(&proto.ExecTaskStreamingRequest{}) /* a heartbeat */
	e.closeStdin()
	end := e.finish(time.Minute)
	if want := itoa(32*len(chunk)) + "\nafter\n"; end.err != nil || end.code != 0 || end.stdout != want {
		t.Errorf("end %+v, want %q", end, want)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* Nomad sends the setup in a message of its own. Input in the same message is accepted. */
func TestExecInputBesideTheSetup(t *testing.T) {
	paddockOnly(t, "is deaf to it")
	p := launch(t)
	k := newTask(t, p, "first", sleeper).start(p)
	ctx, cancel := timeout(20 * time.Second)
	defer cancel()
	s, err := proto.NewDriverClient(p.conn).ExecTaskStreaming(ctx)
	ok(t, err, "ExecTaskStreaming")
	e := &execStream{t: t, stream: s, cancel: cancel}
	e.send(&proto.ExecTaskStreamingRequest{
		Setup: &proto.ExecTaskStreamingRequest_Setup{TaskId: k.id(), Command: []string{"cat"}},
		Stdin: &proto.ExecTaskStreamingIOOperation{Data: []byte("early"), Close: true},
	})
	if end := e.finish(30 * time.Second); end.err != nil || end.code != 0 || end.stdout != "early" {
		t.Errorf("end %+v", end)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestExecOfAProgramThatIsNotThere(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "nop", sleeper).start(p)
	e := openExec(t, p, k.id(), false, "/bin/no-such-program")
	end := e.finish(30 * time.Second)
	if end.err == nil && (end.code == 0 || !end.exited) {
		t.Errorf("a program that does not exist: %+v", end)
	}
	p.mustLive(t, "an exec of nothing")
	ok(t, k.destroy(p), "DestroyTask")
}

/* The client of `nomad alloc exec` disconnects. Its command ends, the task does not. */
func TestExecEndsWithItsClient(t *testing.T) {
	paddockOnly(t, "leaves the program running")
	p := launch(t)
	k := newTask(t, p, "away", sleeper).start(p)
	running := func() bool {
		r, err := p.ExecTask(k.id(), []string{"/bin/sh", "-c", "ps | grep '[s]leep 4242'"}, 5*time.Second)
		return err == nil && r.ExitResult.ExitCode == 0
	}
	for _, tty := range []bool{true, false} {
		e := openExec(t, p, k.id(), tty, "/bin/sleep", "4242")
		eventually(t, 10*time.Second, "the program runs", func() (bool, string) { return running(), "not yet" })
		e.cancel()
		if _, err := e.stream.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("after cancel: %v", err)
		}
		eventually(t, 15*time.Second, fmt.Sprintf("the program ends with its client (tty %v)", tty), func() (bool, string) { return !running(), "runs" })
	}
	if !k.inspect().running() {
		t.Error("the task ended too")
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/*
 * At every step the time ends or the client disconnects, also while Docker is still starting the
 * command. Nothing of the command is left, nor of what its shell started.
 */
func TestExecThatIsCutShortLeavesNothing(t *testing.T) {
	paddockOnly(t, "leaves the program running")
	p := launch(t)
	k := newTask(t, p, "cut", sleeper).start(p)
	const mark = "31415926"
	command := []string{"/bin/sh", "-c", "sleep " + mark + " | cat; true"}
	for ms := 0; ms <= 120; ms += 6 {
		limit := time.Duration(ms)*time.Millisecond + time.Microsecond
		if _, err := p.ExecTask(k.id(), command, limit); err == nil {
			t.Errorf("ExecTask of a long command within %v: no error", limit)
		}
		ctx, cancel := timeout(limit)
		_, err := proto.NewDriverClient(p.conn).ExecTask(ctx, &proto.ExecTaskRequest{TaskId: k.id(), Command: command})
		cancel()
		if err == nil {
			t.Errorf("ExecTask whose client goes after %v: no error", limit)
		}
		for _, tty := range []bool{false, true} {
			e := openExec(t, p, k.id(), tty, command...)
			<-time.After(limit)
			e.cancel()
		}
	}
	eventually(t, 60*time.Second, "nothing is left of them", func() (bool, string) {
		r, err := p.ExecTask(k.id(), []string{"/bin/sh", "-c", "ps | grep '[3]1415926'"}, 5*time.Second)
		if err != nil {
			return false, err.Error()
		}
		return r.ExitResult.ExitCode == 1, string(r.Stdout)
	})
	if !k.inspect().running() {
		t.Error("the task ended too")
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestExecEndsWithItsTask(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "both", sleeper).start(p)
	e := openExec(t, p, k.id(), false, "/bin/sh", "-c", "echo in; sleep 4243")
	if m, err := e.stream.Recv(); err != nil || string(m.GetStdout().GetData()) != "in\n" {
		t.Fatalf("first message %v %v", m, err)
	}
	ok(t, k.stop(p, time.Second, "SIGKILL"), "StopTask")
	end := e.finish(20 * time.Second)
	if end.exited && end.code == 0 {
		t.Errorf("an exec that its task's end killed: %+v", end)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestHundredExecsTogether(t *testing.T) {
	p := launch(t)
	/* the limit counts each runc that enters the container: 3.4 MB with runc 1.4 */
	k := newTask(t, p, "crowd", sleeper, large).start(p)
	errs := make(chan error, 100)
	for i := 0; i < 100; i++ {
		go func(i int) {
			r, err := p.ExecTask(k.id(), []string{"/bin/sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i%100)}, time.Minute)
			if err == nil && (strings.TrimSpace(string(r.Stdout)) != itoa(i) || r.ExitResult.ExitCode != i%100) {
				err = fmt.Errorf("exec %d: stdout %q, code %d", i, r.Stdout, r.ExitResult.ExitCode)
			}
			errs <- err
		}(i)
	}
	for i := 0; i < 100; i++ {
		select {
		case err := <-errs:
			if err != nil && !(run.isRef && strings.Contains(err.Error(), "exec ")) { /* the reference reads the exit code before the end */
				t.Error(err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("100 execs together: no answer within two minutes")
		}
	}
	ok(t, k.destroy(p), "DestroyTask")
}
