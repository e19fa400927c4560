package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

/*
 * A group's network as a real agent makes it. The driver's pause container has the namespace, the
 * agent's CNI plugins put an address and a mapped port into it, and all of the group's tasks join
 * it. The page contains the address that the hosts file gives for the group's name.
 */
const bridgeJob = `job "net" {
  group "net" {
    update {
      min_healthy_time = "1s"
      healthy_deadline = "2m"
    }
    network {
      mode = "bridge"
      port "http" {
        to = 8080
      }
    }
    task "web" {
      driver = "docker"
      config {
        image   = "busybox:1"
        command = "/bin/sh"
        args    = ["-c", "mkdir /w && grep $(hostname) /etc/hosts | awk '{print $1}' >/w/index.html && exec httpd -f -p 8080 -h /w"]
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
    task "peer" {
      driver = "docker"
      config {
        image   = "busybox:1"
        command = "/bin/sh"
        args    = ["-c", "until wget -q -O - http://127.0.0.1:8080/; do sleep 1; done; exec sleep 100000"]
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}`

/* Without a namespace for the group: a port that Docker publishes, and a task in the host's
 * network. */
const hostJob = `job "net" {
  group "net" {
    update {
      min_healthy_time = "1s"
      healthy_deadline = "2m"
    }
    network {
      port "http" {
        to = 8080
      }
      port "host" {}
    }
    task "web" {
      driver = "docker"
      config {
        image   = "busybox:1"
        command = "/bin/sh"
        args    = ["-c", "mkdir /w && echo hello from published >/w/index.html && exec httpd -f -p 8080 -h /w"]
        ports   = ["http"]
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
    task "host" {
      driver = "docker"
      config {
        image        = "busybox:1"
        command      = "/bin/sh"
        args         = ["-c", "mkdir /w && echo hello from $(hostname) >/w/index.html && exec httpd -f -p $NOMAD_PORT_host -h /w"]
        network_mode = "host"
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}`

type runningNet struct {
	alloc string
	url   map[string]string /* by the port's label */
	own   string            /* the group's own address, or "" */
}

func netRun(t *T, hcl string) *runningNet {
	submit(t, hcl)
	n := &runningNet{alloc: deployed(t, "net").ID, url: map[string]string{}}
	var a struct {
		NetworkStatus      struct{ Address string }
		AllocatedResources struct {
			Shared struct {
				Ports []struct {
					Label, HostIP string
					Value         int
				}
			}
		}
	}
	t.ok(nomad("GET", "/v1/allocation/"+n.alloc, nil, &a), "allocation")
	for _, p := range a.AllocatedResources.Shared.Ports {
		n.url[p.Label] = fmt.Sprintf("http://%s:%d/", p.HostIP, p.Value)
	}
	n.own = a.NetworkStatus.Address
	return n
}

func (n *runningNet) box(t *T, name string) *container {
	box, err := inspect(name + n.alloc)
	t.ok(err, name)
	return box
}

func get(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(text)), err
}

func answers(t *T, url, want, when string) {
	t.eventually(30*time.Second, when+" "+url+" answers", func() (bool, string) {
		text, err := get(url)
		return err == nil && text == want, fmt.Sprint(text, err)
	})
}

/* The network namespace of the container's process. */
func (c *container) netns(t *T) string {
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", c.State.Pid))
	t.ok(err, "namespace of "+c.Name)
	return ns
}

func caseAgentBridge(t *T) {
	freshAgent(t, true)
	n := netRun(t, bridgeJob)
	pause := n.box(t, "nomad_init_")
	works := func(when string) {
		answers(t, n.url["http"], n.own, when)
		answers(t, "http://"+n.own+":8080/", n.own, when)
		now := n.box(t, "nomad_init_")
		if now.ID != pause.ID || now.State.StartedAt != pause.State.StartedAt {
			t.fatalf("%s the group has another pause container", when)
		}
		for _, name := range []string{"web-", "peer-"} {
			if got, want := n.box(t, name).netns(t), pause.netns(t); got != want {
				t.fatalf("%s %s is in %s, the pause container in %s", when, name, got, want)
			}
		}
	}
	works("in the beginning")
	peer := &runningJob{name: "peer", alloc: n.alloc}
	t.eventually(30*time.Second, "the peer has reached the other task on the loopback that they share", func() (bool, string) {
		text, err := peer.logs()
		return err == nil && text == n.own+"\n", fmt.Sprint(text, err)
	})

	newPlugin(t, killPlugin(t))
	works("after the plugin's death")
	t.sh("systemctl", "restart", "nomad.service")
	agentReady(t)
	works("after the agent's restart")

	(&runningJob{name: "net"}).stop(t)
	t.eventually(60*time.Second, "nothing of the group is left", func() (bool, string) {
		names, err := containers()
		rules, _ := sh("iptables-save")
		ruled := strings.Contains(rules, n.alloc)
		_, lease := os.Stat("/var/lib/cni/networks/nomad/" + n.own)
		_, reached := get(n.url["http"])
		return err == nil && len(names) == 0 && !ruled && lease != nil && reached != nil,
			fmt.Sprintf("containers %v %v, rules of iptables: %v, lease: %v, reached: %v", names, err, ruled, lease == nil, reached == nil)
	})
}

func caseAgentHostNetwork(t *T) {
	freshAgent(t, true)
	n := netRun(t, hostJob)
	hostname, err := os.Hostname()
	t.ok(err, "hostname")
	answers(t, n.url["http"], "hello from published", "with a published port")
	answers(t, n.url["host"], "hello from "+hostname, "in the host's network")
	host, err := os.Readlink("/proc/self/ns/net")
	t.ok(err, "our namespace")
	if got := n.box(t, "host-").netns(t); got != host {
		t.fatalf("the task with the host's network is in %s", got)
	}
	if got := n.box(t, "web-").netns(t); got == host {
		t.fatalf("the task with the published port is in the host's network")
	}
	if _, err := inspect("nomad_init_" + n.alloc); err == nil {
		t.fatalf("a group without a network of its own has a pause container")
	}
	(&runningJob{name: "net"}).stop(t)
	t.eventually(60*time.Second, "no container left", func() (bool, string) {
		names, err := containers()
		return err == nil && len(names) == 0, fmt.Sprint(names, err)
	})
}
