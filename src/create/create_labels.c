/* SPDX-License-Identifier: MPL-2.0 */
/* Labels of the container.
 *
 * create_build() calls create_labels_add(). The job's labels come first. Those of Nomad
 * (com.hashicorp.nomad.*) and of this driver (io.paddock.*) replace a label of the same name: the
 * plugin finds its containers by them. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"
#include "paddock/parse.h"

#include <stdio.h>

#define NOMAD_LABEL "com.hashicorp.nomad."

static bool is_wanted(const struct create *c, const char *name) {
    for (size_t i = 0; i < c->plugin->extra_labels.n; i++)
        if (parse_glob(c->plugin->extra_labels.v[i], name))
            return true;
    return false;
}

int create_labels_add(struct create *c) {
    const struct task_config *task = c->task;
    json_t *labels = create_json_object(c, c->body, "Labels");
    create_json_set_map(c, c->body, "Labels", &c->job->labels);
    create_json_set_text(c, labels, LABEL_ALLOC_ID, task->alloc_id);
    create_json_set_text(c, labels, LABEL_OWNER, c->host->owner_label);
    create_json_set_text(c, labels, LABEL_TASK_ID, task->id);
    if (create_reach_is_unconfined(c)) {
        create_json_set_text(c, labels, LABEL_UNCONFINED, "true");
        c->sources.reaches = true;
    }

    const struct {
        const char *name, *value;
        bool only_if_set;
    } extra[] = {
        {"job_name", text_of(task->job_name), false},
        {"job_id", text_of(task->job_id), false},
        {"parent_job_id", text_of(task->parent_job_id), true},
        {"task_group_name", text_of(task->task_group_name), false},
        {"task_name", text_of(task->name), false},
        {"namespace", text_of(task->namespace), false},
        {"node_name", text_of(task->node_name), false},
        {"node_id", text_of(task->node_id), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
        if ((extra[i].only_if_set && str_empty(extra[i].value)) || !is_wanted(c, extra[i].name))
            continue;
        char key[64];
        snprintf(key, sizeof(key), NOMAD_LABEL "%s", extra[i].name);
        create_json_set_text(c, labels, key, extra[i].value);
    }
    return create_fail_code(c);
}
