/*
 * The encoder on the emulated card against that of the CPU: the same random model, the same
 * windows. Only the encoder of a device's model is made here, as the backend would make it.
 */
#include "device.h"

#include "num/mel.h"
#include "unit/cuda_whisper/made.h"
#include "whisper/cuda/encoder.h"
#include "whisper/cuda/load.h"

#ifdef SLUICE_CUDA_EMU
#define SIZES_DIFFER 0
#else
#define SIZES_DIFFER 2e-5
#endif
#define N_SLOTS   7
#define N_WINDOWS 3 /* of one pass */

/* Odd sizes: a window is less than one tile of attention; 80 bands; two heads. */
static struct wh_dims small_dims(void) {
    return (struct wh_dims){.n_mels = 80,
                            .n_audio_ctx = 50,
                            .n_text_ctx = 32,
                            .n_state = 128,
                            .n_vocab = 300,
                            .n_audio_layers = 2,
                            .n_audio_heads = 2,
                            .n_audio_ffn = 512,
                            .n_text_layers = 2,
                            .n_text_heads = 2,
                            .n_text_ffn = 512};
}

static float *windows_make(const struct wh_dims *s, size_t n) {
    return random_values(n * 2 * s->n_audio_ctx * s->n_mels, 0.5f, 0, 77);
}

/* ---- The device's side ---------------------------------------------------------------------- */

static void *stage(void *ctx, struct num_err *err) {
    (void)err;
    return ctx;
}

static int32_t put(void *ctx, void *to, size_t bytes, struct num_err *err) {
    (void)err;
    CHECK_CUDA(cudaMemcpy(to, ctx, bytes, cudaMemcpyHostToDevice));
    return SLUICE_OK;
}

static void load_weights(struct wh_cuda *m, const struct wh_weights *weights) {
    struct num_err err;
    struct num_pool *pool;
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    keep(pool);
    void *staged = keep(malloc(WH_CUDA_STAGE_BYTES));
    const struct wh_cuda_sink sink = {staged, stage, put};
    wh_cuda_weights_place(&m->w, &m->c, m->block + m->plan.weights);
    if (wh_cuda_weights_load(&m->w, &m->c, weights, pool, &sink, &err))
        TEST_FAIL("%s", err.text);
    free(staged);
    num_pool_destroy(pool);
}

static struct wh_cuda *model_make(const struct wh_dims *dims, const struct wh_weights *weights,
                                  enum num_cuda_type type) {
    struct wh_cuda *m = keep(calloc(1, sizeof *m));
    struct num_err err;
    m->c = (struct wh_cuda_config){.dims = *dims,
                                   .type = type,
                                   .n_slots = N_SLOTS,
                                   .n_rows = 1,
                                   .n_windows = N_WINDOWS,
                                   .n_tokens = 64};
    CHECK_INT(wh_cuda_plan_make(&m->c, N_SLOTS, 1, 0, &m->plan, &err), 0);
    m->block = device_room(m->plan.bytes);
    CHECK_INT(num_cuda_gemm_open(&m->gemm, &err), 0);
    CHECK_CUDA(cudaStreamCreateWithFlags(&m->encode_stream, cudaStreamNonBlocking));
    CHECK_CUDA(cudaStreamCreateWithFlags(&m->decode_stream, cudaStreamNonBlocking));
    m->slot_ready = keep(calloc(N_SLOTS, sizeof *m->slot_ready));
    for (int i = 0; i < N_SLOTS; i++)
        CHECK_CUDA(cudaEventCreateWithFlags(&m->slot_ready[i], cudaEventDisableTiming));
    load_weights(m, weights);
    if (wh_cuda_encoder_create(m, &err))
        TEST_FAIL("%s", err.text);
    /* the streams do not wait for copies from pageable memory */
    CHECK_CUDA(cudaDeviceSynchronize());
    return m;
}

static void model_free(struct wh_cuda *m) {
    CHECK_CUDA(cudaStreamSynchronize(m->encode_stream));
    wh_cuda_encoder_destroy(m);
    for (int i = 0; i < N_SLOTS; i++)
        CHECK_CUDA(cudaEventDestroy(m->slot_ready[i]));
    CHECK_CUDA(cudaStreamDestroy(m->encode_stream));
    CHECK_CUDA(cudaStreamDestroy(m->decode_stream));
    CHECK_CUDA(cudaFree(m->block));
    num_cuda_gemm_close(m->gemm);
    free(m->slot_ready);
    free(m);
}

