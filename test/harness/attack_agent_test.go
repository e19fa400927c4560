/*
 * The attacker's own program: this test binary, run inside the container of the task that mounts
 * the allocation's folder. What it does, a job author can do. The test sends it orders over a
 * socket in that folder.
 *
 * "ready" makes something beside a file, "put" puts it in the file's place, and "race" exchanges
 * both with renameat2(RENAME_EXCHANGE) as fast as it can. "undo" restores everything, so that one
 * allocation serves many attacks.
 */
package harness

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	attackerRoot = "HARNESS_ATTACKER"     /* set: this process is the attacker, and this is its folder */
	attackerNow  = "HARNESS_ATTACKER_NOW" /* a list of orders to begin with */
)

/* What is put in the place of Path. Path is relative to the allocation's folder. */
type thing struct {
	Path string
	Kind string /* link, dir, file, fifo, socket, or zero: a device node of /dev/zero */
	Text string /* a link's target, a file's content */
}

type order struct {
	Do    string /* ready, then put or race; undo; renew; exchange Path and Text */
	Thing thing
	Pause time.Duration /* between two exchanges */
}

type attackerState struct {
	root  string
	undos []func() error
}

func attackerMain() int {
	a := &attackerState{root: os.Getenv(attackerRoot)}
	var first []order
	if text := os.Getenv(attackerNow); text != "" {
		if err := json.Unmarshal([]byte(text), &first); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	for _, o := range first {
		if err := a.carryOut(o); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if len(first) > 0 {
		select {} /* the races continue; only a signal ends the task */
	}
	socket := filepath.Join(a.root, attackerSocket)
	os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		a.serve(c)
	}
}

const (
	attackerSocket = "attacker.sock"
	attackerSpare  = ".spare"
)

func (a *attackerState) serve(c net.Conn) {
	defer c.Close()
	in, out := json.NewDecoder(c), json.NewEncoder(c)
	for {
		var o order
		if in.Decode(&o) != nil {
			return
		}
		reply := ""
		if err := a.carryOut(o); err != nil {
			reply = err.Error()
		}
		if out.Encode(reply) != nil {
			return
		}
	}
}

func (a *attackerState) carryOut(o order) error {
	path := filepath.Join(a.root, o.Thing.Path)
	spare := path + attackerSpare
	switch o.Do {
	case "ready":
		os.RemoveAll(spare)
		if err := makeThing(spare, o.Thing); err != nil {
			return err
		}
		a.undos = append(a.undos, func() error { return os.RemoveAll(spare) })
		if _, err := os.Lstat(path); err != nil {
			/* Path does not exist: the thing appears and disappears. */
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				return err
			}
			a.undos = append(a.undos, func() error { return os.RemoveAll(path) })
		}
		return nil
	case "put":
		a.undos = append(a.undos, func() error { return exchange(path, spare) })
		return exchange(path, spare)
	case "race":
		a.undos = append(a.undos, race(path, spare, o.Pause))
		return nil
	case "renew":
		return renew(path)
	case "exchange":
		return exchange(path, filepath.Join(a.root, o.Thing.Text))
	case "undo":
		for i := len(a.undos) - 1; i >= 0; i-- {
			if err := a.undos[i](); err != nil {
				return err
			}
		}
		a.undos = nil
		return nil
	}
	return fmt.Errorf("no such order: %q", o.Do)
}

/*
 * Replaces a folder by one of the attacker's own, with hard links to its content. The old one is
 * then PATH.mine. The kernel does not let a process rename a mount point of its own mount
 * namespace, and alloc/logs is one in the attacker's container. In a new alloc folder it is not.
 */
func renew(dir string) error {
	mine := dir + ".mine"
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := mine + strings.TrimPrefix(path, dir)
		if e.IsDir() {
			return os.Mkdir(to, 0o777)
		}
		return os.Link(path, to)
	})
	if err != nil {
		return err
	}
	return exchange(dir, mine)
}

func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

/* Exchanges both until the returned function is called, which restores them. */
func race(path, spare string, pause time.Duration) (end func() error) {
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() {
		swapped := false
		for !stop.Load() || swapped {
			if err := exchange(path, spare); err != nil {
				done <- err
				return
			}
			swapped = !swapped
			if pause > 0 && !stop.Load() {
				time.Sleep(pause)
			}
		}
		done <- nil
	}()
	return func() error {
		stop.Store(true)
		return <-done
	}
}

func makeThing(path string, t thing) error {
	switch t.Kind {
	case "link":
		return os.Symlink(t.Text, path)
	case "dir":
		return os.Mkdir(path, 0o777)
	case "file":
		return os.WriteFile(path, []byte(t.Text), 0o666)
	case "fifo":
		return syscall.Mkfifo(path, 0o666)
	case "socket":
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return l.Close()
	case "zero":
		return syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|5)
	}
	return fmt.Errorf("no such kind of thing: %q", t.Kind)
}

/* The test's side of the socket. */
type attacker struct {
	t    testing.TB
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

func dialAttacker(t testing.TB, allocDir string) *attacker {
	t.Helper()
	a := &attacker{t: t}
	eventually(t, 60*time.Second, "the attacker's socket", func() (bool, string) {
		c, err := net.Dial("unix", filepath.Join(allocDir, attackerSocket))
		if err != nil {
			return false, err.Error()
		}
		a.conn, a.in, a.out = c, json.NewDecoder(c), json.NewEncoder(c)
		return true, ""
	})
	return a
}

func (a *attacker) do(o order) {
	a.t.Helper()
	ok(a.t, a.conn.SetDeadline(time.Now().Add(callLimit)), "deadline")
	ok(a.t, a.out.Encode(o), "an order to the attacker")
	var reply string
	ok(a.t, a.in.Decode(&reply), "the attacker's answer")
	if reply != "" {
		a.t.Fatalf("the attacker cannot %s %+v: %s", o.Do, o.Thing, reply)
	}
}
