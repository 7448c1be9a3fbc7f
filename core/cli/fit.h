/* Whether and how a pipeline fits this machine, as text for people: `sluice check --plan`. */
#ifndef CLI_FIT_H
#define CLI_FIT_H

#include "base/str.h"
#include "sched/needs.h"

/* Adds the text. False: a stage that is not optional can never run here. `cpus`: processors. */
bool sl_fit_print(const struct sl_plan *plan, const struct sl_machine *machine, int cpus,
                  struct sl_str *out);

#endif
