/*
 * Values that Docker or its runtime refuses. Starting the container again cannot help, so each is
 * one error after at most one start, and Nomad does not restart the task.
 */
package harness

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/nomad/plugins/drivers"
)

func TestRefusedValueIsStartedOnce(t *testing.T) {
	paddockOnly(t, "v1.6.3 repeats a start that failed with a 500")
	t.Parallel()
	rec := record(t, run.dockerd.Socket())
	var starts atomic.Int32
	rec.before = func(q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/start") {
			starts.Add(1)
		}
	}
	p := launchWith(t, launchOptions{name: "refused", config: fmt.Sprintf("config {\nendpoint = %q\nallow_privileged = true\nvolumes { enabled = true }\nallow_runtimes = [\"runc\", \"none\"]\n}", rec.endpoint)})
	rows := []struct {
		name, task string
		mod        func(*drivers.TaskConfig)
		words      string
	}{
		{name: "sysctl outside of a namespace", task: `sysctl { kernel.randomize_va_space = "1" }`, words: "kernel.randomize_va_space"},
		{name: "sysctl of the host's network", task: "network_mode = \"host\"\nsysctl { net.ipv4.ip_forward = \"1\" }", words: "net.ipv4.ip_forward"},
		{name: "sysctl that does not exist", task: `sysctl { net.ipv4.no_such = "1" }`},
		{name: "sysctl with a bad value", task: `sysctl { net.ipv4.ip_forward = "x" }`},
		{name: "hostname", task: `hostname = "` + strings.Repeat("h", 65) + `"`, words: "hostname"},
		{name: "mode of a volume", task: `volumes = ["local:/b:bad"]`, words: "bad"},
		{name: "propagation of a mount", task: `mount { type = "bind" target = "/b" source = "local" bind_options { propagation = "bad" } }`, words: "bad"},
		{name: "mode of a tmpfs", task: `mount { type = "tmpfs" target = "/b" tmpfs_options { mode = -5 } }`},
		{name: "size of a tmpfs", task: `mount { type = "tmpfs" target = "/b" tmpfs_options { size = -5 } }`},
		{name: "target of a mount", task: `mount { type = "tmpfs" target = "b" }`},
		{name: "target of a volume", task: `volumes = ["local:b"]`},
		{name: "target is the root", task: `volumes = ["local:/"]`},
		{name: "bind of a folder on a file", task: `volumes = ["local:/etc/passwd"]`},
		{name: "user", mod: func(c *drivers.TaskConfig) { c.User = "nosuchuser" }, words: "nosuchuser"},
		{name: "group", task: `group_add = ["nosuchgroup"]`, words: "nosuchgroup"},
		{name: "work_dir", task: `work_dir = "x"`},
		{name: "work_dir is a file", task: `work_dir = "/etc/passwd"`},
		{name: "command", task: `command = "/no/such/program"`, words: "/no/such/program"},
		{name: "command is a folder", task: `command = "/etc"`},
		{name: "command is no program", task: `command = "/etc/passwd"`},
		{name: "ipc_mode", task: `ipc_mode = "bad"`},
		{name: "ipc_mode of an unknown container", task: `ipc_mode = "container:nosuch"`},
		{name: "pid_mode of an unknown container", task: `pid_mode = "container:nosuch"`},
		{name: "cgroupns", task: `cgroupns = "bad"`},
		{name: "network_mode of an unknown container", task: `network_mode = "container:nosuch"`},
		{name: "hostname in the host's UTS", task: "uts_mode = \"host\"\nhostname = \"x\""},
		{name: "device", task: `devices = [ { host_path = "/dev/nosuch" } ]`, words: "/dev/nosuch"},
		{name: "ulimit", task: `ulimit { nosuch = "1" }`},
		{name: "ulimit too high", task: `ulimit { nofile = "99999999999" }`},
		{name: "ulimit upside down", task: `ulimit { nofile = "20:10" }`},
		{name: "unknown security_opt", task: `security_opt = ["nosuch=x"]`},
		{name: "runtime", task: `runtime = "none"`},
		{name: "storage_opt", task: `storage_opt { size = "1x" }`},
		{name: "extra_hosts", task: `extra_hosts = ["x"]`},
		{name: "oom_score_adj", task: `oom_score_adj = 5000`},
		{name: "shm_size", task: `shm_size = -1`},
		{name: "log driver", task: `logging { type = "nosuch" }`},
		{name: "log option", task: `logging { type = "json-file" config { nosuch = "x" } }`},
		{name: "memory", mod: func(c *drivers.TaskConfig) { c.Resources.NomadResources.Memory.MemoryMB = 1 }},
		{name: "cpuset", mod: func(c *drivers.TaskConfig) { c.Resources.LinuxResources.CpusetCpus = "900" }},
		{name: "volume driver", task: `mount { type = "volume" target = "/b" source = "v" volume_options { driver_config { name = "local" options { nosuch = "x" } } } }`},
	}
	ignored := map[string]bool{}
	if run.docker.containerdStore(t) {
		ignored["storage_opt"] = true
	}
	for _, c := range rows {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			mod := c.mod
			if mod == nil {
				mod = func(*drivers.TaskConfig) {}
			}
			text := c.task
			if !strings.Contains(text, "command") {
				text = sleeper + "\n" + text
			} else {
				text = "image = \"" + imageBusybox + "\"\n" + text
			}
			k := newTask(t, p, "final", text, mod)
			starts.Store(0)
			err := k.tryStart(p)
			t.Logf("%d starts, recoverable %v: %v", starts.Load(), recoverable(err), err)
			if ignored[c.name] { /* ignored by Docker */
				ok(t, err, c.name)
				ok(t, k.destroy(p), "DestroyTask")
				return
			}
			wantError(t, err, c.name, c.words)
			if n := starts.Load(); n > 1 {
				t.Errorf("the container was started %d times", n)
			}
			if recoverable(err) {
				t.Errorf("Nomad restarts the task: %v", err)
			}
		})
	}
}
