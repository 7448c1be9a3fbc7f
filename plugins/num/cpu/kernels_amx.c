/*
 * Products on AMX tiles; the rest as with AVX-512. Compiled with the flags named in CMakeLists.txt.
 *
 * A tile is 16 rows of 64 bytes. Two tiles of x (32 rows) meet two of W (one panel) in four tiles
 * of sums, so four loads feed four products; with the panel in the first cache and x in the second
 * that keeps the tile unit busy. A tile of W is 16 words of 16 outputs: a panel's own layout, rows
 * 128 bytes apart.
 *
 * A tile product of bfloat16 sums the low and the high halves of its 16 words apart, each in order,
 * adds both and then adds that to the sum so far (Intel's manual, TDPBF16PS; numbers too small to
 * be normal are zero). A single row, where reading the weights is all that counts, does the same
 * with vectors: a row's result does not depend on what it shares a product with.
 */
#define NUM_ISA   amx
#define LANES     16
#define ROWS      12
#define VECS      2
#define OWN_BLOCK 1
#include "num/cpu/kernels.inc"

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static void amx_enter(void) {
    struct tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config)); /* the intrinsic names 8 of the 64 bytes */
}

static void amx_leave(void) {
    _tile_release();
}

#define W_STRIDE   (4 * NUM_PANEL) /* bytes */
#define STEP_WORDS 16

/* Lines asked for in a step: a panel of 2 n_words lines comes while 8 x 32 rows pass. */
#define STEP_WISHES 8

