/*
 * Reads manifests, see manifest.h: one pass over the bytes. CSV is read field by field; a field
 * knows where it began and whether it was the last of its record. A mistake of form (a stray quote)
 * ends the reading, since what follows cannot be told apart any more; mistakes of content do not.
 *
 * Whether the columns are parameters of the pipeline, and their values right, is the question of
 * graph/variants.h.
 */
#include "config/manifest.h"

#include <string.h>
#include <strings.h>

#define FILE_COLUMN "file"
#define PATH_BYTES  4095 /* the longest path of the kernel */

struct reader {
    const char *at, *end, *line_start;
    int line;
    struct sl_arena *arena;
    struct sl_diags *diags;
};

struct field {
    const char *text; /* in the arena */
    bool given;       /* not an empty cell without quotes */
    bool last;        /* of its record */
    struct sl_pos pos;
};

bool sl_manifest_is_csv(const char *path) {
    size_t len = strlen(path);
    return len > 4 && strcasecmp(path + len - 4, ".csv") == 0;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static struct sl_pos position(const struct reader *r) {
    int column = 1;
    for (const char *c = r->line_start; c < r->at; c++)
        column += ((unsigned char)*c & 0xc0) != 0x80;
    return (struct sl_pos){r->line, column};
}

/* Passes over a line end where there is one. */
static bool take_line_end(struct reader *r) {
    if (r->at < r->end && *r->at == '\r')
        r->at += r->at + 1 < r->end && r->at[1] == '\n' ? 2 : 1;
    else if (r->at < r->end && *r->at == '\n')
        r->at++;
    else
        return false;
    r->line++;
    r->line_start = r->at;
    return true;
}

static bool at_line_end(const struct reader *r) {
    return r->at == r->end || *r->at == '\n' || *r->at == '\r';
}

/* Only text is read: the first byte that is none is one mistake. */
static bool check_bytes(struct reader *r) {
    size_t len = (size_t)(r->end - r->at), good = sl_utf8_valid(r->at, len);
    const char *nul = memchr(r->at, 0, good);
    if (good == len && !nul)
        return true;
    const char *bad = nul ? nul : r->at + good;
    while (r->at < bad)
        if (!take_line_end(r))
            r->at++;
    sl_diag_error(r->diags, position(r), "%s; a manifest is UTF-8 text",
                  nul ? "a NUL byte" : "not UTF-8");
    return false;
}

static bool check_path(struct reader *r, struct sl_pos pos, const char *path) {
    if (strlen(path) <= PATH_BYTES)
        return true;
    sl_diag_error(r->diags, pos, "the path is longer than %d bytes", PATH_BYTES);
    return false;
}

/* ---- A list of paths ------------------------------------------------------------------------- */

static int count_lines(const struct reader *r) {
    int n = 1;
    for (const char *c = r->at; c < r->end && n < SL_MANIFEST_MAX_ROWS + 2; c++)
        n += *c == '\n' || (*c == '\r' && c + 1 < r->end && c[1] != '\n');
    return n;
}

static bool add_row(struct reader *r, struct sl_manifest *m, struct sl_manifest_row row) {
    if (m->n_rows == SL_MANIFEST_MAX_ROWS) {
        sl_diag_error(r->diags, row.pos, "more than %d files", SL_MANIFEST_MAX_ROWS);
        return false;
    }
    m->rows[m->n_rows++] = row;
    return true;
}

static void read_list(struct reader *r, struct sl_manifest *m) {
    while (r->at < r->end) {
        struct sl_pos pos = {r->line, 1};
        const char *start = r->at;
        while (!at_line_end(r))
            r->at++;
        size_t len = (size_t)(r->at - start);
        if (len > 0 && *start != '#') {
            const char *path = sl_arena_strndup(r->arena, start, len);
            if (check_path(r, pos, path) &&
                !add_row(r, m, (struct sl_manifest_row){path, NULL, pos}))
                return;
        }
        take_line_end(r);
    }
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static bool form_error(struct reader *r, struct sl_pos pos, const char *what) {
    sl_diag_error(r->diags, pos, "%s", what);
    return false;
}

/* The text between quotes; `at` stands behind the first one. */
static bool read_quoted(struct reader *r, struct field *f) {
    sl_autostr struct sl_str text = {0};
    for (;;) {
        const char *from = r->at;
        while (r->at < r->end && *r->at != '"' && *r->at != '\n' && *r->at != '\r')
            r->at++;
        sl_str_addn(&text, from, (size_t)(r->at - from));
        if (r->at == r->end)
            return form_error(r, f->pos, "a quote that is never closed");
        from = r->at;
        if (take_line_end(r)) {
            sl_str_addn(&text, from, (size_t)(r->at - from));
        } else if (r->at + 1 < r->end && r->at[1] == '"') {
            sl_str_add(&text, "\"");
            r->at += 2;
        } else {
            r->at++;
            break;
        }
        if (text.len > SL_MANIFEST_MAX_TEXT)
            return form_error(r, f->pos, "text of more than 64 KiB");
    }
    f->text = sl_arena_strdup(r->arena, sl_str_text(&text));
    f->given = true;
    return true;
}

static bool read_plain(struct reader *r, struct field *f) {
    const char *from = r->at;
    for (; !at_line_end(r) && *r->at != ','; r->at++)
        if (*r->at == '"')
            return form_error(r, position(r),
                              "a quote inside a field; put the whole field in quotes and double "
                              "those inside");
    if ((size_t)(r->at - from) > SL_MANIFEST_MAX_TEXT)
        return form_error(r, f->pos, "text of more than 64 KiB");
    f->text = sl_arena_strndup(r->arena, from, (size_t)(r->at - from));
    f->given = r->at > from;
    return true;
}

/* One field and the comma or line end behind it. */
static bool read_field(struct reader *r, struct field *f) {
    *f = (struct field){.pos = position(r)};
    bool quoted = r->at < r->end && *r->at == '"';
    r->at += quoted;
    if (!(quoted ? read_quoted(r, f) : read_plain(r, f)))
        return false;
    f->last = at_line_end(r);
    if (!f->last && *r->at != ',')
        return form_error(r, position(r), "text behind a closing quote; expected a comma");
    if (f->last)
        take_line_end(r);
    else
        r->at++;
    return true;
}

struct columns {
    int file; /* index of the column `file`; -1: there is none */
    int n;
};

static void add_name(struct reader *r, struct sl_manifest *m, const struct field *f, int at,
                     struct columns *c) {
    bool is_file = strcmp(f->text, FILE_COLUMN) == 0, again = is_file && c->file >= 0;
    for (int i = 0; i < m->n_names; i++)
        again |= strcmp(m->names[i], f->text) == 0;
    if (again)
        sl_diag_error(r->diags, f->pos, "column \"%.80s\" is there twice", f->text);
    else if (is_file)
        c->file = at;
    else if (!*f->text)
        sl_diag_error(r->diags, f->pos, "a column without a name");
    if (!is_file) {
        m->names[m->n_names] = f->text;
        m->name_pos[m->n_names++] = f->pos;
    }
}

/* False where the rows cannot be read. */
static bool read_header(struct reader *r, struct sl_manifest *m, struct columns *ret) {
    struct field f = {0};
    *ret = (struct columns){.file = -1};
    m->names = sl_arena_alloc(r->arena, SL_MANIFEST_MAX_COLUMNS * sizeof *m->names);
    m->name_pos = sl_arena_alloc(r->arena, SL_MANIFEST_MAX_COLUMNS * sizeof *m->name_pos);
    while (!f.last) {
        if (!read_field(r, &f))
            return false;
        if (ret->n == SL_MANIFEST_MAX_COLUMNS)
            return form_error(r, f.pos, "more than 100 columns");
        add_name(r, m, &f, ret->n++, ret);
    }
    if (ret->file < 0)
        sl_diag_error(r->diags, (struct sl_pos){1, 1},
                      "there is no column \"file\"; the first row names the columns: file, and "
                      "parameters of the pipeline%s",
                      ret->n == 1 && strchr(m->names[0], ';') ? " (separated by commas)" : "");
    return r->diags->n_errors == 0;
}

/* False where nothing more can be read. */
static bool read_row(struct reader *r, struct sl_manifest *m, const struct columns *c) {
    struct field f = {0};
    struct sl_manifest_row row = {.pos = {r->line, 1}};
    int n = 0, at = 0;
    row.values = sl_arena_alloc(r->arena, (size_t)m->n_names * sizeof *row.values);
    for (; !f.last; n++) {
        if (!read_field(r, &f))
            return false;
        if (n == c->file)
            row.file = f.text;
        else if (at < m->n_names)
            row.values[at++] = f.given ? f.text : NULL;
    }
    if (n != c->n)
        sl_diag_error(r->diags, row.pos, "%d fields, where the first row has %d", n, c->n);
    else if (!*row.file)
        sl_diag_error(r->diags, row.pos, "column \"file\" is empty");
    else if (check_path(r, row.pos, row.file))
        return add_row(r, m, row);
    return true;
}

static void read_csv(struct reader *r, struct sl_manifest *m) {
    struct columns columns;
    if (r->at == r->end) {
        sl_diag_error(r->diags, (struct sl_pos){1, 1},
                      "the first row, which names the columns, is missing");
        return;
    }
    if (!read_header(r, m, &columns))
        return;
    while (r->at < r->end)
        if (!take_line_end(r) && !read_row(r, m, &columns))
            return;
}

bool sl_manifest_parse(const char *bytes, size_t len, bool csv, struct sl_arena *arena,
                       struct sl_diags *diags, struct sl_manifest *ret) {
    struct reader r = {bytes, bytes + len, bytes, 1, arena, diags};
    *ret = (struct sl_manifest){0};
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        r.at = r.line_start = bytes + 3;
    struct reader bytes_only = r;
    if (!check_bytes(&bytes_only))
        return false;
    ret->rows = sl_arena_alloc(arena, (size_t)count_lines(&r) * sizeof *ret->rows);
    if (csv)
        read_csv(&r, ret);
    else
        read_list(&r, ret);
    return diags->n_errors == 0;
}
