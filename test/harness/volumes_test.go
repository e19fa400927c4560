/*
 * What a job mounts below its allocation is what was checked when the task was started, whatever a
 * sibling task does to the names until Docker mounts.
 */
package harness

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

/* Mount points of the task's volumes, and their folders. */
func sourcesOf(t testing.TB, container string) []string {
	t.Helper()
	var found []string
	for _, m := range mountsBelow("/run/paddock") {
		if strings.Contains(m, "/"+container+"/") {
			found = append(found, "mount "+m)
		}
	}
	folders, err := filepath.Glob("/run/paddock/*-volumes/" + container)
	ok(t, err, "glob")
	return append(found, folders...)
}

func wantNoSources(t testing.TB, container, when string) {
	t.Helper()
	if left := sourcesOf(t, container); len(left) > 0 {
		t.Errorf("%s: left are\n  %s", when, joinLines(left))
	}
}

/* A file of the host that no task may see. */
func hostFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	ok(t, os.WriteFile(path, []byte("the host's\n"), 0o644), "a file of the host")
	return path
}

func swapFor(t testing.TB, path, target string) {
	t.Helper()
	ok(t, os.Rename(path, path+".away"), "moving it away")
	ok(t, os.Symlink(target, path), "a link in its place")
}

func TestVolumesAreWhatWasChecked(t *testing.T) {
	paddockOnly(t, "Docker follows the link")
	rec := record(t, run.dockerd.Socket())
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, "")})
	host := hostFile(t)
	for _, r := range []struct{ name, block, swap, to string }{
		{"folder", `volumes = ["local/d:/v"]`, "local/d", filepath.Dir(host)},
		{"folder above it", `volumes = ["local/up/d:/v"]`, "local/up", filepath.Dir(filepath.Dir(host))},
		{"file", `volumes = ["local/d/f:/v/f:ro"]`, "local/d/f", host},
		{"mount", `mount { type = "bind"  source = "local/d"  target = "/v" }`, "local/d", filepath.Dir(host)},
		{"shared mount", `mount { type = "bind"  source = "local/d"  target = "/v"  bind_options { propagation = "rshared" } }`, "local/d", filepath.Dir(host)},
	} {
		for _, when := range []string{"/create", "/start"} {
			t.Run(r.name+" before"+when, func(t *testing.T) {
				p.t = t
				k := newTask(t, p, "race", shell("cat /v/f; echo read")+"\n"+r.block)
				local := filepath.Join(k.cfg.AllocDir, k.cfg.Name)
				for _, dir := range []string{"local/d", "local/up/d"} {
					ok(t, os.MkdirAll(filepath.Join(local, dir), 0o755), "a folder")
					ok(t, os.WriteFile(filepath.Join(local, dir, "f"), []byte("mine\n"), 0o644), "a file")
				}
				if strings.Contains(r.swap, "up") {
					/* the target of the name then has a `d`, too */
					_ = os.Symlink(filepath.Dir(host), filepath.Join(r.to, "d"))
				}
				var once sync.Once
				rec.before = func(q *http.Request) {
					if q.Method == "POST" && strings.HasSuffix(q.URL.Path, when) {
						once.Do(func() { swapFor(t, filepath.Join(local, r.swap), r.to) })
					}
				}
				defer func() { rec.before = nil }()
				k.start(p)
				k.stdout.waitFor(t, 10*time.Second, "read\n")
				if text := k.stdout.text(); text != "mine\nread\n" {
					t.Errorf("the task sees %q", text)
				}
				if m := mountAt(k.inspect(), "/v"); m != nil && !strings.HasPrefix(fmt.Sprint(m["Source"]), "/run/paddock/") {
					t.Errorf("Docker was sent %v", m)
				}
				if len(sourcesOf(t, k.container())) == 0 {
					t.Error("no mount of its volume while the task is there")
				}
				ok(t, k.destroy(p), "DestroyTask")
				wantNoSources(t, k.container(), "after DestroyTask")
			})
		}
	}
}

/* One task does everything that jobs do with volumes, through a crash of the plugin and a
 * restart by hand. */
