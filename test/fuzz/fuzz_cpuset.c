/* SPDX-License-Identifier: MPL-2.0 */
/* A list of CPUs as text: any text is refused, or gives the same set when it is written and
 * read again. */
#include "paddock/cpuset.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[CPUSET_TEXT_MAX];
    struct cpuset s, back;
    if (cpuset_parse((const char *)data, size, &s) < 0)
        return 0;
    int n = cpuset_format(&s, text, sizeof(text));
    if (n <= 0 || cpuset_parse(text, (size_t)n, &back) < 0 || !cpuset_equal(&s, &back))
        abort();
    return 0;
}
