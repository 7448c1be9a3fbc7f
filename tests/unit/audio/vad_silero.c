/*
 * The Silero network: against plain loops with random weights, and against onnxruntime with the
 * real ones where they are present (vad_expected.py).
 */
#include "vad.h"

#include "audio/vad/silero.h"

#define TOLERANCE 1e-4 /* asked for; the largest difference seen is 2e-6 */

/* ---- plain loops in double ---- */

struct plain {
    const struct vad_silero_weights *w;
    double h[128], c[128];
};

/* One zero on either side in time, ReLU. x: (n_in, times) -> y: (n_out, (times - 1) / stride + 1).
 */
static int plain_conv(const float *w, const float *bias, int n_out, int n_in, int stride, int times,
                      const double *x, double *y) {
    int n_times = (times - 1) / stride + 1;
    for (int o = 0; o < n_out; o++)
        for (int t = 0; t < n_times; t++) {
            double sum = bias[o];
            for (int i = 0; i < n_in; i++)
                for (int tap = 0; tap < 3; tap++) {
                    int at = t * stride + tap - 1;
                    if (at >= 0 && at < times)
                        sum += (double)w[(o * n_in + i) * 3 + tap] * x[i * times + at];
                }
            y[o * n_times + t] = sum > 0 ? sum : 0;
        }
    return n_times;
}

static double plain_sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double plain_lstm(struct plain *p, const double *x) {
    const struct vad_silero_weights *w = p->w;
    double gates[4][128], sum = w->output_bias;
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < 128; i++) {
            gates[g][i] = (double)w->lstm_input_bias[g][i] + w->lstm_state_bias[g][i];
            for (int k = 0; k < 128; k++)
                gates[g][i] += w->lstm_input[g][i][k] * x[k] + w->lstm_state[g][i][k] * p->h[k];
        }
    for (int i = 0; i < 128; i++) {
        p->c[i] =
            plain_sigmoid(gates[1][i]) * p->c[i] + plain_sigmoid(gates[0][i]) * tanh(gates[2][i]);
        p->h[i] = plain_sigmoid(gates[3][i]) * tanh(p->c[i]);
        sum += w->output[i] * (p->h[i] > 0 ? p->h[i] : 0);
    }
    return plain_sigmoid(sum);
}

static double plain_frame(struct plain *p, const struct vad_samples *samples, int64_t frame) {
    static double x[129 * 4], y[129 * 4];
    const struct vad_silero_weights *w = p->w;
    const float *pcm = samples->data;
    double window[640];
    for (int i = 0; i < 576; i++) {
        int64_t at = frame * 512 - 64 + i;
        window[i] = at >= 0 && at < samples->n ? pcm[at] : 0;
    }
    for (int i = 0; i < 64; i++)
        window[576 + i] = window[574 - i];
    for (int t = 0; t < 4; t++)
        for (int k = 0; k < 129; k++) {
            double re = 0, im = 0;
            for (int i = 0; i < 256; i++) {
                re += w->basis[k][i] * window[t * 128 + i];
                im += w->basis[129 + k][i] * window[t * 128 + i];
            }
            x[k * 4 + t] = sqrt(re * re + im * im);
        }
    plain_conv(&w->conv1[0][0][0], w->conv1_bias, 128, 129, 1, 4, x, y);
    plain_conv(&w->conv2[0][0][0], w->conv2_bias, 64, 128, 2, 4, y, x);
    plain_conv(&w->conv3[0][0][0], w->conv3_bias, 64, 64, 2, 2, x, y);
    CHECK_INT(plain_conv(&w->conv4[0][0][0], w->conv4_bias, 128, 64, 1, 1, y, x), 1);
    return plain_lstm(p, x);
}

static struct vad_detector create(const struct vad_silero_weights *weights) {
    struct vad_detector d;
    struct num_err err;
    if (vad_silero_create(weights, &d, &err))
        TEST_FAIL("%s", err.text);
    return d;
}

TEST(random_weights_give_what_plain_loops_give) {
    struct vad_silero_weights *weights = vad_random_weights();
    struct vad_detector d = create(weights);
    struct vad_samples clip = vad_clip("command");
    struct plain p = {.w = weights};
    float *got = vad_run(&d, &clip, VAD_BLOCK);
    double low = 1, high = 0;
    for (int64_t i = 0; i < vad_n_frames(&clip); i++) {
        double want = plain_frame(&p, &clip, i);
        CHECK_NEAR(got[i], want, 1e-5);
        low = want < low ? want : low;
        high = want > high ? want : high;
    }
    CHECK(high - low > 0.05); /* the weights are such that the input matters */
    free(got);
    free((void *)clip.data);
    d.destroy(d.self);
    free(weights);
}

