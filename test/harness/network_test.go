/*
 * Networks that Docker makes: what a task's network_mode, aliases and addresses
 * become, and what goes back to Nomad as the task's address.
 */
package harness

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
)

/* A network of this test's own; the subnet is one that documentation reserves. */
func makeNetwork(t *testing.T) string {
	t.Helper()
	name := "ph" + uuid.Generate()[:6]
	_, err := run.docker.Call("POST", "/networks/create", map[string]any{
		"Name": name, "Driver": "bridge",
		"IPAM":    map[string]any{"Config": []any{map[string]string{"Subnet": "198.51.100.0/24", "Gateway": "198.51.100.1"}}},
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

/* A group's generated /etc/hosts: written once, shared by the tasks, extra_hosts in it. */
func TestGroupHostsFile(t *testing.T) {
	p := launch(t)
	m := p.DriverPlugin.(drivers.DriverNetworkManager)
	alloc := uuid.Generate()
	t.Cleanup(func() { _ = run.docker.Remove("nomad_init_" + alloc) })
	spec, _, err := m.CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	spec.HostsConfig = &drivers.HostsConfig{Hostname: "grouphost", Address: "192.0.2.55"}
	k := newTask(t, p, "gh", shell(`cat /etc/hosts; echo done; sleep 1000`)+"\nextra_hosts = [\"more:192.0.2.56\"]",
		func(c *drivers.TaskConfig) { c.AllocID, c.NetworkIsolation = alloc, spec }).start(p)
	k.stdout.waitFor(t, 20*time.Second, "done\n")
	for _, w := range []string{"192.0.2.55", "grouphost", "192.0.2.56", "more"} {
		if !strings.Contains(k.stdout.text(), w) {
			t.Errorf("/etc/hosts %q: want %s", k.stdout.text(), w)
		}
	}
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, m.DestroyNetwork(alloc, spec), "DestroyNetwork")
}

/* After a plugin restart the pause container is known again, and not a dangling one. */
func TestNetworkSurvivesAPluginRestart(t *testing.T) {
	p := launch(t)
	alloc := uuid.Generate()
	t.Cleanup(func() { _ = run.docker.Remove("nomad_init_" + alloc) })
	spec, _, err := p.DriverPlugin.(drivers.DriverNetworkManager).CreateNetwork(alloc, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	p.crash(t)
	p2 := launch(t)
	m := p2.DriverPlugin.(drivers.DriverNetworkManager)
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
