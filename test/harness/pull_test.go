/*
 * Pulls: with a task's credentials, of what does not exist, over a slow and over a broken line, of
 * several tasks together, by digest, and when an existing image is pulled again.
 */
package harness

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPullWithTaskAuth(t *testing.T) {
	r := needRegistry(t)
	ok(t, r.forget(r.host+"/plain:1"), "forgetting the image") /* other tests pull it, too */
	p := launch(t)
	wrong := newTask(t, p, "wrong", strings.Replace(r.block("plain:1", ""), regPass, "wrong", 1))
	err := wrong.tryStart(p)
	wantError(t, err, "a pull with a wrong password", "Failed to pull", "plain:1")
	none := newTask(t, p, "none", r.anonymous("plain:1", ""))
	wantError(t, none.tryStart(p), "a pull without credentials", "Failed to pull", "plain:1")
	k := newTask(t, p, "right", r.block("plain:1", "")).start(p)
	if !k.inspect().running() {
		t.Error("does not run")
	}
	ok(t, k.destroy(p), "DestroyTask")
}

func TestPullOfAMissingTag(t *testing.T) {
	r := needRegistry(t)
	p := launch(t)
	k := newTask(t, p, "tag", r.block("plain:no-such-tag", ""))
	wantError(t, k.tryStart(p), "a tag that does not exist", "Failed to pull", "no-such-tag")
	k = newTask(t, p, "repo", r.block("no/such/repo:1", ""))
	wantError(t, k.tryStart(p), "a repository that does not exist", "Failed to pull", "no/such/repo:1")
	p.mustLive(t, "missing images")
}

/* The total deadline ends a slow pull. It delays no other start. */
func TestSlowLayerHasADeadlineAndDelaysNoOtherStart(t *testing.T) {
	r := needRegistry(t)
	p := launch(t)
	other := newTask(t, p, "other", sleeper).start(p)
	other.stdout.waitFor(t, 10*time.Second, "up\n")
	r.blobDelay.Store(int64(200 * time.Millisecond)) /* 400 KiB in 8 KiB steps: at least 10 s */
	k := newTask(t, p, "slow", r.block("slow:1", `image_pull_timeout = "4s"`))
	done := make(chan error, 1)
	begun := time.Now()
	go func() { _, _, err := p.StartTask(k.cfg); done <- err }()
	eventually(t, 10*time.Second, "the pull has begun", func() (bool, string) { return r.blobs.Load() > 0 || r.manifests.Load() > 0, "no request" })
	stop := time.Now()
	ok(t, other.stop(p, 10*time.Second, ""), "StopTask during another pull")
	if took := time.Since(stop); took > 3*time.Second {
		t.Errorf("StopTask took %v while another task's image was pulled", took)
	}
	ok(t, other.destroy(p), "DestroyTask")
	select {
	case err := <-done:
		took := time.Since(begun)
		wantError(t, err, "a pull longer than image_pull_timeout", "Failed to pull", "slow:1")
		if took < 3*time.Second || took > 15*time.Second {
			t.Errorf("failed after %v, the deadline is 4 s", took)
		}
		if !recoverable(err) {
			t.Errorf("a pull that was too slow may be tried again: %v", err)
		}
	case <-time.After(40 * time.Second):
		t.Fatal("StartTask with image_pull_timeout = 4s: no answer after 40 s")
	}
}

func TestCutLayerIsARecoverableError(t *testing.T) {
	r := needRegistry(t)
	p := launch(t)
	r.cutAfter.Store(50 << 10)
	k := newTask(t, p, "cut", r.block("cut:1", ""))
	err := k.tryStart(p)
	if run.docker.containerdStore(t) { /* the store asks for the rest */
		ok(t, err, "a layer that comes in parts")
		ok(t, k.destroy(p), "DestroyTask")
		return
	}
	wantError(t, err, "a layer that is cut off", "Failed to pull", "cut:1")
	if !recoverable(err) {
		t.Errorf("a cut-off layer is worth another try: %v", err)
	}
	r.cutAfter.Store(0)
	k.start(p) /* the same id again, like Nomad's restart, with a good line */
	ok(t, k.destroy(p), "DestroyTask")
}

func TestOnePullForAllWhoWait(t *testing.T) {
	r := needRegistry(t)
	rec := record(t, run.dockerd.Socket())
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, "")})
	r.blobDelay.Store(int64(20 * time.Millisecond))
	var tasks []*task
	for i := 0; i < 6; i++ {
		tasks = append(tasks, newTask(t, p, fmt.Sprintf("m%d", i), r.block("many:1", "")))
	}
	errs := make(chan error, len(tasks))
	for _, k := range tasks {
		go func(k *task) { _, _, err := p.StartTask(k.cfg); errs <- err }(k)
	}
	for range tasks {
		select {
		case err := <-errs:
			if err != nil {
				t.Errorf("StartTask: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("six tasks of one image: no answer within a minute")
		}
	}
	rec.mu.Lock()
	pulls := rec.pulls
	rec.mu.Unlock()
	if pulls != 1 {
		t.Errorf("%d pulls of one image for 6 tasks that started together, want 1", pulls)
	}
	for _, k := range tasks {
		ok(t, k.destroy(p), "DestroyTask")
	}
}

func TestForcePullLatestAndPresent(t *testing.T) {
	r := needRegistry(t)
	rec := record(t, run.dockerd.Socket())
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, "")})
	count := func(block string) int {
		rec.mu.Lock()
		before := rec.pulls
		rec.mu.Unlock()
		k := newTask(t, p, "fp", block).start(p)
		ok(t, k.destroy(p), "DestroyTask")
		rec.mu.Lock()
		defer rec.mu.Unlock()
		return rec.pulls - before
	}
	if n := count(r.block("latest:1", "")); n != 1 {
		t.Errorf("image not present: %d pulls, want 1", n)
	}
	if n := count(r.block("latest:1", "")); n != 0 {
		t.Errorf("image present: %d pulls, want none", n)
	}
	if n := count(r.block("latest:1", "force_pull = true")); n != 1 {
		t.Errorf("force_pull: %d pulls, want 1", n)
	}
	if n := count(r.block("latest:latest", "")); n != 1 {
		t.Errorf("latest, not present: %d pulls, want 1", n)
	}
	if n := count(r.block("latest", "")); n != 1 {
		t.Errorf("no tag is latest, which is always asked for: %d pulls, want 1", n)
	}
}

func TestPullByDigest(t *testing.T) {
	r := needRegistry(t)
	p := launch(t)
	k := newTask(t, p, "d1", r.block("digest:1", "")).start(p)
	var image doc
	_, err := run.docker.Call("GET", "/images/"+url.PathEscape(r.host+"/digest:1")+"/json", nil, &image)
	ok(t, err, "image")
	ref := image.str("RepoDigests.0")
	_, digest, _ := strings.Cut(ref, "@")
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, r.forget(r.host+"/digest:1"), "forgetting the image")
	if run.docker.HasImage(ref) {
		ok(t, r.forget(ref), "forgetting the image")
	}
	k = newTask(t, p, "d2", r.block("digest@"+digest, "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
}
