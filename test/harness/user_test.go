/*
 * An agent that is not root, and therefore a plugin that is not root. It runs tasks without keeping
 * their cpusets when it has a folder of its own below /run. Without such a folder, the fingerprint
 * gives the reason.
 */
package harness

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

const otherUser = 65534

/* Gives the other user access to the run's folders and, like the group "docker", to dockerd's
 * socket. */
func letIn(t *testing.T) (own string) {
	t.Helper()
	for _, dir := range []string{filepath.Dir(run.dir), run.dir, filepath.Dir(run.dockerd.Socket())} {
		st, err := os.Stat(dir)
		ok(t, err, "stat")
		ok(t, os.Chmod(dir, st.Mode()|0o011), "chmod")
		t.Cleanup(func() { _ = os.Chmod(dir, st.Mode()) })
	}
	ok(t, os.Chown(run.dockerd.Socket(), 0, otherUser), "chown of dockerd's socket")
	ok(t, os.Chmod(run.dockerd.Socket(), 0o660), "chmod of dockerd's socket")
	t.Cleanup(func() { _ = os.Chown(run.dockerd.Socket(), 0, 0) })
	own, err := os.MkdirTemp(run.dir, "own")
	ok(t, err, "a folder of its own")
	ok(t, os.Chown(own, otherUser, otherUser), "chown")
	return own
}

/* The plugin as that user. @runtimeDir is its XDG_RUNTIME_DIR, "" for none. */
func launchAsOther(t *testing.T, own, runtimeDir string) *plug {
	t.Helper()
	return launchWith(t, launchOptions{
		before: []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"},
		env:    []string{"PLUGIN_UNIX_SOCKET_DIR=" + own, "XDG_RUNTIME_DIR=" + runtimeDir},
	})
}

/* A task whose folders and FIFOs are the other user's, as a Nomad client of that user makes them. */
func newTaskOfOther(t *testing.T, p *plug, name, hclText string) *task {
	t.Helper()
	k := newTask(t, p, name, hclText)
	ok(t, filepath.WalkDir(k.cfg.AllocDir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, otherUser, otherUser)
		}
		return err
	}), "chown of the alloc folder")
	return k
}

func TestTaskOfAnAgentThatIsNotRoot(t *testing.T) {
	paddockOnly(t, "must be root, or fails with cgroup v2")
	own := letIn(t)
	p := launchAsOther(t, own, own)
	f := firstFingerprint(t, p)
	if f.Health != drivers.HealthStateHealthy {
		t.Fatalf("fingerprint %v: %s", f.Health, f.HealthDescription)
	}
	if a := f.Attributes["driver.docker.cpuset"]; a == nil || *a.String != "off" {
		t.Errorf("attribute driver.docker.cpuset: %v, want off: this user may not write cgroup files", a)
	}
	k := newTaskOfOther(t, p, "user", shell(counter)).start(p)
	k.stdout.waitFor(t, 10*time.Second, "n 2\n")
	p.crash(t)

	p2 := launchAsOther(t, own, own)
	ok(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask")
	n := k.stdout.size()
	eventually(t, 20*time.Second, "the log continues", func() (bool, string) { return k.stdout.size() > n, k.stdout.text() })
	waiter := k.waiter(p2)
	ok(t, k.stop(p2, 20*time.Second, ""), "StopTask")
	if r := k.result(waiter, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6", r)
	}
	ok(t, k.destroy(p2), "DestroyTask")
	/* a volume below the allocation */
	v := newTaskOfOther(t, p2, "volume", `image = "`+imageBusybox+`"
		command = "sh"
		args = ["-c", "echo made > /v/file; cat /v/file"]
		volumes = ["local:/v"]`)
	ok(t, v.tryStart(p2), "StartTask with a volume below the allocation")
	v.stdout.waitFor(t, 10*time.Second, "made\n")
	ok(t, v.destroy(p2), "DestroyTask")
}

func TestAgentThatIsNotRootAndHasNoRunFolder(t *testing.T) {
	paddockOnly(t, "must be root, or fails with cgroup v2")
	own := letIn(t)
	p := launchAsOther(t, own, "")
	f := firstFingerprint(t, p)
	if f.Health != drivers.HealthStateUnhealthy || !strings.Contains(f.HealthDescription, "/run/paddock") || !strings.Contains(f.HealthDescription, "XDG_RUNTIME_DIR") {
		t.Errorf("fingerprint %v %q, want unhealthy with what is missing", f.Health, f.HealthDescription)
	}
	err := newTaskOfOther(t, p, "norun", sleeper).tryStart(p)
	wantError(t, err, "StartTask without a run folder", "/run/paddock")
	if recoverable(err) {
		t.Errorf("StartTask without a run folder would be repeated without end: %v", err)
	}
	p.mustLive(t, "a failed start")
}
