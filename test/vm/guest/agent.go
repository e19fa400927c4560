/*
 * The real Nomad agent of the guest: its systemd unit like the packaged one, and its HTTP API.
 */
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	nomadURL  = "http://127.0.0.1:4646"
	agentData = "/opt/nomad/data"
	jobsDir   = "/opt/nomad/jobs"
)

/* KillMode=process lets plugins and log processes outlive a killed agent. */
const agentUnit = `[Unit]
After=docker.service
[Service]
ExecStart=/opt/nomad/nomad agent -config /opt/nomad/config
KillMode=process
KillSignal=SIGINT
LimitNOFILE=65536
TasksMax=infinity
OOMScoreAdjust=-1000
`

var nomadHTTP = &http.Client{Timeout: 20 * time.Second * slowness()}

/* One request to the agent; the answer's JSON goes into out unless that is nil. */
func nomad(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, nomadURL+path, body)
	if err != nil {
		return err
	}
	resp, err := nomadHTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(data)))
	}
	if text, plain := out.(*string); plain {
		*text = string(data)
		return nil
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

/* Starts the agent with the content of plugin_dir, and waits until the node accepts docker jobs. */
func agentStart(t *T) {
	t.ok(os.WriteFile("/run/systemd/system/nomad.service", []byte(agentUnit), 0o644), "unit")
	t.sh("systemctl", "daemon-reload")
	t.sh("systemctl", "start", "nomad.service")
	agentReady(t)
}

func agentReady(t *T) {
	t.eventually(120*time.Second, "the node is ready with a healthy docker driver", func() (bool, string) {
		var nodes []struct {
			Status  string
			Drivers map[string]struct {
				Detected, Healthy bool
				HealthDescription string
			}
		}
		if err := nomad("GET", "/v1/nodes", nil, &nodes); err != nil {
			if out, _ := sh("systemctl", "is-active", "nomad.service"); strings.Contains(out, "failed") {
				t.fatalf("the agent ended: %s", agentLog(3))
			}
			return false, err.Error()
		}
		if len(nodes) != 1 {
			return false, fmt.Sprintf("%d nodes", len(nodes))
		}
		d := nodes[0].Drivers["docker"]
		return nodes[0].Status == "ready" && d.Detected && d.Healthy, fmt.Sprintf("%+v", nodes[0])
	})
}

/* The last lines of the agent's log. */
func agentLog(lines int) string {
	out, _ := sh("journalctl", "-u", "nomad.service", "-n", strconv.Itoa(lines), "-o", "cat", "--no-pager")
	return out
}

/* Stops the agent and deletes its state. What is left of its tasks is removed by hand. */
func agentWipe() {
	_, _ = sh("systemctl", "stop", "nomad.service")
	for _, p := range pluginProcesses() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	names, _ := containers()
	for _, name := range names {
		_ = remove(strings.TrimPrefix(name, "/"))
	}
	data, _ := os.ReadFile("/proc/self/mounts")
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], agentData) {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
	_ = os.RemoveAll(agentData)
	scopes, _ := filepath.Glob(filepath.Join(nomadSlice, "*.scope"))
	for _, dir := range append(scopes, shareSlice, reserveSlice, nomadSlice) {
		_ = os.Remove(dir)
	}
	forgetNomadSlice()
}

type alloc struct {
	ID           string
	ClientStatus string
	TaskStates   map[string]struct {
		State    string
		Failed   bool
		Restarts int
		Events   []struct{ Type, DisplayMessage string }
	}
}

func (a alloc) String() string {
	text := a.ClientStatus
	for name, s := range a.TaskStates {
		text += fmt.Sprintf(" %s:%s restarts=%d", name, s.State, s.Restarts)
		for _, e := range s.Events {
			text += "; " + e.DisplayMessage
		}
	}
	return text
}

func allocOf(job string) (alloc, error) {
	var list []alloc
	if err := nomad("GET", "/v1/job/"+job+"/allocations", nil, &list); err != nil {
		return alloc{}, err
	}
	if len(list) != 1 {
		return alloc{}, fmt.Errorf("%d allocations", len(list))
	}
	return list[0], nil
}

