/* SPDX-License-Identifier: MPL-2.0 */
/* The log files of the fake's containers, as dockerd's json-file driver writes them.
 *
 * The engine calls it when fake_dockerd was started with --root. Without that option no container
 * has a log file, and a log pump follows all of them through the API. */
#include "fake/fake.h"

#include "paddock/json_value.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void log_file_path(const char *root, const char *id, char ret[LOG_FILE_PATH_MAX]) {
    snprintf(ret, LOG_FILE_PATH_MAX, "%s/containers/%s/%s-json.log", root, id, id);
}

void log_file_make(const char *root, const char *id) {
    char path[LOG_FILE_PATH_MAX];
    snprintf(path, sizeof(path), "%s/containers", root);
    (void)mkdir(path, 0710); /* exists after the first container */
    snprintf(path, sizeof(path), "%s/containers/%s", root, id);
    (void)mkdir(path, 0710);
    log_file_path(root, id, path);
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) {
        perror(path);
        abort();
    }
}

void log_file_append(const char *root, const char *id, const char *stream, const json_t *time,
                     const char *text, size_t len) {
    char path[LOG_FILE_PATH_MAX];
    log_file_path(root, id, path);
    AUTO_JSON json_t *entry = json_pack("{s:s%,s:s,s:s}", "log", text, len, "stream", stream,
                                        "time", json_string_value(time));
    AUTO_FREE char *line = json_dumps(entry, JSON_COMPACT);
    AUTO_FD int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (!line || fd < 0 || dprintf(fd, "%s\n", line) < 0) {
        perror(path);
        abort();
    }
}