/* Sums of 32 (or, `two` being false, 16) rows and one panel: rows of sums ld bytes apart. */
#define AMX_PANEL(name, product)                                                                   \
    INLINE void name(const char *x, size_t ldx, size_t n_words, const uint32_t *w, bool two,       \
                     bool accumulate, struct wish *wish, char *sums, size_t ld) {                  \
        if (accumulate) {                                                                          \
            _tile_loadd(0, sums, ld);                                                              \
            _tile_loadd(1, sums + 64, ld);                                                         \
            if (two) {                                                                             \
                _tile_loadd(2, sums + 16 * ld, ld);                                                \
                _tile_loadd(3, sums + 16 * ld + 64, ld);                                           \
            }                                                                                      \
        } else {                                                                                   \
            _tile_zero(0);                                                                         \
            _tile_zero(1);                                                                         \
            if (two) {                                                                             \
                _tile_zero(2);                                                                     \
                _tile_zero(3);                                                                     \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = 0; i < n_words; i += STEP_WORDS) {                                         \
            for (int j = 0; j < STEP_WISHES; j++)                                                  \
                wish_line(wish);                                                                   \
            _tile_loadd(6, w + i * NUM_PANEL, W_STRIDE);                                           \
            _tile_loadd(4, x + 4 * i, ldx);                                                        \
            _tile_loadd(7, w + i * NUM_PANEL + 16, W_STRIDE);                                      \
            product(0, 4, 6);                                                                      \
            product(1, 4, 7);                                                                      \
            if (two) {                                                                             \
                _tile_loadd(5, x + 16 * ldx + 4 * i, ldx);                                         \
                product(2, 5, 6);                                                                  \
                product(3, 5, 7);                                                                  \
            }                                                                                      \
        }                                                                                          \
        _tile_stored(0, sums, ld);                                                                 \
        _tile_stored(1, sums + 64, ld);                                                            \
        if (two) {                                                                                 \
            _tile_stored(2, sums + 16 * ld, ld);                                                   \
            _tile_stored(3, sums + 16 * ld + 64, ld);                                              \
        }                                                                                          \
    }

AMX_PANEL(panel_bf16, _tile_dpbf16ps)
AMX_PANEL(panel_int8, _tile_dpbssd)

/*
 * Rows of 32 words, as the heads of an attention have: little work for every sum. 16 rows stay in
 * two tiles while the panels pass by, and four tiles of sums take turns, so that storing one
 * overlaps with the products of the next.
 */
#define NARROW_WORDS 32
#define NARROW_TILE(sum, at)                                                                       \
    do {                                                                                           \
        _tile_zero(sum);                                                                           \
        _tile_loadd(6, w + (at), W_STRIDE);                                                        \
        _tile_dpbf16ps(sum, 4, 6);                                                                 \
        _tile_loadd(7, w + STEP_WORDS * NUM_PANEL + (at), W_STRIDE);                               \
        _tile_dpbf16ps(sum, 5, 7);                                                                 \
    } while (0)

static void narrow_rows(const struct num_product *p, size_t n_rows, char *sums, size_t ld) {
    for (size_t r = 0; r < n_rows; r += 16) {
        const char *x = (const char *)p->x + r * p->ldx;
        char *to = sums + 4 * r * ld;
        _tile_loadd(4, x, p->ldx);
        _tile_loadd(5, x + 4 * STEP_WORDS, p->ldx);
        for (size_t panel = 0; panel < p->n_panels; panel += 2) {
            const uint32_t *w = p->w + panel * p->panel_words;
            bool two = panel + 1 < p->n_panels;
            NARROW_TILE(0, 0);
            NARROW_TILE(1, 16);
            if (two) {
                w += p->panel_words;
                NARROW_TILE(2, 0);
                NARROW_TILE(3, 16);
            }
            _tile_stored(0, to, 4 * ld);
            _tile_stored(1, to + 64, 4 * ld);
            if (two) {
                _tile_stored(2, to + 128, 4 * ld);
                _tile_stored(3, to + 192, 4 * ld);
            }
            to += 2 * 4 * NUM_PANEL;
        }
    }
}

INLINE void amx_rows(const struct num_product *p, size_t n_rows, bool accumulate, char *sums,
                     size_t ld, bool bf16) {
    struct wish wish = wish_of(p);
    for (size_t panel = 0; panel < p->n_panels; panel++)
        for (size_t r = 0; r < n_rows; r += 32) {
            const char *x = (const char *)p->x + r * p->ldx;
            const uint32_t *w = p->w + panel * p->panel_words;
            char *to = sums + 4 * (r * ld + panel * NUM_PANEL);
            bool two = n_rows - r > 16;
            if (bf16 && two)
                panel_bf16(x, p->ldx, p->n_words, w, true, accumulate, &wish, to, 4 * ld);
            else if (bf16)
                panel_bf16(x, p->ldx, p->n_words, w, false, accumulate, &wish, to, 4 * ld);
            else if (two)
                panel_int8(x, p->ldx, p->n_words, w, true, accumulate, &wish, to, 4 * ld);
            else
                panel_int8(x, p->ldx, p->n_words, w, false, accumulate, &wish, to, 4 * ld);
        }
}

static void amx_block(const struct num_product *p, size_t n_rows, bool accumulate, void *sums,
                      size_t ld) {
    if (p->type == NUM_COMPUTE_F32) {
        block(p, n_rows, accumulate, sums, ld);
        return;
    }
    __asm__ volatile("" ::: "memory"); /* the tile loads do not say what they read */
    if (p->type == NUM_COMPUTE_BF16 && p->n_words == NARROW_WORDS && !accumulate)
        narrow_rows(p, n_rows, sums, ld);
    else
        amx_rows(p, n_rows, accumulate, sums, ld, p->type == NUM_COMPUTE_BF16);
}

/* One row and n panels (a constant where inlined), rounded as the tiles do it. */
INLINE void row_as_tiles(const struct num_product *p, size_t first, int n, float *sums) {
    enum { N = NUM_PANEL / LANES, MOST = 4 };
    vec acc[MOST][N] = {{{0}}};
    const uint32_t *w = p->w + first * p->panel_words;
    for (size_t step = 0; step < p->n_words; step += STEP_WORDS) {
        vec low[MOST][N] = {{{0}}}, high[MOST][N] = {{{0}}};
        for (size_t i = step; i < step + STEP_WORDS; i++) {
            vec_int a = splat_word((const char *)p->x + 4 * i);
#pragma GCC unroll 4
            for (int q = 0; q < n; q++)
#pragma GCC unroll 2
                for (int v = 0; v < N; v++) {
                    vec_int b = load_int(w + (size_t)q * p->panel_words + i * NUM_PANEL +
                                         (size_t)v * LANES);
                    low[q][v] += low_half(a) * low_half(b);
                    high[q][v] += high_half(a) * high_half(b);
                }
        }
        for (int q = 0; q < n; q++)
            for (int v = 0; v < N; v++)
                acc[q][v] += low[q][v] + high[q][v];
    }
    for (int q = 0; q < n; q++)
        for (int v = 0; v < N; v++)
            store(sums + (first + q) * NUM_PANEL + v * LANES, acc[q][v]);
}

static void amx_few(const struct num_product *p, size_t n_rows, void *sums, size_t ld) {
    if (p->type != NUM_COMPUTE_BF16 || n_rows != 1) {
        few(p, n_rows, sums, ld);
        return;
    }
    size_t q = 0;
    for (; q + 4 <= p->n_panels; q += 4)
        row_as_tiles(p, q, 4, sums);
    for (; q + 2 <= p->n_panels; q += 2)
        row_as_tiles(p, q, 2, sums);
    for (; q < p->n_panels; q++)
        row_as_tiles(p, q, 1, sums);
}

#include "num/cpu/attend_amx.inc"
#include "num/cpu/layer_amx.inc"

#define LAYER       amx_layer
#define FLASH       flash
#define FLASH_BYTES sizeof(struct flash_work)
#define BLOCK       amx_block
#define FEW         amx_few
#define ENTER       amx_enter
#define LEAVE       amx_leave
#define BLOCK_ROWS  32
#define BLOCK_PANELS                                                                               \
    { 1, 1, 1 }
#define FEW_ROWS 1
NUM_KERNELS_TABLE;
