/*
 * The decoder on the CPU. Prefill and step are one pass over a list of items, each a token at a
 * position of a row: all items go through a layer together, their keys and values are appended
 * first, and each then attends to the positions up to its own. Items that read the same keys and
 * values (the tokens of a prompt, beams of one window) attend together. Nothing is allocated, and
 * what an item yields does not depend on which others share the pass.
 */
#include "num/dtw.h"
#include "whisper/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ITEMS  128 /* of one pass; longer prompts take several */
#define MAX_SHARED 16  /* items that read the same keys and values together */

struct item {
    uint32_t row, position;
    int32_t token;
};

struct pass {
    struct wh_cpu *cpu;
    const struct num_kernels *kernels;
    const struct item *items;
    size_t n;
    const struct wh_alignment *capture;
    size_t layer;
    const struct wh_decoder_layer *weights;
    /* (MAX_ITEMS, ...) each, rows of whole panels: W, 3 D, F. Attention's output takes the place of
     * its normed input, and the MLP's hidden layer that of queries, keys and values. */
    float *x, *norm, *mixed, *qkv, *hidden;
    size_t ld, ld_qkv, ld_hidden;
    char *input;   /* (MAX_ITEMS, ...): what goes into a layer, in its type */
    float *scales; /* (MAX_ITEMS) */
    char *scratch; /* of each thread: scratch_bytes, for attention */
    size_t scratch_bytes;
    bool cross;
    size_t n_groups;
    uint16_t group[MAX_ITEMS + 1]; /* first item of each group that attends together */
};

static size_t padded(size_t n) {
    return NUM_PANELS(n) * NUM_PANEL;
}

static size_t lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Scores, their copy in kv's type, queries and outputs of one group. */
static size_t scratch_bytes(const struct wh_cpu *cpu) {
    const struct num_kv *kv = &cpu->self_kv.head;
    size_t len = max_size(cpu->cross_kv.head.len, kv->len);
    return lines(MAX_SHARED * 4 * (2 * len + kv->d_words + padded(kv->d)));
}

/* Of k values as inputs of a layer, packed or stored, up to whole lines; floats stay where they
 * are. */
static size_t input_bytes(const struct wh_cpu *cpu, size_t k) {
    if (cpu->compute == NUM_COMPUTE_F32 && !cpu->stored)
        return 0;
    return lines(max_size(num_rows_bytes(cpu->compute, k), num_quant_row_bytes(padded(k))));
}

/* Gives every buffer its place from `at` on (NULL: only counts) and returns the bytes. */
static size_t buffers_place(struct pass *p, const struct wh_cpu *cpu, char *at) {
    size_t D = cpu->dims.n_state, F = cpu->dims.n_text_ffn;
    p->ld = padded(D);
    p->ld_qkv = padded(3 * D);
    p->ld_hidden = padded(F);
    p->scratch_bytes = scratch_bytes(cpu);
    size_t input = input_bytes(cpu, max_size(D, F));
    size_t sizes[] = {MAX_ITEMS * p->ld * 4,
                      MAX_ITEMS * p->ld * 4,
                      MAX_ITEMS * max_size(p->ld_qkv, p->ld_hidden) * 4,
                      MAX_ITEMS * input,
                      MAX_ITEMS * sizeof(float),
                      cpu->limits.n_threads * p->scratch_bytes};
    char *places[6];
    size_t used = 0;
    for (size_t i = 0; i < 6; i++) {
        places[i] = at ? at + used : NULL;
        used += lines(sizes[i]);
    }
    p->x = (float *)places[0];
    p->norm = p->mixed = (float *)places[1];
    p->qkv = p->hidden = (float *)places[2];
    p->input = places[3];
    p->scales = (float *)places[4];
    p->scratch = places[5];
    return used;
}

size_t wh_decoder_work_bytes(const struct wh_cpu *cpu) {
    struct pass p;
    return buffers_place(&p, cpu, NULL);
}

static void pass_init(struct pass *p, struct wh_cpu *cpu, const struct item *items, size_t n,
                      const struct wh_alignment *capture) {
    *p = (struct pass){
        .cpu = cpu, .kernels = cpu->kernels, .items = items, .n = n, .capture = capture};
    buffers_place(p, cpu, cpu->work);
}

