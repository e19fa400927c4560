/*
 * The life of an image on the node: loaded from an archive of the task, removed when its last task
 * has ended, and kept where the operator wants that.
 */
package harness

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"paddock.invalid/test/harness/engine"
)

/* `load`: an image from the task's local directory, without a request to a registry. */
func TestLoadFromTheTaskDirectory(t *testing.T) {
	p := launch(t)
	root, err := engine.BusyboxRoot(nil)
	ok(t, err, "busybox")
	const ref = "paddock.test/loaded:1"
	ok(t, run.docker.Import(ref, root, "ENV PATH=/bin"), "import")
	ctx, cancel := timeout(time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://docker/v1.41/images/"+url.PathEscape(ref)+"/get", nil)
	ok(t, err, "docker save")
	resp, err := run.docker.HTTP.Do(req)
	ok(t, err, "docker save")
	defer resp.Body.Close()
	archive, err := io.ReadAll(resp.Body)
	ok(t, err, "docker save")
	if _, err := tar.NewReader(bytes.NewReader(archive)).Next(); err != nil {
		t.Fatalf("docker save gave no tar: %v", err)
	}
	_, err = run.docker.Call("DELETE", "/images/"+url.PathEscape(ref), nil, nil)
	ok(t, err, "docker rmi")

	block := fmt.Sprintf("image = %q\nload = \"img.tar\"\ncommand = \"/bin/sleep\"\nargs = [\"1000\"]", ref)
	missing := newTask(t, p, "load", block)
	wantError(t, missing.tryStart(p), "load of a file that does not exist", "img.tar")
	k := newTask(t, p, "load", block, func(c *drivers.TaskConfig) {
		_ = os.WriteFile(filepath.Join(c.AllocDir, c.Name, "local/img.tar"), archive, 0o644)
	}).start(p)
	ok(t, k.destroy(p), "DestroyTask")
}

/* Unused images are removed after image_delay. A used image never is. */
func TestImageIsRemovedWhenUnused(t *testing.T) {
	r := needRegistry(t)
	p := launchWith(t, launchOptions{config: baseConfig(`gc { image_delay = "1s" }`)})
	ref := r.host + "/gc:1"
	a := newTask(t, p, "gca", r.block("gc:1", "")).start(p)
	b := newTask(t, p, "gcb", r.block("gc:1", "")).start(p)
	ok(t, a.destroy(p), "DestroyTask")
	/* the test shows that nothing happens for longer than the delay */
	if _, gone := poll(2500*time.Millisecond, func() (bool, string) { return !run.docker.HasImage(ref), "" }); gone {
		t.Fatal("the image was removed while a task uses it")
	}
	ok(t, b.destroy(p), "DestroyTask")
	eventually(t, 15*time.Second, "the image is removed 1 s after its last task", func() (bool, string) { return !run.docker.HasImage(ref), "there" })
}

func TestImageReferencesSurviveAPluginRestart(t *testing.T) {
	paddockOnly(t, "forgets them: the image is never removed")
	r := needRegistry(t)
	config := launchOptions{config: baseConfig(`gc { image_delay = "1s" }`)}
	p := launchWith(t, config)
	ref := r.host + "/gc2:1"
	k := newTask(t, p, "gc2", r.block("gc2:1", "")).start(p)
	p.crash(t)
	p2 := launchWith(t, config)
	ok(t, recoverWith(t, p2, persisted(t, k.handle)), "RecoverTask")
	other := newTask(t, p2, "gc2b", r.block("gc2:1", "")).start(p2)
	ok(t, other.destroy(p2), "DestroyTask")
	if _, gone := poll(2500*time.Millisecond, func() (bool, string) { return !run.docker.HasImage(ref), "" }); gone {
		t.Fatal("the image of a recovered task was removed")
	}
	ok(t, k.destroy(p2), "DestroyTask")
	eventually(t, 15*time.Second, "the image of a recovered task is removed after its end", func() (bool, string) { return !run.docker.HasImage(ref), "there" })
}

/* gc { image = false }: images stay. */
func TestImageGCOff(t *testing.T) {
	r := needRegistry(t)
	p := launchWith(t, launchOptions{config: baseConfig(`gc { image = false  image_delay = "1s"  container = false }`)})
	k := newTask(t, p, "keep", r.block("plain:1", "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
	if d := run.docker.inspect(t, k.container()); d == nil || d.running() {
		t.Errorf("gc { container = false } keeps the stopped container; have %v", d.at("State"))
	}
	if _, gone := poll(2500*time.Millisecond, func() (bool, string) { return !run.docker.HasImage(r.host + "/plain:1"), "" }); gone {
		t.Error("gc { image = false } removed the image")
	}
}
