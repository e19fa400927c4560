/*
 * A job mounts the whole folder of its allocation in one task, and uses it to attack the start of
 * another one. Targets are the folders that Nomad gives each task, and texts that Docker splits.
 */
package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

/* A folder of the host with a file in it. No task may see it. */
func hostFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "canary"), []byte("the host's\n"), 0o644), "a file of the host")
	return dir
}

/* Lists every place where a task could have it. */
const lookAround = `for d in /alloc /alloc/logs /local /secrets /tgt /host /v; do echo "$d: $(ls $d 2>/dev/null | tr '\n' ' ')"; done
	cat /etc/hosts /etc/resolv.conf; echo looked; while :; do sleep 0.1; done`

/* The start was refused with these words, or the task runs and sees nothing of the host. */
func wantNoEscape(t testing.TB, p *plug, k *task, started error, refusal string) {
	t.Helper()
	if refusal != "" {
		wantError(t, started, "the start", refusal)
		return
	}
	ok(t, started, "StartTask")
	k.stdout.waitFor(t, 10*time.Second, "looked\n")
	if strings.Contains(k.stdout.text(), "canary") || strings.Contains(k.stdout.text(), "the host's") {
		t.Errorf("the task sees the host:\n%s", k.stdout.text())
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* Nomad's folders are links whose texts read like `source:target`, and an environment variable
 * ends a text with a mode. */
func TestFoldersOfATaskAreNotReadAsBinds(t *testing.T) {
	for _, r := range []struct{ folder, env string }{{"local", "NOMAD_TASK_DIR"}, {"secrets", "NOMAD_SECRETS_DIR"}} {
		t.Run(r.folder, func(t *testing.T) {
			p := launch(t)
			host := hostFolder(t)
			k := newTask(t, p, "web", shell(lookAround))
			dir := filepath.Join(k.cfg.AllocDir, k.cfg.Name)
			ok(t, os.RemoveAll(filepath.Join(dir, r.folder)), "removing it")
			ok(t, os.Symlink("q:/tgt", filepath.Join(dir, r.folder)), "a link in its place")
			ok(t, os.Symlink(host, filepath.Join(dir, "q")), "a link to the host")
			k.cfg.Env[r.env] = "rw"
			err := k.tryStart(p)
			if run.isRef {
				wantError(t, err, "the start") /* Docker refuses the text */
				return
			}
			wantNoEscape(t, p, k, err, r.folder+`" is not as Nomad made it`)
		})
	}
}

/* When a folder of Nomad's is missing or is something else, nothing is made in its place. */
func TestFoldersOfATaskMustBeThere(t *testing.T) {
	paddockOnly(t, "makes them")
	p := launch(t)
	for _, folder := range []string{"local", "secrets", "../alloc", "../alloc/logs"} {
		k := newTask(t, p, "web", shell(lookAround))
		path := filepath.Join(k.cfg.AllocDir, k.cfg.Name, folder)
		ok(t, os.Rename(path, path+".away"), "moving it away")
		wantError(t, k.tryStart(p), folder+" is missing", filepath.Base(folder)+`" is not as Nomad made it: No such file or directory`)
		ok(t, os.Symlink(filepath.Base(path)+".away", path), "a link to the same folder")
		wantError(t, k.tryStart(p), folder+" is a link", filepath.Base(folder)+`" is not as Nomad made it: it is a symlink`)
		ok(t, os.Remove(path), "removing the link")
		ok(t, os.Rename(path+".away", path), "moving it back")
	}
}

func TestEnvironmentChoosesPlainFoldersOnly(t *testing.T) {
	paddockOnly(t, "sends any text")
	p := launch(t)
	for _, name := range []string{"NOMAD_ALLOC_DIR", "NOMAD_TASK_DIR", "NOMAD_SECRETS_DIR"} {
		for _, value := range []string{"rw", "/x:ro", "/a:/b", "./x", "/", "//"} {
			k := newTask(t, p, "env", shell(lookAround))
			k.cfg.Env[name] = value
			wantError(t, k.tryStart(p), name+"="+value, "env: "+name+`: "`+value+`"`)
		}
	}
	k := newTask(t, p, "env", shell(`echo $NOMAD_TASK_DIR: $(cat $NOMAD_TASK_DIR/f); echo looked; sleep 100`))
	ok(t, os.WriteFile(filepath.Join(k.cfg.AllocDir, k.cfg.Name, "local/f"), []byte("mine\n"), 0o644), "a file")
	k.cfg.Env["NOMAD_TASK_DIR"] = "/else/where/"
	k.start(p)
	k.stdout.waitFor(t, 10*time.Second, "/else/where/: mine\nlooked\n")
	ok(t, k.destroy(p), "DestroyTask")
}

/* When Docker is sent names, the text of a link becomes the source of a volume. */
func TestVolumesByNameAreNotReadAsBinds(t *testing.T) {
	paddockOnly(t, "sends any text")
	a := newAuthority(t)
	p := launchWith(t, launchOptions{config: configAt("tcp://"+a.serve(t, "127.0.0.1"), tlsBlock(a.certPath(t, a)))})
	host := hostFolder(t)
	for _, r := range []struct{ name, block, refusal string }{
		{"target by a link", `volumes = ["../alloc/x:rw"]`, `contains ":"`},
		{"target and mode", `volumes = ["../alloc/x:/v"]`, `contains ":"`},
		{"bind mount, which is not parsed", `mount { type = "bind"  source = "../alloc/dir"  target = "/v" }`, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			p.t = t
			k := newTask(t, p, "far", shell(lookAround)+"\n"+r.block)
			alloc := filepath.Join(k.cfg.AllocDir, "alloc")
			ok(t, os.Symlink("p:/host", filepath.Join(alloc, "x")), "a link that reads like a bind")
			ok(t, os.Symlink(host, filepath.Join(alloc, "p")), "a link to the host")
			ok(t, os.Mkdir(filepath.Join(alloc, "d:"), 0o755), "a folder")
			ok(t, os.Mkdir(filepath.Join(alloc, "d:/host"), 0o755), "a folder")
			ok(t, os.Symlink("d:/host", filepath.Join(alloc, "dir")), "a link to a folder whose path reads like a bind")
			wantNoEscape(t, p, k, k.tryStart(p), r.refusal)
		})
	}
}

/* All other values of a create request that Docker or the driver splits. Each is refused, or has
 * exactly its own effect. */
func TestTextsThatAreSplitReachNothing(t *testing.T) {
	paddockOnly(t, "other words")
	p := launch(t)
	host := hostFolder(t)
	for _, r := range []struct{ name, block, refusal string }{
		{"extra_hosts", `extra_hosts = ["a:b:127.0.0.1"]`, "b:127.0.0.1"},
		{"security_opt with a path", `security_opt = ["seccomp:/etc/passwd=x"]`, "invalid --security-opt"},
		{"security_opt of another case", `security_opt = ["SECCOMP=/etc/passwd"]`, "invalid --security-opt"},
		{"device as three parts", `devices = [{ host_path = "/dev/null:/dev/kmsg:rwm" }]`, "/dev/null:/dev/kmsg:rwm"},
		{"device by a CDI name", `devices = [{ host_path = "vendor.example/class=all" }]`, "vendor.example/class=all"},
		{"ipc_mode", `ipc_mode = "container:x"`, "allowed_modes"},
		{"pid_mode", `pid_mode = "host"`, "allowed_modes"},
		{"uts_mode", `uts_mode = "host"`, "allowed_modes"},
		{"userns_mode", `userns_mode = "host"`, "allowed_modes"},
		{"runtime", `runtime = "runc,other"`, "is not allowed"},
		{"sysctl of the host", `sysctl { "kernel.core_pattern" = "|/x" }`, "kernel.core_pattern"},
		{"ulimit", `ulimit { nofile = "1:2:3" }`, "Malformed hard ulimit"},
		{"volume_driver", `volume_driver = "local"`, "volumes are not enabled"},
		{"volume", `mount { type = "volume"  source = "` + host + `"  target = "/v" }`, "volumes are not enabled"},
		{"tmpfs target", `mount { type = "tmpfs"  target = "/v:` + host + `:rw" }`, ""},
		{"bind target", `mount { type = "bind"  source = "local"  target = "/v:` + host + `:rw" }`, ""},
		{"propagation", `mount { type = "bind"  source = "local"  target = "/v"  bind_options { propagation = "rw:/x" } }`, "propagation"},
		{"volume mode", `volumes = ["local:/v:bind=` + host + `"]`, "invalid mode"},
		{"volume without a target", `volumes = ["local:"]`, "invalid"},
		{"volume with a mode as target", `volumes = ["local:rw"]`, "invalid"},
		{"hostname", `hostname = "a:b"`, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			p.t = t
			k := newTask(t, p, "texts", shell(lookAround)+"\n"+r.block)
			wantNoEscape(t, p, k, k.tryStart(p), r.refusal)
		})
	}
}

