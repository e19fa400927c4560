/* SPDX-License-Identifier: MPL-2.0 */
/* Names of images and the progress of pulls. A name that is accepted is accepted again in its full
 * form. A progress stream gives the same result however it is cut. */
#include "src/image/image_progress.h"
#include "src/image/image_ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *text) {
    struct image_ref ref, again;
    char full[IMAGE_REF_MAX + 200];
    if (image_ref_parse(text, &ref) < 0)
        return;
    snprintf(full, sizeof(full), "%s%s%s", ref.repo, ref.tag[0] ? ":" : "", ref.tag);
    if (image_ref_parse(full, &again) < 0 || strcmp(ref.repo, again.repo) != 0 ||
        strcmp(ref.tag, again.tag) != 0 || strcmp(ref.registry, again.registry) != 0)
        abort();
}

static int feed(const char *data, size_t len, size_t step, char *text, size_t text_size) {
    struct image_progress *p = malloc(sizeof(*p));
    int r = 0;
    if (!p)
        abort();
    image_progress_init(p);
    for (size_t at = 0; r == 0 && at < len; at += step)
        r = image_progress_feed(p, data + at, len - at < step ? len - at : step);
    if (r == 0)
        r = image_progress_end(p);
    image_progress_text(p, 1000000, text, text_size);
    if (strlen(text) >= text_size || p->n > IMAGE_LAYERS_MAX)
        abort();
    image_progress_done(p);
    free(p);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    AUTO_FREE char *text = strndup((const char *)data, size);
    if (!text)
        abort();
    check_name(text);
    char whole[256], cut[256];
    const char *stream = (const char *)data + 1;
    int a = feed(stream, size - 1, size, whole, sizeof(whole));
    int b = feed(stream, size - 1, (size_t)data[0] + 1, cut, sizeof(cut));
    if (a != b || (a == 0 && strcmp(whole, cut) != 0))
        abort();
    return 0;
}
