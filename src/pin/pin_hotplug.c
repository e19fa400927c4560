/* SPDX-License-Identifier: MPL-2.0 */
/* Reports that a CPU came online or went offline, by the kernel's device events (netlink).
 *
 * Such a change alters effective sets, and the kernel sends no event for that. It also moves a
 * container whose CPUs are all offline to the CPUs of its parent. pin.c therefore reads everything
 * again after pin_hotplug_read() has returned true. An event only starts a check, so it does not
 * matter who sent it. */
#include "src/pin/pin_hotplug.h"

#include "paddock/log.h"

#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#define EVENT_MAX 8192 /* a kernel event has at most 2 KiB and a path */

int pin_hotplug_open(void) {
    /* Group 1 receives the kernel's own events. */
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_groups = 1};
    AUTO_FD int fd =
        socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) == 0)
        return TAKE_FD(fd);
    log_debug("pin", LOG_KV("errno", strerror(errno)),
              "no device events: CPU hotplug is seen at the tick");
    return -EBADF;
}

static bool event_has(const char *event, size_t len, const char *text) {
    for (const char *at = event; at < event + len; at += strlen(at) + 1)
        if (strcmp(at, text) == 0)
            return true;
    return false;
}

bool pin_hotplug_is_cpu(const char *event, size_t len) {
    if (len == 0 || event[len - 1] != '\0' || !event_has(event, len, "SUBSYSTEM=cpu"))
        return false;
    return event_has(event, len, "ACTION=online") || event_has(event, len, "ACTION=offline") ||
           event_has(event, len, "ACTION=add") || event_has(event, len, "ACTION=remove");
}

bool pin_hotplug_read(int fd) {
    char event[EVENT_MAX];
    bool seen = false;
    for (;;) {
        ssize_t n = recv(fd, event, sizeof(event), 0);
        if (n < 0 && errno == ENOBUFS)
            seen = true; /* events were lost */
        else if (n < 0)
            return seen; /* EAGAIN: no more events */
        else
            seen |= pin_hotplug_is_cpu(event, (size_t)n);
    }
}
