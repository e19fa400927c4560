/*
 * What the attacker tries. In all texts, {C} is the canary, a folder of the host. {S} is another
 * job's allocation, and {s} is the same as a path from our allocation.
 */
package harness

import (
	"archive/tar"
	"bytes"
	"fmt"
	"sort"
	"strings"

	"github.com/hashicorp/nomad/plugins/drivers"
)

type attack struct {
	name   string
	put    []thing /* put in place before the sibling starts */
	race   []thing /* exchanged with the real thing all the time */
	block  string  /* of the sibling's task */
	env    map[string]string
	mod    func(*drivers.TaskConfig)
	image  string
	fails  bool /* the start must be refused */
	starts bool /* the start must not be refused */
	reads  bool /* the plugin may read the file, but not show it: a seccomp profile by its absolute path */
	group  bool /* the sibling is in the group's network */
	again  bool /* plugin and log pump are killed and recover during the race */
	heir   bool /* a task without mounts of its own races, after the attacker has ended */
	joint  bool /* the attacker's task starts beside its sibling, in an allocation of their own */
}

/* By family: a short run tries some of each. */
func attacks() [][]attack {
	return [][]attack{plainTasks(), folderAttacks(), colonAttacks(), volumeAttacks(), fileAttacks(), logAttacks(), rightsAttacks(), textAttacks(), imageAttacks()}
}

/* What must work while an attacker is present. */
func plainTasks() []attack {
	return []attack{
		{name: "nothing", starts: true},
		{name: "nothing, in the group's network", starts: true, group: true},
		{name: "nothing, with dns", starts: true, mod: withDNS},
		{name: "own volumes", starts: true, block: `volumes = ["local/d:/v", "../alloc/data:/w"]`},
		{name: "own mounts", starts: true, block: `mount { type = "bind"  source = "local/d"  target = "/v"  bind_options { propagation = "rshared" } }`},
	}
}

func link(path, target string) thing { return thing{path, "link", target} }

func withDNS(c *drivers.TaskConfig) {
	c.DNS = &drivers.DNSConfig{Servers: []string{"192.0.2.9"}}
}

/* ---- Nomad's own folders, hosts, resolv.conf ---- */

func folderAttacks() (rows []attack) {
	for _, f := range []string{"web/local", "web/secrets", "alloc", "alloc/logs", "web"} {
		up := strings.Repeat("../", strings.Count(f, "/"))
		for _, target := range []string{"{C}/" + f, up + "{s}/" + f} {
			rows = append(rows,
				attack{name: f + " leads to " + target, put: []thing{link(f, target)}, fails: true},
				attack{name: f + " leads to " + target + " now and then", race: []thing{link(f, target)}},
				attack{name: f + " leads to " + target + " from the attacker's start on", race: []thing{link(f, target)}, joint: true})
		}
	}
	rows = append(rows, attack{name: "alloc/logs leads to {C}/alloc/logs now and then, by an heir", race: []thing{link("logs", "{C}/alloc/logs")}, heir: true})
	for _, kind := range []string{"file", "fifo", "socket", "zero"} {
		rows = append(rows,
			attack{name: "local is a " + kind, put: []thing{{"web/local", kind, ""}}, fails: true},
			attack{name: "secrets is a " + kind + " now and then", race: []thing{{"web/secrets", kind, ""}}})
	}
	rows = append(rows,
		attack{name: "local leads nowhere", put: []thing{link("web/local", "nowhere")}, fails: true},
		attack{name: "local leads to itself", put: []thing{link("web/local", "local")}, fails: true},
		attack{name: "local leads to /proc/self/root", put: []thing{link("web/local", "/proc/self/root{C}")}, fails: true},
		attack{name: "local leads to /proc/1/root", put: []thing{link("web/local", "/proc/1/root{C}")}, fails: true},
		attack{name: "local leads through two links", put: []thing{link("web/q", ".."), link("alloc/p", "{C}"), link("web/local", "q/alloc/p")}, fails: true})
	for _, t := range []thing{link("hosts", "{C}/hosts"), link("hosts", "{s}/hosts"), {"hosts", "zero", ""}, {"hosts", "fifo", ""}} {
		rows = append(rows,
			attack{name: "hosts is a " + t.Kind + " " + t.Text, put: []thing{t}, group: true, fails: true},
			attack{name: "hosts is a " + t.Kind + " " + t.Text + " now and then", race: []thing{t}, group: true})
	}
	for _, t := range []thing{link("web/resolv.conf", "{C}/resolv.conf"), {"web/resolv.conf", "zero", ""}} {
		rows = append(rows,
			attack{name: "resolv.conf is a " + t.Kind, put: []thing{t}, mod: withDNS},
			attack{name: "resolv.conf is a " + t.Kind + " now and then", race: []thing{t}, mod: withDNS})
	}
	return append(rows,
		attack{name: "the folder of hosts and resolv.conf", race: []thing{link("web", "{C}/web")}, mod: withDNS, group: true})
}

