/*
 * One attacker at work: its allocation, what is watched beside it, and what is checked after each
 * attack.
 *
 * The test keeps the log FIFOs open, so that nothing is lost when plugin and pump are restarted. A
 * neighbour of another job counts its lines all the time and must not be affected.
 */
package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/plugins/drivers"

	"paddock.invalid/test/harness/engine"
)

const imageAttack = "paddock.test/attack:1"

/* The sibling's program. It searches each of its mounts for the canaries. It reads, lists and
 * writes what it finds. */
const attackLook = `#!/bin/sh
try() {
	[ -e "$1/secret" ] || return 0
	echo "found $1"
	ls -a "$1"
	cat "$1/secret"
	echo owned >>"$1/secret"
	echo owned >"$1/planted"
}
while read -r _ _ _ _ m _; do
	case "$m" in /|/proc|/proc/*|/sys|/sys/*|/dev|/dev/*) continue;; esac
	m=$(printf '%b' "$m")
	if [ -f "$m" ]; then
		cat "$m"
		echo "# owned" >>"$m"
	elif [ -d "$m" ]; then
		try "$m"
		for c in $CANARIES; do
			while :; do
				try "$m$c"
				next=${c#/*/}
				[ "$next" != "$c" ] || break
				c=/$next
			done
		done
	fi
done </proc/self/mountinfo 2>/dev/null
exec sleep 36000
`

func importAttackImage(t testing.TB) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	ok(t, err, "this program")
	root, err := engine.BusyboxRoot(map[string]string{"bin/attacker": string(self), "bin/look": attackLook})
	ok(t, err, "an image")
	ok(t, run.docker.Import(imageAttack, root, `ENV PATH=/bin`), "an image")
}

/* An allocation under attack, and everything that is watched beside it. */
type siege struct {
	t        *testing.T
	p        *plug
	name     string /* of the driver */
	random   *rand.Rand
	host     *canary /* a folder of the host */
	stranger *canary /* another job's allocation */
	mounts   *hostMounts
	id, dir  string
	evil     *task
	attacker *attacker
	network  *drivers.NetworkIsolationSpec
	pause    string /* id of the container that has it */
	logs     map[string]*os.File
	events   *buffer
	config   string
	former   []*buffer /* stderr of plugins that were killed */

	neighbour    *task
	neighbourLog string
}

/* The ways to get the allocation's folder. */
var attackViews = []string{
	`volumes = ["../:/x"]`, `volumes = ["..:/x:rshared"]`, `volumes = ["../alloc/..:/x"]`, `mount { type = "bind"  source = ".."  target = "/x" }`,
	`volumes = ["local:/y", "local/../..:/x:rw"]`,
}

