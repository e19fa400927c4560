/* SPDX-License-Identifier: MPL-2.0 */
/* The create request, one row for each rule: the input, and what Docker is sent or which error
 * names the input. */
#include "unit/create/test_create.h"

#define HC "HostConfig>"

struct row {
    const char *name;
    struct input in;
    struct {
        const char *path, *json;
    } want[5];
    const char *error; /* substring */
    int code;          /* 0 = any */
};

#define HOST_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LIN(...) .task.resources = {__VA_ARGS__}

static const struct row config_rows[] = {
    {"image as the job says it",
     {.job.image = "redis@sha256:ab"},
     {{"Image", "\"redis@sha256:ab\""}}},
    {"nothing asked, nothing told",
     {.job.image = "x"},
     {{"Cmd"}, {"Entrypoint"}, {HC "Init"}, {HC "Mounts"}, {"NetworkingConfig"}}},
    {"nothing asked, no switches",
     {.job.image = "x"},
     {{"Tty"}, {"OpenStdin"}, {HC "Privileged"}, {HC "ReadonlyRootfs"}, {"Healthcheck"}}},
    {"nothing asked, no names",
     {.job.image = "x"},
     {{"Hostname"}, {"User"}, {"WorkingDir"}, {HC "Runtime"}, {HC "CgroupParent"}}},
    {"entrypoint, hostname, work_dir, user",
     {.job = {.entrypoint = LIST("/e", "-x"), .hostname = "h", .work_dir = "/w"},
      .task.user = "7:8"},
     {{"Entrypoint", "[\"/e\",\"-x\"]"},
      {"Hostname", "\"h\""},
      {"WorkingDir", "\"/w\""},
      {"User", "\"7:8\""}}},
    {"no entrypoint", {.job.entrypoint_present = true}, {{"Entrypoint", "[]"}}},
    {"an entrypoint that is empty",
     {.job = {.entrypoint = LIST(""), .entrypoint_present = true}},
     {{"Entrypoint", "[\"\"]"}}},
    {"hostname of 64 bytes", {.job.hostname = HOST_64}, {{"Hostname", "\"" HOST_64 "\""}}},
    {"hostname of 65 bytes",
     {.job.hostname = HOST_64 "x"},
     .error = "hostname: \"" HOST_64 "...\" is 65 bytes long, the kernel takes at most 64",
     .code = -EINVAL},
    {"tty, interactive",
     {.job = {.tty = true, .interactive = true}},
     {{"Tty", "true"}, {"OpenStdin", "true"}}},
    {"command and args",
     {.job = {.command = "sh", .args = LIST("-c", "x y")}},
     {{"Cmd", "[\"sh\",\"-c\",\"x y\"]"}}},
    {"args alone", {.job.args = LIST("-c")}, {{"Cmd", "[\"-c\"]"}}},
    {"blank command", {.job.command = "  "}, .error = "command empty: \"  \""},
    {"command with a blank",
     {.job.command = "sh "},
     .error = "command contains extra white space: \"sh \""},
    {"env is sorted",
     {.task.env = PAIRS({"B", "2"}, {"A", "1=x"}, {"C", ""})},
     {{"Env", "[\"A=1=x\",\"B=2\",\"C=\"]"}}},
    {"port_map sets the port inside",
     {.job.port_map = PAIRS({"my-http", "80"}),
      .task.env = PAIRS({"NOMAD_PORT_my_http", "22000"}),
      .task.resources = {MANY(networks, struct task_network, {.ip = "10.0.0.9"})}},
     {{"Env", "[\"NOMAD_PORT_my_http=80\"]"}}},
    {"env must be UTF-8", {.task.env = PAIRS({"A", "\xff"})}, .error = "not UTF-8"},
    {"healthchecks",
     {.job.healthchecks_disable = true},
     {{"Healthcheck", "{\"Test\":[\"NONE\"]}"}}},
    {"no resources", {.no_resources = true}, .error = "task.Resources is empty"},
    {"isolation is of Windows",
     {.job.isolation = "hyperv"},
     .error = "cannot use isolation mode \"hyperv\" on linux"},
    {"init, group_add, storage_opt",
     {.job = {.init = true,
              .group_add = LIST("wheel", "7"),
              .storage_opt = PAIRS({"size", "4G"}),
              .readonly_rootfs = true}},
     {{HC "Init", "true"},
      {HC "GroupAdd", "[\"wheel\",\"7\"]"},
      {HC "StorageOpt", "{\"size\":\"4G\"}"},
      {HC "ReadonlyRootfs", "true"}}},
    {"sysctl, cgroupns, shm_size",
     {.job = {.sysctl = PAIRS({"net.core.somaxconn", "16384"}),
              .cgroupns = "private",
              .shm_size = 4096}},
     {{HC "Sysctls", "{\"net.core.somaxconn\":\"16384\"}"},
      {HC "CgroupnsMode", "\"private\""},
      {HC "ShmSize", "4096"}}},
    {"oom_score_adj of the task",
     {.job.oom_score_adj = -7, .plugin.oom_score_adj = 100},
     {{HC "OomScoreAdj", "-7"}}},
    {"oom_score_adj of the client", {.plugin.oom_score_adj = 100}, {{HC "OomScoreAdj", "100"}}},
    {"oom_score_adj of nobody", {.job.image = "x"}, {{HC "OomScoreAdj"}}},
    {"logging of the client",
     {.job.image = "x"},
     {{HC "LogConfig",
       "{\"Type\":\"json-file\",\"Config\":{\"max-file\":\"2\",\"max-size\":\"2m\"}}"}}},
    {"logging of the task takes nothing over",
     {.job.logging_type = "journald"},
     {{HC "LogConfig", "{\"Type\":\"journald\",\"Config\":{}}"}}},
    {"logging.type before logging.driver",
     {.job = {.logging_type = "a", .logging_driver = "b"}},
     {{HC "LogConfig>Type", "\"a\""}}},
    {"logging.driver",
     {.job = {.logging_driver = "syslog", .logging_config = PAIRS({"tag", "t"})}},
     {{HC "LogConfig", "{\"Type\":\"syslog\",\"Config\":{\"tag\":\"t\"}}"}}},
};