/* A job of one task whose name is the job's, as the files in plugin/examples/jobs are. */
type runningJob struct {
	name, alloc string
	box         *container
	cgroup      string
	source      string /* the file that the client writes for the task */
	again       int    /* how often its log may begin again */
}

func jobRun(t *T, name string) *runningJob {
	text, err := os.ReadFile(filepath.Join(jobsDir, name+".nomad.hcl"))
	t.ok(err, "job file")
	submit(t, string(text))
	a := deployed(t, name)
	j := &runningJob{name: name, alloc: a.ID}
	j.box, err = inspect(name + "-" + a.ID)
	t.ok(err, "the job's container")
	j.cgroup, err = j.box.cgroup()
	t.ok(err, "the container's cgroup")
	j.source = filepath.Join(nomadSlice, a.ID+"."+name+".scope", "cpuset.cpus")
	return j
}

/* nomad job run */
func submit(t *T, hcl string) {
	var job map[string]any
	t.ok(nomad("POST", "/v1/jobs/parse", map[string]any{"JobHCL": hcl, "Canonicalize": true}, &job), "parse")
	t.ok(nomad("POST", "/v1/jobs", map[string]any{"Job": job}, nil), "job run")
}

/* Waits until the job's one allocation is healthy. */
func deployed(t *T, name string) alloc {
	t.eventually(120*time.Second, "the deployment of "+name+" is healthy", func() (bool, string) {
		var d struct{ Status, StatusDescription string }
		if err := nomad("GET", "/v1/job/"+name+"/deployment", nil, &d); err != nil {
			return false, err.Error()
		}
		a, _ := allocOf(name)
		return d.Status == "successful", d.Status + ": " + a.String()
	})
	a, err := allocOf(name)
	t.ok(err, "allocation")
	return a
}

func (j *runningJob) cpusFile() string { return filepath.Join(j.cgroup, "cpuset.cpus") }

/* Waits until container and client agree. Returns how long that took, and the value. */
func (j *runningJob) agrees(t *T, limit time.Duration) (time.Duration, set) {
	took := t.eventually(limit, j.name+" is on the client's set", j.agree)
	want, err := readSet(j.source)
	t.ok(err, "the client's set")
	return took, want
}

func (j *runningJob) agree() (bool, string) {
	source, err1 := readSet(j.source)
	is, err2 := readSet(j.cpusFile())
	return err1 == nil && err2 == nil && source == is && source != 0,
		fmt.Sprintf("client %s, container %s, %v %v", source, is, err1, err2)
}

/* Outside writes are undone immediately. */
func (j *runningJob) repairs(t *T, when string) {
	j.agrees(t, 15*time.Second)
	var all []span
	t.asObserver(func() {
		for i := 0; i < outsideWrites; i++ {
			all = append(all, t.swiftly("the repair of "+j.name, func() {
				t.ok(writeFile(j.cpusFile(), "0"), "outside write")
			}, j.agree))
		}
	})
	t.inTime(when+" outside writes to "+j.name+" stood for", all)
}

func (j *runningJob) logs() (string, error) {
	var text string
	err := nomad("GET", "/v1/client/fs/logs/"+j.alloc+"?"+url.Values{
		"task": {j.name}, "type": {"stdout"}, "plain": {"true"}, "origin": {"start"},
	}.Encode(), nil, &text)
	return text, err
}

/*
 * The number of the last whole line "hello N: ...". Every number up to it must have come once, in
 * order. Where the built-in driver took over the task, its log begins again once, because its new
 * docker_logger does not know from when to continue.
 */
func (j *runningJob) lastLine(t *T, when string) int {
	text, err := j.logs()
	t.ok(err, "logs of "+j.name)
	lines := strings.Split(text, "\n")
	lines = lines[:len(lines)-1]
	n, again := 0, 0
	for i, line := range lines {
		if again < j.again && strings.HasPrefix(line, "hello 1: ") && i > 0 {
			n, again = 0, again+1
		}
		n++
		if !strings.HasPrefix(line, fmt.Sprintf("hello %d: ", n)) {
			t.fatalf("%s the log of %s is not what it printed: line %d is %q, after %q", when, j.name, i+1, line, lines[max(0, i-3):i])
		}
	}
	return n
}

