/*
 * The canary: a tree of the host that looks like an allocation and that only root may read. Each of
 * its files contains one secret. Whatever a job does, no process may open, list or change anything
 * in it, and the secret may not appear where the job's author can read.
 *
 * fanotify reports which process opened what. It does not report a walk through a folder or a
 * mount, so the mounts of each container are compared with those that the container may have
 * (hostMounts).
 */
package harness

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

type canary struct {
	t      testing.TB
	dir    string
	secret string
	group  int        /* fanotify */
	fifos  []*os.File /* other jobs' logs: they must get nothing */
	before map[string]string
	names  map[uint64]string /* by inode */
	reader int               /* a process that may read: the plugin, when a job may name a file of the host */
}

/*
 * Makes a canary in dir, laid out as an allocation with these tasks. Each folder has a file
 * "secret", and each name in whose place a link could be exists, too.
 */
func newCanary(t testing.TB, dir string, tasks ...string) *canary {
	t.Helper()
	var random [16]byte
	_, err := rand.Read(random[:])
	ok(t, err, "random")
	c := &canary{t: t, dir: dir, secret: hex.EncodeToString(random[:]), names: map[uint64]string{}}
	makeAlloc(t, dir, tasks...)
	fifos := []string{}
	for _, sub := range append([]string{"."}, tasks...) {
		for _, d := range []string{"local/d", "secrets", "logs", "alloc"} {
			ok(t, os.MkdirAll(filepath.Join(dir, sub, d), 0o700), "canary")
		}
		for _, f := range []string{"resolv.conf", "hosts", "local/profile.json", "local/image.tar", "local/d/f"} {
			ok(t, os.WriteFile(filepath.Join(dir, sub, f), []byte(c.secret), 0o600), "canary")
		}
	}
	for _, name := range tasks {
		for _, stream := range []string{"stdout", "stderr"} {
			fifos = append(fifos, filepath.Join(dir, "alloc/logs", "."+name+"."+stream+".fifo"))
		}
	}
	for _, f := range fifos {
		ok(t, syscall.Mkfifo(f, 0o600), "canary")
		r, err := os.OpenFile(f, os.O_RDWR|syscall.O_NONBLOCK, 0)
		ok(t, err, "canary")
		c.fifos = append(c.fifos, r)
	}
	ok(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.WriteFile(filepath.Join(path, "secret"), []byte(c.secret+"\n"), 0o600)
			if err == nil {
				err = os.Chmod(path, 0o700)
			}
		}
		return err
	}), "canary")
	c.watch()
	c.before = c.state()
	t.Cleanup(func() {
		unix.Close(c.group)
		for _, f := range c.fifos {
			f.Close()
		}
	})
	return c
}

func (c *canary) watch() {
	c.t.Helper()
	/* O_NONBLOCK: an event opens the file, and a FIFO must not block that */
	group, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_NONBLOCK|unix.FAN_CLOEXEC|unix.FAN_UNLIMITED_MARKS|unix.FAN_UNLIMITED_QUEUE,
		unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_LARGEFILE)
	ok(c.t, err, "fanotify")
	c.group = group
	ok(c.t, filepath.WalkDir(c.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil {
			err = c.mark(path)
		}
		return err
	}), "fanotify")
}

func (c *canary) mark(path string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err
	}
	c.names[st.Ino] = path
	const events = unix.FAN_OPEN | unix.FAN_ACCESS | unix.FAN_MODIFY | unix.FAN_ONDIR
	return unix.FanotifyMark(c.group, unix.FAN_MARK_ADD|unix.FAN_MARK_DONT_FOLLOW, events, unix.AT_FDCWD, path)
}

/* Adds a file that no process may open, because the attacker made it. */
func (c *canary) also(path string) {
	c.t.Helper()
	ok(c.t, c.mark(path), "fanotify of "+path)
}

/* The processes that opened, read or changed something since the last call. */
func (c *canary) opened() []string {
	var out []string
	seen := map[string]bool{}
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(c.group, buf)
		if n <= 0 || err != nil {
			return out
		}
		for rest := buf[:n]; len(rest) >= unix.FAN_EVENT_METADATA_LEN; {
			var m unix.FanotifyEventMetadata
			_ = binary.Read(bytes.NewReader(rest), binary.LittleEndian, &m)
			rest = rest[m.Event_len:]
			if m.Fd < 0 {
				out = append(out, "fanotify lost events")
				continue
			}
			/* the path can belong to another mount namespace */
			var st syscall.Stat_t
			_ = syscall.Fstat(int(m.Fd), &st)
			unix.Close(int(m.Fd))
			if int(m.Pid) == os.Getpid() || int(m.Pid) == c.reader {
				continue
			}
			line := fmt.Sprintf("%s was opened by pid %d (%.80s)", c.names[st.Ino], m.Pid, strings.Join(argvOf(int(m.Pid)), " "))
			if !seen[line] {
				seen[line] = true
				out = append(out, line)
			}
		}
	}
}

/* All values that a write changes. fanotify's pid tells our own reads from those of others. */
func (c *canary) state() map[string]string {
	c.t.Helper()
	all := map[string]string{}
	ok(c.t, filepath.WalkDir(c.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		text := ""
		if e.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(data)
		}
		all[path] = fmt.Sprintf("%o %d:%d %d links, %d bytes, %d.%d %q", st.Mode, st.Uid, st.Gid, st.Nlink, st.Size, st.Mtim.Sec, st.Mtim.Nsec, text)
		return nil
	}), "the canary's state")
	return all
}

/* What happened to the canary since the last call. Empty when nothing did. */
func (c *canary) complaints() []string {
	c.t.Helper()
	out := c.opened()
	now := c.state()
	for path, was := range c.before {
		if now[path] == "" {
			out = append(out, path+" was removed")
		} else if now[path] != was {
			out = append(out, fmt.Sprintf("%s was %s, is %s", path, was, now[path]))
		}
	}
	for path := range now {
		if c.before[path] == "" {
			out = append(out, path+" was made")
		}
	}
	c.before = now
	for _, f := range c.fifos {
		if text := drain(f); text != "" {
			out = append(out, fmt.Sprintf("another job's log %s got %q", f.Name(), text))
		}
	}
	return out
}

/* The present content of a FIFO that is open for both. */
func drain(f *os.File) string {
	var text []byte
	conn, err := f.SyscallConn()
	if err != nil {
		return err.Error()
	}
	buf := make([]byte, 64<<10)
	_ = conn.Control(func(fd uintptr) {
		for {
			n, err := unix.Read(int(fd), buf)
			if n <= 0 || err != nil {
				return
			}
			text = append(text, buf[:n]...)
		}
	})
	return string(text)
}