static const struct row limit_rows[] = {
    {"memory alone is the limit",
     {LIN(.memory_mb = 100)},
     {{HC "Memory", "104857600"}, {HC "MemoryReservation", "0"}, {HC "MemorySwap", "104857600"}}},
    {"memory_max",
     {LIN(.memory_mb = 100, .memory_max_mb = 200)},
     {{HC "Memory", "209715200"},
      {HC "MemoryReservation", "104857600"},
      {HC "MemorySwap", "209715200"}}},
    {"memory_hard_limit",
     {LIN(.memory_mb = 100), .job.memory_hard_limit_mb = 300},
     {{HC "Memory", "314572800"}, {HC "MemoryReservation", "104857600"}}},
    {"memory_hard_limit and a greater memory_max",
     {LIN(.memory_mb = 100, .memory_max_mb = 400), .job.memory_hard_limit_mb = 300},
     {{HC "Memory", "419430400"}}},
    {"memory_max = -1",
     {LIN(.memory_mb = 100, .memory_max_mb = -1), .job.memory_hard_limit_mb = 300},
     {{HC "Memory", "0"}, {HC "MemoryReservation", "104857600"}, {HC "MemorySwap", "0"}}},
    {"memory above the hard limit",
     {LIN(.memory_mb = 400), .job.memory_hard_limit_mb = 300},
     .error = "task memory requirements exceed driver hard limit of 300 MB"},
    {"memory beyond numbers", {LIN(.memory_mb = INT64_MAX)}, .error = "out of range"},
    {"no swappiness on v2", {.host.swappiness = true}, {{HC "MemorySwappiness"}}},
    {"swappiness on v1",
     {.host.swappiness = true, .cgroup_v1 = true},
     {{HC "MemorySwappiness", "0"}}},
    {"no swappiness where it cannot be", {.cgroup_v1 = true}, {{HC "MemorySwappiness"}}},
    {"shares", {LIN(.cpu_shares = 500)}, {{HC "CpuShares", "500"}}},
    {"at least 2 shares", {LIN(.cpu_shares = 1)}, {{HC "CpuShares", "2"}}},
    {"shares of a node just below the range",
     {LIN(.cpu_shares = 262143), .host.total_compute_mhz = 262143},
     {{HC "CpuShares", "262143"}}},
    {"shares of a great node",
     {LIN(.cpu_shares = 100000), .host.total_compute_mhz = 524288},
     {{HC "CpuShares", "50000"}}},
    {"shares of a great node, at least 2",
     {LIN(.cpu_shares = 2), .host.total_compute_mhz = 524288},
     {{HC "CpuShares", "2"}}},
    {"shares never beyond Docker's limit",
     {LIN(.cpu_shares = 300000)},
     {{HC "CpuShares", "262144"}}},
    {"no quota by itself",
     {LIN(.percent_ticks = 0.5), .job.cpu_cfs_period = 100000, .host.num_cpu = 4},
     {{HC "CpuQuota"}, {HC "CpuPeriod"}}},
    {"cpu_hard_limit",
     {LIN(.percent_ticks = 0.25), .job = {.cpu_hard_limit = true, .cpu_cfs_period = 100000},
      .host.num_cpu = 4},
     {{HC "CpuQuota", "100000"}, {HC "CpuPeriod", "100000"}}},
    {"cpu_hard_limit cuts before it multiplies",
     {LIN(.percent_ticks = 0.000019), .job = {.cpu_hard_limit = true, .cpu_cfs_period = 100000},
      .host.num_cpu = 4},
     {{HC "CpuQuota", "4"}}},
    {"period of Nomad",
     {LIN(.percent_ticks = 0.5, .cpu_period = 50000), .job.cpu_hard_limit = true,
      .host.num_cpu = 2},
     {{HC "CpuQuota", "50000"}, {HC "CpuPeriod", "50000"}}},
    {"period too long",
     {.job = {.cpu_hard_limit = true, .cpu_cfs_period = 1000001}},
     .error = "invalid value for cpu_cfs_period"},
    {"period below 0",
     {.job = {.cpu_hard_limit = true, .cpu_cfs_period = -1}},
     .error = "invalid value for cpu_cfs_period"},
    {"cpuset is the host's, not the task's word",
     {.host.cpuset = "2-3", .job.cpuset_cpus = "0"},
     {{HC "CpusetCpus", "\"2-3\""}}},
    {"no cpuset", {.host.cpuset = "", .job.cpuset_cpus = "0"}, {{HC "CpusetCpus"}}},
    {"mems beside the cpuset",
     {.host = {.cpuset = "2-3", .mems = "1"}},
     {{HC "CpusetMems", "\"1\""}}},
    {"no mems", {.host.cpuset = "2-3"}, {{HC "CpusetMems"}}},
    {"pids: none", {.job.image = "x"}, {{HC "PidsLimit", "-1"}}},
    {"pids: the client's", {.plugin.pids_limit = 50}, {{HC "PidsLimit", "50"}}},
    {"pids: the task's",
     {.plugin.pids_limit = 50, .job.pids_limit = {true, 50}},
     {{HC "PidsLimit", "50"}}},
    {"pids: 0 is none of the task's",
     {.plugin.pids_limit = 50, .job.pids_limit = {true, 0}},
     {{HC "PidsLimit", "50"}}},
    {"pids: without a client's", {.job.pids_limit = {true, 7}}, {{HC "PidsLimit", "7"}}},
    {"pids: above the client's",
     {.plugin.pids_limit = 50, .job.pids_limit = {true, 51}},
     .error = "pids_limit cannot be greater than nomad plugin config pids_limit: 50"},
    {"ulimits",
     {.job.ulimit = PAIRS({"nofile", "10:20"}, {"nproc", "5"}, {"core", "-1"})},
     {{HC "Ulimits",
       "[{\"Name\":\"nofile\",\"Soft\":10,\"Hard\":20},{\"Name\":\"nproc\",\"Soft\":5,\"Hard\":5},"
       "{\"Name\":\"core\",\"Soft\":-1,\"Hard\":-1}]"}}},
    {"ulimit empty",
     {.job.ulimit = PAIRS({"nofile", ""})},
     .error = "Malformed ulimit specification nofile: \"\", cannot be empty"},
    {"ulimit soft",
     {.job.ulimit = PAIRS({"nofile", "x:1"})},
     .error = "Malformed soft ulimit nofile: x:1"},
    {"ulimit hard",
     {.job.ulimit = PAIRS({"nofile", "1:"})},
     .error = "Malformed hard ulimit nofile: 1:"},
    {"ulimit alone and wrong",
     {.job.ulimit = PAIRS({"nofile", "x"})},
     .error = "Malformed soft ulimit nofile: x:x"},
};

