# A task without cores of its own: it runs on the cores that all such tasks of the node share, and says which.
job "hello" {
  group "hello" {
    update {
      min_healthy_time = "1s"
      healthy_deadline = "2m"
    }

    task "hello" {
      driver = "docker"

      config {
        image   = "busybox:1"
        command = "/bin/sh"
        args = ["-c", <<-END
          n=0
          while true; do
            n=$((n + 1))
            echo "hello $n: I may run on cores $(grep Cpus_allowed_list /proc/self/status | cut -f 2)"
            sleep 1
          done
        END
        ]
      }

      resources {
        cpu    = 100
        memory = 32
      }
    }
  }
}
