/*
 * Images from a registry: the Debian package docker-registry on loopback, with basic auth, and a
 * proxy in front of it that counts, delays or cuts requests. dockerd takes 127.0.0.0/8 for insecure
 * registries by default.
 */
package harness

import (
	"archive/tar"
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

	"github.com/hashicorp/nomad/plugins/drivers"
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

func TestPullWithTaskAuth(t *testing.T) {
	r := needRegistry(t)
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

/* A docker config file: plain credentials, then a helper program named for the registry. */
func TestPullWithConfigFile(t *testing.T) {
	r := needRegistry(t)
	file := filepath.Join(t.TempDir(), "config.json")
	basic := base64.StdEncoding.EncodeToString([]byte(regUser + ":" + regPass))
	ok(t, os.WriteFile(file, []byte(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, basic)), 0o600), "config file")
	p := launchWith(t, launchOptions{config: baseConfig(fmt.Sprintf("auth { config = %q }", file))})
	k := newTask(t, p, "file", r.anonymous("file:1", "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, r.forget(r.host+"/file:1"), "forgetting the image")

	dir := helperProgram(t, "harness-a", regUser, regPass)
	ok(t, os.WriteFile(file, []byte(fmt.Sprintf(`{"credHelpers":{%q:"harness-a"}}`, r.host)), 0o600), "config file")
	p = launchWith(t, launchOptions{config: baseConfig(fmt.Sprintf("auth { config = %q }", file)), env: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}})
	k = newTask(t, p, "helpers", r.anonymous("file:1", "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
	if asked := readFile(t, dir+"/asked"); asked != r.host {
		t.Errorf("the helper was asked for %q, want %q", asked, r.host)
	}
}

/* An email alone is not a credential for a registry. The plugin's sources are asked. */
func TestEmailAloneIsNoCredential(t *testing.T) {
	paddockOnly(t, "takes it for credentials and asks no other source; ignored since then")
	r := needRegistry(t)
	file := filepath.Join(t.TempDir(), "config.json")
	basic := base64.StdEncoding.EncodeToString([]byte(regUser + ":" + regPass))
	ok(t, os.WriteFile(file, []byte(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, basic)), 0o600), "config file")
	p := launchWith(t, launchOptions{config: baseConfig(fmt.Sprintf("auth { config = %q }", file))})
	k := newTask(t, p, "email", r.anonymous("plain:1", "force_pull = true\nauth { email = \"who@example.com\" }")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
}

func TestPullWithHelper(t *testing.T) {
	r := needRegistry(t)
	dir := helperProgram(t, "harness-b", regUser, regPass)
	env := []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	p := launchWith(t, launchOptions{config: baseConfig(`auth { helper = "harness-b" }`), env: env})
	k := newTask(t, p, "helper", r.anonymous("helper:1", "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")

	/* a helper that does not exist: an error that names it, unless the task has auth_soft_fail */
	p = launchWith(t, launchOptions{config: baseConfig(`auth { helper = "harness-none" }`), env: env})
	k = newTask(t, p, "nohelper", r.anonymous("plain:2", ""))
	wantError(t, k.tryStart(p), "a helper that does not exist", "harness-none")
	soft := newTask(t, p, "soft", r.anonymous("plain:2", "auth_soft_fail = true"))
	wantError(t, soft.tryStart(p), "auth_soft_fail continues with the pull", "Failed to pull")
}

func TestIdentityTokenReachesDocker(t *testing.T) {
	paddockOnly(t, "reads the token and does not send it")
	r := needRegistry(t)
	rec := record(t, run.dockerd.Socket())
	dir := helperProgram(t, "harness-t", "<token>", "an.identity.token")
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, `auth { helper = "harness-t" }`), env: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}})
	k := newTask(t, p, "token", r.anonymous("token:1", ""))
	_ = k.tryStart(p) /* the registry accepts no tokens: only what Docker was sent counts */
	if auth := rec.lastAuth(t); auth.str("identitytoken") != "an.identity.token" {
		t.Errorf("credentials %v, want identitytoken", auth)
	}
}

/* A docker-credential-NAME program that answers with this user and secret. Returns its directory. */
func helperProgram(t *testing.T, name, user, secret string) string {
	t.Helper()
	dir := t.TempDir()
	answer, _ := json.Marshal(map[string]string{"Username": user, "Secret": secret, "ServerURL": "x"})
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = get ] || exit 9\ncat >%s/asked\nprintf '%%s' '%s'\n", dir, answer)
	ok(t, os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(script), 0o755), "helper program")
	return dir
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	ok(t, err, "reading")
	return strings.TrimSpace(string(data))
}

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
