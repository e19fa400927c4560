/*
 * An image that the registry has only for other platforms. Starting again cannot help, so the task
 * fails with one error that names the platform, and Nomad does not restart it. (Docker starts an
 * image that is present, whatever it was built for. A program for another machine is then an "exec
 * format error", as in TestRefusedValueIsStartedOnce.)
 */
package harness

import (
	"bytes"
	"encoding/json"
	"net/http"
	"runtime"
	"testing"
)

const listType = "application/vnd.docker.distribution.manifest.list.v2+json"

/* One request about a manifest of the registry; returns the headers and the length of the answer. */
func (r *registry) manifest(t *testing.T, method, path, kind string, body []byte) (http.Header, int64) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+r.host+"/v2/"+path, bytes.NewReader(body))
	ok(t, err, path)
	req.SetBasicAuth(regUser, regPass)
	req.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json")
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	ok(t, err, path)
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	return resp.Header, resp.ContentLength
}

/* The entry of a list for the image that is pushed as repo:tag. */
func (r *registry) listed(t *testing.T, repo, tag, architecture string) map[string]any {
	t.Helper()
	head, size := r.manifest(t, http.MethodHead, repo+"/manifests/"+tag, "", nil)
	return map[string]any{
		"mediaType": head.Get("Content-Type"), "size": size, "digest": head.Get("Docker-Content-Digest"),
		"platform": map[string]string{"os": "linux", "architecture": architecture},
	}
}

/* Makes repo:tag a list of images. */
func (r *registry) list(t *testing.T, repo, tag string, images ...map[string]any) {
	t.Helper()
	list, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": listType, "manifests": images})
	ok(t, err, "list")
	r.manifest(t, http.MethodPut, repo+"/manifests/"+tag, listType, list)
}

func TestImageOfAnotherPlatformIsOneError(t *testing.T) {
	paddockOnly(t, "restarts the task")
	foreign := map[string]string{"amd64": "s390x"}[runtime.GOARCH]
	if foreign == "" {
		foreign = "amd64"
	}
	r := needRegistry(t)
	ok(t, r.push("foreign:one", 1<<10), "push")
	r.list(t, "foreign", "1", r.listed(t, "foreign", "one", foreign))
	p := launch(t)
	k := newTask(t, p, "foreign", r.block("foreign:1", ""))
	before := r.manifests.Load()
	err := k.tryStart(p)
	t.Logf("%v", err)
	wantError(t, err, "an image of another platform", "foreign:1", "linux/"+runtime.GOARCH)
	if recoverable(err) {
		t.Errorf("Nomad restarts the task: %v", err)
	}
	if n := r.manifests.Load() - before; n > 4 { /* HEAD and GET of the list, in each of two attempts */
		t.Errorf("Docker asked the registry %d times", n)
	}
}
