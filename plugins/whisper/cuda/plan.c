/*
 * The memory plan of a model on a CUDA device: see plan.h. One walk over the weights serves both
 * for counting and for placing, so the two cannot differ; the parts of the block follow each other
 * in one table.
 *
 * Where the limit is too small, windows of one pass are halved first, which only costs some speed;
 * then the windows that are held, each with its rows. What the weights need cannot be made smaller
 * here.
 */
#include "whisper/cuda/plan.h"

/* ---- Weights -------------------------------------------------------------------------------- */

struct walk {
    const struct wh_cuda_config *c;
    uintptr_t at; /* of the next part */
};

static void *take(struct walk *walk, size_t bytes) {
    uintptr_t at = walk->at;
    walk->at += (bytes + WH_CUDA_ALIGN - 1) / WH_CUDA_ALIGN * WH_CUDA_ALIGN;
    return (void *)at;
}

static float *take_floats(struct walk *walk, size_t n) {
    return take(walk, n * sizeof(float));
}

static struct wh_cuda_norm take_norm(struct walk *walk) {
    size_t D = walk->c->dims.n_state;
    struct wh_cuda_norm norm;
    norm.gamma = take_floats(walk, D);
    norm.beta = take_floats(walk, D);
    return norm;
}

static struct wh_cuda_matrix take_matrix(struct walk *walk, enum wh_cuda_packing packing,
                                         size_t n_out, size_t n_in, bool bias) {
    struct wh_cuda_matrix m = {
        .n_out = (uint32_t)n_out, .n_in = (uint32_t)n_in, .packing = packing};
    size_t values = n_out * n_in;
    switch (packing) {
    case WH_CUDA_PLAIN:
        m.w = take(walk, values * num_cuda_type_bytes(walk->c->type));
        break;
    case WH_CUDA_INT8:
        m.w = take(walk, values);
        m.scales = take_floats(walk, n_out);
        break;
    case WH_CUDA_INT4:
        m.w = take(walk, values / 2);
        m.scales = take_floats(walk, values / WH_CUDA_GROUP);
        break;
    }
    if (bias)
        m.bias = take_floats(walk, n_out);
    return m;
}

static struct wh_cuda_matrix take_plain(struct walk *walk, size_t n_out, size_t n_in) {
    return take_matrix(walk, WH_CUDA_PLAIN, n_out, n_in, true);
}

static void place_encoder(struct walk *walk, struct wh_cuda_weights *w) {
    const struct wh_dims *s = &walk->c->dims;
    size_t D = s->n_state, F = s->n_audio_ffn;
    w->conv1 = take_plain(walk, D, 3 * (size_t)s->n_mels);
    w->conv2 = take_plain(walk, D, 3 * D);
    w->audio_positions = take_floats(walk, s->n_audio_ctx * D);
    for (uint32_t i = 0; i < s->n_audio_layers; i++) {
        struct wh_cuda_encoder_layer *layer = &w->encoder[i];
        layer->attn_norm = take_norm(walk);
        layer->mlp_norm = take_norm(walk);
        layer->qkv = take_plain(walk, 3 * D, D);
        layer->out = take_plain(walk, D, D);
        layer->fc1 = take_plain(walk, F, D);
        layer->fc2 = take_plain(walk, D, F);
    }
    w->encoder_norm = take_norm(walk);
}

/* Layer `index` of the matrix that makes the keys and values of all layers. */
static struct wh_cuda_matrix part_of(const struct wh_cuda_matrix *all, size_t index, size_t n_out,
                                     size_t value_bytes) {
    struct wh_cuda_matrix m = *all;
    m.n_out = (uint32_t)n_out;
    m.w = (void *)((uintptr_t)all->w + index * n_out * all->n_in * value_bytes);
    m.bias = (float *)((uintptr_t)all->bias + index * n_out * sizeof(float));
    return m;
}

