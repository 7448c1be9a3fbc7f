/*
 * Token times from attention: the device's against the CPU's.
 */
#include "device.h"

#include "num/dtw.h"
#include "whisper/cuda/align.h"

struct attended {
    size_t n_tokens, n_frames, first, end;
    float *weights; /* (n_heads, n_tokens, T) */
};

/* Rows that look somewhere near a diagonal, with noise, and sum to one over all of T. */
static struct attended attended_make(size_t n_heads, size_t T, size_t n_tokens, size_t n_frames,
                                     size_t first, size_t end, uint32_t seed) {
    struct attended a = {n_tokens, n_frames, first, end, keep(malloc(n_heads * n_tokens * T * 4))};
    for (size_t h = 0; h < n_heads; h++)
        for (size_t i = 0; i < n_tokens; i++) {
            float *row = a.weights + (h * n_tokens + i) * T, sum = 0;
            for (size_t t = 0; t < T; t++) {
                float d = ((float)t - (float)((i + 1) * n_frames) / (float)(n_tokens + 1)) / 4;
                row[t] = expf(-d * d + random_value(&seed));
                sum += row[t];
            }
            for (size_t t = 0; t < T; t++)
                row[t] /= sum;
        }
    return a;
}

static void check_texts(struct attended *texts, size_t n, size_t n_heads, size_t T) {
    struct wh_cuda_align_text on_device[8];
    size_t max_tokens = 0, max_frames = 0;
    for (size_t i = 0; i < n; i++) {
        const struct attended *a = &texts[i];
        size_t rows = a->end - a->first;
        on_device[i] = (struct wh_cuda_align_text){
            .weights = device_copy(a->weights, n_heads * a->n_tokens * T * 4),
            .head = a->n_tokens * T,
            .n_tokens = (uint32_t)a->n_tokens,
            .n_frames = (uint32_t)a->n_frames,
            .first = (uint32_t)a->first,
            .end = (uint32_t)a->end,
            .fit = device_room(rows * a->n_frames * 4),
            .steps = device_room(rows * a->n_frames),
            .ret_starts = device_room(rows * 4)};
        max_tokens = a->n_tokens > max_tokens ? a->n_tokens : max_tokens;
        max_frames = a->n_frames > max_frames ? a->n_frames : max_frames;
    }
    void *list = device_copy(on_device, n * sizeof *on_device);
    CHECK_CUDA(wh_cuda_align(list, n, n_heads, T, max_tokens, max_frames, NULL));
    for (size_t i = 0; i < n; i++) {
        struct attended *a = &texts[i];
        size_t rows = a->end - a->first;
        struct num_err err;
        float *fit = keep(malloc(rows * a->n_frames * 4));
        uint32_t *want = keep(malloc(rows * 4)), *got = keep(malloc(rows * 4));
        num_attention_cut(a->weights, n_heads * a->n_tokens, T, a->n_frames);
        CHECK_INT(num_attention_matrix(a->weights, n_heads, a->n_tokens, T, a->n_frames, a->first,
                                       a->end, fit, &err),
                  0);
        CHECK_INT(num_dtw(fit, rows, a->n_frames, want, &err), 0);
        float *got_fit = host_values(on_device[i].fit, rows * a->n_frames, NUM_CUDA_F32);
        for (size_t j = 0; j < rows * a->n_frames; j++)
            CHECK_NEAR(got_fit[j], fit[j], 1e-5);
        CHECK_CUDA(cudaMemcpy(got, on_device[i].ret_starts, rows * 4, cudaMemcpyDeviceToHost));
        for (size_t r = 0; r < rows; r++)
            CHECK_NEAR(got[r], want[r], 1);
    }
}

TEST(texts_of_many_sizes_in_one_launch) {
    struct attended texts[] = {
        attended_make(3, 150, 20, 150, 4, 20, 1), attended_make(3, 150, 41, 77, 0, 40, 2),
        attended_make(3, 150, 5, 4, 1, 5, 3),     attended_make(3, 150, 3, 1, 0, 3, 4),
        attended_make(3, 150, 2, 150, 1, 2, 5),   attended_make(3, 150, 9, 3, 2, 9, 6)};
    check_texts(texts, 6, 3, 150);
}

TEST(more_tokens_than_positions) {
    struct attended text = attended_make(2, 50, 90, 33, 3, 90, 7);
    check_texts(&text, 1, 2, 50);
}

/* Flat attention: no deviation to divide by. */
TEST(attention_that_looks_nowhere) {
    struct attended text = {8, 40, 0, 8, keep(malloc(2 * 8 * 64 * 4))};
    for (size_t i = 0; i < 2 * 8 * 64; i++)
        text.weights[i] = 1.0f / 64;
    check_texts(&text, 1, 2, 64);
}

TEST_MAIN()