/* Encodes windows first, first + 1, ... of `mel` into the slots. */
static void encode(struct wh_cuda *m, const float *mel, uint32_t first, const uint32_t *slots,
                   uint32_t n) {
    const float *windows[N_SLOTS];
    struct num_err err;
    for (uint32_t i = 0; i < n; i++)
        windows[i] = mel + (first + i) * 2 * (size_t)m->c.dims.n_audio_ctx * m->c.dims.n_mels;
    if (wh_cuda_encode(m, windows, slots, n, NULL, &err))
        TEST_FAIL("%s", err.text);
}

/* What a slot holds, read where the decoder would: on its stream, behind the slot's event. */
static float *read_slot(const struct wh_cuda *m, uint32_t slot, const void *from, size_t n) {
    CHECK_CUDA(cudaStreamWaitEvent(m->decode_stream, m->slot_ready[slot], 0));
    CHECK_CUDA(cudaStreamSynchronize(m->decode_stream));
    return host_values(from, n, m->c.type);
}

/* ---- The CPU's side ------------------------------------------------------------------------- */

/* Outputs (n, T, D) of the CPU's encoder. */
static float *cpu_outputs(const struct wh_weights *weights, const struct wh_dims *s,
                          const float *mel, uint32_t n) {
    size_t values = (size_t)s->n_audio_ctx * s->n_state;
    float *ret = keep(malloc(n * values * sizeof *ret));
    struct wh_limits limits = {.n_threads = 1, .n_slots = 1, .n_rows = 1};
    struct num_err err;
    void *cpu;
    if (wh_backend_cpu.load(weights, s, &limits, &cpu, &err))
        TEST_FAIL("%s", err.text);
    for (uint32_t i = 0; i < n; i++) {
        const float *window = mel + i * 2 * (size_t)s->n_audio_ctx * s->n_mels;
        CHECK_INT(wh_backend_cpu.encode(cpu, &window, (uint32_t[]){0}, 1, NULL, &err), 0);
        memcpy(ret + i * values, wh_backend_cpu.encoded(cpu, 0), values * sizeof *ret);
    }
    wh_backend_cpu.free(cpu);
    return ret;
}

/* Outputs are normed, about 1 large. Half types round every activation of two layers. */
static void check_output(const struct wh_cuda *m, uint32_t slot, const float *want) {
    size_t n = (size_t)m->c.dims.n_audio_ctx * m->c.dims.n_state;
    float *got = read_slot(m, slot, wh_cuda_encoded(m, slot), n);
    double tolerance = m->c.type == NUM_CUDA_F32 ? 2e-5 : 20 * rounding_of(m->c.type), sum = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK_NEAR(got[i], want[i], tolerance);
        sum += fabs(got[i] - want[i]);
    }
    CHECK(sum / (double)n < tolerance / 5);
    free(got);
}

/* Keys and values of every layer: products of the output that the slot holds. */
static void check_cross(const struct wh_cuda *m, const struct wh_weights *weights, uint32_t slot) {
    size_t T = m->c.dims.n_audio_ctx, D = m->c.dims.n_state;
    float *x = read_slot(m, slot, wh_cuda_encoded(m, slot), T * D),
          *row = keep(malloc(D * sizeof *row));
    for (uint32_t l = 0; l < m->c.dims.n_text_layers; l++) {
        float *got = read_slot(m, slot, wh_cuda_cross_kv(m, l, slot), T * 2 * D);
        for (size_t o = 0; o < 2 * D; o += 37) {
            char name[96];
            snprintf(name, sizeof name, "model.decoder.layers.%u.encoder_attn.%c_proj.weight", l,
                     o < D ? 'k' : 'v');
            const struct num_weights *w =
                wh_weights_get(weights, NULL, name, (const uint64_t[]){D, D, 0});
            CHECK(w);
            num_weights_to_f32(w, o % D, 1, row);
            for (size_t t = 0; t < T; t++) {
                double want = 0;
                for (size_t i = 0; i < D; i++)
                    want += (double)x[t * D + i] * row[i];
                CHECK_NEAR(got[t * 2 * D + o], want,
                           1e-5 + 4 * rounding_of(m->c.type) * (1 + fabs(want)));
            }
        }
        free(got);
    }
    free(x);
    free(row);
}

/* ---- Cases ---------------------------------------------------------------------------------- */

