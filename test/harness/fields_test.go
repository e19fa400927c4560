/*
 * Every task field, checked by what Docker was sent. Each row of fields_rows_test.go is a part of a
 * task block (or of what Nomad adds to it), the members of `docker inspect` that it must set, and a
 * word that a refusal must contain. StartTask creates the container with all other values at their
 * defaults, so that a row also shows that nothing else changed.
 */
package harness

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hashicorp/nomad/plugins/drivers"
	pb "github.com/hashicorp/nomad/plugins/drivers/proto"
)

func TestTaskFieldsReachDocker(t *testing.T) {
	t.Parallel()
	plugs := map[string]*plug{}
	defer func() { _, _ = run.docker.Call("DELETE", "/volumes/harness-vol?force=1", nil, nil) }()
	parent := t
	rec := record(t, run.dockerd.Socket())
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			if r.notRef != "" {
				paddockOnly(t, r.notRef)
			}
			endpoint := run.dockerd.Endpoint()
			if r.request {
				endpoint = rec.endpoint
			}
			key := endpoint + r.plugin
			p := plugs[key]
			if p == nil || !alive(p.pid) {
				/* one plugin for all rows with that configuration; it belongs to the table's test */
				p = launchWith(parent, launchOptions{name: "fields", config: "-"})
				ok(t, p.setConfig(t, configAt(endpoint, r.plugin)), "SetConfig")
				plugs[key] = p
			}
			p.t = t
			k := newTask(t, p, "row", rowBlock(r.task), rowMods(r)...)
			err := k.tryStart(p)
			if r.fails != nil {
				if err == nil {
					_ = k.destroy(p)
				}
				wantError(t, err, "the start must be refused", r.fails...)
				if recoverable(err) {
					t.Errorf("a job that can never start must not be started again by the restart policy: %v", err)
				}
				if run.docker.inspect(t, k.container()) != nil {
					t.Error("the refused start left a container")
				}
				return
			}
			var d doc
			if r.request {
				d = rec.created(t, k.container())
			} else {
				ok(t, err, "StartTask")
				d = k.inspect()
			}
			for path, want := range r.want {
				if got := d.at(path); !same(got, want) && (got == nil || !reflect.DeepEqual(got, newerDefaults[path+"="+fmt.Sprint(want)])) {
					t.Errorf("%s: Docker was sent %#v, want %#v", path, got, want)
				}
			}
			if r.check != nil {
				r.check(t, k, d)
			}
			if err == nil {
				ok(t, k.destroy(p), "DestroyTask")
			}
		})
	}
}

/* The parent of a dispatched or periodic job. v1.6.3's host does not know the field, later ones
 * send it. */
