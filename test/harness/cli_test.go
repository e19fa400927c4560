/* The program as a person uses it: commands, exit statuses, and what `status` prints about a
 * running driver. */
package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

type cliResult struct {
	stdout, stderr string
	code           int
}

func cli(t *testing.T, args ...string) cliResult {
	t.Helper()
	cmd := exec.Command(binaryAs(t, run.subject, "paddock"), args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	var r cliResult
	within(t, 20*time.Second, "paddock "+strings.Join(args, " "), func() {
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Errorf("paddock %v: %v", args, err)
		}
	})
	r.stdout, r.stderr, r.code = out.String(), errOut.String(), cmd.ProcessState.ExitCode()
	return r
}

func TestCommandLine(t *testing.T) {
	paddockOnly(t, "has none")
	if r := cli(t, "version"); r.code != 0 || !strings.HasPrefix(r.stdout, "paddock ") {
		t.Errorf("version: %+v", r)
	}
	for _, args := range [][]string{{"help"}, {"--help"}} {
		if r := cli(t, args...); r.code != 0 || !strings.Contains(r.stdout, "status") || !strings.Contains(r.stdout, "check") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := cli(t, "dance"); r.code != 2 || !strings.Contains(r.stderr, "dance") || r.stdout != "" {
		t.Errorf("an unknown command: %+v, want exit 2 and the word on stderr", r)
	}
}

func TestStatusShowsRunningTasks(t *testing.T) {
	paddockOnly(t, "has none")
	p := launch(t)
	k := newTask(t, p, "shown", sleeper).start(p)
	r := cli(t, "status", "--json")
	if r.code != 0 || !json.Valid([]byte(r.stdout)) {
		t.Fatalf("status --json: %+v", r)
	}
	if !strings.Contains(r.stdout, k.cfg.AllocID) {
		t.Errorf("status --json does not name the alloc %s: %s", k.cfg.AllocID, r.stdout)
	}
	r = cli(t, "status")
	if r.code != 0 || !strings.Contains(r.stdout, k.cfg.AllocID[:8]) || !strings.Contains(r.stdout, "shown") {
		t.Errorf("status: %+v", r)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestCheckWorksWithoutThePlugin(t *testing.T) {
	paddockOnly(t, "has none")
	r := cli(t, "check")
	if r.code != 0 && r.code != 1 || !strings.Contains(r.stdout, "cgroup") {
		t.Errorf("check: %+v, want lines about cgroup, dockerd and the rest, and status 0 or 1", r)
	}
}
