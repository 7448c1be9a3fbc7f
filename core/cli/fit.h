/* Whether and how a pipeline fits this machine, as text for people and as JSON: `sluice check
 * --plan`. */
#ifndef CLI_FIT_H
#define CLI_FIT_H

#include "base/json.h"
#include "base/str.h"
#include "sched/needs.h"

/* Adds the text. False: a stage that is not optional can never run here. `cpus`: processors. */
bool sl_fit_print(const struct sl_plan *plan, const struct sl_machine *machine, int cpus,
                  struct sl_str *out);

/* The same as an object, owned (docs/admission.md has its keys); "fits" is what the other
 * returns. */
json_t *sl_fit_json(const struct sl_plan *plan, const struct sl_machine *machine, int cpus);

#endif
