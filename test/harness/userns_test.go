/*
 * A dockerd with userns-remap: root in its containers is another user of the host. That user
 * reaches what a job mounts, and owns the folders that are made for the job.
 *
 * dockerd reads the ids from /etc/subuid and /etc/subgid. So the test runs its own program again in
 * a mount namespace where these two files are replaced. The machine's own files stay as they are.
 */
package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

/* In the environment of the program that runs in that namespace: dockerd's extra argument. */
const dockerdArg = "HARNESS_DOCKERD_ARG"

const remappedUID, remappedGID = 231072, 431072

func TestUsernsRemap(t *testing.T) {
	if os.Getenv(dockerdArg) != "" {
		t.Run("by name", remappedByName)
		t.Run("mounted", remappedMounted)
		t.Run("hosts", remappedHosts)
		return
	}
	dir := t.TempDir()
	/* Older versions of dockerd look up the groups by the group's name, newer ones by the user's. */
	for name, text := range map[string]string{"uid": "nobody:231072:65536\n", "gid": "nogroup:431072:65536\nnobody:431072:65536\n"} {
		ok(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644), name)
	}
	self, err := os.Executable()
	ok(t, err, "this program")
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", `
		mount --make-rshared /
		mount --bind "$0/uid" /etc/subuid
		mount --bind "$0/gid" /etc/subgid
		exec "$@"`, dir, self, "-test.run=^TestUsernsRemap$", "-test.v", "-test.timeout=5m")
	/* The containerd store refuses userns-remap: dockerd then chooses the other store. */
	cmd.Env = append(os.Environ(), dockerdArg+"=--userns-remap=nobody:nogroup", "HARNESS_TMP=/tmp", "HARNESS_STORE=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestUsernsRemap/hosts") {
		t.Errorf("%v\n%s", err, out)
	}
}

/* As Nomad makes them: each user may write to the folders of a task. */
func openFolders(t testing.TB, cfg *drivers.TaskConfig) {
	t.Helper()
	for _, sub := range []string{"alloc/data", "alloc/tmp", "alloc", cfg.Name, cfg.Name + "/local", cfg.Name + "/secrets", cfg.Name + "/tmp"} {
		ok(t, os.Chmod(filepath.Join(cfg.AllocDir, sub), 0o777), sub)
	}
}

func wantOwner(t testing.TB, path string) {
	t.Helper()
	var st syscall.Stat_t
	ok(t, syscall.Lstat(path, &st), path)
	if st.Uid != remappedUID || st.Gid != remappedGID {
		t.Errorf("%s belongs to %d:%d, want %d:%d", path, st.Uid, st.Gid, remappedUID, remappedGID)
	}
}

/* A usual task, for which the plugin mounts nothing. */
func remappedByName(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "plain", shell("id -u; for d in local secrets alloc/data; do echo x >/$d/f && echo $d; done; cat /proc/self/uid_map; echo done; sleep 1000"))
	openFolders(t, k.cfg)
	k.start(p)
	k.stdout.waitFor(t, 20*time.Second, "done\n")
	if text := k.stdout.text(); !strings.HasPrefix(text, "0\nlocal\nsecrets\nalloc/data\n") || !strings.Contains(text, "231072") {
		t.Errorf("the task writes %q", text)
	}
	wantOwner(t, filepath.Join(k.cfg.AllocDir, "plain/local/f"))
	ok(t, k.destroy(p), "DestroyTask")
}

/* Mounts of the plugin: volumes, and Nomad's folders beside a task that could swap them. */
func remappedMounted(t *testing.T) {
	paddockOnly(t, "names")
	p := launch(t)
	k := newTask(t, p, "mounts", shell("for d in made made/f file whole secrets local; do echo $d $(stat -c %u:%g /$d); done; echo x >/made/g && echo written; echo done; sleep 1000")+`
		volumes = ["local/new/here:/made", "local/f:/file", "..:/whole"]
		mount { type = "bind"  source = "local/d"  target = "/d" }`)
	openFolders(t, k.cfg)
	local := filepath.Join(k.cfg.AllocDir, "mounts/local")
	ok(t, os.Mkdir(filepath.Join(local, "d"), 0o755), "a folder")
	ok(t, os.WriteFile(filepath.Join(local, "f"), nil, 0o644), "a file")
	k.start(p)
	k.stdout.waitFor(t, 20*time.Second, "done\n")
	if text := k.stdout.text(); !strings.Contains(text, "made 0:0\n") || !strings.Contains(text, "written\n") {
		t.Errorf("the task prints %q", text)
	}
	t.Log(k.stdout.text())
	for _, made := range []string{"new", "new/here", "new/here/g"} {
		wantOwner(t, filepath.Join(local, made))
	}
	ok(t, k.destroy(p), "DestroyTask")
	wantNoSources(t, k.container(), "after DestroyTask")
}

/* A task in a group's network: its hosts file and resolv.conf are the plugin's. */
func remappedHosts(t *testing.T) {
	p := launch(t)
	alloc, spec := groupWithHosts(t, p)
	k := newTask(t, p, "member", shell("cat /etc/hosts /etc/resolv.conf; echo '# mine' >>/etc/hosts && echo appended; echo done; sleep 1000"),
		func(c *drivers.TaskConfig) {
			c.AllocID, c.NetworkIsolation = alloc, spec
			c.DNS = &drivers.DNSConfig{Servers: []string{"192.0.2.53"}}
		})
	openFolders(t, k.cfg)
	k.start(p)
	k.stdout.waitFor(t, 20*time.Second, "done\n")
	for _, want := range []string{"192.0.2.55 grouphost\n", "nameserver 192.0.2.53\n", "appended\n"} {
		if text := k.stdout.text(); !strings.Contains(text, want) && (want != "appended\n" || !run.isRef) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, p.networks().DestroyNetwork(alloc, spec), "DestroyNetwork")
}
