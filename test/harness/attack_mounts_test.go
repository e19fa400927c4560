/* What a container has of the host, according to the container's own mount table. */
package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type mountLine struct{ device, root, point, kind string }

func mountLines(pid string) ([]mountLine, error) {
	data, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []mountLine
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		_, after, found := strings.Cut(line, " - ")
		if len(f) > 5 && found {
			out = append(out, mountLine{f[2], f[3], f[4], strings.Fields(after)[0]})
		}
	}
	return out, nil
}

/* The file systems of the host by device number, and the place of a path in its file system. */
type hostMounts struct{ lines []mountLine }

func newHostMounts(t testing.TB) *hostMounts {
	t.Helper()
	lines, err := mountLines("self")
	ok(t, err, "mounts")
	return &hostMounts{lines}
}

func (h *hostMounts) has(device string) bool {
	for _, m := range h.lines {
		switch m.kind {
		case "proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts":
			continue
		}
		if m.device == device {
			return true
		}
	}
	return false
}

/* The path below the root of its file system, like the fourth field of mountinfo. */
func (h *hostMounts) inside(path string) string {
	best := mountLine{}
	for _, m := range h.lines {
		if len(m.point) >= len(best.point) && (path == m.point || strings.HasPrefix(path, strings.TrimSuffix(m.point, "/")+"/")) {
			best = m
		}
	}
	return filepath.Join(best.root, strings.TrimPrefix(path, best.point))
}

/* The mounts of a container that are of the host's file systems and not below one of the
 * folders. */
func (h *hostMounts) strange(pid string, folders ...string) ([]string, error) {
	lines, err := mountLines(pid)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range lines {
		fine := !h.has(m.device) || m.point == "/sbin/docker-init" /* of dockerd, for init = true */
		for _, f := range folders {
			f = h.inside(f)
			fine = fine || m.root == f || strings.HasPrefix(m.root, f+"/")
		}
		if !fine {
			out = append(out, fmt.Sprintf("the container has %s of the host (file system %s, %s) at %s", m.root, m.device, m.kind, m.point))
		}
	}
	return out, nil
}