static void embed(const struct pass *p) {
    const struct wh_linear *table = &p->cpu->vocabulary;
    size_t D = p->cpu->dims.n_state;
    for (size_t i = 0; i < p->n; i++) {
        float *x = p->x + i * p->ld;
        if (table->stored.k)
            num_stored_row(&table->stored, (size_t)p->items[i].token, x);
        else
            num_linear_row(&table->packed, (size_t)p->items[i].token, x);
        p->kernels->add(x, p->cpu->text_positions + p->items[i].position * D, D);
    }
}

/* ---- Attention ------------------------------------------------------------------------------ */

/* Puts the keys and values of all items into their rows. */
static void append_kv(const struct pass *p) {
    const struct wh_kv *kv = &p->cpu->self_kv;
    size_t D = p->cpu->dims.n_state;
    for (size_t i = 0; i < p->n; i++)
        for (size_t h = 0; h < p->cpu->dims.n_text_heads; h++) {
            size_t row = p->items[i].row, t = p->items[i].position;
            const float *k = p->qkv + i * p->ld_qkv + D + h * kv->head.d, *v = k + D;
            num_kv_set(&kv->head, wh_kv_head(kv, row, p->layer, h), t, k, v);
        }
}

/* Copies the weights of an alignment head out. */
static void capture_weights(const struct pass *p, size_t item, size_t head, const float *weights) {
    const struct wh_dims *s = &p->cpu->dims;
    for (size_t a = 0; a < s->n_alignment_heads; a++)
        if (s->alignment_heads[a].layer == p->layer && s->alignment_heads[a].head == head)
            memcpy(p->capture->ret_weights +
                       (a * p->capture->n_tokens + p->items[item].position) * s->n_audio_ctx,
                   weights, s->n_audio_ctx * sizeof *weights);
}

/* Items [first, first + n) that share keys and values, and one head. */
struct attention {
    size_t first, n, head, len; /* len: positions that the longest item sees */
    size_t ld_scores, ld_query; /* words */
    const struct num_kv *kv;
    const uint32_t *keys, *values;
    float *scores;     /* (n, ld_scores) */
    float *out;        /* (n, d) in whole panels */
    uint32_t *query;   /* (n, ld_query) in kv's type */
    uint32_t *weights; /* (n, ld_scores) in kv's type; the scores themselves where it is float */
};

static size_t visible(const struct pass *p, size_t item) {
    return p->cross ? p->cpu->dims.n_audio_ctx : p->items[item].position + 1;
}

static void attention_init(struct attention *a, const struct pass *p, uint32_t index,
                           uint32_t thread) {
    struct wh_cpu *cpu = p->cpu;
    size_t H = cpu->dims.n_text_heads, group = index / H;
    *a = (struct attention){.first = p->group[group], .head = index % H};
    a->n = p->group[group + 1] - a->first;
    for (size_t i = 0; i < a->n; i++)
        a->len = max_size(a->len, visible(p, a->first + i));
    uint32_t row = p->items[a->first].row;
    const struct wh_kv *kv = p->cross ? &cpu->cross_kv : &cpu->self_kv;
    row = p->cross ? cpu->row_slot[row] : row;
    a->kv = &kv->head;
    a->keys = wh_kv_head(kv, row, p->layer, a->head);
    a->values = a->keys + a->kv->key_words;
    a->ld_scores = a->kv->len;
    a->ld_query = a->kv->d_words;
    a->scores = (float *)(p->scratch + thread * p->scratch_bytes);
    a->weights = (uint32_t *)(a->scores + MAX_SHARED * a->ld_scores);
    a->query = a->weights + MAX_SHARED * a->ld_scores;
    a->out = (float *)(a->query + MAX_SHARED * a->ld_query);
}

/* Queries lie at the front of qkv. */
static void load_queries(const struct attention *a, const struct pass *p) {
    size_t d = a->kv->d;
    float scale = 1 / sqrtf((float)d);
    for (size_t i = 0; i < a->n; i++) {
        float *q = p->qkv + (a->first + i) * p->ld_qkv + a->head * d, ignored;
        p->kernels->scale(q, scale, d);
        num_row_convert(p->kernels, a->kv->type, q, d, a->query + i * a->ld_query, &ignored);
    }
}

