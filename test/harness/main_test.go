/*
 * The harness: Nomad's own host code (v1.6.3) and go-plugin with a real driver binary and a real
 * dockerd.
 *
 * One run is one temporary directory: the dockerd that the run starts for itself, the images that
 * it makes without a registry, the plugin processes, the alloc directories. Everything is removed
 * at the end, whatever the tests did. A last check (leftovers in util_test.go) fails the run when
 * something is left.
 *
 *   PADDOCK_BIN      absolute path of the driver under test
 *   PADDOCK_REF      absolute path of the reference driver (Nomad v1.6.3's
 *                    drivers/docker/cmd), for the tests that need both
 *   HARNESS_SUBJECT  "paddock" (default) or "reference": runs the rules that
 *                    both keep against the reference, which proves the tests.
 *                    A test of a rule that the reference does not keep calls
 *                    paddockOnly()
 *   HARNESS_TMP      where the temporary directory is made (default /tmp; short,
 *                    since unix socket paths end at 107 bytes)
 *   HARNESS_BROWSER  a Chromium, for the test of the page in it, which is left
 *                    out otherwise
 *   HARNESS_KEEP     not empty: keeps the temporary directory with its logs
 *
 * A missing dockerd or binary fails the run. Nothing is skipped silently.
 */
package harness

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"paddock.invalid/test/harness/engine"
)

/* What one run shares. Set up by TestMain, read-only for the tests. */
var run struct {
	dir       string /* everything of this run is below it */
	subject   string /* binary under test */
	reference string /* reference driver, "" when none was given */
	isRef     bool   /* true when the subject is the reference */
	dockerd   *engine.Daemon
	docker    *dockerAPI
}

/* Images made at start, by import: no registry is needed. */
const (
	imageBusybox = "paddock.test/busybox:1"
	imagePause   = "paddock.test/pause:1"
)

func TestMain(m *testing.M) {
	if os.Getenv(attackerRoot) != "" { /* inside the container of an attack */
		os.Exit(attackerMain())
	}
	flag.Parse()
	if os.Getenv("HARNESS_BROWSER") == "" {
		leave := flag.Lookup("test.skip").Value
		_ = leave.Set(strings.TrimPrefix(leave.String()+"|^"+browserTest+"$", "|"))
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) (code int) {
	fail := func(format string, args ...any) int {
		fmt.Fprintf(os.Stderr, "harness: "+format+"\n", args...)
		return 1
	}

	if os.Geteuid() != 0 {
		return fail("needs root: it starts a dockerd")
	}
	run.reference = os.Getenv("PADDOCK_REF")
	switch s := os.Getenv("HARNESS_SUBJECT"); s {
	case "", "paddock":
		run.subject = os.Getenv("PADDOCK_BIN")
	case "reference":
		run.subject, run.isRef = run.reference, true
	default:
		return fail("HARNESS_SUBJECT=%q: want paddock or reference", s)
	}
	if !filepath.IsAbs(run.subject) {
		return fail("PADDOCK_BIN (or PADDOCK_REF): want an absolute path, have %q", run.subject)
	}
	if _, err := os.Stat(run.subject); err != nil {
		return fail("the driver under test: %v", err)
	}

	tmp := os.Getenv("HARNESS_TMP")
	if tmp == "" {
		tmp = "/tmp"
	}
	dir, err := os.MkdirTemp(tmp, "ph-")
	if err != nil {
		return fail("%v", err)
	}
	run.dir = dir
	/* a dockerd with a remapped root must be able to pass through it */
	if err := os.Chmod(dir, 0o711); err != nil {
		return fail("%v", err)
	}
	var once sync.Once
	cleanup := func() { once.Do(tearDown) }
	defer cleanup()

	for _, sub := range []string{"t", "bin", "alloc"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return fail("%v", err)
		}
	}
	/* some tests request mount propagation, which needs a shared mount as the source */
	alloc := filepath.Join(dir, "alloc")
	if err := syscall.Mount(alloc, alloc, "", syscall.MS_BIND, ""); err != nil {
		return fail("bind mount of %s: %v", alloc, err)
	}
	if err := syscall.Mount("", alloc, "", syscall.MS_SHARED, ""); err != nil {
		return fail("shared mount of %s: %v", alloc, err)
	}
	/* Sockets and temporary files of plugins and tests are made below our directory. */
	os.Setenv("TMPDIR", filepath.Join(dir, "t"))
	/* The cookie of an outer host must not reach programs that are no plugins. */
	os.Unsetenv("NOMAD_PLUGIN_MAGIC_COOKIE")

	/* Ctrl-C and a deadline of the caller must not leave a dockerd behind. */
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		sig := <-signals
		fmt.Fprintf(os.Stderr, "harness: %v, cleaning up\n", sig)
		cleanup()
		os.Exit(1)
	}()

	var extra []string
	if arg := os.Getenv(dockerdArg); arg != "" {
		extra = append(extra, arg)
	}
	d, err := engine.StartDaemon(filepath.Join(dir, "d"), extra...)
	if err != nil {
		return fail("%v", err)
	}
	run.dockerd, run.docker = d, &dockerAPI{engine.New(d.Socket(), 0)}
	if err := importImages(run.docker); err != nil {
		return fail("making the images: %v", err)
	}

	code = m.Run()
	if run.isRef {
		/* a crash of the reference leaves its docker_logger processes and sockets; they are not
		 * checked */
		tidyReference()
	}
	if left := leftovers(5 * time.Second); len(left) > 0 {
		code = fail("left by the tests:\n  %s", joinLines(left))
	}
	return code
}

/* Ends what this run started and removes its directory. Reports what it cannot end. */
func tearDown() {
	if theRegistry.end != nil {
		theRegistry.end()
	}
	if run.docker != nil {
		if err := run.docker.RemoveAll(); err != nil {
			fmt.Fprintf(os.Stderr, "harness: %v\n", err)
		}
	}
	if run.dockerd != nil {
		if err := run.dockerd.Stop(); err != nil {
			fmt.Fprintf(os.Stderr, "harness: stopping dockerd: %v\n", err)
		}
	}
	killBelow(run.dir)
	killShims(run.dir)
	unmountBelow(run.dir)
	for dir := range pumpDirs.all {
		unmountBelow(dir + "-volumes")
		os.RemoveAll(dir + "-volumes")
		os.RemoveAll(dir)
	}
	if os.Getenv("HARNESS_KEEP") != "" {
		fmt.Fprintf(os.Stderr, "harness: kept %s\n", run.dir)
		return
	}
	if err := os.RemoveAll(run.dir); err != nil {
		fmt.Fprintf(os.Stderr, "harness: %v\n", err)
	}
}

/*
 * Marks a rule that the reference does not keep, and what the reference does instead. On a run with
 * the reference, the test is left out, visibly. On a run with paddock, this does nothing.
 */
func paddockOnly(t *testing.T, reference string) {
	t.Helper()
	if run.isRef {
		t.Skipf("paddock's rule alone; the reference: %s", reference)
	}
}

/* For tests that need both drivers. A missing reference is a failure, not a skip. */
func needReference(t *testing.T) string {
	t.Helper()
	if !filepath.IsAbs(run.reference) {
		t.Fatal("PADDOCK_REF is not set: build it with test/harness/build")
	}
	return run.reference
}