func TestParentJobIsALabel(t *testing.T) {
	paddockOnly(t, "its server does not decode the field")
	p := launchWith(t, launchOptions{config: baseConfig(`extra_labels = ["*"]`)})
	k := newTask(t, p, "child", rowBlock(""))
	spec, err := p.TaskConfigSchema()
	ok(t, err, "TaskConfigSchema")
	data, err := encode(spec, hclToInterface(t, "config {\n"+rowBlock("")+"\n}"))
	ok(t, err, "evaluating the task block")
	request, err := proto.Marshal(&pb.StartTaskRequest{Task: &pb.TaskConfig{
		Id: k.id(), Name: k.cfg.Name, AllocId: k.cfg.AllocID, AllocDir: k.cfg.AllocDir,
		JobId: "child-1", JobName: "child", TaskGroupName: "g", Namespace: "ns", NodeName: "nn", NodeId: "ni",
		StdoutPath: k.cfg.StdoutPath, StderrPath: k.cfg.StderrPath, MsgpackDriverConfig: data,
		Resources: &pb.Resources{LinuxResources: &pb.LinuxResources{CpuShares: 100},
			AllocatedResources: &pb.AllocatedTaskResources{Cpu: &pb.AllocatedCpuResources{CpuShares: 100}, Memory: &pb.AllocatedMemoryResources{MemoryMb: 64}}},
		XXX_unrecognized: pbBytes(22, "the-parent"),
	}})
	ok(t, err, "request")
	ctx, cancel := timeout(callLimit)
	defer cancel()
	_, err = p.raw(ctx, driverService+"StartTask", request)
	ok(t, err, "StartTask")
	labels := k.inspect().at("Config.Labels").(map[string]any)
	for short, want := range map[string]string{"parent_job_id": "the-parent", "job_id": "child-1", "job_name": "child",
		"task_group_name": "g", "task_name": k.cfg.Name, "namespace": "ns", "node_name": "nn", "node_id": "ni"} {
		if labels["com.hashicorp.nomad."+short] != want {
			t.Errorf("label %s: %v, want %s", short, labels["com.hashicorp.nomad."+short], want)
		}
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* Docker treats null, absent and empty alike. */
func same(got, want any) bool {
	if want == nil {
		if got == nil {
			return true
		}
		v := reflect.ValueOf(got)
		return (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
	}
	return reflect.DeepEqual(got, want)
}

/* The row's fields over a default block. A field that the row sets is left out of the defaults. */
func rowBlock(text string) string {
	block := text
	for _, d := range [][2]string{
		{"image", fmt.Sprintf("image = %q", imageBusybox)},
		{"command", `command = "/bin/sh"`},
		{"args", `args = ["-c", "sleep 1000"]`},
	} {
		if !strings.HasPrefix(strings.TrimSpace(text), d[0]+" =") && !strings.Contains(text, "\n"+d[0]+" =") {
			block += "\n" + d[1]
		}
	}
	return block
}

func rowMods(r row) []func(*drivers.TaskConfig) {
	if r.mod == nil {
		return nil
	}
	return []func(*drivers.TaskConfig){r.mod}
}

/* The same from inside the container: what Docker was sent has the effect that the job wants. */
func TestTaskFieldsFromInside(t *testing.T) {
	paddockOnly(t, "knows no oom_score_adj, and the logs are not read-only")
	p := launch(t)
	k := newTask(t, p, "inside", shell(`
		grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
		echo nofile $(ulimit -Sn) $(ulimit -Hn); echo host $(hostname); echo id $(id -u):$(id -g); pwd
		echo somaxconn $(cat /proc/sys/net/core/somaxconn); echo shm $(df -k /dev/shm | tail -1 | awk '{print $2}')
		touch /new 2>&1; [ -c /dev/nil ] && echo device; echo tmp $(grep ' /scratch ' /proc/mounts)
		echo oom $(cat /proc/self/oom_score_adj); cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null
		touch /alloc/data/a /local/b /alloc/logs/c 2>&1; ls /alloc/data /local; echo $GREETING; echo done; sleep 1000`)+`
		cap_drop = ["mknod"]
		security_opt = ["no-new-privileges", "seccomp=unconfined"]
		ulimit { nofile = "2048:4096" }
		hostname = "inner"
		work_dir = "/tmp"
		sysctl { net.core.somaxconn = "1234" }
		shm_size = 33554432
		readonly_rootfs = true
		devices = [ { host_path = "/dev/zero"  container_path = "/dev/nil" } ]
		mount { type = "tmpfs"  target = "/scratch"  tmpfs_options { size = 1048576 } }
		oom_score_adj = 321`, func(c *drivers.TaskConfig) { c.Env["GREETING"] = "good day" }).start(p)
	k.stdout.waitFor(t, 20*time.Second, "done\n")
	text := k.stdout.text()
	for _, w := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t0\n", "nofile 2048 4096\n", "host inner\n", "id 0:0\n/tmp\n", "somaxconn 1234\n", "shm 32768\n",
		"touch: /new: Read-only file system\n", "device\n", "size=1024k", "oom 321\n", "\n67108864\n", "touch: /alloc/logs/c: Read-only file system\n",
		"/alloc/data:\na\n", "/local:\nb\n", "good day\n"} {
		if !strings.Contains(text, w) {
			t.Errorf("inside it is not %q", w)
		}
	}
	var caps uint64
	if _, err := fmt.Sscanf(text, "CapBnd:\t%x", &caps); err != nil || caps&(1<<13|1<<27) != 0 || caps&1 == 0 {
		t.Errorf("capabilities %x: without net_raw (13) and mknod (27), with chown (0)", caps)
	}
	if t.Failed() {
		t.Log(text)
	}
	ok(t, k.destroy(p), "DestroyTask")
}

/* What Docker 28 and 29 report for a default. Older ones report the value as it was sent. */
var newerDefaults = map[string]any{
	"HostConfig.NetworkMode=default": "bridge",
	"HostConfig.RestartPolicy.Name=": "no",
}
