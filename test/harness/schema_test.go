/*
 * Both schemas, evaluated by Nomad's own code with what people write in job and agent files, HCL
 * and JSON. fields_test.go checks that the values arrive at Docker. Here it is what the host
 * accepts and refuses, and its errors.
 */
package harness

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	ctyjson "github.com/zclconf/go-cty/cty/json"
	"github.com/zclconf/go-cty/cty/msgpack"
)

var taskBlocks = map[string]string{
	"smallest": `image = "redis:7"`,
	"ports and volumes": `
			image = "redis:7"
			ports = ["db"]
			volumes = ["local/redis.conf:/etc/redis.conf", "/srv/data:/data:ro"]
			args = ["/etc/redis.conf"]`,
	"labels as block":  "image = \"a\"\nlabels { group = \"x\"\n tier = \"y\" }",
	"labels as blocks": "image = \"a\"\nlabels { group = \"x\" }\nlabels { tier = \"y\" }",
	"labels as object": `image = "a"` + "\n" + `labels = { "com.example/a.b" = "x" }`,
	"logging and ulimit": `
			image = "a"
			logging { type = "fluentd"
				config { fluentd-address = "localhost:24224" tag = "x" } }
			ulimit { nofile = "2048:4096" nproc = "4242" }
			sysctl { net.core.somaxconn = "16384" }`,
	"mounts": `
			image = "a"
			mount { type = "bind" target = "/a" source = "local/a" readonly = true
				bind_options { propagation = "rshared" } }
			mount { type = "tmpfs" target = "/b" tmpfs_options { size = 100000 mode = 511 } }
			mounts = [ { type = "volume" target = "/c" source = "vol"
				volume_options { no_copy = false labels { foo = "bar" }
					driver_config { name = "local" options { type = "nfs" } } } } ]`,
	"devices and auth": `
			image = "a"
			devices = [ { host_path = "/dev/null" container_path = "/dev/x" cgroup_permissions = "r" }, { host_path = "/dev/zero" } ]
			auth { username = "u" password = "p" email = "e@x" server_address = "r.example" }
			auth_soft_fail = true`,
	"numbers as strings": `
			image = "a"
			shm_size = "134217728"
			pids_limit = "100"
			memory_hard_limit = "512"
			cpu_cfs_period = "50000"
			cpu_hard_limit = "true"
			privileged = "false"`,
	"everything else": `
			image = "a"
			advertise_ipv6_address = true
			command = "/bin/x"
			cap_add = ["net_raw"]
			cap_drop = ["mknod"]
			cpuset_cpus = "0-3"
			dns_servers = ["8.8.8.8"]
			dns_search_domains = ["internal"]
			dns_options = ["ndots:2"]
			entrypoint = ["/bin/sh", "-c"]
			extra_hosts = ["a:127.0.0.1"]
			force_pull = true
			healthchecks { disable = true }
			hostname = "h"
			group_add = ["audio"]
			image_pull_timeout = "10m"
			init = true
			interactive = true
			ipc_mode = "host"
			ipv4_address = "172.18.0.9"
			ipv6_address = "2001:db8::9"
			isolation = ""
			load = "image.tar"
			mac_address = "02:68:b3:29:da:98"
			network_aliases = ["x"]
			network_mode = "host"
			pid_mode = "host"
			readonly_rootfs = true
			runtime = "runc"
			security_opt = ["no-new-privileges"]
			storage_opt { size = "40G" }
			tty = true
			userns_mode = "host"
			uts_mode = "host"
			volume_driver = "local"
			work_dir = "/x"
			port_map { http = 80 }`,
	"empty blocks": `
			image = "a"
			auth {}
			healthchecks {}
			logging {}
			labels {}
			mount {}
			mount { bind_options {} tmpfs_options {} volume_options { driver_config {} } }
			devices = [ {} ]`,
	"empty values": `
			image = "a"
			args = []
			command = ""
			mounts = []
			logging { type = "" config {} }
			image_pull_timeout = ""`,
	"lists of maps": `
			image = "a"
			ulimit { nofile = "1" }
			ulimit { nofile = "2" nproc = 3 }
			sysctl = [ { a = "1" }, { a = "2" } ]
			port_map = [ { http = 80 }, { admin = "81" } ]`,
	"whole numbers and fractions": `
			image = "a"
			memory_hard_limit = 512.0
			mount { type = "tmpfs" target = "/x" tmpfs_options { size = "100" mode = 0 } }`,
}

func TestTaskSchemaAcceptsWhatPeopleWrite(t *testing.T) {
	p := launchWith(t, launchOptions{config: "-"})
	spec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")
	accept(t, spec, taskBlocks)
}

