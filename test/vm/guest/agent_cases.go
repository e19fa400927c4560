package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

func agentCases() []testCase {
	return []testCase{
		{"agent-job-from-run-to-stop", 6 * time.Minute, caseAgentJob},
		{"agent-plugin-killed", 6 * time.Minute, caseAgentPluginKilled},
		{"agent-start-errors", 6 * time.Minute, caseAgentStartErrors},
		{"agent-restarted", 8 * time.Minute, caseAgentRestarted},
		{"agent-network-bridge", 6 * time.Minute, caseAgentBridge},
		{"agent-network-host", 6 * time.Minute, caseAgentHostNetwork},
		{"agent-swap-from-built-in-and-back", 10 * time.Minute, caseAgentSwap},
	}
}

func freshAgent(t *T, withPlugin bool) {
	agentWipe()
	installPlugin(t, withPlugin)
	t.atEnd(func() {
		agentWipe()
		installPlugin(t, true)
	})
	agentStart(t)
}

/* What an operator does first, and what is left after the operator has stopped everything. */
func caseAgentJob(t *T) {
	agentWipe()
	sockets := socketFiles()
	freshAgent(t, true)
	pluginPid(t)
	hello := jobRun(t, "hello")
	_, before := hello.agrees(t, 5*time.Second)
	if before != mustSet("1-3") {
		t.fatalf("the shared pool is %s", before)
	}
	hello.logContinues(t, "in the beginning")
	want, err := hello.logs()
	t.ok(err, "logs")
	out, err := nomadCLI("alloc", "logs", hello.alloc)
	t.ok(err, "nomad alloc logs")
	if !strings.HasPrefix(out, want) || !strings.HasPrefix(out, "hello 1: I may run on cores 1-3\n") {
		t.fatalf("nomad alloc logs: %q", out)
	}
	hello.repairs(t, "with an agent")
	for _, event := range []string{"cpuset pinned to 1-3", "cpuset repaired: 0 -> 1-3 (overwritten)"} {
		t.eventually(30*time.Second, "a task event "+event, func() (bool, string) {
			a, err := allocOf("hello")
			return err == nil && strings.Contains(a.String(), event), a.String()
		})
	}

	/* a task with a core of its own: the shared task leaves that core */
	cores := jobRun(t, "cores")
	_, pool := hello.agrees(t, tickLimit)
	if pool.count() != 2 {
		t.fatalf("with one core reserved the shared pool is %s", pool)
	}
	cores.agrees(t, tickLimit)
	cores.stop(t)
	t.eventually(30*time.Second, "the core comes back", func() (bool, string) {
		s, err := readSet(hello.cpusFile())
		return err == nil && s == before, s.String()
	})

	hello.stop(t)
	t.eventually(60*time.Second, "no container and no cgroup left", func() (bool, string) {
		names, err := containers()
		scopes, _ := filepath.Glob(filepath.Join(nomadSlice, "*.scope"))
		left := append(append(names, containerCgroups()...), scopes...)
		return err == nil && len(left) == 0, fmt.Sprint(left, err)
	})
	t.sh("systemctl", "stop", "nomad.service")
	t.eventually(30*time.Second, "no process and no socket left", func() (bool, string) {
		var left []string
		for _, p := range pluginProcesses() {
			left = append(left, p.argv)
		}
		for path := range socketFiles() {
			if !sockets[path] {
				left = append(left, path)
			}
		}
		return len(left) == 0, strings.Join(left, ", ")
	})
}

/* kill -9 of the plugin under a real agent. */
func caseAgentPluginKilled(t *T) {
	freshAgent(t, true)
	hello := jobRun(t, "hello")
	hello.agrees(t, 5*time.Second)
	pid := killPlugin(t)
	t.ok(writeFile(hello.cpusFile(), "0"), "outside write")
	newPlugin(t, pid)
	hello.agrees(t, 60*time.Second)
	hello.keepsRunning(t, "after the plugin's death")
	hello.repairs(t, "after the plugin's death")
	hello.logContinues(t, "after the plugin's death")
	hello.stop(t)
}

/* The agent stops and starts; then it is killed and starts. */
func caseAgentRestarted(t *T) {
	freshAgent(t, true)
	hello := jobRun(t, "hello")
	for _, how := range []string{"stopped", "killed"} {
		when := "after the agent was " + how
		if how == "stopped" {
			t.sh("systemctl", "stop", "nomad.service")
		} else {
			t.sh("systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", "nomad.service")
			t.eventually(30*time.Second, "the agent is dead", func() (bool, string) {
				out, _ := sh("systemctl", "is-active", "nomad.service")
				return strings.Contains(out, "failed") || strings.Contains(out, "inactive"), out
			})
		}
		t.sh("systemctl", "start", "nomad.service")
		agentReady(t)
		hello.keepsRunning(t, when)
		hello.repairs(t, when)
		hello.logContinues(t, when)
	}
	hello.stop(t)
}

/* From the built-in driver to paddock while tasks run, and back. */
func caseAgentSwap(t *T) {
	freshAgent(t, false)
	if all := pluginProcesses(); len(all) != 0 {
		t.fatalf("this is not the built-in driver: %v", all)
	}
	hello := jobRun(t, "hello")
	hello.logContinues(t, "with the built-in driver")
	for _, there := range []bool{true, false} {
		when := "after the change to paddock"
		if !there {
			when = "after the change back"
			hello.again = 1
		}
		t.sh("systemctl", "stop", "nomad.service")
		installPlugin(t, there)
		t.sh("systemctl", "start", "nomad.service")
		agentReady(t)
		if there {
			pluginPid(t)
		}
		hello.keepsRunning(t, when)
		hello.logContinues(t, when)
		if there {
			hello.repairs(t, when)
		}
	}
	hello.stop(t)
	t.eventually(60*time.Second, "no container left", func() (bool, string) {
		names, err := containers()
		return err == nil && len(names) == 0, fmt.Sprint(names, err)
	})
}