/* ---- texts that Docker would split ---- */

func colonAttacks() (rows []attack) {
	for _, f := range []struct{ folder, env string }{{"local", "NOMAD_TASK_DIR"}, {"secrets", "NOMAD_SECRETS_DIR"}} {
		rows = append(rows, attack{name: "a colon in the target of " + f.folder, fails: true,
			put: []thing{link("web/q", "{C}"), link("web/"+f.folder, "q:/tgt")}, env: map[string]string{f.env: "rw"}})
	}
	rows = append(rows,
		attack{name: "a colon in the target of alloc", fails: true,
			put: []thing{link("q", "{C}"), link("alloc", "q:/tgt")}, env: map[string]string{"NOMAD_ALLOC_DIR": "rw"}},
		attack{name: "a colon in the target of alloc/logs", fails: true,
			put: []thing{link("alloc/q", "{C}"), link("alloc/logs", "q:/tgt")}},
		attack{name: "a colon in a volume's link", put: []thing{link("web/local/p", "{C}"), link("web/local/x", "p:/host")}, block: `volumes = ["local/x:rw"]`},
		attack{name: "a colon in a mount's link", put: []thing{link("web/local/p", "{C}"), link("web/local/x", "p:/host")}, block: `mount { type = "bind"  source = "local/x"  target = "/v" }`},
		attack{name: "a folder with a colon", put: []thing{link("web/local/p", "{C}"), {"web/local/p:", "dir", ""}}, block: `mount { type = "bind"  source = "local/p:"  target = "/v" }`},
	)
	for _, text := range []string{"rw", "ro", "/v:ro", "/v:/w", "/v:rshared", ":/v", ":", "v", "../..", "/../..", "/", "/proc", "/dev", "/etc", "/v\n", "/v,rw", " ", "{C}"} {
		rows = append(rows, attack{name: fmt.Sprintf("NOMAD_TASK_DIR=%q", text), env: map[string]string{"NOMAD_TASK_DIR": text}})
	}
	for _, text := range []string{"rw", "/v:ro", "/", "/etc"} {
		rows = append(rows,
			attack{name: fmt.Sprintf("NOMAD_SECRETS_DIR=%q", text), env: map[string]string{"NOMAD_SECRETS_DIR": text}},
			attack{name: fmt.Sprintf("NOMAD_ALLOC_DIR=%q", text), env: map[string]string{"NOMAD_ALLOC_DIR": text}})
	}
	return rows
}

/* ---- volumes and mounts ---- */

