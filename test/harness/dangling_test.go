/*
 * Containers that nobody wants any more. Their grace is at least a minute, so
 * this test is a slow one; it is the only proof that the reconciler removes what
 * it should and leaves alone what it should.
 */
package harness

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
)

func TestDanglingContainers(t *testing.T) {
	t.Parallel() /* a minute of waiting: beside the other patient ones, when all the rest is done */
	p := launch(t)
	forgotten := newTask(t, p, "forgotten", sleeper).start(p)
	kept := newTask(t, p, "kept", sleeper).start(p)
	p.crash(t)
	/* another client's or another driver's container on the same dockerd */
	foreign := strayContainer(t, uuid.Generate())

	p2 := launchWith(t, launchOptions{config: baseConfig(`gc { dangling_containers { period = "1s"  creation_grace = "1m" } }`)})
	ok(t, recoverWith(t, p2, kept.handle), "RecoverTask")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p2.Fingerprint(ctx) /* the reconciler begins with the first fingerprint */
	ok(t, err, "Fingerprint")
	go func() {
		for range ch {
		}
	}()
	eventually(t, 110*time.Second, "the container of a task that nobody recovered is removed", func() (bool, string) {
		return run.docker.inspect(t, forgotten.container()) == nil, "there"
	})
	if !kept.inspect().running() {
		t.Error("the container of a recovered task was touched")
	}
	if !run.isRef { /* takes every container with an alloc_id label for its own */
		if d := run.docker.inspect(t, foreign); d == nil || !d.running() {
			t.Error("somebody else's container was removed: only those with our own label are ours")
		}
	}
	ok(t, kept.destroy(p2), "DestroyTask")
}
