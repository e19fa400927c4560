/*
 * Driver blocks of public job files, with names and addresses replaced. Nomad's own HCL2 parser
 * parses each, and the plugin's schema evaluates it, once from HCL and once from JSON, with the
 * same bytes. Then it is started, and Docker's create request is compared. Where this machine lacks
 * something (a log plugin, a runtime, an image's registry), the create request or the refusal
 * counts.
 */
package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/jobspec2"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
)

type publicJob struct {
	name, plugin, config string
	image                string /* "" = busybox */
	mod                  func(*drivers.TaskConfig)
	want                 map[string]any /* of the create request */
	request              bool           /* the start may fail after the create request */
	fails                []string       /* words of the refusal */
	schema               string         /* a word of the schema's refusal */
}

func ports(labels ...string) func(*drivers.TaskConfig) {
	return func(c *drivers.TaskConfig) {
		ports := structs.AllocatedPorts{}
		for i, l := range labels {
			ports = append(ports, structs.AllocatedPortMapping{Label: l, Value: 23100 + i, HostIP: "127.0.0.1"})
		}
		c.Resources.Ports = &ports
	}
}

func taskFile(path string) func(*drivers.TaskConfig) {
	return func(c *drivers.TaskConfig) {
		_ = os.WriteFile(filepath.Join(c.AllocDir, c.Name, path), []byte("#!/bin/sh\nsleep 1000\n"), 0o755)
	}
}

