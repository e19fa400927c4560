/*
 * The program's file is replaced while the plugin runs, as a package upgrade
 * does. The other version is the same program with another version number.
 */
package harness

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

/* The version that a program prints. */
func versionOf(t *testing.T, binary string) string {
	t.Helper()
	out, err := exec.Command(binary, "version").Output()
	ok(t, err, "version of "+binary)
	v := regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out))
	if v == "" {
		t.Fatalf("no version in %q", out)
	}
	return v
}

/* The subject with another version number of the same length. */
func otherVersion(t *testing.T) []byte {
	t.Helper()
	v := versionOf(t, run.subject)
	digit := byte('9')
	if v[len(v)-1] == digit {
		digit = '8'
	}
	data, err := os.ReadFile(run.subject)
	ok(t, err, "the subject")
	return bytes.ReplaceAll(data, []byte(v), []byte(v[:len(v)-1]+string(digit)))
}

/* Replaces the file as dpkg does: the old file lives on for those who run it. */
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	ok(t, os.WriteFile(path+".new", data, 0o755), "the new file")
	ok(t, os.Rename(path+".new", path), "the new file")
}

/* The version of the one log pump that runs. */
func pumpVersion(t *testing.T) string {
	t.Helper()
	pumps := logPumps()
	if len(pumps) != 1 {
		t.Fatalf("log pumps %v, want one", pumps)
	}
	return versionOf(t, filepath.Join("/proc", itoa(pumps[0].pid), "exe"))
}

func TestUpgradeAndRollback(t *testing.T) {
	paddockOnly(t, "is replaced with its agent")
	old, err := os.ReadFile(run.subject)
	ok(t, err, "the subject")
	dir := t.TempDir()
	source := filepath.Join(dir, "paddock")
	replace(t, source, old)
	path := binaryAs(t, source, "docker") /* of this test alone */
	oldVersion := versionOf(t, path)
	launchHere := func() *plug { return launchWith(t, launchOptions{binary: source}) }
	p := launchHere()

	/* The package comes before the old plugin has started a pump. */
	replace(t, path, otherVersion(t))
	newVersion := versionOf(t, path)
	if newVersion == oldVersion {
		t.Fatalf("the other version is %s, too", newVersion)
	}
	k := newTask(t, p, "upgrade", shell(counter)).start(p)
	goesOn := func(when string) {
		t.Helper()
		n := k.stdout.size()
		eventually(t, 20*time.Second, "the log goes on "+when, func() (bool, string) {
			return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) + "\n" + lastLines(p.stderr.String(), 3)
		})
	}
	goesOn("with the old plugin and the new file")
	if v := pumpVersion(t); v != oldVersion {
		t.Errorf("the plugin of version %s has started a log pump of version %s", oldVersion, v)
	}
	/* ... and the old plugin's pump dies. */
	ok(t, syscall.Kill(logPumps()[0].pid, syscall.SIGKILL), "kill -9 of the pump")
	goesOn("after the pump's death")

	/* The client restarts, then the same for the way back. */
	pass := func(to string) {
		t.Helper()
		p.crash(t)
		p = launchHere()
		ok(t, recoverWith(t, p, persisted(t, k.handle)), "RecoverTask")
		goesOn("with version " + to)
		if v := pumpVersion(t); v != to {
			t.Errorf("the log pump has version %s, want %s", v, to)
		}
	}
	pass(newVersion)
	replace(t, path, old)
	goesOn("after the file of the old version came back")
	ok(t, syscall.Kill(logPumps()[0].pid, syscall.SIGKILL), "kill -9 of the pump")
	goesOn("after the pump's death")
	if v := pumpVersion(t); v != newVersion {
		t.Errorf("the plugin of version %s has started a log pump of version %s", newVersion, v)
	}
	pass(oldVersion)

	waiter := k.waiter(p)
	ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
	if r := k.result(waiter, callLimit); r.ExitCode != 6 {
		t.Errorf("exit %+v, want 6", r)
	}
	k.stdout.waitFor(t, 20*time.Second, "last\n")
	checkCounter(t, k.stdout.text())
	if strings.Count(k.stdout.text(), "last\n") != 1 {
		t.Error("the last line came more than once")
	}
	ok(t, k.destroy(p), "DestroyTask")
}
