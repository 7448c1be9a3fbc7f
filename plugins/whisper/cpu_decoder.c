/*
 * The decoder on the CPU. Prefill and step are one pass over a list of items, each a token at a
 * position of a row: all items go through a layer together, their keys and values are appended
 * first, and each then attends to the positions up to its own. Nothing is allocated; products are
 * panels, so what an item yields does not depend on which others share the pass.
 */
#include "whisper/cpu.h"

#include <math.h>
#include <string.h>

#define MAX_ITEMS 256 /* of one pass; longer prompts take several */

struct item {
    uint32_t row, position;
    int32_t token;
};


struct pass {
    struct wh_cpu *cpu;
    const struct item *items;
    size_t n;
    const struct wh_alignment *capture;
    size_t layer;
    const struct wh_decoder_layer *weights;
    /* (MAX_ITEMS, ...) each; rows padded to whole panels: D32, 3 D32, F32 */
    float *x, *norm, *qkv, *mixed, *hidden;
    size_t ld, ld_qkv, ld_hidden;
    float *scores; /* of each thread: (score_floats) */
    size_t score_floats;
    bool cross;
};

static size_t padded(size_t n) {
    return NUM_PANELS(n) * NUM_PANEL;
}

static size_t score_floats(const struct wh_cpu *cpu) {
    return (cpu->T32 > cpu->C32 ? cpu->T32 : cpu->C32) + cpu->text_d32;
}

size_t wh_decoder_work_floats(const struct wh_cpu *cpu) {
    size_t D = cpu->dims.n_state;
    return MAX_ITEMS * (3 * padded(D) + padded(3 * D) + padded(cpu->dims.n_text_ffn)) +
           cpu->limits.n_threads * score_floats(cpu);
}

static void pass_init(struct pass *p, struct wh_cpu *cpu, const struct item *items, size_t n,
                      const struct wh_alignment *capture) {
    *p = (struct pass){.cpu = cpu, .items = items, .n = n, .capture = capture};
    p->ld = padded(cpu->dims.n_state);
    p->ld_qkv = padded(3 * cpu->dims.n_state);
    p->ld_hidden = padded(cpu->dims.n_text_ffn);
    p->x = cpu->decoder_work;
    p->norm = p->x + MAX_ITEMS * p->ld;
    p->mixed = p->norm + MAX_ITEMS * p->ld;
    p->qkv = p->mixed + MAX_ITEMS * p->ld;
    p->hidden = p->qkv + MAX_ITEMS * p->ld_qkv;
    p->scores = p->hidden + MAX_ITEMS * p->ld_hidden;
    p->score_floats = score_floats(cpu);
}

static void embed(const struct pass *p) {
    size_t D = p->cpu->dims.n_state;
    for (size_t i = 0; i < p->n; i++) {
        float *x = p->x + i * p->ld;
        memcpy(x, p->cpu->embedding + (size_t)p->items[i].token * D, D * sizeof *x);
        p->cpu->kernels->add(x, p->cpu->text_positions + p->items[i].position * D, D);
    }
}

static void norm_all(const struct pass *p, const struct wh_norm *norm) {
    for (size_t i = 0; i < p->n; i++)
        p->cpu->kernels->layer_norm(p->x + i * p->ld, p->cpu->dims.n_state, norm->gamma, norm->beta,
                                    p->norm + i * p->ld);
}

