/*
 * The pass of some tokens through all layers: see cpu.h. The residual stream, norms, positions and
 * softmax are float in every mode. Nothing is allocated by a pass.
 */
#include "llm/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pass {
    struct lm_cpu *cpu;
    const struct lm_item *items;
    size_t n;
    bool prompt;
};

/* ---- Memory --------------------------------------------------------------------------------- */

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static enum num_cache_type cache_type(enum lm_kv_type kv) {
    return kv == LM_KV_F32 ? NUM_CACHE_F32 : kv == LM_KV_F16 ? NUM_CACHE_F16 : NUM_CACHE_Q8;
}

uint64_t lm_cpu_page_bytes(const struct lm_model *model, enum lm_kv_type kv) {
    const struct lm_config *c = &model->config;
    return (uint64_t)num_cache_bytes(cache_type(kv), c->head_dim) * c->n_kv_heads * c->n_layers;
}

/* Gives every buffer its place from `at` on (NULL: only counts) and returns the bytes. */
static size_t buffers_place(struct lm_cpu *cpu, uint32_t n_requests, char *at) {
    const struct lm_model *m = cpu->model;
    const struct lm_config *c = &m->config;
    size_t threads = num_pool_threads(m->pool), half = c->head_dim / 2, used = 0;
    size_t q_width = (size_t)c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    size_t widest = max_size(max_size(c->n_state, q_width), c->n_ffn);
    struct lm_products *p = &cpu->products;
    cpu->ld = lm_padded(c->n_state);
    cpu->ld_q = lm_padded(q_width);
    cpu->ld_kv = lm_padded(kv_width);
    cpu->ld_ffn = lm_padded(c->n_ffn);
    cpu->ld_logits = lm_padded(c->n_vocab);
    p->panel_bytes = num_rows_bytes(NUM_COMPUTE_BF16, widest) * NUM_PANEL;
    struct {
        void *ret;
        size_t bytes;
    } all[] = {
        {&cpu->x, LM_CHUNK * cpu->ld * 4},
        {&cpu->norm, LM_CHUNK * cpu->ld * 4},
        {&cpu->q, LM_CHUNK * cpu->ld_q * 4},
        {&cpu->k, LM_CHUNK * cpu->ld_kv * 4},
        {&cpu->v, LM_CHUNK * cpu->ld_kv * 4},
        {&cpu->mixed, LM_CHUNK * cpu->ld_q * 4},
        {&cpu->gate, LM_CHUNK * cpu->ld_ffn * 4},
        {&cpu->up, LM_CHUNK * cpu->ld_ffn * 4},
        {&cpu->cosines, LM_CHUNK * half * 4},
        {&cpu->sines, LM_CHUNK * half * 4},
        {&cpu->logits, n_requests * cpu->ld_logits * 4},
        {&cpu->frequencies, half * 4},
        {&cpu->scratch, threads * lm_attend_bytes(m)},
        {&cpu->prompt_work, lm_attend_prompt_bytes(m, cpu->context)},
        {&p->panels, threads * p->panel_bytes},
        {&p->inputs[0], LM_CHUNK * lm_input_bytes(widest)},
        {&p->inputs[1], LM_CHUNK * lm_input_bytes(c->n_state)},
        {&p->inputs[2], LM_CHUNK * lm_input_bytes(c->n_state)},
        {&p->scales[0], LM_CHUNK * 4},
        {&p->scales[1], LM_CHUNK * 4},
        {&p->scales[2], LM_CHUNK * 4},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char *place = at ? at + used : NULL;
        memcpy(all[i].ret, &place, sizeof place);
        used += (all[i].bytes + 63) / 64 * 64;
    }
    return used;
}

uint64_t lm_cpu_work_bytes(const struct lm_model *model, uint32_t n_requests, uint32_t context) {
    struct lm_cpu cpu = {.model = model, .context = context};
    return buffers_place(&cpu, n_requests, NULL);
}

static void set_frequencies(struct lm_cpu *cpu, uint32_t context) {
    const struct lm_model *m = cpu->model;
    lm_rope_frequencies(&m->config, context, cpu->frequencies, &cpu->rope_scale);
    for (size_t i = 0; m->rope_factors && i < m->config.head_dim / 2; i++)
        cpu->frequencies[i] /= m->rope_factors[i];
}

