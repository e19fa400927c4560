# A Nomad agent that is server and client of one node, with paddock in place of the built-in docker driver.
# The file /opt/nomad/plugins/docker is the paddock program: the file's name is the driver's name.
data_dir   = "/opt/nomad/data"
plugin_dir = "/opt/nomad/plugins"
bind_addr  = "127.0.0.1"

advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}

disable_update_check = true

server {
  enabled          = true
  bootstrap_expect = 1
}

client {
  enabled = true

  # Core 0 stays with the system: Nomad's tasks share the other ones. Write here what your machine has.
  # (A client of Nomad 1.6 does not look at `reserved { cores = "0" }` for this.)
  reservable_cores = "1-3"
}

# The block of the built-in driver goes on to work as it is. Ours, beside its fields:
#   cpuset {
#     interval = "1s"    # how often everything is read again; changes are acted on at once
#     systemd  = true    # also tell systemd (AllowedCPUs), so that a daemon-reload does not undo it
#   }
plugin "docker" {
  config {
  }
}
