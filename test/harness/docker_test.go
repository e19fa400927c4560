/* What the driver sent Docker is read from Docker, not from the driver. Also the images of a
 * run. */
package harness

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paddock.invalid/test/harness/engine"
)

/* The Docker API, and its documents for tests. */
type dockerAPI struct{ *engine.API }

/* The whole `docker inspect` document, or nil when there is no such container. */
func (d *dockerAPI) inspect(t testing.TB, id string) doc {
	t.Helper()
	var out doc
	status, err := d.Call("GET", "/containers/"+id+"/json", nil, &out)
	if status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		t.Fatalf("inspect %s: %v", id, err)
	}
	return out
}

/* True when images are in containerd's store, which is Docker 29's default. */
func (d *dockerAPI) containerdStore(t testing.TB) bool {
	t.Helper()
	var info doc
	_, err := d.Call("GET", "/info", nil, &info)
	ok(t, err, "info")
	return strings.Contains(fmt.Sprint(info.at("DriverStatus")), "io.containerd.snapshotter")
}

/*
 * Until the end of the test, a dockerd of its own takes the place of the run's, for tests that kill
 * dockerd. At its start after a kill, Docker 20.10 first removes the network sandboxes of all
 * containers that have ended since its last start. After hundreds of tests that takes minutes. Not
 * for parallel tests.
 */
func ownDockerd(t testing.TB) {
	t.Helper()
	dockerd, docker := run.dockerd, run.docker
	d, err := engine.StartDaemon(filepath.Join(run.dir, "own"))
	ok(t, err, "a dockerd of its own")
	run.dockerd, run.docker = d, &dockerAPI{engine.New(d.Socket(), 0)}
	t.Cleanup(func() {
		err := errors.Join(run.docker.RemoveAll(), d.Stop(), os.RemoveAll(filepath.Join(run.dir, "own")))
		run.dockerd, run.docker = dockerd, docker
		ok(t, err, "the end of its own dockerd")
	})
	ok(t, importImages(run.docker), "images")
}

func importImages(d *dockerAPI) error {
	root, err := engine.BusyboxRoot(nil)
	if err != nil {
		return err
	}
	if err := d.Import(imageBusybox, root, `ENV PATH=/bin`); err != nil {
		return err
	}
	return d.Import(imagePause, root, `ENV PATH=/bin`,
		`ENTRYPOINT ["/bin/sh","-c","trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]`)
}

/* A JSON object of which tests read a few members. */
type doc map[string]any

/* The member at a dotted path, or nil when a step is missing. A number is an index of a list. */
func (d doc) at(path string) any {
	var cur any = map[string]any(d)
	for _, step := range strings.Split(path, ".") {
		switch v := cur.(type) {
		case map[string]any:
			cur = v[step]
		case []any:
			var i int
			if _, err := fmt.Sscanf(step, "%d", &i); err != nil || i >= len(v) {
				return nil
			}
			cur = v[i]
		default:
			return nil
		}
	}
	return cur
}

func (d doc) str(path string) string {
	s, _ := d.at(path).(string)
	return s
}

func (d doc) num(path string) float64 {
	n, _ := d.at(path).(float64)
	return n
}

func (d doc) running() bool {
	b, _ := d.at("State.Running").(bool)
	return b
}
