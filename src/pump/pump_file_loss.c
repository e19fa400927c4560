/* SPDX-License-Identifier: MPL-2.0 */
/* The lines of a log that do not reach Nomad: gaps, damaged records, dropped files.
 *
 * Each loss is counted for the status and reported to the operator in one sentence. Losses that
 * follow each other quickly share a sentence. A gap is reported once the first record after it is
 * known, because the gap's size is the time between the records around it (log_gap.h). */
#include "src/pump/pump_file_priv.h"

#include "paddock/clock.h"
#include "paddock/parse.h"

#include <stdio.h>
#include <string.h>

#define REPORT_EVERY_US (60 * US_PER_SEC)
#define TEXT_MAX 256

static void report_loss(struct pump_file *f, const char *text) {
    f->ops.report(f->ctx, text);
}

void pump_file_loss_gap(struct pump_file *f, const char *why, uint64_t bytes) {
    f->sum.gaps++;
    log_gap_note(&f->gap, why, atomic_load(&f->record->resume_ns), bytes);
}

/* Closes the gap before the record @r. */
static void close_gap(struct pump_file *f, const struct log_record *r) {
    int64_t time_ns;
    if (f->gap.open && parse_rfc3339_ns(r->time, &time_ns) == 0)
        log_gap_close(&f->gap, time_ns);
}

void pump_file_loss_report_gap(struct pump_file *f) {
    char text[LOG_GAP_TEXT_MAX];
    if (log_gap_report(&f->gap, clock_now_us(), f->ended, text))
        report_loss(f, text);
}

void pump_file_loss_unusable(struct pump_file *f, int r, uint64_t bytes) {
    char why[LOG_GAP_WHY_MAX];
    if (r == -ENOMEM)
        snprintf(why, sizeof(why), "the log pump is out of memory");
    else
        snprintf(why, sizeof(why), "Docker's log file cannot be read: %s", strerror(-r));
    pump_file_loss_gap(f, why, bytes);
}

void pump_file_loss_damage(struct pump_file *f) {
    if (f->in_damage)
        return; /* the same piece of damage, read in several steps */
    f->in_damage = true;
    if (f->sum.damaged++ == 0)
        report_loss(f, "a damaged record in Docker's log file was skipped");
}

/* Notes a gap when the oldest record that is left is newer than everything that was delivered. */
static void check_oldest(struct pump_file *f, const struct log_record *r) {
    int64_t time_ns;
    if (f->delivered_ns && parse_rfc3339_ns(r->time, &time_ns) == 0 && time_ns > f->delivered_ns)
        pump_file_loss_gap(f, PUMP_FILE_ROTATED, 0);
    f->delivered_ns = 0;
}

void pump_file_loss_found(struct pump_file *f, const struct log_record *r) {
    check_oldest(f, r);
    close_gap(f, r);
}

void pump_file_loss_report_dropped(struct pump_file *f) {
    uint64_t now = clock_now_us(), more = f->sum.dropped_bytes - f->dropped_reported;
    char text[TEXT_MAX];
    bool early = f->dropped_reported && now < f->dropped_reported_us + REPORT_EVERY_US;
    if (more == 0 || (early && !f->ended))
        return;
    f->dropped_reported = f->sum.dropped_bytes;
    f->dropped_reported_us = now;
    snprintf(text, sizeof(text),
             "%llu KiB of Docker's log were dropped: Nomad has not read the task's output for so "
             "long that log_backlog (%llu MiB) was exceeded",
             (unsigned long long)(more >> 10),
             (unsigned long long)(f->shared->backlog_bytes >> 20));
    report_loss(f, text);
}