static const struct row security_rows[] = {
    {"privileged is refused",
     {.job.privileged = true},
     .error = "Docker privileged mode is disabled on this Nomad agent",
     .code = -EACCES},
    {"privileged",
     {.job.privileged = true, .plugin.allow_privileged = true},
     {{HC "Privileged", "true"}}},
    {"net_raw is dropped by default",
     {.job.image = "x"},
     {{HC "CapDrop", "[\"net_raw\"]"}, {HC "CapAdd"}}},
    {"caps are plain, lower case and sorted",
     {.job = {.cap_add = LIST("CAP_SETUID", "Chown", "chown"),
              .cap_drop = LIST("kill", "CAP_FOWNER")}},
     {{HC "CapAdd", "[\"chown\",\"setuid\"]"},
      {HC "CapDrop", "[\"fowner\",\"kill\",\"net_raw\"]"}}},
    {"cap that is not allowed",
     {.job.cap_add = LIST("SYS_ADMIN", "CHOWN", "net_admin")},
     .error = "driver does not allow the following capabilities: net_admin, sys_admin (cap_add, "
              "allow_caps)",
     .code = -EACCES},
    {"all caps are more than the default",
     {.job.cap_add = LIST("ALL")},
     .error = "driver does not allow"},
    {"all caps",
     {.job.cap_add = LIST("all"), .plugin.allow_caps = LIST("all")},
     {{HC "CapAdd", "[\"all\"]"}, {HC "CapDrop"}}},
    {"the newest cap",
     {.job.cap_add = LIST("checkpoint_restore"), .plugin.allow_caps = LIST("all")},
     {{HC "CapAdd", "[\"checkpoint_restore\"]"}}},
    {"drop all", {.job.cap_drop = LIST("CAP_ALL")}, {{HC "CapDrop", "[\"all\"]"}}},
    {"what the client does not allow is dropped",
     {.plugin.allow_caps = LIST("CAP_CHOWN", "net_raw", "sys_time")},
     {{HC "CapDrop", "[\"audit_write\",\"dac_override\",\"fowner\",\"fsetid\",\"kill\",\"mknod\","
                     "\"net_bind_service\","
                     "\"setfcap\",\"setgid\",\"setpcap\",\"setuid\",\"sys_chroot\"]"}}},
    {"runtime", {.job.runtime = "runc"}, {{HC "Runtime", "\"runc\""}}},
    {"runtime that is not allowed",
     {.job.runtime = "kata"},
     .error = "requested runtime \"kata\" is not allowed"},
    {"gpu runtime",
     {.task.device_env = PAIRS({"NVIDIA_VISIBLE_DEVICES", "0"}), .host.runtimes = "nvidia,runc"},
     {{HC "Runtime", "\"nvidia\""}}},
    {"gpu runtime of unknown Docker",
     {.task.device_env = PAIRS({"NVIDIA_VISIBLE_DEVICES", "0"})},
     {{HC "Runtime", "\"nvidia\""}}},
    {"gpu runtime that Docker lacks",
     {.task.device_env = PAIRS({"NVIDIA_VISIBLE_DEVICES", "0"}),
      .host.runtimes = "io.nvidia,nvidia-legacy,runc"},
     .error = "requested docker runtime \"nvidia\" was not found"},
    {"gpu and another runtime",
     {.task.device_env = PAIRS({"NVIDIA_VISIBLE_DEVICES", "0"}),
      .job.runtime = "runc",
      .host.runtimes = "nvidia"},
     .error = "conflicting runtime requests: gpu runtime \"nvidia\" conflicts with task runtime "
              "\"runc\""},
    {"gpu runtime that is not allowed",
     {.task.device_env = PAIRS({"NVIDIA_VISIBLE_DEVICES", ""}),
      .plugin.allow_runtimes = LIST("runc")},
     .error = "requested runtime \"nvidia\" is not allowed"},
    {"pid_mode is refused",
     {.job.pid_mode = "host"},
     .error = "cannot apply \"pid_mode\" configuration"},
    {"ipc_mode is refused",
     {.job.ipc_mode = "host"},
     .error = "cannot apply \"ipc_mode\" configuration"},
    {"uts_mode is refused",
     {.job.uts_mode = "host"},
     .error = "cannot apply \"uts_mode\" configuration"},
    {"userns_mode is refused",
     {.job.userns_mode = "host"},
     .error = "cannot apply \"userns_mode\" configuration"},
    {"the glob of another mode does not count",
     {.job.pid_mode = "host",
      .plugin = {.allowed_ipc_modes = LIST("*"),
                 .allowed_uts_modes = LIST("*"),
                 .allowed_userns_modes = LIST("*")}},
     .error = "cannot apply \"pid_mode\" configuration"},
    {"modes that globs allow",
     {.job = {.pid_mode = "container:abc",
              .ipc_mode = "shareable",
              .uts_mode = "host",
              .userns_mode = "host"},
      .plugin = {.allowed_pid_modes = LIST("host", "container:*"),
                 .allowed_ipc_modes = LIST("*share*"),
                 .allowed_uts_modes = LIST("host"),
                 .allowed_userns_modes = LIST("h*t")}},
     {{HC "PidMode", "\"container:abc\""},
      {HC "IpcMode", "\"shareable\""},
      {HC "UTSMode", "\"host\""},
      {HC "UsernsMode", "\"host\""}}},
    {"allow_privileged allows each mode",
     {.job.pid_mode = "host", .plugin.allow_privileged = true},
     {{HC "PidMode", "\"host\""}}},
    {"security_opt",
     {.job.security_opt =
          LIST("no-new-privileges", "apparmor=x", "label:disable", "seccomp=unconfined")},
     {{HC "SecurityOpt",
       "[\"no-new-privileges\",\"apparmor=x\",\"label:disable\",\"seccomp=unconfined\"]"}}},
    {"security_opt without a value",
     {.job.security_opt = LIST("seccomp")},
     .error = "invalid security_opt: \"seccomp\""},
    {"devices: defaults, then Nomad's",
     {.job = {MANY(devices, struct job_device, {.host_path = "/dev/fuse"},
                   {.host_path = "/dev/a", .container_path = "/dev/b", .cgroup_permissions = "r"})},
      .task = {MANY(devices, struct task_device,
                    {.host_path = "/dev/n", .task_path = "/dev/m", .cgroup_permissions = "rw"})}},
     {{HC "Devices",
       "[{\"PathOnHost\":\"/dev/fuse\",\"PathInContainer\":\"/dev/"
       "fuse\",\"CgroupPermissions\":\"rwm\"},"
       "{\"PathOnHost\":\"/dev/a\",\"PathInContainer\":\"/dev/b\",\"CgroupPermissions\":\"r\"},"
       "{\"PathOnHost\":\"/dev/n\",\"PathInContainer\":\"/dev/"
       "m\",\"CgroupPermissions\":\"rw\"}]"}}},
    {"device without a path",
     {.job = {MANY(devices, struct job_device, {.container_path = "/x"})}},
     .error = "host path must be set in configuration for devices"},
    {"device permissions",
     {.job = {MANY(devices, struct job_device, {.host_path = "/x", .cgroup_permissions = "rx"})}},
     .error = "devices \"/x\": invalid cgroup permission string: \"rx\""},
};

