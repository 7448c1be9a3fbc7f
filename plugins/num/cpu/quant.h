/*
 * Products with weights as model files store them (num/weights.h): Q8_0, Q4_0, Q4_1, Q5_0, Q5_1,
 * Q4_K, Q5_K and Q6_K blocks are multiplied as they are, in a mapped file or in a plain copy. For
 * few rows of inputs, where reading weights is what takes the time: a decoder, a language model.
 *
 * Inputs become signed bytes with one scale for 32 of them (largest magnitude: 127). The sum of 32
 * products (16 for Q6_K) is exact in integers and goes, times both scales, to a float sum, always
 * in the same order. So a result depends neither on the other rows nor on threads; tables agree
 * with each other to rounding.
 */
#ifndef NUM_CPU_QUANT_H
#define NUM_CPU_QUANT_H

#include <stdbool.h>

#include "num/cpu/arena.h"
#include "num/cpu/kernels.h"
#include "num/pool.h"
#include "num/weights.h"

#define NUM_QUANT_MAX_LANES 16
#define NUM_QUANT_MAX_PARTS 3

/* Of 32 inputs. */
struct num_quant_part {
    float scale;      /* of one unit */
    float sum;        /* of the values: scale times the bytes' sum */
    int32_t start[2]; /* what integer sums start at, so that types of unsigned numbers get theirs
                         off: all of it in the first, or, Q6_K, for each 16 */
};

/* `lanes` outputs at once: sums[r * lanes + o] for n_rows rows of x (ldx bytes apart) and the
 * outputs whose weights start at w, w + stride ... */
typedef void num_quant_tile(const uint8_t *w, size_t stride, size_t k, const char *x, size_t ldx,
                            size_t n_rows, float *sums);

struct num_quant_kernels {
    const char *name; /* "avx512vnni", "avx2", "sse2" */
    size_t lanes;
    num_quant_tile *tile[NUM_N_WEIGHT_TYPES]; /* NULL: no block type */

    /* The same for `lanes` rows that are turned: word i of every row side by side, and likewise the
     * 16 bits in front of the words (Q4_0, Q5_0, Q8_0) or behind them (Q6_K). They are read in the
     * order of memory, and need no turning: for weights that are copied anyway. `stride` is the
     * bytes of one row. */
    num_quant_tile *turned[NUM_N_WEIGHT_TYPES];

    /* Turned rows as bfloat16 into a panel (kernels.h) of k / 2 words: `lanes` columns of it. */
    void (*unpack[NUM_N_WEIGHT_TYPES])(const uint8_t *w, size_t row_bytes, size_t k,
                                       uint32_t *panel);

    /* One row of k floats, k a multiple of 32, to num_quant_row_bytes(k) bytes for weights of
     * `type`: k signed bytes and k / 32 parts. */
    void (*convert)(enum num_weight_type type, const float *x, size_t k, void *to);
};

static inline bool num_quant_has(enum num_weight_type type) {
    return type >= NUM_WEIGHT_Q4_0 && type <= NUM_WEIGHT_Q6_K;
}

static inline size_t num_quant_row_bytes(size_t k) {
    return k + k / NUM_BLOCK * sizeof(struct num_quant_part);
}

/* The table that goes with `kernels`: no instructions beyond theirs. Static, immutable. */
const struct num_quant_kernels *num_quant_kernels(const struct num_kernels *kernels);

/* ---- Layers --------------------------------------------------------------------------------- */

/* A layer whose weights stay where they are: up to three matrices of one type, one below the other.
 * Zeroed: none. */
struct num_stored {
    enum num_weight_type type;
    size_t n_out, k, part_rows, row_bytes;
    const uint8_t *parts[NUM_QUANT_MAX_PARTS]; /* (part_rows, row_bytes) each, borrowed */
    float *bias;                               /* (n_out up to whole panels), the arena's */
    bool turned;                               /* the first part is all, rows up to whole panels */
};

/* True where `parts` (n of them, of equal shape) can be a stored layer: of one block type. */
bool num_stored_fits(const struct num_weights *const *parts, size_t n);

/* A layer of them without bias. */
int32_t num_stored_init(struct num_stored *ret, const struct num_weights *const *parts, size_t n,
                        struct num_arena *arena, struct num_err *err);

/* Moves its blocks into the arena, where pages are huge: a mapped file's are read a quarter slower.
 * The views are not needed after that. */
int32_t num_stored_copy(struct num_stored *layer, struct num_arena *arena, struct num_err *err);

/*
 * A layer of zeros whose rows will be turned: num_stored_turn() sets the outputs of one panel from
 * the 32 rows (NULL: zeros) that `rows` points to. Different panels at the same time.
 */
int32_t num_stored_create(struct num_stored *ret, enum num_weight_type type, size_t n_out, size_t k,
                          struct num_arena *arena, struct num_err *err);
void num_stored_turn(const struct num_stored *layer, const struct num_kernels *kernels,
                     size_t panel, const uint8_t *const rows[NUM_PANEL]);

/* Bytes that num_stored_create() takes. */
size_t num_stored_bytes(enum num_weight_type type, size_t n_out, size_t k);

/* Panel number `panel` of a turned layer as bfloat16: k / 2 words of 32 outputs. */
void num_stored_unpack(const struct num_stored *layer, const struct num_kernels *kernels,
                       size_t panel, uint32_t *ret);

/* The weights of one output of a layer that is not turned as floats, ret (k). */
void num_stored_row(const struct num_stored *layer, size_t out, float *ret);

/*
 * Rows of x (as convert() makes them, ldx bytes apart) through outputs [first_out, first_out +
 * n_out), first_out a multiple of 32, on the calling thread. Form, y and ldy of `finish` count, as
 * for num_linear_rows().
 */
void num_stored_rows(const struct num_stored *layer, const struct num_kernels *kernels,
                     size_t first_out, size_t n_out, const void *x, size_t ldx, size_t n_rows,
                     const struct num_finish *finish);

/* The whole layer, split over the pool by outputs where the work is worth it. */
void num_stored_run(const struct num_stored *layer, const struct num_kernels *kernels,
                    struct num_pool *pool, const void *x, size_t ldx, size_t n_rows,
                    const struct num_finish *finish);

#endif
