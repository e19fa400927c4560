/* The examples in README.md, docs and plugin/examples are accepted by Nomad's own parsers and by
 * both schemas. */
package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/nomad/jobspec2"
	"github.com/hashicorp/nomad/nomad/structs/config"
)

func TestExamplesAreTaken(t *testing.T) {
	paddockOnly(t, "it does not know paddock's fields")
	p := launchWith(t, launchOptions{config: "-"})
	agentSpec, err := p.ConfigSchema()
	ok(t, err, "ConfigSchema")
	taskSpec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")

	plugins, tasks := 0, 0
	for name, text := range examples(t) {
		t.Run(name, func(t *testing.T) {
			if regexp.MustCompile(`(?m)^job "`).MatchString(text) {
				job, err := jobspec2.Parse(name, strings.NewReader(text))
				ok(t, err, "job file")
				for _, group := range job.TaskGroups {
					for _, task := range group.Tasks {
						_, err := encode(taskSpec, task.Config)
						ok(t, err, "task "+task.Name)
						tasks++
					}
				}
				return
			}
			var agent struct {
				Plugins []*config.PluginConfig `hcl:"plugin"`
			}
			ok(t, hcl.Decode(&agent, text), "agent configuration")
			for _, plugin := range agent.Plugins {
				_, err := encode(agentSpec, plugin.Config)
				ok(t, err, "plugin "+plugin.Name)
				plugins++
			}
		})
	}
	if plugins < 3 || tasks < 2 {
		t.Errorf("%d plugin blocks and %d tasks: README.md, docs and plugin/examples have more", plugins, tasks)
	}
}

/* The text of each example by its name. */
func examples(t *testing.T) map[string]string {
	_, self, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(self), "../..")
	texts := map[string]string{}
	for _, pattern := range []string{"plugin/examples/*.hcl", "plugin/examples/jobs/*.hcl"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		ok(t, err, pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			ok(t, err, "example")
			texts[filepath.Base(file)] = string(data)
		}
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	ok(t, err, "docs")
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		data, err := os.ReadFile(page)
		ok(t, err, "page")
		for i, block := range regexp.MustCompile("(?ms)^```hcl\n(.*?)^```").FindAllSubmatch(data, -1) {
			texts[fmt.Sprintf("%s %d", filepath.Base(page), i)] = string(block[1])
		}
	}
	return texts
}
