/*
 * One attack from its beginning to its end: what the attacker puts into its allocation before and
 * while the sibling starts, the sibling's start, and its end. attack_judge_test.go checks the result.
 *
 * Most attacks use the siege's one attacker. A joint attack starts attacker and sibling together in
 * a new allocation. In the heir's attack, another task takes over from an attacker that has ended.
 */
package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/nomad/helper/uuid"
)

/* Runs one attack. Returns what went wrong. */
func (s *siege) try(a attack) (wrong []string) {
	s.t.Helper()
	if a.joint {
		return s.tryJoint(a)
	}
	if a.heir {
		return s.tryHeir(a)
	}
	for _, t := range a.put {
		s.prepare(t)
		s.attacker.do(order{Do: "put", Thing: s.thing(t)})
	}
	for _, t := range a.race {
		s.prepare(t)
		pause := time.Duration(0)
		if s.random.Intn(2) == 0 {
			pause = time.Duration(s.random.Intn(10000)) * time.Microsecond
		}
		s.attacker.do(order{Do: "race", Thing: s.thing(t), Pause: pause})
	}
	k := s.sibling(a, s.id)
	err := k.tryStart(s.p)
	/* while the check still sees the wrong one, no race was tried */
	for i := 0; i < 10 && err != nil && len(a.race) > 0 && !a.fails; i++ {
		wrong = append(wrong, s.judge(a, k, err)...)
		k = s.sibling(a, s.id)
		err = k.tryStart(s.p)
	}
	wrong = append(wrong, s.judge(a, k, err)...)
	known := err == nil
	if a.again && known {
		known = s.comeAgain(k, &wrong)
	}
	if known {
		if err := k.destroy(s.p); err != nil {
			wrong = append(wrong, fmt.Sprintf("DestroyTask: %v", err))
		}
	}
	s.attacker.do(order{Do: "undo"})
	if a.reads {
		s.host.reader = s.p.pid
		wrong = append(wrong, s.host.opened()...)
		s.host.reader = 0
	}
	if err == nil && !known {
		/* Nomad starts a task again when it could not be recovered. The new container replaces the
		 * running one. */
		k = s.sibling(attack{}, s.id)
		ok(s.t, k.tryStart(s.p), "StartTask after a failed RecoverTask")
		ok(s.t, k.destroy(s.p), "DestroyTask after a failed RecoverTask")
	}
	return append(wrong, s.complaints(k)...)
}

/* Makes the thing beside its place. From then on a device node is watched like a canary. */
func (s *siege) prepare(t thing) {
	s.t.Helper()
	s.attacker.do(order{Do: "ready", Thing: s.thing(t)})
	if t.Kind == "zero" {
		s.host.also(filepath.Join(s.dir, t.Path) + attackerSpare)
	}
}

/*
 * Both tasks start at about the same time, and the attacker begins its exchanges with its first
 * instruction. What is known about running containers when the sibling is checked is then not
 * enough.
 */
func (s *siege) tryJoint(a attack) (wrong []string) {
	alloc := uuid.Generate()
	dir := filepath.Join(run.dir, "alloc", alloc)
	makeAlloc(s.t, dir, "web", "evil")
	ok(s.t, os.MkdirAll(filepath.Join(dir, "web/local/d"), 0o777), "a folder of the sibling's")
	ok(s.t, os.WriteFile(filepath.Join(dir, "web/local/d/f"), nil, 0o666), "a file of the sibling's")
	k := s.sibling(a, alloc)
	views := append([]string(nil), attackViews...)
	var orders []order
	if strings.HasPrefix(a.race[0].Path, "web/") {
		views = append(views, `volumes = ["../web:/x/web"]`, `mount { type = "bind"  source = "local/.."  target = "/x/../x/web" }`, `volumes = ["../web:/x/web", "../web/local:/y:ro"]`)
		views[0] = `volumes = ["../web/secrets/..:/x/web"]`
	} else {
		orders = append(orders, order{Do: "renew", Thing: thing{Path: "alloc"}})
	}
	evil := s.makeTask(alloc, "evil", fmt.Sprintf("image = %q\ncommand = \"/bin/attacker\"\n%s", imageAttack, views[s.random.Intn(len(views))]))
	for _, t := range a.race {
		orders = append(orders, order{Do: "ready", Thing: s.thing(t)}, order{Do: "race", Thing: s.thing(t)})
	}
	text, err := json.Marshal(orders)
	ok(s.t, err, "orders")
	evil.cfg.Env[attackerRoot], evil.cfg.Env[attackerNow] = "/x", string(text)
	evil.cfg.Resources.LinuxResources.MemoryLimitBytes = 256 << 20
	head := time.Duration(s.random.Intn(300)) * time.Millisecond
	both := []*task{evil, k}
	if s.random.Intn(4) == 0 {
		both = []*task{k, evil}
	}
	errs := make([]error, 2)
	first := make(chan bool)
	go func() {
		defer close(first)
		errs[0] = both[0].tryStart(s.p)
	}()
	select {
	case <-first:
	case <-time.After(head):
	}
	errs[1] = both[1].tryStart(s.p)
	<-first
	for i, one := range both {
		if one == evil && errs[i] != nil {
			wrong = append(wrong, fmt.Sprintf("the attacker's own start: %v", errs[i]))
		}
	}
	for i, one := range both {
		if one == k {
			wrong = append(wrong, s.judge(a, k, errs[i])...)
		}
	}
	for i, one := range both {
		if errs[i] == nil {
			if err := one.destroy(s.p); err != nil {
				wrong = append(wrong, fmt.Sprintf("DestroyTask: %v", err))
			}
		}
	}
	wrong = append(wrong, s.complaints(k)...)
	s.forget(k, evil)
	return wrong
}

