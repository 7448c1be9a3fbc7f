/*
 * YAML with positions: a tree in which every node and key knows its line and column.
 *
 * What is read is the part of YAML 1.2 that people write by hand: block and flow style, anchors,
 * aliases and merge keys. Plain scalars follow the core schema (true/false, null, integers, reals;
 * `yes` and `on` are text). Refused, each with its position: bytes that are not UTF-8, control
 * characters, several documents, duplicate keys, keys that are not scalars, tags of one's own,
 * aliases that contain themselves, more than SL_YAML_MAX_DEPTH levels, text over SL_YAML_MAX_TEXT
 * bytes, and documents that would grow past SL_YAML_MAX_NODES nodes once their aliases are
 * followed.
 */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include <stdint.h>

#include "config/diag.h"

#define SL_YAML_MAX_BYTES   (8u << 20)
#define SL_YAML_MAX_DEPTH   64
#define SL_YAML_MAX_NODES   1000000
#define SL_YAML_MAX_ANCHORS 1000
#define SL_YAML_MAX_TEXT    (64u << 10) /* of one scalar */

enum sl_yaml_kind {
    SL_YAML_SCALAR,
    SL_YAML_LIST,
    SL_YAML_MAP,
    SL_YAML_BAD /* stands for a value whose mistake was reported already: readers pass over it in
                   silence */
};

enum sl_yaml_style {
    SL_YAML_PLAIN,  /* resolved by the core schema */
    SL_YAML_QUOTED, /* text */
    SL_YAML_EITHER /* resolved as plain, and taken as text where text is wanted (--set, environment)
                    */
};

struct sl_yaml;
struct sl_yaml_pair {
    const char *key;
    struct sl_pos pos; /* of the key */
    const struct sl_yaml *value;
};

/* A node; immutable. Aliases share nodes, so the tree is a DAG: bounded when followed, see above.
 */
struct sl_yaml {
    enum sl_yaml_kind kind;
    enum sl_yaml_style style; /* of a scalar */
    struct sl_pos pos;
    const char *text;                 /* of a scalar; holds no NUL */
    const struct sl_yaml **items;     /* of a list */
    const struct sl_yaml_pair *pairs; /* of a map, in the order of the file, merged ones last */
    int n;                            /* items or pairs */
    int height;                       /* levels below */
    int weight;                       /* nodes when followed, this one included */
};

/* What a scalar resolves to. */
enum sl_yaml_type { SL_YAML_NULL, SL_YAML_BOOL, SL_YAML_INT, SL_YAML_FLOAT, SL_YAML_STRING };
enum sl_yaml_type sl_yaml_type(const struct sl_yaml *scalar);
/* Values by the core schema; false where `node` is no such scalar, or out of range of the C type,
 * or not finite. A float also takes an integer; text is what is not resolved otherwise, or quoted,
 * or of SL_YAML_EITHER. */
bool sl_yaml_bool(const struct sl_yaml *node, bool *ret);
bool sl_yaml_int(const struct sl_yaml *node, int64_t *ret);
bool sl_yaml_float(const struct sl_yaml *node, double *ret);
bool sl_yaml_text(const struct sl_yaml *node, const char **ret);
/* True for no node, `null`, `~` and an empty value. */
bool sl_yaml_is_null(const struct sl_yaml *node);

/* The value of `key`, or NULL. */
const struct sl_yaml *sl_yaml_get(const struct sl_yaml *map, const char *key);
const struct sl_yaml_pair *sl_yaml_find(const struct sl_yaml *map, const char *key);

/* Adds what a node is, for messages: `text "yes"`, `integer 5`, `a list`, `nothing`. Long text is
 * cut. */
void sl_yaml_describe(const struct sl_yaml *node, struct sl_str *out);

/*
 * Parses `len` bytes. Returns the root, in `arena`, or NULL where no tree could be made. Every
 * mistake goes to `diags`; some (duplicate keys, tags) still give a tree, so look at
 * diags->n_errors. Pure.
 */
const struct sl_yaml *sl_yaml_parse(const char *bytes, size_t len, struct sl_arena *arena,
                                    struct sl_diags *diags);
/* The same with a regular file of at most SL_YAML_MAX_BYTES; its name in messages is diags->file.
 */
const struct sl_yaml *sl_yaml_load(const char *path, struct sl_arena *arena,
                                   struct sl_diags *diags);

/* New nodes, for code that rewrites a tree. The children are borrowed. */
struct sl_yaml *sl_yaml_scalar(struct sl_arena *arena, struct sl_pos pos, enum sl_yaml_style style,
                               const char *text);
struct sl_yaml *sl_yaml_bad(struct sl_arena *arena, struct sl_pos pos);

#endif
