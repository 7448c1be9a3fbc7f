/* Pieces of HTML that the page and its pictures share. */
#ifndef REPORT_HTML_H
#define REPORT_HTML_H

#include "base/json.h"
#include "base/str.h"

/* Text with & < > " and ' escaped; control characters become spaces, so that it is well-formed
 * whatever it was. */
void sl_html_text(struct sl_str *out, const char *text);
/* <a href="file://..."> of an absolute path, or the text alone where it is none. */
void sl_html_file(struct sl_str *out, const char *path, const char *text);
void sl_html_duration(struct sl_str *out, double seconds);
void sl_html_size(struct sl_str *out, double bytes); /* "-" for 0 */

/* "ok", "warn" or "bad" for the class of an attempt or the state of a task or item; "open" for what
 * did not end. */
const char *sl_html_tone(const char *outcome);
/* <td> with the outcome and its tone. */
void sl_html_outcome(struct sl_str *out, const char *outcome);

/* Adds the figure of the timeline; every bar links to the row "#aITEM-STAGE-ATTEMPT". */
void sl_html_timeline(struct sl_str *out, const json_t *state);
/* Writes that row's id. `item` counts from 0. */
void sl_html_attempt_id(struct sl_str *out, size_t item, const char *stage, double attempt);

#endif
