/*
 * The storm: 20 tasks print numbered lines, 1 MB/s in total, while the plugin, the log pump and
 * dockerd (live-restore) are killed with SIGKILL at random for a minute. After a change of logs or
 * recovery, run it for three minutes or more. A seed repeats a failed run:
 *
 *   STORM_SECONDS (60)   STORM_SEED (1)
 *
 * Each log is compared with Docker's own log of that container, byte for byte. A SIGKILL of dockerd
 * itself may lose what dockerd had read and not yet written, which no driver can know. The test
 * reports how much that was. Numbers must rise in both, so nothing comes twice.
 */
package harness

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

const (
	stormTasks = 20
	/* bytes per second and task: 20 tasks are 1 MB/s; lines of 100 bytes in bursts of 250, twice a
	 * second */
	stormBurst = 250
	stormPause = "0.5"
	stormLine  = 100
)

func envInt(t *testing.T, name string, unset int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return unset
	}
	n, err := strconv.Atoi(s)
	ok(t, err, name)
	return n
}

/* Prints lines of a number and many "x". At SIGTERM it prints a last line and exits with the
 * code. */
func generator(code int) string {
	pad := strings.Repeat("x", stormLine-10)
	script := fmt.Sprintf(`i=0; stop=0; trap 'stop=1' TERM; while [ $stop = 0 ]; do j=0; while [ $j -lt %d ]; do echo $((100000000+i)) %s; i=$((i+1)); j=$((j+1)); done; sleep %s; done; echo last $i; exit %d`,
		stormBurst, pad, stormPause, code)
	return shell(script) + "\nlogging { type = \"json-file\"  config { max-size = \"300m\" } }"
}

type storm struct {
	t       *testing.T
	p       *plug
	tasks   []*task
	waiters []<-chan *drivers.ExitResult
	kills   map[string]int
}

/* A plugin recovers all tasks, as after a crash of the agent. */
func (s *storm) takeOver() {
	s.t.Helper()
	s.p = launch(s.t)
	for i, k := range s.tasks {
		ok(s.t, recoverWith(s.t, s.p, persisted(s.t, k.handle)), fmt.Sprintf("RecoverTask of task %d", i))
		s.waiters[i] = k.waiter(s.p)
	}
	for _, k := range s.tasks {
		/* when plugin and pump are dead at the same time, a FIFO has no writer; this is an agent's
		 * restart, too */
		k.stdout.resume()
		k.stderr.resume()
	}
}

func (s *storm) crashPlugin() {
	s.kills["plugin"]++
	s.p.crash(s.t)
	s.waitersBroke()
}

/* The agent's own restart: the plugin is asked to end. */
func (s *storm) endPlugin() {
	s.kills["plugin, asked"]++
	within(s.t, 10*time.Second, "Kill by the host", s.p.client.Kill)
	s.waitersBroke()
}

func (s *storm) waitersBroke() {
	s.t.Helper()
	for i, k := range s.tasks {
		if r := k.result(s.waiters[i], 20*time.Second); r.Err == nil {
			s.t.Fatalf("task %d looks finished when the plugin died: %+v", i, r)
		}
	}
}

