/* The text of a segment replaced, between the white space at its ends. */
#ifndef LM_RETEXT_H
#define LM_RETEXT_H

#include <jansson.h>
#include <stddef.h>

/* A new string: `old` with what is between the white space at its ends replaced by `text`, of which
 * each run of white space becomes one blank. NULL without memory. */
json_t *lm_retext(const char *old, size_t old_len, const char *text, size_t len);

#endif