#define OWN_BINDS                                                                                  \
    "\"@/alloc:/alloc\",\"@/web/local:/local\",\"@/web/secrets:/secrets\","                        \
    "\"@/alloc/logs:/alloc/logs:ro\""

static const struct row mount_rows[] = {
    {"Nomad's folders", {.job.image = "x"}, {{HC "Binds", "[" OWN_BINDS "]"}}},
    {"Nomad's folders where the environment says",
     {.task.env =
          PAIRS({"NOMAD_ALLOC_DIR", "/A"}, {"NOMAD_TASK_DIR", "/L"}, {"NOMAD_SECRETS_DIR", "/S"})},
     {{HC "Binds",
       "[\"@/alloc:/A\",\"@/web/local:/L\",\"@/web/secrets:/S\",\"@/alloc/logs:/A/logs:ro\"]"}}},
    {"SELinux label",
     {.plugin.volumes_selinuxlabel = "z", .job.volumes = LIST("a:/b", "c:/d:ro")},
     {{HC "Binds", "[\"@/alloc:/alloc:z\",\"@/web/local:/local:z\",\"@/web/secrets:/secrets:z\","
                   "\"@/alloc/logs:/alloc/logs:ro,z\",\"@/web/a:/b:z\",\"@/web/c:/d:ro,z\"]"}}},
    {"SELinux label of the job",
     {.plugin.volumes_selinuxlabel = "z",
      .job.volumes = LIST("a:/b:z", "c:/d:ro,Z", "e:/f:Z,ro", "g:/h:rz")},
     {{HC "Binds>4", "\"@/web/a:/b:z\""},
      {HC "Binds>5", "\"@/web/c:/d:ro,Z\""},
      {HC "Binds>6", "\"@/web/e:/f:Z,ro\""},
      {HC "Binds>7", "\"@/web/g:/h:rz,z\""}}},
    {"volumes below the allocation",
     {.job.volumes = LIST("a/../b/./c:/x", "../alloc/data:/y:ro", "..:/z")},
     {{HC "Binds", "[" OWN_BINDS ",\"@/web/b/c:/x\",\"@/alloc/data:/y:ro\",\"@:/z\"]"}}},
    {"a volume's further parts",
     {.job.volumes = LIST("a:/b:ro:x")},
     {{HC "Binds>4", "\"@/web/a:/b:ro\""}}},
    {"a volume without a target",
     {.job.volumes = LIST("a")},
     .error = "invalid docker volume \"a\": not <src>:<destination> format"},
    {"a host path",
     {.job.volumes = LIST("/etc:/e")},
     .error = "volumes are not enabled; cannot mount host path: \"/etc:/e\"",
     .code = -EACCES},
    {"a path out by dots",
     {.job.volumes = LIST("../../outside:/e")},
     .error = "volumes are not enabled"},
    {"a neighbour whose name begins alike",
     {.job.volumes = LIST("../../a1x:/e")},
     .error = "volumes are not enabled"},
    {"a host path where volumes are enabled",
     {.plugin.volumes_enabled = true, .job.volumes = LIST("/etc/../etc:/e", "../../x:/y")},
     {{HC "Binds>4", "\"/etc:/e\""}}},
    {"volume_driver is refused",
     {.job.volume_driver = "nfs"},
     .error = "volumes are not enabled; cannot use volume driver \"nfs\""},
    {"volume_driver: the source is a name",
     {.plugin.volumes_enabled = true,
      .job = {.volume_driver = "nfs", .volumes = LIST("name/../n2:/x")}},
     {{HC "Binds>4", "\"n2:/x\""}, {HC "VolumeDriver", "\"nfs\""}}},
    {"mount bind",
     {.job = {MANY(mounts, struct job_mount,
                   {.type = "bind",
                    .source = "local/a",
                    .target = "/t",
                    .readonly = true,
                    .propagation = "rshared"})}},
     {{HC "Mounts",
       "[{\"Type\":\"bind\",\"Source\":\"@/web/local/a\",\"Target\":\"/t\",\"ReadOnly\":true,"
       "\"BindOptions\":{\"Propagation\":\"rshared\"}}]"}}},
    {"mount bind without options",
     {.job = {MANY(mounts, struct job_mount, {.type = "bind", .source = "local", .target = "/t"})}},
     {{HC "Mounts",
       "[{\"Type\":\"bind\",\"Source\":\"@/web/local\",\"Target\":\"/t\",\"BindOptions\":{}}]"}}},
    {"mount bind of a host path",
     {.job = {MANY(mounts, struct job_mount, {.type = "bind", .source = "/etc", .target = "/t"})}},
     .error = "volumes are not enabled; cannot mount host path: \"/etc\""},
    {"mount bind of a host path where it may be",
     {.plugin.volumes_enabled = true,
      .job = {MANY(mounts, struct job_mount, {.type = "bind", .source = "/etc", .target = "/t"})}},
     {{HC "Mounts>0>Source", "\"/etc\""}}},
    {"mount tmpfs",
     {.job = {MANY(
          mounts, struct job_mount,
          {.type = "tmpfs", .target = "/t", .tmpfs_size = {true, 100}, .tmpfs_mode = {true, 511}},
          {.type = "tmpfs", .target = "/u"})}},
     {{HC "Mounts",
       "[{\"Type\":\"tmpfs\",\"Target\":\"/t\",\"TmpfsOptions\":{\"SizeBytes\":100,\"Mode\":511}},"
       "{\"Type\":\"tmpfs\",\"Target\":\"/u\",\"TmpfsOptions\":{}}]"}}},
    {"mount tmpfs with a source",
     {.job = {MANY(mounts, struct job_mount, {.type = "tmpfs", .source = "x", .target = "/t"})}},
     .error = "mount \"/t\": invalid source, must be \"\" for tmpfs"},
    {"mount volume is refused",
     {.job = {MANY(mounts, struct job_mount, {.source = "v", .target = "/t"})}},
     .error = "volumes are not enabled; cannot mount volume: \"v\""},
    {"mount volume",
     {.plugin.volumes_enabled = true,
      .job = {MANY(mounts, struct job_mount,
                   {.type = "volume",
                    .source = "v",
                    .target = "/t",
                    .no_copy = true,
                    .volume_labels = PAIRS({"a", "b"}),
                    .volume_driver_name = "d",
                    .volume_driver_options = PAIRS({"o", "p"})},
                   {.source = "w", .target = "/u"})}},
     {{HC "Mounts",
       "[{\"Type\":\"volume\",\"Source\":\"v\",\"Target\":\"/"
       "t\",\"VolumeOptions\":{\"NoCopy\":true,"
       "\"Labels\":{\"a\":\"b\"},\"DriverConfig\":{\"Name\":\"d\",\"Options\":{\"o\":\"p\"}}}},"
       "{\"Type\":\"volume\",\"Source\":\"w\",\"Target\":\"/"
       "u\",\"VolumeOptions\":{\"DriverConfig\":{}}}]"}}},
    {"mount of no known type",
     {.job = {MANY(mounts, struct job_mount, {.type = "npipe", .target = "/t"})}},
     .error =
         "mount \"/t\": invalid mount type, must be \"bind\", \"volume\", \"tmpfs\": \"npipe\""},
    {"Nomad's mounts come last, any path",
     {.job = {MANY(mounts, struct job_mount, {.type = "tmpfs", .target = "/t"})},
      .task = {MANY(
          mounts, struct task_mount, {.task_path = "/1", .host_path = "/h1"},
          {.task_path = "/2", .host_path = "/h2", .readonly = true, .propagation_mode = "private"},
          {.task_path = "/3", .host_path = "/h3", .propagation_mode = "host-to-task"},
          {.task_path = "/4", .host_path = "/h4", .propagation_mode = "bidirectional"})}},
     {{HC "Mounts>0>Type", "\"tmpfs\""},
      {HC "Mounts>1", "{\"Type\":\"bind\",\"Target\":\"/1\",\"Source\":\"/"
                      "h1\",\"BindOptions\":{\"Propagation\":\"rprivate\"}}"},
      {HC "Mounts>2", "{\"Type\":\"bind\",\"Target\":\"/2\",\"Source\":\"/"
                      "h2\",\"ReadOnly\":true,\"BindOptions\":{\"Propagation\":\"rprivate\"}}"},
      {HC "Mounts>3>BindOptions", "{\"Propagation\":\"rslave\"}"},
      {HC "Mounts>4>BindOptions", "{\"Propagation\":\"rshared\"}"}}},
};

