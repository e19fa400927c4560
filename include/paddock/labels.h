/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Names of the labels that this driver sets on containers and searches for. */
#define LABEL_ALLOC_ID "com.hashicorp.nomad.alloc_id"
#define LABEL_OWNER "io.paddock.owner"
#define LABEL_TASK_ID "io.paddock.task_id"
/* On a container whose job loosens its confinement. Such a container may be able to
 * undo its own mounts. */
#define LABEL_UNCONFINED "io.paddock.unconfined"
