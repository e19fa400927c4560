package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const dockerSocket = "/var/run/docker.sock"
const cgroupRoot = "/sys/fs/cgroup"
const image = "busybox:1"

var dockerHTTP = &http.Client{
	Timeout: 60 * time.Second,
	Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", dockerSocket)
		},
		DisableKeepAlives: true,
	},
}

type container struct {
	ID           string `json:"Id"`
	Name         string
	RestartCount int
	State        struct {
		Pid       int
		Running   bool
		StartedAt string
	}
	HostConfig struct{ CpusetCpus string }
}

/* Asks dockerd, without any code of the driver under test. */
func inspect(name string) (*container, error) {
	resp, err := dockerHTTP.Get("http://docker/containers/" + name + "/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != 200 {
		return nil, fmt.Errorf("inspect %s: %s: %s", name, resp.Status, strings.TrimSpace(string(body)))
	}
	c := &container{}
	return c, json.Unmarshal(body, c)
}

/* One call of the API. Under emulation the client's process takes seconds. */
func docker(t *T, method, path string, body any) {
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		t.ok(err, path)
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, "http://docker"+path, in)
	t.ok(err, path)
	req.Header.Set("Content-Type", "application/json")
	resp, err := dockerHTTP.Do(req)
	t.ok(err, path)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	t.ok(err, path)
	if resp.StatusCode >= 300 {
		t.fatalf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(answer)))
	}
}

/* Like `docker rm -f`, without its process. */
func remove(name string) error {
	req, err := http.NewRequest("DELETE", "http://docker/containers/"+name+"?force=1", nil)
	if err != nil {
		return err
	}
	resp, err := dockerHTTP.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	return nil
}

/* The names of all containers, with the stopped ones. */
func containers() ([]string, error) {
	resp, err := dockerHTTP.Get("http://docker/containers/json?all=1")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list []struct{ Names []string }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	var names []string
	for _, c := range list {
		names = append(names, strings.Join(c.Names, " "))
	}
	return names, nil
}

/* The container's cgroup: from /proc, cut back to the component with its id. */
func (c *container) cgroup() (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.State.Pid))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(data), "\n") {
		if path, found := strings.CutPrefix(line, "0::"); found {
			parts := strings.Split(path, "/")
			for i, part := range parts {
				if strings.Contains(part, c.ID) {
					return filepath.Join(cgroupRoot, filepath.Join(parts[:i+1]...)), nil
				}
			}
		}
	}
	return "", fmt.Errorf("container %s is in no cgroup of its own: %s", c.ID, strings.TrimSpace(string(data)))
}

/* What dockerd's containers have left in the cgroup tree. */
func containerCgroups() []string {
	var left []string
	_ = filepath.WalkDir(cgroupRoot, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && (strings.HasPrefix(d.Name(), "docker-") && strings.HasSuffix(d.Name(), ".scope") ||
			len(d.Name()) == 64 && filepath.Base(filepath.Dir(path)) == "docker") {
			left = append(left, path)
		}
		return nil
	})
	return left
}

/* dockerd's cgroup driver: systemd or cgroupfs. */
func cgroupDriver() string {
	resp, err := dockerHTTP.Get("http://docker/info")
	if err != nil {
		return "?"
	}
	defer resp.Body.Close()
	var info struct{ CgroupDriver string }
	if json.NewDecoder(resp.Body).Decode(&info) != nil {
		return "?"
	}
	return info.CgroupDriver
}
