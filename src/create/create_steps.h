/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The steps of the create request. create.c calls them in the order of its table. Each one reads
 * the configurations and adds to the body. The pure parts below them have tests of their own. */
#include "src/create/create_step.h"

/** Returns true when the container may be able to undo its own mounts: privileged, CAP_SYS_ADMIN,
 * or a security_opt that loosens something. Called after create_caps_add(). Context: pure. */
bool create_reach_is_unconfined(const struct create *c);

int create_own_add(struct create *c) MUST_CHECK;
int create_volumes_add(struct create *c) MUST_CHECK;
int create_security_runtime(struct create *c) MUST_CHECK;
int create_limits_check_memory(struct create *c) MUST_CHECK;
int create_limits_pids(struct create *c) MUST_CHECK;
int create_limits_memory(struct create *c) MUST_CHECK;
int create_limits_cpu(struct create *c) MUST_CHECK;
int create_caps_add(struct create *c) MUST_CHECK;
int create_devices_add(struct create *c) MUST_CHECK;
int create_mounts_add(struct create *c) MUST_CHECK;
int create_dns_hosts(struct create *c) MUST_CHECK;
int create_dns_resolv(struct create *c) MUST_CHECK;
int create_mounts_add_nomad(struct create *c) MUST_CHECK;
int create_security_namespaces(struct create *c) MUST_CHECK;
int create_security_opts(struct create *c) MUST_CHECK;
int create_limits_ulimits(struct create *c) MUST_CHECK;
int create_network_mode(struct create *c) MUST_CHECK;
int create_network_ports(struct create *c) MUST_CHECK;
int create_network_endpoints(struct create *c) MUST_CHECK;
int create_sysctls_add(struct create *c) MUST_CHECK;
int create_labels_add(struct create *c) MUST_CHECK;

/** Finds or creates the settings of the container's endpoint in its network. Called after
 * create_network_mode(). The result is borrowed from the body; NULL after a failure. */
json_t *create_network_endpoint(struct create *c);

/** Splits `src:dst[:mode]`. Further parts are dropped, as in the built-in driver. Returns 0;
 * -EINVAL fewer than two parts; -ENOMEM. Owner: caller, each free(). @ret_mode is "" when there
 * is none. */
int create_volumes_parse(const char *text, char **ret_src, char **ret_dst,
                         char **ret_mode) MUST_CHECK;

/** Builds the text of resolv.conf. Each list that is empty in @dns is taken from @system (text of
 * the host's file). Returns 0; -EMSGSIZE more than 128 KiB; -ENOMEM. Owner: caller, free().
 * Context: pure. */
int create_dns_resolv_text(const struct task_dns *dns, const char *system,
                           char **ret_text) MUST_CHECK;

/** Returns true when the only nameserver in @system is systemd-resolved's stub, which no container
 * can reach. */
bool create_dns_resolv_is_stub(const char *system);
