/*
 * The attacker's suite. The author of one job has two tasks. One of them, the attacker's, mounts
 * the allocation's folder (`volumes = ["../:/x"]`, allowed by default). Before and while the other
 * task starts, it puts links, FIFOs and device nodes in the place of what the driver uses. The
 * other task's block asks for what the operator has not allowed. attack_rows_test.go has what is
 * tried, attack_agent_test.go has the attacker's program.
 *
 *   ATTACK_SECONDS (25)  how long; all attacks once take about two minutes
 *   ATTACK_SEED (any)    order of the attacks, pauses of the races; it is logged
 *   ATTACK_ONLY ("")     only attacks whose name contains this
 *   ATTACK_VERBOSE ("")  logs each attack, its time and the refusal
 *
 * After each attack: no process opened, listed or changed the canaries. None of their secrets is in
 * a text that the author can read. No other job's log got a line. The container has nothing of the
 * host but its allocation. A refused start left no container.
 */
package harness

import (
	"fmt"
	"math/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var attackVerbose = os.Getenv("ATTACK_VERBOSE") != ""

/* The attacks in the order in which all attackers take them: one of each family in turn, at
 * random within the family, until the time is over. */
type attackQueue struct {
	mu     sync.Mutex
	random *rand.Rand
	rows   [][]attack
	left   [][]int /* for each family: those not tried since all were tried */
	tried  int
	until  time.Time
}

func newAttackQueue(seed int64, only string) *attackQueue {
	q := &attackQueue{random: rand.New(rand.NewSource(seed))}
	for _, family := range attacks() {
		var rows []attack
		for _, a := range family {
			if strings.Contains(a.name, only) {
				rows = append(rows, a)
			}
		}
		if len(rows) > 0 {
			q.rows = append(q.rows, rows)
			q.left = append(q.left, q.random.Perm(len(rows)))
		}
	}
	return q
}

func (q *attackQueue) take() (attack, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Now().After(q.until) {
		return attack{}, false
	}
	family := q.tried % len(q.rows)
	if len(q.left[family]) == 0 {
		q.left[family] = q.random.Perm(len(q.rows[family]))
	}
	a := q.rows[family][q.left[family][0]]
	q.left[family] = q.left[family][1:]
	q.tried++
	return a, true
}

func TestAttackerGetsNothing(t *testing.T) {
	paddockOnly(t, "is open to some of these")
	seed, seconds := envInt(t, "ATTACK_SEED", int(time.Now().UnixNano()%1e6)), envInt(t, "ATTACK_SECONDS", 25)
	t.Logf("ATTACK_SEED=%d", seed)
	q := newAttackQueue(int64(seed), os.Getenv("ATTACK_ONLY"))
	importAttackImage(t)
	q.until = time.Now().Add(time.Duration(seconds) * time.Second)
	t.Run("attackers", func(t *testing.T) {
		for i := 0; i < 2; i++ {
			i := i
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				s := newSiege(t, i, int64(seed)*100+int64(i), baseConfig("gc { image = false }"))
				for a, more := q.take(); more; a, more = q.take() {
					since := time.Now()
					if attackVerbose {
						t.Logf("%s", a.name)
					}
					if wrong := s.try(a); len(wrong) > 0 {
						t.Errorf("%s:\n  %s", a.name, joinLines(wrong))
					}
					if attackVerbose {
						t.Logf("  %v", time.Since(since).Round(time.Millisecond))
					}
				}
				s.end()
			})
		}
	})
	kinds := 0
	for _, rows := range q.rows {
		kinds += len(rows)
	}
	t.Logf("%d attacks; there are %d", q.tried, kinds)
}

/* The suite detects an escape when one happens: here the operator allows volumes. */
func TestAttackWouldBeSeen(t *testing.T) {
	importAttackImage(t)
	s := newSiege(t, 8, 1, baseConfig("gc { image = false }\nvolumes { enabled = true }"))
	wrong := strings.Join(s.try(attack{block: `volumes = ["{C}/web/local:/v", "{S}:/w"]`}), "\n")
	for _, w := range []string{
		"the container has " + s.mounts.inside(s.host.dir) + "/web/local of the host", " at /v", " at /w",
		s.host.dir + "/web/local was opened by pid", s.host.dir + "/web/local/secret was opened by pid", s.host.dir + "/web/local/secret was 100600",
		s.host.dir + "/web/local/planted was made", s.stranger.dir + "/secret was 100600", "is in docker logs",
	} {
		if !strings.Contains(wrong, w) {
			t.Errorf("not seen: %q", w)
		}
	}
	if t.Failed() {
		t.Log(wrong)
	}
	s.end()
}
