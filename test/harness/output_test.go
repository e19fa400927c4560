/*
 * Each byte that a task prints arrives once: at full speed with the default log settings, with
 * readers that pause, beside busy loops, with the log pump, the plugin and dockerd killed, and for
 * all kinds of output. CI runs a short form. The long one:
 *
 *   OUTPUT_MB (20; long 200)   OUTPUT_ROUNDS (1; long 3)   OUTPUT_LOOPS (4; long 12)
 *   OUTPUT_SECONDS (10; long 180) of kills   OUTPUT_TASKS (40; long 200) of one line
 */
package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

const outputLine = 100

/* Prints numbered lines of 100 bytes, as fast as they are read. */
func printLines(n int) string {
	return fmt.Sprintf(`awk 'BEGIN { for (i = 0; i < %d; i++) printf "%%0%dd\n", i }'`, n, outputLine-1)
}

/* How the lines 0 to n-1 arrived. */
type came struct{ lost, twice, torn, disordered int }

func (c came) whole() bool { return c == came{} }

/* The numbers of the lines that have arrived so far. */
type numbersSeen struct {
	came
	seen map[int]bool
	last int /* the largest one, -1 before the first */
}

/* Adds the next line. It is torn unless it is whole. */
func (s *numbersSeen) add(i int, whole bool) {
	switch {
	case !whole:
		s.torn++
		return
	case s.seen[i]:
		s.twice++
	case i < s.last:
		s.disordered++
	}
	s.seen[i] = true
	s.last = max(s.last, i)
}

func countNumbered(text string, n int) (c came) {
	seen := numbersSeen{last: -1, seen: map[int]bool{}}
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
		seen.add(i, err == nil && i >= 0 && i < n)
	}
	seen.lost = n - len(seen.seen)
	return seen.came
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

/* All output stays in Docker's files, also output that is not read. */
const largeLogs = "\nlogging { type = \"json-file\"  config { max-size = \"10m\"  max-file = \"200\" } }"

/* Tasks that print lines with numbers from 0 on until they are stopped. */
var numberedOutputs = []struct {
	name, hcl string
	stderr    bool               /* the lines arrive on stderr */
	line      func(i int) string /* the line as Nomad must get it */
}{
	/* 5 MB/s */
	{"steady", fmt.Sprintf(`i=0; while [ $stop = 0 ]; do awk -v a=$i 'BEGIN { for (i = a; i < a + 10000; i++) printf "%%0%dd\n", i }'; i=$((i+10000)); sleep 0.15; done`, outputLine-1), false,
		func(i int) string { return fmt.Sprintf("%0*d\n", outputLine-1, i) }},
	/* both streams; dockerd makes two pieces of each line of stderr */
	{"mixed", fmt.Sprintf(`i=0; while [ $stop = 0 ]; do printf "%%0%dd\n" $i; echo $long$i >&2; i=$((i+1)); sleep 0.05; done`, outputLine-1), false,
		func(i int) string { return fmt.Sprintf("%0*d\n", outputLine-1, i) }},
	{"mixed", "", true,
		func(i int) string { return strings.Repeat("x", 20000) + fmt.Sprint(i) + "\n" }},
	{"terminal", `i=0; while [ $stop = 0 ]; do echo "line $i"; i=$((i+1)); sleep 0.02; done`, false,
		func(i int) string { return fmt.Sprintf("line %d\r\n", i) }},
	/* bytes that are not UTF-8 become U+FFFD in dockerd's file */
	{"binary", `i=0; while [ $stop = 0 ]; do printf '\000\001\033\134\042\177\377%d\n' $i; i=$((i+1)); sleep 0.02; done`, false,
		func(i int) string { return fmt.Sprintf("\x00\x01\x1b\\\"\x7f\ufffd%d\n", i) }},
}

/* The number that a line ends with. */
func numberAtEnd(line string) int {
	line = strings.TrimRight(line, "\r\n")
	digits := line[len(strings.TrimRight(line, "0123456789")):]
	n, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return n
}

/*
 * How the lines with the numbers from 0 to the largest one arrived, and which did not.
 */
func countOutput(text string, line func(i int) string) (c came, lost []int) {
	seen := numbersSeen{last: -1, seen: map[int]bool{}}
	for _, got := range strings.SplitAfter(text, "\n") {
		if got != "" {
			i := numberAtEnd(got)
			seen.add(i, i >= 0 && got == line(i))
		}
	}
	for i := 0; i <= seen.last; i++ {
		if !seen.seen[i] {
			lost = append(lost, i)
		}
	}
	seen.lost = len(lost)
	return seen.came, lost
}

/* The folder of Docker's log files of an existing container. */
func logFolder(t *testing.T, k *task) string {
	t.Helper()
	var d struct{ LogPath string }
	_, err := run.docker.Call("GET", "/containers/"+k.container()+"/json", nil, &d)
	ok(t, err, "inspect")
	return filepath.Dir(d.LogPath)
}