TEST(blocks_do_not_matter_and_reset_forgets) {
    struct vad_silero_weights *weights = vad_random_weights();
    struct vad_detector d = create(weights);
    struct vad_samples clip = vad_clip("command");
    float *whole = vad_run(&d, &clip, VAD_BLOCK), *again = vad_run(&d, &clip, VAD_BLOCK);
    size_t bytes = (size_t)vad_n_frames(&clip) * sizeof *whole;
    CHECK(memcmp(whole, again, bytes) == 0);
    for (int step = 1; step < VAD_BLOCK; step = 3 * step) {
        float *parts = vad_run(&d, &clip, step);
        CHECK(memcmp(whole, parts, bytes) == 0);
        free(parts);
    }
    free(whole);
    free(again);
    free((void *)clip.data);
    d.destroy(d.self);
    free(weights);
}

TEST(damaged_samples_do_not_spread) {
    struct vad_silero_weights *weights = vad_random_weights();
    struct vad_detector d = create(weights);
    static float pcm[VAD_FRAME * 40];
    pcm[100] = NAN;
    pcm[101] = INFINITY;
    pcm[102] = -1e30f;
    struct vad_samples samples = {pcm, VAD_FRAME * 40};
    float *got = vad_run(&d, &samples, VAD_BLOCK);
    for (int i = 0; i < 40; i++)
        CHECK(got[i] >= 0 && got[i] <= 1);
    free(got);
    d.destroy(d.self);
    free(weights);
}

/* ---- the real weights ---- */

static struct vad_detector open_silero(const char *file) {
    char path[4096];
    struct num_err err = {0};
    struct vad_silero_weights *weights = malloc(sizeof *weights);
    snprintf(path, sizeof path, "%s%s", SILERO_DIR, file);
    if (access(path, R_OK) != 0)
        SKIP("%s is not there", path);
    if (vad_silero_load(path, weights, &err))
        TEST_FAIL("%s", err.text);
    struct vad_detector d = create(weights);
    free(weights);
    return d;
}

static void check_parity(const char *file, const char *key) {
    struct vad_detector d = open_silero(file);
    json_t *all = vad_expectations(), *want, *value;
    const char *clip_name;
    double largest = 0;
    json_object_foreach(json_object_get(all, "clips"), clip_name, want) {
        struct vad_samples clip = vad_clip(clip_name);
        float *got = vad_run(&d, &clip, VAD_BLOCK);
        size_t i;
        json_array_foreach(json_object_get(want, key), i, value) {
            double difference = fabs(got[i] - json_number_value(value));
            largest = difference > largest ? difference : largest;
        }
        CHECK_INT(i, vad_n_frames(&clip));
        free(got);
        free((void *)clip.data);
    }
    printf("  %s: largest difference %.1e\n", file, largest);
    CHECK(largest <= TOLERANCE);
    json_decref(all);
    d.destroy(d.self);
}

TEST(ggml_weights_give_what_onnxruntime_gives) {
    check_parity("for-tests-silero-v6.2.0-ggml.bin", "ggml");
}

TEST(safetensors_weights_give_what_onnxruntime_gives) {
    check_parity("silero_vad_16k.safetensors", "safetensors");
}

TEST(a_speech_of_eleven_seconds) {
    struct vad_detector d = open_silero("for-tests-silero-v6.2.0-ggml.bin");
    struct vad_samples clip = vad_wav(SHARED_DIR "/data/asr/jfk/jfk.wav");
    if (!clip.data)
        SKIP("%s is not there", SHARED_DIR "/data/asr/jfk/jfk.wav");
    json_t *all = vad_expectations(), *jfk = json_object_get(all, "jfk"), *value;
    float *got = vad_run(&d, &clip, VAD_BLOCK);
    struct vad_rules rules = {0.5, 0.35, 4000, 1600, 480, INFINITY};
    struct vad_segmenter s;
    struct vad_regions r = {.n = 0};
    double sum = 0;
    size_t i;
    CHECK_INT(vad_n_frames(&clip), json_integer_value(json_object_get(jfk, "n")));
    vad_segmenter_init(&s, &rules, vad_collect, &r);
    for (int64_t f = 0; f < vad_n_frames(&clip); f++) {
        sum += got[f];
        vad_segmenter_push(&s, got[f]);
    }
    vad_segmenter_finish(&s, clip.n);
    CHECK_NEAR(sum / (double)vad_n_frames(&clip), json_number_value(json_object_get(jfk, "mean")),
               TOLERANCE);
    json_array_foreach(json_object_get(jfk, "every_40th"), i, value)
        CHECK_NEAR(got[40 * i], json_number_value(value), TOLERANCE);
    CHECK_INT(r.n, 4);
    json_array_foreach(json_object_get(jfk, "regions"), i, value) {
        CHECK_INT(r.all[i].start, json_integer_value(json_array_get(value, 0)));
        CHECK_INT(r.all[i].end, json_integer_value(json_array_get(value, 1)));
    }
    json_decref(all);
    free(got);
    free((void *)clip.data);
    d.destroy(d.self);
}

TEST_MAIN()