static void run_product(const struct pass *p, const struct num_product *product, size_t n_rows,
                        float *sums, size_t ld) {
    if (n_rows <= p->kernels->few_rows)
        p->kernels->few(product, n_rows, sums, ld);
    else
        num_product_run(p->kernels, product, n_rows, false, sums, ld);
}

/* Scores to weights: softmax over what each item sees, zeros up to `len`. */
static void weigh(struct attention *a, const struct pass *p) {
    for (size_t i = 0; i < a->n; i++) {
        float *scores = a->scores + i * a->ld_scores, ignored;
        size_t len = visible(p, a->first + i);
        p->kernels->softmax(scores, len);
        memset(scores + len, 0, (a->len - len) * sizeof *scores);
        if (p->cross && p->capture)
            capture_weights(p, a->first + i, a->head, scores);
        if (a->kv->type != NUM_COMPUTE_F32)
            num_row_convert(p->kernels, a->kv->type, scores, a->len, a->weights + i * a->ld_scores,
                            &ignored);
    }
    if (a->kv->type == NUM_COMPUTE_F32)
        a->weights = (uint32_t *)a->scores;
}

static void attention_task(void *ctx, uint32_t index, uint32_t thread) {
    struct pass *p = ctx;
    struct attention a;
    attention_init(&a, p, index, thread);
    size_t d = a.kv->d;
    struct num_product qk = {.type = a.kv->type,
                             .x = a.query,
                             .ldx = 4 * a.ld_query,
                             .n_words = a.kv->d_words,
                             .w = a.keys,
                             .panel_words = a.kv->d_words * NUM_PANEL,
                             .n_panels = NUM_PANELS(a.len)};
    load_queries(&a, p);
    p->kernels->enter();
    run_product(p, &qk, a.n, a.scores, a.ld_scores);
    weigh(&a, p);
    struct num_product pv = {.type = a.kv->type,
                             .x = a.weights,
                             .ldx = 4 * a.ld_scores,
                             .n_words = num_words(a.kv->type, a.len),
                             .w = a.values,
                             .panel_words = a.kv->len_words * NUM_PANEL,
                             .n_panels = NUM_PANELS(d)};
    run_product(p, &pv, a.n, a.out, padded(d));
    p->kernels->leave();
    for (size_t i = 0; i < a.n; i++)
        memcpy(p->mixed + (a.first + i) * p->ld + a.head * d, a.out + i * padded(d),
               d * sizeof *a.out);
}

/* Groups neighbours that read the same row or window. */
static void group_items(struct pass *p) {
    p->n_groups = 0;
    for (size_t i = 0; i < p->n; i++) {
        size_t first = p->n_groups ? p->group[p->n_groups - 1] : 0;
        uint32_t row = p->items[i].row, other = p->items[first].row;
        bool same = p->cross ? p->cpu->row_slot[row] == p->cpu->row_slot[other] : row == other;
        if (p->n_groups == 0 || !same || i - first == MAX_SHARED)
            p->group[p->n_groups++] = (uint16_t)i;
    }
    p->group[p->n_groups] = (uint16_t)p->n;
}

#define POSITIONS_WORTH_A_TASK 4096 /* over all heads and items: some 30 us of attention */

/* Attention of all items and heads, on the pool where there is enough of it. */
static void attend(struct pass *p, bool cross) {
    p->cross = cross;
    group_items(p);
    uint32_t H = p->cpu->dims.n_text_heads, n_tasks = (uint32_t)p->n_groups * H;
    if (p->n * H * visible(p, p->n - 1) >= POSITIONS_WORTH_A_TASK) {
        num_pool_run(p->cpu->pool, n_tasks, attention_task, p);
        return;
    }
    for (uint32_t i = 0; i < n_tasks; i++)
        attention_task(p, i, 0);
}

/* ---- Layers --------------------------------------------------------------------------------- */