int32_t lm_cpu_create(const struct lm_model *model, uint32_t n_requests, uint32_t n_pages,
                      uint32_t context, enum lm_kv_type kv, struct lm_cpu **ret,
                      struct num_err *err) {
    char *work;
    struct lm_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return num_fail_memory(err, "an engine", sizeof *cpu);
    cpu->model = model;
    cpu->products.model = model;
    cpu->context = context;
    cpu->kv_type = cache_type(kv);
    cpu->head_bytes = num_cache_bytes(cpu->kv_type, model->config.head_dim);
    cpu->layer_bytes = cpu->head_bytes * model->config.n_kv_heads;
    cpu->page_bytes = cpu->layer_bytes * model->config.n_layers;
    cpu->page_arena.sparse = true;
    int32_t status = num_arena_take(&cpu->page_arena, n_pages * cpu->page_bytes, "keys and values",
                                    &cpu->pages, err);
    if (!status)
        status = num_arena_take(&cpu->arena, buffers_place(cpu, n_requests, NULL),
                                "buffers of the model", &work, err);
    if (status) {
        lm_cpu_destroy(cpu);
        return status;
    }
    buffers_place(cpu, n_requests, work);
    set_frequencies(cpu, context);
    *ret = cpu;
    return SLUICE_OK;
}

void lm_cpu_destroy(struct lm_cpu *cpu) {
    if (!cpu)
        return;
    num_arena_finish(&cpu->arena);
    num_arena_finish(&cpu->page_arena);
    free(cpu);
}

/* ---- Loops over items ------------------------------------------------------------------------ */

struct rows {
    const struct pass *pass;
    const struct lm_layer *layer;
    void (*run)(const struct rows *rows, size_t item);
    const float *gamma;
    size_t n_tasks;
};

#define ITEMS_A_TASK 16

static void rows_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct rows *r = ctx;
    (void)thread;
    size_t n = r->pass->n;
    for (size_t i = n * index / r->n_tasks; i < n * (index + 1) / r->n_tasks; i++)
        r->run(r, i);
}

/* Runs `run` for every item, on the pool where there are many. */
static void for_items(const struct pass *p, const struct lm_layer *layer, const float *gamma,
                      void (*run)(const struct rows *rows, size_t item)) {
    struct rows rows = {p, layer, run, gamma, (p->n + ITEMS_A_TASK - 1) / ITEMS_A_TASK};
    num_pool_run(p->cpu->model->pool, (uint32_t)rows.n_tasks, rows_task, &rows);
}

/* The token's row of the embedding, and the turns of its position. */
static void embed(const struct rows *r, size_t i) {
    const struct lm_cpu *cpu = r->pass->cpu;
    const struct lm_item *item = &r->pass->items[i];
    size_t half = cpu->model->config.head_dim / 2;
    num_weights_to_f32(cpu->model->embedding, (uint64_t)item->token, 1, cpu->x + i * cpu->ld);
    for (size_t e = 0; e < half; e++) {
        float angle = (float)item->position * cpu->frequencies[e];
        cpu->cosines[i * half + e] = (float)cos((double)angle) * cpu->rope_scale;
        cpu->sines[i * half + e] = (float)sin((double)angle) * cpu->rope_scale;
    }
}

static void norm(const struct rows *r, size_t i) {
    const struct lm_cpu *cpu = r->pass->cpu;
    const struct lm_config *c = &cpu->model->config;
    cpu->model->kernels->rms_norm(cpu->x + i * cpu->ld, c->n_state, r->gamma, (float)c->norm_eps,
                                  cpu->norm + i * cpu->ld);
}

static void gate(const struct rows *r, size_t i) {
    const struct lm_cpu *cpu = r->pass->cpu;
    float *x = cpu->gate + i * cpu->ld_ffn;
    cpu->model->kernels->swiglu(x, cpu->up + i * cpu->ld_ffn, cpu->model->config.n_ffn, x);
}

/* Turns the pairs (e, e + d / 2) of one head. */
static void turn(float *x, size_t half, const float *restrict cosines,
                 const float *restrict sines) {
    for (size_t e = 0; e < half; e++) {
        float a = x[e], b = x[e + half];
        x[e] = a * cosines[e] - b * sines[e];
        x[e + half] = b * cosines[e] + a * sines[e];
    }
}

