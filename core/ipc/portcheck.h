/* Checks a committed payload against the type of its port. Pure over a span; fuzzed. */
#ifndef IPC_PORTCHECK_H
#define IPC_PORTCHECK_H

#include <stddef.h>

#include "base/err.h"

/*
 * 0, or SLUICE_INTERNAL with what is wrong ("regions[2].end is before its start"). Checked is what
 * a consumer relies on:
 *
 *   audio/1       safetensors: one tensor `pcm`, F32, one dimension; metadata sample_rate "16000"
 *   attention/1, embeddings/1
 *                 safetensors: the header, and tensors that cover the data without gap or overlap
 *   regions/1, transcript/1, turns/1
 *                 JSON: the required keys, their kinds, and times in order
 *   text/1        UTF-8 without NUL
 *   json/1        JSON
 *
 * file/1 and types that are not known here pass.
 */
int sl_port_check(const char *type, const void *data, size_t len, struct sl_err *err);

#endif