/* The log continues by at least two lines. No line of it is lost or comes twice. */
func (j *runningJob) logContinues(t *T, when string) {
	from := j.lastLine(t, when)
	t.eventually(30*time.Second, when+" the logs go on", func() (bool, string) {
		n := j.lastLine(t, when)
		return n >= from+2, fmt.Sprintf("line %d, it was %d", n, from)
	})
}

/* The same container, never restarted, also according to the agent. */
func (j *runningJob) keepsRunning(t *T, when string) {
	t.eventually(60*time.Second, when+" the agent has the task of "+j.name, func() (bool, string) {
		a, err := allocOf(j.name)
		if err != nil {
			return false, err.Error()
		}
		s := a.TaskStates[j.name]
		if s.Restarts != 0 || s.Failed {
			t.fatalf("%s the task was restarted: %s", when, a)
		}
		return a.ClientStatus == "running" && s.State == "running", a.String()
	})
	box, err := inspect(j.box.ID)
	t.ok(err, "the container "+when)
	if !box.State.Running || box.State.StartedAt != j.box.State.StartedAt {
		t.fatalf("%s the container of %s is not the one that was started", when, j.name)
	}
}

func (j *runningJob) stop(t *T) {
	t.ok(nomad("DELETE", "/v1/job/"+j.name, nil, nil), "job stop")
	t.eventually(60*time.Second, "the allocation of "+j.name+" is complete", func() (bool, string) {
		a, err := allocOf(j.name)
		return err == nil && a.ClientStatus == "complete", fmt.Sprint(a, err)
	})
}

type process struct {
	pid  int
	argv string
}

/* The processes whose program is in plugin_dir: the plugin, and those that it starts from its
 * own program. */
func pluginProcesses() []process {
	var out []process
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err == nil && strings.HasPrefix(exe, filepath.Dir(pluginPath)+"/") {
			argv, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			out = append(out, process{pid, strings.TrimSpace(strings.ReplaceAll(string(argv), "\x00", " "))})
		}
	}
	return out
}

/* The plugin that serves the agent: the one without a role in its arguments. */
func pluginPid(t *T) int {
	pid := 0
	t.eventually(30*time.Second, "one plugin process", func() (bool, string) {
		all := pluginProcesses()
		n := 0
		for _, p := range all {
			if p.argv == pluginPath {
				n, pid = n+1, p.pid
			}
		}
		return n == 1, fmt.Sprint(all)
	})
	return pid
}

/* Sends SIGKILL. Returns the process. */
func killPlugin(t *T) int {
	pid := pluginPid(t)
	t.ok(syscall.Kill(pid, syscall.SIGKILL), "kill -9")
	return pid
}

/* Waits until the agent has started a plugin that is not this one. */
func newPlugin(t *T, old int) {
	t.eventually(60*time.Second, "a new plugin", func() (bool, string) {
		all := pluginProcesses()
		for _, p := range all {
			if p.argv == pluginPath && p.pid != old {
				return true, ""
			}
		}
		return false, fmt.Sprint(all)
	})
}

/* All unix sockets that have a file. */
func socketFiles() map[string]bool {
	files := map[string]bool{}
	for _, dir := range []string{"/run", "/tmp", "/var/tmp", "/opt", "/var/lib/nomad"} {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type()&os.ModeSocket != 0 {
				files[path] = true
			}
			return nil
		})
	}
	return files
}

/* Puts the program into plugin_dir, or removes it: the agent then has its built-in driver. */
func installPlugin(t *T, there bool) {
	_ = os.Remove(pluginPath)
	if there {
		/* a copy that gets the name in one step: the running plugin's file must not be written to */
		t.sh("cp", "/opt/nomad/paddock", filepath.Dir(pluginPath)+"/../docker.new")
		t.ok(os.Rename(filepath.Dir(pluginPath)+"/../docker.new", pluginPath), "plugin file")
	}
}

func nomadCLI(args ...string) (string, error) {
	out, err := exec.Command("/opt/nomad/nomad", args...).Output()
	return string(out), err
}
