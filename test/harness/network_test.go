/*
 * Networks that Docker makes: the effect of a task's network_mode, aliases and addresses, and the
 * address that Nomad gets for the task.
 */
package harness

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
)

/* A network for this test only. The subnets are those that are reserved for documentation. */
func makeNetwork(t *testing.T) string {
	return makeNetworkOf(t, false, map[string]string{"Subnet": "198.51.100.0/24", "Gateway": "198.51.100.1"})
}

func makeNetworkOf(t *testing.T, ipv6 bool, subnets ...map[string]string) string {
	t.Helper()
	name := "ph" + uuid.Generate()[:6]
	_, err := run.docker.Call("POST", "/networks/create", map[string]any{
		"Name": name, "Driver": "bridge", "EnableIPv6": ipv6,
		"IPAM":    map[string]any{"Config": subnets},
		"Options": map[string]string{"com.docker.network.bridge.name": name},
	}, nil)
	ok(t, err, "docker network create")
	t.Cleanup(func() { _, _ = run.docker.Call("DELETE", "/networks/"+name, nil, nil) })
	return name
}

func TestUserDefinedNetwork(t *testing.T) {
	p := launch(t)
	net := makeNetwork(t)
	k := newTask(t, p, "net", sleeper+fmt.Sprintf(`
		network_mode = %q
		network_aliases = ["front", "back"]
		ipv4_address = "198.51.100.77"
		mac_address = "02:42:c6:33:64:4d"`, net)).start(p)
	d := k.inspect()
	at := "NetworkSettings.Networks." + net
	if d.str("HostConfig.NetworkMode") != net || d.str(at+".IPAddress") != "198.51.100.77" || d.str(at+".MacAddress") != "02:42:c6:33:64:4d" {
		t.Errorf("mode %q, address %q, MAC %q", d.str("HostConfig.NetworkMode"), d.str(at+".IPAddress"), d.str(at+".MacAddress"))
	}
	aliases := fmt.Sprint(d.at(at + ".Aliases"))
	if !strings.Contains(aliases, "front") || !strings.Contains(aliases, "back") {
		t.Errorf("aliases %s", aliases)
	}
	if k.net == nil || k.net.IP != "198.51.100.77" || !k.net.AutoAdvertise {
		t.Errorf("network override %+v: want the container's address, advertised", k.net)
	}
	s, err := p.InspectTask(k.id())
	ok(t, err, "InspectTask")
	if s.NetworkOverride == nil || s.NetworkOverride.IP != "198.51.100.77" {
		t.Errorf("InspectTask's network %+v", s.NetworkOverride)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* Docker's own bridge, which the dockerd of all other tests does not have. Docker has two names
 * for it. */
func TestDefaultBridge(t *testing.T) {
	d, docker := startBridged(t)
	p := launchWith(t, launchOptions{config: configAt(d.Endpoint(), "")})
	if ip := firstFingerprint(t, p).Attributes["driver.docker.bridge_ip"]; ip == nil || *ip.String != "198.51.100.1" {
		t.Errorf("driver.docker.bridge_ip %v", ip)
	}
	for i, mode := range []string{"", `network_mode = "bridge"`} {
		mac := fmt.Sprintf("02:42:c6:33:64:0%d", i)
		k := newTask(t, p, "bridged", shell(`cat /sys/class/net/eth0/address; sleep 1000`)+
			fmt.Sprintf("\n%s\nmac_address = %q\nports = [\"web\"]", mode, mac), withPort).start(p)
		k.stdout.waitFor(t, 20*time.Second, mac+"\n")
		c := docker.inspect(t, k.container())
		if got := c.str("NetworkSettings.Networks.bridge.MacAddress"); got != mac {
			t.Errorf("MAC of the endpoint %q, want %q", got, mac)
		}
		ip := c.str("NetworkSettings.Networks.bridge.IPAddress")
		if k.net == nil || ip == "" || k.net.IP != ip || k.net.AutoAdvertise {
			t.Errorf("network override %+v: want %q, not advertised, because no other host reaches it", k.net, ip)
		}
		if b := fmt.Sprint(c.at("NetworkSettings.Ports.8080/tcp")); b != "[map[HostIp:127.0.0.1 HostPort:23456]]" {
			t.Errorf("published %s", b)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
}

/*
 * A host whose /etc/resolv.conf names only systemd-resolved, which no container can reach. The
 * values that a task's dns block lacks are those of resolved's own servers. To make the plugin see
 * such a host, its /run and that one file are replaced.
 */
func TestDNSOfAHostWithResolved(t *testing.T) {
	dir := t.TempDir()
	const upstream = "nameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch corp.example\n"
	for name, text := range map[string]string{
		"stub": "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch stub.example\n", "upstream": upstream,
	} {
		ok(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644), name)
	}
	p := launchWith(t, launchOptions{name: "resolved", before: []string{"unshare", "--mount", "/bin/sh", "-ec", `
		mkdir -p /run/paddock "$0/paddock"
		mount --bind /run/paddock "$0/paddock"
		mount -t tmpfs none /run
		mkdir -p /run/paddock /run/systemd/resolve
		mount --bind "$0/paddock" /run/paddock
		cp "$0/upstream" /run/systemd/resolve/resolv.conf
		file=$(readlink -f /etc/resolv.conf)
		mkdir -p "$(dirname "$file")"
		[ -e "$file" ] || : >"$file"
		mount --bind "$0/stub" "$file"
		exec "$1"`, dir}})
	for what, c := range map[string]struct {
		dns  drivers.DNSConfig
		want string
	}{
		"nothing":   {drivers.DNSConfig{}, upstream},
		"a search":  {drivers.DNSConfig{Searches: []string{"s.example"}}, "search s.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n"},
		"a server":  {drivers.DNSConfig{Servers: []string{"192.0.2.9"}}, "search corp.example\nnameserver 192.0.2.9\n"},
		"an option": {drivers.DNSConfig{Options: []string{"ndots:3"}}, "search corp.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions ndots:3\n"},
	} {
		k := newTask(t, p, "dns", shell(`cat /etc/resolv.conf; echo done; sleep 1000`), func(cfg *drivers.TaskConfig) { cfg.DNS = &c.dns }).start(p)
		k.stdout.waitFor(t, 20*time.Second, "done\n")
		if got := strings.TrimSuffix(k.stdout.text(), "done\n"); got != c.want {
			t.Errorf("with %s the container's /etc/resolv.conf is %q, want %q", what, got, c.want)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
}

/* A network with both families: addresses, a published port, and what Nomad gets. The container
 * is reached by IPv6. */
func TestIPv6(t *testing.T) {
	p := launch(t)
	net6 := makeNetworkOf(t, true, map[string]string{"Subnet": "198.51.100.0/24"}, map[string]string{"Subnet": "2001:db8:77::/64"})
	const address = "2001:db8:77::77"
	k := newTask(t, p, "six", shell(`ip addr show; echo 'it is six' >/tmp/f; exec httpd -f -p 8080 -h /tmp`)+fmt.Sprintf(`
		network_mode = %q
		ipv6_address = %q
		advertise_ipv6_address = true
		extra_hosts = ["more:2001:db8::56"]
		ports = ["web"]`, net6, address), func(c *drivers.TaskConfig) {
		c.Resources.Ports = &structs.AllocatedPorts{{Label: "web", Value: 23466, To: 8080, HostIP: "::1"}}
	}).start(p)
	d := k.inspect()
	at := "NetworkSettings.Networks." + net6
	if d.str(at+".GlobalIPv6Address") != address || d.str(at+".IPAMConfig.IPv6Address") != address || d.str(at+".IPAddress") == "" {
		t.Errorf("the container's network: %v", d.at(at))
	}
	if b := fmt.Sprint(d.at("HostConfig.PortBindings.8080/tcp")); b != "[map[HostIp:::1 HostPort:23466]]" {
		t.Errorf("port binding %s", b)
	}
	if k.net == nil || k.net.IP != address || !k.net.AutoAdvertise {
		t.Errorf("network override %+v: want the IPv6 address, advertised", k.net)
	}
	for _, where := range []string{"[" + address + "]:8080", "[::1]:23466"} {
		var body string
		/* A connection that begins before the bridge's address is ready has ::1 as its source and gets
		 * no answer. */
		client := http.Client{Timeout: 2 * time.Second}
		eventually(t, 20*time.Second, "an answer from "+where, func() (bool, string) {
			r, err := client.Get("http://" + where + "/f")
			if err != nil {
				return false, err.Error()
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			body = string(b)
			return err == nil, fmt.Sprint(err)
		})
		if body != "it is six\n" {
			t.Errorf("%s answers %q", where, body)
		}
	}
	r, err := p.ExecTask(k.id(), []string{"/bin/cat", "/etc/hosts"}, 10*time.Second)
	ok(t, err, "ExecTask")
	if !strings.Contains(string(r.Stdout), "2001:db8::56\tmore") {
		t.Errorf("/etc/hosts %q", r.Stdout)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* network_mode = "container:...": the namespace of the other container, which also has the
 * ports. */
func TestNetworkOfAnotherContainer(t *testing.T) {
	p := launch(t)
	first := newTask(t, p, "first", sleeper).start(p)
	second := newTask(t, p, "second", shell(`readlink /proc/self/ns/net; sleep 1000`)+
		fmt.Sprintf("\nnetwork_mode = %q\nports = [\"web\"]", "container:"+first.container()), withPort).start(p)
	want, err := os.Readlink(fmt.Sprintf("/proc/%.0f/ns/net", first.inspect().num("State.Pid")))
	ok(t, err, "the first one's namespace")
	second.stdout.waitFor(t, 20*time.Second, want+"\n")
	d := second.inspect()
	if !strings.HasPrefix(d.str("HostConfig.NetworkMode"), "container:") || !same(d.at("HostConfig.PortBindings"), nil) {
		t.Errorf("mode %q, ports %v", d.str("HostConfig.NetworkMode"), d.at("HostConfig.PortBindings"))
	}
	if second.net != nil && (second.net.IP != "" || second.net.AutoAdvertise) {
		t.Errorf("network override %+v: the address is not this task's", second.net)
	}
	ok(t, second.destroy(p), "DestroyTask")
	ok(t, first.destroy(p), "DestroyTask")
}

func TestBadAddressesAreRefused(t *testing.T) {
	p := launch(t)
	net := makeNetwork(t)
	for name, c := range map[string][2]string{
		"a MAC that is none":       {`mac_address = "zz"`, "MAC"},
		"an address outside":       {`ipv4_address = "203.0.113.9"`, ""},
		"a network that is absent": {"", "no-such-network"},
	} {
		mode := net
		if c[0] == "" {
			mode = "no-such-network"
		}
		k := newTask(t, p, "bad", sleeper+fmt.Sprintf("\nnetwork_mode = %q\n%s", mode, c[0]))
		err := k.tryStart(p)
		wantError(t, err, name)
		if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(c[1])) {
			t.Errorf("%s: the error does not say %q: %v", name, c[1], err)
		}
		if run.docker.inspect(t, k.container()) != nil {
			t.Errorf("%s: the failed start left its container", name)
		}
	}
}

/* Networks of the task's own resources (before groups had networks): port_map and the environment. */
func TestTaskNetworksAndPortMap(t *testing.T) {
	p := launch(t)
	net := makeNetwork(t)
	k := newTask(t, p, "pm", sleeper+fmt.Sprintf("\nnetwork_mode = %q\nport_map { http = 8080 }", net), func(c *drivers.TaskConfig) {
		c.Resources.NomadResources.Networks = structs.Networks{{
			IP: "127.0.0.1", ReservedPorts: []structs.Port{{Label: "admin", Value: 23457}}, DynamicPorts: []structs.Port{{Label: "http", Value: 23458}},
		}}
	}).start(p)
	d := k.inspect()
	bindings := fmt.Sprint(d.at("HostConfig.PortBindings"))
	for _, w := range []string{"8080/tcp", "8080/udp", "23458", "23457/tcp"} {
		if !strings.Contains(bindings, w) {
			t.Errorf("port bindings %s: want %s", bindings, w)
		}
	}
	if env := fmt.Sprint(d.at("Config.Env")); !strings.Contains(env, "NOMAD_PORT_http=8080") {
		t.Errorf("env %s: want NOMAD_PORT_http=8080", env)
	}
	if k.net == nil || k.net.PortMap["http"] != 8080 {
		t.Errorf("network override %+v: want the port map", k.net)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* The plugin's calls for networks. */
func (p *plug) networks() drivers.DriverNetworkManager {
	return p.DriverPlugin.(drivers.DriverNetworkManager)
}

/* Creates the network of a new group, whose hosts file has the name "grouphost". */
func groupWithHosts(t *testing.T, p *plug) (alloc string, spec *drivers.NetworkIsolationSpec) {
	t.Helper()
	alloc = uuid.Generate()
	t.Cleanup(func() { _ = run.docker.Remove("nomad_init_" + alloc) })
	spec, _, err := p.networks().CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	spec.HostsConfig = &drivers.HostsConfig{Hostname: "grouphost", Address: "192.0.2.55"}
	return alloc, spec
}

/* A group's generated /etc/hosts is written once and shared by the tasks. It contains
 * extra_hosts. */
func TestGroupHostsFile(t *testing.T) {
	p := launch(t)
	alloc, spec := groupWithHosts(t, p)
	k := newTask(t, p, "gh", shell(`cat /etc/hosts; echo done; sleep 1000`)+"\nextra_hosts = [\"more:192.0.2.56\", \"six:2001:db8::56\"]",
		func(c *drivers.TaskConfig) { c.AllocID, c.NetworkIsolation = alloc, spec }).start(p)
	k.stdout.waitFor(t, 20*time.Second, "done\n")
	for _, w := range []string{"192.0.2.55 grouphost\n", "192.0.2.56 more\n", "2001:db8::56 six\n"} {
		if !strings.Contains(k.stdout.text(), w) {
			t.Errorf("/etc/hosts %q: want %s", k.stdout.text(), w)
		}
	}
	d := k.inspect()
	if hosts := mountAt(d, "/etc/hosts"); hosts == nil || hosts["RW"] != true || hosts["Source"] != filepath.Join(k.cfg.AllocDir, "hosts") {
		t.Errorf("/etc/hosts is %v, want the allocation's own, writable", hosts)
	}
	if extra := d.at("HostConfig.ExtraHosts"); !same(extra, nil) {
		t.Errorf("ExtraHosts %v: they are in the file", extra)
	}
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, p.networks().DestroyNetwork(alloc, spec), "DestroyNetwork")
}

/* The group's hostname, which v1.6.3's host does not send. Then Nomad destroys the network
 * without having seen the answer. */
func TestNetworkWithAHostname(t *testing.T) {
	paddockOnly(t, "its server does not decode the field")
	p := launch(t)
	alloc := uuid.Generate()
	t.Cleanup(func() { _ = run.docker.Remove("nomad_init_" + alloc) })
	ctx, cancel := timeout(callLimit)
	defer cancel()
	answer, err := p.raw(ctx, driverService+"CreateNetwork", append(pbBytes(1, alloc), pbBytes(2, "group-host")...))
	ok(t, err, "CreateNetwork")
	label := append(pbBytes(1, "docker_sandbox_hostname"), pbBytes(2, "group-host")...)
	if !bytes.Contains(answer, label) {
		t.Errorf("the client fills the hosts file from the label docker_sandbox_hostname: %q", answer)
	}
	if d := run.docker.inspect(t, "nomad_init_"+alloc); d == nil || d.str("Config.Hostname") != "group-host" || d.str("Config.Image") != imagePause {
		t.Errorf("the pause container: %v", d.at("Config"))
	}
	_, err = p.raw(ctx, driverService+"DestroyNetwork", pbBytes(1, alloc))
	ok(t, err, "DestroyNetwork without a spec")
	if run.docker.inspect(t, "nomad_init_"+alloc) != nil {
		t.Error("DestroyNetwork left the pause container")
	}
}

/* After a plugin restart the pause container is found again, although the image that is
 * configured now cannot be pulled. */
func TestNetworkSurvivesAPluginRestart(t *testing.T) {
	p := launch(t)
	alloc := uuid.Generate()
	t.Cleanup(func() { _ = run.docker.Remove("nomad_init_" + alloc) })
	spec, _, err := p.networks().CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	p.crash(t)
	p2 := launchWith(t, launchOptions{config: strings.Replace(baseConfig(""), imagePause, "127.0.0.1:1/no/such:1", 1)})
	if run.isRef { /* the reference asks for the image first */
		p2 = launch(t)
	}
	m := p2.networks()
	again, created, err := m.CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	if created || again.Path != spec.Path {
		t.Errorf("created %v, path %s, want the first one %s", created, again.Path, spec.Path)
	}
	ok(t, m.DestroyNetwork(alloc, spec), "DestroyNetwork")
	if run.docker.inspect(t, "nomad_init_"+alloc) != nil {
		t.Error("DestroyNetwork left the pause container")
	}
}

func TestNetworkIsMadeOnceAndRemovedTwice(t *testing.T) {
	p := launch(t)
	m, isManager := p.DriverPlugin.(drivers.DriverNetworkManager)
	if !isManager {
		t.Fatal("no network manager")
	}
	alloc := uuid.Generate()
	t.Cleanup(func() { _ = run.docker.Remove("nomad_init_" + alloc) })
	create := func() (spec *drivers.NetworkIsolationSpec, created bool) {
		ok(t, errWithin(t, callLimit, "CreateNetwork", func() (err error) {
			spec, created, err = m.CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
			return err
		}), "CreateNetwork")
		return
	}
	spec, created := create()
	d := run.docker.inspect(t, "nomad_init_"+alloc)
	if d == nil || !d.running() {
		t.Fatal("no running pause container nomad_init_<alloc>")
	}
	id := d.str("Id")
	if !created || spec.Mode != drivers.NetIsolationModeGroup || spec.Labels["docker_sandbox_container_id"] != id {
		t.Errorf("created %v, spec %+v: want mode group and the label docker_sandbox_container_id", created, spec)
	}
	if _, err := os.Stat(spec.Path); err != nil {
		t.Errorf("namespace path: %v", err)
	}
	if d.str("HostConfig.NetworkMode") != "none" || d.str("HostConfig.RestartPolicy.Name") != "unless-stopped" {
		t.Errorf("pause container: network %q, restart %q", d.str("HostConfig.NetworkMode"), d.str("HostConfig.RestartPolicy.Name"))
	}
	again, createdAgain := create()
	if createdAgain || again.Labels["docker_sandbox_container_id"] != id || again.Path != spec.Path {
		t.Errorf("second CreateNetwork: created %v, spec %+v, want the first one's", createdAgain, again)
	}

	/* a task of that group joins the namespace */
	k := newTask(t, p, "member", sleeper, func(c *drivers.TaskConfig) { c.AllocID, c.NetworkIsolation = alloc, spec })
	k.start(p)
	if mode := k.inspect().str("HostConfig.NetworkMode"); mode != "container:"+id {
		t.Errorf("network mode %q, want container:%s", mode, id)
	}
	ok(t, k.destroy(p), "DestroyTask")

	destroy := func() error {
		return errWithin(t, callLimit, "DestroyNetwork", func() error { return m.DestroyNetwork(alloc, spec) })
	}
	ok(t, destroy(), "DestroyNetwork")
	if run.docker.inspect(t, id) != nil {
		t.Error("DestroyNetwork left the pause container")
	}
	if !run.isRef { /* the reference fails with "No such container" */
		ok(t, destroy(), "second DestroyNetwork")
	}
}
