/* The metrics as Prometheus' own programs read them, and the page as a client reads it. */
package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err, "a port")
	defer l.Close()
	return l.Addr().String()
}

/* Starts a driver with metrics, at the address that is returned. */
func launchWithMetrics(t *testing.T, name, hcl string) (*plug, string) {
	t.Helper()
	address := freeAddress(t)
	p := launchWith(t, launchOptions{name: name, config: baseConfig(fmt.Sprintf("metrics { listen = %q }\n%s", address, hcl))})
	eventually(t, 20*time.Second, "the metrics listener", func() (bool, string) {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == 200, resp.Status
	})
	return p, address
}

type reply struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, method, url string, header map[string]string) reply {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	ok(t, err, "a request")
	for k, v := range header {
		req.Header.Set(k, v)
		if k == "Host" {
			req.Host = v
		}
	}
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	ok(t, err, method+" "+url)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ok(t, err, "the body")
	return reply{resp.StatusCode, resp.Header, string(body)}
}

const hostileTask = `x"><script>alert(1)</script>'&amp;`

/* Names of tasks and allocations come from job files. */
func TestPageShowsHostileNamesAsText(t *testing.T) {
	paddockOnly(t, "has no page")
	p, address := launchWithMetrics(t, "page", "")
	k := newTask(t, p, "page", sleeper).start(p)
	/* The agent does not allow such a name, either. The plugin does not rely on that. */
	evil := newTask(t, p, "evil", sleeper, func(c *drivers.TaskConfig) { c.Name = "evil"; c.ID += hostileTask }).start(p)
	r := ask(t, "GET", "http://"+address+"/", nil)
	if r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Fatalf("the page: %d %v", r.status, r.header)
	}
	nonce := regexp.MustCompile(`^default-src 'none'; style-src 'nonce-([0-9a-f]{32})'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$`).
		FindStringSubmatch(r.header.Get("Content-Security-Policy"))
	if nonce == nil || !strings.Contains(r.body, `<style nonce="`+nonce[1]+`">`) {
		t.Errorf("the policy: %q", r.header.Get("Content-Security-Policy"))
	}
	if strings.Contains(r.body, "<script") || strings.Contains(r.body, "http:") || strings.Contains(r.body, "https:") {
		t.Error("the page has a script or something from elsewhere")
	}
	for _, want := range []string{">page</td>", k.cfg.AllocID[:8], ">evil</td>"} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	eventually(t, 40*time.Second, "the output of check", func() (bool, string) {
		body := ask(t, "GET", "http://"+address+"/", nil).body
		at := strings.Index(body, "<h2>Check")
		return strings.Contains(body, ">dockerd</td>"), body[at:]
	})
	if r := ask(t, "GET", "http://"+address+"/", map[string]string{"Host": "evil.example"}); r.status != 403 || strings.Contains(r.body, k.cfg.AllocID[:8]) {
		t.Errorf("a foreign Host: %d %s", r.status, r.body)
	}
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, evil.destroy(p), "DestroyTask")
}