#define PORT_HTTP                                                                                  \
    { .label = "http", .value = 22000, .to = 80, .host_ip = "10.0.0.5" }
#define PORT_ALT                                                                                   \
    { .label = "alt", .value = 22001, .to = 80, .host_ip = "10.0.0.6" }
#define PORT_SAME                                                                                  \
    { .label = "same", .value = 9000 }

static const struct row network_rows[] = {
    {"mode: default", {.job.image = "x"}, {{HC "NetworkMode", "\"default\""}}},
    {"mode as given",
     {.job.network_mode = "host", .task.network = {.present = true, .path = "/n"}},
     {{HC "NetworkMode", "\"host\""}}},
    {"mode: the group's sandbox",
     {.task.network = {.present = true,
                       .mode = NET_GROUP,
                       .path = "/n",
                       .labels = PAIRS({"docker_sandbox_container_id", "abc"})}},
     {{HC "NetworkMode", "\"container:abc\""}}},
    {"mode: another container",
     {.job.network_mode = "container:db", .task.network = {.present = true, .path = "/n"}},
     {{HC "NetworkMode", "\"container:db\""}}},
    {"mode: isolation without a path",
     {.task.network = {.present = true}},
     {{HC "NetworkMode", "\"default\""}}},
    {"ports of the group",
     {.job.ports = LIST("http", "same"),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP, PORT_SAME, PORT_ALT)}},
     {{HC "PortBindings", "{\"80/tcp\":[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}],\"80/"
                          "udp\":[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}],"
                          "\"9000/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9000\"}],\"9000/"
                          "udp\":[{\"HostIp\":\"\",\"HostPort\":\"9000\"}]}"},
      {"ExposedPorts", "{\"80/tcp\":{},\"80/udp\":{},\"9000/tcp\":{},\"9000/udp\":{}}"}}},
    {"two host ports, one container port",
     {.job.ports = LIST("http", "alt"),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP, PORT_ALT)}},
     {{HC "PortBindings>80/tcp", "[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"},{\"HostIp\":"
                                 "\"10.0.0.6\",\"HostPort\":\"22001\"}]"}}},
    {"a port that is not there",
     {.job.ports = LIST("nope"), .task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     .error = "Port \"nope\" not found, check network block"},
    {"no ports of a container's network",
     {.job = {.ports = LIST("nope"), .network_mode = "container:abc"},
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     {{HC "PortBindings"}, {"ExposedPorts"}}},
    {"ports of the group on an IPv6 address",
     {.job.ports = LIST("six"),
      .task.resources = {MANY(ports, struct task_port,
                              {.label = "six", .value = 22002, .host_ip = "fd00::5"})}},
     {{HC "PortBindings", "{\"22002/tcp\":[{\"HostIp\":\"fd00::5\",\"HostPort\":\"22002\"}],"
                          "\"22002/udp\":[{\"HostIp\":\"fd00::5\",\"HostPort\":\"22002\"}]}"}}},
    {"ports without a network",
     {.job.ports = LIST("http")},
     .error = "Port \"http\" not found, check network block"},
    {"ports beside a task's network",
     {.job.ports = LIST("http"),
      .task.resources = {MANY(networks, struct task_network, {.ip = "10.0.0.7"})}},
     .error = "Port \"http\" not found, check network block"},
    {"a port label twice",
     {.job.ports = LIST("http", "same", "http"),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP, PORT_SAME)}},
     {{HC "PortBindings>80/tcp", "[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}]"},
      {HC "PortBindings>80/udp", "[{\"HostIp\":\"10.0.0.5\",\"HostPort\":\"22000\"}]"}}},
    {"ports of the group that nobody asked for",
     {.task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     {{HC "PortBindings"}}},
    {"ports of a task's network",
     {.job.port_map = PAIRS({"db", "5432"}),
      .task.resources = {MANY(
          networks, struct task_network,
          {.ip = "10.0.0.7",
           MANY(reserved_ports, struct task_port, {.label = "db", .value = 1000}),
           MANY(dynamic_ports, struct task_port, {.label = "x", .value = 2000})})}},
     {{HC "PortBindings", "{\"5432/tcp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"1000\"}],\"5432/"
                          "udp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"1000\"}],"
                          "\"2000/tcp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"2000\"}],\"2000/"
                          "udp\":[{\"HostIp\":\"10.0.0.7\",\"HostPort\":\"2000\"}]}"}}},
    {"ports of a task's network on an IPv6 address",
     {.job.port_map = PAIRS({"db", "5432"}),
      .task.resources = {MANY(
          networks, struct task_network,
          {.ip = "fd00::7",
           MANY(dynamic_ports, struct task_port, {.label = "db", .value = 1000})})}},
     {{HC "PortBindings>5432/tcp", "[{\"HostIp\":\"fd00::7\",\"HostPort\":\"1000\"}]"}}},
    {"ports of a task's first network alone",
     {.task.resources = {MANY(
          networks, struct task_network, {.ip = "1.1.1.1"},
          {.ip = "2.2.2.2",
           MANY(dynamic_ports, struct task_port, {.label = "x", .value = 2000})})}},
     {{HC "PortBindings"}}},
    {"a port that is none",
     {.job.port_map = PAIRS({"db", "70000"}),
      .task.resources = {MANY(
          networks, struct task_network,
          {.ip = "1.1.1.1",
           MANY(reserved_ports, struct task_port, {.label = "db", .value = 1000})})}},
     .error = "port \"db\": 1000 to 70000 is out of range"},
    {"port_map and group ports",
     {.job.port_map = PAIRS({"db", "5432"}),
      .task.resources = {MANY(ports, struct task_port, PORT_HTTP)}},
     .error = "'port_map' cannot map group network ports, use 'ports' instead"},
    {"port_map and no network",
     {.job.port_map = PAIRS({"db", "5432"})},
     .error = "Trying to map ports but no network interface is available"},
    {"aliases and addresses",
     {.job = {.network_mode = "mynet",
              .network_aliases = LIST("a", "b"),
              .ipv4_address = "172.18.0.9",
              .ipv6_address = "fd00::9"}},
     {{"NetworkingConfig",
       "{\"EndpointsConfig\":{\"mynet\":{\"Aliases\":[\"a\",\"b\"],\"IPAMConfig\":{\"IPv4Address\":"
       "\"172.18.0.9\",\"IPv6Address\":\"fd00::9\"}}}}"}}},
    {"ipv4_address alone",
     {.job = {.network_mode = "mynet", .ipv4_address = "172.18.0.9"}},
     {{"NetworkingConfig>EndpointsConfig>mynet",
       "{\"IPAMConfig\":{\"IPv4Address\":\"172.18.0.9\"}}"}}},
    {"ipv6_address alone, in Docker's own network",
     {.job.ipv6_address = "fd00::9"},
     {{"NetworkingConfig>EndpointsConfig>default",
       "{\"IPAMConfig\":{\"IPv6Address\":\"fd00::9\"}}"}}},
    {"mac_address, for old and new Docker",
     {.job.mac_address = "02:68:b3:29:da:98"},
     {{"NetworkingConfig>EndpointsConfig>default", "{\"MacAddress\":\"02:68:b3:29:da:98\"}"},
      {"MacAddress", "\"02:68:b3:29:da:98\""}}},
    {"mac_address, from API 1.44 on the endpoint's alone",
     {.job.mac_address = "02:68:b3:29:da:98", .host.api_minor = 44},
     {{"NetworkingConfig>EndpointsConfig>default", "{\"MacAddress\":\"02:68:b3:29:da:98\"}"},
      {"MacAddress"}}},
    {"sysctl of an interface, before API 1.48",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}), .host.api_minor = 47},
     {{HC "Sysctls", "{\"net.ipv4.conf.eth0.forwarding\":\"1\"}"}, {"NetworkingConfig"}}},
    {"sysctls of eth0, from API 1.48 on the endpoint's",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}, {"net.core.somaxconn", "9"},
                          {"net.ipv4.neigh.eth0.a.b", "x"}, {"net.ipv4.conf.all.forwarding", "1"}),
      .host.api_minor = 48},
     {{HC "Sysctls", "{\"net.core.somaxconn\":\"9\",\"net.ipv4.conf.all.forwarding\":\"1\"}"},
      {"NetworkingConfig>EndpointsConfig>default>DriverOpts",
       "{\"com.docker.network.endpoint.sysctls\":"
       "\"net.ipv4.conf.IFNAME.forwarding=1,net.ipv4.neigh.IFNAME.a.b=x\"}"}}},
    {"a sysctl of eth0 alone leaves no others",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}), .host.api_minor = 48},
     {{HC "Sysctls"}}},
    {"sysctl of another interface",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth1.forwarding", "1"}), .host.api_minor = 48},
     .error = "sysctl: \"net.ipv4.conf.eth1.forwarding\": only interface eth0"},
    {"sysctl of eth0 with what would be several",
     {.job.sysctl = PAIRS({"net.ipv4.conf.eth0.tag", "1,net.ipv4.conf.IFNAME.forwarding=1"}),
      .host.api_minor = 48},
     .error = "sysctl: \"net.ipv4.conf.eth0.tag\" = \"1,net.ipv4.conf.IFNAME.forwarding=1\""},
    {"sysctl of eth0 where the network is another container's",
     {.job = {.sysctl = PAIRS({"net.ipv4.conf.eth0.forwarding", "1"}), .network_mode = "host"},
      .host.api_minor = 48},
     {{HC "Sysctls", "{\"net.ipv4.conf.eth0.forwarding\":\"1\"}"}, {"NetworkingConfig"}}},
    {"mac_address with dots",
     {.job.mac_address = "0268.b329.da98"},
     {{"MacAddress", "\"0268.b329.da98\""}}},
    {"mac_address too short",
     {.job.mac_address = "02:68:b3:29:da"},
     .error = "invalid mac_address: \"02:68:b3:29:da\""},
    {"mac_address mixed", {.job.mac_address = "02:68-b3:29:da:98"}, .error = "invalid mac_address"},
    {"mac_address with a tail",
     {.job.mac_address = "02:68:b3:29:da:98:"},
     .error = "invalid mac_address"},
    {"mac_address of one letter", {.job.mac_address = "0"}, .error = "invalid mac_address"},
    {"dns of the job",
     {.job = {.dns_servers = LIST("1.1.1.1", "nonsense", "fd00::1"),
              .dns_search_domains = LIST("a.b"),
              .dns_options = LIST("ndots:1")}},
     {{HC "Dns", "[\"1.1.1.1\",\"fd00::1\"]"},
      {HC "DnsSearch", "[\"a.b\"]"},
      {HC "DnsOptions", "[\"ndots:1\"]"}}},
    {"extra_hosts", {.job.extra_hosts = LIST("a:1.2.3.4")}, {{HC "ExtraHosts", "[\"a:1.2.3.4\"]"}}},
};

