/*
 * The effect of single values of a job, seen from inside the container: an entrypoint that is
 * cleared, hosts of several tasks of a group, every real-time signal, and values that Nomad could
 * not interpolate.
 */
package harness

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/zclconf/go-cty/cty"
)

/* busybox with an entrypoint and a command, made by docker commit. */
func imageWithEntrypoint(t *testing.T, p *plug) string {
	t.Helper()
	name := "entry" + uuid.Generate()[:6]
	k := newTask(t, p, "base", sleeper).start(p)
	q := url.Values{"container": {k.container()}, "repo": {name}, "tag": {"1"},
		"changes": {`ENTRYPOINT ["/bin/echo", "entrypoint"]`, `CMD ["/bin/echo", "command"]`}}
	_, err := run.docker.Call("POST", "/commit?"+q.Encode(), map[string]any{}, nil)
	ok(t, err, "docker commit")
	ok(t, k.destroy(p), "DestroyTask")
	t.Cleanup(func() { _, _ = run.docker.Call("DELETE", "/images/"+name+":1?force=1", nil, nil) })
	return name + ":1"
}

func TestEmptyEntrypointClearsTheImages(t *testing.T) {
	p := launch(t)
	image := imageWithEntrypoint(t, p)
	for _, c := range []struct{ task, want string }{
		{"", "entrypoint /bin/echo command\n"},
		{"entrypoint = []", "command\n"},
		{"entrypoint = []\ncommand = \"/bin/echo\"\nargs = [\"mine\"]", "mine\n"},
		{"entrypoint = [\"\"]\ncommand = \"/bin/echo\"\nargs = [\"mine\", \"\"]", "mine \n"},
	} {
		k := newTask(t, p, "entry", fmt.Sprintf("image = %q\n%s", image, c.task)).start(p)
		k.wait(p, callLimit)
		eventually(t, 20*time.Second, "the output", func() (bool, string) {
			return k.stdout.text() == c.want, fmt.Sprintf("%q: %q", c.task, k.stdout.text())
		})
		ok(t, k.destroy(p), "DestroyTask")
	}
}

/* Each task of a group has its own extra_hosts, also after a restart with another address. */
func TestExtraHostsOfEachTaskOfAGroup(t *testing.T) {
	paddockOnly(t, "only the first task's are written")
	p := launch(t)
	alloc, spec := groupWithHosts(t, p)
	var dir string
	start := func(name, hosts string) *task {
		return newTask(t, p, name, shell(`cat /etc/hosts; echo done; sleep 1000`)+"\nextra_hosts = ["+hosts+"]",
			func(c *drivers.TaskConfig) {
				c.AllocID, c.NetworkIsolation = alloc, spec
				if dir == "" {
					dir = c.AllocDir
				}
				ok(t, moveTask(c, dir), "one allocation's folder")
			}).start(p)
	}
	for _, c := range []struct{ name, hosts, want string }{
		{"first", `"db:192.0.2.56"`, "192.0.2.56 db\n"},
		{"second", `"db:192.0.2.57", "more:2001:db8::57"`, "192.0.2.57 db\n2001:db8::57 more\n"},
		{"third", ``, "192.0.2.55 grouphost\n"},
		{"first", `"db:192.0.2.58"`, "192.0.2.58 db\n"},
	} {
		k := start(c.name, c.hosts)
		k.stdout.waitFor(t, 20*time.Second, "done\n")
		text := k.stdout.text()
		if !strings.Contains(text, c.want) || !strings.Contains(text, "192.0.2.55 grouphost\n") {
			t.Errorf("%s: /etc/hosts %q, want %q", c.name, text, c.want)
		}
		if at := strings.Index(text, " db\n"); strings.Contains(c.want, "db") && !strings.HasSuffix(text[:at+4], strings.SplitAfter(c.want, "\n")[0]) {
			t.Errorf("%s: the first address of db in %q is another task's", c.name, text)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
	ok(t, p.networks().DestroyNetwork(alloc, spec), "DestroyNetwork")
}

/* Puts the task into another allocation's folder. */
func moveTask(c *drivers.TaskConfig, dir string) error {
	if dir == c.AllocDir {
		return nil
	}
	for _, sub := range []string{"local", "secrets", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, c.Name, sub), 0o777); err != nil {
			return err
		}
	}
	c.AllocDir = dir
	return nil
}

func TestEveryRealTimeSignal(t *testing.T) {
	paddockOnly(t, "knows the names that Docker knows")
	t.Parallel()
	p := launchWith(t, launchOptions{name: "signals"})
	k := newTask(t, p, "rt", shell(`for n in $(seq 34 64); do trap "echo signal $n" $n; done; echo up; while :; do sleep 0.1; done`)).start(p)
	k.stdout.waitFor(t, 20*time.Second, "up\n")
	for n := 34; n <= 64; n++ {
		names := []string{fmt.Sprint(n), fmt.Sprintf("SIGRTMIN+%d", n-34), fmt.Sprintf("SIGRTMAX-%d", 64-n)}
		ok(t, p.SignalTask(k.id(), names[n%3]), "SignalTask "+names[n%3])
		k.stdout.waitFor(t, 10*time.Second, fmt.Sprintf("signal %d\n", n))
	}
	for _, name := range []string{"SIGRTMIN", "SIGRTMAX"} {
		ok(t, p.SignalTask(k.id(), name), "SignalTask "+name)
	}
	for _, name := range []string{"SIGRTMIN+31", "SIGRTMAX+1", "65", "SIGRTMINX"} {
		wantError(t, p.SignalTask(k.id(), name), "a signal that is none", name)
	}
	ok(t, k.stop(p, 10*time.Second, "SIGKILL"), "StopTask")
	ok(t, k.destroy(p), "DestroyTask")
}

func TestUnknownValueIsNamed(t *testing.T) {
	paddockOnly(t, "does not name the field")
	p := launch(t)
	unknown := cty.UnknownVal(cty.String)
	for want, v := range map[string]map[string]cty.Value{
		"image":   {"image": unknown},
		"args[1]": {"image": cty.StringVal(imageBusybox), "args": cty.ListVal([]cty.Value{cty.StringVal("a"), unknown})},
		"mount[0].source": {"image": cty.StringVal(imageBusybox),
			"mount": cty.ListVal([]cty.Value{cty.ObjectVal(map[string]cty.Value{"source": unknown})})},
	} {
		k := newTask(t, p, "unknown", sleeper)
		setConfigValue(t, k.cfg, cty.ObjectVal(v))
		wantError(t, k.tryStart(p), "an unknown value", want+": the value is unknown, Nomad could not interpolate it")
	}
	p.mustLive(t, "unknown values")
}
