/*
 * What a driver reports about itself: the fingerprint with its attributes, and the capabilities.
 */
package harness

import (
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

func TestFingerprintIsHealthyImmediately(t *testing.T) {
	p := launchWith(t, launchOptions{config: baseConfig(`
		allow_privileged = true
		pids_limit = 77
		volumes { enabled = true }`)})
	f := firstFingerprintWithin(t, p, 5*time.Second) /* the agent waits for it */
	ok(t, f.Err, "fingerprint")
	if f.Health != drivers.HealthStateHealthy || f.HealthDescription != drivers.DriverHealthy {
		t.Fatalf("health %q %q", f.Health, f.HealthDescription)
	}
	var info doc
	_, err := run.docker.Call("GET", "/version", nil, &info)
	ok(t, err, "docker version")
	want := map[string]string{
		"driver.docker": "true", "driver.docker.version": info.str("Version"),
		"driver.docker.privileged.enabled": "true", "driver.docker.volumes.enabled": "true",
		"driver.docker.pids.limit": "77", "driver.docker.os_type": "linux",
	}
	for key, value := range want {
		a := f.Attributes[key]
		if a == nil || a.GoString() != value {
			t.Errorf("attribute %s: %v, want %s; all: %s", key, a, value, attributeNames(f))
		}
	}
	if rt := f.Attributes["driver.docker.runtimes"]; rt == nil || !strings.Contains(rt.GoString(), "runc") {
		t.Errorf("driver.docker.runtimes: %v, want runc in it", rt)
	}
}

func attributeNames(f *drivers.Fingerprint) string {
	var names []string
	for k := range f.Attributes {
		names = append(names, k)
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func TestFingerprintGivesTheReason(t *testing.T) {
	p := launchWith(t, launchOptions{config: `config { endpoint = "unix:///tmp/paddock-no-such-socket" }`})
	f := firstFingerprint(t, p)
	if f.Health != drivers.HealthStateUndetected || !strings.Contains(f.HealthDescription, "docker") && !strings.Contains(f.HealthDescription, "Docker") {
		t.Fatalf("health %q %q: want undetected, with the reason", f.Health, f.HealthDescription)
	}
}

func TestCapabilities(t *testing.T) {
	p := launch(t)
	c, err := p.Capabilities()
	ok(t, err, "Capabilities")
	if !c.SendSignals || !c.Exec || !c.MustInitiateNetwork || c.FSIsolation != drivers.FSIsolationImage ||
		c.MountConfigs != drivers.MountConfigSupportAll || c.DisableLogCollection {
		t.Errorf("capabilities %+v", c)
	}
	modes := map[drivers.NetIsolationMode]bool{}
	for _, m := range c.NetIsolationModes {
		modes[m] = true
	}
	for _, m := range []drivers.NetIsolationMode{drivers.NetIsolationModeHost, drivers.NetIsolationModeGroup, drivers.NetIsolationModeTask} {
		if !modes[m] {
			t.Errorf("network isolation mode %q is missing from %v", m, c.NetIsolationModes)
		}
	}
}

func TestCapabilitiesSayThatLogCollectionIsOff(t *testing.T) {
	paddockOnly(t, "Go's server shim drops the field")
	p := launchWith(t, launchOptions{config: baseConfig(`disable_log_collection = true`)})
	c, err := p.Capabilities()
	ok(t, err, "Capabilities")
	if !c.DisableLogCollection {
		t.Error("disable_log_collection = true must reach the host's logmon hook")
	}
}
