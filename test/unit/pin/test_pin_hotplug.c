/* SPDX-License-Identifier: MPL-2.0 */
/* Which device events of the kernel mean that a CPU was added or removed. */
#include "src/pin/pin_hotplug.h"
#include "unit/cm.h"

#define EVENT(text, is)                                                                            \
    { text, sizeof(text), is }

static void test_is_cpu__each_kind_of_event(void **state) {
    static const struct {
        const char *text;
        size_t len;
        bool is;
    } rows[] = {
        EVENT("online@/devices/system/cpu/cpu3\0ACTION=online\0DEVPATH=/devices/system/cpu/cpu3\0"
              "SUBSYSTEM=cpu\0SEQNUM=1",
              true),
        EVENT("offline@/devices/system/cpu/cpu3\0ACTION=offline\0SUBSYSTEM=cpu", true),
        EVENT("add@/devices/system/cpu/cpu3\0ACTION=add\0SUBSYSTEM=cpu", true),
        EVENT("remove@/devices/system/cpu/cpu3\0SUBSYSTEM=cpu\0ACTION=remove", true),
        EVENT("change@/devices/system/cpu/cpu3\0ACTION=change\0SUBSYSTEM=cpu", false),
        EVENT("add@/devices/x\0ACTION=add\0SUBSYSTEM=cpuid", false),
        EVENT("add@/devices/x\0ACTION=add\0SUBSYSTEM=block", false),
        EVENT("", false),
        {"ACTION=online\0SUBSYSTEM=cpu", sizeof("ACTION=online\0SUBSYSTEM=cpu") - 1, false},
        {"", 0, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(pin_hotplug_is_cpu(rows[i].text, rows[i].len), rows[i].is);
}

/* The real socket. The kernel lets every user listen. */
static void test_open__nothing_to_read(void **state) {
    (void)state;
    int fd = pin_hotplug_open();
    assert_true(fd >= 0);
    assert_false(pin_hotplug_read(fd)); /* returns without waiting */
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_cpu__each_kind_of_event),
        cmocka_unit_test(test_open__nothing_to_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
