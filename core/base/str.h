/* Text: a growable buffer, UTF-8 checks, columns, and the nearest name for "did you mean". */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Growable text, always NUL-terminated once something was added. `struct sl_str s = {0};` is
 * empty. */
struct sl_str {
    char *data; /* owned; NULL while nothing was added */
    size_t len, cap;
};

void sl_str_add(struct sl_str *s, const char *text);
void sl_str_addn(struct sl_str *s, const char *text, size_t len);
void sl_str_addf(struct sl_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sl_str_vaddf(struct sl_str *s, const char *fmt, va_list args);
/* Adds `c` count times; none for count <= 0. */
void sl_str_pad(struct sl_str *s, char c, int count);
void sl_str_clear(struct sl_str *s);  /* len 0, keeps the memory */
void sl_str_finish(struct sl_str *s); /* frees; empty again */
const char *
sl_str_text(const struct sl_str *s); /* "" where empty; borrowed until the next change */
#define sl_autostr __attribute__((cleanup(sl_str_finish)))

/* Byte offset of the first byte that is not valid UTF-8 (RFC 3629), or `len` where all is valid. */
size_t sl_utf8_valid(const char *text, size_t len);
/* Terminal columns of valid UTF-8, counting each code point as one and combining marks as none. */
int sl_utf8_columns(const char *text);
/* Length in bytes of the longest prefix of `text` with at most `columns` columns. */
size_t sl_utf8_prefix(const char *text, int columns);

/* Makes text from elsewhere fit for a line on a terminal, in place: control characters become
 * spaces, bytes that are not UTF-8 become "?", a sequence that was cut off at the end is dropped.
 * Returns `text`. */
char *sl_make_printable(char *text);

/* True for [a-z][a-z0-9_]* names of ports and parameters. */
bool sl_is_identifier(const char *text);
bool sl_starts_with(const char *text, const char *prefix);
bool sl_ends_with(const char *text, const char *suffix);

/*
 * The candidate nearest to `word`, or NULL where none is near: at most a third of the letters (and
 * at least one) may differ by the optimal string alignment distance (insert, delete, replace, swap
 * neighbours), case ignored.
 */
const char *sl_nearest(const char *word, const char *const *candidates, size_t n);

/* "a, b and c" into `s`; with n == 0 "none". */
void sl_str_add_list(struct sl_str *s, const char *const *words, size_t n, const char *last_joint);

#endif
