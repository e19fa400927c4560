/*
 * Labels as a weapon. Every client of this dockerd and every image's author chooses labels. Docker
 * sends them to all clients: in its event stream, in its lists, and in the place of an event's own
 * attributes. They must neither hide the end of a neighbour nor change the task's own. The search
 * for dangling containers uses a label, and must not remove a container of a successor.
 */
package harness

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
)

/* A container that no driver made. It runs cmd. */
func labelled(t *testing.T, labels map[string]string, cmd ...string) string {
	t.Helper()
	var made struct {
		ID string `json:"Id"`
	}
	_, err := run.docker.Call("POST", "/containers/create?name=labelled-"+uuid.Generate()[:8], map[string]any{
		"Image": imageBusybox, "Cmd": cmd, "Labels": labels,
	}, &made)
	ok(t, err, "making a container")
	t.Cleanup(func() { _ = run.docker.Remove(made.ID) })
	_, err = run.docker.Call("POST", "/containers/"+made.ID+"/start", nil, nil)
	ok(t, err, "starting a container")
	return made.ID
}

/* Labels that a parser may refuse: in keys, in values, without an end. */
func hostileLabels() map[string]map[string]string {
	return map[string]map[string]string{
		"NUL in a value":  {"a": "x\x00y"},
		"NUL in a key":    {"a\x00b": "x"},
		"NULs alone":      {"\x00": "\x00"},
		"no UTF-8":        {"a": "\xff\xfe"},
		"other controls":  {"a": "\x01\x1f\u2028\U0010ffff"},
		"quotes":          {"a": "\"}],\\"},
		"two megabytes":   {"a": strings.Repeat("x", 2<<20)},
		"ten megabytes":   {"a": strings.Repeat("y", 10<<20)},
		"name of a field": {"exitCode": "0", "execID": "x", "id": "y", "ID": "z"},
	}
}

func TestHostileLabelsOfNeighboursKeepTheEventStream(t *testing.T) {
	paddockOnly(t, "follows no event stream")
	p := launchWith(t, launchOptions{env: []string{"PADDOCK_TRACE=exit"}})
	first := newTask(t, p, "first", sleeper).start(p)
	for what, labels := range hostileLabels() {
		labelled(t, labels, "true") /* its whole life is in the event stream */
		k := newTask(t, p, "victim", shell("exit 3")).start(p)
		if r := k.wait(p, 20*time.Second); r.ExitCode != 3 || r.Err == nil {
			t.Errorf("%s: exit %+v", what, r)
		}
		if log := p.stderr.String(); strings.Contains(log, "event stream lost") {
			t.Fatalf("%s of another client's container ends the event stream:\n%s", what, lastLines(log, 5))
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
	ok(t, first.destroy(p), "DestroyTask")
}

/* A task's labels do not hide its own end, either. */
func TestHostileLabelsOfATaskDoNotHideItsEnd(t *testing.T) {
	paddockOnly(t, "reads no events")
	p := launch(t)
	long := strings.Repeat("\u00e9<&>", 100000) /* each < & > takes six bytes in an event */
	k := newTask(t, p, "long", shell("sleep 1; exit 4")+"\nlabels { a = \""+long+"\" }").start(p)
	if r := k.wait(p, 20*time.Second); r.ExitCode != 4 {
		t.Errorf("exit %+v", r)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestLabelsNamedLikeAttributesChangeNoExit(t *testing.T) {
	p := launch(t)
	/* the container has the labels of the image */
	base := labelled(t, nil, "true")
	image := "labelled-" + uuid.Generate()[:8]
	changes := url.Values{"container": {base}, "repo": {image}, "tag": {"1"},
		"changes": {`LABEL exitCode=0 execID=x signal=9 name=y image=z`}}
	_, err := run.docker.Call("POST", "/commit?"+changes.Encode(), nil, nil)
	ok(t, err, "making an image")
	t.Cleanup(func() { _, _ = run.docker.Call("DELETE", "/images/"+image+":1?force=1", nil, nil) })

	const line = "sleep 1; exit 3"
	for what, block := range map[string]string{
		"the job's labels":   shell(line) + "\nlabels { exitCode = \"0\" }",
		"the job's exec ID":  shell(line) + "\nlabels { execID = \"x\" }",
		"the image's labels": strings.Replace(shell(line), imageBusybox, image+":1", 1),
	} {
		k := newTask(t, p, "liar", block).start(p)
		/* its child keeps the terminal open: only the event reports that the command has ended */
		e := openExec(t, p, k.id(), true, "/bin/sh", "-c", "trap '' HUP; sleep 5 & exit 6")
		if r := k.wait(p, 20*time.Second); r.ExitCode != 3 || r.Err == nil {
			t.Errorf("%s: exit %+v", what, r)
		}
		e.cancel()
		ok(t, k.destroy(p), "DestroyTask")

		k = newTask(t, p, "liar", strings.Replace(block, line, "sleep 1000", 1)).start(p)
		e = openExec(t, p, k.id(), true, "/bin/sh", "-c", "trap '' HUP; sleep 1000 & exit 6")
		if run.isRef { /* the reference waits for the end of the terminal */
			e.cancel()
		} else if end := e.finish(20 * time.Second); end.err != nil || end.code != 6 {
			t.Errorf("%s: exec %+v", what, end)
		}
		ok(t, k.destroy(p), "DestroyTask")
	}
}

/* One search finds every container that was not recovered, whatever else Docker's list contains. */
func TestDanglingContainersBesideHostileLabels(t *testing.T) {
	paddockOnly(t, "takes every container with an alloc_id label for its own")
	t.Parallel()
	for _, labels := range hostileLabels() {
		labels["io.paddock.owner"] = "another owner"
		labelled(t, labels, "sleep", "1000")
	}
	p, forgotten, kept := forgetOne(t, "beside", "")
	wantOnlyForgottenRemoved(t, p, forgotten, kept)
}

/* The agent was killed, and the next agent started a plugin of its own. The old plugin keeps
 * running and must not remove the new one's containers. */
func TestDanglingContainersOfASuccessorStay(t *testing.T) {
	paddockOnly(t, "removes the containers of its successor")
	t.Parallel()
	config := baseConfig(`gc { dangling_containers { period = "1s"  creation_grace = "1m" } }`)
	old := launchWith(t, launchOptions{name: "succession", config: config})
	before := newTask(t, old, "before", sleeper).start(old)
	young := launchWith(t, launchOptions{name: "succession", config: config})
	ok(t, recoverWith(t, young, before.handle), "RecoverTask")
	after := newTask(t, young, "after", sleeper).start(young)
	/* a container that is younger than the task and belongs to none: after its removal, the task
	 * would have been next */
	owner := after.inspect().at("Config.Labels").(map[string]any)["io.paddock.owner"].(string)
	stray := labelled(t, map[string]string{"io.paddock.owner": owner}, "sleep", "1000")
	eventually(t, 110*time.Second, "a container of no task is removed", func() (bool, string) {
		return run.docker.inspect(t, stray) == nil, "there"
	})
	eventually(t, 20*time.Second, "the old plugin logs that it searches no more", func() (bool, string) {
		log := old.stderr.String()
		return strings.Contains(log, "another plugin process serves this client"), lastLines(log, 3)
	})
	if log := old.stderr.String(); strings.Contains(log, "removed a container") {
		t.Errorf("the old plugin removes containers:\n%s", lastLines(log, 5))
	}
	for _, k := range []*task{before, after} {
		if !k.inspect().running() {
			t.Errorf("%s: a task of the young plugin was ended", k.cfg.Name)
		}
		ok(t, k.destroy(young), "DestroyTask")
	}
}
