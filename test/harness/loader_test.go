/*
 * How the agent loads the plugin: Nomad's own plugin loader over a plugin_dir, as at every agent
 * start (three processes, two of them never configured). Also what people write into the plugin
 * block.
 */
package harness

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-version"
	"github.com/hashicorp/nomad/helper/pluginutils/loader"
	"github.com/hashicorp/nomad/nomad/structs/config"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
)

func load(t *testing.T, dir string, configs ...*config.PluginConfig) (*loader.PluginLoader, error) {
	t.Helper()
	var l *loader.PluginLoader
	err := errWithin(t, time.Minute, "the plugin loader", func() (err error) {
		l, err = loader.NewPluginLoader(&loader.PluginLoaderConfig{
			Logger:            hclog.New(&hclog.LoggerOptions{Output: io.Discard}),
			PluginDir:         dir,
			Configs:           configs,
			SupportedVersions: loader.AgentSupportedApiVersions,
		})
		return err
	})
	return l, err
}

func TestLoaderTakesTheFileNameAsDriverName(t *testing.T) {
	names := []string{"docker", "paddock"}
	if run.isRef {
		names = names[:1]
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Dir(binaryAs(t, run.subject, name))
			l, err := load(t, dir, &config.PluginConfig{Name: name, Config: map[string]any{"endpoint": run.dockerd.Endpoint()}})
			ok(t, err, "loading the plugin_dir")
			infos := l.Catalog()[base.PluginTypeDriver]
			if len(infos) != 1 || infos[0].Name != name {
				t.Fatalf("catalog %+v: want the one driver %q", infos, name)
			}
			v, err := version.NewVersion(infos[0].PluginVersion)
			ok(t, err, "plugin version")
			/* an equal or higher version than the internal docker driver's 0.1.0 takes its place */
			least := version.Must(version.NewVersion("0.2.0"))
			if run.isRef {
				least = version.Must(version.NewVersion("0.1.0"))
			}
			if v.LessThan(least) || v.Prerelease() != "" {
				t.Errorf("plugin version %s: want at least %s and no pre-release, or the built-in driver wins", v, least)
			}
			if len(infos[0].PluginApiVersions) != 1 || infos[0].PluginApiVersions[0] != drivers.ApiVersion010 {
				t.Errorf("API versions %v, want %s", infos[0].PluginApiVersions, drivers.ApiVersion010)
			}

			instance, err := l.Dispense(name, base.PluginTypeDriver,
				&base.AgentConfig{Driver: &base.ClientDriverConfig{ClientMinPort: 14000, ClientMaxPort: 14512}},
				hclog.NewNullLogger())
			ok(t, err, "dispense with the agent's configuration")
			defer instance.Kill()
			if instance.Internal() {
				t.Error("dispensed something internal")
			}
			if _, err := instance.Plugin().(drivers.DriverPlugin).TaskConfigSchema(); err != nil {
				t.Errorf("TaskConfigSchema: %v", err)
			}
		})
	}
}

/* A symbolic link in plugin_dir, as a package's alternatives system makes it. The link's own
 * name counts. */
func TestLoaderFollowsALink(t *testing.T) {
	dir, err := os.MkdirTemp("", "pd")
	ok(t, err, "temp dir")
	ok(t, os.Symlink(binaryAs(t, run.subject, "paddock"), filepath.Join(dir, "docker")), "link")
	l, err := load(t, dir)
	ok(t, err, "loading a link")
	if infos := l.Catalog()[base.PluginTypeDriver]; len(infos) != 1 || infos[0].Name != "docker" {
		t.Fatalf("catalog %+v: want the driver under the link's name, docker", infos)
	}
}

func TestLoaderWithoutPluginBlock(t *testing.T) {
	_, err := load(t, filepath.Dir(binaryAs(t, run.subject, "docker")))
	ok(t, err, "an absent plugin block is all defaults")
}