/* ---- a swap while a task starts ---- */

/* A second task of k's allocation. */
func siblingOf(t testing.TB, p *plug, k *task, name, hclText string, mod ...func(*drivers.TaskConfig)) *task {
	t.Helper()
	return newTask(t, p, name, hclText, append([]func(*drivers.TaskConfig){func(c *drivers.TaskConfig) {
		c.AllocID, c.AllocDir = k.cfg.AllocID, k.cfg.AllocDir
		c.ID = c.AllocID + "/" + name + "/" + c.ID[len(c.ID)-8:]
		for _, dir := range []string{"local", "secrets", "tmp"} {
			ok(t, os.MkdirAll(filepath.Join(c.AllocDir, name, dir), 0o777), "the task's folder")
		}
		logs := filepath.Join(c.AllocDir, "alloc/logs")
		c.StdoutPath, c.StderrPath = filepath.Join(logs, "."+name+".stdout.fifo"), filepath.Join(logs, "."+name+".stderr.fifo")
		c.Env["NOMAD_ALLOC_ID"] = c.AllocID
	}}, mod...)...)
}

/* A task in a group's network with a dns block: it has everything that Nomad and the driver
 * mount. */
func withFiles(c *drivers.TaskConfig) {
	c.DNS = &drivers.DNSConfig{Servers: []string{"192.0.2.9"}}
	c.NetworkIsolation = &drivers.NetworkIsolationSpec{Mode: drivers.NetIsolationModeGroup, HostsConfig: &drivers.HostsConfig{Hostname: "group", Address: "192.0.2.55"}}
}

