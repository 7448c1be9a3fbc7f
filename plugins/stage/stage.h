/*
 * What the glue of all plugins does with a job of its host: maps inputs, commits outputs, says why
 * a job fails. Called from the thread of the job. Failures leave their sentence in `err`; the job
 * itself learns of it by st_end() alone, so that a caller can say something better before.
 */
#ifndef STAGE_STAGE_H
#define STAGE_STAGE_H

#include <stddef.h>

#include <sluice/plugin.h>

#include "num/watch.h"

/* A job as who watches the work on it. */
struct st_job {
    const struct sluice_host *host;
    struct sluice_job *job;
};

/* Borrows `job`. */
struct num_watch st_watch(struct st_job *job);

/* Maps the input `port`, until the job ends. Returns what the host does: SLUICE_UNSUPPORTED where
 * an optional input is not connected. */
int32_t st_input(const struct sluice_host *host, struct sluice_job *job, const char *port,
                 struct sluice_view *ret, struct num_err *err);

/* Commits `len` bytes and behind them `more_len` bytes (each NULL where there are none) as output
 * `port`. SLUICE_CANCELLED where the job was cancelled. */
int32_t st_commit_two(const struct sluice_host *host, struct sluice_job *job, const char *port,
                      const void *data, size_t len, const void *more, size_t more_len,
                      struct num_err *err);

/* The same with `data` alone. */
int32_t st_commit(const struct sluice_host *host, struct sluice_job *job, const char *port,
                  const void *data, size_t len, struct num_err *err);

/* Ends a job with `status`, which it returns: tells the host why where it is a failure. */
int32_t st_end(const struct sluice_host *host, struct sluice_job *job, int32_t status,
               const struct num_err *err);

/* A metric of the job, where the host keeps them. */
void st_metric(const struct sluice_host *host, struct sluice_job *job, const char *name,
               double value);

/* SLUICE_UNSUPPORTED: a card was asked for, and the plugin is built without a backend for cards. */
int32_t st_fail_cuda(struct num_err *err);

#endif
