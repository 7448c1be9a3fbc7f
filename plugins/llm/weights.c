/*
 * Opening the files of a model: see weights.h. Weight files are mapped and stay mapped while the
 * list lives; views of all tensors are one list, sorted by name.
 */
#include "llm/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "llm/tokenizer_files.h"
#include "num/files.h"

#define WANTED                                                                                     \
    "a model is a GGUF file, or a Hugging Face folder with config.json, tokenizer.json and "       \
    "safetensors"
#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE  "model.safetensors.index.json"

struct lm_weights {
    char *path;
    struct lm_config config;
    bool is_gguf;
    struct lm_gguf gguf; /* its tensors are `tensors` */
    void *map;
    size_t map_len;
    struct num_safetensors *shards;
    size_t n_shards;
    struct num_weights *views; /* of the shards */
    const struct num_weights *tensors;
    size_t n_tensors;
};

/* ---- Names ---------------------------------------------------------------------------------- */

static const struct {
    const char *hf, *gguf; /* of a layer: behind "model.layers.N." and "blk.N." */
} names[LM_N_TENSORS] = {
    [LM_EMBEDDING] = {"model.embed_tokens", "token_embd"},
    [LM_FINAL_NORM] = {"model.norm", "output_norm"},
    [LM_VOCABULARY] = {"lm_head", "output"},
    [LM_ROPE_FACTORS] = {"rope_freqs", "rope_freqs"},
    [LM_ATTN_NORM] = {"input_layernorm", "attn_norm"},
    [LM_Q] = {"self_attn.q_proj", "attn_q"},
    [LM_K] = {"self_attn.k_proj", "attn_k"},
    [LM_V] = {"self_attn.v_proj", "attn_v"},
    [LM_OUT] = {"self_attn.o_proj", "attn_output"},
    [LM_Q_NORM] = {"self_attn.q_norm", "attn_q_norm"},
    [LM_K_NORM] = {"self_attn.k_norm", "attn_k_norm"},
    [LM_MLP_NORM] = {"post_attention_layernorm", "ffn_norm"},
    [LM_GATE] = {"mlp.gate_proj", "ffn_gate"},
    [LM_UP] = {"mlp.up_proj", "ffn_up"},
    [LM_DOWN] = {"mlp.down_proj", "ffn_down"},
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct num_weights *)a)->name, ((const struct num_weights *)b)->name);
}

const struct num_weights *lm_weights_find(const struct lm_weights *w, enum lm_tensor what,
                                          uint32_t layer, bool bias, uint64_t rows, uint64_t cols,
                                          bool optional, struct num_err *err) {
    char prefix[40] = "", name[120];
    if (what >= LM_ATTN_NORM)
        snprintf(prefix, sizeof prefix,
                 w->is_gguf ? "blk.%" PRIu32 "." : "model.layers.%" PRIu32 ".", layer);
    snprintf(name, sizeof name, "%s%s.%s", prefix, w->is_gguf ? names[what].gguf : names[what].hf,
             bias ? "bias" : "weight");
    struct num_weights key = {.name = name};
    const struct num_weights *t =
        w->n_tensors ? bsearch(&key, w->tensors, w->n_tensors, sizeof key, by_name) : NULL;
    if (!t && !optional)
        num_fail(err, SLUICE_INPUT, "%s has no tensor %s", w->path, name);
    if (!t || (t->rows == rows && t->cols == cols))
        return t;
    num_fail(err, SLUICE_INPUT,
             "%s: tensor %s is %" PRIu64 " x %" PRIu64 " where the model's sizes ask for %" PRIu64
             " x %" PRIu64,
             w->path, name, t->rows, t->cols, rows, cols);
    return NULL;
}

const struct lm_config *lm_weights_config(const struct lm_weights *w) {
    return &w->config;
}

/* ---- A GGUF file ---------------------------------------------------------------------------- */

static int32_t open_gguf(struct lm_weights *w, struct num_err *err) {
    int32_t status = num_file_map(w->path, &w->map, &w->map_len, err);
    if (!status)
        status = lm_gguf_parse(w->map, w->map_len, w->path, &w->gguf, err);
    if (!status)
        status = lm_gguf_config(&w->gguf, &w->config, err);
    w->tensors = w->gguf.tensors;
    w->n_tensors = w->gguf.n_tensors;
    return status;
}

/* ---- A folder ------------------------------------------------------------------------------- */

static int32_t open_shard(struct lm_weights *w, const char *file, struct num_err *err) {
    char path[NUM_MAX_PATH];
    void *map = NULL;
    size_t len = 0;
    struct num_safetensors *st = &w->shards[w->n_shards];
    int32_t status = num_file_join(w->path, file, path, err);
    if (!status)
        status = num_file_map(path, &map, &len, err);
    if (status)
        return status;
    status = num_safetensors_parse(map, len, path, st, err);
    if (status) {
        num_file_unmap(map, len);
        return status;
    }
    st->map = map;
    st->map_len = len;
    w->n_shards++;
    return SLUICE_OK;
}