static const struct row label_rows[] = {
    {"labels that are always there",
     {.job.image = "x"},
     {{"Labels", "{\"com.hashicorp.nomad.alloc_id\":\"a1\",\"io.paddock.owner\":\"node-1/"
                 "docker\",\"io.paddock.task_id\":\"a1/web/0123\"}"}}},
    {"labels of the job lose",
     {.job.labels = PAIRS({"x", "y"}, {"com.hashicorp.nomad.alloc_id", "fake"},
                          {"io.paddock.owner", "fake"})},
     {{"Labels>x", "\"y\""},
      {"Labels>com.hashicorp.nomad.alloc_id", "\"a1\""},
      {"Labels>io.paddock.owner", "\"node-1/docker\""}}},
    {"extra_labels",
     {.plugin.extra_labels = LIST("job_*", "node_id"),
      .task =
          {.job_name = "J", .job_id = "I", .node_id = "N", .node_name = "M", .parent_job_id = "P"}},
     {{"Labels>com.hashicorp.nomad.job_name", "\"J\""},
      {"Labels>com.hashicorp.nomad.job_id", "\"I\""},
      {"Labels>com.hashicorp.nomad.node_id", "\"N\""},
      {"Labels>com.hashicorp.nomad.node_name"},
      {"Labels>com.hashicorp.nomad.parent_job_id"}}},
    {"extra_labels: the others",
     {.plugin.extra_labels = LIST("*"),
      .task = {.task_group_name = "G", .namespace = "S", .node_name = "M", .parent_job_id = "P"}},
     {{"Labels>com.hashicorp.nomad.task_group_name", "\"G\""},
      {"Labels>com.hashicorp.nomad.task_name", "\"web\""},
      {"Labels>com.hashicorp.nomad.namespace", "\"S\""},
      {"Labels>com.hashicorp.nomad.node_name", "\"M\""},
      {"Labels>com.hashicorp.nomad.parent_job_id", "\"P\""}}},
    {"no parent, no label",
     {.plugin.extra_labels = LIST("parent_job_id", "job_id")},
     {{"Labels>com.hashicorp.nomad.parent_job_id"}, {"Labels>com.hashicorp.nomad.job_id", "\"\""}}},
};