/* Norms (where the model has them) and turns n heads. */
static void heads(const struct lm_cpu *cpu, size_t i, float *x, size_t n, const float *gamma) {
    const struct lm_config *c = &cpu->model->config;
    size_t half = c->head_dim / 2;
    for (size_t h = 0; h < n; h++, x += c->head_dim) {
        if (gamma)
            cpu->model->kernels->rms_norm(x, c->head_dim, gamma, (float)c->norm_eps, x);
        turn(x, half, cpu->cosines + i * half, cpu->sines + i * half);
    }
}

static void place_heads(const struct rows *r, size_t i) {
    const struct lm_cpu *cpu = r->pass->cpu;
    const struct lm_config *c = &cpu->model->config;
    heads(cpu, i, cpu->q + i * cpu->ld_q, c->n_heads, r->layer->q_norm);
    heads(cpu, i, cpu->k + i * cpu->ld_kv, c->n_kv_heads, r->layer->k_norm);
}

/* ---- Layers --------------------------------------------------------------------------------- */

static void run_layer(const struct pass *p, size_t index) {
    struct lm_cpu *cpu = p->cpu;
    const struct lm_config *c = &cpu->model->config;
    const struct lm_layer *w = &cpu->model->layers[index];
    const struct lm_products *products = &cpu->products;
    struct lm_job qkv[] = {{&w->q, NUM_FORM_F32, cpu->q, cpu->ld_q},
                           {&w->k, NUM_FORM_F32, cpu->k, cpu->ld_kv},
                           {&w->v, NUM_FORM_F32, cpu->v, cpu->ld_kv}};
    struct lm_job out = {&w->out, NUM_FORM_ADD_F32, cpu->x, cpu->ld};
    struct lm_job wide[] = {{&w->gate, NUM_FORM_F32, cpu->gate, cpu->ld_ffn},
                            {&w->up, NUM_FORM_F32, cpu->up, cpu->ld_ffn}};
    struct lm_job down = {&w->down, NUM_FORM_ADD_F32, cpu->x, cpu->ld};
    struct lm_attention attention = {
        .cpu = cpu, .items = p->items, .n = p->n, .layer = index, .prompt = p->prompt};
    attention.window = index >= c->window_first_layer ? c->window : 0;

    for_items(p, w, w->attn_norm, norm);
    lm_products_run(products, qkv, 3, cpu->norm, cpu->ld, p->n, p->prompt);
    for_items(p, w, NULL, place_heads);
    lm_attend(&attention);
    lm_products_run(products, &out, 1, cpu->mixed, cpu->ld_q, p->n, p->prompt);

    for_items(p, w, w->mlp_norm, norm);
    lm_products_run(products, wide, 2, cpu->norm, cpu->ld, p->n, p->prompt);
    for_items(p, w, NULL, gate);
    lm_products_run(products, &down, 1, cpu->gate, cpu->ld_ffn, p->n, p->prompt);
}

/* Logits of n items from `first` on. */
static void run_logits(const struct pass *p, size_t first, size_t n) {
    struct lm_cpu *cpu = p->cpu;
    const struct lm_model *m = cpu->model;
    struct lm_job job = {&m->vocabulary, NUM_FORM_F32, cpu->logits, cpu->ld_logits};
    for (size_t i = 0; i < n; i++)
        m->kernels->rms_norm(cpu->x + (first + i) * cpu->ld, m->config.n_state, m->final_norm,
                             (float)m->config.norm_eps, cpu->norm + i * cpu->ld);
    lm_products_run(&cpu->products, &job, 1, cpu->norm, cpu->ld, n, false);
}

bool lm_cpu_prompt(struct lm_cpu *cpu, const struct lm_item *items, size_t n, bool logits,
                   bool (*stop)(void *ctx), void *ctx) {
    struct pass p = {cpu, items, n, true};
    for_items(&p, NULL, NULL, embed);
    for (size_t i = 0; i < cpu->model->config.n_layers; i++) {
        if (stop && stop(ctx))
            return false;
        run_layer(&p, i);
    }
    if (logits)
        run_logits(&p, n - 1, 1);
    return true;
}

void lm_cpu_tokens(struct lm_cpu *cpu, const struct lm_item *items, size_t n) {
    struct pass p = {cpu, items, n, false};
    for_items(&p, NULL, NULL, embed);
    for (size_t i = 0; i < cpu->model->config.n_layers; i++)
        run_layer(&p, i);
    run_logits(&p, 0, n);
}