func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "error") {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

/* docs/metrics.md lists all metrics, and no others. */
func isDocumented(t *testing.T, metrics string) {
	t.Helper()
	text, err := os.ReadFile(contrib("..", "docs", "metrics.md"))
	ok(t, err, "the reference")
	rows := map[string]string{ofTasksOnV2: "counter"}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(metrics, -1) {
		rows[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		if rows[m[1]] != m[2] {
			t.Errorf("docs/metrics.md: %s is %q there and %q in the metrics", m[1], m[2], rows[m[1]])
		}
		delete(rows, m[1])
	}
	for name := range rows {
		t.Errorf("docs/metrics.md has no %s", name)
	}
}

func TestMetricsPleasePromtool(t *testing.T) {
	paddockOnly(t, "has no metrics")
	p, address := launchWithMetrics(t, "promtool", "")
	k := newTask(t, p, "counted", sleeper).start(p)
	r := ask(t, "GET", "http://"+address+"/metrics", nil)
	promtool(t, r.body, "check", "metrics")
	for _, want := range []string{`paddock_tasks{state="running"} 1`, `paddock_docker_up 1`,
		`paddock_docker_requests_total{operation="create",result="ok"} 1`,
		`paddock_image_pulls_total{result="error"} 0`} {
		if !strings.Contains(r.body, "\n"+want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	isDocumented(t, r.body)
	open := ask(t, "GET", "http://"+address+"/metrics", map[string]string{"Accept": "application/openmetrics-text;version=1.0.0"})
	if !strings.HasSuffix(open.body, "\n# EOF\n") || !strings.Contains(open.body, "# TYPE paddock_docker_requests counter\n") {
		t.Errorf("OpenMetrics: %s", open.body)
	}
	if h := ask(t, "HEAD", "http://"+address+"/metrics", nil); h.status != 200 || h.body != "" {
		t.Errorf("HEAD: %+v", h)
	}
	ok(t, k.destroy(p), "DestroyTask")
	/* A task's series ends with the task. */
	if r := ask(t, "GET", "http://"+address+"/metrics", nil); strings.Contains(r.body, k.cfg.AllocID) {
		t.Errorf("the task is removed, its series is not: %s", r.body)
	}
}

/* Docker answers each of these pulls with 200, and reports the error later in the body. */
func TestPullsAreCounted(t *testing.T) {
	paddockOnly(t, "has no metrics")
	r := needRegistry(t)
	p, address := launchWithMetrics(t, "pulls", "")
	r.blobDelay.Store(int64(20 * time.Millisecond)) /* Docker reports the progress of a slow layer */
	k := newTask(t, p, "counted", r.block("counted:1", "")).start(p)
	wantError(t, newTask(t, p, "tag", r.block("counted:no-such-tag", "")).tryStart(p), "a tag that does not exist", "Failed to pull")
	body := ask(t, "GET", "http://"+address+"/metrics", nil).body
	for _, want := range []string{`paddock_image_pulls_total{result="ok"} 1`, `paddock_image_pulls_total{result="not_found"} 1`,
		`paddock_image_pull_duration_seconds_count 1`} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("no line %q in %s", want, body)
		}
	}
	const noise = 400 << 10 /* of the layer; the rest of it can be compressed */
	m := regexp.MustCompile(`(?m)^paddock_image_pull_bytes_total ([0-9.e+]+)$`).FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("no bytes in %s", body)
	}
	if n, err := strconv.ParseFloat(m[1], 64); err != nil || n < noise || n > 4<<20 {
		t.Errorf("%s bytes of a layer with %d bytes of noise", m[1], noise)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* 100 clients at the same time, each with a head of 30 KiB. */
func TestMetricsManyClients(t *testing.T) {
	paddockOnly(t, "has no metrics")
	_, address := launchWithMetrics(t, "crowd", "")
	const n = 100
	results := make(chan error, n)
	for i := 0; i < n; i++ {
		go func() {
			req, _ := http.NewRequest("GET", "http://"+address+"/metrics", nil)
			req.Header.Set("Cookie", strings.Repeat("c", 30<<10))
			resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err == nil && resp.StatusCode != 200 {
					err = fmt.Errorf("%s", resp.Status)
				}
			}
			results <- err
		}()
	}
	for i := 0; i < n; i++ {
		ok(t, <-results, "GET /metrics")
	}
}

/* ---- contrib/ ---- */

func contrib(parts ...string) string {
	_, self, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(self), "..", "..", "contrib"}, parts...)...)
}

func TestAlertRules(t *testing.T) {
	paddockOnly(t, "has no rules")
	promtool(t, "", "check", "rules", contrib("prometheus", "paddock.rules.yml"))
	promtool(t, "", "test", "rules", contrib("prometheus", "paddock.rules.test.yml"))
	rules, err := os.ReadFile(contrib("prometheus", "paddock.rules.yml"))
	ok(t, err, "the rules")
	tests, err := os.ReadFile(contrib("prometheus", "paddock.rules.test.yml"))
	ok(t, err, "their tests")
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(tests), "- name: "+m[1]+"\n") {
			t.Errorf("no test for the alert %s", m[1])
		}
	}
}

