/*
 * Which process was killed when the memory was used up, and what the task's end reports then: the
 * table of docs/differences.md, on cgroup v2. The harness has the same table for the machine's own
 * cgroups.
 */
package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

const eatMemory = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"

type oomRow struct {
	name, script string
	during       func(t *T, h *host, k *task)
	code         int
	oom          bool
}

var oomRows = []oomRow{
	/* the first process ends immediately with a code of its own */
	{name: "child-fails", script: "(" + eatMemory + "); exit 9", code: 9, oom: true},
	{name: "child-success", script: "(" + eatMemory + "); exit 0"},
	/* its cgroup is soon removed */
	{name: "first", script: "sleep 1; " + eatMemory, code: 137, oom: true},
	{name: "exec", script: "while [ ! -e /local/end ]; do sleep 0.1; done", during: func(t *T, h *host, k *task) {
		r, err := h.ExecTask(k.cfg.ID, []string{"/bin/sh", "-c", eatMemory}, 30*time.Second)
		if err == nil && r.ExitResult.ExitCode != 137 {
			t.fatalf("the exec ended with %+v, not 137", r.ExitResult)
		}
		t.ok(os.WriteFile(filepath.Join(k.cfg.AllocDir, k.cfg.Name, "local/end"), nil, 0o644), "the task's end")
	}},
	{name: "person", script: "while :; do sleep 1; done", code: 137, during: func(t *T, _ *host, k *task) {
		resp, err := dockerHTTP.Post("http://docker/containers/"+k.box.ID+"/kill", "", nil)
		t.ok(err, "docker kill")
		resp.Body.Close()
	}},
}

func caseOOM(t *T) {
	l := newLayout(t, "1-3")
	h := launch(t)
	for _, row := range oomRows {
		k := start(t, h, l, row.name, "", row.script)
		ended, err := h.WaitTask(context.Background(), k.cfg.ID)
		t.ok(err, "WaitTask")
		if row.during != nil {
			row.during(t, h, k)
		}
		select {
		case r := <-ended:
			if r.ExitCode != row.code || r.OOMKilled != row.oom || (r.Err != nil) != (row.code != 0) {
				t.fatalf("%s: exit %+v, not code %d and OOMKilled %v", row.name, r, row.code, row.oom)
			}
		case <-time.After(30 * time.Second):
			t.fatalf("%s: no end of the task", row.name)
		}
		k.end(t, h)
	}
}