/* Of two mistakes the one that is found first names itself. */
static const struct row order_rows[] = {
    {"resources before volumes",
     {.no_resources = true, .job.volumes = LIST("bad")},
     .error = "task.Resources is empty"},
    {"memory before volumes",
     {LIN(.memory_mb = 9), .job = {.memory_hard_limit_mb = 1, .volumes = LIST("bad")}},
     .error = "driver hard limit of 1 MB"},
    {"volumes before runtime",
     {.job = {.volumes = LIST("bad"), .runtime = "kata"}},
     .error = "docker volume"},
    {"runtime before isolation",
     {.job = {.runtime = "kata", .isolation = "x"}},
     .error = "runtime"},
    {"isolation before pids",
     {.job = {.isolation = "x", .pids_limit = {true, 9}}, .plugin.pids_limit = 1},
     .error = "isolation"},
    {"pids before cfs",
     {.job = {.pids_limit = {true, 9}, .cpu_hard_limit = true, .cpu_cfs_period = -1},
      .plugin.pids_limit = 1},
     .error = "pids_limit"},
    {"cfs before privileged",
     {.job = {.privileged = true, .cpu_hard_limit = true, .cpu_cfs_period = -1}},
     .error = "cpu_cfs_period"},
    {"privileged before caps",
     {.job = {.privileged = true, .cap_add = LIST("bpf")}},
     .error = "privileged"},
    {"caps before devices",
     {.job = {.cap_add = LIST("bpf"), MANY(devices, struct job_device, {.container_path = "x"})}},
     .error = "capabilities"},
    {"devices before mounts",
     {.job = {MANY(devices, struct job_device, {.container_path = "x"}),
              MANY(mounts, struct job_mount, {.type = "x"})}},
     .error = "host path must be set"},
    {"mounts before namespaces",
     {.job = {.pid_mode = "host", MANY(mounts, struct job_mount, {.type = "x"})}},
     .error = "mount type"},
    {"ipc before pid", {.job = {.pid_mode = "host", .ipc_mode = "host"}}, .error = "ipc_mode"},
    {"pid before uts", {.job = {.pid_mode = "host", .uts_mode = "host"}}, .error = "pid_mode"},
    {"uts before userns",
     {.job = {.userns_mode = "host", .uts_mode = "host"}},
     .error = "uts_mode"},
    {"namespaces before security_opt",
     {.job = {.userns_mode = "host", .security_opt = LIST("x")}},
     .error = "userns_mode"},
    {"security_opt before ulimits",
     {.job = {.security_opt = LIST("x"), .ulimit = PAIRS({"a", ""})}},
     .error = "security_opt"},
    {"ulimits before ports",
     {.job = {.ulimit = PAIRS({"a", ""}), .port_map = PAIRS({"a", "1"})}},
     .error = "ulimit"},
    {"ports before command",
     {.job = {.command = " ", .port_map = PAIRS({"a", "1"})}},
     .error = "map ports"},
    {"command before env",
     {.job.command = " ", .task.env = PAIRS({"A", "\xff"})},
     .error = "command"},
    {"env before the endpoint",
     {.job.mac_address = "x", .task.env = PAIRS({"A", "\xff"})},
     .error = "not UTF-8"},
};

