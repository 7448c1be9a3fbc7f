/* The items of a run, from the words of the command line and a manifest. */
#ifndef CLI_BATCH_H
#define CLI_BATCH_H

#include "cli/cli.h"
#include "config/manifest.h"
#include "graph/variants.h"
#include "run/gather.h"

struct sl_batch_spec {
    const struct sl_loaded *loaded;
    const struct sl_words *settings; /* of --set */
    const char *const *words;        /* files, folders, patterns */
    int n_words;
    const char *manifest;  /* NULL: none */
    const char *watch_dir; /* absolute; NULL: none */
};

struct sl_batch {
    struct sl_arena arena;
    struct sl_gather gather;
    struct sl_manifest manifest;
    struct sl_setting *settings;
    int n_settings;
    struct sl_variants *variants; /* NULL: no item has parameters of its own */
    struct sl_item *items;
    int n_items, max_items; /* max_items > n_items: there is room for those that come in */
};

/* Prints what is wrong; 0 or an exit status. Finish it in any case. */
int sl_batch_make(const struct sl_batch_spec *spec, struct sl_batch *ret);
void sl_batch_finish(struct sl_batch *b);

#endif