/* n rows of x as inputs of a layer. */
static struct num_rows input_rows(const struct pass *p, const struct wh_linear *layer,
                                  const float *x, size_t ldx, size_t n) {
    const struct num_linear *packed = &layer->packed;
    const struct num_stored *stored = &layer->stored;
    size_t bytes =
        stored->k ? num_quant_row_bytes(stored->k) : num_rows_bytes(packed->type, packed->k);
    if (!stored->k && packed->type == NUM_COMPUTE_F32)
        return (struct num_rows){x, 4 * ldx, NULL};
    for (size_t i = 0; i < n; i++)
        if (stored->k)
            p->cpu->quant->convert(stored->type, x + i * ldx, stored->k, p->input + i * bytes);
        else
            num_row_convert(p->kernels, packed->type, x + i * ldx, packed->k, p->input + i * bytes,
                            &p->scales[i]);
    return (struct num_rows){p->input, bytes, p->scales};
}

static void run_rows(const struct pass *p, const struct wh_linear *layer,
                     const struct num_rows *rows, size_t n, const struct num_finish *finish) {
    struct num_pool *pool = p->cpu->pool;
    if (layer->stored.k)
        num_stored_run(&layer->stored, p->kernels, pool, rows->x, rows->ldx, n, finish);
    else
        num_linear_run(&layer->packed, p->kernels, pool, rows, n, finish);
}

static void run_linear(const struct pass *p, const struct wh_linear *layer, const float *x,
                       size_t ldx, enum num_form form, float *y, size_t ldy) {
    struct num_rows rows = input_rows(p, layer, x, ldx, p->n);
    struct num_finish finish = {.form = form, .y = y, .ldy = ldy};
    run_rows(p, layer, &rows, p->n, &finish);
}

static void norm_all(const struct pass *p, const struct wh_norm *norm) {
    for (size_t i = 0; i < p->n; i++)
        p->kernels->layer_norm(p->x + i * p->ld, p->cpu->dims.n_state, norm->gamma, norm->beta,
                               p->norm + i * p->ld);
}

static void run_layer(struct pass *p) {
    const struct wh_decoder_layer *w = p->weights;
    norm_all(p, &w->attn_norm);
    run_linear(p, &w->qkv, p->norm, p->ld, NUM_FORM_F32, p->qkv, p->ld_qkv);
    append_kv(p);
    attend(p, false);
    run_linear(p, &w->out, p->mixed, p->ld, NUM_FORM_ADD_F32, p->x, p->ld);

    norm_all(p, &w->cross_norm);
    run_linear(p, &w->cross_q, p->norm, p->ld, NUM_FORM_F32, p->qkv, p->ld_qkv);
    attend(p, true);
    run_linear(p, &w->cross_out, p->mixed, p->ld, NUM_FORM_ADD_F32, p->x, p->ld);

    norm_all(p, &w->mlp_norm);
    run_linear(p, &w->fc1, p->norm, p->ld, NUM_FORM_GELU_F32, p->hidden, p->ld_hidden);
    run_linear(p, &w->fc2, p->hidden, p->ld_hidden, NUM_FORM_ADD_F32, p->x, p->ld);
}

/* Runs the items (at most MAX_ITEMS) through all layers; leaves the normed output in p->norm. */
static void run_pass(struct pass *p) {
    embed(p);
    for (p->layer = 0; p->layer < p->cpu->dims.n_text_layers; p->layer++) {
        p->weights = &p->cpu->decoder[p->layer];
        run_layer(p);
    }
    norm_all(p, &p->cpu->decoder_norm);
}

/* The last outputs of the vocabulary, which do not fill a panel. */
static void last_panel(const struct pass *p, const struct num_rows *x, size_t n,
                       const struct num_finish *finish) {
    const struct wh_linear *table = &p->cpu->vocabulary;
    size_t V = p->cpu->dims.n_vocab, whole = V / NUM_PANEL;
    if (table->stored.k)
        num_stored_rows(&table->stored, p->kernels, whole * NUM_PANEL, V % NUM_PANEL, x->x, x->ldx,
                        n, finish);
    else
        num_linear_rows(&table->packed, p->kernels, whole, 1, x, 0, n, finish);
}

/*
 * Logits of items [first, first + n) of a finished pass, rows V apart, a few at a time. Whole
 * panels go where they belong; the last one, which is wider than what is left of V, takes a detour.
 */