func TestTaskSchemaHasPaddocksNewFields(t *testing.T) {
	paddockOnly(t, "v1.6.3 does not know them yet")
	p := launchWith(t, launchOptions{config: "-"})
	spec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")
	_, err = encode(spec, hclToInterface(t, `config {
		image = "a"
		cgroupns = "private"
		oom_score_adj = 100
		container_exists_attempts = 3
	}`))
	ok(t, err, "fields of later built-in drivers")
}

/* The JSON form of a job: lists of maps, as `nomad job run -output` prints them. */
var taskJSON = map[string]string{
	"lists of maps": `{"image":"a","labels":[{"a":"b"}],"port_map":[{"http":80}],"ulimit":[{"nofile":"10"}],
			"logging":[{"type":"json-file","config":[{"max-size":"1m"}]}],"auth":[{"username":"u","password":"p"}]}`,
	"blocks as objects": `{"image":"a","logging":{"type":"json-file","config":[{"max-size":"1m"}]},
			"mount":{"type":"tmpfs","target":"/x","tmpfs_options":{"size":1000}}}`,
	"mounts": `{"image":"a","mounts":[{"type":"bind","source":"local","target":"/x","bind_options":[{"propagation":"rslave"}]}],
			"devices":[{"host_path":"/dev/null"}],"storage_opt":{"size":"1G"}}`,
}

/* An agent's configuration file in JSON: each block is a list of one. */
var pluginJSON = map[string]string{
	"blocks as lists": `{"gc":[{"image":false,"dangling_containers":[{"enabled":false,"period":"1m"}]}],"volumes":[{"enabled":true}],
		"logging":[{"type":"json-file","config":[{"max-size":"1m"}]}],"auth":[{"config":"/a"}],"tls":[{"ca":"/c"}],"allow_caps":["ALL"]}`,
	"blocks as objects": `{"gc":{"image":false,"dangling_containers":{"enabled":false}},"volumes":{"enabled":true},"pids_limit":5,
		"logging":{"type":"json-file","config":{"max-size":"1m"}},"extra_labels":["job_*"],"allow_privileged":true}`,
	"nothing": `{}`,
}

func TestTaskSchemaAcceptsJobJSON(t *testing.T) {
	p := launchWith(t, launchOptions{config: "-"})
	spec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")
	for name, text := range taskJSON {
		t.Run(name, func(t *testing.T) { evaluate(t, spec, fromJSON(t, text)) })
	}
}

func fromJSON(t *testing.T, text string) (v any) {
	t.Helper()
	ok(t, json.Unmarshal([]byte(text), &v), "JSON")
	return v
}

func TestTaskSchemaNamesTheWrongField(t *testing.T) {
	p := launchWith(t, launchOptions{config: "-"})
	spec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")
	for text, word := range map[string]string{
		`args = ["x"]`:                                   "image", /* required and absent */
		`image = "a"` + "\nimagee = \"b\"":               "imagee",
		`image = "a"` + "\nargs = true":                  "args",
		`image = "a"` + "\nshm_size = \"much\"":          "number",
		`image = "a"` + "\nprivileged = \"yes, please\"": "bool",
		`image = "a"` + "\nmount { typ = \"bind\" }":     "typ",
		`image = "a"` + "\nauth { user = \"x\" }":        "user",
	} {
		_, err := encode(spec, hclToInterface(t, "config {\n"+text+"\n}"))
		wantError(t, err, strings.ReplaceAll(text, "\n", "; "), word)
	}
}

var pluginBlocks = map[string]string{
	"empty": ``,
	"of the documentation": `
			endpoint = "unix:///var/run/docker.sock"
			auth { config = "/etc/docker-auth.json" helper = "ecr-login" }
			tls { cert = "/a.pem" key = "/b.pem" ca = "/c.pem" }
			extra_labels = ["job_name", "job_id", "task_group_name", "task_name", "namespace", "node_name", "node_id"]
			gc { image = true image_delay = "3m" container = true
				dangling_containers { enabled = true dry_run = false period = "3m" creation_grace = "5m" } }
			volumes { enabled = true selinuxlabel = "z" }
			allow_privileged = false
			allow_caps = ["chown", "net_raw"]
			allow_runtimes = ["runc", "nvidia", "crun"]
			nvidia_runtime = "nvidia"
			pids_limit = 100
			pull_activity_timeout = "5m"
			infra_image = "x/pause:1"
			infra_image_pull_timeout = "1m"
			logging { type = "json-file" config { max-file = 3 max-size = "10m" } }
			disable_log_collection = true`,
	"empty blocks": "auth {}\ntls {}\nlogging {}\ngc {}\nvolumes {}",
	"inner blocks": "gc { dangling_containers {} }\nlogging { config {} }",
	"parts of blocks": `
			gc { image = false dangling_containers { dry_run = true } }
			volumes { selinuxlabel = "Z" }
			logging { type = "journald" }`,
	"empty lists": "allow_caps = []\nallow_runtimes = []\nextra_labels = []",
	"as text": `
			allow_privileged = "true"
			pids_limit = "5"
			logging { config { max-file = 3 } }`,
}