const wholeAllocation = "\nvolumes = [\"../:/x\"]"

type swap struct {
	path, target string /* of the host's folder */
}

var swaps = []swap{
	{"alloc", ""}, {"alloc/logs", ""}, {"web", ""}, {"web/local", ""}, {"web/secrets", ""}, {"hosts", "/canary"}, {"web/resolv.conf", "/canary"},
}

/* What the sibling does to the folder or file at /x/PATH in its container. */
func (s swap) command(host string) string {
	return fmt.Sprintf("rm -rf /x/%s.away; mv /x/%s /x/%s.away; ln -s %s /x/%s", s.path, s.path, s.path, host+s.target, s.path)
}

func (s swap) undo(t testing.TB, allocDir string) {
	t.Helper()
	path := filepath.Join(allocDir, s.path)
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSymlink != 0 {
		ok(t, os.Remove(path), "removing the link")
		ok(t, os.Rename(path+".away", path), "moving it back")
	}
}

/* Starts `web` in the attacker's allocation. The attacker swaps when Docker gets the request
 * `when`. Either the start is refused, or the task sees what was checked. */
func trySwap(t *testing.T, p *plug, rec *recorder, attacker *task, s swap, when string, inside func(command string) error) {
	t.Helper()
	host := hostFolder(t)
	/* the targets of the links have everything that is searched for, so that a start by name would
	 * work */
	for _, dir := range []string{"logs", "local", "secrets"} {
		ok(t, os.Mkdir(filepath.Join(host, dir), 0o755), "a folder of the host")
		ok(t, os.WriteFile(filepath.Join(host, dir, "canary"), []byte("the host's\n"), 0o644), "a file of the host")
	}
	k := siblingOf(t, p, attacker, "web", shell(lookAround), withFiles, func(c *drivers.TaskConfig) {
		c.StdoutPath, c.StderrPath = "/dev/null", "/dev/null" /* its FIFOs are where the attacker swaps */
	})
	var once sync.Once
	swapped := fmt.Errorf("not swapped")
	rec.before = func(q *http.Request) {
		if q.Method == "POST" && strings.Contains(q.URL.Path, "/containers/") && strings.HasSuffix(q.URL.Path, when) {
			once.Do(func() { swapped = inside(s.command(host)) })
		}
	}
	err := k.tryStart(p)
	rec.before = nil
	ok(t, swapped, "the swap")
	defer s.undo(t, k.cfg.AllocDir)
	if err != nil {
		for _, words := range []string{"is not as Nomad made it", "it is no regular file", "bind source path does not exist"} {
			if strings.Contains(err.Error(), words) {
				return
			}
		}
		t.Fatalf("StartTask: %v", err)
	}
	var text string
	eventually(t, 10*time.Second, "the task has looked around", func() (bool, string) {
		text = outputOf(t, k)
		return strings.Contains(text, "looked\n"), text
	})
	if strings.Contains(text, "canary") || strings.Contains(text, "the host's") {
		t.Errorf("the task sees the host:\n%s", text)
	}
	ok(t, k.destroy(p), "DestroyTask")
	wantNoSources(t, k.container(), "after DestroyTask")
}

/* A container's output, from Docker. */
func outputOf(t testing.TB, k *task) string {
	t.Helper()
	answer, err := run.docker.Open(context.Background(), "GET", "/containers/"+k.container()+"/logs?stdout=1", nil)
	ok(t, err, "logs")
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ok(t, err, "logs")
	return string(text)
}

