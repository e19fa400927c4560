/*
 * Containers that belong to no task. Their grace period is at least a minute, so this test is slow.
 * It is the only proof that the search removes what it should and nothing else.
 */
package harness

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/plugins/drivers"
)

/* A driver of this name has two tasks, and a network for the second one. It crashes, and the
 * next driver knows only the second task. */
func forgetOne(t *testing.T, name, settings string) (p *plug, forgotten, kept *task) {
	t.Helper()
	before := launchWith(t, launchOptions{name: name})
	forgotten = newTask(t, before, "forgotten", sleeper).start(before)
	kept = newTask(t, before, "kept", sleeper).start(before)
	_, _, err := before.networks().CreateNetwork(kept.cfg.AllocID, &drivers.NetworkCreateRequest{})
	ok(t, err, "CreateNetwork")
	t.Cleanup(func() { _ = run.docker.Remove(pauseOf(kept)) })
	before.crash(t)
	p = launchWith(t, launchOptions{name: name, config: baseConfig(
		`gc { dangling_containers { period = "1s"  creation_grace = "1m"  ` + settings + ` } }`)})
	ok(t, recoverWith(t, p, kept.handle), "RecoverTask")
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ch, err := p.Fingerprint(ctx) /* the search begins with the first fingerprint */
	ok(t, err, "Fingerprint")
	go func(ch <-chan *drivers.Fingerprint) {
		for range ch {
		}
	}(ch)
	return p, forgotten, kept
}

/* Waits for the removal of the forgotten container. The other one must run; it is destroyed. */
func wantOnlyForgottenRemoved(t *testing.T, p *plug, forgotten, kept *task) {
	t.Helper()
	eventually(t, 110*time.Second, "the container of a task that was not recovered is removed", func() (bool, string) {
		return run.docker.inspect(t, forgotten.container()) == nil, "there"
	})
	if !kept.inspect().running() {
		t.Error("the container of a recovered task was touched")
	}
	ok(t, kept.destroy(p), "DestroyTask")
}

func pauseOf(k *task) string { return "nomad_init_" + k.cfg.AllocID }

func TestDanglingContainers(t *testing.T) {
	t.Parallel() /* it waits for a minute */
	type pair struct {
		p               *plug
		forgotten, kept *task
	}
	var idle, dry pair
	if !run.isRef { /* the reference takes every container with an alloc_id label for its own: one at a time */
		idle.p, idle.forgotten, idle.kept = forgetOne(t, "idle", "enabled = false")
		dry.p, dry.forgotten, dry.kept = forgetOne(t, "dry", "dry_run = true")
	}
	p, forgotten, kept := forgetOne(t, "docker", "")
	/* another client's or another driver's container on the same dockerd */
	foreign := strayContainer(t, uuid.Generate())

	wantOnlyForgottenRemoved(t, p, forgotten, kept)
	if run.isRef {
		return
	}
	if d := run.docker.inspect(t, foreign); d == nil || !d.running() {
		t.Error("another client's container was removed: only those with our own label are ours")
	}
	if d := run.docker.inspect(t, pauseOf(kept)); d == nil || !d.running() || d.at("Config.Labels").(map[string]any)["io.paddock.owner"] == nil {
		t.Errorf("the network of a group must stay until Nomad destroys it: %v", d)
	}
	id := dry.forgotten.inspect().str("Id")
	eventually(t, 20*time.Second, "dry_run logs what would be removed", func() (bool, string) {
		log := dry.p.stderr.String()
		return strings.Contains(log, "would be removed (dry_run)") && strings.Contains(log, id), lastLines(log, 3)
	})
	if strings.Contains(dry.p.stderr.String(), dry.kept.inspect().str("Id")) {
		t.Error("dry_run speaks of the container of a recovered task")
	}
	/* the other two are as old and were checked as often */
	for _, other := range []pair{idle, dry} {
		if !other.forgotten.inspect().running() {
			t.Errorf("the driver %q removed a container: it must not", other.p.name)
		}
		ok(t, other.kept.destroy(other.p), "DestroyTask")
		ok(t, run.docker.Remove(other.forgotten.container()), "removing the other container")
	}
}
