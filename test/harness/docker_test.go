/* What the driver sent Docker is read from Docker, not from the driver. Also the images of a
 * run. */
package harness

import (
	"fmt"
	"net/http"
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
