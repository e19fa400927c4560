/*
 * What the driver reports about its tasks (paddock status), and the processes of the driver.
 */
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type pinStatus struct {
	TaskID    string `json:"task_id"`
	State     string
	Why       string
	Actual    string
	Effective string
	Unit      string
}

/* What the driver reports about the task's cpuset. */
func (k *task) status(t *T) pinStatus {
	var all []struct {
		Pin struct{ Tasks []pinStatus }
	}
	out := t.sh(pluginPath, "status", "--json")
	t.ok(json.Unmarshal([]byte(out), &all), "paddock status --json")
	for _, one := range all {
		for _, s := range one.Pin.Tasks {
			if s.TaskID == k.cfg.ID {
				return s
			}
		}
	}
	t.fatalf("paddock status does not list %s: %s", k.cfg.ID, out)
	return pinStatus{}
}

/* Waits until the driver reports this state. */
func (k *task) reaches(t *T, state string, limit time.Duration) {
	t.eventually(limit, k.cfg.Name+" is "+state, func() (bool, string) {
		s := k.status(t)
		return s.State == state, fmt.Sprintf("%+v", s)
	})
}

/* Waits for a task event that contains the text. */
func (k *task) getsEvent(t *T, h *host, text string, limit time.Duration) {
	t.eventually(limit, fmt.Sprintf("an event of %s with %q", k.cfg.Name, text), func() (bool, string) {
		all := h.eventTexts(k.cfg.ID)
		return strings.Contains(strings.Join(all, "\n"), text), strings.Join(all, " | ")
	})
}

/* Where each thread of the plugin and of the log pump may run. */
func threadsMayRun() (map[string]set, error) {
	masks := map[string]set{}
	for _, p := range pluginProcesses() {
		role := "plugin"
		if p.argv != pluginPath {
			role = strings.Fields(p.argv)[1]
		}
		dirs, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.pid))
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			data, err := os.ReadFile(dir + "/status")
			if err != nil {
				continue /* it has ended */
			}
			name := ""
			for _, line := range strings.Split(string(data), "\n") {
				if text, found := strings.CutPrefix(line, "Name:"); found {
					name = strings.TrimSpace(text)
				}
				if text, found := strings.CutPrefix(line, "Cpus_allowed_list:"); found {
					s, err := parseSet(text)
					if err != nil {
						return nil, err
					}
					masks[fmt.Sprintf("%s/%s/%s", role, name, filepath.Base(dir))] = s
				}
			}
		}
	}
	return masks, nil
}