func execIn(t testing.TB, p *plug, k *task) func(string) error {
	return func(command string) error {
		r, err := p.ExecTask(k.id(), []string{"sh", "-c", command}, 10*time.Second)
		if err == nil && r.ExitResult.ExitCode != 0 {
			err = fmt.Errorf("%s: exit code %d: %s%s", command, r.ExitResult.ExitCode, r.Stdout, r.Stderr)
		}
		return err
	}
}

func TestFoldersOfATaskAreWhatWasChecked(t *testing.T) {
	paddockOnly(t, "Docker follows the link")
	rec := record(t, run.dockerd.Socket())
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, "")})
	for _, s := range swaps {
		for _, when := range []string{"/create", "/start"} {
			t.Run(strings.ReplaceAll(s.path, "/", " ")+" before"+when, func(t *testing.T) {
				p.t = t
				attacker := newTask(t, p, "evil", sleeper+wholeAllocation).start(p)
				trySwap(t, p, rec, attacker, s, when, execIn(t, p, attacker))
				ok(t, attacker.destroy(p), "DestroyTask")
			})
		}
	}
}

/* Docker decides which other tasks run in the allocation: after a crash, and for containers of
 * the other driver. */
func TestFoldersOfATaskBesideAnUnknownContainer(t *testing.T) {
	paddockOnly(t, "Docker follows the link")
	rec := record(t, run.dockerd.Socket())
	config := launchOptions{config: configAt(rec.endpoint, "")}
	t.Run("of a plugin that crashed", func(t *testing.T) {
		p := launchWith(t, config)
		attacker := newTask(t, p, "evil", sleeper+wholeAllocation).start(p)
		p.crash(t)
		again := launchWith(t, config)
		for _, s := range swaps {
			trySwap(t, again, rec, attacker, s, "/start", inContainer(t, attacker))
		}
		ok(t, recoverWith(t, again, attacker.handle), "RecoverTask")
		ok(t, attacker.destroy(again), "DestroyTask")
	})
	t.Run("of the reference", func(t *testing.T) {
		t.Cleanup(tidyReference)
		ref := launchWith(t, launchOptions{binary: needReference(t)})
		attacker := newTask(t, ref, "evil", sleeper+wholeAllocation).start(ref)
		p := launchWith(t, config)
		for _, s := range swaps {
			trySwap(t, p, rec, attacker, s, "/start", inContainer(t, attacker))
		}
		ok(t, attacker.destroy(ref), "DestroyTask")
	})
}

/* Like execIn, without a driver. */
func inContainer(t testing.TB, k *task) func(string) error {
	return func(command string) error {
		pid := int(k.inspect().num("State.Pid"))
		out, err := exec.Command("nsenter", "-t", itoa(pid), "-m", "-p", "-r", "-w", "sh", "-c", command).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %v: %s", command, err, out)
		}
		return err
	}
}

/* Two tasks that both mount the allocation's folder, and two that do not, start at the same
 * time. */
func TestStartsOfAnAllocationDoNotWaitForEachOther(t *testing.T) {
	paddockOnly(t, "names")
	p := launch(t)
	first := newTask(t, p, "a", sleeper+wholeAllocation)
	all := []*task{first, siblingOf(t, p, first, "b", sleeper+wholeAllocation), siblingOf(t, p, first, "c", sleeper, withFiles), siblingOf(t, p, first, "d", sleeper, withFiles)}
	for round := 0; round < 3; round++ {
		errs := make([]error, len(all))
		within(t, 30*time.Second, "four starts", func() {
			var w sync.WaitGroup
			for i, k := range all {
				w.Add(1)
				go func(i int, k *task) {
					defer w.Done()
					k.handle, k.net, errs[i] = p.StartTask(k.cfg)
				}(i, k)
			}
			w.Wait()
		})
		for i, k := range all {
			ok(t, errs[i], k.cfg.Name)
			ok(t, k.destroy(p), "DestroyTask")
			wantNoSources(t, k.container(), "after DestroyTask")
		}
	}
}

/* systemd has a unit for every mount. Tasks that no sibling can reach have no mounts. */
func TestUsualTasksLeaveNoMounts(t *testing.T) {
	paddockOnly(t, "has none")
	p := launch(t)
	first := newTask(t, p, "a", sleeper, withFiles).start(p)
	second := siblingOf(t, p, first, "b", sleeper, withFiles).start(p)
	for _, k := range []*task{first, second} {
		wantNoSources(t, k.container(), "beside a sibling without volumes")
		if m := mountAt(k.inspect(), "/local"); m == nil || m["Source"] != filepath.Join(k.cfg.AllocDir, k.cfg.Name, "local") {
			t.Errorf("/local is %v", m)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
}
