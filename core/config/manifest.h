/*
 * A manifest: the list of files of a large batch, and with CSV what is different for each of them.
 *
 *   list   one path a line; empty lines and those that begin with # are passed over
 *   CSV    RFC 4180 with a header row. The column `file` holds the path; every other column is
 *          named like a parameter of the pipeline and holds its value for that file. An empty cell
 *          leaves the pipeline's own value, "" is empty text
 *
 * Both are UTF-8 (a byte order mark is passed over), with line ends of any system. What is wrong is
 * reported with line and column, all of it where that is possible.
 */
#ifndef CONFIG_MANIFEST_H
#define CONFIG_MANIFEST_H

#include "config/diag.h"

#define SL_MANIFEST_MAX_BYTES   (256u << 20)
#define SL_MANIFEST_MAX_ROWS    1000000
#define SL_MANIFEST_MAX_COLUMNS 100
#define SL_MANIFEST_MAX_TEXT    (64u << 10) /* of one field */

struct sl_manifest_row {
    const char *file;
    const char **values; /* one for each of `names`; NULL: not given */
    struct sl_pos pos;   /* of the row */
};

struct sl_manifest {
    const char **names; /* of the columns beside `file` */
    struct sl_pos *name_pos;
    int n_names;
    struct sl_manifest_row *rows;
    int n_rows;
};

/* Whether a file of this name is read as CSV: it ends in .csv, in any case. */
bool sl_manifest_is_csv(const char *path);

/* Reads `len` bytes; everything in *ret is in `arena`. False where there was any mistake, which is
 * in `diags`. Pure. */
bool sl_manifest_parse(const char *bytes, size_t len, bool csv, struct sl_arena *arena,
                       struct sl_diags *diags, struct sl_manifest *ret);

#endif
