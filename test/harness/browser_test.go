/*
 * The page in a real browser, with tasks whose names try to run something. It runs by command only
 * (`./run test page`): HARNESS_BROWSER names a Chromium.
 */
package harness

import (
	"context"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

/* The test's name, for main_test.go: it is left out when no browser is named. */
const browserTest = "TestPageInABrowser"

/* The run has its own network, so that this port is free. */
const canaryAddress = "127.0.0.1:80"

/* What the browser makes of a page: the document as HTML, after scripts in its texts could run. */
func browse(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	profile := t.TempDir()
	cmd := exec.CommandContext(ctx, os.Getenv("HARNESS_BROWSER"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--user-data-dir="+profile, "--dump-dom", url)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	out, err := cmd.Output()
	if err != nil {
		var words string
		if e, is := err.(*exec.ExitError); is {
			words = lastLines(string(e.Stderr), 20)
		}
		t.Fatalf("%v %s: %v\n%s", cmd.Args, url, err, words)
	}
	return string(out)
}

/* Each name asks canaryAddress for something when a browser takes it for HTML. */
func hostileNames() []string {
	const there = "//127.0.0.1/"
	return []string{
		`<script>fetch("` + there + `script")</script>`,
		`<img src="` + there + `img">`,
		`"><svg onload="fetch('` + there + `svg')">`,
		`'><iframe src='` + there + `iframe'></iframe>`,
		`</title><style>@import "` + there + `style";</style>`,
		`</td></table><link rel=stylesheet href=` + there + `link>`,
		"\u0085</style \u2028><body onload=fetch('" + there + "body')>",
		`<meta http-equiv=refresh content="0;url=` + there + `refresh">`,
	}
}

func TestPageInABrowser(t *testing.T) {
	paddockOnly(t, "has no page")
	var asked atomic.Int32
	names := hostileNames()
	listener, err := net.Listen("tcp", canaryAddress)
	ok(t, err, "the server that the names ask")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/unescaped" {
			fmt.Fprintf(w, "<!doctype html><title>a page</title><p>%s", strings.Join(names, "<p>"))
		} else if r.URL.Path != "/favicon.ico" {
			asked.Add(1)
		}
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()

	/* The names work: when they are not escaped, the browser runs them and the request reaches the
	 * server. */
	browse(t, server.URL+"/unescaped")
	if asked.Load() == 0 {
		t.Fatal("the names ask for nothing even where they are not escaped: this test could not fail")
	}
	asked.Store(0)

	/* Docker accepts no container with such a name. A handle can still contain one, and the plugin
	 * does not rely on the agent. */
	p := launchWith(t, launchOptions{name: "browsed"})
	tasks := make([]*task, len(names))
	for i := range names {
		tasks[i] = newTask(t, p, "browsed", sleeper).start(p)
	}
	p.crash(t)
	p, page := launchWithMetrics(t, "browsed", "")
	for i, name := range names {
		h := persisted(t, tasks[i].handle)
		h.Config.Name = name
		ok(t, recoverWith(t, p, h), "RecoverTask")
	}
	dom := browse(t, "http://"+page+"/")
	if n := asked.Load(); n != 0 {
		t.Errorf("a name made the browser send %d requests", n)
	}
	/* In a text, "<" is written as "&lt;". Every other "<" begins an element. */
	if m := regexp.MustCompile(`<(script|img|iframe|link|object|base|style>|\w+[^>]*\son\w+=)`).FindString(dom); m != "" {
		t.Errorf("the document has an element %q", m)
	}
	for _, name := range names {
		shown := html.EscapeString(strings.ReplaceAll(name, "\u0085", "?"))
		shown = strings.NewReplacer("&#34;", `"`, "&#39;", "'").Replace(shown) /* the way a browser writes a text */
		if !strings.Contains(dom, ">"+shown+"</td>") {
			t.Errorf("the name %q is not shown", name)
		}
	}
	for _, k := range tasks {
		ok(t, k.destroy(p), "DestroyTask")
	}
}
