/*
 * Memory does not grow with the audio: hours in which little is said take what minutes take.
 */
#include <sys/mman.h>

#include "unit/whisper/toy.h"

#include "whisper/longform.h"

enum { N_TALKS = 6, TALK = 8 * 16000 };

#define MOST_KIB 3000 /* of difference: less than a window's spectrogram, three times */

/* The largest resident size since the last call, in KiB. */
static long peak_kib(void) {
    char line[200];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmHWM: %ld", &kib);
    CHECK(f && kib > 0);
    fclose(f);
    f = fopen("/proc/self/clear_refs", "w");
    if (!f || fputs("5", f) < 0 || fclose(f) != 0)
        SKIP("the peak cannot be reset");
    return kib;
}

/* Silence for `seconds`, which takes no memory, with talks spread over it. */
static float *sparse(size_t seconds, struct wh_span spans[N_TALKS]) {
    size_t n = seconds * 16000, stride = n / N_TALKS / 160 * 160;
    float *pcm = mmap(NULL, n * sizeof *pcm, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pcm != MAP_FAILED);
    for (uint32_t i = 0; i < N_TALKS; i++) {
        spans[i] = (struct wh_span){i * stride, TALK};
        toy_sound(i, TALK, pcm + spans[i].first);
    }
    return pcm;
}

static int32_t on_segment(void *ctx, const struct wh_segment *s) {
    *(uint32_t *)ctx += s->n_tokens;
    return SLUICE_OK;
}

/* Peak while the talks are transcribed: in a batch, or one after the other as clips of the
 * whole. */
static long transcribe(struct wh_longform *lf, size_t seconds, bool batched) {
    struct wh_span spans[N_TALKS];
    double clips[2 * N_TALKS];
    uint32_t n_tokens = 0;
    struct wh_options o;
    struct wh_report report;
    struct num_err err = {0};
    struct wh_listener listener = {.ctx = &n_tokens, .segment = on_segment};
    float *pcm = sparse(seconds, spans);
    struct wh_input input = {pcm, seconds * 16000, batched ? spans : NULL, batched ? N_TALKS : 0};
    wh_options_default(&o);
    o.language = "en";
    o.max_new_tokens = 20;
    o.n_temperatures = 1;
    o.word_timestamps = batched;
    for (size_t i = 0; i < N_TALKS; i++) {
        clips[2 * i] = (double)spans[i].first / 16000;
        clips[2 * i + 1] = clips[2 * i] + 8;
    }
    o.clip_timestamps = clips;
    o.n_clip_timestamps = batched ? 0 : 2 * N_TALKS;
    peak_kib();
    CHECK_INT(wh_longform_run(lf, &input, &o, &listener, &report, &err), 0);
    long kib = peak_kib();
    CHECK(n_tokens > 50);
    munmap(pcm, seconds * 16000 * sizeof *pcm);
    return kib;
}

static void compare(size_t minutes, bool batched) {
    char folder[TEST_PATH];
    struct wh_model m;
    struct wh_longform *lf;
    struct num_err err = {0};
    struct wh_limits limits = {.n_threads = 2, .n_slots = 3, .n_rows = 15};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP("sanitizers keep memory of their own");
#endif
    toy_write(folder, true);
    CHECK_INT(wh_model_load(folder, &wh_backend_cpu, &limits, &m, &err), 0);
    toy_remove(folder);
    CHECK_INT(wh_longform_create(&m, &lf, &err), 0);
    transcribe(lf, 600, batched); /* every buffer has been used */
    long short_kib = transcribe(lf, 600, batched), long_kib = transcribe(lf, minutes * 60, batched);
    printf("  10 minutes: %.1f MiB, %zu minutes: %.1f MiB\n", (double)short_kib / 1024, minutes,
           (double)long_kib / 1024);
    CHECK(long_kib - short_kib < MOST_KIB);
    wh_longform_destroy(lf);
    wh_model_finish(&m);
}

TEST(ten_hours_in_a_batch) {
    compare(600, true);
}

TEST(two_hours_in_a_row) {
    compare(120, false);
}

TEST_MAIN()