/* The numbers of the whole lines of a stream in Docker's log files, the oldest file first. */
func inDockersLog(t *testing.T, folder, stream string, line func(i int) string) map[int]bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*-json.log*"))
	ok(t, err, "Docker's files")
	age := func(name string) int { return max(numberAtEnd(name), 0) }
	sort.Slice(names, func(i, j int) bool { return age(names[i]) > age(names[j]) })
	found := map[int]bool{}
	var text strings.Builder
	for _, name := range names {
		data, err := os.ReadFile(name)
		ok(t, err, "Docker's file")
		for _, record := range bytes.Split(data, []byte("\n")) {
			var r struct{ Log, Stream string }
			if json.Unmarshal(record, &r) != nil || r.Stream != stream { /* the record that a kill has cut */
				continue
			}
			text.WriteString(r.Log)
			if !strings.HasSuffix(r.Log, "\n") {
				continue
			}
			got := text.String()
			text.Reset()
			if i := numberAtEnd(got); i >= 0 && got == line(i) {
				found[i] = true
			}
		}
	}
	return found
}

/*
 * Tasks print 5 MB/s, both streams with long lines, to a terminal, and binary data, all with
 * rotation. Lines that are not in Docker's files after a kill of dockerd are lost (up to 2,294
 * lines at one kill were seen). No other line may be. OUTPUT_SEED (1) repeats a failed run.
 */
func TestOutputArrivesOnceWhenAllAreKilled(t *testing.T) {
	paddockOnly(t, "its log process dies with the plugin")
	ownDockerd(t)
	t.Run("pump and plugin", func(t *testing.T) { killWhilePrinting(t, "pump", "plugin", "both") })
	t.Run("dockerd too", func(t *testing.T) { killWhilePrinting(t, "pump", "plugin", "both", "dockerd", "dockerd") })
}

/* The tasks as Docker and the driver see them, for the report of a failure. */
func whereTasksStand(t *testing.T, tasks map[string]*task) string {
	var b strings.Builder
	for name, k := range tasks {
		var c struct{ State map[string]any }
		if _, err := run.docker.Call("GET", "/containers/"+k.container()+"/json", nil, &c); err != nil {
			c.State = map[string]any{"error": err}
		}
		fmt.Fprintf(&b, "%s: %d and %d bytes, ended %v and %v; Docker: %v\n%s", name, k.stdout.size(), k.stderr.size(),
			k.stdout.ended(), k.stderr.ended(), c.State, cli(t, "status", k.cfg.ID).stdout)
	}
	return b.String() + cli(t, "status").stdout
}

func killWhilePrinting(t *testing.T, whats ...string) {
	seed := envInt(t, "OUTPUT_SEED", 1)
	rng := rand.New(rand.NewSource(int64(seed)))
	p := launch(t)
	tasks := map[string]*task{}
	for _, o := range numberedOutputs {
		if o.hcl == "" {
			continue
		}
		script := `trap 'stop=1' TERM; stop=0; long=$(head -c 20000 /dev/zero | tr '\0' x); ` + o.hcl
		tasks[o.name] = newTask(t, p, o.name, shell(script)+fmt.Sprintf("\ntty = %v", o.name == "terminal")+largeLogs).start(p)
	}
	recoverAll := func() {
		t.Helper()
		p = launch(t)
		for _, k := range tasks {
			ok(t, recoverWith(t, p, persisted(t, k.handle)), "RecoverTask")
			k.stdout.resume()
			k.stderr.resume()
		}
	}
	kills := map[string]int{}
	what := "nothing"
	goesOn := func(name string, more int) {
		t.Helper()
		k := tasks[name]
		size := k.stdout.size()
		eventually(t, time.Minute, "the log of "+name+" continues after the kill of "+what, func() (bool, string) {
			return k.stdout.size() > size+more, fmt.Sprintf("%d bytes of %d", k.stdout.size()-size, more)
		})
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d, killed: %v, last: %s\n%s", seed, kills, what, whereTasksStand(t, tasks))
		}
	})
	for end := time.Now().Add(time.Duration(envInt(t, "OUTPUT_SECONDS", 10)) * time.Second); time.Now().Before(end); {
		goesOn("steady", 1000000+rng.Intn(5000000))
		what = whats[rng.Intn(len(whats))]
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
	/* all tasks print after the last kill, not only the one that prints much */
	for name := range tasks {
		goesOn(name, 0)
	}
	folders := map[string]string{}
	for name, k := range tasks {
		folders[name] = logFolder(t, k)
		ok(t, k.stop(p, 20*time.Second, "SIGTERM"), "StopTask of "+name)
		eventually(t, time.Minute, "the end of the log of "+name, func() (bool, string) {
			return k.stdout.ended() && k.stderr.ended(), fmt.Sprintf("%d bytes, open", k.stdout.size())
		})
	}
	t.Logf("seed %d, killed: %v", seed, kills)
	for _, o := range numberedOutputs {
		f, stream := tasks[o.name].stdout, "stdout"
		if o.stderr {
			f, stream = tasks[o.name].stderr, "stderr"
		}
		text := f.text()
		c, lost := countOutput(text, o.line)
		t.Logf("%s, %s: %d KB: %+v", o.name, stream, len(text)/1000, c)
		if len(lost) > 0 {
			has, ours := inDockersLog(t, folders[o.name], stream, o.line), 0
			for _, i := range lost {
				if has[i] {
					ours++
				}
			}
			if ours > 0 || len(has) == 0 || kills["dockerd"] == 0 {
				t.Errorf("%s, %s: %d of %d lost lines are in Docker's files, with %d other lines", o.name, stream, ours, len(lost), len(has))
			}
		}
		/* the line that is cut can be two pieces */
		if len(text) == 0 || c.twice > 0 || c.disordered > 0 || c.torn > 2*kills["dockerd"] {
			t.Errorf("%s, %s: not each line came once: %+v", o.name, stream, c)
		}
	}
	for _, k := range tasks {
		ok(t, k.destroy(p), "DestroyTask")
	}
}

