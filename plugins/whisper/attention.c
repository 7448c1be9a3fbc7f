/*
 * Attention as a file: see attention.h. Values are kept as half floats in one growing block.
 */
#include "whisper/attention.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num/buf.h"
#include "num/safetensors.h"

struct entry {
    char name[24], words_name[32], start_key[32], start[32];
    uint64_t shape[3], n_words;
};

struct wh_attention_file {
    struct entry *entries;
    size_t n_entries, max_entries;
    uint16_t *values;
    size_t n_values, max_values;
};

int32_t wh_attention_create(struct wh_attention_file **ret, struct num_err *err) {
    struct wh_attention_file *file = calloc(1, sizeof *file);
    if (!file)
        return num_fail_memory(err, "the attention", sizeof *file);
    *ret = file;
    return SLUICE_OK;
}

void wh_attention_destroy(struct wh_attention_file *file) {
    if (!file)
        return;
    free(file->entries);
    free(file->values);
    free(file);
}

/* A number from 0 to 1, rounded to a half float. The exponents' biases differ by 112. */
static uint16_t to_half(float x) {
    float scaled = x * 0x1p-112f;
    uint32_t bits;
    memcpy(&bits, &scaled, sizeof bits);
    return (uint16_t)((bits + 0x1000) >> 13);
}

/* Room for one more entry and n more values. */
static bool reserve(struct wh_attention_file *f, size_t n) {
    if (num_grow(&f->entries, f->n_entries, &f->max_entries, sizeof *f->entries, "", NULL))
        return false;
    if (f->n_values + n > f->max_values) {
        size_t max = f->n_values + n > 2 * f->max_values ? f->n_values + n : 2 * f->max_values;
        uint16_t *values = realloc(f->values, max * sizeof *values);
        if (!values)
            return false;
        f->values = values;
        f->max_values = max;
    }
    return true;
}

int32_t wh_attention_add(struct wh_attention_file *file, const struct wh_segment *segment,
                         struct num_err *err) {
    const struct wh_attention *a = &segment->attention;
    size_t row = (size_t)a->n_tokens * a->n_frames;
    if (!a->weights || row == 0)
        return SLUICE_OK;
    size_t n = a->n_heads * row + segment->n_words;
    if (!reserve(file, n))
        return num_fail_memory(err, "the attention", n * sizeof *file->values);
    struct entry *e = &file->entries[file->n_entries++];
    *e = (struct entry){.shape = {a->n_heads, a->n_tokens, a->n_frames},
                        .n_words = segment->n_words};
    snprintf(e->name, sizeof e->name, "segment_%u", segment->id);
    snprintf(e->words_name, sizeof e->words_name, "%s.words", e->name);
    snprintf(e->start_key, sizeof e->start_key, "%s.start", e->name);
    snprintf(e->start, sizeof e->start, "%.2f", (double)segment->seek / 100);
    for (size_t h = 0; h < a->n_heads; h++)
        for (size_t i = 0; i < row; i++)
            file->values[file->n_values++] = to_half(a->weights[h * a->head_stride + i]);
    for (uint32_t i = 0; i < segment->n_words; i++)
        file->values[file->n_values++] = (uint16_t)segment->words[i].n_tokens;
    return SLUICE_OK;
}

int32_t wh_attention_finish(const struct wh_attention_file *file, void **ret_header,
                            size_t *ret_header_len, const void **ret_values, size_t *ret_values_len,
                            struct num_err *err) {
    size_t n = file->n_entries;
    struct num_tensor *tensors = calloc(2 * n + 1, sizeof *tensors);
    struct num_meta *meta = calloc(n + 1, sizeof *meta);
    int32_t status = SLUICE_OK;
    if (!tensors || !meta)
        status = num_fail_memory(err, "the attention", n * sizeof *tensors);
    for (size_t i = 0; !status && i < n; i++) {
        const struct entry *e = &file->entries[i];
        tensors[2 * i] = (struct num_tensor){.name = e->name, .dtype = NUM_F16, .n_dims = 3};
        memcpy(tensors[2 * i].shape, e->shape, sizeof e->shape);
        tensors[2 * i + 1] = (struct num_tensor){
            .name = e->words_name, .dtype = NUM_U16, .n_dims = 1, .shape = {e->n_words}};
        meta[i + 1] = (struct num_meta){e->start_key, e->start};
    }
    if (!status) {
        meta[0] = (struct num_meta){"frame_s", "0.02"};
        status =
            num_safetensors_header(tensors, 2 * n, meta, n + 1, 0, ret_header, ret_header_len, err);
    }
    free(tensors);
    free(meta);
    *ret_values = file->values;
    *ret_values_len = file->n_values * sizeof *file->values;
    return status;
}
