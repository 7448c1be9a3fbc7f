/* What languages are called: models know names better than codes. */
#ifndef LM_LANGUAGES_H
#define LM_LANGUAGES_H

/* The English name of a code of ISO 639-1 ("de"), in any case; else the text itself, which may be a
 * name ("Swiss German"). */
const char *lm_language_name(const char *language);

/* The code of a name or a code, in lower case; else the text itself. */
const char *lm_language_code(const char *language);

#endif
