/* SPDX-License-Identifier: MPL-2.0 */
/* The create request: volumes, mounts and the folders of the task. */
#include "unit/create/rows.h"

#define OWN_BINDS                                                                                  \
    "\"@/alloc:/alloc\",\"@/web/local:/local\",\"@/web/secrets:/secrets\","                        \
    "\"@/alloc/logs:/alloc/logs:ro\""

static const struct row mount_rows[] = {
    {"Nomad's folders", {.job.image = "x"}, {{HC "Binds", "[" OWN_BINDS "]"}}},
    {"Nomad's folders at the places in the environment",
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
    {"a path that leaves the allocation by dots",
     {.job.volumes = LIST("../../outside:/e")},
     .error = "volumes are not enabled"},
    {"an allocation whose id begins with this one's",
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
    {"mount bind of a host path where volumes are enabled",
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
    {"mount of an unknown type",
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

TABLE_TEST(mount_rows)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_build__mount_rows),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup_alloc, teardown_alloc);
}
