/* SPDX-License-Identifier: MPL-2.0 */
/* Encodes and decodes the driver state that Nomad stores for a task.
 *
 * task_start.c encodes it, task_recover.c decodes it after a restart of the agent. The format is
 * that of Nomad's docker driver, so each of the two drivers can recover the other's tasks. */
#include "paddock/task_state.h"

#include "src/config/config_table.h"
#include "src/config/config_wire.h"
#include "paddock/parse.h"

#include <limits.h>
#include <msgpack.h>
#include <string.h>

/* ---- writing ---- */

static int write_to_buf(void *out, const char *data, size_t len) {
    return buf_append(out, data, len);
}

static int put_text(msgpack_packer *pk, const char *text) {
    if (!text)
        text = "";
    return msgpack_pack_str_with_body(pk, text, strlen(text));
}

static int put_bool(msgpack_packer *pk, bool yes) {
    return yes ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
}

static int put_key_text(msgpack_packer *pk, const char *key, const char *text) {
    int r = put_text(pk, key);
    return r == 0 ? put_text(pk, text) : r;
}

static int put_key_bool(msgpack_packer *pk, const char *key, bool yes) {
    int r = put_text(pk, key);
    return r == 0 ? put_bool(pk, yes) : r;
}

static int put_ports(msgpack_packer *pk, const struct kvs *ports) {
    int r = msgpack_pack_map(pk, ports->n);
    for (size_t i = 0; r == 0 && i < ports->n; i++) {
        int64_t port;
        r = parse_i64(ports->v[i].value, &port);
        if (r == 0)
            r = put_text(pk, ports->v[i].key);
        if (r == 0)
            r = msgpack_pack_int64(pk, port);
    }
    return r;
}

static int put_network(msgpack_packer *pk, const struct task_state *s) {
    int r = put_text(pk, "DriverNetwork");
    if (r == 0 && !s->has_network)
        return msgpack_pack_nil(pk);
    if (r == 0)
        r = msgpack_pack_map(pk, 3);
    if (r == 0)
        r = put_text(pk, "PortMap");
    if (r == 0)
        r = put_ports(pk, &s->port_map);
    if (r == 0)
        r = put_key_text(pk, "IP", s->ip);
    return r == 0 ? put_key_bool(pk, "AutoAdvertise", s->auto_advertise) : r;
}

static int put_ours(msgpack_packer *pk, const struct task_state *s) {
    int r = put_text(pk, "Paddock");
    if (r == 0)
        r = msgpack_pack_map(pk, 5);
    if (r == 0)
        r = put_text(pk, "Pid");
    if (r == 0)
        r = msgpack_pack_int64(pk, s->pid);
    if (r == 0)
        r = put_key_text(pk, "ContainerName", s->container_name);
    if (r == 0)
        r = put_key_text(pk, "ImageID", s->image_id);
    if (r == 0)
        r = put_key_bool(pk, "Logs", s->logs);
    return r == 0 ? put_key_bool(pk, "TTY", s->tty) : r;
}

int task_state_encode(const struct task_state *s, struct buf *out, struct err *err) {
    if (str_empty(s->container_id))
        return err_set(err, ERR_PLAIN, EINVAL, "driver state: no container id");
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, write_to_buf);
    size_t before = out->len;
    int r = msgpack_pack_map(&pk, 4);
    if (r == 0)
        r = put_key_text(&pk, "ContainerID", s->container_id);
    if (r == 0)
        r = put_network(&pk, s);
    if (r == 0) /* nil: the built-in driver starts its own logger when it takes over */
        r = put_text(&pk, "ReattachConfig");
    if (r == 0)
        r = msgpack_pack_nil(&pk);
    if (r == 0)
        r = put_ours(&pk, s);
    if (r == 0)
        return 0;
    if (out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    if (r == -ENOMEM)
        return err_oom(err);
    return err_set(err, ERR_PLAIN, -r, "driver state: %s", strerror(-r));
}

/* ---- reading: by tables, with the decoder of the configurations ---- */

struct wire_state {
    struct task_state s;
    int64_t logger_pid;
};

#define ROW(field_name, kind, member)                                                              \
    { .name = (field_name), .type = (kind), .offset = offsetof(struct wire_state, member) }
#define END                                                                                        \
    { .name = NULL }

static const struct config_field network_fields[] = {
    ROW("PortMap", CONFIG_MAP_NUMBER, s.port_map), ROW("IP", CONFIG_STRING, s.ip),
    ROW("AutoAdvertise", CONFIG_BOOL, s.auto_advertise), END};

static const struct config_field reattach_fields[] = {ROW("Pid", CONFIG_NUMBER, logger_pid), END};

static const struct config_field our_fields[] = {
    ROW("ContainerName", CONFIG_STRING, s.container_name),
    ROW("ImageID", CONFIG_STRING, s.image_id),
    ROW("Logs", CONFIG_BOOL, s.logs),
    ROW("TTY", CONFIG_BOOL, s.tty),
    ROW("Pid", CONFIG_NUMBER, s.pid),
    END};

static const struct config_field table[] = {
    ROW("ContainerID", CONFIG_STRING, s.container_id),
    {.name = "DriverNetwork",
     .type = CONFIG_BLOCK,
     .fields = network_fields,
     .aux = offsetof(struct wire_state, s.has_network)},
    {.name = "ReattachConfig", .type = CONFIG_BLOCK, .fields = reattach_fields},
    {.name = "Paddock",
     .type = CONFIG_BLOCK,
     .fields = our_fields,
     .aux = offsetof(struct wire_state, s.ours)},
    END};

int task_state_decode(const void *data, size_t len, struct task_state *ret, struct err *err) {
    struct wire_state w = {.logger_pid = 0};
    AUTO_CONFIG_JSON json_t *object = NULL;
    int r = config_wire_decode(data, len, &object, err);
    if (r == 0)
        r = config_table_decode(table, object, &w, err);
    AUTO_TASK_STATE struct task_state s = w.s;
    if (r < 0)
        return err_wrap(err, r, "driver state");
    if (str_empty(s.container_id))
        return err_set(err, ERR_INVALID, EINVAL, "driver state: no container id");
    if (w.logger_pid > 0 && w.logger_pid <= INT_MAX)
        s.logger_pid = (pid_t)w.logger_pid;
    if (s.pid < 0 || s.pid > INT_MAX)
        s.pid = 0;
    *ret = TAKE_STRUCT(s);
    return 0;
}

void task_state_done(struct task_state *s) {
    cleanup_free(&s->container_id);
    cleanup_free(&s->ip);
    cleanup_free(&s->container_name);
    cleanup_free(&s->image_id);
    kvs_done(&s->port_map);
    *s = (struct task_state){.logger_pid = 0};
}
