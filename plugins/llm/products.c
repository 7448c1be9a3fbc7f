/*
 * Products of layers that share their inputs, as one loop of the pool: queries, keys and values
 * have layers of different types and sizes, and waiting three times would cost more than some of
 * them.
 *
 * Blocks meet a prompt as bfloat16: a thread unpacks 32 outputs of all k into memory of its own and
 * multiplies them with all rows at once.
 */
#include <string.h>

#include "llm/cpu.h"

#define BYTES_WORTH_A_TASK (48 << 10) /* of weights, for one row: some microseconds */
#define ROWS_WORTH_A_TASK  16         /* of inputs to convert */

/* What a layer's inputs become; two layers of the same kind share them. */
struct kind {
    bool stored;
    enum num_weight_type blocks; /* stored: inputs for blocks of that type */
    enum num_compute type;       /* else */
};

static size_t inputs_of(const struct lm_linear *l) {
    return l->stored.k ? l->stored.k : l->packed.k;
}

static size_t outputs_of(const struct lm_linear *l) {
    return l->stored.k ? l->stored.n_out : l->packed.n_out;
}

static struct kind kind_of(const struct lm_linear *l, bool prompt) {
    if (!l->stored.k)
        return (struct kind){.type = l->packed.type};
    if (prompt)
        return (struct kind){.type = NUM_COMPUTE_BF16};
    return (struct kind){.stored = true, .blocks = l->stored.type};
}

static bool same_kind(struct kind a, struct kind b) {
    return a.stored == b.stored && (a.stored ? a.blocks == b.blocks : a.type == b.type);
}

static size_t row_bytes(struct kind kind, size_t k) {
    size_t bytes = kind.stored ? num_quant_row_bytes(k) : num_rows_bytes(kind.type, k);
    return (bytes + 63) & ~(size_t)63;
}

size_t lm_input_bytes(size_t k) {
    size_t stored = num_quant_row_bytes(lm_padded(k)), packed = num_rows_bytes(NUM_COMPUTE_BF16, k);
    size_t bytes = num_rows_bytes(NUM_COMPUTE_INT8, k);
    bytes = packed > bytes ? packed : bytes;
    return ((stored > bytes ? stored : bytes) + 63) & ~(size_t)63;
}

/* ---- Inputs --------------------------------------------------------------------------------- */

struct inputs {
    const struct lm_model *model;
    struct kind kind;
    const float *x;
    size_t ldx, k, n, n_tasks;
    char *to;
    size_t ld_to;
    float *scales;
};

static void convert_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct inputs *in = ctx;
    (void)thread;
    for (size_t r = in->n * index / in->n_tasks; r < in->n * (index + 1) / in->n_tasks; r++) {
        const float *x = in->x + r * in->ldx;
        char *to = in->to + r * in->ld_to;
        if (in->kind.stored)
            in->model->quant->convert(in->kind.blocks, x, in->k, to);
        else
            num_row_convert(in->model->kernels, in->kind.type, x, in->k, to, &in->scales[r]);
    }
}

/* The rows as inputs of that kind; floats stay where they are. */
static struct num_rows convert(const struct lm_products *p, struct kind kind, size_t slot,
                               const float *x, size_t ldx, size_t k, size_t n) {
    struct inputs in = {.model = p->model, .kind = kind, .x = x, .ldx = ldx, .k = k, .n = n};
    if (!kind.stored && kind.type == NUM_COMPUTE_F32)
        return (struct num_rows){x, 4 * ldx, NULL};
    in.to = p->inputs[slot];
    in.ld_to = row_bytes(kind, k);
    in.scales = p->scales[slot];
    in.n_tasks = (n + ROWS_WORTH_A_TASK - 1) / ROWS_WORTH_A_TASK;
    num_pool_run(p->model->pool, (uint32_t)in.n_tasks, convert_task, &in);
    return (struct num_rows){in.to, in.ld_to, in.scales};
}

/* ---- Products ------------------------------------------------------------------------------- */

struct run {
    const struct lm_products *p;
    const struct lm_job *jobs;
    struct num_rows rows[LM_MAX_JOBS];
    size_t n_jobs, n, n_panels, n_tasks;
    bool prompt;
};

