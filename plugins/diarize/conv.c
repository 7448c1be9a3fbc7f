/* See conv.h. Blocks of outputs stay in the first-level cache while the lines add up. */
#include "diarize/conv.h"

#include <stdlib.h>
#include <string.h>

static size_t element_bytes(enum num_compute type) {
    return type == NUM_COMPUTE_F32 ? 4 : 2;
}

/* Line `line` of the kernel as rows (n_out, width, n_in). */
static void gather(const struct dz_conv *c, const float *weight, size_t line, float *ret) {
    for (size_t o = 0; o < c->n_out; o++)
        for (size_t w = 0; w < c->width; w++)
            for (size_t i = 0; i < c->n_in; i++)
                *ret++ = weight[((o * c->n_in + i) * c->n_lines + line) * c->width + w];
}

int32_t dz_conv_init(struct dz_conv *ret, enum num_compute type, size_t n_out, size_t n_in,
                     size_t n_lines, size_t width, size_t stride, const float *weight,
                     const float *bias, struct num_arena *arena, struct num_err *err) {
    struct dz_conv c = {.n_lines = n_lines,
                        .width = width,
                        .n_in = n_in,
                        .n_out = n_out,
                        .stride = stride,
                        .n_padded = NUM_PANELS(n_out) * NUM_PANEL};
    size_t k = width * n_in;
    float *rows = malloc(n_out * k * sizeof *rows);
    int32_t status =
        rows ? num_arena_take(arena, c.n_padded * sizeof *c.bias, "a convolution", &c.bias, err)
             : num_fail_memory(err, "a convolution", n_out * k * sizeof *rows);
    for (size_t i = 0; status == SLUICE_OK && i < n_lines; i++) {
        gather(&c, weight, i, rows);
        status = num_linear_init(&c.lines[i], type, n_out, k, rows, NULL, arena, err);
    }
    free(rows);
    if (status != SLUICE_OK)
        return status;
    if (bias)
        memcpy(c.bias, bias, n_out * sizeof *bias);
    *ret = c;
    return SLUICE_OK;
}

static void block(const struct dz_conv *c, const struct num_kernels *kernels,
                  const void *const *lines, size_t first_panel, size_t n_panels, size_t first,
                  size_t n, float *ret) {
    size_t row_bytes = c->stride * c->n_in * element_bytes(c->lines[0].type);
    bool accumulate = false;
    for (size_t i = 0; i < c->n_lines; i++) {
        const struct num_linear *l = &c->lines[i];
        if (!lines[i])
            continue;
        struct num_product p = {
            .type = l->type,
            .x = (const char *)lines[i] + first * row_bytes,
            .ldx = row_bytes,
            .n_words = l->n_words,
            .w = l->panels + first_panel * l->n_words * NUM_PANEL,
            .panel_words = l->n_words * NUM_PANEL,
            .n_panels = n_panels,
        };
        kernels->block(&p, n, accumulate, ret + first * c->n_padded + first_panel * NUM_PANEL,
                       c->n_padded);
        accumulate = true;
    }
}

void dz_conv_run(const struct dz_conv *conv, const struct num_kernels *kernels,
                 const void *const *lines, size_t n, float *ret) {
    size_t n_panels = conv->n_padded / NUM_PANEL;
    size_t group = kernels->block_panels[conv->lines[0].type];
    for (size_t p = 0; p < n_panels; p += group)
        for (size_t r = 0; r < n; r += kernels->block_rows) {
            size_t rows = n - r < kernels->block_rows ? n - r : kernels->block_rows;
            block(conv, kernels, lines, p, n_panels - p < group ? n_panels - p : group, r, rows,
                  ret);
        }
}
