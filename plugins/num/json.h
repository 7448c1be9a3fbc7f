/* Reading JSON: what all readers of it have in common. */
#ifndef NUM_JSON_H
#define NUM_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "num/watch.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Parses `len` bytes (`flags`: jansson's); *ret is the caller's. `watch` (NULL: nobody) is asked
 * every 64 KiB. SLUICE_RESOURCE; SLUICE_CANCELLED; SLUICE_INPUT with "WHAT is not JSON: ...,
 * (line ..., column ...)".
 */
int32_t num_json_parse(const void *data, size_t len, size_t flags, const char *what,
                       const struct num_watch *watch, json_t **ret, struct num_err *err);

/* Whether `start` and `end` of an object are numbers; they are then in *ret_start and *ret_end. */
bool num_json_times(const json_t *object, double *ret_start, double *ret_end);

/* Drops the reference; NULL does nothing. */
void num_json_drop(json_t **value);
#define num_autojson __attribute__((cleanup(num_json_drop))) json_t

#ifdef __cplusplus
}
#endif

#endif
