/*
 * What is checked after each attack, and at the end of a siege: a refusal names no secret and leaves
 * no container, a container has only what it may have, the canaries were not touched, no secret is
 * in a text that the author of a job can read, and the neighbour's log is whole.
 */
package harness

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

/* Judges the result of a start: an error without the secrets and without a container, or a
 * container that has only what it may have. */
func (s *siege) judge(a attack, k *task, err error) (wrong []string) {
	s.t.Helper()
	switch {
	case err != nil && a.starts:
		wrong = append(wrong, fmt.Sprintf("refused: %v", err))
	case err == nil && a.fails:
		wrong = append(wrong, "not refused")
	}
	if err != nil {
		if attackVerbose {
			s.t.Logf("  %.600v", err)
		}
		if run.docker.inspect(s.t, k.container()) != nil {
			wrong = append(wrong, fmt.Sprintf("the refused start left its container (%v)", err))
		}
		return append(wrong, s.spoken("StartTask's error", err.Error())...)
	}
	d := k.inspect()
	if pid := d.num("State.Pid"); pid > 0 {
		data := filepath.Join(run.dir, "d/data")
		folders := []string{k.cfg.AllocDir, filepath.Join(data, "containers", d.str("Id")), filepath.Join(data, d.str("Driver"))}
		folders = append(folders, ownVolumes(d)...)
		if a.group { /* the sibling shares its resolv.conf and hostname */
			folders = append(folders, filepath.Join(data, "containers", s.pause))
		}
		strange, err := s.mounts.strange(itoa(int(pid)), folders...)
		if err == nil {
			wrong = append(wrong, strange...)
		}
	}
	/* it has searched when it sleeps; its output may go anywhere */
	saw, done := poll(10*time.Second, func() (bool, string) {
		d = run.docker.inspect(s.t, k.container())
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%.0f/comm", d.num("State.Pid")))
		return string(comm) == "sleep\n" || !d.running() || d.at("HostConfig.Init") == true, string(comm)
	})
	if !done {
		wrong = append(wrong, "the task does not come to its end: "+saw)
	}
	return append(wrong, s.spoken("docker logs", rawLog(k.container()))...)
}

/* The volumes that Docker made because the image declares them. Their names are random. */
func ownVolumes(d doc) (out []string) {
	mounts, _ := d["Mounts"].([]any)
	for _, m := range mounts {
		m, _ := m.(map[string]any)
		if name, _ := m["Name"].(string); m["Type"] == "volume" && len(name) == 64 {
			source, _ := m["Source"].(string)
			out = append(out, source)
		}
	}
	return out
}

/* Both streams as Docker has them, with its frames. Empty when Docker keeps none. */
func rawLog(container string) string {
	ctx, cancel := timeout(callLimit)
	defer cancel()
	resp, err := run.docker.Open(ctx, "GET", "/containers/"+container+"/logs?stdout=1&stderr=1", nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return string(data)
}

func (s *siege) complaints(k *task) (wrong []string) {
	s.t.Helper()
	wrong = append(s.host.complaints(), s.stranger.complaints()...)
	for path, f := range s.logs {
		text := drain(f)
		wrong = append(wrong, s.spoken("the log "+path, text)...)
		if path == s.neighbour.cfg.StdoutPath {
			s.neighbourLog += text
		}
	}
	wrong = append(wrong, s.spoken("task events", s.events.String())...)
	wrong = append(wrong, s.spoken("the plugin's log", s.p.stderr.String())...)
	if !alive(s.p.pid) {
		wrong = append(wrong, "the plugin died")
	}
	if run.docker.inspect(s.t, k.container()) != nil {
		wrong = append(wrong, "the sibling's container is still there")
		_ = run.docker.Remove(k.container())
	}
	for _, left := range sourcesOf(s.t, k.container()) {
		wrong = append(wrong, "left: "+left)
	}
	return wrong
}

func (s *siege) spoken(where, text string) []string {
	for _, c := range []*canary{s.host, s.stranger} {
		if i := strings.Index(text, c.secret); i >= 0 {
			return []string{fmt.Sprintf("the secret of %s is in %s: %.300q", c.dir, where, text[max(0, i-100):])}
		}
	}
	return nil
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

/* Ends the siege. The neighbour's log and exit code are its own, and no secret is in the
 * allocation. */
func (s *siege) end() {
	s.t.Helper()
	waiter := s.neighbour.waiter(s.p)
	ok(s.t, s.neighbour.stop(s.p, 20*time.Second, ""), "StopTask of the neighbour")
	if r := s.neighbour.result(waiter, callLimit); r.ExitCode != 6 {
		s.t.Errorf("the neighbour's result is %+v, want exit code 6", r)
	}
	eventually(s.t, 20*time.Second, "the neighbour's last line", func() (bool, string) {
		s.neighbourLog += drain(s.logs[s.neighbour.cfg.StdoutPath])
		return strings.HasSuffix(s.neighbourLog, "last\n"), lastLines(s.neighbourLog, 3)
	})
	checkCounter(s.t, s.neighbourLog)
	ok(s.t, s.neighbour.destroy(s.p), "DestroyTask of the neighbour")
	ok(s.t, s.evil.destroy(s.p), "DestroyTask of the attacker")
	ok(s.t, filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			for _, w := range s.spoken("the file "+path, string(data)) {
				s.t.Error(w)
			}
		}
		return nil
	}), "the allocation")
	ok(s.t, s.p.networks().DestroyNetwork(s.id, s.network), "DestroyNetwork")
	within(s.t, 20*time.Second, "Kill by the host", s.p.client.Kill)
	for _, b := range append(s.former, s.p.stderr) {
		for _, word := range []string{"AddressSanitizer", "LeakSanitizer", "runtime error:", "ThreadSanitizer"} {
			if i := strings.Index(b.String(), word); i >= 0 {
				s.t.Errorf("the plugin's log: %.2000s", b.String()[i:])
			}
		}
	}
}
