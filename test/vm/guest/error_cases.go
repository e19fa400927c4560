package main

import (
	"fmt"
	"strings"
	"time"
)

/*
 * How a start fails, by the classes that a real agent distinguishes. A failure that may not repeat
 * is restarted by the job's policy. Every other failure is final immediately. In both cases the
 * driver's own error is shown.
 */
var startErrors = []struct {
	name, config, text string
	restarts           int
}{
	{"pull", `image = "127.0.0.1:1/no/such:1"`, "Failed to pull `127.0.0.1:1/no/such:1`", 1},
	{"refused", "image = \"busybox:1\"\nprivileged = true", "Docker privileged mode is disabled on this Nomad agent", 0},
	{"invalid", `image = ""`, "image name required for docker driver", 0},
}

const errorJob = `job %q {
  type = "batch"
  group "g" {
    restart {
      attempts = 1
      delay    = "1s"
      interval = "10m"
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "t" {
      driver = "docker"
      config {
        %s
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}`

func caseAgentStartErrors(t *T) {
	freshAgent(t, true)
	for _, e := range startErrors {
		id := "error-" + e.name
		submit(t, fmt.Sprintf(errorJob, id, e.config))
		var last alloc
		t.eventually(120*time.Second, id+" has failed", func() (bool, string) {
			a, err := allocOf(id)
			last = a
			return err == nil && a.ClientStatus == "failed", fmt.Sprint(a, err)
		})
		if got := last.TaskStates["t"].Restarts; got != e.restarts {
			t.fatalf("%s: %d restarts, want %d: %s", id, got, e.restarts, last)
		}
		if !strings.Contains(last.String(), e.text) {
			t.fatalf("%s: the events do not say %q: %s", id, e.text, last)
		}
	}
	names, err := containers()
	t.ok(err, "docker ps")
	if len(names) != 0 {
		t.fatalf("failed starts left containers: %v", names)
	}
}