/* A configuration mistake must stop the agent with an error that names the key. */
func TestLoaderRefusesBadConfigByName(t *testing.T) {
	dir := filepath.Dir(binaryAs(t, run.subject, "docker"))
	cases := map[string]struct {
		config map[string]any
		words  []string
	}{
		"unknown key":   {map[string]any{"endpont": "unix:///x"}, []string{"endpont"}},
		"not a list":    {map[string]any{"allow_caps": map[string]any{"a": 1}}, []string{"allow_caps"}},
		"not a number":  {map[string]any{"pids_limit": "many"}, []string{"pids_limit"}},
		"not a bool":    {map[string]any{"allow_privileged": "perhaps"}, []string{"allow_privileged"}},
		"bad duration":  {map[string]any{"gc": map[string]any{"image_delay": "3 parsecs"}}, []string{"3 parsecs"}},
		"bad grace":     {map[string]any{"gc": map[string]any{"dangling_containers": map[string]any{"creation_grace": "1s"}}}, []string{"creation_grace"}},
		"pull activity": {map[string]any{"pull_activity_timeout": "1s"}, []string{"pull_activity_timeout"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			refuses(t, dir, c.config, c.words...)
		})
	}
}

/*
 * This host does not end a process whose SetConfig failed (as in Nomad up to 2.0.0). It is ended
 * here, so that the run leaves nothing.
 */
func refuses(t *testing.T, dir string, block map[string]any, words ...string) {
	t.Helper()
	had := map[int]bool{}
	for _, p := range processesBelow(dir) {
		had[p.pid] = true
	}
	_, err := load(t, dir, &config.PluginConfig{Name: "docker", Config: block})
	for _, p := range processesBelow(dir) {
		if !had[p.pid] {
			endProcess(t, p.pid)
		}
	}
	wantError(t, err, "a bad plugin block must be refused", words...)
}

func TestLoaderRefusesPaddocksOwnBadConfig(t *testing.T) {
	paddockOnly(t, "has no cpuset block")
	dir := filepath.Dir(binaryAs(t, run.subject, "docker"))
	for name, c := range map[string]struct {
		config map[string]any
		words  []string
	}{
		"duration": {map[string]any{"cpuset": map[string]any{"interval": "fortnight"}}, []string{"interval", "fortnight"}},
		"mems":     {map[string]any{"cpuset": map[string]any{"mems": "sometimes"}}, []string{"mems", "sometimes"}},
		"key":      {map[string]any{"cpuset": map[string]any{"intervall": "1s"}}, []string{"intervall"}},
		"endpoint": {map[string]any{"endpoint": "ssh//somewhere"}, []string{"endpoint", "ssh//somewhere"}},
		"modes":    {map[string]any{"allowed_modes": map[string]any{"pid": []string{"private"}}}, []string{"cannot apply allowed_modes configuration", "pid", "private"}},
		"pull":     {map[string]any{"image_pull_timeout": "0s"}, []string{"image_pull_timeout", "less than 1s"}},
		"attempts": {map[string]any{"container_exists_attempts": -1}, []string{"container_exists_attempts", "-1"}},
		"fraction": {map[string]any{"pids_limit": 1.5}, []string{"pids_limit", "1.5"}},
		"listen":   {map[string]any{"metrics": map[string]any{"listen": "0.0.0.0:9000"}}, []string{"metrics.listen", "loopback"}},
		"delay":    {map[string]any{"gc": map[string]any{"image_delay": "3 parsecs"}}, []string{"image_delay", "3 parsecs"}},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, dir, c.config, c.words...)
		})
	}
}

/* At agent start SetConfig comes twice without agent configuration. Nothing may happen outside
 * the process. */
func TestSetConfigWithoutAgentHasNoSideEffects(t *testing.T) {
	p := launchWith(t, launchOptions{config: "-"})
	id := strayContainer(t, "00000000-0000-4000-8000-00000000dead")
	data := p.configBytes(t, baseConfig(`gc { dangling_containers { period = "1s" creation_grace = "1m" } }`))
	before := childrenOf(p.pid)
	sockets := socketsBelow(os.TempDir())
	for i := 0; i < 2; i++ {
		ok(t, p.setConfigBytes(t, data, false), "SetConfig without agent configuration")
	}
	if after := childrenOf(p.pid); len(after) != len(before) {
		t.Errorf("children %v, were %v: SetConfig without agent configuration started something", after, before)
	}
	if after := socketsBelow(os.TempDir()); strings.Join(after, " ") != strings.Join(sockets, " ") {
		t.Errorf("sockets %v, were %v: SetConfig without agent configuration opened one", after, sockets)
	}
	if c := run.docker.inspect(t, id); c == nil || !c.running() {
		t.Error("SetConfig without agent configuration touched a container")
	}
	ok(t, p.setConfigBytes(t, data, true), "SetConfig with agent configuration")
	ok(t, p.setConfigBytes(t, data, true), "SetConfig once more")
}