func (s *storm) killPump() {
	for _, p := range logPumps() {
		s.kills["pump"]++
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

/* No task may look finished while it runs. */
func (s *storm) checkWaiters() {
	s.t.Helper()
	for i := range s.tasks {
		select {
		case r := <-s.waiters[i]:
			s.t.Fatalf("task %d looks finished in the storm: %+v; Docker: %v", i, r, s.tasks[i].inspect().at("State"))
		default:
		}
	}
}

func TestStorm(t *testing.T) {
	seconds, seed := envInt(t, "STORM_SECONDS", 60), envInt(t, "STORM_SEED", 1)
	rng := rand.New(rand.NewSource(int64(seed)))
	t.Logf("STORM_SECONDS=%d STORM_SEED=%d", seconds, seed)
	ownDockerd(t)
	s := &storm{t: t, p: launch(t), kills: map[string]int{}, waiters: make([]<-chan *drivers.ExitResult, stormTasks)}
	for i := 0; i < stormTasks; i++ {
		k := newTask(t, s.p, fmt.Sprintf("storm%d", i), generator(i%7)).start(s.p)
		s.tasks = append(s.tasks, k)
		s.waiters[i] = k.waiter(s.p)
	}
	begun := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	next := time.Now().Add(2 * time.Second)
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); <-tick.C {
		s.checkWaiters()
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(time.Duration(1000+rng.Intn(4000)) * time.Millisecond)
		what := rng.Intn(100)
		if run.isRef {
			what = 0 /* the reference does not survive the others */
		}
		switch {
		case what < 30:
			s.crashPlugin()
			s.takeOver()
		case what < 38:
			s.endPlugin()
			s.takeOver()
		case what < 65:
			s.killPump()
		case what < 75: /* both at the same time */
			s.crashPlugin()
			s.killPump()
			s.takeOver()
		case what < 90: /* dockerd, down for up to two seconds */
			s.kills["dockerd"]++
			run.dockerd.Kill()
			pause := time.NewTimer(time.Duration(rng.Intn(2000)) * time.Millisecond)
			<-pause.C /* how long it is down */
			ok(t, run.dockerd.Start(), "dockerd again")
		default: /* dockerd and the plugin: it finds its tasks when both run again */
			s.kills["dockerd"]++
			run.dockerd.Kill()
			s.crashPlugin()
			ok(t, run.dockerd.Start(), "dockerd again")
			s.takeOver()
		}
	}
	s.checkWaiters()
	elapsed := time.Since(begun)
	t.Logf("killed: %v", s.kills)
	if !run.isRef && seconds >= 60 && (s.kills["plugin"] == 0 || s.kills["pump"] == 0 || s.kills["dockerd"] == 0) {
		t.Errorf("killed %v: a storm of %d s must hit all three", s.kills, seconds)
	}

	for i, k := range s.tasks {
		ok(t, k.stop(s.p, 20*time.Second, "SIGTERM"), fmt.Sprintf("StopTask of task %d", i))
	}
	var total, lostByDocker int
	for i, k := range s.tasks {
		if r := k.result(s.waiters[i], callLimit); r.ExitCode != i%7 || r.Signal != 0 {
			t.Errorf("task %d: exit %+v, want code %d", i, r, i%7)
		}
		eventually(t, time.Minute, fmt.Sprintf("the end of task %d's log", i), func() (bool, string) {
			return k.stdout.ended(), fmt.Sprintf("%d bytes, open", k.stdout.size())
		})
		truth := containerLog(t, k.container())
		lostByDocker += compareLogs(t, fmt.Sprintf("task %d", i), k.stdout.text(), truth)
		total += len(truth)
		ok(t, k.destroy(s.p), "DestroyTask")
	}
	t.Logf("%.1f MB of logs compared, %.2f MB/s; lines that dockerd itself lost when it was killed: %d",
		float64(total)/1e6, float64(total)/1e6/elapsed.Seconds(), lostByDocker)
	within(t, 10*time.Second, "Kill by the host", s.p.client.Kill)
	if !run.isRef {
		endLogPumps(t)
	}
}

/* The container's stdout as Docker kept it. */
func containerLog(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://docker/v1.41/containers/"+name+"/logs?stdout=1", nil)
	ok(t, err, "docker logs")
	resp, err := run.docker.HTTP.Do(req)
	ok(t, err, "docker logs")
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	ok(t, err, "docker logs")
	var out bytes.Buffer
	for len(data) >= 8 {
		n := int(binary.BigEndian.Uint32(data[4:8]))
		if n > len(data)-8 {
			t.Fatalf("docker logs of %s: a frame of %d bytes in %d", name, n, len(data)-8)
		}
		out.Write(data[8 : 8+n])
		data = data[8+n:]
	}
	return out.String()
}

/* Compares byte for byte. At a difference it reports the line and its kind. Returns the lines
 * that are in neither. */
func compareLogs(t *testing.T, who, got, want string) (lost int) {
	t.Helper()
	numbers := func(text string) []int {
		var out []int
		for _, line := range strings.Split(text, "\n") {
			if len(line) == stormLine && line[0] == '1' {
				if n, err := strconv.Atoi(line[:9]); err == nil {
					out = append(out, n-100000000)
				}
			}
		}
		return out
	}
	truth := numbers(want)
	if len(truth) == 0 {
		t.Errorf("%s: Docker's own log is empty", who)
		return 0
	}
	for i := 1; i < len(truth); i++ {
		if truth[i] <= truth[i-1] {
			t.Errorf("%s: Docker's own log goes from %d to %d", who, truth[i-1], truth[i])
			break
		}
	}
	lost = truth[len(truth)-1] + 1 - len(truth)
	if got == want {
		return lost
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	line := strings.LastIndexByte(want[:at], '\n') + 1
	seen := map[int]int{}
	repeated, missing := 0, 0
	for _, n := range numbers(got) {
		if seen[n]++; seen[n] > 1 {
			repeated++
		}
	}
	for _, n := range truth {
		if seen[n] == 0 {
			missing++
		}
	}
	t.Errorf("%s: %d bytes of log, Docker has %d; lines lost %d, repeated %d; first difference at byte %d:\n  log    %.60q\n  docker %.60q",
		who, len(got), len(want), missing, repeated, at, got[min(line, len(got)):], want[line:])
	return lost
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

/* A FIFO that is not read delays its own task only. */
func TestStoppedLogReaderDelaysNoOtherTask(t *testing.T) {
	p := launch(t)
	loud := newTask(t, p, "loud", generator(0)).start(p)
	loud.stdout.waitFor(t, 20*time.Second, "100000010")
	loud.stdout.hold(true)
	quiet := newTask(t, p, "quiet", shell(`i=0; trap 'exit 0' TERM; while :; do echo $i $(date +%s); i=$((i+1)); sleep 0.1; done`)).start(p)
	var pumpBefore footprint
	pumps := logPumps()
	if len(pumps) == 1 {
		pumpBefore = measure(t, pumps[0].pid)
	}
	/* 20 s of the loud task are 1 MB that is not read: 16 times the size of a FIFO */
	for i := 0; i < 200; i += 20 {
		quiet.stdout.waitFor(t, 15*time.Second, fmt.Sprintf("\n%d ", i+1))
		lines := strings.Split(strings.TrimSpace(quiet.stdout.text()), "\n")
		f := strings.Fields(lines[len(lines)-1])
		if len(f) == 2 {
			if lag := time.Now().Unix() - int64(atoi(t, f[1])); lag > 3 {
				t.Fatalf("line %s of the quiet task came %d s late", f[0], lag)
			}
		}
	}
	if len(pumps) == 1 {
		now := measure(t, pumps[0].pid)
		if grown := now.anonKiB - pumpBefore.anonKiB; grown > 2<<10 {
			t.Errorf("the pump grew by %d KiB while one reader stood still: before %v, after %v", grown, pumpBefore, now)
		}
	}
	start := time.Now()
	ok(t, quiet.stop(p, 10*time.Second, ""), "StopTask")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("StopTask of the quiet task took %v", took)
	}
	ok(t, quiet.destroy(p), "DestroyTask")

	loud.stdout.hold(false)
	if !run.isRef { /* the reference ends its logger with the task, and loses what was held back */
		ok(t, loud.stop(p, 10*time.Second, "SIGTERM"), "StopTask")
		eventually(t, time.Minute, "the end of the loud task's log", func() (bool, string) { return loud.stdout.ended(), fmt.Sprint(loud.stdout.size()) })
		compareLogs(t, "the loud task", loud.stdout.text(), containerLog(t, loud.container()))
	}
	ok(t, loud.destroy(p), "DestroyTask")
}

/* A task whose reader never comes back can still be stopped, and the plugin can still be used. */
func TestTaskWithADeadReaderCanBeStopped(t *testing.T) {
	paddockOnly(t, "its StopTask waits for Docker alone, too; not measured")
	p := launch(t)
	k := newTask(t, p, "dead", generator(0)).start(p)
	k.stdout.waitFor(t, 20*time.Second, "100000010")
	k.stdout.hold(true)
	before := k.stdout.size()
	eventually(t, 20*time.Second, "the FIFO is full", func() (bool, string) {
		return len(containerLog(t, k.container())) > before+200<<10, "filling"
	})
	start := time.Now()
	ok(t, k.stop(p, 5*time.Second, "SIGTERM"), "StopTask")
	ok(t, k.destroy(p), "DestroyTask")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("StopTask and DestroyTask took %v with a reader that stands still", took)
	}
	p.mustLive(t, "a dead reader")
}