static void place_decoder(struct walk *walk, struct wh_cuda_weights *w) {
    const struct wh_dims *s = &walk->c->dims;
    enum wh_cuda_packing packing = walk->c->packing;
    size_t D = s->n_state, F = s->n_text_ffn;
    w->text_positions = take_floats(walk, s->n_text_ctx * D);
    w->cross_kv = take_plain(walk, s->n_text_layers * 2 * D, D);
    for (uint32_t i = 0; i < s->n_text_layers; i++) {
        struct wh_cuda_decoder_layer *layer = &w->decoder[i];
        layer->attn_norm = take_norm(walk);
        layer->cross_norm = take_norm(walk);
        layer->mlp_norm = take_norm(walk);
        layer->qkv = take_matrix(walk, packing, 3 * D, D, true);
        layer->out = take_matrix(walk, packing, D, D, true);
        layer->cross_q = take_matrix(walk, packing, D, D, true);
        layer->cross_out = take_matrix(walk, packing, D, D, true);
        layer->fc1 = take_matrix(walk, packing, F, D, true);
        layer->fc2 = take_matrix(walk, packing, D, F, true);
        layer->cross_kv = part_of(&w->cross_kv, i, 2 * D, num_cuda_type_bytes(walk->c->type));
    }
    w->decoder_norm = take_norm(walk);
    w->vocabulary = take_matrix(walk, WH_CUDA_PLAIN, s->n_vocab, D, false);
}

size_t wh_cuda_weights_place(struct wh_cuda_weights *w, const struct wh_cuda_config *c,
                             void *base) {
    struct walk walk = {c, (uintptr_t)base};
    place_encoder(&walk, w);
    place_decoder(&walk, w);
    return walk.at - (uintptr_t)base;
}

/* ---- The block ------------------------------------------------------------------------------ */

uint32_t wh_cuda_logits_rows(const struct wh_cuda_config *c) {
    return c->n_rows > WH_CUDA_LEAST_LOGITS ? c->n_rows : WH_CUDA_LEAST_LOGITS;
}

size_t wh_cuda_gemm_bytes(const struct wh_cuda_config *c) {
    size_t bytes = 24 * (size_t)c->dims.n_state * c->dims.n_state;
    return bytes < WH_CUDA_GEMM_BYTES ? bytes : WH_CUDA_GEMM_BYTES;
}

size_t wh_cuda_cross_bytes(const struct wh_cuda_config *c) {
    const size_t T = c->dims.n_audio_ctx, heads = 2 * (size_t)c->dims.n_text_heads;
    const size_t values = T * heads * WH_CUDA_HEAD, scales = T * heads * sizeof(uint16_t);
    if (c->kept == WH_CUDA_KEPT_PLAIN)
        return values * num_cuda_type_bytes(c->type);
    return (values + scales + WH_CUDA_ALIGN - 1) / WH_CUDA_ALIGN * WH_CUDA_ALIGN;
}

static void place_all(const struct wh_cuda_config *c, struct wh_cuda_plan *p) {
    const struct wh_dims *s = &c->dims;
    struct wh_cuda_weights ignored;
    struct walk walk = {c, 0};
    size_t D = s->n_state, value = num_cuda_type_bytes(c->type);
    size_t window = (size_t)c->n_slots * s->n_audio_ctx * D * value;
    size_t cross = wh_cuda_cross_bytes(c) * c->n_slots * s->n_text_layers;
    size_t row = (size_t)s->n_text_ctx * 2 * D * value;
    const struct {
        size_t *ret, bytes;
    } parts[] = {
        {&p->weights, wh_cuda_weights_place(&ignored, c, NULL)},
        {&p->encoded, window},
        {&p->cross_kv, c->cross == WH_CUDA_ABSORBED ? 0 : cross},
        {&p->self_kv, row * c->n_rows * s->n_text_layers},
        {&p->encoder_work, wh_cuda_encoder_bytes(c)},
        {&p->decoder_work, wh_cuda_decoder_bytes(c)},
        {&p->logits, (size_t)wh_cuda_logits_rows(c) * s->n_vocab * sizeof(float)},
        {&p->gemm_work[0], wh_cuda_gemm_bytes(c)},
        {&p->gemm_work[1], wh_cuda_gemm_bytes(c)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].ret = (uintptr_t)take(&walk, parts[i].bytes);
        walk.at += WH_CUDA_ALIGN;
    }
    p->bytes = walk.at;
}

