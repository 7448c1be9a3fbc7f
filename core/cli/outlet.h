/*
 * Standard output and standard error of a run. Whoever reads them may stop reading (a pager, a
 * stopped terminal, a program that forgot its pipe), and the loop must not wait for that: what
 * cannot be written at once waits in memory and is written when there is room.
 *
 * SL_OUTLET_EXACT, for programs: nothing is left out. Past SL_OUTLET_FULL bytes the outlet is full,
 * and nothing new should be started; if then nothing is read for `patience_s`, or SL_OUTLET_MOST
 * bytes are waiting, it is given up, which the run's log and `complain` are told. SL_OUTLET_LOSSY,
 * for people: past SL_OUTLET_FULL bytes lines are left out. A reader that is gone is none of our
 * business: what follows is dropped.
 */
#ifndef CLI_OUTLET_H
#define CLI_OUTLET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "sched/loop.h"

#define SL_OUTLET_FULL (1u << 20)
#define SL_OUTLET_MOST (16u << 20)

enum sl_outlet_kind { SL_OUTLET_EXACT, SL_OUTLET_LOSSY };

struct sl_outlet;

/* `fd` is borrowed; the flags of its open file description, which others share, are not touched.
 * `complain`: borrowed, or NULL. SIGPIPE must be ignored. */
struct sl_outlet *sl_outlet_create(int fd, enum sl_outlet_kind kind, double patience_s,
                                   struct sl_outlet *complain);
/* Waits until all is written, for `patience_s` at most from now, and again whenever something was
 * taken. Returns how many lines were never read, 0 where the reader was gone; frees. NULL is
 * fine. */
int sl_outlet_finish(struct sl_outlet *o);

/* From here on the loop writes what waits; with NULL no longer. `log` is borrowed as long. */
void sl_outlet_attach(struct sl_outlet *o, struct sl_loop *loop, const struct sl_log *log);

/* Whole lines, written now or later; false: left out. */
bool sl_outlet_put(struct sl_outlet *o, const char *text, size_t len);
/* Something waits: what can be left out should be. */
bool sl_outlet_is_behind(const struct sl_outlet *o);
bool sl_outlet_is_full(const struct sl_outlet *o);

#endif
