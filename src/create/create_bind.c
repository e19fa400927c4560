/* SPDX-License-Identifier: MPL-2.0 */
/* One entry of HostConfig.Binds.
 *
 * The steps that add Nomad's folders and the job's volumes call it. No other code writes to Binds.
 * Docker parses a bind as source:target:mode, so a ':' inside of a part is refused. A source may
 * contain a ':' although the job's text does not: the target of a symlink can. */
#include "src/create/create_bind.h"

#include "src/create/create_fail.h"
#include "src/create/create_json.h"

#include <stdio.h>
#include <string.h>

/* Docker splits a bind at each ':' and knows no escape. */
static int refuse_colon(struct create *c, const char *field, const char *value, const char *part,
                        const char *text) {
    if (!strchr(text, ':'))
        return 0;
    return create_fail(c, EINVAL,
                       "%s \"%s\": the %s \"%s\" contains \":\", which Docker reads as the end "
                       "of it",
                       field, value, part, text);
}

/* True when @mode ("ro,z") contains an SELinux label. Docker accepts one of z and Z. */
static bool has_label(const char *mode) {
    for (const char *p = mode; *p;) {
        size_t n = strcspn(p, ",");
        if (n == 1 && (*p == 'z' || *p == 'Z'))
            return true;
        p += n;
        p += *p == ',';
    }
    return false;
}

int create_bind_add(struct create *c, const char *field, const char *value, const char *src,
                    const char *dst, const char *mode) {
    const char *label = has_label(mode) ? "" : text_of(c->plugin->volumes_selinuxlabel);
    bool options = mode[0] || label[0];
    AUTO_FREE char *bind = NULL;
    int r = refuse_colon(c, field, value, "source", src);
    if (r == 0)
        r = refuse_colon(c, field, value, "target", dst);
    if (r == 0)
        r = refuse_colon(c, field, value, "mode", mode);
    if (r < 0)
        return r;
    if (asprintf(&bind, "%s:%s%s%s%s%s", src, dst, options ? ":" : "", mode,
                 mode[0] && label[0] ? "," : "", label) < 0) {
        bind = NULL;
        return err_oom(c->err);
    }
    create_json_add_text(c, create_json_array(c, c->host_config, "Binds"), bind);
    return create_fail_code(c);
}
