/*
 * The CPU backend: owns every buffer; cpu_load.c packs the weights, cpu_encoder.c and cpu_decoder.c
 * do the work. Memory is all taken at load, so a model that fits at the start cannot fail in the
 * middle of a file.
 */
#include "whisper/cpu.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STORED_ROWS 8 /* more that are decoded together want packed weights */

static int32_t buffers_take(struct wh_cpu *cpu, struct num_err *err) {
    const struct wh_dims *s = &cpu->dims;
    size_t d = s->n_state / s->n_text_heads, rows = cpu->limits.n_rows, slots = cpu->limits.n_slots;
    wh_kv_init(&cpu->self_kv, cpu->act, s->n_text_ctx, d, s->n_text_heads, s->n_text_layers);
    wh_kv_init(&cpu->cross_kv, cpu->act, s->n_audio_ctx, d, s->n_text_heads, s->n_text_layers);
    size_t encoder = wh_encoder_work_bytes(cpu), decoder = wh_decoder_work_bytes(cpu);
    const struct {
        size_t bytes;
        const char *what;
        void *ret;
    } wanted[] = {
        {s->n_audio_layers * sizeof *cpu->encoder, "the model's layers", &cpu->encoder},
        {s->n_text_layers * sizeof *cpu->decoder, "the model's layers", &cpu->decoder},
        {rows * sizeof *cpu->row_len, "the rows", &cpu->row_len},
        {rows * sizeof *cpu->row_slot, "the rows", &cpu->row_slot},
        {cpu->cross_kv.row_words * slots * 4, "the keys and values of windows",
         &cpu->cross_kv.base},
        {slots * s->n_audio_ctx * s->n_state * sizeof(float), "the encoder's output",
         &cpu->encoded},
        {encoder > decoder ? encoder : decoder, "the buffers", &cpu->work},
        {cpu->V32 * WH_LOGITS_ROWS * sizeof(float), "the logits", &cpu->logits_work},
    };
    const char *tokens = "the keys and values of tokens";
    size_t bytes = cpu->self_kv.row_words * rows * 4;
    cpu->rows.sparse = true;
    int32_t status = num_arena_take(&cpu->rows, bytes, tokens, &cpu->self_kv.base, err);
    if (!status)
        status = num_arena_take(&cpu->rows, bytes, tokens, &cpu->reorder_work, err);
    for (size_t i = 0; !status && i < sizeof wanted / sizeof *wanted; i++)
        status = num_arena_take(&cpu->arena, wanted[i].bytes, wanted[i].what, wanted[i].ret, err);
    return status;
}

static void cpu_free(void *self) {
    struct wh_cpu *cpu = self;
    num_pool_destroy(cpu->pool);
    num_arena_finish(&cpu->arena);
    num_arena_finish(&cpu->rows);
    free(cpu);
}

/* What "auto" means here: bfloat16 halves what a token reads, but only processors that multiply it
 * have nothing to pay for it. */
static enum num_compute choose_compute(enum wh_compute wanted, const struct num_kernels *kernels) {
    switch (wanted) {
    case WH_COMPUTE_BF16:
        return NUM_COMPUTE_BF16;
    case WH_COMPUTE_INT8:
        return NUM_COMPUTE_INT8;
    case WH_COMPUTE_AUTO:
        return kernels->native_bf16 ? NUM_COMPUTE_BF16 : NUM_COMPUTE_F32;
    default:
        return NUM_COMPUTE_F32;
    }
}

static int32_t cpu_load(const struct wh_weights *weights, const struct wh_dims *dims,
                        const struct wh_limits *limits, void **ret_self, struct num_err *err) {
    int32_t status = wh_cpu_check_sizes(weights, dims, err);
    if (status)
        return status;
    struct wh_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return num_fail_memory(err, "the model", sizeof *cpu);
    cpu->dims = *dims;
    cpu->limits = *limits;
    cpu->kernels = num_kernels();
    cpu->quant = num_quant_kernels(cpu->kernels);
    cpu->compute = choose_compute(limits->compute, cpu->kernels);
    cpu->stored = cpu->quant->lanes > 4 && limits->n_rows <= MAX_STORED_ROWS &&
                  (limits->compute == WH_COMPUTE_INT8 || limits->compute == WH_COMPUTE_AUTO);
    cpu->act = cpu->compute == NUM_COMPUTE_F32 ? NUM_COMPUTE_F32 : NUM_COMPUTE_BF16;
    cpu->W = NUM_PANELS(dims->n_state) * NUM_PANEL;
    cpu->V32 = NUM_PANELS(dims->n_vocab) * NUM_PANEL;
    status = num_pool_create(limits->n_threads, &cpu->pool, err);
    if (!status) {
        cpu->limits.n_threads = num_pool_threads(cpu->pool);
        status = buffers_take(cpu, err);
    }
    if (!status)
        status = wh_cpu_read(cpu, weights, err);
    if (status)
        cpu_free(cpu);
    else
        *ret_self = cpu;
    return status;
}

/* Rows that change are read before any is written: a row may be both source and target. */
static int32_t cpu_reorder(void *self, const uint32_t *to, const uint32_t *from, uint32_t n,
                           struct num_err *err) {
    struct wh_cpu *cpu = self;
    const struct wh_kv *kv = &cpu->self_kv;
    size_t words = kv->row_words;
    uint32_t lens[n + 1], slots[n + 1];
    for (uint32_t i = 0; i < n; i++) {
        if (to[i] >= cpu->limits.n_rows || from[i] >= cpu->limits.n_rows || i >= cpu->limits.n_rows)
            return num_fail(err, SLUICE_INTERNAL, "row %u cannot become row %u", from[i], to[i]);
        lens[i] = cpu->row_len[from[i]];
        slots[i] = cpu->row_slot[from[i]];
    }
    for (uint32_t i = 0; i < n; i++)
        if (to[i] != from[i])
            wh_kv_copy(kv, lens[i], cpu->reorder_work + i * words, kv->base + from[i] * words);
    for (uint32_t i = 0; i < n; i++) {
        if (to[i] != from[i])
            wh_kv_copy(kv, lens[i], kv->base + to[i] * words, cpu->reorder_work + i * words);
        cpu->row_len[to[i]] = lens[i];
        cpu->row_slot[to[i]] = slots[i];
    }
    return SLUICE_OK;
}

static const float *cpu_encoded(void *self, uint32_t slot) {
    struct wh_cpu *cpu = self;
    return cpu->encoded + (size_t)slot * cpu->dims.n_audio_ctx * cpu->dims.n_state;
}

const struct wh_backend wh_backend_cpu = {
    .name = "cpu",
    .load = cpu_load,
    .free = cpu_free,
    .encode = wh_cpu_encode,
    .prefill = wh_cpu_prefill,
    .step = wh_cpu_step,
    .reorder = cpu_reorder,
    .attention = wh_cpu_attention,
    .encoded = cpu_encoded,
};
