/* Graphviz, where it is installed: its `dot` lays a graph out as SVG. */
#ifndef CLI_GRAPHVIZ_H
#define CLI_GRAPHVIZ_H

#include "base/err.h"
#include "base/str.h"

#define SL_DOT_LIMIT_MS   10000
#define SL_DOT_MAX_OUTPUT (64u << 20)

/*
 * Gives `dot_text` to the first `dot` in the absolute folders of PATH and adds what it draws to
 * `out`. 1: drawn; 0: there is no dot. SLUICE_INTERNAL: it failed, hung for `limit_ms`, or printed
 * no SVG; nothing is added. The process is gone after, whatever it did. Call from the main thread.
 */
int sl_graphviz_svg(const struct sl_str *dot_text, int limit_ms, struct sl_str *out,
                    struct sl_err *err);

#endif