static int32_t check_sizes(const struct wh_cuda_config *c, struct num_err *err) {
    const struct wh_dims *s = &c->dims;
    if (c->type == NUM_CUDA_F32 && (c->cross != WH_CUDA_STORED || c->kept != WH_CUDA_KEPT_PLAIN))
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "compute: f32 is exact, and goes with cross_attention: stored and "
                        "cross_kv: plain alone; use compute: f16 or bf16");
    if (c->cross == WH_CUDA_ABSORBED && c->kept != WH_CUDA_KEPT_PLAIN)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "cross_attention: absorbed stores no keys and values that cross_kv could "
                        "keep in bytes; use one of the two");
    if (s->n_state != WH_CUDA_HEAD * s->n_text_heads ||
        s->n_state != WH_CUDA_HEAD * s->n_audio_heads)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "on CUDA, attention heads are %d wide, and this model's %u values have %u "
                        "heads; use device: cpu",
                        WH_CUDA_HEAD, s->n_state, s->n_text_heads);
    if (s->n_audio_ffn % 64 || s->n_text_ffn % 64 || s->n_mels % 8)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "on CUDA, inner layers are a multiple of 64 and mel bands of 8 wide, and "
                        "this model's are %u, %u and %u; use device: cpu",
                        s->n_audio_ffn, s->n_text_ffn, s->n_mels);
    if (s->n_audio_ctx > WH_CUDA_POSITIONS)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "on CUDA, a window has at most %d positions, and this model's have %u; use "
                        "device: cpu",
                        WH_CUDA_POSITIONS, s->n_audio_ctx);
    if (s->n_audio_layers > WH_CUDA_LAYERS || s->n_text_layers > WH_CUDA_LAYERS)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "on CUDA, a model has at most %d layers, and this one has %u and %u; use "
                        "device: cpu",
                        WH_CUDA_LAYERS, s->n_audio_layers, s->n_text_layers);
    return SLUICE_OK;
}

static uint32_t half(uint32_t n, uint32_t least) {
    return n / 2 > least ? n / 2 : least;
}

/* Makes one number smaller; false where none can be. */
static bool shrink(struct wh_cuda_config *c, uint32_t least_slots, uint32_t least_rows) {
    uint32_t rows = wh_cuda_logits_rows(c), C = c->dims.n_text_ctx;
    uint32_t least_tokens = rows > C ? rows : C;
    if (c->n_windows > 1)
        c->n_windows /= 2;
    else if (c->n_slots > least_slots) {
        c->n_slots = half(c->n_slots, least_slots);
        if (c->n_rows > c->n_slots * least_rows)
            c->n_rows = c->n_slots * least_rows;
    } else if (c->n_rows > least_rows)
        c->n_rows = half(c->n_rows, least_rows);
    else if (c->n_tokens > least_tokens)
        c->n_tokens = half(c->n_tokens, least_tokens);
    else
        return false;
    return true;
}

int32_t wh_cuda_plan_make(struct wh_cuda_config *c, uint32_t least_slots, uint32_t least_rows,
                          uint64_t cap, struct wh_cuda_plan *ret, struct num_err *err) {
    struct wh_cuda_plan plan;
    int32_t status = check_sizes(c, err);
    if (status)
        return status;
    place_all(c, &plan);
    while (cap && plan.bytes > cap && shrink(c, least_slots, least_rows))
        place_all(c, &plan);
    if (cap && plan.bytes > cap)
        return num_fail(err, SLUICE_RESOURCE,
                        "the model needs %.2f GiB of device memory (%zu bytes), of which %.2f GiB "
                        "are weights, and %.2f GiB may be used; allow more (resources: gpu_memory) "
                        "or take a smaller model",
                        (double)plan.bytes / (1 << 30), plan.bytes,
                        (double)plan.encoded / (1 << 30), (double)cap / (1 << 30));
    *ret = plan;
    return SLUICE_OK;
}
