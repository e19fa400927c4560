/*
 * As much of the Docker Engine API as the tests need, straight over the socket:
 * what the driver told Docker is read back from Docker, not from the driver.
 * And the images, made from the machine's static busybox and sent by import.
 */
package harness

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

type dockerAPI struct {
	sock string
	http *http.Client
}

type dockerError struct {
	status int
	text   string
}

func (e *dockerError) Error() string { return fmt.Sprintf("docker answers %d: %s", e.status, e.text) }

func newDockerAPI(sock string) *dockerAPI {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", sock)
	}
	/* a connection for each call: the daemon behind the socket gets killed and comes back */
	return &dockerAPI{sock: sock, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

/* One call. body: nil, an io.Reader (sent as a tar) or a value (sent as JSON). out: nil or where the JSON goes. */
func (d *dockerAPI) do(ctx context.Context, method, path string, body, out any) (int, error) {
	var reader io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader, contentType = b, "application/x-tar"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return 0, err
		}
		reader, contentType = bytes.NewReader(data), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker/v1.41"+path, reader)
	if err != nil {
		return 0, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode >= 400 {
		return resp.StatusCode, &dockerError{resp.StatusCode, strings.TrimSpace(string(data))}
	}
	if out != nil {
		return resp.StatusCode, json.Unmarshal(data, out)
	}
	/* image calls report errors inside a 200 stream */
	if bytes.Contains(data, []byte(`"errorDetail"`)) {
		return resp.StatusCode, &dockerError{resp.StatusCode, string(data)}
	}
	return resp.StatusCode, nil
}

func (d *dockerAPI) call(method, path string, body, out any) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return d.do(ctx, method, path, body, out)
}

/* The whole `docker inspect` document, or nil when there is no such container. */
func (d *dockerAPI) inspect(t testing.TB, id string) doc {
	t.Helper()
	var out doc
	status, err := d.call("GET", "/containers/"+id+"/json", nil, &out)
	if status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		t.Fatalf("inspect %s: %v", id, err)
	}
	return out
}

type containerEntry struct {
	ID     string `json:"Id"`
	Names  []string
	State  string
	Labels map[string]string
}

func (d *dockerAPI) list() ([]containerEntry, error) {
	var out []containerEntry
	_, err := d.call("GET", "/containers/json?all=1", nil, &out)
	return out, err
}

func (d *dockerAPI) remove(id string) error {
	status, err := d.call("DELETE", "/containers/"+id+"?force=1&v=1", nil, nil)
	if status == http.StatusNotFound {
		return nil
	}
	return err
}

func (d *dockerAPI) removeAll() {
	list, err := d.list()
	if err != nil {
		fmt.Fprintf(os.Stderr, "harness: listing containers: %v\n", err)
		return
	}
	for _, c := range list {
		if err := d.remove(c.ID); err != nil {
			fmt.Fprintf(os.Stderr, "harness: removing container %.12s: %v\n", c.ID, err)
		}
	}
}

func (d *dockerAPI) hasImage(ref string) bool {
	_, err := d.call("GET", "/images/"+url.PathEscape(ref)+"/json", nil, &doc{})
	return err == nil
}

/* Makes an image of a root file system tar. changes: Dockerfile instructions (CMD, ENV, USER...). */
func (d *dockerAPI) importImage(ref string, root []byte, changes ...string) error {
	repo, tag, _ := strings.Cut(ref, ":")
	q := url.Values{"fromSrc": {"-"}, "repo": {repo}, "tag": {tag}, "changes": changes}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := d.do(ctx, "POST", "/images/create?"+q.Encode(), bytes.NewReader(root), nil)
	return err
}

/* A busybox root file system: the static binary and a link for each applet. extra: path to content. */
func busyboxRoot(extra map[string]string) ([]byte, error) {
	const busybox = "/bin/busybox"
	binary, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("%w (the Debian package busybox-static has it)", err)
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, data []byte) {
		if err == nil {
			h.Size, h.Uid, h.Gid = int64(len(data)), 0, 0
			if err = w.WriteHeader(&h); err == nil {
				_, err = w.Write(data)
			}
		}
	}
	for _, dir := range []string{"bin", "tmp", "etc", "proc", "dev", "sys", "root", "var"} {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, binary)
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nnogroup:x:65534:\n"))
	for name, content := range extra {
		add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755}, []byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	return buf.Bytes(), err
}

func importImages(d *dockerAPI) error {
	root, err := busyboxRoot(nil)
	if err != nil {
		return err
	}
	if err := d.importImage(imageBusybox, root, `ENV PATH=/bin`); err != nil {
		return err
	}
	return d.importImage(imagePause, root, `ENV PATH=/bin`,
		`ENTRYPOINT ["/bin/sh","-c","trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]`)
}

/* A JSON object of which the tests look at a few members. */
type doc map[string]any

/* The member at a dotted path, nil when a step is missing. A number steps into a list. */
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
