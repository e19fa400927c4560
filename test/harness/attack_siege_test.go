/*
 * One attacker at work: its allocation, and what is watched beside it. attack_try_test.go runs the
 * attacks, attack_judge_test.go checks them.
 *
 * The test keeps the log FIFOs open, so that nothing is lost when plugin and pump are restarted. A
 * neighbour of another job counts its lines all the time and must not be affected.
 */
package harness

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