static void run(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct row *row = &rows[i];
        AUTO_JSON json_t *body = NULL;
        struct err err = {0};
        int r = input_build(&row->in, &body, &err);
        if (row->error) {
            if (r >= 0 || !strstr(err.text, row->error) || err.cls != ERR_PLAIN)
                fail_msg("%s: %d \"%s\", want \"%s\"", row->name, r, err.text, row->error);
            assert_null(body);
            if (row->code)
                assert_int_equal(r, row->code);
            continue;
        }
        if (r < 0)
            fail_msg("%s: %d %s", row->name, r, err.text);
        assert_non_null(row->want[0].path);
        for (size_t k = 0; k < ARRAY_LEN(row->want) && row->want[k].path; k++)
            assert_value(row->name, body, row->want[k].path, row->want[k].json);
    }
}

#define TABLE_TEST(table)                                                                          \
    static void test_create_build__##table(void **state) {                                         \
        (void)state;                                                                               \
        run(table, ARRAY_LEN(table));                                                              \
    }
TABLE_TEST(config_rows)
TABLE_TEST(limit_rows)
TABLE_TEST(security_rows)
TABLE_TEST(mount_rows)
TABLE_TEST(network_rows)
TABLE_TEST(label_rows)
TABLE_TEST(order_rows)

static void test_create_name__slashes__underscores(void **state) {
    (void)state;
    struct task_config task = {.name = "a/b/c", .alloc_id = "1/2"};
    AUTO_FREE char *name = create_name(&task);
    assert_string_equal(name, "a_b_c-1/2");
}

static const struct {
    const char *name;
    bool ipv6;
    const char *networks;
    const char *addr;
    bool advertise;
} override_rows[] = {
    {"bridge", false, "{\"bridge\":{\"IPAddress\":\"172.17.0.2\"}}", "172.17.0.2", false},
    {"nat", false, "{\"nat\":{\"IPAddress\":\"172.17.0.2\"}}", "172.17.0.2", false},
    {"own network", false, "{\"mynet\":{\"IPAddress\":\"172.18.0.2\"}}", "172.18.0.2", true},
    {"host", false, "{\"host\":{\"IPAddress\":\"\"}}", "", false},
    {"none at all", false, "{}", "", false},
    {"the first with an address", false,
     "{\"x\":{\"IPAddress\":\"\"},\"bridge\":{\"IPAddress\":\"1.1.1.1\"},\"z\":{\"IPAddress\":\"2."
     "2.2.2\"}}",
     "1.1.1.1", false},
    {"IPv6 is not asked for", false,
     "{\"bridge\":{\"IPAddress\":\"1.1.1.1\",\"GlobalIPv6Address\":\"fd00::2\"}}", "1.1.1.1",
     false},
    {"IPv6", true, "{\"bridge\":{\"IPAddress\":\"1.1.1.1\",\"GlobalIPv6Address\":\"fd00::2\"}}",
     "fd00::2", true},
    {"IPv6 where there is none", true,
     "{\"bridge\":{\"IPAddress\":\"1.1.1.1\",\"GlobalIPv6Address\":\"\"}}", "1.1.1.1", false},
    {"IPv6 alone", true, "{\"six\":{\"IPAddress\":\"\",\"GlobalIPv6Address\":\"fd00::2\"}}",
     "fd00::2", true},
};

static void test_create_network_override_get__networks__address(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(override_rows); i++) {
        struct job_config job = {.advertise_ipv6_address = override_rows[i].ipv6};
        AUTO_JSON json_t *inspect = json_pack("{s:{s:o}}", "NetworkSettings", "Networks",
                                              json_loads(override_rows[i].networks, 0, NULL));
        struct create_network_override net;
        create_network_override_get(&job, inspect, &net);
        if (strcmp(net.addr, override_rows[i].addr) != 0 ||
            net.auto_advertise != override_rows[i].advertise)
            fail_msg("%s: \"%s\" %d", override_rows[i].name, net.addr, net.auto_advertise);
    }
    struct create_network_override net;
    create_network_override_get(&(struct job_config){0}, NULL, &net);
    assert_string_equal(net.addr, "");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_build__config_rows),
        cmocka_unit_test(test_create_build__limit_rows),
        cmocka_unit_test(test_create_build__security_rows),
        cmocka_unit_test(test_create_build__mount_rows),
        cmocka_unit_test(test_create_build__network_rows),
        cmocka_unit_test(test_create_build__label_rows),
        cmocka_unit_test(test_create_build__order_rows),
        cmocka_unit_test(test_create_name__slashes__underscores),
        cmocka_unit_test(test_create_network_override_get__networks__address),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup_alloc, teardown_alloc);
}
