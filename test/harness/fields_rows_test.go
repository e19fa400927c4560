/*
 * The table of TestTaskFieldsReachDocker: one row or more for each task field. With it, what the
 * rows add to a task: ports, folders, files and links.
 */
package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
)

type row struct {
	name   string
	plugin string /* added to the plugin block */
	task   string /* added to the task block */
	mod    func(*drivers.TaskConfig)
	want   map[string]any /* inspect path to value; nil means null or absent */
	check  func(*testing.T, *task, doc)
	fails  []string /* words of the refusal; nil: it must start */
	/* how the reference (v1.6.3) differs */
	notRef string
	/* checks the create request instead of the container, because a machine may not be able to
	 * start it */
	request bool
}

/* [n, m] for JSON numbers and strings in a table. */
func list(v ...any) []any { return v }

func rows() []row {
	return []row{
		{name: "defaults", want: map[string]any{
			"HostConfig.Privileged": false, "HostConfig.ReadonlyRootfs": false, "HostConfig.NetworkMode": "default",
			"HostConfig.Memory": 64. * (1 << 20), "HostConfig.MemoryReservation": 0., "HostConfig.MemorySwap": 64. * (1 << 20),
			"HostConfig.CpuShares": 100., "HostConfig.CpuQuota": 0., "HostConfig.CpuPeriod": 0., "HostConfig.OomScoreAdj": 0.,
			"HostConfig.CapAdd": nil, "HostConfig.CapDrop": list("net_raw"), "HostConfig.LogConfig.Type": "json-file",
			"HostConfig.LogConfig.Config.max-file": "2", "HostConfig.LogConfig.Config.max-size": "2m",
			"HostConfig.RestartPolicy.Name": "", "HostConfig.CpusetCpus": "", "Config.Tty": false, "Config.OpenStdin": false,
			"Config.User": "", "HostConfig.Devices": nil, "HostConfig.Ulimits": nil, "HostConfig.SecurityOpt": nil,
		}, check: func(t *testing.T, k *task, d doc) {
			/* -1 and null mean the same to Docker: no limit */
			if p := d.at("HostConfig.PidsLimit"); p != nil && p != -1. && p != 0. {
				t.Errorf("PidsLimit %v, want none", p)
			}
			binds := fmt.Sprint(d.at("HostConfig.Binds"))
			for _, b := range []string{k.cfg.AllocDir + "/alloc:/alloc", "/local:/local", "/secrets:/secrets"} {
				if !strings.Contains(binds, b) {
					t.Errorf("binds %s: want %s", binds, b)
				}
			}
		}},
		{name: "command and args", task: `args = ["-c", "sleep 1000", "x y"]`, want: map[string]any{"Config.Cmd": list("/bin/sh", "-c", "sleep 1000", "x y")}},
		{name: "args alone", task: "command = \"\"\nargs = [\"/bin/sleep\", \"1000\"]", want: map[string]any{"Config.Cmd": list("/bin/sleep", "1000")}},
		{name: "entrypoint", task: `entrypoint = ["/bin/busybox", "env"]`, want: map[string]any{"Config.Entrypoint": list("/bin/busybox", "env")}},
		{name: "work_dir", task: `work_dir = "/tmp"`, want: map[string]any{"Config.WorkingDir": "/tmp"}},
		{name: "hostname", task: `hostname = "stable"`, want: map[string]any{"Config.Hostname": "stable"}},
		{name: "user", mod: func(c *drivers.TaskConfig) { c.User = "65534:65534" }, want: map[string]any{"Config.User": "65534:65534"}},
		{name: "tty and interactive", task: "tty = true\ninteractive = true", want: map[string]any{"Config.Tty": true, "Config.OpenStdin": true}},
		{name: "init", task: `init = true`, want: map[string]any{"HostConfig.Init": true}},
		{name: "readonly_rootfs", task: `readonly_rootfs = true`, want: map[string]any{"HostConfig.ReadonlyRootfs": true}},
		{name: "shm_size", task: `shm_size = 33554432`, want: map[string]any{"HostConfig.ShmSize": 33554432.}},
		{name: "shm_size as text", task: `shm_size = "33554432"`, want: map[string]any{"HostConfig.ShmSize": 33554432.}},
		{name: "labels merge, later wins, nomad's stays", task: `
			labels { a = "1"  b = "1" }
			labels { b = "2"  com.hashicorp.nomad.alloc_id = "forged" }`,
			check: func(t *testing.T, k *task, d doc) {
				l := d.at("Config.Labels").(map[string]any)
				if l["a"] != "1" || l["b"] != "2" || l["com.hashicorp.nomad.alloc_id"] != k.cfg.AllocID {
					t.Errorf("labels %v", l)
				}
			}},
		{name: "extra_labels", plugin: `extra_labels = ["job_*", "task_name", "node_id"]`, check: func(t *testing.T, k *task, d doc) {
			l := d.at("Config.Labels").(map[string]any)
			for short, want := range map[string]any{"job_name": "harness", "job_id": "harness", "task_name": k.cfg.Name, "node_id": k.cfg.NodeID,
				"task_group_name": nil, "namespace": nil, "node_name": nil} {
				if l["com.hashicorp.nomad."+short] != want {
					t.Errorf("label %s: %v, want %v", short, l["com.hashicorp.nomad."+short], want)
				}
			}
		}},
		{name: "env is sorted and whole", mod: func(c *drivers.TaskConfig) { c.Env["ZED"], c.Env["ALPHA"], c.Env["EMPTY"] = "z=z", "a b", "" }, check: func(t *testing.T, k *task, d doc) {
			env := fmt.Sprint(d.at("Config.Env"))
			for _, e := range []string{"ZED=z=z", "ALPHA=a b", "EMPTY="} {
				if !strings.Contains(env, e) {
					t.Errorf("env %s: want %s", env, e)
				}
			}
		}},
		/* memory: the table of the built-in driver */
		{name: "memory_hard_limit", task: `memory_hard_limit = 256`, want: map[string]any{
			"HostConfig.Memory": 256. * (1 << 20), "HostConfig.MemoryReservation": 64. * (1 << 20), "HostConfig.MemorySwap": 256. * (1 << 20)}},
		{name: "memory_max", mod: func(c *drivers.TaskConfig) {
			c.Resources.NomadResources.Memory.MemoryMaxMB = 128
			c.Resources.LinuxResources.MemoryLimitBytes = 128 << 20
		}, want: map[string]any{"HostConfig.Memory": 128. * (1 << 20), "HostConfig.MemoryReservation": 64. * (1 << 20)}},
		{name: "memory_max above the hard limit", task: `memory_hard_limit = 96`, mod: func(c *drivers.TaskConfig) {
			c.Resources.NomadResources.Memory.MemoryMaxMB = 128
		}, want: map[string]any{"HostConfig.Memory": 128. * (1 << 20), "HostConfig.MemoryReservation": 64. * (1 << 20), "HostConfig.MemorySwap": 128. * (1 << 20)}},
		{name: "memory_max unlimited", notRef: "v1.6.3 knows no -1", mod: func(c *drivers.TaskConfig) { c.Resources.NomadResources.Memory.MemoryMaxMB = -1 },
			want: map[string]any{"HostConfig.Memory": 0., "HostConfig.MemoryReservation": 64. * (1 << 20)}},
		{name: "memory above the hard limit", notRef: "checked since 2.0.4", task: `memory_hard_limit = 32`,
			fails: []string{"task memory requirements exceed driver hard limit of 32 MB"}},
		{name: "cpu shares", mod: func(c *drivers.TaskConfig) { c.Resources.LinuxResources.CPUShares = 777 }, want: map[string]any{"HostConfig.CpuShares": 777.}},
		{name: "cpu shares, least", notRef: "least 2 since 1.10.2", mod: func(c *drivers.TaskConfig) { c.Resources.LinuxResources.CPUShares = 1 }, want: map[string]any{"HostConfig.CpuShares": 2.}},
		{name: "cpu_hard_limit", task: "cpu_hard_limit = true\ncpu_cfs_period = 50000", want: map[string]any{
			"HostConfig.CpuPeriod": 50000., "HostConfig.CpuQuota": float64(2500 * runtime.NumCPU())}},
		{name: "cpu_hard_limit alone", task: `cpu_hard_limit = true`, want: map[string]any{
			"HostConfig.CpuPeriod": 100000., "HostConfig.CpuQuota": float64(5000 * runtime.NumCPU())}},
		{name: "cpu_cfs_period out of range", task: "cpu_hard_limit = true\ncpu_cfs_period = 2000000", fails: []string{"cpu_cfs_period"}},
		{name: "cores", mod: func(c *drivers.TaskConfig) { c.Resources.LinuxResources.CpusetCpus = "1" }, notRef: "v1.6.3 leaves cores to the cgroup",
			want: map[string]any{"HostConfig.CpusetCpus": "1"}},
		{name: "pids_limit", task: `pids_limit = 55`, want: map[string]any{"HostConfig.PidsLimit": 55.}},
		{name: "pids_limit of the plugin", plugin: `pids_limit = 99`, want: map[string]any{"HostConfig.PidsLimit": 99.}},
		{name: "pids_limit above the plugin's", plugin: `pids_limit = 99`, task: `pids_limit = 100`, fails: []string{"pids_limit", "99"}},
		{name: "oom_score_adj", notRef: "since 1.8.1", task: `oom_score_adj = 321`, want: map[string]any{"HostConfig.OomScoreAdj": 321.}},
		{name: "oom_score_adj of the plugin", notRef: "since 1.8.1, and without effect", plugin: `oom_score_adj = 55`, want: map[string]any{"HostConfig.OomScoreAdj": 55.}},
		{name: "cpuset_cpus is old", notRef: "it takes effect there", task: `cpuset_cpus = "0"`, want: map[string]any{"HostConfig.CpusetCpus": ""}},
		{name: "storage_opt", request: true, task: `storage_opt { size = "1G" }`, want: map[string]any{"HostConfig.StorageOpt": map[string]any{"size": "1G"}}},
		{name: "cgroupns", notRef: "since 1.10.3", task: `cgroupns = "host"`, want: map[string]any{"HostConfig.CgroupnsMode": "host"}},
		/* rights */
		{name: "privileged refused", task: `privileged = true`, fails: []string{"Docker privileged mode is disabled on this Nomad agent"}},
		{name: "privileged", plugin: `allow_privileged = true`, request: true, task: `privileged = true`, want: map[string]any{"HostConfig.Privileged": true}},
		{name: "cap_add refused", task: `cap_add = ["net_admin", "sys_time"]`, fails: []string{"driver does not allow the following capabilities", "net_admin"}},
		{name: "cap_add", plugin: `allow_caps = ["all"]`, task: `cap_add = ["NET_ADMIN", "cap_sys_time"]`, want: map[string]any{"HostConfig.CapAdd": list("net_admin", "sys_time"), "HostConfig.CapDrop": nil}},
		{name: "cap_drop", task: `cap_drop = ["MKNOD"]`, want: map[string]any{"HostConfig.CapDrop": list("mknod", "net_raw")}},
		{name: "cap_drop all", task: "cap_drop = [\"all\"]\ncap_add = [\"chown\"]", want: map[string]any{"HostConfig.CapDrop": list("all"), "HostConfig.CapAdd": list("chown")}},
		{name: "allow_caps narrows Docker's defaults", plugin: `allow_caps = ["chown", "kill"]`, check: func(t *testing.T, _ *task, d doc) {
			drop := fmt.Sprint(d.at("HostConfig.CapDrop"))
			if !strings.Contains(drop, "setuid") || strings.Contains(drop, "chown") || strings.Contains(drop, " kill") {
				t.Errorf("CapDrop %s: all of Docker's defaults that are not allowed, and only those", drop)
			}
		}},
		{name: "security_opt", task: `security_opt = ["no-new-privileges"]`, want: map[string]any{"HostConfig.SecurityOpt": list("no-new-privileges")}},
		{name: "security_opt seccomp=unconfined", task: `security_opt = ["seccomp=unconfined"]`, want: map[string]any{"HostConfig.SecurityOpt": list("seccomp=unconfined")}},
		{name: "security_opt in all its forms", task: `security_opt = ["no-new-privileges", "label=disable", "seccomp:unconfined"]`,
			want: map[string]any{"HostConfig.SecurityOpt": list("no-new-privileges", "label=disable", "seccomp:unconfined")}},
		{name: "security_opt nonsense", task: `security_opt = ["nonsense"]`, fails: []string{`invalid security_opt: "nonsense"`}},
		{name: "security_opt seccomp profile of the task", task: `security_opt = ["seccomp=local/p.json"]`, mod: withFile("local/p.json", "{ \"defaultAction\" :\n\t\"SCMP_ACT_ALLOW\" }"),
			notRef: "reads the path in its own working directory", want: map[string]any{"HostConfig.SecurityOpt": list(`seccomp={"defaultAction":"SCMP_ACT_ALLOW"}`)}},
		{name: "security_opt seccomp with a file of the host that is no profile", notRef: "reads any file", task: `security_opt = ["seccomp=/etc/hostname"]`,
			fails: []string{"compacting json for seccomp profile (/etc/hostname) failed"}},
		{name: "security_opt seccomp profile by a link", notRef: "reads any file", task: `security_opt = ["seccomp=local/p.json"]`, mod: withLink("local/p.json", "/etc/hostname"),
			fails: []string{"security_opt", "local/p.json", "outside of the allocation's folder"}},
		{name: "security_opt seccomp file that does not exist", task: `security_opt = ["seccomp=/no/such/profile.json"]`, fails: []string{"seccomp", "/no/such/profile.json"}},
		{name: "ulimit", task: `ulimit { nofile = "2048:4096"  nproc = "4242" }`, check: func(t *testing.T, _ *task, d doc) {
			got := map[string]string{}
			u, _ := d.at("HostConfig.Ulimits").([]any)
			for _, e := range u {
				m := doc(e.(map[string]any))
				got[m.str("Name")] = fmt.Sprintf("%v:%v", m.num("Soft"), m.num("Hard"))
			}
			if got["nofile"] != "2048:4096" || got["nproc"] != "4242:4242" {
				t.Errorf("ulimits %v", got)
			}
		}},
		{name: "ulimit empty", task: `ulimit { nofile = "" }`, fails: []string{"Malformed ulimit specification nofile", "cannot be empty"}},
		{name: "ulimit soft", task: `ulimit { nofile = "a:5" }`, fails: []string{"Malformed soft ulimit nofile"}},
		{name: "ulimit hard", task: `ulimit { nofile = "5:a" }`, fails: []string{"Malformed hard ulimit nofile"}},
		{name: "sysctl", task: `sysctl { net.core.somaxconn = "1234" }`, want: map[string]any{"HostConfig.Sysctls": map[string]any{"net.core.somaxconn": "1234"}}},
		{name: "group_add", notRef: "since 1.5.7, but this row's groups are not in the image there", task: `group_add = ["12345"]`, want: map[string]any{"HostConfig.GroupAdd": list("12345")}},
		{name: "runtime refused", task: `runtime = "crun"`, fails: []string{`requested runtime "crun" is not allowed`}},
		{name: "runtime", task: `runtime = "runc"`, want: map[string]any{"HostConfig.Runtime": "runc"}},
		{name: "allow_runtimes", plugin: `allow_runtimes = ["nvidia"]`, task: `runtime = "runc"`, fails: []string{`requested runtime "runc" is not allowed`}},
		{name: "nvidia_runtime", notRef: "looks at the last fingerprint", plugin: `nvidia_runtime = "runc"`,
			mod:  func(c *drivers.TaskConfig) { c.DeviceEnv = map[string]string{"NVIDIA_VISIBLE_DEVICES": "0"} },
			want: map[string]any{"HostConfig.Runtime": "runc"}},
		{name: "gpu without its runtime", mod: func(c *drivers.TaskConfig) { c.DeviceEnv = map[string]string{"NVIDIA_VISIBLE_DEVICES": "0"} }, fails: []string{`requested docker runtime "nvidia" was not found`}},
		{name: "devices", task: `devices = [ { host_path = "/dev/zero"  container_path = "/dev/nil"  cgroup_permissions = "r" }, { host_path = "/dev/full" } ]`,
			check: func(t *testing.T, _ *task, d doc) {
				want := list(
					map[string]any{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/nil", "CgroupPermissions": "r"},
					map[string]any{"PathOnHost": "/dev/full", "PathInContainer": "/dev/full", "CgroupPermissions": "rwm"})
				if got := d.at("HostConfig.Devices"); !reflect.DeepEqual(got, want) {
					t.Errorf("devices %v", got)
				}
			}},
		{name: "device of a device plugin", mod: func(c *drivers.TaskConfig) {
			c.Devices = []*drivers.DeviceConfig{{TaskPath: "/dev/x", HostPath: "/dev/zero", Permissions: "rw"}}
		}, want: map[string]any{"HostConfig.Devices": list(map[string]any{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/x", "CgroupPermissions": "rw"})}},
		{name: "device without a path", task: `devices = [ { container_path = "/dev/nil" } ]`, fails: []string{"host", "path"}},
		{name: "device permissions", task: `devices = [ { host_path = "/dev/zero"  cgroup_permissions = "rx" } ]`, fails: []string{"cgroup permission"}},
		{name: "isolation is for Windows", task: `isolation = "hyperv"`, fails: []string{"isolation"}},
		/* namespaces */
		{name: "pid_mode refused", notRef: "the gate came with 2.0.4", task: `pid_mode = "host"`, fails: []string{`cannot apply "pid_mode" configuration`}},
		{name: "ipc_mode refused", notRef: "the gate came with 2.0.4", task: `ipc_mode = "host"`, fails: []string{`cannot apply "ipc_mode" configuration`}},
		{name: "uts_mode refused", notRef: "the gate came with 2.0.4", task: `uts_mode = "host"`, fails: []string{`cannot apply "uts_mode" configuration`}},
		{name: "userns_mode refused", notRef: "the gate came with 2.0.4", task: `userns_mode = "host"`, fails: []string{`cannot apply "userns_mode" configuration`}},
		{name: "modes allowed", notRef: "allowed_modes came with 2.0.4", plugin: `allowed_modes { pid = ["host"]  ipc = ["shareable", "container:*"]  uts = ["host"] }`,
			task: "pid_mode = \"host\"\nipc_mode = \"shareable\"\nuts_mode = \"host\"",
			want: map[string]any{"HostConfig.PidMode": "host", "HostConfig.IpcMode": "shareable", "HostConfig.UTSMode": "host"}},
		{name: "modes with allow_privileged", plugin: `allow_privileged = true`, task: "pid_mode = \"host\"\nipc_mode = \"host\"\nuts_mode = \"host\"\nuserns_mode = \"host\"",
			want: map[string]any{"HostConfig.PidMode": "host", "HostConfig.IpcMode": "host", "HostConfig.UTSMode": "host", "HostConfig.UsernsMode": "host"}},
		/* logging */
		{name: "logging", task: `logging { type = "json-file"  config { max-size = "7m"  labels = "a" } }`, want: map[string]any{
			"HostConfig.LogConfig.Type": "json-file", "HostConfig.LogConfig.Config": map[string]any{"max-size": "7m", "labels": "a"}}},
		{name: "logging by its old name", task: `logging { driver = "local" }`, want: map[string]any{"HostConfig.LogConfig.Type": "local"}},
		{name: "logging none", task: `logging { type = "none" }`, want: map[string]any{"HostConfig.LogConfig.Type": "none"}},
		{name: "logging, the new name wins", task: `logging { type = "local"  driver = "json-file" }`, want: map[string]any{"HostConfig.LogConfig.Type": "local"}},
		{name: "logging empty", task: `logging {}`, want: map[string]any{"HostConfig.LogConfig.Config": map[string]any{"max-file": "2", "max-size": "2m"}}},
		{name: "logging without a type", task: `logging { config { max-size = "5m" } }`, want: map[string]any{
			"HostConfig.LogConfig.Type": "json-file", "HostConfig.LogConfig.Config": map[string]any{"max-size": "5m"}}},
		{name: "logging of the plugin", plugin: `logging { type = "json-file"  config { max-size = "9m" } }`, want: map[string]any{
			"HostConfig.LogConfig.Config": map[string]any{"max-size": "9m"}}},
		/* network */
		{name: "network_mode none", task: `network_mode = "none"`, want: map[string]any{"HostConfig.NetworkMode": "none"}},
		{name: "network_mode host", task: `network_mode = "host"`, want: map[string]any{"HostConfig.NetworkMode": "host"}, check: func(t *testing.T, k *task, _ doc) {
			if k.net != nil && (k.net.IP != "" || k.net.AutoAdvertise) {
				t.Errorf("network override %+v: host networking has none", k.net)
			}
		}},
		{name: "dns", task: "dns_servers = [\"192.0.2.1\"]\ndns_search_domains = [\"internal.example\"]\ndns_options = [\"ndots:2\"]", want: map[string]any{
			"HostConfig.Dns": list("192.0.2.1"), "HostConfig.DnsSearch": list("internal.example"), "HostConfig.DnsOptions": list("ndots:2")}},
		{name: "dns_servers with one that is not an address", task: `dns_servers = ["nonsense", "192.0.2.1"]`, want: map[string]any{"HostConfig.Dns": list("192.0.2.1")}},
		{name: "dns of the group", task: `dns_servers = ["192.0.2.1"]`, mod: func(c *drivers.TaskConfig) {
			c.DNS = &drivers.DNSConfig{Servers: []string{"192.0.2.9"}, Searches: []string{"s.example"}, Options: []string{"ndots:3"}}
		}, check: func(t *testing.T, k *task, d doc) {
			data, err := os.ReadFile(filepath.Join(k.cfg.AllocDir, k.cfg.Name, "resolv.conf"))
			ok(t, err, "resolv.conf in the task directory")
			for _, w := range []string{"nameserver 192.0.2.9", "search s.example", "options ndots:3"} {
				if !strings.Contains(string(data), w) {
					t.Errorf("resolv.conf %q: want %q", data, w)
				}
			}
			if dns, _ := d.at("HostConfig.Dns").([]any); len(dns) != 0 {
				t.Errorf("Dns %v: the group's dns block wins", dns)
			}
			if m := mountAt(d, "/etc/resolv.conf"); m == nil || m["RW"] != false {
				t.Errorf("/etc/resolv.conf: %v, want a read-only bind", m)
			}
		}},
		{name: "extra_hosts", task: `extra_hosts = ["somehost:192.0.2.7"]`, want: map[string]any{"HostConfig.ExtraHosts": list("somehost:192.0.2.7")}},
		{name: "unknown port", task: `ports = ["nope"]`, mod: withPort, fails: []string{`Port "nope" not found, check network block`}},
		{name: "ports", task: `ports = ["web"]`, mod: withPort, check: func(t *testing.T, _ *task, d doc) {
			for _, proto := range []string{"8080/tcp", "8080/udp"} {
				p := fmt.Sprint(d.at("HostConfig.PortBindings").(map[string]any)[proto])
				if !strings.Contains(p, "23456") || !strings.Contains(p, "127.0.0.1") {
					t.Errorf("binding of %s: %s, want 127.0.0.1:23456", proto, p)
				}
			}
		}},
		{name: "ports, two to one, and one without a target", task: `ports = ["web", "alt", "same"]`, mod: func(c *drivers.TaskConfig) {
			withPort(c)
			*c.Resources.Ports = append(*c.Resources.Ports, structs.AllocatedPortMapping{Label: "alt", Value: 23457, To: 8080, HostIP: "127.0.0.1"},
				structs.AllocatedPortMapping{Label: "same", Value: 23458, HostIP: "127.0.0.1"}, structs.AllocatedPortMapping{Label: "other", Value: 23459})
		}, want: map[string]any{"HostConfig.PortBindings": map[string]any{
			"8080/tcp": list(binding(23456), binding(23457)), "8080/udp": list(binding(23456), binding(23457)),
			"23458/tcp": list(binding(23458)), "23458/udp": list(binding(23458))}}},
		{name: "port_map on a group port", task: `port_map { web = 80 }`, mod: withPort, fails: []string{"port_map", "use 'ports' instead"}},
		/* mounts */
		{name: "volume below the task", task: `volumes = ["local/x:/x:ro"]`, mod: withDir("local/x"), check: func(t *testing.T, k *task, d doc) {
			want := belowAlloc(k, "local/x")
			if binds := fmt.Sprint(d.at("HostConfig.Binds")); !strings.Contains(binds, want+":/x:ro") {
				t.Errorf("binds %s, want %s", binds, want)
			}
		}},
		{name: "volume of the host refused", task: `volumes = ["/etc:/x"]`, fails: []string{"volumes are not enabled; cannot mount host path", "/etc"}},
		{name: "volume that escapes by dots", task: `volumes = ["../../../etc:/x"]`, fails: []string{"volumes are not enabled; cannot mount host path"}},
		{name: "volume that escapes by a link", notRef: "it looks at the text of the path alone", task: `volumes = ["local/link/ssl:/x"]`, mod: withLink("local/link", "/etc"), fails: []string{"volumes are not enabled; cannot mount host path"}},
		{name: "mount that escapes by a link", task: `mount { type = "bind"  source = "local/link"  target = "/x" }`, mod: withLink("local/link", "/etc"),
			notRef: "its mount check takes the link", fails: []string{"volumes are not enabled; cannot mount host path"}},
		{name: "volume of the host", plugin: `volumes { enabled = true }`, task: `volumes = ["/usr/share:/x:ro"]`, check: func(t *testing.T, _ *task, d doc) {
			if m := mountAt(d, "/x"); m == nil || m["Source"] != "/usr/share" || m["RW"] != false {
				t.Errorf("mount at /x: %v", m)
			}
		}},
		{name: "volume without a target", task: `volumes = ["local"]`, fails: []string{"not <src>:<destination> format"}},
		{name: "volume_driver refused", task: "volume_driver = \"local\"\nvolumes = [\"v:/x\"]", fails: []string{`volumes are not enabled; cannot use volume driver "local"`}},
		{name: "volume_driver", plugin: `volumes { enabled = true }`, task: "volume_driver = \"local\"\nvolumes = [\"harness-vol:/x:ro\"]",
			want: map[string]any{"HostConfig.VolumeDriver": "local"}, check: func(t *testing.T, _ *task, d doc) {
				if m := mountAt(d, "/x"); m == nil || m["Type"] != "volume" || m["Name"] != "harness-vol" || m["RW"] != false {
					t.Errorf("mount at /x: %v", m)
				}
			}},
		{name: "selinuxlabel", notRef: "joins mode and label by a colon, which Docker refuses", plugin: `volumes { enabled = true  selinuxlabel = "z" }`, task: `volumes = ["local/x:/x:ro", "local/x:/y"]`, mod: withDir("local/x"),
			check: func(t *testing.T, k *task, d doc) {
				binds := fmt.Sprint(d.at("HostConfig.Binds"))
				for _, b := range []string{":/alloc:z", ":/secrets:z", "local/x:/x:ro,z", "local/x:/y:z"} {
					if !strings.Contains(binds, b) {
						t.Errorf("binds %s, want the label on each: %s", binds, b)
					}
				}
			}},
		{name: "mount bind", task: `mount { type = "bind"  source = "local/x"  target = "/x"  readonly = true  bind_options { propagation = "rslave" } }`, mod: withDir("local/x"),
			check: func(t *testing.T, k *task, d doc) {
				m := mountAt(d, "/x")
				if m == nil || m["Type"] != "bind" || !strings.HasSuffix(fmt.Sprint(m["Source"]), belowAlloc(k, "local/x")) || m["RW"] != false || m["Propagation"] != "rslave" {
					t.Errorf("mount at /x: %v", m)
				}
			}},
		{name: "mount tmpfs", task: `mount { type = "tmpfs"  target = "/x"  tmpfs_options { size = 100000  mode = 448 } }`, want: map[string]any{
			"HostConfig.Mounts.0.Type": "tmpfs", "HostConfig.Mounts.0.Target": "/x",
			"HostConfig.Mounts.0.TmpfsOptions.SizeBytes": 100000., "HostConfig.Mounts.0.TmpfsOptions.Mode": 448.}},
		{name: "mounts without options", plugin: `volumes { enabled = true }`, mod: withDir("local/x"), task: `
			mount { type = "bind"  source = "local/x"  target = "/a" }
			mount { type = "tmpfs"  target = "/b" }
			mount { target = "/c" }`, check: func(t *testing.T, k *task, d doc) {
			for target, kind := range map[string]string{"/a": "bind", "/b": "tmpfs", "/c": "volume"} {
				if m := mountAt(d, target); m == nil || m["Type"] != kind || m["RW"] != true {
					t.Errorf("mount at %s: %v, want a writable %s", target, m, kind)
				}
			}
		}},
		{name: "mount tmpfs with a source", task: `mount { type = "tmpfs"  source = "a"  target = "/x" }`, fails: []string{"tmpfs"}},
		{name: "mount of no type that is", task: `mount { type = "carpet"  target = "/x" }`, fails: []string{"carpet"}},
		{name: "mount volume", plugin: `volumes { enabled = true }`, task: `mounts = [ { type = "volume"  source = "harness-vol"  target = "/x"
			volume_options { no_copy = true  labels { who = "harness" }  driver_config { name = "local" } } } ]`, want: map[string]any{
			"HostConfig.Mounts.0.Type": "volume", "HostConfig.Mounts.0.Source": "harness-vol", "HostConfig.Mounts.0.VolumeOptions.NoCopy": true,
			"HostConfig.Mounts.0.VolumeOptions.Labels": map[string]any{"who": "harness"}, "HostConfig.Mounts.0.VolumeOptions.DriverConfig.Name": "local"}},
		{name: "mount volume refused", task: `mount { type = "volume"  source = "v"  target = "/x" }`, fails: []string{"volumes are not enabled"}},
		{name: "mount volume with options", request: true, plugin: `volumes { enabled = true }`, task: `mount { source = "v"  target = "/x"
			volume_options { driver_config { name = "nfs"  options { a = "1"  b = "1" }  options { b = "2" } } } }`, want: map[string]any{
			"HostConfig.Mounts.0.Type": "volume", "HostConfig.Mounts.0.VolumeOptions.DriverConfig": map[string]any{
				"Name": "nfs", "Options": map[string]any{"a": "1", "b": "2"}}}},
		{name: "mounts after mount", task: `
			mounts = [ { type = "tmpfs"  target = "/c" } ]
			mount { type = "tmpfs"  target = "/a" }
			mount { type = "tmpfs"  target = "/b" }`, want: map[string]any{
			"HostConfig.Mounts.0.Target": "/a", "HostConfig.Mounts.1.Target": "/b", "HostConfig.Mounts.2.Target": "/c"}},
		{name: "volume_mount of the job", mod: func(c *drivers.TaskConfig) {
			c.Mounts = []*drivers.MountConfig{{HostPath: c.AllocDir + "/alloc/data", TaskPath: "/x", Readonly: true, PropagationMode: "host-to-task"}}
		}, check: func(t *testing.T, k *task, d doc) {
			if m := mountAt(d, "/x"); m == nil || m["Source"] != k.cfg.AllocDir+"/alloc/data" || m["RW"] != false || m["Propagation"] != "rslave" {
				t.Errorf("mount at /x: %v", m)
			}
		}},
		{name: "volume_mount, how it spreads", mod: func(c *drivers.TaskConfig) {
			for path, how := range map[string]string{"/none": "", "/private": "private", "/both": "bidirectional"} {
				c.Mounts = append(c.Mounts, &drivers.MountConfig{HostPath: c.AllocDir + "/alloc/data", TaskPath: path, PropagationMode: how})
			}
		}, check: func(t *testing.T, k *task, d doc) {
			for path, how := range map[string]string{"/none": "rprivate", "/private": "rprivate", "/both": "rshared"} {
				if m := mountAt(d, path); m == nil || m["RW"] != true || m["Propagation"] != how {
					t.Errorf("mount at %s: %v, want %s", path, m, how)
				}
			}
		}},
		{name: "logs are read-only inside", notRef: "since 2.0.1", check: func(t *testing.T, _ *task, d doc) {
			if m := mountAt(d, "/alloc/logs"); m == nil || m["RW"] != false {
				t.Errorf("/alloc/logs: %v, want a read-only bind (a task could replace the log FIFOs by links)", m)
			}
		}},
		{name: "healthchecks off", task: `healthchecks { disable = true }`, want: map[string]any{"Config.Healthcheck.Test": list("NONE")}},
		{name: "command of blanks", task: `command = "  "`, fails: []string{"command empty"}},
		{name: "command with a space before it", task: `command = " /bin/sh"`, fails: []string{"command"}},
		{name: "image with a scheme", task: `image = "https://` + imageBusybox + `"`, want: map[string]any{"Config.Image": imageBusybox}},
	}
}

func withPort(c *drivers.TaskConfig) {
	c.Resources.Ports = &structs.AllocatedPorts{{Label: "web", Value: 23456, To: 8080, HostIP: "127.0.0.1"}}
}

func binding(port int) map[string]any {
	return map[string]any{"HostIp": "127.0.0.1", "HostPort": itoa(port)}
}

func withDir(path string) func(*drivers.TaskConfig) {
	return func(c *drivers.TaskConfig) { _ = os.MkdirAll(filepath.Join(c.AllocDir, c.Name, path), 0o755) }
}

func withFile(path, text string) func(*drivers.TaskConfig) {
	return func(c *drivers.TaskConfig) {
		_ = os.WriteFile(filepath.Join(c.AllocDir, c.Name, path), []byte(text), 0o644)
	}
}

func withLink(path, to string) func(*drivers.TaskConfig) {
	return func(c *drivers.TaskConfig) { _ = os.Symlink(to, filepath.Join(c.AllocDir, c.Name, path)) }
}

/* How Docker is sent the task's only volume: the reference sends its name, paddock the end of
 * its own mount point. */
func belowAlloc(k *task, path string) string {
	if run.isRef {
		return filepath.Join(k.cfg.AllocDir, k.cfg.Name, path)
	}
	return filepath.Join(k.container(), "0-"+filepath.Base(path))
}

func mountAt(d doc, target string) map[string]any {
	mounts, _ := d.at("Mounts").([]any)
	for _, m := range mounts {
		if mm := m.(map[string]any); mm["Destination"] == target {
			return mm
		}
	}
	return nil
}
