/*
 * A job that mounts the whole folder of its allocation in one task, and uses it
 * against the start of another: the folders that Nomad gives each task, and what
 * Docker makes of the texts that it is sent.
 */
package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

/* A folder of the host, with a file in it, that no task may see. */
func hostFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "canary"), []byte("the host's\n"), 0o644), "a file of the host")
	return dir
}

/* What `ls` shows wherever a task could have it. */
const lookAround = `for d in /alloc /alloc/logs /local /secrets /tgt /host /v; do echo "$d: $(ls $d 2>/dev/null | tr '\n' ' ')"; done
	cat /etc/hosts /etc/resolv.conf; echo looked; while :; do sleep 0.1; done`

/* The task of the test was refused with these words, or runs and sees nothing of the host. */
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

/* Links in the place of Nomad's folders whose texts read like `source:target`, and an environment that would end them with a mode. */
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
				wantError(t, err, "the start") /* Docker does not take its text */
				return
			}
			wantNoEscape(t, p, k, err, r.folder+`" is not as Nomad made it`)
		})
	}
}

/* Where a folder of Nomad's is missing or something else, nothing is made in its place. */
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

/* Where Docker is told names, a link's text reaches it as the source of a volume. */
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

/* Everything else of a create request that Docker or the driver splits: refused, or what it says and no more. */
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
