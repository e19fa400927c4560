# A task that asks for a core. While it runs, the tasks without cores of their own are kept off that core.
job "cores" {
  group "cores" {
    update {
      min_healthy_time = "1s"
      healthy_deadline = "2m"
    }

    task "cores" {
      driver = "docker"

      config {
        image   = "busybox:1"
        command = "/bin/sleep"
        args    = ["1000000"]
      }

      resources {
        cores  = 1
        memory = 32
      }
    }
  }
}
