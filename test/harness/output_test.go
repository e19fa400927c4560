/*
 * Each byte that a task prints arrives once: at full speed with the log settings
 * that every task has by default, with readers that pause, beside busy loops, with
 * the log pump, the plugin and dockerd killed, and for all kinds of output. CI runs
 * a short form; the long one:
 *
 *   OUTPUT_MB (20; long 200)   OUTPUT_ROUNDS (1; long 3)   OUTPUT_LOOPS (4; long 12)
 *   OUTPUT_SECONDS (12; long 180) of kills   OUTPUT_TASKS (40; long 200) of one line
 */
package harness

import (
	"fmt"
	"math/rand"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

const outputLine = 100

/* Prints numbered lines of 100 bytes, as fast as they are taken. */
func printLines(n int) string {
	return fmt.Sprintf(`awk 'BEGIN { for (i = 0; i < %d; i++) printf "%%0%dd\n", i }'`, n, outputLine-1)
}

/* What came of the lines 0 to n-1. */
type came struct{ lost, twice, torn, disordered int }

func (c came) whole() bool { return c == came{} }

func countNumbered(text string, n int) (c came) {
	seen := make([]bool, n)
	last := -1
	for len(text) > 0 {
		end := strings.IndexByte(text, '\n') + 1
		if end == 0 {
			end = len(text)
		}
		line := text[:end]
		text = text[end:]
		i, err := -1, error(nil)
		if len(line) == outputLine {
			i, err = strconv.Atoi(strings.TrimLeft(line[:outputLine-2], "0") + line[outputLine-2:outputLine-1])
		}
		switch {
		case err != nil || i < 0 || i >= n:
			c.torn++
			continue
		case seen[i]:
			c.twice++
		case i < last:
			c.disordered++
		}
		seen[i] = true
		last = i
	}
	for _, s := range seen {
		if !s {
			c.lost++
		}
	}
	return c
}

/* The number in the last line that is whole. */
func lastNumber(t *testing.T, text string) int {
	t.Helper()
	lines := strings.Split(text, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if len(lines[i]) == outputLine-1 {
			return atoi(t, strings.TrimLeft(lines[i][:outputLine-2], "0")+lines[i][outputLine-2:])
		}
	}
	t.Fatalf("no whole line in %d bytes", len(text))
	return 0
}

/* Busy loops beside the test, until it ends. */
func makeBusy(t *testing.T, n int) {
	t.Helper()
	for i := 0; i < n; i++ {
		c := exec.Command("/bin/busybox", "sh", "-c", "while :; do :; done")
		ok(t, c.Start(), "busy loop")
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
	}
}

/* Stops reading for a part of each period, until the returned function is called. */
func pauseReader(f *fifo, reads, pauses time.Duration) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		defer f.hold(false)
		for held := true; ; held = !held {
			f.hold(held)
			limit := reads
			if held {
				limit = pauses
			}
			select {
			case <-time.After(limit):
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		done.Wait()
	}
}

func TestOutputAtFullSpeedArrivesOnce(t *testing.T) {
	paddockOnly(t, "it loses most lines, and repeats others")
	lines := envInt(t, "OUTPUT_MB", 20) * 1000000 / outputLine
	for _, c := range []struct {
		name  string
		pause time.Duration
		loops int
	}{
		{"drained", 0, 0},
		{"pausing", 2 * time.Second, 0},
		{"drained beside busy loops", 0, envInt(t, "OUTPUT_LOOPS", 4)},
		{"pausing beside busy loops", 2 * time.Second, envInt(t, "OUTPUT_LOOPS", 4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			makeBusy(t, c.loops)
			for round := 0; round < envInt(t, "OUTPUT_ROUNDS", 1); round++ {
				p := launch(t)
				k := newTask(t, p, "fast", shell(printLines(lines)))
				stop := func() {}
				if c.pause > 0 {
					stop = pauseReader(k.stdout, 3*time.Second, c.pause)
				}
				begun := time.Now()
				k.start(p)
				k.wait(p, 5*time.Minute)
				printed := time.Since(begun)
				eventually(t, 5*time.Minute, "the end of the log", func() (bool, string) {
					return k.stdout.ended(), fmt.Sprintf("%d bytes, open", k.stdout.size())
				})
				stop()
				c := countNumbered(k.stdout.text(), lines)
				t.Logf("%d lines, printed in %.1f s, delivered in %.1f s: %+v", lines, printed.Seconds(), time.Since(begun).Seconds(), c)
				if !c.whole() {
					t.Errorf("not each line came once: %+v", c)
				}
				ok(t, k.destroy(p), "DestroyTask")
				within(t, 10*time.Second, "Kill by the host", p.client.Kill)
			}
		})
	}
}

/* The files are large enough that what is printed while nobody reads is still there. */
const largeLogs = "\nlogging { type = \"json-file\"  config { max-size = \"10m\"  max-file = \"10\" } }"

/* A line of a mixed task's stderr: 20,000 bytes and its number. */
func longLine(i int) string { return strings.Repeat("x", 20000) + fmt.Sprint(i) + "\n" }

/*
 * One task prints 5 MB/s, one both streams with long lines, one to a terminal, all
 * with rotation. What dockerd has read and not written when it is killed is lost:
 * nothing else is.
 */
func TestOutputArrivesOnceWhenAllAreKilled(t *testing.T) {
	paddockOnly(t, "its log process dies with the plugin")
	t.Run("pump and plugin", func(t *testing.T) { killWhilePrinting(t, "pump", "plugin", "both") })
	t.Run("dockerd too", func(t *testing.T) { killWhilePrinting(t, "pump", "plugin", "both", "dockerd", "dockerd") })
}

func killWhilePrinting(t *testing.T, whats ...string) {
	rng := rand.New(rand.NewSource(int64(envInt(t, "STORM_SEED", 1))))
	p := launch(t)
	steady := newTask(t, p, "steady", shell(fmt.Sprintf(
		`trap 'stop=1' TERM; stop=0; i=0; while [ $stop = 0 ]; do awk -v a=$i 'BEGIN { for (i = a; i < a + 10000; i++) printf "%%0%dd\n", i }'; i=$((i+10000)); sleep 0.15; done`,
		outputLine-1))+largeLogs).start(p)
	mixed := newTask(t, p, "mixed", shell(fmt.Sprintf(
		`trap 'stop=1' TERM; stop=0; i=0; long=$(head -c 20000 /dev/zero | tr '\0' x); while [ $stop = 0 ]; do printf "%%0%dd\n" $i; echo $long$i >&2; i=$((i+1)); sleep 0.05; done`,
		outputLine-1))+largeLogs).start(p)
	terminal := newTask(t, p, "terminal", shell(
		`trap 'stop=1' TERM; stop=0; i=0; while [ $stop = 0 ]; do echo "line $i"; i=$((i+1)); sleep 0.02; done`)+"\ntty = true"+largeLogs).start(p)
	all := []*task{steady, mixed, terminal}
	recoverAll := func() {
		t.Helper()
		p = launch(t)
		for _, k := range all {
			ok(t, recoverWith(t, p, persisted(t, k.handle)), "RecoverTask")
			k.stdout.resume()
			k.stderr.resume()
		}
	}
	kills := map[string]int{}
	for end := time.Now().Add(time.Duration(envInt(t, "OUTPUT_SECONDS", 12)) * time.Second); time.Now().Before(end); {
		size, more := steady.stdout.size(), 1000000+rng.Intn(5000000)
		eventually(t, time.Minute, "the log goes on", func() (bool, string) {
			return steady.stdout.size() > size+more, fmt.Sprint(steady.stdout.size())
		})
		what := whats[rng.Intn(len(whats))]
		kills[what]++
		if what == "plugin" || what == "both" {
			p.crash(t)
		}
		if what == "pump" || what == "both" {
			for _, pump := range logPumps() {
				_ = syscall.Kill(pump.pid, syscall.SIGKILL)
			}
		}
		if what == "dockerd" {
			run.dockerd.Kill()
			ok(t, run.dockerd.Start(), "dockerd again")
		}
		if what == "plugin" || what == "both" {
			recoverAll()
		}
	}
	for _, k := range all {
		ok(t, k.stop(p, 20*time.Second, "SIGTERM"), "StopTask")
		eventually(t, time.Minute, "the end of the log", func() (bool, string) {
			return k.stdout.ended(), fmt.Sprintf("%d bytes, open", k.stdout.size())
		})
	}
	text := steady.stdout.text()
	/* by the last number: each line that dockerd lost makes the text shorter */
	c := countNumbered(text, lastNumber(t, text)+1)
	t.Logf("killed: %v; %d MB: %+v", kills, len(text)/1000000, c)
	/* a pipe of 64 KiB and a buffer of 16 KiB; the line that is cut can be two pieces */
	if c.twice > 0 || c.disordered > 0 || c.torn > 2*kills["dockerd"] || c.lost > 2000*kills["dockerd"] || len(text) == 0 {
		t.Errorf("not each line came once: %+v", c)
	}
	if kills["dockerd"] == 0 {
		out, errText := mixed.stdout.text(), mixed.stderr.text()
		lines := len(out) / outputLine
		if c := countNumbered(out, lines); !c.whole() {
			t.Errorf("stdout of the mixed task: %+v", c)
		}
		var want strings.Builder
		for i := 0; i < lines; i++ {
			want.WriteString(longLine(i))
		}
		if errText != want.String() {
			t.Errorf("stderr of the mixed task: %d bytes, want %d", len(errText), want.Len())
		}
		got := terminal.stdout.text()
		want.Reset()
		for i := 0; want.Len() < len(got); i++ {
			fmt.Fprintf(&want, "line %d\r\n", i)
		}
		if got != want.String() {
			t.Errorf("output of the terminal: %d bytes, want %d", len(got), want.Len())
		}
	}
	for _, k := range all {
		ok(t, k.destroy(p), "DestroyTask")
	}
}

func TestOutputOfEachKindArrivesWhole(t *testing.T) {
	p := launch(t)
	repeat := func(s string, n int) string { return strings.Repeat(s, n) }
	for _, c := range []struct{ name, hcl, out, err string }{
		{"long lines", shell(`head -c 100000 /dev/zero | tr '\0' x; echo; echo end`), repeat("x", 100000) + "\nend\n", ""},
		/* the follower of dockerd's API loses the end of the first one's piece */
		{"long line without an end", shell(`head -c 20000 /dev/zero | tr '\0' x; sleep 4; echo later >&2`), repeat("x", 20000), "later\n"},
		{"both streams", shell(`for i in 1 2 3; do echo out $i; echo err $i >&2; done`), "out 1\nout 2\nout 3\n", "err 1\nerr 2\nerr 3\n"},
		{"terminal", shell(`echo one; echo two >&2`) + "\ntty = true", "one\r\ntwo\r\n", ""},
		{"binary", shell(`printf '\000\001\033\134\042\177\377x\n'`), "\x00\x01\x1b\\\"\x7f\ufffdx\n", ""},
		{"truncated in place", shell(`for i in 1 2 3 4 5; do echo $i; sleep 0.3; done`) + "\nlogging { type = \"json-file\"  config { max-size = \"100\"  max-file = \"1\" } }", "1\n2\n3\n4\n5\n", ""},
		{"labels in the log", shell(`echo hello`) + "\nlabels { a = \"b\" }\nlogging { type = \"json-file\"  config { labels = \"a\"  env = \"NOMAD_TASK_NAME\" } }", "hello\n", ""},
		{"local driver", shell(`echo hello`) + "\nlogging { type = \"local\" }", "hello\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name != "local driver" {
				paddockOnly(t, "dockerd's follower loses some of it")
			}
			k := newTask(t, p, "kind", c.hcl).start(p)
			k.wait(p, time.Minute)
			for _, f := range []*fifo{k.stdout, k.stderr} {
				eventually(t, time.Minute, "the end of the log", func() (bool, string) { return f.ended(), "open" })
			}
			if got := k.stdout.text(); got != c.out {
				t.Errorf("stdout: %d bytes %.40q, want %d bytes %.40q", len(got), got, len(c.out), c.out)
			}
			if got := k.stderr.text(); got != c.err {
				t.Errorf("stderr: %.60q, want %.60q", got, c.err)
			}
			ok(t, k.destroy(p), "DestroyTask")
		})
	}
}

func TestOutputOfShortTasksArrives(t *testing.T) {
	p := launch(t)
	var all sync.WaitGroup
	turns := make(chan struct{}, 8)
	tasks := make([]*task, envInt(t, "OUTPUT_TASKS", 40))
	for i := range tasks {
		tasks[i] = newTask(t, p, fmt.Sprintf("short%d", i), shell(fmt.Sprintf("echo line of %d", i)))
	}
	results := make([]*drivers.ExitResult, len(tasks))
	for i, k := range tasks {
		all.Add(1)
		turns <- struct{}{}
		go func(i int, k *task) {
			defer all.Done()
			defer func() { <-turns }()
			k.start(p)
			results[i] = k.wait(p, time.Minute)
		}(i, k)
	}
	all.Wait()
	for i, k := range tasks {
		eventually(t, time.Minute, "the end of the log", func() (bool, string) { return k.stdout.ended(), "open" })
		if got, want := k.stdout.text(), fmt.Sprintf("line of %d\n", i); got != want || results[i] == nil {
			t.Errorf("task %d printed %q, want %q", i, got, want)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
}