func TestVolumesOfAWholeLife(t *testing.T) {
	paddockOnly(t, "names")
	p := launch(t)
	k := newTask(t, p, "life", shell(`cat /etc/app.conf /link/f /whole/life/secrets/key >>/made/here/f; mkdir -p /shared/m
		(echo >/etc/app.conf) 2>/dev/null || echo read-only >>/made/here/f; echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done`)+`
		volumes = ["local/app.conf:/etc/app.conf:ro", "local/link:/link", "local/new/here:/made/here", "local/shared:/shared:rshared", "..:/whole"]`)
	dir := filepath.Join(k.cfg.AllocDir, k.cfg.Name)
	ok(t, syscall.Mount("secrets", filepath.Join(dir, "secrets"), "tmpfs", 0, ""), "mounting secrets as the agent does")
	for path, text := range map[string]string{"local/app.conf": "conf\n", "../alloc/data/f": "linked\n", "secrets/key": "key\n"} {
		ok(t, os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644), path)
	}
	ok(t, os.Symlink("../../alloc/data", filepath.Join(dir, "local/link")), "a link inside the allocation")
	ok(t, os.Mkdir(filepath.Join(dir, "local/shared"), 0o777), "a folder")
	k.start(p)
	const seen = "conf\nlinked\nkey\nread-only\n"
	wantWritten := func(want string) {
		t.Helper()
		eventually(t, 20*time.Second, "what the task sees, in a folder that was missing", func() (bool, string) {
			text, _ := os.ReadFile(filepath.Join(dir, "local/new/here/f"))
			return string(text) == want, string(text)
		})
	}
	wantWritten(seen)
	if s, err := os.Stat(filepath.Join(dir, "local/new")); err != nil || s.Mode().Perm() != 0o755 {
		t.Errorf("a folder that was missing: %v %v, want 0755 as Docker makes it", s, err)
	}
	if m := mountAt(k.inspect(), "/shared"); m == nil || m["Propagation"] != "rshared" {
		t.Errorf("mount at /shared: %v", m)
	}

	p.crash(t)
	again := launch(t)
	ok(t, again.RecoverTask(&drivers.TaskHandle{Version: k.handle.Version, Config: k.cfg, State: k.handle.State, DriverState: k.handle.DriverState}), "RecoverTask")
	_, err := run.docker.Call("POST", "/containers/"+k.container()+"/restart?t=5", nil, nil)
	ok(t, err, "a restart by hand")
	wantWritten(seen + seen)
	ok(t, k.destroy(again), "DestroyTask")
	wantNoSources(t, k.container(), "after DestroyTask")
	if text, err := os.ReadFile(filepath.Join(dir, "secrets/key")); string(text) != "key\n" {
		t.Errorf("the agent's own mount of the secrets: %q %v", text, err)
	}
}

func TestVolumesOfAFailedStartAreUnmounted(t *testing.T) {
	paddockOnly(t, "names")
	p := launch(t)
	for what, block := range map[string]string{
		"a command that does not exist": "image = \"" + imageBusybox + "\"\ncommand = \"/no/such\"\nvolumes = [\"local/d:/v\"]",
		"a source that is missing":      shell("true") + "\nvolumes = [\"local/d:/v\"]\nmount { type = \"bind\"  source = \"local/nope\"  target = \"/m\" }",
	} {
		k := newTask(t, p, "fails", block)
		wantError(t, k.tryStart(p), what, map[bool]string{true: "bind source path does not exist", false: "/no/such"}[strings.Contains(what, "missing")])
		wantNoSources(t, k.container(), what)
	}
}

/* What a crash and removed containers leave. The next plugin removes it, and nothing else. */
func TestVolumesOfLostContainersAreSwept(t *testing.T) {
	paddockOnly(t, "names")
	rec := record(t, run.dockerd.Socket()) /* an endpoint of our own, and with it a folder */
	config := launchOptions{config: configAt(rec.endpoint, "")}
	p := launchWith(t, config)
	block := sleeper + "\nvolumes = [\"local/d:/v\"]"
	lost, kept := newTask(t, p, "lost", block).start(p), newTask(t, p, "kept", block).start(p)
	p.crash(t)
	ok(t, run.docker.Remove(lost.container()), "removing its container")
	if len(sourcesOf(t, lost.container())) == 0 {
		t.Fatal("no mount that could be swept")
	}
	again := launchWith(t, config)
	next := newTask(t, again, "next", block).start(again)
	eventually(t, 10*time.Second, "the lost container's mounts go", func() (bool, string) {
		left := sourcesOf(t, lost.container())
		return len(left) == 0, joinLines(left)
	})
	for _, k := range []*task{kept, next} {
		if len(sourcesOf(t, k.container())) != 2 {
			t.Errorf("%s: %v", k.cfg.Name, sourcesOf(t, k.container()))
		}
	}
	ok(t, recoverWith(t, again, kept.handle), "RecoverTask")
	for _, k := range []*task{kept, next} {
		ok(t, k.destroy(again), "DestroyTask")
		wantNoSources(t, k.container(), "after DestroyTask")
	}
}

/* dockerd is on another host: names as before, and one line about it in the log. */
func TestVolumesOfADockerThatCannotSeeOurMounts(t *testing.T) {
	paddockOnly(t, "names")
	a := newAuthority(t)
	p := launchWith(t, launchOptions{config: configAt("tcp://"+a.serve(t, "127.0.0.1"), tlsBlock(a.certPath(t, a)))})
	for i := 0; i < 2; i++ {
		k := newTask(t, p, "far", sleeper+"\nvolumes = [\"local/d:/v\"]").start(p)
		want := filepath.Join(k.cfg.AllocDir, k.cfg.Name, "local/d")
		if m := mountAt(k.inspect(), "/v"); m == nil || m["Source"] != want {
			t.Errorf("mount at /v: %v, want %s", m, want)
		}
		wantNoSources(t, k.container(), "with a Docker over TCP")
		ok(t, k.destroy(p), "DestroyTask")
	}
	if n := strings.Count(p.stderr.String(), "given to Docker by name"); n != 1 {
		t.Errorf("%d lines about it, want 1", n)
	}
}