static void logits_of(const struct pass *p, size_t first, size_t n, float *ret) {
    struct wh_cpu *cpu = p->cpu;
    size_t V = cpu->dims.n_vocab, whole = V / NUM_PANEL, rest = V % NUM_PANEL;
    struct wh_linear wide = cpu->vocabulary;
    wide.packed.n_out = wide.stored.n_out = whole * NUM_PANEL;
    for (size_t at = 0; at < n; at += WH_LOGITS_ROWS) {
        size_t rows = n - at < WH_LOGITS_ROWS ? n - at : WH_LOGITS_ROWS;
        struct num_rows x =
            input_rows(p, &cpu->vocabulary, p->norm + (first + at) * p->ld, p->ld, rows);
        struct num_finish f = {.form = NUM_FORM_F32, .y = ret + at * V, .ldy = V};
        run_rows(p, &wide, &x, rows, &f);
        if (rest == 0)
            continue;
        f.y = cpu->logits_work;
        f.ldy = cpu->V32;
        last_panel(p, &x, rows, &f);
        for (size_t r = 0; r < rows; r++)
            memcpy(ret + (at + r) * V + whole * NUM_PANEL,
                   cpu->logits_work + r * cpu->V32 + whole * NUM_PANEL, rest * sizeof *ret);
    }
}

static int32_t check_token(const struct wh_cpu *cpu, uint32_t row, uint32_t position, int32_t token,
                           struct num_err *err) {
    if (row >= cpu->limits.n_rows || token < 0 || (uint32_t)token >= cpu->dims.n_vocab)
        return num_fail(err, SLUICE_INTERNAL, "the decoder was given row %u and token %d", row,
                        token);
    if (position >= cpu->dims.n_text_ctx)
        return num_fail(err, SLUICE_INTERNAL, "row %u holds more than %u tokens", row,
                        cpu->dims.n_text_ctx);
    return SLUICE_OK;
}

/* Probability of `token` among the first n of `logits`; 0 where it is none of them. */
static float prob_of(const struct wh_cpu *cpu, const float *logits, uint32_t n, int32_t token) {
    float max = cpu->kernels->max(logits, n);
    if ((uint32_t)token >= n)
        return 0;
    return expf(logits[token] - max) / cpu->kernels->sum_exp(logits, n, max);
}

/* The wanted probabilities of an alignment whose positions [at, at + n) have just passed. */
static void probs_of(const struct pass *p, uint32_t at, uint32_t n) {
    const struct wh_alignment *a = p->capture;
    struct wh_cpu *cpu = p->cpu;
    for (uint32_t i = 0; i < a->n_probs; i++) {
        uint32_t token = a->first_prob + i, before = token - 1;
        if (before < at || before >= at + n)
            continue;
        struct num_rows x =
            input_rows(p, &cpu->vocabulary, p->norm + (before - at) * p->ld, p->ld, 1);
        struct num_finish f = {.form = NUM_FORM_F32, .y = cpu->logits_work, .ldy = cpu->V32};
        run_rows(p, &cpu->vocabulary, &x, 1, &f);
        a->ret_probs[i] = prob_of(cpu, cpu->logits_work, a->n_text, a->tokens[token]);
    }
}

static int32_t run_row(struct wh_cpu *cpu, uint32_t row, uint32_t slot, const int32_t *tokens,
                       uint32_t n_tokens, uint32_t first_logits, float *ret_logits,
                       const struct wh_alignment *capture, struct num_err *err) {
    struct item items[MAX_ITEMS];
    struct pass p;
    if (slot >= cpu->limits.n_slots)
        return num_fail(err, SLUICE_INTERNAL, "the decoder was given slot %u", slot);
    for (uint32_t i = 0; i < n_tokens; i++) {
        int32_t status = check_token(cpu, row, i, tokens[i], err);
        if (status)
            return status;
    }
    cpu->row_slot[row] = slot;
    for (uint32_t at = 0; at < n_tokens; at += MAX_ITEMS) {
        uint32_t n = n_tokens - at < MAX_ITEMS ? n_tokens - at : MAX_ITEMS;
        for (uint32_t i = 0; i < n; i++)
            items[i] = (struct item){row, at + i, tokens[at + i]};
        pass_init(&p, cpu, items, n, capture);
        run_pass(&p);
        if (capture)
            probs_of(&p, at, n);
        uint32_t skip = first_logits > at ? first_logits - at : 0;
        if (skip < n)
            logits_of(&p, skip, n - skip,
                      ret_logits + (size_t)(at + skip - first_logits) * cpu->dims.n_vocab);
    }
    cpu->row_len[row] = n_tokens;
    return SLUICE_OK;
}