func newSiege(t *testing.T, number int, seed int64, config string) *siege {
	t.Helper()
	s := &siege{t: t, name: fmt.Sprintf("docker%d", number), random: rand.New(rand.NewSource(seed)), config: config, logs: map[string]*os.File{}, events: &buffer{}}
	s.host = newCanary(t, filepath.Join(run.dir, fmt.Sprintf("canary%d", number)), "web")
	s.stranger = newCanary(t, filepath.Join(run.dir, "alloc", uuid.Generate()), "web")
	s.id = uuid.Generate()
	s.dir = filepath.Join(run.dir, "alloc", s.id)
	makeAlloc(t, s.dir, "evil", "web")
	ok(t, os.MkdirAll(filepath.Join(s.dir, "web/local/d"), 0o777), "a folder of the sibling's")
	for _, f := range []string{"local/d/f", "local/profile.json", "local/image.tar"} {
		ok(t, os.WriteFile(filepath.Join(s.dir, "web", f), []byte("{}"), 0o666), "a file of the sibling's")
	}
	s.mounts = newHostMounts(t)
	s.launch()
	t.Cleanup(func() { s.sweep() })
	s.neighbour = s.makeTask(uuid.Generate(), "neighbour", shell(counter))
	s.neighbour.start(s.p)
	s.evil = s.makeTask(s.id, "evil", fmt.Sprintf("image = %q\ncommand = \"/bin/attacker\"\n%s", imageAttack, attackViews[number%len(attackViews)]))
	s.evil.cfg.Env[attackerRoot] = "/x"
	s.evil.cfg.Resources.LinuxResources.CPUShares = 1024
	s.evil.cfg.Resources.LinuxResources.MemoryLimitBytes = 256 << 20
	s.evil.cfg.Resources.NomadResources.Memory.MemoryMB = 256
	s.evil.start(s.p)
	s.attacker = dialAttacker(t, s.dir)
	s.makeTask(s.id, "web", "image = \"x\"") /* its log FIFOs */
	spec, _, err := s.p.networks().CreateNetwork(s.id, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	spec.HostsConfig = &drivers.HostsConfig{Hostname: "grouphost", Address: "192.0.2.55"}
	s.network = spec
	s.pause = run.docker.inspect(t, "nomad_init_"+s.id).str("Id")
	s.attacker.do(order{Do: "renew", Thing: thing{Path: "alloc"}})
	return s
}

func (s *siege) launch() {
	s.t.Helper()
	s.p = launchWith(s.t, launchOptions{name: s.name, config: s.config})
	s.p.t = s.t
	ch, err := s.p.TaskEvents(context.Background())
	ok(s.t, err, "TaskEvents")
	go func() {
		for e := range ch {
			fmt.Fprintf(s.events, "%s %v %v\n", e.Message, e.Annotations, e.Err)
		}
	}()
}

/* A task whose log FIFOs the test keeps open, so that they outlive pumps and need no reader. */
func (s *siege) makeTask(alloc, name, block string) *task {
	s.t.Helper()
	dir := filepath.Join(run.dir, "alloc", alloc)
	cfg := nomadTask(alloc, dir, name)
	for _, path := range []string{cfg.StdoutPath, cfg.StderrPath} {
		if s.logs[path] == nil {
			makeAlloc(s.t, dir, name)
			ok(s.t, mkfifo(path), "a log FIFO")
			f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
			ok(s.t, err, "a log FIFO")
			s.logs[path] = f
		}
	}
	setTaskConfig(s.t, s.p, cfg, block)
	return &task{t: s.t, cfg: cfg}
}

/* Checks that nothing is left. */
func (s *siege) sweep() {
	if s.attacker != nil {
		s.attacker.conn.Close()
	}
	_ = run.docker.Remove("nomad_init_" + s.id)
	list, _ := run.docker.List()
	for _, c := range list {
		if strings.HasSuffix(strings.Join(c.Names, " "), s.id) {
			_ = run.docker.Remove(c.ID)
		}
	}
	for _, k := range []*task{s.neighbour, s.evil} {
		if k != nil {
			k.discard()
		}
	}
	for _, f := range s.logs {
		f.Close()
	}
	os.RemoveAll(s.host.dir)
	os.RemoveAll(s.stranger.dir)
}

func (s *siege) text(text string) string {
	return strings.NewReplacer("{C}", s.host.dir, "{S}", s.stranger.dir, "{s}", "../"+filepath.Base(s.stranger.dir), "{A}", s.dir).Replace(text)
}

func (s *siege) thing(t thing) thing {
	return thing{t.Path, t.Kind, attackArchive(s.text(t.Text))}
}

func (s *siege) sibling(a attack, alloc string) *task {
	s.t.Helper()
	image, command := a.image, "command = \"/bin/look\"\n"
	if image == "" {
		image = imageAttack
	}
	needAttackImage(s.t, image)
	if strings.HasPrefix(a.block, "command") {
		command = ""
	}
	k := s.makeTask(alloc, "web", fmt.Sprintf("image = %q\n%s%s", image, command, s.text(a.block)))
	k.cfg.Env["CANARIES"] = strings.Join([]string{s.host.dir, s.stranger.dir}, " ")
	for key, value := range a.env {
		k.cfg.Env[key] = s.text(value)
	}
	if a.group {
		k.cfg.NetworkIsolation = s.network
	}
	if a.mod != nil {
		a.mod(k.cfg)
		k.cfg.User = s.text(k.cfg.User)
	}
	return k
}

/* Runs one attack. Returns what went wrong. */
func (s *siege) try(a attack) (wrong []string) {
	s.t.Helper()
	if a.joint {
		return s.tryJoint(a)
	}
	if a.heir {
		return s.tryHeir(a)
	}
	for _, t := range a.put {
		s.prepare(t)
		s.attacker.do(order{Do: "put", Thing: s.thing(t)})
	}
	for _, t := range a.race {
		s.prepare(t)
		pause := time.Duration(0)
		if s.random.Intn(2) == 0 {
			pause = time.Duration(s.random.Intn(10000)) * time.Microsecond
		}
		s.attacker.do(order{Do: "race", Thing: s.thing(t), Pause: pause})
	}
	k := s.sibling(a, s.id)
	err := k.tryStart(s.p)
	/* while the check still sees the wrong one, no race was tried */
	for i := 0; i < 10 && err != nil && len(a.race) > 0 && !a.fails; i++ {
		wrong = append(wrong, s.judge(a, k, err)...)
		k = s.sibling(a, s.id)
		err = k.tryStart(s.p)
	}
	wrong = append(wrong, s.judge(a, k, err)...)
	known := err == nil
	if a.again && known {
		known = s.comeAgain(k, &wrong)
	}
	if known {
		if err := k.destroy(s.p); err != nil {
			wrong = append(wrong, fmt.Sprintf("DestroyTask: %v", err))
		}
	}
	s.attacker.do(order{Do: "undo"})
	if a.reads {
		s.host.reader = s.p.pid
		wrong = append(wrong, s.host.opened()...)
		s.host.reader = 0
	}
	if err == nil && !known {
		/* Nomad starts a task again when it could not be recovered. The new container replaces the
		 * running one. */
		k = s.sibling(attack{}, s.id)
		ok(s.t, k.tryStart(s.p), "StartTask after a failed RecoverTask")
		ok(s.t, k.destroy(s.p), "DestroyTask after a failed RecoverTask")
	}
	return append(wrong, s.complaints(k)...)
}

/* Makes the thing beside its place. From then on a device node is watched like a canary. */
func (s *siege) prepare(t thing) {
	s.t.Helper()
	s.attacker.do(order{Do: "ready", Thing: s.thing(t)})
	if t.Kind == "zero" {
		s.host.also(filepath.Join(s.dir, t.Path) + attackerSpare)
	}
}

/*
 * Both tasks start at about the same time, and the attacker begins its exchanges with its first
 * instruction. What is known about running containers when the sibling is checked is then not
 * enough.
 */
func (s *siege) tryJoint(a attack) (wrong []string) {
	alloc := uuid.Generate()
	dir := filepath.Join(run.dir, "alloc", alloc)
	makeAlloc(s.t, dir, "web", "evil")
	ok(s.t, os.MkdirAll(filepath.Join(dir, "web/local/d"), 0o777), "a folder of the sibling's")
	ok(s.t, os.WriteFile(filepath.Join(dir, "web/local/d/f"), nil, 0o666), "a file of the sibling's")
	k := s.sibling(a, alloc)
	views := append([]string(nil), attackViews...)
	var orders []order
	if strings.HasPrefix(a.race[0].Path, "web/") {
		views = append(views, `volumes = ["../web:/x/web"]`, `mount { type = "bind"  source = "local/.."  target = "/x/../x/web" }`, `volumes = ["../web:/x/web", "../web/local:/y:ro"]`)
		views[0] = `volumes = ["../web/secrets/..:/x/web"]`
	} else {
		orders = append(orders, order{Do: "renew", Thing: thing{Path: "alloc"}})
	}
	evil := s.makeTask(alloc, "evil", fmt.Sprintf("image = %q\ncommand = \"/bin/attacker\"\n%s", imageAttack, views[s.random.Intn(len(views))]))
	for _, t := range a.race {
		orders = append(orders, order{Do: "ready", Thing: s.thing(t)}, order{Do: "race", Thing: s.thing(t)})
	}
	text, err := json.Marshal(orders)
	ok(s.t, err, "orders")
	evil.cfg.Env[attackerRoot], evil.cfg.Env[attackerNow] = "/x", string(text)
	evil.cfg.Resources.LinuxResources.MemoryLimitBytes = 256 << 20
	head := time.Duration(s.random.Intn(300)) * time.Millisecond
	both := []*task{evil, k}
	if s.random.Intn(4) == 0 {
		both = []*task{k, evil}
	}
	errs := make([]error, 2)
	first := make(chan bool)
	go func() {
		defer close(first)
		errs[0] = both[0].tryStart(s.p)
	}()
	select {
	case <-first:
	case <-time.After(head):
	}
	errs[1] = both[1].tryStart(s.p)
	<-first
	for i, one := range both {
		if one == evil && errs[i] != nil {
			wrong = append(wrong, fmt.Sprintf("the attacker's own start: %v", errs[i]))
		}
	}
	for i, one := range both {
		if one == k {
			wrong = append(wrong, s.judge(a, k, errs[i])...)
		}
	}
	for i, one := range both {
		if errs[i] == nil {
			if err := one.destroy(s.p); err != nil {
				wrong = append(wrong, fmt.Sprintf("DestroyTask: %v", err))
			}
		}
	}
	wrong = append(wrong, s.complaints(k)...)
	s.forget(k, evil)
	return wrong
}

/*
 * A task without mounts of its own takes over from the attacker, which has ended by then. Its
 * alloc/logs is a mount point, so that it cannot rename it. Two lives of the attacker's task, each
 * with other mount points, put another folder at that name. Then this task can.
 */
func (s *siege) tryHeir(a attack) (wrong []string) {
	s.t.Helper()
	alloc := uuid.Generate()
	dir := filepath.Join(run.dir, "alloc", alloc)
	makeAlloc(s.t, dir, "web", "evil", "heir")
	k := s.sibling(a, alloc)
	program := func(name, root, block string) *task {
		one := s.makeTask(alloc, name, fmt.Sprintf("image = %q\ncommand = \"/bin/attacker\"\n%s", imageAttack, block))
		one.cfg.Env[attackerRoot] = root
		one.cfg.Resources.LinuxResources.MemoryLimitBytes = 256 << 20
		one.start(s.p)
		return one
	}
	heir := program("heir", "/alloc", "")
	h := dialAttacker(s.t, filepath.Join(dir, "alloc"))
	defer h.conn.Close()
	for _, orders := range [][]order{
		{{Do: "renew", Thing: thing{Path: "alloc"}}},
		{{Do: "renew", Thing: thing{Path: "alloc.mine/logs"}}, {Do: "exchange", Thing: thing{Path: "alloc", Text: "alloc.mine"}}},
	} {
		evil := program("evil", "/x", attackViews[0])
		e := dialAttacker(s.t, dir)
		for _, o := range orders {
			e.do(o)
		}
		e.conn.Close()
		ok(s.t, evil.destroy(s.p), "DestroyTask of the attacker")
	}
	for _, t := range a.race {
		h.do(order{Do: "ready", Thing: s.thing(t)})
		h.do(order{Do: "race", Thing: s.thing(t)})
	}
	err := k.tryStart(s.p)
	for i := 0; i < 10 && err != nil; i++ {
		wrong = append(wrong, s.judge(a, k, err)...)
		k = s.sibling(a, alloc)
		err = k.tryStart(s.p)
	}
	wrong = append(wrong, s.judge(a, k, err)...)
	for _, one := range []*task{k, heir} {
		if one != k || err == nil {
			if err := one.destroy(s.p); err != nil {
				wrong = append(wrong, fmt.Sprintf("DestroyTask: %v", err))
			}
		}
	}
	wrong = append(wrong, s.complaints(k)...)
	s.forget(k, heir)
	return wrong
}

/* Forgets tasks of an allocation that is no longer needed. */
func (s *siege) forget(tasks ...*task) {
	dir := tasks[0].cfg.AllocDir
	for path, f := range s.logs {
		if strings.HasPrefix(path, dir+"/") {
			f.Close()
			delete(s.logs, path)
		}
	}
	for _, k := range tasks {
		k.discard()
	}
}

/* Judges the result of a start: an error without the secrets and without a container, or a
 * container that has only what it may have. */
func (s *siege) judge(a attack, k *task, err error) (wrong []string) {
	s.t.Helper()
	switch {
	case err != nil && a.starts:
		wrong = append(wrong, fmt.Sprintf("refused: %v", err))
	case err == nil && a.fails:
		wrong = append(wrong, "not refused")
	}
	if err != nil {
		if attackVerbose {
			s.t.Logf("  %.600v", err)
		}
		if run.docker.inspect(s.t, k.container()) != nil {
			wrong = append(wrong, fmt.Sprintf("the refused start left its container (%v)", err))
		}
		return append(wrong, s.spoken("StartTask's error", err.Error())...)
	}
	d := k.inspect()
	if pid := d.num("State.Pid"); pid > 0 {
		data := filepath.Join(run.dir, "d/data")
		folders := []string{k.cfg.AllocDir, filepath.Join(data, "containers", d.str("Id")), filepath.Join(data, d.str("Driver"))}
		folders = append(folders, ownVolumes(d)...)
		if a.group { /* the sibling shares its resolv.conf and hostname */
			folders = append(folders, filepath.Join(data, "containers", s.pause))
		}
		strange, err := s.mounts.strange(itoa(int(pid)), folders...)
		if err == nil {
			wrong = append(wrong, strange...)
		}
	}
	/* it has searched when it sleeps; its output may go anywhere */
	saw, done := poll(10*time.Second, func() (bool, string) {
		d = run.docker.inspect(s.t, k.container())
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%.0f/comm", d.num("State.Pid")))
		return string(comm) == "sleep\n" || !d.running() || d.at("HostConfig.Init") == true, string(comm)
	})
	if !done {
		wrong = append(wrong, "the task does not come to its end: "+saw)
	}
	return append(wrong, s.spoken("docker logs", rawLog(k.container()))...)
}

/* The volumes that Docker made because the image declares them. Their names are random. */
func ownVolumes(d doc) (out []string) {
	mounts, _ := d["Mounts"].([]any)
	for _, m := range mounts {
		m, _ := m.(map[string]any)
		if name, _ := m["Name"].(string); m["Type"] == "volume" && len(name) == 64 {
			source, _ := m["Source"].(string)
			out = append(out, source)
		}
	}
	return out
}

/* Both streams as Docker has them, with its frames. Empty when Docker keeps none. */
func rawLog(container string) string {
	ctx, cancel := timeout(callLimit)
	defer cancel()
	resp, err := run.docker.Open(ctx, "GET", "/containers/"+container+"/logs?stdout=1&stderr=1", nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return string(data)
}

/*
 * Kills plugin and pump. The next ones recover all tasks. Returns whether the sibling was one of
 * them: its FIFOs can be missing at that moment.
 */
func (s *siege) comeAgain(k *task, wrong *[]string) bool {
	s.t.Helper()
	s.former = append(s.former, s.p.stderr)
	pumps := logPumps()
	s.p.crash(s.t)
	for _, pump := range pumps {
		if strings.Contains(pump.argv[2], "/"+s.name+"-") {
			_ = syscall.Kill(pump.pid, syscall.SIGKILL)
		}
	}
	s.launch()
	if err := recoverWith(s.t, s.p, persisted(s.t, s.neighbour.handle)); err != nil {
		*wrong = append(*wrong, fmt.Sprintf("RecoverTask of the neighbour: %v", err))
	}
	/* a task that moves its own log away is not recovered */
	eventually(s.t, 20*time.Second, "RecoverTask of the attacker", func() (bool, string) {
		err := recoverWith(s.t, s.p, persisted(s.t, s.evil.handle))
		return err == nil, fmt.Sprint(err)
	})
	err := recoverWith(s.t, s.p, persisted(s.t, k.handle))
	if err != nil {
		*wrong = append(*wrong, s.spoken("RecoverTask's error", err.Error())...)
	}
	return err == nil
}

func (s *siege) complaints(k *task) (wrong []string) {
	s.t.Helper()
	wrong = append(s.host.complaints(), s.stranger.complaints()...)
	for path, f := range s.logs {
		text := drain(f)
		wrong = append(wrong, s.spoken("the log "+path, text)...)
		if path == s.neighbour.cfg.StdoutPath {
			s.neighbourLog += text
		}
	}
	wrong = append(wrong, s.spoken("task events", s.events.String())...)
	wrong = append(wrong, s.spoken("the plugin's log", s.p.stderr.String())...)
	if !alive(s.p.pid) {
		wrong = append(wrong, "the plugin died")
	}
	if run.docker.inspect(s.t, k.container()) != nil {
		wrong = append(wrong, "the sibling's container is still there")
		_ = run.docker.Remove(k.container())
	}
	for _, left := range sourcesOf(s.t, k.container()) {
		wrong = append(wrong, "left: "+left)
	}
	return wrong
}

func (s *siege) spoken(where, text string) []string {
	for _, c := range []*canary{s.host, s.stranger} {
		if i := strings.Index(text, c.secret); i >= 0 {
			return []string{fmt.Sprintf("the secret of %s is in %s: %.300q", c.dir, where, text[max(0, i-100):])}
		}
	}
	return nil
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

/* Ends the siege. The neighbour's log and exit code are its own, and no secret is in the
 * allocation. */
func (s *siege) end() {
	s.t.Helper()
	waiter := s.neighbour.waiter(s.p)
	ok(s.t, s.neighbour.stop(s.p, 20*time.Second, ""), "StopTask of the neighbour")
	if r := s.neighbour.result(waiter, callLimit); r.ExitCode != 6 {
		s.t.Errorf("the neighbour's result is %+v, want exit code 6", r)
	}
	eventually(s.t, 20*time.Second, "the neighbour's last line", func() (bool, string) {
		s.neighbourLog += drain(s.logs[s.neighbour.cfg.StdoutPath])
		return strings.HasSuffix(s.neighbourLog, "last\n"), lastLines(s.neighbourLog, 3)
	})
	checkCounter(s.t, s.neighbourLog)
	ok(s.t, s.neighbour.destroy(s.p), "DestroyTask of the neighbour")
	ok(s.t, s.evil.destroy(s.p), "DestroyTask of the attacker")
	ok(s.t, filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			for _, w := range s.spoken("the file "+path, string(data)) {
				s.t.Error(w)
			}
		}
		return nil
	}), "the allocation")
	ok(s.t, s.p.networks().DestroyNetwork(s.id, s.network), "DestroyNetwork")
	within(s.t, 20*time.Second, "Kill by the host", s.p.client.Kill)
	for _, b := range append(s.former, s.p.stderr) {
		for _, word := range []string{"AddressSanitizer", "LeakSanitizer", "runtime error:", "ThreadSanitizer"} {
			if i := strings.Index(b.String(), word); i >= 0 {
				s.t.Errorf("the plugin's log: %.2000s", b.String()[i:])
			}
		}
	}
}
