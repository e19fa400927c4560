/*
 * The program's file is replaced while the plugin runs, as a package upgrade does. The other
 * version is the same program with another version number.
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

	"github.com/hashicorp/nomad/plugins/drivers"
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

/* Replaces the file as dpkg does: running programs keep the old file. */
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

/* Several tasks print all the time (UPGRADE_TASKS: how many). Some end in every phase, also
 * while no plugin runs. */
func TestUpgradeAndRollback(t *testing.T) {
	paddockOnly(t, "is replaced with its agent")
	count := 5 /* one task ends in each of the four phases */
	if text := os.Getenv("UPGRADE_TASKS"); text != "" {
		count = atoi(t, text)
	}
	old, err := os.ReadFile(run.subject)
	ok(t, err, "the subject")
	source := filepath.Join(t.TempDir(), "paddock")
	replace(t, source, old)
	path := binaryAs(t, source, "docker") /* of this test alone */
	oldVersion := versionOf(t, path)
	launchHere := func() *plug { return launchWith(t, launchOptions{binary: source}) }
	p := launchHere()

	/* The package is upgraded before the old plugin has started a pump. */
	replace(t, path, otherVersion(t))
	newVersion := versionOf(t, path)
	if newVersion == oldVersion {
		t.Fatalf("the other version is %s, too", newVersion)
	}
	tasks := make([]*task, count)
	for i := range tasks {
		tasks[i] = newTask(t, p, "upgrade", shell(counter)).start(p)
	}
	goesOn := func(when string) {
		t.Helper()
		for _, k := range tasks {
			n := k.stdout.size()
			eventually(t, 20*time.Second, "the log continues "+when, func() (bool, string) {
				return k.stdout.size() > n+200, lastLines(k.stdout.text(), 2) + "\n" + lastLines(p.stderr.String(), 3)
			})
		}
	}
	pumpHas := func(version string) {
		t.Helper()
		if v := pumpVersion(t); v != version {
			t.Errorf("the log pump has version %s, want %s", v, version)
		}
	}
	/* The last of the tasks ends. */
	end := func() *task {
		t.Helper()
		k := tasks[len(tasks)-1]
		tasks = tasks[:len(tasks)-1]
		_, err := run.docker.Call("POST", "/containers/"+k.container()+"/kill?signal=TERM", nil, nil)
		ok(t, err, "SIGTERM")
		return k
	}
	isWhole := func(k *task, waiter <-chan *drivers.ExitResult) {
		t.Helper()
		if r := k.result(waiter, callLimit); r.ExitCode != 6 {
			t.Errorf("exit %+v, want 6", r)
		}
		k.stdout.waitFor(t, 20*time.Second, "last\n")
		checkCounter(t, k.stdout.text())
		if n := strings.Count(k.stdout.text(), "last\n"); n != 1 {
			t.Errorf("the last line came %d times", n)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
	/* The plugin and its version's pump run from a file that was replaced. The pump dies, and a
	 * task ends. */
	replaced := func(version string) {
		t.Helper()
		goesOn("with the plugin of " + version + " and the other version's file")
		pumpHas(version)
		ok(t, syscall.Kill(logPumps()[0].pid, syscall.SIGKILL), "kill -9 of the pump")
		goesOn("after the pump's death")
		pumpHas(version)
		waiter := tasks[len(tasks)-1].waiter(p)
		isWhole(end(), waiter)
	}
	/* The client restarts. A task ends while no plugin runs. */
	restart := func(version string) {
		t.Helper()
		p.crash(t)
		ended := end()
		p = launchHere()
		for _, k := range append(tasks[:len(tasks):len(tasks)], ended) {
			ok(t, recoverWith(t, p, persisted(t, k.handle)), "RecoverTask")
		}
		goesOn("with version " + version)
		pumpHas(version)
		isWhole(ended, ended.waiter(p))
	}
	replaced(oldVersion)
	restart(newVersion)
	replace(t, path, old)
	replaced(newVersion)
	restart(oldVersion)
	for len(tasks) > 0 {
		waiter := tasks[len(tasks)-1].waiter(p)
		isWhole(end(), waiter)
	}
}
