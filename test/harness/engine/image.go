package engine

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

/* A root file system: the static busybox and a link for each applet. extra: path to content. */
func BusyboxRoot(extra map[string]string) ([]byte, error) {
	const busybox = "/bin/busybox"
	binary, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("%w (the Debian package busybox-static has it)", err)
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, data []byte) {
		if err == nil {
			h.Size, h.Uid, h.Gid = int64(len(data)), 0, 0
			if err = w.WriteHeader(&h); err == nil {
				_, err = w.Write(data)
			}
		}
	}
	for _, dir := range []string{"bin", "tmp", "etc", "proc", "dev", "sys", "root", "var"} {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, binary)
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nnogroup:x:65534:\n"))
	for name, content := range extra {
		add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755}, []byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	return buf.Bytes(), err
}