func volumeAttacks() (rows []attack) {
	for _, source := range []string{"{C}", "/", "/proc/self/root{C}", "../{s}", "../../../../../../..{C}", "local/../../../../../../../..{C}",
		"{A}/../../../../../../..{C}", "{S}/alloc", "{C}/secret", "{A}x", ".././../.."} {
		rows = append(rows,
			attack{name: "volume " + source, block: `volumes = ["` + source + `:/v"]`, fails: true},
			attack{name: "volume " + source + " read-only", block: `volumes = ["` + source + `:/v:ro"]`, fails: true},
			attack{name: "mount " + source, block: `mount { type = "bind"  source = "` + source + `"  target = "/v" }`, fails: true},
			attack{name: "mount " + source + " shared", block: `mount { type = "bind"  source = "` + source + `"  target = "/v"  bind_options { propagation = "rshared" } }`, fails: true})
	}
	for _, text := range []string{"", ":", "::", ":/v", "/v", "local:", "local/d:/v:rw:rw", "local/d:/v:{C}", "local/d:/v:rshared,rw,z", "local/d:..", "local/d:", "name:/v:nocopy",
		"local/d:/v:ro,/:/w", "local/d:/etc/../../v", "\\u0000:/v", "local/\\u0000:/v"} {
		rows = append(rows, attack{name: fmt.Sprintf("volume %q", text), block: `volumes = ["` + text + `"]`})
	}
	for _, text := range []string{"", "..", "/", "/v:ro", "v", "/../v", "/proc", "{C}"} {
		rows = append(rows, attack{name: fmt.Sprintf("mount at %q", text), block: `mount { type = "bind"  source = "local/d"  target = "` + text + `" }`})
	}
	for _, text := range []string{"shared", "rslave", "private:/w", "rw,rshared", ":"} {
		rows = append(rows, attack{name: fmt.Sprintf("propagation %q", text), block: `mount { type = "bind"  source = "local/d"  target = "/v"  bind_options { propagation = "` + text + `" } }`})
	}
	rows = append(rows,
		attack{name: "a volume driver", block: `volume_driver = "local"  
volumes = ["x:/v"]`, fails: true},
		attack{name: "a volume of the host's folder", block: `mount { type = "volume"  source = "attack"  target = "/v"  volume_options { driver_config { name = "local"  options { type = "none"  o = "bind"  device = "{C}" } } } }`, fails: true},
		attack{name: "a tmpfs of the host's folder", block: `mount { type = "tmpfs"  source = "{C}"  target = "/v" }`, fails: true},
		attack{name: "a mount of no known type", block: `mount { type = "npipe"  source = "{C}"  target = "/v" }`, fails: true})
	for what, block := range map[string]string{
		"volume": `volumes = ["local/d:/v"]`,
		"mount":  `mount { type = "bind"  source = "local/d"  target = "/v" }`,
		"shared": `mount { type = "bind"  source = "local/d"  target = "/v"  bind_options { propagation = "rshared" } }`,
		"file":   `volumes = ["local/d/f:/etc/f"]`,
		"up":     `volumes = ["../alloc/../web/local/d:/v"]`,
	} {
		for _, target := range []string{"{C}/local/d", "../../{s}/local/d"} {
			put := attack{name: what + " whose folder leads to " + target, put: []thing{link("web/local/d", target)}, block: block, fails: true}
			rows = append(rows, put,
				attack{name: put.name + " now and then", race: put.put, block: block},
				attack{name: put.name + " from the attacker's start on", race: put.put, block: block, joint: true})
		}
		rows = append(rows, attack{name: what + " below a folder that leads out now and then", race: []thing{link("web/local", "{C}/web/local")}, block: block})
	}
	rows = append(rows, attack{name: "volume that is missing, below a link that appears and disappears", race: []thing{link("web/local/new", "{C}/local")}, block: `volumes = ["local/new/a/b:/v"]`})
	byName(rows)
	return rows
}

/* ---- files that the plugin reads for a job ---- */