/* The one metric that a node with cgroup v1 does not have. */
const ofTasksOnV2 = "paddock_cpuset_task_corrections_total"

type panel struct {
	Title   string
	Targets []struct{ Expr string }
}

/* What a query asks for, with the dashboard's variables filled in. */
func filledIn(expr string) string {
	return strings.NewReplacer("$__rate_interval", "10s", "$instance", ".*").Replace(expr)
}

type prometheus struct {
	t       *testing.T
	address string
}

/* Runs Debian's Prometheus with the alert rules; @targets: instance to address. */
func startPrometheus(t *testing.T, targets map[string]string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(contrib("prometheus", "paddock.rules.yml"))
	ok(t, err, "the rules' path")
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n- job_name: paddock\n  static_configs:\n", rules)
	for instance, address := range targets {
		config += fmt.Sprintf("  - targets: [%q]\n    labels: {instance: %q}\n", address, instance)
	}
	file := filepath.Join(dir, "prometheus.yml")
	ok(t, os.WriteFile(file, []byte(config), 0o644), "the configuration")
	p := &prometheus{t, freeAddress(t)}
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address, "--log.level=error")
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ok(t, cmd.Start(), "prometheus")
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", out.String())
		}
	})
	return p
}

type sample struct {
	Metric map[string]string
	Value  [2]any
}

/* The samples of an instant query. An error that the query did not cause means "not yet". */
func (p *prometheus) query(expr string) ([]sample, error) {
	resp, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []sample }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	return answer.Data.Result, nil
}

func (p *prometheus) await(expr string, want string) {
	p.t.Helper()
	eventually(p.t, 30*time.Second, expr, func() (bool, string) {
		got, err := p.query(expr)
		return err == nil && len(got) > 0 && got[0].Value[1] == want, fmt.Sprintf("%v %v", got, err)
	})
}

/* A healthy driver, and one whose dockerd is unavailable. Each query of the dashboard is
 * answered and shows the fault. */
func TestDashboardOnARealNode(t *testing.T) {
	paddockOnly(t, "has no dashboard")
	p, healthy := launchWithMetrics(t, "healthy", "")
	k := newTask(t, p, "drawn", sleeper).start(p)
	_, faulty := launchWithMetrics(t, "faulty", `endpoint = "unix:///nonexistent/docker.sock"`)
	prom := startPrometheus(t, map[string]string{"healthy": healthy, "faulty": faulty})
	prom.await(`paddock_docker_up{instance="healthy"}`, "1")
	prom.await(`paddock_docker_up{instance="faulty"}`, "0")
	prom.await(`paddock_tasks{instance="healthy",state="running"}`, "1")
	prom.await(`count(ALERTS{alertname="PaddockDockerUnreachable",alertstate="pending"})`, "1")
	/* rate() needs two samples. */
	prom.await(`count(rate(process_cpu_seconds_total[10s]))`, "2")

	text, err := os.ReadFile(contrib("grafana", "paddock.json"))
	ok(t, err, "the dashboard")
	var dashboard struct{ Panels []panel }
	ok(t, json.Unmarshal(text, &dashboard), "the dashboard")
	metric := regexp.MustCompile(`\b(paddock|process)_[a-z_]+`)
	queries := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries++
			if _, err := prom.query(filledIn(target.Expr)); err != nil {
				t.Errorf("%s: %s: %v", panel.Title, target.Expr, err)
			}
			for _, name := range metric.FindAllString(target.Expr, -1) {
				if name == ofTasksOnV2 {
					continue
				}
				got, err := prom.query(name)
				if err != nil || len(got) == 0 {
					t.Errorf("%s: the driver has no %s: %v", panel.Title, name, err)
				}
			}
		}
	}
	if queries < 20 {
		t.Errorf("the dashboard has %d queries", queries)
	}
	got, err := prom.query(filledIn(`sum by (operation, result) (paddock_docker_requests_total{result!="ok",instance="faulty"})`))
	if err != nil || len(got) == 0 || got[0].Metric["result"] != "unreachable" {
		t.Errorf("the fault in the requests: %v %v", got, err)
	}
	ok(t, k.destroy(p), "DestroyTask")
}
