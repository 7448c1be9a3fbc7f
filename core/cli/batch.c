/* The items of a run, see batch.h: words first, in their order, then the rows of the manifest. */
#include "cli/batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

#define WATCH_MAX_ITEMS 1000000
#define WATCH_MAX_BYTES (1ull << 30) /* of address space for their tasks; used as they come */

static int fail(const struct sl_err *err) {
    sl_cli_error(err);
    return SL_EXIT_USAGE;
}

static int print_mistakes(struct sl_diags *diags) {
    sl_autostr struct sl_str out = {0};
    sl_diags_print(diags, &out);
    fputs(sl_str_text(&out), stderr);
    int n_errors = diags->n_errors;
    sl_diags_finish(diags);
    return n_errors ? SL_EXIT_USAGE : 0;
}

/* ---- The manifest ---------------------------------------------------------------------------- */

/* A path of the manifest as seen from here: relative ones begin at the manifest's folder. */
static const char *place(struct sl_batch *b, const char *manifest, const char *file) {
    const char *base = sl_path_base(manifest);
    if (*file == '/' || base == manifest)
        return file;
    return sl_arena_printf(&b->arena, "%.*s%s", (int)(base - manifest), manifest, file);
}

static void make_variants(struct sl_batch *b, const struct sl_batch_spec *spec,
                          struct sl_diags *diags) {
    const struct sl_manifest *m = &b->manifest;
    if (m->n_names > 0 && diags->n_errors == 0)
        b->variants = sl_variants_create(spec->loaded->pipeline, &spec->loaded->catalog,
                                         spec->loaded->plan, b->settings, b->n_settings, m->names,
                                         m->name_pos, m->n_names, diags);
}

static int read_manifest(struct sl_batch *b, const struct sl_batch_spec *spec,
                         struct sl_diags *diags) {
    char *text = NULL;
    size_t len;
    struct sl_err err = {0};
    if (sl_read_file(spec->manifest, SL_MANIFEST_MAX_BYTES, &text, &len, &err) < 0)
        return fail(&err);
    sl_manifest_parse(text, len, sl_manifest_is_csv(spec->manifest), &b->arena, diags,
                      &b->manifest);
    free(text);
    make_variants(b, spec, diags);
    if (diags->n_errors == 0 && b->manifest.n_rows == 0)
        sl_diag_error(diags, (struct sl_pos){1, 1}, "it names no file");
    return 0;
}

/* The sets of the rows, which are the last items. */
static void give_sets(struct sl_batch *b, struct sl_diags *diags) {
    int first = b->n_items - b->manifest.n_rows;
    for (int i = 0; b->variants && i < b->manifest.n_rows; i++) {
        const struct sl_manifest_row *row = &b->manifest.rows[i];
        b->items[first + i].set = sl_variants_add(b->variants, row->values, row->pos, diags);
    }
}

/* ---- Items ----------------------------------------------------------------------------------- */

static int no_files(const struct sl_plan *plan) {
    struct sl_err err = {0};
    sl_err_set(&err, SL_USAGE,
               "no files given: pipeline \"%s\" takes its input \"%s\" from them%s%s", plan->name,
               plan->inputs[0].name, *plan->inputs[0].help ? ": " : "", plan->inputs[0].help);
    return fail(&err);
}

static int max_items(const struct sl_batch *b, const struct sl_batch_spec *spec) {
    uint64_t of_item = (uint64_t)spec->loaded->plan->n_stages * sizeof(struct sl_task);
    uint64_t most = WATCH_MAX_BYTES / of_item;
    if (!spec->watch_dir)
        return b->n_items;
    return b->n_items + (int)(most < WATCH_MAX_ITEMS ? most : WATCH_MAX_ITEMS);
}

static void make_items(struct sl_batch *b, const struct sl_batch_spec *spec) {
    int n = b->gather.n + b->manifest.n_rows;
    const char **files = sl_xcalloc((size_t)n, sizeof *files);
    for (int i = 0; i < b->gather.n; i++)
        files[i] = b->gather.files[i];
    for (int i = 0; i < b->manifest.n_rows; i++)
        files[b->gather.n + i] = place(b, spec->manifest, b->manifest.rows[i].file);
    const struct sl_item *items = sl_items_from_files(&b->arena, files, n);
    free(files);
    b->n_items = n;
    b->max_items = max_items(b, spec);
    b->items = sl_xcalloc((size_t)b->max_items, sizeof *b->items);
    if (n > 0)
        memcpy(b->items, items, (size_t)n * sizeof *items);
}

static int gather(struct sl_batch *b, const struct sl_batch_spec *spec) {
    struct sl_err err = {0};
    for (int i = 0; i < spec->n_words; i++)
        if (sl_gather_add(&b->gather, spec->words[i], spec->loaded->plan->inputs[0].type, &err) < 0)
            return fail(&err);
    return 0;
}

/* A pipeline without inputs runs once. */
static int make_only_item(struct sl_batch *b, const struct sl_batch_spec *spec) {
    struct sl_err err = {0};
    if (spec->n_words > 0 || spec->manifest || spec->watch_dir) {
        sl_err_set(&err, SL_USAGE, "pipeline \"%s\" has no inputs, so it takes no files",
                   spec->loaded->plan->name);
        return fail(&err);
    }
    b->items = sl_xcalloc(1, sizeof *b->items);
    b->items[0] = (struct sl_item){.name = spec->loaded->plan->name, .file = ""};
    b->n_items = b->max_items = 1;
    return 0;
}

int sl_batch_make(const struct sl_batch_spec *spec, struct sl_batch *ret) {
    struct sl_diags diags = {.file = spec->manifest};
    struct sl_err err = {0};
    *ret = (struct sl_batch){0};
    if (sl_cli_settings(spec->settings, &ret->settings, &err) < 0)
        return fail(&err);
    ret->n_settings = spec->settings->n;
    if (spec->loaded->plan->n_inputs == 0)
        return make_only_item(ret, spec);
    int status = gather(ret, spec);
    if (status == 0 && spec->manifest)
        status = read_manifest(ret, spec, &diags);
    if (status == 0 && diags.n_errors == 0) {
        make_items(ret, spec);
        give_sets(ret, &diags);
    }
    int mistakes = print_mistakes(&diags);
    if (status == 0)
        status = mistakes;
    return status == 0 && ret->n_items == 0 && !spec->watch_dir ? no_files(spec->loaded->plan)
                                                                : status;
}

void sl_batch_finish(struct sl_batch *b) {
    sl_variants_destroy(b->variants);
    sl_cli_settings_free(b->settings, b->n_settings);
    sl_gather_finish(&b->gather);
    free(b->items);
    sl_arena_finish(&b->arena);
}