func publicJobs() []publicJob {
	sleep := "\ncommand = \"sleep\"\nargs = [\"1000\"]\n"
	all := "allow_privileged = true\nvolumes { enabled = true }\nallow_caps = [\"all\"]"
	return []publicJob{
		{name: "a volume without a name and a driver's name", plugin: all, config: sleep + `
			force_pull = false
			healthchecks { disable = false }
			group_add = ["44"]
			mount {
				type = "volume"
				target = "/nfs"
				volume_options {
					no_copy = true
					driver_config {
						options {
							type = "tmpfs"
							device = "tmpfs"
							o = "size=10m"
						}
					}
				}
			}`, want: map[string]any{"Config.Healthcheck": nil, "HostConfig.GroupAdd": list("44"), "HostConfig.Mounts": list(map[string]any{
			"Type": "volume", "Target": "/nfs", "VolumeOptions": map[string]any{"NoCopy": true, "DriverConfig": map[string]any{
				"Options": map[string]any{"type": "tmpfs", "device": "tmpfs", "o": "size=10m"}}}})}},
		{name: "everything dropped, a heredoc and a tmpfs that is larger than the memory", plugin: all, config: `
			readonly_rootfs = true
			pids_limit = 512
			cap_drop = ["all"]
			security_opt = ["no-new-privileges"]
			network_mode = "host"
			command = "/bin/sh"
			args = ["-c", <<EOT
set -e; x='a $b "c"'
exec sleep 1000
EOT
			]
			mount {
				type = "bind"
				source = "/etc/hostname"
				target = "/etc/ssl/certs/ca.crt"
				readonly = true
			}
			mount {
				type = "tmpfs"
				target = "/tmp"
				tmpfs_options { size = 536870912 }
			}`, mod: func(c *drivers.TaskConfig) { c.User, c.Resources.NomadResources.Memory.MemoryMaxMB = "0", 512 },
			want: map[string]any{"HostConfig.CapDrop": list("all"), "HostConfig.PidsLimit": 512., "HostConfig.Memory": 512. * (1 << 20),
				"HostConfig.MemoryReservation": 64. * (1 << 20), "Config.Cmd": list("/bin/sh", "-c", "set -e; x='a $b \"c\"'\nexec sleep 1000\n")}},
		{name: "an entrypoint of one empty text", config: `
			entrypoint = [""]
			command = "sleep"
			args = ["1000", "1", "2"]`, want: map[string]any{"Config.Entrypoint": list(""), "Config.Cmd": list("sleep", "1000", "1", "2")}},
		{name: "no entrypoint", config: "entrypoint = []" + sleep, want: map[string]any{"Config.Entrypoint": []any{}}},
		{name: "a log plugin", config: sleep + `
			logging {
				type = "loki"
				config {
					loki-url = "http://x/loki/api/v1/push"
					loki-external-labels = "job=dhcp,service=x"
				}
			}`, request: true, want: map[string]any{"HostConfig.LogConfig.Type": "loki",
			"HostConfig.LogConfig.Config": map[string]any{"loki-url": "http://x/loki/api/v1/push", "loki-external-labels": "job=dhcp,service=x"}}},
		{name: "ulimits, relative volumes and three ports", config: sleep + `
			ulimit {
				nofile = "65536:65536"
				memlock = "-1"
			}
			hostname = "m"
			ports = ["a", "b", "c"]
			network_mode = "none"
			volumes = ["local/rules.xml:/var/x/rules.xml:ro", "local/conf:/var/x/conf:ro"]`, mod: ports("a", "b", "c"), request: true,
			want: map[string]any{"Config.Hostname": "m", "HostConfig.PortBindings.23102/udp": list(map[string]any{"HostIp": "127.0.0.1", "HostPort": "23102"})}},
		{name: "a runtime that the client does not allow", config: sleep + `runtime = "runsc"`, fails: []string{"requested runtime \"runsc\" is not allowed"}},
		{name: "the host's processes and a port as text", plugin: all, config: sleep + `
			port_map { http = "9100" }
			pid_mode = "host"
			privileged = true
			network_mode = "host"
			volumes = ["/proc:/host/proc", "/:/hostfs:ro,rslave"]
			mounts = [ { type = "bind", target = "/host", source = "/", readonly = true, bind_options = { propagation = "rslave" } } ]`,
			mod: func(c *drivers.TaskConfig) {
				c.Resources.NomadResources.Networks = structs.Networks{{IP: "127.0.0.1", DynamicPorts: []structs.Port{{Label: "http", Value: 23110}}}}
			}, request: true, want: map[string]any{"HostConfig.PidMode": "host", "HostConfig.Privileged": true,
				"HostConfig.PortBindings.9100/tcp": list(map[string]any{"HostIp": "127.0.0.1", "HostPort": "23110"}), "HostConfig.Mounts": list(map[string]any{
					"Type": "bind", "Target": "/host", "Source": "/", "ReadOnly": true, "BindOptions": map[string]any{"Propagation": "rslave"}})}},
		{name: "the host's processes, not allowed", config: sleep + `pid_mode = "host"`, fails: []string{"pid_mode", "allowed_modes"}},
		{name: "a list in a list", config: `entrypoint = [["/a", "b"]]`, schema: "entrypoint"},
		{name: "a port that is named twice", config: sleep + "ports = [\"http\", \"x\", \"http\"]\nnetwork_mode = \"none\"", mod: ports("http", "x"), request: true,
			want: map[string]any{"HostConfig.PortBindings.23100/tcp": list(map[string]any{"HostIp": "127.0.0.1", "HostPort": "23100"})}},
		{name: "a port that no network has", config: sleep + `ports = ["nope"]`, mod: ports("http"), fails: []string{"Port \"nope\" not found, check network block"}},
		{name: "a volume driver, not allowed", config: sleep + "volumes = [\"size=10G,repl=3,name=v1:/data\"]\nvolume_driver = \"pxd\"\ninteractive = true",
			fails: []string{"volumes are not enabled; cannot use volume driver \"pxd\""}},
		{name: "a script of the task, a hard limit as large as the memory", config: `
			entrypoint = ["/usr/local/bin/start.sh"]
			args = ["server", "/x"]
			cpu_hard_limit = true
			memory_hard_limit = 64
			mount {
				type = "bind"
				target = "/usr/local/bin/start.sh"
				source = "local/start.sh"
				readonly = false
			}`, mod: taskFile("local/start.sh"), want: map[string]any{"HostConfig.Memory": 64. * (1 << 20), "HostConfig.MemoryReservation": 64. * (1 << 20)}},
		{name: "slashes at the end of both paths", plugin: all, config: sleep + `
			cap_add = ["NET_ADMIN"]
			interactive = true
			privileged = true
			volumes = ["/media/x/:/data/"]`, request: true, want: map[string]any{"HostConfig.CapAdd": list("net_admin"), "Config.OpenStdin": true}},
		{name: "empty labels, a profile of apparmor", config: `
			entrypoint = ["/bin/sh", "-c", "sleep 1000"]
			labels {}
			dns_search_domains = ["corp.example"]
			security_opt = ["apparmor=unconfined"]
			network_mode = "host"
			ports = ["http"]`, mod: ports("http"), want: map[string]any{"HostConfig.SecurityOpt": list("apparmor=unconfined"), "HostConfig.DnsSearch": list("corp.example")}},
		{name: "a hundred arguments", config: "command = \"/bin/sh\"\nargs = [\"-c\", \"sleep 1000\"" + strings.Repeat(", \"--x=y z\"", 98) + "]\nnetwork_mode = \"host\""},
		{name: "an unknown network", config: sleep + "network_mode = \"nosuchnet\"\nnetwork_aliases = [\"x\"]", request: true,
			want: map[string]any{"NetworkingConfig.EndpointsConfig.nosuchnet.Aliases": list("x")}},
		{name: "a tag and a digest, pulled each time", plugin: all, image: "127.0.0.1:1/app:dev@sha256:" + strings.Repeat("0a", 32), config: `
			force_pull = true
			image_pull_timeout = "15m"
			readonly_rootfs = true
			network_mode = "host"
			volumes = ["/opt/x/mount:/opt/x/mount"]
			args = ["--lockbox", "0x0", "--flag"]`, fails: []string{"Failed to pull `127.0.0.1:1/app:dev@sha256:0a0a"}},
		{name: "an init", config: sleep + `init = true`, request: true, want: map[string]any{"HostConfig.Init": true}},
		{name: "a last argument without text", config: `
			entrypoint = [""]
			command = "/bin/sh"
			args = ["-c", "sleep 1000", "--stationsuffix", ""]`, want: map[string]any{"Config.Cmd": list("/bin/sh", "-c", "sleep 1000", "--stationsuffix", "")}},
		{name: "limits of both kinds without an end", config: sleep + `
			ulimit {
				memlock = "-1:-1"
				nproc = "8192"
			}`, request: true, want: map[string]any{"HostConfig.Ulimits": list(map[string]any{"Name": "memlock", "Soft": -1., "Hard": -1.},
			map[string]any{"Name": "nproc", "Soft": 8192., "Hard": 8192.})}},
		{name: "a list of devices, and options of a mount as a value", plugin: all, config: sleep + `
			devices = [ { host_path = "/dev/null", container_path = "/dev/x", cgroup_permissions = "rwm" }, { host_path = "/dev/zero" } ]
			mount {
				type = "bind"
				target = "/data"
				source = "/etc"
				readonly = false
				bind_options = { propagation = "rprivate" }
			}`, want: map[string]any{"HostConfig.Devices": list(map[string]any{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"},
			map[string]any{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/zero", "CgroupPermissions": "rwm"}),
			"HostConfig.Mounts": list(map[string]any{"Type": "bind", "Target": "/data", "Source": "/etc", "BindOptions": map[string]any{"Propagation": "rprivate"}})}},
		{name: "the host's IPC", plugin: all, config: sleep + "ipc_mode = \"host\"\nnetwork_mode = \"host\"\nprivileged = true", request: true, want: map[string]any{"HostConfig.IpcMode": "host"}},
		{name: "the host's IPC, not allowed", config: sleep + `ipc_mode = "host"`, fails: []string{"ipc_mode", "allowed_modes"}},
		{name: "a volume by name, a secret and a file of the host", plugin: all, config: sleep + `
			mount {
				type = "volume"
				target = "/data"
				source = "public-eth0"
			}
			mount {
				type = "bind"
				target = "/x/jwt.hex"
				source = "secrets/jwt"
			}
			mount {
				type = "bind"
				target = "/etc/localtime"
				source = "/etc/hostname"
				readonly = true
			}`, mod: taskFile("secrets/jwt"), want: map[string]any{"HostConfig.Mounts.0.Source": "public-eth0", "HostConfig.Mounts.2.ReadOnly": true}},
		{name: "the host's files, not allowed", config: sleep + `
			mount {
				type = "bind"
				target = "/etc/localtime"
				source = "/etc/hostname"
			}`, fails: []string{"volumes are not enabled; cannot mount host path", "/etc/hostname"}},
		{name: "Docker's socket, and a hard limit above the memory", plugin: all, config: sleep + `
			privileged = true
			memory_hard_limit = 750
			volume_driver = "local"
			volumes = ["/var/run/docker.sock:/var/run/docker.sock"]`, request: true, want: map[string]any{"HostConfig.VolumeDriver": "local",
			"HostConfig.Memory": 750. * (1 << 20), "HostConfig.Binds.4": "/var/run/docker.sock:/var/run/docker.sock"}},
		{name: "a folder of the task that an earlier task makes", config: sleep + `
			mount {
				type = "bind"
				target = "/buckets"
				source = "local/buckets"
				readonly = false
			}`, mod: func(c *drivers.TaskConfig) { _ = os.Mkdir(filepath.Join(c.AllocDir, c.Name, "local/buckets"), 0o777) }},
		{name: "three extra hosts", config: sleep + "hostname = \"node-1.example\"\nextra_hosts = [\"a:192.0.2.1\", \"b:192.0.2.2\", \"c:2001:db8::3\"]",
			want: map[string]any{"Config.Hostname": "node-1.example", "HostConfig.ExtraHosts": list("a:192.0.2.1", "b:192.0.2.2", "c:2001:db8::3")}},
		{name: "journald with a tag", config: sleep + `
			logging {
				type = "journald"
				config { tag = "web" }
			}`, request: true, want: map[string]any{"HostConfig.LogConfig.Type": "journald", "HostConfig.LogConfig.Config": map[string]any{"tag": "web"}}},
		{name: "no tag, and folders of the host with a slash at the end", plugin: all, image: "paddock.test/busybox", config: `
			command = "/x"
			work_dir = "/tmp"
			network_mode = "host"
			volumes = ["/var/run:/var/run:rw", "/dev/disk/:/dev/disk:ro"]`, fails: []string{"Failed to pull `paddock.test/busybox`"}},
		{name: "a working folder", plugin: all, config: sleep + "work_dir = \"/tmp\"\nvolumes = [\"/var/tmp/:/var/tmp:ro\"]",
			want: map[string]any{"Config.WorkingDir": "/tmp", "HostConfig.Binds.4": "/var/tmp:/var/tmp:ro"}},
		{name: "a user without privileges", config: sleep + "readonly_rootfs = true\ncap_drop = [\"ALL\"]\nsecurity_opt = [\"no-new-privileges\"]",
			mod: func(c *drivers.TaskConfig) { c.User = "1001:1001" }, want: map[string]any{"Config.User": "1001:1001", "HostConfig.CapDrop": list("all")}},
	}
}

/* The bytes of the block, from HCL and from JSON, which must be the same. */
func evaluateJob(t *testing.T, p *plug, text string) ([]byte, error) {
	t.Helper()
	spec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")
	job, err := jobspec2.Parse("job", strings.NewReader("job \"j\" {\ngroup \"g\" {\ntask \"t\" {\ndriver = \"docker\"\nconfig {\n"+text+"\n}\n}\n}\n}"))
	ok(t, err, "job file")
	config := job.TaskGroups[0].Tasks[0].Config
	data, err := encode(spec, config)
	if err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(config)
	ok(t, err, "JSON")
	var again map[string]any
	ok(t, json.Unmarshal(asJSON, &again), "JSON")
	fromJSON, err := encode(spec, again)
	ok(t, err, "the same job in JSON")
	if !bytes.Equal(data, fromJSON) {
		t.Errorf("HCL gives %q, JSON %q", data, fromJSON)
	}
	return data, nil
}

func TestPublicJobs(t *testing.T) {
	paddockOnly(t, "several of its answers are older")
	t.Parallel()
	rec := record(t, run.dockerd.Socket())
	plugs := map[string]*plug{}
	parent := t
	for _, c := range publicJobs() {
		t.Run(c.name, func(t *testing.T) {
			p := plugs[c.plugin]
			if p == nil {
				p = launchWith(parent, launchOptions{name: "jobs", config: configAt(rec.endpoint, c.plugin)})
				plugs[c.plugin] = p
			}
			if c.image == "" {
				c.image = imageBusybox
			}
			data, err := evaluateJob(t, p, fmt.Sprintf("image = %q\n%s", c.image, c.config))
			if c.schema != "" {
				wantError(t, err, "the schema", c.schema)
				return
			}
			ok(t, err, "the schema")
			mod := c.mod
			if mod == nil {
				mod = func(*drivers.TaskConfig) {}
			}
			k := newTask(t, p, "public", sleeper, mod)
			setRawConfig(t, k.cfg, data)
			err = k.tryStart(p)
			if c.fails != nil {
				wantError(t, err, "the start must be refused", c.fails...)
				return
			}
			if !c.request {
				ok(t, err, "StartTask")
			}
			d := rec.created(t, k.container())
			for path, want := range c.want {
				if got := d.at(path); !same(got, want) {
					t.Errorf("%s: Docker was sent %#v, want %#v", path, got, want)
				}
			}
			if err == nil {
				ok(t, k.stop(p, 0, "SIGKILL"), "StopTask")
				ok(t, k.destroy(p), "DestroyTask")
			}
		})
	}
}