int32_t wh_cpu_prefill(void *self, const struct wh_prompt *prompts, uint32_t n,
                       struct num_err *err) {
    for (uint32_t i = 0; i < n; i++) {
        const struct wh_prompt *q = &prompts[i];
        int32_t status = run_row(self, q->row, q->slot, q->tokens, q->n_tokens, q->first_logits,
                                 q->ret_logits, NULL, err);
        if (status)
            return status;
    }
    return SLUICE_OK;
}

/* Where the tokens begin, from what they looked at, which is overwritten. */
static int32_t find_starts(const struct wh_cpu *cpu, const struct wh_alignment *a, float *weights,
                           struct num_err *err) {
    size_t T = cpu->dims.n_audio_ctx, heads = cpu->dims.n_alignment_heads, rows = a->end - a->first;
    float *fit = malloc(rows * a->n_frames * sizeof *fit);
    if (!fit)
        return num_fail_memory(err, "the alignment of words", rows * a->n_frames * sizeof *fit);
    num_attention_cut(weights, heads * a->n_tokens, T, a->n_frames);
    int32_t status = num_attention_matrix(weights, heads, a->n_tokens, T, a->n_frames, a->first,
                                          a->end, fit, err);
    if (!status)
        status = num_dtw(fit, rows, a->n_frames, a->ret_starts, err);
    free(fit);
    return status;
}

static int32_t align_text(struct wh_cpu *cpu, const struct wh_alignment *a, struct num_err *err) {
    size_t n = (size_t)cpu->dims.n_alignment_heads * a->n_tokens * cpu->dims.n_audio_ctx;
    if (a->n_probs && (a->first_prob == 0 || a->first_prob + a->n_probs > a->n_tokens))
        return num_fail(err, SLUICE_INTERNAL, "probabilities of %u tokens from %u on, of %u",
                        a->n_probs, a->first_prob, a->n_tokens);
    struct wh_alignment own = *a;
    own.ret_weights = malloc((n + 1) * sizeof *own.ret_weights);
    if (!own.ret_weights)
        return num_fail_memory(err, "the alignment of words", n * sizeof *own.ret_weights);
    int32_t status =
        run_row(cpu, a->row, a->slot, a->tokens, a->n_tokens, a->n_tokens, NULL, &own, err);
    if (!status && a->ret_weights)
        memcpy(a->ret_weights, own.ret_weights, n * sizeof *own.ret_weights);
    if (!status && a->ret_starts)
        status = find_starts(cpu, a, own.ret_weights, err);
    free(own.ret_weights);
    return status;
}

int32_t wh_cpu_attention(void *self, const struct wh_alignment *alignments, uint32_t n,
                         struct num_err *err) {
    int32_t status = SLUICE_OK;
    for (uint32_t i = 0; !status && i < n; i++)
        status = align_text(self, &alignments[i], err);
    return status;
}

int32_t wh_cpu_step(void *self, const struct wh_step *steps, uint32_t n, float *ret_logits,
                    struct num_err *err) {
    struct wh_cpu *cpu = self;
    struct item items[MAX_ITEMS];
    struct pass p;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = steps[i].row, position = row < cpu->limits.n_rows ? cpu->row_len[row] : 0;
        int32_t status = check_token(cpu, row, position, steps[i].token, err);
        if (status)
            return status;
    }
    for (uint32_t at = 0; at < n; at += MAX_ITEMS) {
        uint32_t count = n - at < MAX_ITEMS ? n - at : MAX_ITEMS;
        for (uint32_t i = 0; i < count; i++) {
            const struct wh_step *s = &steps[at + i];
            items[i] = (struct item){s->row, cpu->row_len[s->row], s->token};
        }
        pass_init(&p, cpu, items, count, NULL);
        run_pass(&p);
        logits_of(&p, 0, count, ret_logits + (size_t)at * cpu->dims.n_vocab);
        for (uint32_t i = 0; i < count; i++)
            cpu->row_len[items[i].row]++;
    }
    return SLUICE_OK;
}