static void check_type(enum num_cuda_type type) {
    const struct wh_dims dims = small_dims();
    struct made_weights made;
    made_weights_make(&made, &dims, false);
    const struct wh_weights weights = made.weights;
    float *mel = windows_make(&dims, N_SLOTS);
    float *want = cpu_outputs(&weights, &dims, mel, N_SLOTS);
    size_t values = (size_t)dims.n_audio_ctx * dims.n_state;
    struct wh_cuda *m = model_make(&dims, &weights, type);
    /* Three passes, the last of one window; slots with neighbours and without. */
    const uint32_t slots[N_SLOTS] = {4, 5, 0, 2, 3, 6, 1};
    encode(m, mel, 0, slots, N_SLOTS);
    for (uint32_t i = 0; i < N_SLOTS; i++)
        check_output(m, slots[i], want + i * values);
    for (uint32_t i = 0; i < N_SLOTS; i += 3)
        check_cross(m, &weights, slots[i]);
    model_free(m);
    made_weights_free(&made);
}

TEST(encoder_f32) {
    check_type(NUM_CUDA_F32);
}

TEST(encoder_f16) {
    check_type(NUM_CUDA_F16);
}

TEST(encoder_bf16) {
    check_type(NUM_CUDA_BF16);
}

/* As it is, while it is recorded, replayed, whatever stood in the buffers before: the same bits. In
 * passes of other sizes, too, but that on a card the library may have another way for those, which
 * differs by rounding. */
TEST(a_window_is_the_same_in_every_pass) {
    const struct wh_dims dims = small_dims();
    struct made_weights made;
    made_weights_make(&made, &dims, false);
    const struct wh_weights weights = made.weights;
    struct wh_cuda *m = model_make(&dims, &weights, NUM_CUDA_F32);
    float *mel = windows_make(&dims, N_SLOTS);
    size_t n = (size_t)dims.n_audio_ctx * dims.n_state;
    float *want[N_WINDOWS] = {NULL}; /* by the pass's windows */
    for (uint32_t i = 0; i < 3 * N_WINDOWS; i++) {
        uint32_t slots[] = {(i + 1) % N_SLOTS, i % N_SLOTS, (i + 3) % N_SLOTS};
        float **same = &want[i % N_WINDOWS];
        encode(m, mel, 0, slots, 1 + i % N_WINDOWS);
        float *got = read_slot(m, slots[0], wh_cuda_encoded(m, slots[0]), n);
        for (size_t j = 0; j < n; j++)
            CHECK_NEAR(got[j], *want ? (*want)[j] : got[j], SIZES_DIFFER);
        if (!*same)
            *same = got;
        CHECK(memcmp(got, *same, n * sizeof *got) == 0);
    }
    model_free(m);
    made_weights_free(&made);
}

/* ---- From samples --------------------------------------------------------------------------- */

/* Sweeps with pauses: quiet bands beside loud ones, so that the maximum's clamp is seen. */
static float *sound(size_t n) {
    float *pcm = keep(malloc(n * sizeof *pcm));
    double phase = 0;
    for (size_t i = 0; i < n; i++) {
        phase += 0.02 + 0.8 * (double)(i % 9000) / 9000;
        pcm[i] = (float)(sin(phase) * (i / 4000 % 3 ? 0.4 : 0.001));
    }
    return pcm;
}

/* The CPU's frames of a window, as window.c makes them. */
static void cpu_window(const struct wh_dims *s, const struct wh_excerpt *a, float max, float *ret) {
    struct num_mel *mel;
    struct num_pool *pool;
    struct num_err err;
    size_t n = (size_t)a->n_frames * s->n_mels, all = 2 * (size_t)s->n_audio_ctx * s->n_mels;
    CHECK_INT(num_mel_create(s->n_mels, &mel, &err), 0);
    keep(mel);
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    keep(pool);
    CHECK_INT(num_mel_log(mel, pool, a->pcm, a->n_samples, a->first, a->n_frames, ret, &err), 0);
    num_mel_normalise(ret, n, max, ret);
    memset(ret + n, 0, (all - n) * sizeof *ret);
    num_pool_destroy(pool);
    num_mel_destroy(mel);
}

/* The largest mel power of what a slot listens to. */
static float heard(const struct wh_cuda *m, uint32_t slot) {
    CHECK_CUDA(cudaStreamSynchronize(m->encoder->copy_stream));
    float *all = host_values(m->encoder->work.mel_max, N_SLOTS, NUM_CUDA_F32);
    const float power = all[slot];
    free(all);
    return power;
}

