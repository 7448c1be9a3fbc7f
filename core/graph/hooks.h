/*
 * `on_finish:` and `on_failure:`: who is told when a run has ended. Read into JSON, as
 * sluice-notify takes it:
 *
 *   [{"mail": {"to": [ADDRESS...], "from", "server": "smtp://HOST:PORT", "user",
 *              "password": SECRET, "tls": "required", "ca": FILE, "timeout_s"}},
 *    {"webhook": {"url": TEXT or SECRET, "token": SECRET, "attempts", "ca", "timeout_s"}},
 *    {"command": {"argv": [WORD...], "timeout_s"}}]
 *
 * SECRET is {"env": NAME} or {"file": PATH}: the value itself never enters a pipeline file, a plan
 * or a journal.
 */
#ifndef GRAPH_HOOKS_H
#define GRAPH_HOOKS_H

#include "graph/planner.h"

#define SL_HOOKS_MAX 20 /* of one list */

/* Reads one list; `key` opens messages. NULL where `node` is NULL or there were mistakes. The text
 * is in the plan's arena. */
const char *sl_plan_hooks(struct sl_planner *p, const char *key, const struct sl_yaml *node);

#endif
