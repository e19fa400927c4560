/*
 * The demo: a Nomad agent, a job with cores where it may run, and three things that happen to it.
 * Another task gets a core of its own, the cpuset is overwritten, and the other task ends.
 */
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func demo() int {
	t := &T{name: "demo"}
	why := guarded(func() { demoRun(t) })
	agentWipe()
	if why != "" {
		explain()
		fmt.Fprintf(os.Stderr, "demo: %s\n", why)
		return 1
	}
	return 0
}

func demoRun(t *T) {
	say := func(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }
	agentWipe()
	installPlugin(t, true)
	say("1. A Nomad agent starts. It finds paddock as the file %s,\n   which takes the place of its built-in docker driver.", pluginPath)
	agentStart(t)
	version, err := nomadCLI("version")
	t.ok(err, "nomad version")
	fmt.Printf("   %s, docker driver: healthy, core 0 is kept for the system\n", strings.SplitN(version, "\n", 2)[0])

	job, err := os.ReadFile(filepath.Join(jobsDir, "hello.nomad.hcl"))
	t.ok(err, "job")
	say("2. An ordinary job, plugin/examples/jobs/hello.nomad.hcl:\n")
	for _, line := range strings.Split(strings.TrimSpace(string(job)), "\n") {
		fmt.Println("   | " + line)
	}
	hello := jobRun(t, "hello")
	hello.logContinues(t, "in the beginning")
	log, err := hello.logs()
	t.ok(err, "log")
	say("3. It runs, and this is its log (nomad alloc logs):\n")
	for _, line := range strings.Split(strings.TrimSpace(log), "\n") {
		fmt.Println("   | " + line)
	}

	say("4. Where it may run, while things happen. \"Nomad\" is what the agent wants for it, \"container\"\n" +
		"   is what the kernel really allows. The two must agree.\n")
	began := time.Now()
	fmt.Printf("   %9s  %-9s %-10s %s\n", "seconds", "Nomad", "container", "what happened")
	line := func(what string) {
		source, err := readSet(hello.source)
		t.ok(err, "Nomad's set")
		is, err := readSet(hello.cpusFile())
		t.ok(err, "the container's set")
		mark := ""
		if source != is {
			mark = " <- wrong"
		}
		fmt.Printf("   %9.3f  %-9s %-10s %s%s\n", time.Since(began).Seconds(), source, is, what, mark)
	}
	hello.agrees(t, 10*time.Second)
	line("the job runs on the cores that tasks share")
	cores := jobRun(t, "cores")
	hello.agrees(t, 10*time.Second)
	line("the job \"cores\" got a core of its own; ours left it")
	t.ok(writeFile(hello.cpusFile(), "0-3"), "outside write")
	line("a person writes 0-3 into the container's cpuset.cpus")
	took, _ := hello.agrees(t, 10*time.Second)
	line(fmt.Sprintf("repaired, %.1f ms after the write", took.Seconds()*1e3))
	t.sh("systemctl", "daemon-reload")
	line("systemctl daemon-reload, as each package upgrade does it")
	cores.stop(t)
	t.eventually(20*time.Second, "the core comes back", func() (bool, string) {
		s, err := readSet(hello.source)
		return err == nil && s == mustSet("1-3"), s.String()
	})
	hello.agrees(t, 10*time.Second)
	line("the job \"cores\" has ended; its core is shared again")
	show := func(text string) {
		for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
			fmt.Println("   | " + l)
		}
	}
	say("5. What the node's driver reports about its tasks (paddock status):\n")
	show(t.sh(pluginPath, "status"))
	say("6. Is this node fit? (paddock check)\n")
	out, err := sh(pluginPath, "check")
	show(out)
	t.ok(err, "paddock check")
	hello.stop(t)
	t.eventually(60*time.Second, "the container is removed", func() (bool, string) {
		names, err := containers()
		return err == nil && len(names) == 0, fmt.Sprint(names)
	})
	say("The job is stopped, and its container is removed.")
}
