/* SPDX-License-Identifier: MPL-2.0 */
/* Returns pages of program code to the page cache, to keep the resident size small.
 *
 * serve.c calls it once, after the driver has been activated. It reads /proc/self/maps and uses
 * MADV_DONTNEED on executable mappings of files that are not writable. */
#include "paddock/code_pages.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

void code_pages_release(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 128], mode[8];
    unsigned long begin, end;
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %7s", &begin, &end, mode) == 3 && strcmp(mode, "r-xp") == 0 &&
            strchr(line, '/'))
            (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* refused: as it was */
    if (maps)
        fclose(maps);
}
