/*
 * The registry of the harness: the Debian package docker-registry on loopback, with basic auth, and
 * a proxy in front of it that counts, delays or cuts requests. dockerd takes 127.0.0.0/8 for
 * insecure registries by default.
 */
package harness

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"paddock.invalid/test/harness/engine"
)

const (
	regUser = "harness"
	regPass = "s3cret/with:odd+chars"
)

type registry struct {
	host string /* of the proxy: image names begin with it */
	/* what the proxy does; set by a test before it pulls */
	blobDelay atomic.Int64 /* ns before each chunk of a layer */
	cutAfter  atomic.Int64 /* bytes of a layer after which the connection is cut; 0: never */
	manifests atomic.Int64 /* requests for a manifest */
	blobs     atomic.Int64 /* requests for a layer */
}

var theRegistry struct {
	once sync.Once
	reg  *registry
	err  error
	end  func()
}

/* The run's only registry, started at its first use, with its images pushed. */
func needRegistry(t *testing.T) *registry {
	t.Helper()
	theRegistry.once.Do(func() { theRegistry.reg, theRegistry.end, theRegistry.err = startRegistry() })
	ok(t, theRegistry.err, "the registry")
	r := theRegistry.reg
	r.blobDelay.Store(0)
	r.cutAfter.Store(0)
	t.Cleanup(func() {
		r.blobDelay.Store(0)
		r.cutAfter.Store(0)
	})
	return r
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func startRegistry() (*registry, func(), error) {
	dir := filepath.Join(run.dir, "reg")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	crypt, err := bcrypt.GenerateFromPassword([]byte(regPass), bcrypt.MinCost)
	if err != nil {
		return nil, nil, err
	}
	config := fmt.Sprintf(`version: 0.1
log: { level: warn }
storage: { filesystem: { rootdirectory: %q }, delete: { enabled: true } }
http: { addr: "127.0.0.1:%d" }
auth: { htpasswd: { realm: harness, path: %q } }
`, dir+"/data", port, dir+"/htpasswd")
	if err := os.WriteFile(dir+"/htpasswd", []byte(regUser+":"+string(crypt)+"\n"), 0o600); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		return nil, nil, err
	}
	logFile, err := os.Create(dir + "/log")
	if err != nil {
		return nil, nil, err
	}
	defer logFile.Close()
	cmd := exec.Command("docker-registry", "serve", dir+"/config.yml")
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("%w (the Debian package docker-registry has it)", err)
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	r := &registry{}
	end := func() { _ = cmd.Process.Kill(); <-gone }

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		end()
		return nil, nil, err
	}
	r.host = l.Addr().String()
	go func() { _ = http.Serve(l, r.proxy(fmt.Sprintf("127.0.0.1:%d", port))) }()

	up := func() (bool, string) {
		resp, err := http.Get("http://" + r.host + "/v2/")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusUnauthorized, resp.Status
	}
	if saw, is := poll(20*time.Second, up); !is {
		end()
		return nil, nil, fmt.Errorf("does not come up: %s; %s", saw, engine.Tail(dir+"/log", 5))
	}
	if err := r.fill(); err != nil {
		end()
		return nil, nil, err
	}
	return r, end, nil
}

/* The proxy in front of the registry. Locations and addresses in answers are the proxy's,
 * because of the Host header. */
func (r *registry) proxy(backend string) http.Handler {
	rp := &httputil.ReverseProxy{
		Director:      func(q *http.Request) { q.URL.Scheme, q.URL.Host = "http", backend },
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method == http.MethodGet && strings.Contains(resp.Request.URL.Path, "/blobs/") && resp.ContentLength > 100<<10 {
				r.blobs.Add(1)
				resp.Body = &troubled{ReadCloser: resp.Body, r: r}
			}
			return nil
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.URL.Path, "/manifests/") && q.Method != http.MethodPut {
			r.manifests.Add(1)
		}
		rp.ServeHTTP(w, q)
	})
}

/* The body of a layer over a bad line. */
type troubled struct {
	io.ReadCloser
	r    *registry
	read int64
}

func (b *troubled) Read(p []byte) (int, error) {
	if len(p) > 8<<10 {
		p = p[:8<<10]
	}
	if d := b.r.blobDelay.Load(); d > 0 {
		time.Sleep(time.Duration(d)) /* this is the slow line itself; the test does not wait here */
	}
	if cut := b.r.cutAfter.Load(); cut > 0 && b.read >= cut {
		return 0, fmt.Errorf("cut off by the test")
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	return n, err
}

func registryAuth() string {
	data, _ := json.Marshal(map[string]string{"username": regUser, "password": regPass})
	return base64.URLEncoding.EncodeToString(data)
}

/* Pushes each image that the tests pull. A layer of noise makes each image's layers different. */
func (r *registry) fill() error {
	for _, name := range []string{"plain", "many", "slow", "cut", "latest", "digest", "load", "gc", "gc2", "helper", "file", "token", "counted"} {
		if err := r.push(name+":1", 400<<10); err != nil {
			return err
		}
	}
	return r.push("latest:latest", 200<<10)
}

func (r *registry) push(name string, noise int) error {
	random := make([]byte, noise)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	root, err := engine.BusyboxRoot(map[string]string{"noise": string(random)})
	if err != nil {
		return err
	}
	ref := r.host + "/" + name
	repo, tag := ref[:strings.LastIndex(ref, ":")], ref[strings.LastIndex(ref, ":")+1:]
	q := url.Values{"fromSrc": {"-"}, "repo": {repo}, "tag": {tag}, "changes": {"ENV PATH=/bin"}}
	ctx, cancel := timeout(time.Minute)
	defer cancel()
	if _, err := run.docker.Do(ctx, "POST", "/images/create?"+q.Encode(), bytes.NewReader(root), nil); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", "http://docker/v1.41/images/"+repo+"/push?tag="+tag, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Registry-Auth", registryAuth())
	resp, err := run.docker.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || bytes.Contains(data, []byte(`"error"`)) {
		return fmt.Errorf("push of %s: %s %s", ref, resp.Status, data)
	}
	return r.forget(ref)
}

func (r *registry) forget(ref string) error {
	status, err := run.docker.Call("DELETE", "/images/"+url.PathEscape(ref)+"?force=1", nil, nil)
	if status == http.StatusNotFound {
		return nil
	}
	return err
}

func (r *registry) block(name, extra string) string {
	return fmt.Sprintf("image = %q\ncommand = \"/bin/sleep\"\nargs = [\"1000\"]\nauth { username = %q  password = %q }\n%s", r.host+"/"+name, regUser, regPass, extra)
}

func (r *registry) anonymous(name, extra string) string {
	return fmt.Sprintf("image = %q\ncommand = \"/bin/sleep\"\nargs = [\"1000\"]\n%s", r.host+"/"+name, extra)
}