func fileAttacks() (rows []attack) {
	users := []struct{ what, file, block, image string }{
		{"seccomp", "web/local/profile.json", `security_opt = ["seccomp=%s"]`, ""},
		{"seccomp:", "web/local/profile.json", `security_opt = ["seccomp:%s"]`, ""},
		{"load", "web/local/image.tar", `load = "%s"`, "127.0.0.1:1/nowhere:1"},
	}
	for _, u := range users {
		name := strings.TrimPrefix(u.file, "web/")
		if u.what == "load" { /* its path is below local */
			name = strings.TrimPrefix(name, "local/")
		}
		for _, path := range []string{"{C}/secret", "../../../../../../../..{C}/secret", "../{s}/secret", "/proc/self/root{C}/secret", "/proc/self/environ", "/dev/zero", ".", "", "local"} {
			rows = append(rows, attack{name: u.what + " " + path, block: fmt.Sprintf(u.block, path), image: u.image,
				fails: u.what != "load" || path != "", reads: u.what != "load" && (strings.HasPrefix(path, "{C}") || strings.HasPrefix(path, "/proc/self/root"))})
		}
		for _, t := range []thing{link(u.file, "{C}/secret"), link(u.file, "../../{s}/secret"), link(u.file, "/proc/self/environ"), link(u.file, "/dev/zero"),
			{u.file, "zero", ""}, {u.file, "fifo", ""}, {u.file, "socket", ""}, {u.file, "dir", ""}} {
			what := fmt.Sprintf("%s of a %s %s", u.what, t.Kind, t.Text)
			rows = append(rows,
				attack{name: what, put: []thing{t}, block: fmt.Sprintf(u.block, name), image: u.image, fails: true},
				attack{name: what + " now and then", race: []thing{t}, block: fmt.Sprintf(u.block, name), image: u.image, fails: u.what == "load"})
		}
		rows = append(rows, attack{name: u.what + " below a folder that leads out now and then", race: []thing{link("web/local", "{C}/local")},
			block: fmt.Sprintf(u.block, name), image: u.image, fails: u.what == "load"})
	}
	for what, text := range map[string]string{
		"links to files":  archive("link", "{C}/secret"),
		"hard links":      archive("hard", "{C}/secret"),
		"links upwards":   archive("link", "../../../../../../../../../..{C}/secret"),
		"names upwards":   archive("up", "../../../../../../../../../..{C}/planted"),
		"device nodes":    archive("node", ""),
		"no image":        "x",
		"nothing":         "",
		"the host's path": `[{"Config":"{C}/secret","RepoTags":["127.0.0.1:1/nowhere:1"],"Layers":["{C}/secret"]}]`,
	} {
		rows = append(rows, attack{name: "an archive of " + what, put: []thing{{"web/local/image.tar", "file", text}}, block: `load = "image.tar"`, image: "127.0.0.1:1/nowhere:1", fails: true})
	}
	byName(rows)
	return rows
}

/* An image archive whose parts are links. The text stands for bytes: its names are replaced
 * before it is written. */
func archive(how, target string) string { return "archive " + how + " " + target }

/* Makes the archive that such a text names. */
func attackArchive(text string) string {
	var how, target string
	if n, _ := fmt.Sscanf(text, "archive %s %s", &how, &target); n < 1 {
		return text
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	part := func(name, content string) {
		h := tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(content))}
		switch how {
		case "link":
			h.Typeflag, h.Linkname = tar.TypeSymlink, target
		case "hard":
			h.Typeflag, h.Linkname = tar.TypeLink, target
		case "node":
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3 /* null: dockerd reads /dev/zero without end */
		case "up":
			h.Name = target
		}
		if h.Typeflag != tar.TypeReg {
			h.Size, content = 0, ""
		}
		_ = w.WriteHeader(&h)
		_, _ = w.Write([]byte(content))
	}
	whole := how
	part("config.json", "{}")
	part("layer.tar", "")
	how = ""
	part("manifest.json", `[{"Config":"config.json","RepoTags":["127.0.0.1:1/nowhere:1"],"Layers":["layer.tar"]}]`)
	how = whole
	part("repositories", "{}")
	_ = w.Close()
	return buf.String()
}

/* ---- logs ---- */

func logAttacks() (rows []attack) {
	const fifo = "alloc/logs/.web.stdout.fifo"
	things := []thing{
		link(fifo, "{S}/"+fifo), link(fifo, "../../{s}/"+fifo), link(fifo, "{C}/secret"), {fifo, "zero", ""}, {fifo, "file", ""}, {fifo, "socket", ""}, {fifo, "dir", ""},
		link("alloc/logs", "{S}/alloc/logs"), link("alloc/logs", "../{s}/alloc/logs"), link("alloc/logs", "{C}/alloc/logs"),
		link("alloc", "{S}/alloc"), link("alloc", "{s}/alloc"), link("alloc", "{C}/alloc"),
	}
	for _, t := range things {
		what := fmt.Sprintf("log: %s is a %s %s", t.Path, t.Kind, t.Text)
		rows = append(rows,
			attack{name: what, put: []thing{t}, fails: true},
			attack{name: what + " now and then", race: []thing{t}},
			attack{name: what + " now and then, and plugin and pump are restarted", race: []thing{t}, again: true})
	}
	return rows
}