/* One panel of blocks as bfloat16, times all rows. */
static void unpacked_panel(const struct run *r, const struct lm_job *job,
                           const struct num_rows *rows, size_t panel, char *scratch) {
    const struct num_stored *s = &job->layer->stored;
    size_t k = s->k;
    uint32_t *words = (uint32_t *)scratch;
    num_stored_unpack(s, r->p->model->kernels, panel, words);
    struct num_linear one = {.type = NUM_COMPUTE_BF16,
                             .n_out = NUM_PANEL,
                             .k = k,
                             .n_words = num_words(NUM_COMPUTE_BF16, k),
                             .panels = words,
                             .bias = s->bias + panel * NUM_PANEL};
    struct num_finish f = {.form = job->form, .y = job->y + panel * NUM_PANEL, .ldy = job->ldy};
    num_linear_rows(&one, r->p->model->kernels, 0, 1, rows, 0, r->n, &f);
}

/* Panels [first, end) of one layer. */
static void job_panels(const struct run *r, size_t job, size_t first, size_t end, char *scratch) {
    const struct lm_job *j = &r->jobs[job];
    const struct lm_linear *l = j->layer;
    const struct num_rows *rows = &r->rows[job];
    struct num_finish f = {.form = j->form, .y = j->y, .ldy = j->ldy};
    if (!l->stored.k) {
        num_linear_rows(&l->packed, r->p->model->kernels, first, end - first, rows, 0, r->n, &f);
    } else if (r->prompt) {
        for (size_t p = first; p < end; p++)
            unpacked_panel(r, j, rows, p, scratch);
    } else {
        size_t last = end * NUM_PANEL < l->stored.n_out ? end * NUM_PANEL : l->stored.n_out;
        num_stored_rows(&l->stored, r->p->model->kernels, first * NUM_PANEL,
                        last - first * NUM_PANEL, rows->x, rows->ldx, r->n, &f);
    }
}

static void run_task(void *ctx, uint32_t index, uint32_t thread) {
    const struct run *r = ctx;
    size_t first = r->n_panels * index / r->n_tasks, end = r->n_panels * (index + 1) / r->n_tasks;
    char *scratch = r->p->panels + thread * r->p->panel_bytes;
    for (size_t job = 0, base = 0; job < r->n_jobs; job++) {
        size_t n = NUM_PANELS(outputs_of(r->jobs[job].layer));
        size_t from = first > base ? first - base : 0, to = end > base ? end - base : 0;
        to = to < n ? to : n;
        if (from < to)
            job_panels(r, job, from, to, scratch);
        base += n;
    }
}

static size_t weight_bytes(const struct lm_linear *l) {
    if (l->stored.k)
        return l->stored.n_out * l->stored.row_bytes;
    return l->packed.n_out * l->packed.n_words * 4;
}

void lm_products_run(const struct lm_products *p, const struct lm_job *jobs, size_t n_jobs,
                     const float *x, size_t ldx, size_t n, bool prompt) {
    struct run run = {.p = p, .jobs = jobs, .n_jobs = n_jobs, .n = n, .prompt = prompt};
    size_t bytes = 0, limit = 4 * (size_t)num_pool_threads(p->model->pool);
    struct kind kinds[LM_MAX_JOBS];
    for (size_t i = 0; i < n_jobs; i++) {
        size_t same = 0;
        kinds[i] = kind_of(jobs[i].layer, prompt);
        while (!same_kind(kinds[same], kinds[i]))
            same++;
        run.rows[i] = same < i ? run.rows[same]
                               : convert(p, kinds[i], i, x, ldx, inputs_of(jobs[i].layer), n);
        run.n_panels += NUM_PANELS(outputs_of(jobs[i].layer));
        bytes += weight_bytes(jobs[i].layer);
    }
    run.n_tasks = bytes * (1 + n / 8) / BYTES_WORTH_A_TASK;
    run.n_tasks = run.n_tasks > limit ? limit : run.n_tasks;
    run.n_tasks = run.n_tasks > run.n_panels ? run.n_panels : run.n_tasks < 1 ? 1 : run.n_tasks;
    num_pool_run(p->model->pool, (uint32_t)run.n_tasks, run_task, &run);
}