/* Puts the keys and values of all items into their rows. */
static void append_kv(const struct pass *p) {
    struct wh_cpu *cpu = p->cpu;
    size_t D = cpu->dims.n_state, d = cpu->text_d;
    for (size_t i = 0; i < p->n; i++)
        for (size_t h = 0; h < cpu->dims.n_text_heads; h++) {
            size_t row = p->items[i].row, t = p->items[i].position;
            const float *k = p->qkv + i * p->ld_qkv + D + h * d, *v = k + D;
            float *keys = wh_kv_keys(&cpu->self_kv, row, p->layer, h);
            float *values = wh_kv_values(&cpu->self_kv, row, p->layer, h, d);
            for (size_t e = 0; e < d; e++) {
                keys[(t / NUM_PANEL * d + e) * NUM_PANEL + t % NUM_PANEL] = k[e];
                values[(e / NUM_PANEL * cpu->self_kv.len32 + t) * NUM_PANEL + e % NUM_PANEL] = v[e];
            }
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

/* One item and one head, over its own row or its window; its query lies at the front of qkv. */
static void attention_task(void *ctx, uint32_t index, uint32_t thread) {
    struct pass *p = ctx;
    struct wh_cpu *cpu = p->cpu;
    size_t H = cpu->dims.n_text_heads, item = index / H, head = index % H, d = cpu->text_d;
    const struct wh_kv *kv = p->cross ? &cpu->cross_kv : &cpu->self_kv;
    size_t row = p->cross ? cpu->row_slot[p->items[item].row] : p->items[item].row;
    size_t len = p->cross ? cpu->dims.n_audio_ctx : p->items[item].position + 1;
    float *scores = p->scores + thread * p->score_floats,
          *out = scores + p->score_floats - cpu->text_d32;
    float *q = p->qkv + item * p->ld_qkv + head * d;

    float scale = 1 / sqrtf((float)d);
    for (size_t e = 0; e < d; e++)
        q[e] *= scale;
    cpu->kernels->panels(q, d, 1, d, wh_kv_keys(kv, row, p->layer, head), NUM_PANELS(len), NULL, 0,
                         scores, 0);
    cpu->kernels->softmax(scores, len);
    if (p->cross && p->capture)
        capture_weights(p, item, head, scores);
    const float *values = wh_kv_values(kv, row, p->layer, head, d);
    for (size_t e = 0; e < cpu->text_d32; e += NUM_PANEL)
        cpu->kernels->panels(scores, len, 1, len, values + e * kv->len32, 1, NULL, 0, out + e, 0);
    memcpy(p->mixed + item * p->ld + head * d, out, d * sizeof *out);
}

#define POSITIONS_WORTH_A_TASK 4096 /* over all heads and items: some 30 us of attention */

/* Attention of all items and heads, on the pool where there is enough of it. */
static void attend(struct pass *p, bool cross) {
    uint32_t n_tasks = (uint32_t)(p->n * p->cpu->dims.n_text_heads);
    size_t len = cross ? p->cpu->dims.n_audio_ctx : p->items[p->n - 1].position + 1;
    p->cross = cross;
    if (n_tasks * len >= POSITIONS_WORTH_A_TASK) {
        num_pool_run(p->cpu->pool, n_tasks, attention_task, p);
        return;
    }
    for (uint32_t i = 0; i < n_tasks; i++)
        attention_task(p, i, 0);
}

static void run_linear(const struct pass *p, const struct num_linear *linear, const float *x,
                       size_t ldx, bool accumulate, float *y, size_t ldy) {
    num_linear_run(linear, p->cpu->pool, x, ldx, p->n, accumulate, y, ldy);
}

static void run_layer(struct pass *p) {
    const struct wh_decoder_layer *w = p->weights;
    norm_all(p, &w->attn_norm);
    run_linear(p, &w->qkv, p->norm, p->ld, false, p->qkv, p->ld_qkv);
    append_kv(p);
    attend(p, false);
    run_linear(p, &w->out, p->mixed, p->ld, true, p->x, p->ld);

    norm_all(p, &w->cross_norm);
    run_linear(p, &w->cross_q, p->norm, p->ld, false, p->qkv, p->ld_qkv);
    attend(p, true);
    run_linear(p, &w->cross_out, p->mixed, p->ld, true, p->x, p->ld);

    norm_all(p, &w->mlp_norm);
    run_linear(p, &w->fc1, p->norm, p->ld, false, p->hidden, p->ld_hidden);
    for (size_t i = 0; i < p->n; i++)
        p->cpu->kernels->gelu(p->hidden + i * p->ld_hidden, NULL, p->cpu->dims.n_text_ffn);
    run_linear(p, &w->fc2, p->hidden, p->ld_hidden, true, p->x, p->ld);
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

/* Logits of items [first, first + n) of a finished pass, a few at a time: panels make rows wider
 * than V. */
static void logits_of(const struct pass *p, size_t first, size_t n, float *ret) {
    struct wh_cpu *cpu = p->cpu;
    size_t V = cpu->dims.n_vocab;
    for (size_t at = 0; at < n; at += WH_LOGITS_ROWS) {
        size_t rows = n - at < WH_LOGITS_ROWS ? n - at : WH_LOGITS_ROWS;
        num_linear_run(&cpu->logits, cpu->pool, p->norm + (first + at) * p->ld, p->ld, rows, false,
                       cpu->logits_work, cpu->V32);
        for (size_t r = 0; r < rows; r++)
            memcpy(ret + (at + r) * V, cpu->logits_work + r * cpu->V32, V * sizeof *ret);
    }
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
        num_linear_run(&cpu->logits, cpu->pool, p->norm + (before - at) * p->ld, p->ld, 1, false,
                       cpu->logits_work, cpu->V32);
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

int32_t wh_cpu_attention(void *self, const struct wh_alignment *a, struct num_err *err) {
    if (a->n_probs && (a->first_prob == 0 || a->first_prob + a->n_probs > a->n_tokens))
        return num_fail(err, SLUICE_INTERNAL, "probabilities of %u tokens from %u on, of %u",
                        a->n_probs, a->first_prob, a->n_tokens);
    return run_row(self, a->row, a->slot, a->tokens, a->n_tokens, a->n_tokens, NULL, a, err);
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