func TestPluginSchemaAcceptsWhatPeopleWrite(t *testing.T) {
	p := launchWith(t, launchOptions{config: "-"})
	spec, err := p.ConfigSchema()
	ok(t, err, "ConfigSchema")
	accept(t, spec, pluginBlocks)
	if !run.isRef {
		accept(t, spec, map[string]string{
			"paddock's own": `
				cpuset { enabled = true interval = "500ms" systemd = false mems = "follow" }
				image_pull_timeout = "5m"
				container_exists_attempts = 3
				oom_score_adj = 10
				windows_allow_insecure_container_admin = true
				allowed_modes { pid = ["host"] ipc = ["shareable"] userns = [] uts = ["host"] }`,
		})
	}
}

func accept(t *testing.T, spec *hclspec.Spec, cases map[string]string) {
	t.Helper()
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := encode(spec, hclToInterface(t, "config {\n"+text+"\n}")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

/*
 * What the host makes of each block by the schema of v1.6.3 and by ours. Each value that the former
 * has is the same in ours. Where the host fills in a block's default by v1.6.3's schema, our
 * decoder fills it in: the value is null then.
 */
func TestSchemasAgreeWithTheReference(t *testing.T) {
	reference := needReference(t)
	ours, theirs := launchWith(t, launchOptions{config: "-"}), launchWith(t, launchOptions{config: "-", binary: reference})
	for _, c := range []struct {
		kind   string
		of     func(*plug) (*hclspec.Spec, error)
		blocks map[string]string
		json   map[string]string
		differ map[string]string /* our value where v1.6.3 has another one */
	}{
		{"task", func(p *plug) (*hclspec.Spec, error) { return p.TaskConfigSchema() }, taskBlocks, taskJSON,
			map[string]string{"image_pull_timeout": "null" /* since 1.10.0 the plugin's default */}},
		{"plugin", func(p *plug) (*hclspec.Spec, error) { return p.ConfigSchema() }, pluginBlocks, pluginJSON, map[string]string{
			"infra_image": `"registry.k8s.io/pause-` + runtime.GOARCH + `:3.3"`, /* since 1.8.4 */
			"gc":          "null", "gc.dangling_containers": "null", "volumes": "null",
			"volumes.enabled": "false", "allow_privileged": "false", "disable_log_collection": "false",
			"gc.dangling_containers.dry_run": "false",
		}},
	} {
		ourSpec, err := c.of(ours)
		ok(t, err, "our schema")
		theirSpec, err := c.of(theirs)
		ok(t, err, "the reference's schema")
		for name, text := range c.blocks {
			t.Run(c.kind+" "+name, func(t *testing.T) {
				block := hclToInterface(t, "config {\n"+text+"\n}")
				compareValues(t, "", evaluate(t, theirSpec, block), evaluate(t, ourSpec, block), c.differ)
			})
		}
		for name, text := range c.json {
			t.Run(c.kind+" JSON "+name, func(t *testing.T) {
				block := fromJSON(t, text)
				compareValues(t, "", evaluate(t, theirSpec, block), evaluate(t, ourSpec, block), c.differ)
			})
		}
	}
}

func evaluate(t *testing.T, spec *hclspec.Spec, config any) any {
	t.Helper()
	data, err := encode(spec, config)
	ok(t, err, "evaluating")
	kind, err := msgpack.ImpliedType(data)
	ok(t, err, "type of the value")
	value, err := msgpack.Unmarshal(data, kind)
	ok(t, err, "value")
	text, err := ctyjson.Marshal(value, kind)
	ok(t, err, "value as JSON")
	var out any
	ok(t, json.Unmarshal(text, &out), "value as JSON")
	return out
}

func compareValues(t *testing.T, path string, theirs, ours any, differ map[string]string) {
	t.Helper()
	if differ[path] != "" && asJSON(ours) == differ[path] {
		return
	}
	if want, is := theirs.(map[string]any); is {
		have, is := ours.(map[string]any)
		if !is {
			t.Errorf("%s: %s, the reference %s", path, asJSON(ours), asJSON(theirs))
		}
		for key, value := range want {
			if _, there := have[key]; is && !there {
				t.Errorf("%s.%s is missing", path, key)
			} else if is {
				compareValues(t, strings.TrimPrefix(path+"."+key, "."), value, have[key], differ)
			}
		}
		return
	}
	if asJSON(theirs) != asJSON(ours) {
		t.Errorf("%s: %s, the reference %s", path, asJSON(ours), asJSON(theirs))
	}
}

func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
