/*
 * Images with a link in the place of /alloc, and targets of a job inside each other. The folder
 * alloc is then where alloc/logs does not cover it, and a task could put another folder in the
 * place of Nomad's logs.
 */
package harness

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/plugins/drivers"

	"paddock.invalid/test/harness/engine"
)

/* A busybox image @ref with symlinks (path to target), programs (path to content) and lines of a Dockerfile. */
func importWithLinks(t testing.TB, ref string, links, files map[string]string, changes ...string) {
	t.Helper()
	root, err := engine.BusyboxRoot(files)
	ok(t, err, "a root file system")
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for r := tar.NewReader(bytes.NewReader(root)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		ok(t, err, "the root file system")
		ok(t, w.WriteHeader(h), "a header")
		_, err = io.Copy(w, r)
		ok(t, err, "a file")
	}
	for name, target := range links {
		ok(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}), "a link")
	}
	ok(t, w.Close(), "the root file system")
	ok(t, run.docker.Import(ref, buf.Bytes(), changes...), "import")
}

/* Checks that the start is refused with these words and that no container is left. */
func wantRefusedStart(t *testing.T, p *plug, k *task, words string) {
	t.Helper()
	_, _, err := p.StartTask(k.cfg)
	if err == nil {
		t.Errorf("started; mounts: %v", k.inspect()["Mounts"])
		ok(t, k.destroy(p), "DestroyTask")
		return
	}
	wantRefusal(t, k, err, words)
}

/* Checks that @err, of a start, contains these words and that no container is left. */
func wantRefusal(t *testing.T, k *task, err error, words string) {
	t.Helper()
	wantError(t, err, "the start", words)
	if _, err := run.docker.Call("GET", "/containers/"+k.container()+"/json", nil, &struct{}{}); err == nil {
		t.Errorf("container %s is left", k.container())
	}
}

func TestImageThatLeadsAllocElsewhereIsRefused(t *testing.T) {
	paddockOnly(t, "Docker follows the link")
	p := launch(t)
	for name, links := range map[string]map[string]string{
		"alloc is a link":           {"alloc": "/p1"},
		"secrets leads to alloc":    {"secrets": "/alloc"},
		"alloc is a link to a task": {"alloc": "/local/l"},
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			ref := "links/" + strings.ReplaceAll(strings.ReplaceAll(name, " ", ""), "/", "") + ":1"
			importWithLinks(t, ref, links, nil)
			k := newTask(t, p, "web", strings.Replace(sleeper, imageBusybox, ref, 1))
			wantRefusedStart(t, p, k, "does not protect Nomad's logs")
		})
	}
	t.Run("other links", func(t *testing.T) {
		p.t = t
		importWithLinks(t, "links/other:1", map[string]string{"local": "/usr", "var/run": "/run"}, nil)
		k := newTask(t, p, "web", strings.Replace(sleeper, imageBusybox, "links/other:1", 1)).start(p)
		ok(t, k.destroy(p), "DestroyTask")
	})
}

/* Checks that alloc/logs lies, read-only, on each mount of alloc that the task has. */
func wantLogsOnAlloc(t *testing.T, k *task) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%v/mountinfo", k.inspect()["State"].(map[string]any)["Pid"]))
	ok(t, err, "the task's mounts")
	alloc := "/" + filepath.Base(k.cfg.AllocDir) + "/alloc"
	mounts, covered := []string{}, map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		f := strings.Fields(line) /* id, parent, device, root, place, options */
		switch {
		case strings.HasSuffix(f[3], alloc):
			mounts = append(mounts, f[0])
		case strings.HasSuffix(f[3], alloc+"/logs") && strings.HasPrefix(f[5], "ro,"):
			covered[f[1]] = true
		}
	}
	for _, id := range mounts {
		if !covered[id] {
			t.Errorf("started, and alloc is uncovered:\n%s", text)
		}
	}
	if len(mounts) == 0 {
		t.Errorf("alloc is not mounted:\n%s", text)
	}
}

/*
 * Folders that the job chooses, inside each other. The links are those that an earlier life of the
 * task can leave. Docker mounts targets of one depth in any order. In one order alloc is uncovered,
 * and paddock refuses the start; in the other it is covered. runc 1.1.5 refuses both itself, 1.3.6
 * refuses neither.
 */
func TestTargetsThatLieInEachOtherUncoverNothing(t *testing.T) {
	paddockOnly(t, "Docker follows the link")
	p := launch(t)
	for i := 0; i < 8; i++ {
		k := newTask(t, p, "web", sleeper, func(c *drivers.TaskConfig) {
			local := filepath.Join(c.AllocDir, c.Name, "local")
			ok(t, os.Symlink("/p1", filepath.Join(local, "l")), "a link")
			ok(t, os.Symlink("/x", filepath.Join(local, "m")), "a link")
			c.Env["NOMAD_TASK_DIR"], c.Env["NOMAD_ALLOC_DIR"], c.Env["NOMAD_SECRETS_DIR"] = "/x", "/x/l", "/x/m"
		})
		if _, _, err := p.StartTask(k.cfg); err != nil {
			wantRefusal(t, k, err, "Failed to start container")
			continue
		}
		wantLogsOnAlloc(t, k)
		ok(t, k.destroy(p), "DestroyTask")
	}
}