/* Windows at the start, in the middle, at the end and behind it, more than fit a pass: as from the
 * CPU's mel frames. These differ by 1e-4 at most, and two layers pass that on. */
TEST(windows_from_samples) {
    enum { N = 40000, FRAMES = N / NUM_MEL_HOP };
    const struct wh_dims dims = small_dims();
    struct made_weights made;
    made_weights_make(&made, &dims, false);
    const struct wh_weights weights = made.weights;
    struct wh_cuda *m = model_make(&dims, &weights, NUM_CUDA_F32);
    float *pcm = sound(N);
    struct num_err err;
    const struct wh_excerpt windows[] = {{pcm, N, 0, 100},   {pcm, N, 1, 100},  {pcm, N, 77, 64},
                                         {pcm, N, 150, 100}, {pcm, N, 240, 12}, {pcm, N, 300, 100}};
    enum { N_AUDIO = sizeof windows / sizeof *windows };
    uint32_t slots[N_AUDIO] = {0, 1, 2, 3, 4, 5};
    size_t values = 2 * (size_t)dims.n_audio_ctx * dims.n_mels;
    float *mel = keep(malloc(N_AUDIO * values * sizeof *mel));
    for (uint32_t i = 0; i < N_AUDIO; i++)
        CHECK_INT(wh_cuda_listen(m, i, pcm, N, FRAMES + 2, &err), 0);
    const float max = log10f(heard(m, 0));
    for (int i = 0; i < N_AUDIO; i++)
        cpu_window(&dims, &windows[i], max, mel + i * values);
    float *want = cpu_outputs(&weights, &dims, mel, N_AUDIO);
    for (int pass = 0; pass < 2; pass++) {
        if (wh_cuda_encode_audio(m, windows, slots, N_AUDIO, NULL, &err))
            TEST_FAIL("%s", err.text);
        for (uint32_t i = 0; i < N_AUDIO; i++) {
            size_t n = (size_t)dims.n_audio_ctx * dims.n_state;
            float *got = read_slot(m, i, wh_cuda_encoded(m, i), n);
            for (size_t j = 0; j < n; j++)
                CHECK_NEAR(got[j], want[i * n + j], 2e-3);
            free(got);
        }
    }
    model_free(m);
    made_weights_free(&made);
}

TEST(the_maximum_of_an_audio) {
    enum { N = 100000, FRAMES = N / NUM_MEL_HOP + 2 }; /* three feeds */
    const struct wh_dims dims = small_dims();
    struct made_weights made;
    made_weights_make(&made, &dims, false);
    const struct wh_weights weights = made.weights;
    struct wh_cuda *m = model_make(&dims, &weights, NUM_CUDA_F32);
    struct num_mel *mel;
    struct num_pool *pool;
    struct num_err err;
    float *pcm = sound(N), *want = keep(malloc(FRAMES * 80 * sizeof *want));
    CHECK_INT(num_mel_create(80, &mel, &err), 0);
    keep(mel);
    CHECK_INT(num_pool_create(1, &pool, &err), 0);
    keep(pool);
    CHECK_INT(num_mel_log(mel, pool, pcm, N, 0, FRAMES, want, &err), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(wh_cuda_listen(m, 3, pcm, N, FRAMES, &err), 0);
        CHECK_NEAR(log10f(heard(m, 3)), num_mel_max(want, FRAMES * 80), 1e-5);
    }
    CHECK_INT(wh_cuda_listen(m, 3, NULL, 0, 2, &err), 0);
    CHECK_NEAR(log10f(heard(m, 3)), -10, 1e-5);
    model_free(m);
    made_weights_free(&made);
}

static bool yes(void *ctx) {
    (void)ctx;
    return true;
}

TEST(encoding_stops_when_it_is_told_to) {
    const struct wh_dims dims = small_dims();
    struct made_weights made;
    made_weights_make(&made, &dims, false);
    const struct wh_weights weights = made.weights;
    struct wh_cuda *m = model_make(&dims, &weights, NUM_CUDA_F32);
    float *mel = windows_make(&dims, 1);
    const float *window = mel;
    const struct num_watch watch = {.cancelled = yes};
    struct num_err err;
    CHECK_INT(wh_cuda_encode(m, &window, (const uint32_t[]){0}, 1, &watch, &err), SLUICE_CANCELLED);
    model_free(m);
    made_weights_free(&made);
}

TEST_MAIN()
