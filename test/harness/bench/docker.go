/* The dockerd of the run, the Docker API over its socket, and the one image, made without a registry. */
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const image = "paddock.test/busybox:1"

type dockerd struct {
	dir   string
	procs []*daemonProcess /* containerd, dockerd */
}

type daemonProcess struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

func (d *dockerd) socket() string { return filepath.Join(d.dir, "s") }
func (d *dockerd) pid() int       { return d.procs[1].cmd.Process.Pid }

/* A daemon with its own containerd, so that dockerd's CPU is dockerd's alone. */
func startDockerd(dir string) (*dockerd, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &dockerd{dir: dir}
	cd := filepath.Join(dir, "c.sock")
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"+
		"[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n",
		filepath.Join(dir, "cd-root"), filepath.Join(dir, "cd-state"), cd, cd+".ttrpc")
	toml, empty := filepath.Join(dir, "containerd.toml"), filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(toml, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(empty, []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	err := d.spawn("containerd", cd, "--config", toml)
	if err == nil {
		err = d.spawn("dockerd", d.socket(),
			"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
			"--pidfile", filepath.Join(dir, "pid"), "--host", "unix://"+d.socket(),
			"--config-file", empty, "--containerd", cd, "--bridge=none", "--iptables=false",
			"--ip6tables=false", "--ip-masq=false", "--live-restore", "--shutdown-timeout=5")
	}
	if err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

/* Starts a daemon and waits until its socket takes connections. */
func (d *dockerd) spawn(name, socket string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p := &daemonProcess{name: name, cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() /* PDEATHSIG comes at the end of the thread: this one stays */
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return err
	}
	d.procs = append(d.procs, p)
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("unix", socket); err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once:\n%s", name, tail(log.Name()))
		case <-deadline:
			return fmt.Errorf("%s does not listen:\n%s", name, tail(log.Name()))
		case <-tick.C:
		}
	}
}

func (d *dockerd) stop() {
	for i := len(d.procs) - 1; i >= 0; i-- {
		p := d.procs[i]
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			say("%s did not end within 20 s of SIGTERM: killed", p.name)
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
}

func tail(path string) string {
	data, _ := os.ReadFile(path)
	return string(data[max(0, len(data)-2000):])
}

type docker struct {
	http *http.Client
}

func newDocker(socket string) *docker {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &docker{&http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}}}
}

/* A call whose answer is read by the caller. */
func (d *docker) open(method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	kind := "application/json"
	switch v := body.(type) {
	case nil:
	case io.Reader:
		reader, kind = v, "application/x-tar"
	default:
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, "http://docker/v1.41"+path, reader)
	if err != nil {
		return nil, err
	}
	if reader != nil {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := d.http.Do(req)
	if err == nil && resp.StatusCode >= 400 {
		data, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		err = fmt.Errorf("%s %s: %d: %s", method, path, resp.StatusCode, bytes.TrimSpace(data))
	}
	return resp, err
}

func (d *docker) call(method, path string, body, out any) error {
	resp, err := d.open(method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && bytes.Contains(data, []byte(`"errorDetail"`)) {
		err = fmt.Errorf("%s", data)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(data, out)
	}
	return err
}

func (d *docker) removeAll() {
	var list []struct {
		ID string `json:"Id"`
	}
	if err := d.call("GET", "/containers/json?all=1", nil, &list); err != nil {
		say("listing containers: %v", err)
	}
	for _, c := range list {
		if err := d.call("DELETE", "/containers/"+c.ID+"?force=1&v=1", nil, nil); err != nil {
			say("%v", err)
		}
	}
}

/* The static busybox of the machine, with a link for each applet. */
func (d *docker) importBusybox() error {
	const busybox = "/bin/busybox"
	binary, err := os.ReadFile(busybox)
	if err != nil {
		return fmt.Errorf("%w (the Debian package busybox-static has it)", err)
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	entries := []tar.Header{{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(binary))}}
	for _, dir := range []string{"bin", "tmp", "etc", "proc", "dev", "sys"} {
		entries = append([]tar.Header{{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}}, entries...)
	}
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			entries = append(entries, tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777})
		}
	}
	for i := range entries {
		if err := w.WriteHeader(&entries[i]); err != nil {
			return err
		}
		if entries[i].Size > 0 {
			if _, err := w.Write(binary); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	repo, tag, _ := strings.Cut(image, ":")
	return d.call("POST", "/images/create?fromSrc=-&repo="+repo+"&tag="+tag+"&changes=ENV+PATH%3D/bin", &buf, nil)
}
