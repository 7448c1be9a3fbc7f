/*
 * Reads a YAML map into a struct by a table of its keys. Mistakes go to the diagnostics and reading
 * goes on: a wrong value leaves its member as it was, so fill the struct with defaults first.
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include "config/yaml.h"

enum sl_field_kind {
    SL_FIELD_NODE,     /* const struct sl_yaml *, whatever it is */
    SL_FIELD_TEXT,     /* const char *, in the tree's arena */
    SL_FIELD_INT,      /* int, within min..max */
    SL_FIELD_FLOAT,    /* double, within min..max */
    SL_FIELD_DURATION, /* double, seconds: `90s`, `2h`, or a number */
    SL_FIELD_SIZE,     /* uint64_t, bytes: `4GiB`, or a number */
    SL_FIELD_CHOICE    /* int, index into choices */
};

struct sl_field {
    const char *key;
    enum sl_field_kind kind;
    size_t offset; /* of the member */
    bool required;
    double min, max;            /* of INT and FLOAT; both 0: any */
    const char *const *choices; /* of CHOICE; NULL-terminated */
};

/*
 * Reads `map` into `target`. `what` opens every message: `stage "asr"`. A node that is not a map is
 * one mistake; one that is SL_YAML_BAD none. False where there was any.
 */
bool sl_schema_read(const struct sl_field *fields, size_t n_fields, const char *what,
                    const struct sl_yaml *map, void *target, struct sl_diags *diags);
#define SL_SCHEMA_READ(fields, what, map, target, diags)                                           \
    sl_schema_read(fields, sizeof(fields) / sizeof *(fields), what, map, target, diags)

/* Values by kind; false: not one. Text and plain numbers are both taken. */
bool sl_read_duration(const struct sl_yaml *node, double *ret_seconds);
bool sl_read_size(const struct sl_yaml *node, uint64_t *ret_bytes);

/*
 * ` (did you mean "x"?)` where a candidate is near, else "" - also once there were many mistakes,
 * since the search is the dearest part of a bad file. Lives in diags->arena.
 */
const char *sl_suggest(struct sl_diags *diags, const char *word, const char *const *candidates,
                       size_t n);

/* "WHAT: expected EXPECTED, found FOUND" with the hints that fit (quotes, true and false). Says
 * nothing of a SL_YAML_BAD node. */
void sl_diag_expected(struct sl_diags *diags, const char *what, const struct sl_yaml *node,
                      const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