/* ---- rights ---- */

func rightsAttacks() (rows []attack) {
	for _, block := range []string{
		`privileged = true`, `cap_add = ["SYS_ADMIN"]`, `cap_add = ["ALL"]`, `cap_add = ["CAP_SYS_ADMIN"]`, `cap_add = ["sys_admin"]`, `cap_add = ["net_bind_service", "SYS_PTRACE"]`,
		`pid_mode = "host"`, `ipc_mode = "host"`, `uts_mode = "host"`, `userns_mode = "host"`, `pid_mode = "HOST"`, `pid_mode = " host"`, `pid_mode = "container:other"`, `ipc_mode = "container:other"`,
		`runtime = "other"`, `runtime = "/bin/sh"`, `security_opt = ["nonsense"]`, `isolation = "hyperv"`,
	} {
		rows = append(rows, attack{name: block, block: block, fails: true})
	}
	return rows
}

/* ---- texts ---- */

func textAttacks() (rows []attack) {
	for _, block := range []string{
		`work_dir = "{C}"`, `work_dir = "/../../..{C}"`, `work_dir = "local:/v"`,
		`hostname = "{C}"`, `hostname = "a b\nc"`, `hostname = "` + strings.Repeat("h", 300) + `"`,
		`extra_hosts = ["a\n192.0.2.1 b:192.0.2.2"]`, `extra_hosts = ["{C}:192.0.2.2"]`, `extra_hosts = ["a:{C}"]`,
		`dns_search_domains = ["x\nnameserver 192.0.2.1"]`, `dns_servers = ["{C}"]`, `dns_options = ["{C}"]`,
		`labels { exitCode = "0" }`, `labels { "image" = "{C}" }`, `labels { "io.paddock.owner" = "other" }`, `labels { "com.hashicorp.nomad.alloc_id" = "other" }`, `labels { "a\u0000b" = "\u0000" }`,
		`labels { "name" = "other" }`, `labels { tpl = "{{ file \"{C}/secret\" }}" }`,
		`network_mode = "ns:/proc/1/ns/net"`, `network_mode = "container:"`, `network_mode = "{C}"`, `network_mode = "../../x"`, `network_aliases = ["{C}"]`,
		`command = "{C}/secret"`, `entrypoint = ["{C}/secret"]`, `args = ["\u0000"]`, `tty = true`, `interactive = true`, `readonly_rootfs = true`, `init = true`,
		`group_add = ["{C}"]`, `sysctl { "kernel.core_pattern" = "|{C}/secret" }`, `ulimit { "nofile" = "{C}" }`, `storage_opt { size = "{C}" }`, `shm_size = 1`, `cgroupns = "other"`,
		`logging { type = "none" }`, `logging { type = "json-file"  config { "max-size" = "{C}" } }`, `logging { type = "../../x" }`,
		`mac_address = "{C}"`, `ipv4_address = "{C}"`, `healthchecks { disable = true }`, `auth { username = "{C}"  password = "p" }`,
		`mount { type = "tmpfs"  target = "/v"  tmpfs_options { size = 1  mode = 511 } }`,
	} {
		row := attack{name: block, block: block, group: strings.HasPrefix(block, "extra_hosts")}
		rows = append(rows, row)
	}
	for _, user := range []string{"0", "root", "{C}", "0:0", "../x", "a:b:c"} {
		rows = append(rows, attack{name: "user " + user, mod: func(c *drivers.TaskConfig) { c.User = user }})
	}
	rows = append(rows,
		attack{name: "an environment of odd names", env: map[string]string{"": "x", "A=B": "c", "A\nB": "c", "PATH": "{C}", "LD_PRELOAD": "{C}/secret", "DOCKER_HOST": "unix://{C}/secret"}},
		attack{name: "a template", put: []thing{{"web/local/x.tpl", "file", `{{ with secret "{C}/secret" }}{{ file "{C}/secret" }}{{ end }}`}}, starts: true})
	return rows
}

/* Sorted, because a map has no order and a seed needs one. */
func byName(rows []attack) {
	sort.Slice(rows, func(i, k int) bool { return rows[i].name < rows[k].name })
}