/*
 * A task without mounts of its own takes over from the attacker, which has ended by then. Its
 * alloc/logs is a mount point, so that it cannot rename it. Two lives of the attacker's task, each
 * with other mount points, put another folder at that name. Then this task can.
 */
func (s *siege) tryHeir(a attack) (wrong []string) {
	s.t.Helper()
	alloc := uuid.Generate()
	dir := filepath.Join(run.dir, "alloc", alloc)
	makeAlloc(s.t, dir, "web", "evil", "heir")
	k := s.sibling(a, alloc)
	program := func(name, root, block string) *task {
		one := s.makeTask(alloc, name, fmt.Sprintf("image = %q\ncommand = \"/bin/attacker\"\n%s", imageAttack, block))
		one.cfg.Env[attackerRoot] = root
		one.cfg.Resources.LinuxResources.MemoryLimitBytes = 256 << 20
		one.start(s.p)
		return one
	}
	heir := program("heir", "/alloc", "")
	h := dialAttacker(s.t, filepath.Join(dir, "alloc"))
	defer h.conn.Close()
	for _, orders := range [][]order{
		{{Do: "renew", Thing: thing{Path: "alloc"}}},
		{{Do: "renew", Thing: thing{Path: "alloc.mine/logs"}}, {Do: "exchange", Thing: thing{Path: "alloc", Text: "alloc.mine"}}},
	} {
		evil := program("evil", "/x", attackViews[0])
		e := dialAttacker(s.t, dir)
		for _, o := range orders {
			e.do(o)
		}
		e.conn.Close()
		ok(s.t, evil.destroy(s.p), "DestroyTask of the attacker")
	}
	for _, t := range a.race {
		h.do(order{Do: "ready", Thing: s.thing(t)})
		h.do(order{Do: "race", Thing: s.thing(t)})
	}
	err := k.tryStart(s.p)
	for i := 0; i < 10 && err != nil; i++ {
		wrong = append(wrong, s.judge(a, k, err)...)
		k = s.sibling(a, alloc)
		err = k.tryStart(s.p)
	}
	wrong = append(wrong, s.judge(a, k, err)...)
	for _, one := range []*task{k, heir} {
		if one != k || err == nil {
			if err := one.destroy(s.p); err != nil {
				wrong = append(wrong, fmt.Sprintf("DestroyTask: %v", err))
			}
		}
	}
	wrong = append(wrong, s.complaints(k)...)
	s.forget(k, heir)
	return wrong
}

/* Forgets tasks of an allocation that is no longer needed. */
func (s *siege) forget(tasks ...*task) {
	dir := tasks[0].cfg.AllocDir
	for path, f := range s.logs {
		if strings.HasPrefix(path, dir+"/") {
			f.Close()
			delete(s.logs, path)
		}
	}
	for _, k := range tasks {
		k.discard()
	}
}

/*
 * Kills plugin and pump. The next ones recover all tasks. Returns whether the sibling was one of
 * them: its FIFOs can be missing at that moment.
 */
func (s *siege) comeAgain(k *task, wrong *[]string) bool {
	s.t.Helper()
	s.former = append(s.former, s.p.stderr)
	pumps := logPumps()
	s.p.crash(s.t)
	for _, pump := range pumps {
		if strings.Contains(pump.argv[2], "/"+s.name+"-") {
			_ = syscall.Kill(pump.pid, syscall.SIGKILL)
		}
	}
	s.launch()
	if err := recoverWith(s.t, s.p, persisted(s.t, s.neighbour.handle)); err != nil {
		*wrong = append(*wrong, fmt.Sprintf("RecoverTask of the neighbour: %v", err))
	}
	/* a task that moves its own log away is not recovered */
	eventually(s.t, 20*time.Second, "RecoverTask of the attacker", func() (bool, string) {
		err := recoverWith(s.t, s.p, persisted(s.t, s.evil.handle))
		return err == nil, fmt.Sprint(err)
	})
	err := recoverWith(s.t, s.p, persisted(s.t, k.handle))
	if err != nil {
		*wrong = append(*wrong, s.spoken("RecoverTask's error", err.Error())...)
	}
	return err == nil
}