/* Views of all tensors that are numbers; others are none of ours. */
static int32_t make_views(struct lm_weights *w, struct num_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_shards; i++)
        n += w->shards[i].n_tensors;
    w->views = calloc(n + 1, sizeof *w->views);
    if (!w->views)
        return num_fail_memory(err, "the list of tensors", n * sizeof *w->views);
    for (size_t i = 0; i < w->n_shards; i++)
        for (size_t j = 0; j < w->shards[i].n_tensors; j++)
            w->n_tensors +=
                num_weights_of_tensor(&w->shards[i].tensors[j], &w->views[w->n_tensors]);
    if (w->n_tensors)
        qsort(w->views, w->n_tensors, sizeof *w->views, by_name);
    w->tensors = w->views;
    for (size_t i = 1; i < w->n_tensors; i++)
        if (strcmp(w->views[i - 1].name, w->views[i].name) == 0)
            return num_fail(err, SLUICE_INPUT, "%s: tensor %s is there twice", w->path,
                            w->views[i].name);
    return SLUICE_OK;
}

static int32_t open_shards(struct lm_weights *w, const char *const *files, size_t n,
                           struct num_err *err) {
    int32_t status = SLUICE_OK;
    w->shards = calloc(n, sizeof *w->shards);
    if (!w->shards)
        return num_fail_memory(err, "the list of files", n * sizeof *w->shards);
    for (size_t i = 0; !status && i < n; i++)
        status = open_shard(w, files[i], err);
    return status ? status : make_views(w, err);
}

static int32_t open_safetensors(struct lm_weights *w, struct num_err *err) {
    static const char *const single[] = {SINGLE_FILE};
    struct num_shards shards = {0};
    char *index = NULL, from[NUM_MAX_PATH];
    size_t len = 0;
    if (num_file_exists(w->path, SINGLE_FILE) || !num_file_exists(w->path, INDEX_FILE))
        return open_shards(w, single, 1, err);
    int32_t status = num_file_read(w->path, INDEX_FILE, false, WANTED, &index, &len, err);
    if (!status)
        status = num_file_join(w->path, INDEX_FILE, from, err);
    if (!status)
        status = num_shards_parse(index, len, from, &shards, err);
    if (!status)
        status = open_shards(w, shards.files, shards.n_files, err);
    num_shards_finish(&shards);
    free(index);
    return status;
}

static int32_t open_folder(struct lm_weights *w, struct num_err *err) {
    char *config = NULL, *generation = NULL;
    size_t config_len = 0, generation_len = 0;
    int32_t status =
        num_file_read(w->path, "config.json", false, WANTED, &config, &config_len, err);
    if (!status)
        status = num_file_read(w->path, "generation_config.json", true, WANTED, &generation,
                               &generation_len, err);
    if (!status)
        status = lm_config_parse(config, config_len, generation, generation_len, w->path,
                                 &w->config, err);
    free(config);
    free(generation);
    return status ? status : open_safetensors(w, err);
}

/* ---- All of it ------------------------------------------------------------------------------ */

int32_t lm_weights_open(const char *path, struct lm_weights **ret, struct num_err *err) {
    struct stat info;
    struct lm_weights *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(path))) {
        free(w);
        return num_fail_memory(err, "the list of files", sizeof *w);
    }
    w->is_gguf = stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
    int32_t status = w->is_gguf ? open_gguf(w, err) : open_folder(w, err);
    if (status)
        lm_weights_close(w);
    else
        *ret = w;
    return status;
}

void lm_weights_close(struct lm_weights *w) {
    if (!w)
        return;
    for (size_t i = 0; i < w->n_shards; i++)
        num_safetensors_close(&w->shards[i]);
    lm_gguf_finish(&w->gguf);
    if (w->map)
        num_file_unmap(w->map, w->map_len);
    free(w->shards);
    free(w->views);
    free(w->path);
    free(w);
}

int32_t lm_weights_tokenizer(const struct lm_weights *w, struct lm_tokenizer **ret,
                             struct num_err *err) {
    char *text = NULL, *config = NULL;
    size_t len = 0, config_len = 0;
    if (w->is_gguf)
        return lm_tokenizer_of_gguf(&w->gguf, ret, err);
    int32_t status = num_file_read(w->path, "tokenizer.json", false, WANTED, &text, &len, err);
    if (!status)
        status = num_file_read(w->path, "tokenizer_config.json", true, WANTED, &config, &config_len,
                               err);
    if (!status)
        status = lm_tokenizer_parse(text, len, config, config_len, w->path, ret, err);
    free(text);
    free(config);
    return status;
}

/* "chat_template" of tokenizer_config.json: a string, or a list of named ones of which "default"
 * counts. */
static char *template_of(const json_t *root) {
    const json_t *value = json_object_get(root, "chat_template"), *entry;
    size_t i;
    json_array_foreach(value, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            value = json_object_get(entry, "template");
    }
    return json_is_string(value) ? strdup(json_string_value(value)) : NULL;
}

int32_t lm_weights_chat_template(const struct lm_weights *w, char **ret, struct num_err *err) {
    char *text = NULL;
    size_t len = 0;
    *ret = NULL;
    if (w->is_gguf) {
        struct lm_span span = lm_gguf_string(&w->gguf, "", "tokenizer.chat_template");
        *ret = span.at ? strndup(span.at, span.len) : NULL;
        return SLUICE_OK;
    }
    int32_t status = num_file_read(w->path, "chat_template.jinja", true, WANTED, &text, &len, err);
    if (status)
        return status;
    if (text) {
        *ret = strndup(text, len);
        free(text);
        return SLUICE_OK;
    }
    status = num_file_read(w->path, "tokenizer_config.json", true, WANTED, &text, &len, err);
    json_t *root = text ? json_loadb(text, len, 0, NULL) : NULL;
    *ret = template_of(root);
    json_decref(root);
    free(text);
    return status;
}