/* The host was restarted. The container has ended, and nothing of /run is left. */
func TestOutputIsNotSentAgainAfterAReboot(t *testing.T) {
	paddockOnly(t, "it sends the whole log again")
	p := launch(t)
	lines := 60000 /* with the rotation that every task's log has */
	k := newTask(t, p, "before", shell(printLines(lines)+"; sleep 1000")).start(p)
	eventually(t, time.Minute, "the output", func() (bool, string) {
		return k.stdout.size() >= lines*outputLine, fmt.Sprint(k.stdout.size())
	})
	pumps := logPumps()
	p.crash(t)
	for _, pump := range pumps {
		_ = syscall.Kill(pump.pid, syscall.SIGKILL)
		ok(t, os.RemoveAll(pump.argv[2]), "the pump's folder")
	}
	_, err := run.docker.Call("POST", "/containers/"+k.container()+"/kill", nil, nil)
	ok(t, err, "the container's end")
	p = launch(t)
	ok(t, recoverWith(t, p, persisted(t, k.handle)), "RecoverTask")
	k.stdout.resume()
	k.wait(p, time.Minute)
	eventually(t, time.Minute, "the end of the log", func() (bool, string) { return k.stdout.ended(), "open" })
	if c := countNumbered(k.stdout.text(), lines); !c.whole() || len(pumps) != 1 {
		t.Errorf("%d pumps; not each line came once: %+v", len(pumps), c)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestOutputOfEachKindArrivesWhole(t *testing.T) {
	t.Parallel()
	p := launchWith(t, launchOptions{name: "kinds"})
	repeat := func(s string, n int) string { return strings.Repeat(s, n) }
	var numbered strings.Builder
	for i := 0; i < 30000; i++ {
		fmt.Fprintf(&numbered, "%0*d\n", outputLine-1, i)
	}
	for _, c := range []struct{ name, hcl, out, err string }{
		{"long lines", shell(`head -c 100000 /dev/zero | tr '\0' x; echo; echo end`), repeat("x", 100000) + "\nend\n", ""},
		/* the follower of dockerd's API loses the end of its first piece */
		{"long line without an end", shell(`head -c 20000 /dev/zero | tr '\0' x; sleep 4; echo later >&2`), repeat("x", 20000), "later\n"},
		{"both streams", shell(`for i in 1 2 3; do echo out $i; echo err $i >&2; done`), "out 1\nout 2\nout 3\n", "err 1\nerr 2\nerr 3\n"},
		{"terminal", shell(`echo one; echo two >&2`) + "\ntty = true", "one\r\ntwo\r\n", ""},
		{"binary", shell(`printf '\000\001\033\134\042\177\377x\n'`), "\x00\x01\x1b\\\"\x7f\ufffdx\n", ""},
		{"truncated in place", shell(`for i in 1 2 3 4 5; do echo $i; sleep 0.3; done`) + "\nlogging { type = \"json-file\"  config { max-size = \"100\"  max-file = \"1\" } }", "1\n2\n3\n4\n5\n", ""},
		{"compressed rotation", shell(printLines(30000)) + "\nlogging { type = \"json-file\"  config { max-size = \"1m\"  max-file = \"3\"  compress = \"true\" } }", numbered.String(), ""},
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

func TestCheckShowsHowOutputIsRead(t *testing.T) {
	paddockOnly(t, "it has no command line")
	p := launch(t)
	file := newTask(t, p, "file", sleeper).start(p)
	api := newTask(t, p, "api", sleeper+"\nlogging { type = \"local\" }").start(p)
	file.stdout.waitFor(t, time.Minute, "up")
	api.stdout.waitFor(t, time.Minute, "up")
	if r := cli(t, "check"); !strings.Contains(r.stdout, "reads 1 tasks by file, 1 by API, 0 not") {
		t.Errorf("check: %+v", r)
	}
	ok(t, file.stop(p, 10*time.Second, ""), "StopTask")
	ok(t, api.stop(p, 10*time.Second, ""), "StopTask")
	ok(t, file.destroy(p), "DestroyTask")
	ok(t, api.destroy(p), "DestroyTask")
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
