/*
 * TaskStats: the figures that Nomad gets, and that they are those of Docker.
 */
package harness

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/client/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
)

func TestTaskStats(t *testing.T) {
	p := launch(t)
	k := newTask(t, p, "stats", shell(`head -c 8000000 /dev/zero >/dev/shm/x; while :; do i=$((i+1)); done`)).start(p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.TaskStats(ctx, k.id(), 500*time.Millisecond)
	ok(t, err, "TaskStats")
	var last *structs.TaskResourceUsage
	/* the first samples may have nothing to be compared with */
	for deadline, n := time.After(20*time.Second), 0; n < 3 || last.ResourceUsage.CpuStats.Percent < 5; n++ {
		select {
		case s, open := <-ch:
			if !open {
				t.Fatal("the stream ended while the task runs")
			}
			last = s
		case <-deadline:
			if last == nil {
				t.Fatal("no sample within 20 s")
			}
			t.Fatalf("%d samples within 20 s, none with more than 5 %% CPU of a busy loop: %+v", n, last.ResourceUsage.CpuStats)
		}
	}
	cpu, mem := last.ResourceUsage.CpuStats, last.ResourceUsage.MemoryStats
	if cpu.Percent > 400 {
		t.Errorf("a busy loop of one thread: %.1f %% CPU", cpu.Percent)
	}
	if mem.Usage+mem.RSS < 4<<20 {
		t.Errorf("a task that holds 8 MB: usage %d, RSS %d", mem.Usage, mem.RSS)
	}
	if age := time.Since(time.Unix(0, last.Timestamp)); age < -time.Second || age > 10*time.Second {
		t.Errorf("the sample is %v old", age)
	}
	if len(cpu.Measured) == 0 || len(mem.Measured) == 0 {
		t.Errorf("measured fields: CPU %v, memory %v: what is not listed is not shown", cpu.Measured, mem.Measured)
	}
	if !run.isRef { /* the reference ends only after the container is removed */
		ok(t, k.stop(p, time.Second, "SIGKILL"), "StopTask")
		eventually(t, 10*time.Second, "the stats stream ends with the task", func() (bool, string) {
			select {
			case _, open := <-ch:
				return !open, "a sample"
			default:
				return false, "open, nothing sent"
			}
		})
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/*
 * The figures themselves. CPU is compared with what Docker has counted between two of its own
 * answers, memory with such an answer. MHz are those of one core for each 100 %.
 */
func TestTaskStatsAreDockersFigures(t *testing.T) {
	paddockOnly(t, "percent of all cores, no ticks")
	p := launch(t)
	k := newTask(t, p, "figures", shell(`head -c 8000000 /dev/zero >/dev/shm/x; echo up; while :; do i=$((i+1)); done`)+"\ncpu_hard_limit = true",
		func(c *drivers.TaskConfig) { c.Resources.LinuxResources.PercentTicks = 0.1 }).start(p)
	k.stdout.waitFor(t, 20*time.Second, "up\n")
	docker := func() (d doc) {
		_, err := run.docker.Call("GET", "/containers/"+k.container()+"/stats?stream=0&one-shot=1", nil, &d)
		ok(t, err, "Docker's stats")
		return d
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := p.TaskStats(ctx, k.id(), 200*time.Millisecond)
	ok(t, err, "TaskStats")
	var last *structs.TaskResourceUsage
	next := func() *structs.TaskResourceUsage {
		select {
		case s, open := <-ch:
			if !open {
				t.Fatal("the stream ended while the task runs")
			}
			return s
		case <-time.After(20 * time.Second):
			t.Fatal("no sample within 20 s")
		}
		return nil
	}
	from, before := next(), docker()
	percent, system, user, mhz := 0.0, 0.0, 0.0, 0.0
	age := func() time.Duration { return time.Duration(last.Timestamp - from.Timestamp) }
	/* on a busy machine the loop may not reach its limit immediately */
	for last = from; age() < 4*time.Second || last.ResourceUsage.CpuStats.ThrottledPeriods == 0 && age() < 30*time.Second; {
		s := next()
		cpu, seconds := s.ResourceUsage.CpuStats, float64(s.Timestamp-last.Timestamp)/1e9
		percent, system, user = percent+cpu.Percent*seconds, system+cpu.SystemMode*seconds, user+cpu.UserMode*seconds
		if cpu.Percent > 1 {
			core := cpu.TotalTicks / cpu.Percent * 100
			if core < 200 || core > 20000 || mhz != 0 && (core < 0.99*mhz || core > 1.01*mhz) {
				t.Errorf("%.1f ticks at %.1f %%: a core of %.0f MHz, was %.0f", cpu.TotalTicks, cpu.Percent, core, mhz)
			}
			mhz = core
		}
		last = s
	}
	after := docker()
	counted := func(key string) float64 {
		return (after.num("cpu_stats.cpu_usage."+key) - before.num("cpu_stats.cpu_usage."+key)) / 1e7 /* percent times seconds */
	}
	near := func(what string, ours, theirs, part, slack float64) {
		t.Helper()
		if d := math.Abs(ours - theirs); d > part*theirs+slack {
			t.Errorf("%s: %.0f, Docker's %.0f", what, ours, theirs)
		}
	}
	near("CPU, percent times seconds", percent, counted("total_usage"), 0.25, 20)
	near("the same in user mode", user, counted("usage_in_usermode"), 0.25, 25)
	near("the same in system mode", system, counted("usage_in_kernelmode"), 0.25, 25)
	cpu, mem := last.ResourceUsage.CpuStats, last.ResourceUsage.MemoryStats
	near("throttled periods", float64(cpu.ThrottledPeriods), after.num("cpu_stats.throttling_data.throttled_periods"), 0.1, 10)
	near("throttled time", float64(cpu.ThrottledTime), after.num("cpu_stats.throttling_data.throttled_time"), 0.1, 1e9)
	if cpu.ThrottledPeriods == 0 {
		t.Error("a busy loop with a hard limit was never throttled")
	}
	near("memory in use", float64(mem.Usage), after.num("memory_stats.usage"), 0, 1<<20)
	near("resident memory", float64(mem.RSS), math.Max(after.num("memory_stats.stats.total_rss"), after.num("memory_stats.stats.anon")), 0, 1<<19)
	near("cache", float64(mem.Cache), math.Max(after.num("memory_stats.stats.total_cache"), after.num("memory_stats.stats.file")), 0, 1<<19)
	if mem.Cache < 8000000 || mem.MaxUsage != 0 && mem.MaxUsage < mem.Cache {
		t.Errorf("8 MB in a tmpfs: cache %d, most ever %d", mem.Cache, mem.MaxUsage)
	}
	if list := fmt.Sprint(cpu.Measured); list != "[System Mode User Mode Throttled Periods Throttled Time Percent]" {
		t.Errorf("measured of the CPU: %s", list)
	}
	if list := fmt.Sprint(mem.Measured); !strings.HasPrefix(list, "[RSS Cache Swap Usage") {
		t.Errorf("measured of memory: %s", list)
	}
	ok(t, k.destroy(p), "DestroyTask")
}
