/*
 * The host's side of the CUDA backend: the memory plan, and which cells rows read, against a model
 * that copies everything.
 */
#include "unit/cuda_whisper/made.h"
#include "unit/test.h"
#include "whisper/cuda/decoder_plan.h"
#include "whisper/cuda/load.h"
#include "whisper/cuda/rows.h"

static struct wh_cuda_config large_v3(uint32_t n_slots, uint32_t n_rows) {
    struct wh_dims s = made_large_v3(32);
    s.n_alignment_heads = 10;
    return (struct wh_cuda_config){.dims = s,
                                   .type = NUM_CUDA_BF16,
                                   .n_slots = n_slots,
                                   .n_rows = n_rows,
                                   .n_windows = 16,
                                   .n_tokens = 256};
}

#define GIB ((double)(1 << 30))

TEST(sizes_of_large_v3) {
    struct num_err err = {0};
    struct wh_cuda_config c = large_v3(256, 256);
    struct wh_cuda_plan p;
    CHECK_INT(wh_cuda_plan_make(&c, 256, 1, 0, &p, &err), 0);
    CHECK(p.encoded / GIB > 2.8 && p.encoded / GIB < 3.0); /* 1.54e9 weights */
    /* 246 MB each. */
    CHECK((p.self_kv - p.cross_kv) / GIB > 58 && (p.self_kv - p.cross_kv) / GIB < 59);
    CHECK(p.bytes / GIB > 75 && p.bytes / GIB < 100);
    CHECK(p.logits % WH_CUDA_ALIGN == 0 && p.bytes > p.gemm_work[1]);
}

TEST(fewer_windows_where_memory_is_short) {
    struct num_err err = {0};
    struct wh_cuda_config c = large_v3(64, 320);
    struct wh_cuda_plan p;
    uint64_t cap = (uint64_t)12 << 30;
    CHECK_INT(wh_cuda_plan_make(&c, 1, 5, cap, &p, &err), 0);
    CHECK(p.bytes <= cap && c.n_slots >= 8 && c.n_slots < 64 && c.n_rows == 5 * c.n_slots);
    CHECK_INT(c.n_windows, 1);
}

TEST(too_small_a_limit_names_what_is_needed) {
    struct num_err err = {0};
    struct wh_cuda_config c = large_v3(1, 5);
    struct wh_cuda_plan p;
    CHECK_INT(wh_cuda_plan_make(&c, 1, 5, (uint64_t)2 << 30, &p, &err), SLUICE_RESOURCE);
    CHECK(strstr(err.text, "2.00 GiB may be used") && strstr(err.text, "bytes"));
}

TEST(sizes_that_kernels_do_not_take) {
    struct num_err err = {0};
    struct wh_cuda_config c = large_v3(1, 1);
    struct wh_cuda_plan p;
    c.dims.n_text_heads = 16;
    CHECK_INT(wh_cuda_plan_make(&c, 1, 1, 0, &p, &err), SLUICE_UNSUPPORTED);
    c = large_v3(1, 1);
    c.dims.n_audio_ctx = 3000;
    CHECK_INT(wh_cuda_plan_make(&c, 1, 1, 0, &p, &err), SLUICE_UNSUPPORTED);
}

/* Whatever shapes a step has: scores fit shared memory, parts their buffer. */
TEST(chunks_fit) {
    struct wh_cuda_config c = large_v3(256, 256);
    for (uint32_t n = 1; n <= 256; n++)
        for (uint32_t shared = 1; shared <= WH_CUDA_SHARED; shared++) {
            uint32_t keys = wh_cuda_chunk_keys(&c, n, shared, 132);
            uint32_t chunks = (1500 + keys - 1) / keys, items = n * shared < 256 ? n * shared : 256;
            CHECK(keys * shared <= 1536);
            CHECK((size_t)chunks * items <= wh_cuda_parts(&c));
        }
}

TEST(halves_round_to_nearest_even) {
    const float values[] = {0, -1, 65504, 65520, 1e-8f, 6e-8f, 1.00048828125f, 1.0009765f, 0.1f};
    const uint16_t f16[] = {0, 0xbc00, 0x7bff, 0x7c00, 0, 1, 0x3c00, 0x3c01, 0x2e66};
    uint16_t got[9];
    wh_cuda_convert(NUM_CUDA_F16, values, 9, got);
    for (int i = 0; i < 9; i++)
        CHECK_INT(got[i], f16[i]);
    wh_cuda_convert(NUM_CUDA_BF16, values, 2, got);
    CHECK_INT(got[1], 0xbf80);
}

/* ---- Rows ----------------------------------------------------------------------------------- */

enum { ROWS = 6, POSITIONS = 20 };

/* Tokens by cell, and by row as they should be read. */
static int cells[POSITIONS][ROWS], want[ROWS][POSITIONS];
static uint32_t lens[ROWS];

static uint32_t draw(uint32_t *state, uint32_t n) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % n;
}

static void check_rows(const struct wh_cuda_rows *r) {
    for (uint32_t row = 0; row < ROWS; row++) {
        CHECK_INT(r->len[row], lens[row]);
        for (uint32_t q = 0; q < lens[row]; q++)
            CHECK_INT(cells[q][r->cells[row * POSITIONS + q]], want[row][q]);
    }
}

static void copy_some(struct wh_cuda_rows *r, uint32_t *state) {
    uint32_t to[ROWS], from[ROWS], n = 1 + draw(state, ROWS), old_lens[ROWS];
    int old[ROWS][POSITIONS];
    memcpy(old, want, sizeof old);
    memcpy(old_lens, lens, sizeof old_lens);
    for (uint32_t i = 0, first = draw(state, ROWS); i < n; i++) {
        to[i] = (first + i) % ROWS;
        from[i] = draw(state, ROWS);
        memcpy(want[to[i]], old[from[i]], sizeof want[0]);
        lens[to[i]] = old_lens[from[i]];
    }
    wh_cuda_rows_copy(r, to, from, n);
}

TEST(rows_read_what_was_written_for_them) {
    struct num_err err = {0};
    struct wh_cuda_rows r;
    uint32_t state = 1;
    CHECK_INT(wh_cuda_rows_create(ROWS, POSITIONS, &r, &err), 0);
    for (int i = 0; i < 20000; i++) {
        uint32_t row = draw(&state, ROWS), what = draw(&state, 16);
        if (what == 0) {
            wh_cuda_rows_start(&r, row, 0);
            lens[row] = 0;
        } else if (what < 4) {
            copy_some(&r, &state);
        } else if (lens[row] < POSITIONS) {
            uint32_t q = lens[row]++;
            cells[q][wh_cuda_rows_append(&r, row)] = want[row][q] = i;
        }
        check_rows(&r);
    }
    wh_cuda_rows_finish(&r);
}

TEST_MAIN()
