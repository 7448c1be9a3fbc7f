/*
 * Loads a model: a Hugging Face folder or a file of whisper.cpp becomes sizes, tokens, rules and
 * views of the weights, which the backend then takes. config.c, files.c, ggml.c and published.c
 * know the formats; this file knows the order.
 *
 * preprocessor_config.json is not read: all it says follows from the sizes.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "whisper/files.h"
#include "whisper/ggml.h"
#include "whisper/published.h"

/* ---- A folder ------------------------------------------------------------------------------- */

static int32_t load_config(const char *folder, struct wh_model *m, struct num_err *err) {
    char *config = NULL, *generation = NULL;
    size_t config_len, generation_len;
    int32_t status = wh_file_read(folder, "config.json", false, &config, &config_len, err);
    if (!status)
        status =
            wh_file_read(folder, "generation_config.json", true, &generation, &generation_len, err);
    if (!status)
        status = wh_config_parse(config, config_len, generation, generation_len, folder, &m->dims,
                                 &m->rules, &m->lists, err);
    free(config);
    free(generation);
    return status;
}

static int32_t read_two_files(const char *folder, struct num_bpe *ret, struct num_err *err) {
    char *vocab = NULL, *added = NULL;
    size_t vocab_len, added_len;
    int32_t status = wh_file_read(folder, "vocab.json", false, &vocab, &vocab_len, err);
    if (!status)
        status = wh_file_read(folder, "added_tokens.json", false, &added, &added_len, err);
    if (!status)
        status = num_bpe_parse(vocab, vocab_len, added, added_len, folder, ret, err);
    free(vocab);
    free(added);
    return status;
}

static int32_t read_one_file(const char *folder, struct num_bpe *ret, struct num_err *err) {
    char *text = NULL;
    size_t len;
    int32_t status = wh_file_read(folder, "tokenizer.json", false, &text, &len, err);
    if (!status)
        status = num_bpe_parse_tokenizer(text, len, folder, ret, err);
    free(text);
    return status;
}

static int32_t load_tokenizer(const char *folder, struct wh_model *m, struct num_err *err) {
    bool two =
        num_file_exists(folder, "vocab.json") && num_file_exists(folder, "added_tokens.json");
    bool one = !two && num_file_exists(folder, "tokenizer.json");
    return one ? read_one_file(folder, &m->bpe, err) : read_two_files(folder, &m->bpe, err);
}

static int32_t load_folder(const char *folder, struct wh_model *m, struct num_err *err) {
    int32_t status = load_config(folder, m, err);
    if (!status)
        status = load_tokenizer(folder, m, err);
    if (!status)
        status = wh_tokens_find(&m->bpe, &m->dims, folder, &m->tokens, &m->rules, err);
    if (!status)
        status = wh_files_open(folder, &m->files, err);
    return status;
}

/* ---- A file --------------------------------------------------------------------------------- */

/* Moves the views of a parsed file into m->files. */
static int32_t take_views(struct wh_ggml *ggml, const char *path, void *map, size_t len,
                          struct wh_model *m, struct num_err *err) {
    m->files = wh_files_create(path, "the header");
    if (!m->files)
        return num_fail_memory(err, "the list of files", sizeof *m->files);
    m->files->map = map;
    m->files->map_len = len;
    m->files->tensors = ggml->tensors;
    m->files->weights.n_tensors = ggml->n_tensors;
    m->files->names = ggml->names;
    ggml->tensors = NULL;
    ggml->names = NULL;
    return wh_files_index(m->files, err);
}

static int32_t load_file(const char *path, struct wh_model *m, struct num_err *err) {
    struct wh_ggml ggml = {0};
    void *map = NULL;
    size_t len = 0;
    int32_t status = num_file_map(path, &map, &len, err);
    if (!status)
        status = wh_ggml_parse(map, len, path, &ggml, err);
    if (!status)
        status = wh_ggml_bpe(&ggml, path, &m->bpe, err);
    if (!status) {
        m->dims = ggml.dims;
        wh_published_alignment(&m->dims, path);
        m->rules = (struct wh_rules){.n_vocab = (int32_t)m->dims.n_vocab,
                                     .timestamps = true,
                                     .suppress_blank = true,
                                     .max_initial = WH_DEFAULT_MAX_INITIAL};
        status = wh_tokens_find(&m->bpe, &m->dims, path, &m->tokens, &m->rules, err);
    }
    if (!status)
        status = take_views(&ggml, path, map, len, m, err);
    if (!m->files && map)
        num_file_unmap(map, len);
    wh_ggml_finish(&ggml);
    return status;
}

/* The .bin files of a folder: how many, and the path of one. */
static uint32_t count_bins(const char *folder, char path[NUM_MAX_PATH]) {
    uint32_t n = 0;
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        const char *dot = strrchr(entry->d_name, '.');
        if (entry->d_name[0] != '.' && dot && strcmp(dot, ".bin") == 0 &&
            snprintf(path, NUM_MAX_PATH, "%s/%s", folder, entry->d_name) < NUM_MAX_PATH)
            n++;
    }
    if (dir)
        closedir(dir);
    return n;
}

/* A folder of Hugging Face, or one that holds nothing but a file of whisper.cpp. */
static int32_t load_either(const char *folder, struct wh_model *m, struct num_err *err) {
    char path[NUM_MAX_PATH];
    uint32_t n = num_file_exists(folder, "config.json") ? 0 : count_bins(folder, path);
    if (n > 1)
        return num_fail(err, SLUICE_INPUT,
                        "%s has no config.json and %u .bin files: give the path of one of them",
                        folder, n);
    return n ? load_file(path, m, err) : load_folder(folder, m, err);
}

/* ---- Both ----------------------------------------------------------------------------------- */

/* A published model whose files list no suppressed tokens gets the reference's. */
static int32_t default_lists(struct wh_model *m, struct num_err *err) {
    if (!wh_published_vocab(m->dims.n_vocab) || m->rules.n_suppress)
        return SLUICE_OK;
    free(m->lists);
    m->lists = NULL;
    return wh_published_suppress(&m->bpe, &m->rules, &m->lists, err);
}

int32_t wh_model_load(const char *path, const struct wh_backend *backend,
                      const struct wh_limits *limits, struct wh_model *ret, struct num_err *err) {
    struct wh_model m = {.backend = backend, .limits = *limits};
    struct stat info;
    int32_t status;
    if (stat(path, &info) < 0)
        status = num_fail(err, SLUICE_INPUT, "cannot open %s: %s", path, strerror(errno));
    else
        status = S_ISDIR(info.st_mode) ? load_either(path, &m, err) : load_file(path, &m, err);
    if (!status)
        status = default_lists(&m, err);
    if (!status)
        status = backend->load(&m.files->weights, &m.dims, &m.limits, &m.self, err);
    if (!status && backend->info) {
        struct wh_device_info info;
        backend->info(m.self, &info);
        m.limits.n_slots = info.n_slots;
        m.limits.n_rows = info.n_rows;
    }
    if (status)
        wh_model_finish(&m);
    else
        *ret = m;
    return status;
}

void wh_model_finish(struct wh_model *model) {
    if (model->self)
        model->backend->free(model->self);
    wh_files_close(model->files);
    num_bpe_finish(&model->bpe);
    free(model->lists);
    *model = (struct wh_model){0};
}
