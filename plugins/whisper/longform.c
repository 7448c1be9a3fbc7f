/*
 * Long-form transcription: see longform.h.
 *
 * Memory does not grow with the audio: a first pass over the spectrogram finds only its maximum,
 * which the normalisation needs, and each window's frames are computed when it is decoded.
 * Positions are counted in mel frames of 10 ms, as in the reference.
 */
#include "whisper/longform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <zlib.h>

#include "num/mel.h"
#include "whisper/search.h"

#define MAX_TOKENS           224 /* of one window: half of 448, the published models' context */
#define NO_SPEECH_THRESHOLD  0.6
#define LOGPROB_THRESHOLD    (-1.0)
#define MAX_PASS_FRAMES      6000 /* frames of one step of the first pass: a minute */
#define FRAME_S              ((double)NUM_MEL_HOP / NUM_MEL_RATE_HZ)
#define FRAMES_PER_TIMESTAMP 2

struct wh_longform {
    struct wh_model *model;
    struct wh_search *search;
    struct num_mel *mel;
    struct num_pool *pool; /* for the spectrogram */
    float *frames;         /* (max(2 T, MAX_PASS_FRAMES), M) */
    int32_t *tokens;       /* (MAX_TOKENS) */
};

/* One transcription. */
struct run {
    struct wh_longform *lf;
    const float *pcm;
    size_t n_samples, n_frames;
    float max; /* of the whole spectrogram */
    const struct wh_listener *listener;
    struct wh_watch watch;
    int32_t prompt[3];
    uint32_t n_prompt;
    uint32_t n_segments;
    struct wh_report report;
    struct num_err *err;
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int32_t wh_longform_create(struct wh_model *model, struct wh_longform **ret, struct num_err *err) {
    struct wh_longform *lf = calloc(1, sizeof *lf);
    if (!lf)
        return num_fail_memory(err, "the transcription", sizeof *lf);
    lf->model = model;
    size_t window = 2 * (size_t)model->dims.n_audio_ctx;
    size_t rows = window > MAX_PASS_FRAMES ? window : MAX_PASS_FRAMES;
    lf->frames = malloc(rows * model->dims.n_mels * sizeof *lf->frames);
    lf->tokens = malloc(MAX_TOKENS * sizeof *lf->tokens);
    int32_t status = SLUICE_OK;
    if (!lf->frames || !lf->tokens)
        status =
            num_fail_memory(err, "the spectrogram", rows * model->dims.n_mels * sizeof *lf->frames);
    if (!status)
        status = num_mel_create(model->dims.n_mels, &lf->mel, err);
    if (!status)
        status = num_pool_create(model->limits.n_threads, &lf->pool, err);
    if (!status)
        status = wh_search_create(model, &lf->search, err);
    if (status)
        wh_longform_destroy(lf);
    else
        *ret = lf;
    return status;
}

void wh_longform_destroy(struct wh_longform *longform) {
    if (!longform)
        return;
    wh_search_destroy(longform->search);
    num_mel_destroy(longform->mel);
    num_pool_destroy(longform->pool);
    free(longform->frames);
    free(longform->tokens);
    free(longform);
}

double wh_compression_ratio(const char *text) {
    uLong len = strlen(text);
    uLongf packed_len = compressBound(len);
    Bytef *packed = malloc(packed_len);
    double ratio = 0;
    if (packed && compress(packed, &packed_len, (const Bytef *)text, len) == Z_OK)
        ratio = (double)len / (double)packed_len;
    free(packed);
    return ratio;
}

static int32_t cancelled(struct run *r) {
    return wh_cancelled(&r->watch) ? num_fail(r->err, SLUICE_CANCELLED, "cancelled") : SLUICE_OK;
}

/* ---- Windows -------------------------------------------------------------------------------- */

/* The spectrogram's maximum over the whole audio. */
static int32_t find_max(struct run *r) {
    double start = now_s();
    size_t M = r->lf->model->dims.n_mels;
    r->max = -INFINITY;
    for (size_t at = 0; at < r->n_frames; at += MAX_PASS_FRAMES) {
        size_t n = r->n_frames - at < MAX_PASS_FRAMES ? r->n_frames - at : MAX_PASS_FRAMES;
        int32_t status = cancelled(r);
        if (!status)
            status = num_mel_log(r->lf->mel, r->lf->pool, r->pcm, r->n_samples, at, n,
                                 r->lf->frames, r->err);
        if (status)
            return status;
        float max = num_mel_max(r->lf->frames, n * M);
        r->max = max > r->max ? max : r->max;
    }
    r->report.mel_s += now_s() - start;
    return SLUICE_OK;
}

/* Encodes the window at frame `seek` into slot 0. */
static int32_t encode_window(struct run *r, size_t seek) {
    struct wh_longform *lf = r->lf;
    size_t M = lf->model->dims.n_mels, n = 2 * (size_t)lf->model->dims.n_audio_ctx;
    double start = now_s();
    int32_t status =
        num_mel_log(lf->mel, lf->pool, r->pcm, r->n_samples, seek, n, lf->frames, r->err);
    if (status)
        return status;
    num_mel_normalise(lf->frames, n * M, r->max, lf->frames);
    double middle = now_s();
    const float *mel = lf->frames;
    status =
        lf->model->backend->encode(lf->model->self, &mel, (uint32_t[]){0}, 1, &r->watch, r->err);
    r->report.mel_s += middle - start;
    r->report.encode_s += now_s() - middle;
    return status;
}

static int32_t decode_window(struct run *r, struct wh_result *result) {
    const struct wh_model *m = r->lf->model;
    uint32_t room = m->dims.n_text_ctx > r->n_prompt ? m->dims.n_text_ctx - r->n_prompt : 0;
    struct wh_request request = {
        .slot = 0, .prompt = r->prompt, .n_prompt = r->n_prompt, .rules = m->rules};
    request.max_tokens = room < MAX_TOKENS ? room : MAX_TOKENS;
    double start = now_s();
    result->tokens = r->lf->tokens;
    int32_t status = wh_search_greedy(r->lf->search, &request, 1, &r->watch, result, r->err);
    r->report.decode_s += now_s() - start;
    if (!status) {
        r->report.n_windows++;
        r->report.n_tokens += result->n_tokens;
    }
    return status;
}

/* ---- Segments ------------------------------------------------------------------------------- */

static bool is_blank(const char *text) {
    return text[strspn(text, " \t\r\n\v\f")] == '\0';
}

/* Hands out the segment of tokens [first, end), unless it is empty or takes no time. */
static int32_t emit(struct run *r, const struct wh_result *result, uint32_t first, uint32_t end,
                    struct wh_segment *s) {
    char *text;
    s->id = r->n_segments;
    s->tokens = result->tokens + first;
    s->n_tokens = end - first;
    int32_t status = num_bpe_decode(&r->lf->model->bpe, s->tokens, s->n_tokens, &text, r->err);
    if (status)
        return status;
    s->text = text;
    if (s->end > s->start && !is_blank(text)) {
        r->n_segments++;
        if (r->listener->segment)
            status = r->listener->segment(r->listener->ctx, s);
        if (status && r->err->status == SLUICE_OK)
            num_fail(r->err, status, "the transcript could not be handed on");
    }
    free(text);
    return status;
}

static bool is_timestamp(const struct run *r, int32_t token) {
    return token >= r->lf->model->rules.timestamp_begin;
}

static uint32_t timestamp_steps(const struct run *r, int32_t token) {
    return (uint32_t)(token - r->lf->model->rules.timestamp_begin);
}

/* The window's whole output as one segment: no two timestamps meet in it. */
static int32_t emit_whole(struct run *r, const struct wh_result *result, double offset_s,
                          double window_s, struct wh_segment *s) {
    uint32_t last = result->n_tokens;
    while (last > 0 && !is_timestamp(r, result->tokens[last - 1]))
        last--;
    bool opened = result->n_tokens && is_timestamp(r, result->tokens[0]);
    s->start = offset_s + (opened ? timestamp_steps(r, result->tokens[0]) * WH_TIMESTAMP_S : 0);
    s->end = offset_s +
             (last > 1 ? timestamp_steps(r, result->tokens[last - 1]) * WH_TIMESTAMP_S : window_s);
    return emit(r, result, 0, result->n_tokens, s);
}

/*
 * Cuts a window's tokens where two timestamps meet and hands out the segments. *ret_advance: frames
 * to the next window: to the last cut, or the whole window where nothing was left open.
 */
static int32_t emit_segments(struct run *r, const struct wh_result *result, double offset_s,
                             size_t n_frames, struct wh_segment *s, size_t *ret_advance) {
    const int32_t *t = result->tokens;
    uint32_t n = result->n_tokens, first = 0;
    bool closed = n >= 2 && is_timestamp(r, t[n - 1]) && !is_timestamp(r, t[n - 2]);
    for (uint32_t i = 1; i <= n; i++) {
        bool cut = i < n ? is_timestamp(r, t[i - 1]) && is_timestamp(r, t[i]) : closed && first > 0;
        if (!cut)
            continue;
        s->start = offset_s + timestamp_steps(r, t[first]) * WH_TIMESTAMP_S;
        s->end = offset_s + timestamp_steps(r, t[i - 1]) * WH_TIMESTAMP_S;
        int32_t status = emit(r, result, first, i, s);
        if (status)
            return status;
        first = i;
    }
    if (first == 0) {
        *ret_advance = n_frames;
        return emit_whole(r, result, offset_s, (double)n_frames * FRAME_S, s);
    }
    size_t to_cut = timestamp_steps(r, t[first - 1]) * (size_t)FRAMES_PER_TIMESTAMP;
    *ret_advance = closed || to_cut == 0 || to_cut > n_frames ? n_frames : to_cut;
    return SLUICE_OK;
}

static bool is_silence(const struct wh_result *result) {
    return result->no_speech_prob > NO_SPEECH_THRESHOLD &&
           !(result->avg_logprob > LOGPROB_THRESHOLD);
}

static int32_t transcribe_window(struct run *r, size_t seek, size_t n_frames, size_t *ret_advance) {
    struct wh_result result;
    int32_t status = encode_window(r, seek);
    if (!status)
        status = decode_window(r, &result);
    if (status)
        return status;
    *ret_advance = n_frames;
    if (is_silence(&result))
        return SLUICE_OK;
    char *text;
    status = num_bpe_decode(&r->lf->model->bpe, result.tokens, result.n_tokens, &text, r->err);
    if (status)
        return status;
    struct wh_segment s = {.avg_logprob = result.avg_logprob,
                           .no_speech_prob = result.no_speech_prob};
    s.compression_ratio = wh_compression_ratio(text + strspn(text, " "));
    free(text);
    return emit_segments(r, &result, (double)seek * FRAME_S, n_frames, &s, ret_advance);
}

/* ---- Language and task ---------------------------------------------------------------------- */

/* "en, de, fr" into `text`, as many as fit. */
static void list_languages(const struct wh_tokens *tokens, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < tokens->n_languages && at + 16 < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "",
                               tokens->languages[i].code);
}

int32_t wh_options_check(const struct wh_model *model, const struct wh_options *options,
                         struct num_err *err) {
    const struct wh_tokens *t = &model->tokens;
    char known[400] = "en";
    bool ok = !options->language || wh_language_find(t, options->language);
    if (t->n_languages)
        list_languages(t, known, sizeof known);
    else
        ok = !options->language || strcmp(options->language, "en") == 0;
    if (!ok)
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the model does not know the language \"%.16s\"; it knows: %s",
                        options->language, known);
    if (options->translate && (t->translate < 0 || !t->n_languages))
        return num_fail(err, SLUICE_UNSUPPORTED,
                        "the model cannot translate: it has no token <|translate|>");
    return SLUICE_OK;
}

/* The likeliest language of the first window. */
static int32_t detect_language(struct run *r, const struct wh_language **ret) {
    const struct wh_tokens *t = &r->lf->model->tokens;
    const float *logits;
    int32_t status = encode_window(r, 0);
    if (!status)
        status = wh_search_start_logits(r->lf->search, 0, &logits, r->err);
    if (status)
        return status;
    *ret = &t->languages[0];
    for (uint32_t i = 1; i < t->n_languages; i++)
        if (logits[t->languages[i].token] > logits[(*ret)->token])
            *ret = &t->languages[i];
    return SLUICE_OK;
}

/* Fills the prompt and the report's language. */
static int32_t choose_prompt(struct run *r, const struct wh_options *options) {
    const struct wh_tokens *t = &r->lf->model->tokens;
    r->prompt[r->n_prompt++] = t->sot;
    snprintf(r->report.language, sizeof r->report.language, "en");
    if (t->n_languages == 0)
        return SLUICE_OK;
    const struct wh_language *language = &t->languages[0];
    int32_t status = SLUICE_OK;
    if (options->language)
        language = wh_language_find(t, options->language);
    else if (t->n_languages > 1 && r->n_frames)
        status = detect_language(r, &language);
    if (status)
        return status;
    r->prompt[r->n_prompt++] = language->token;
    r->prompt[r->n_prompt++] = options->translate ? t->translate : t->transcribe;
    memcpy(r->report.language, language->code, sizeof r->report.language);
    return SLUICE_OK;
}

static void report_progress(struct run *r, size_t seek) {
    double total_s = (double)r->n_samples / NUM_MEL_RATE_HZ, done_s = (double)seek * FRAME_S;
    if (r->listener->progress)
        r->listener->progress(r->listener->ctx, done_s < total_s ? done_s : total_s, total_s);
}

int32_t wh_longform_run(struct wh_longform *longform, const float *pcm, size_t n_samples,
                        const struct wh_options *options, const struct wh_listener *listener,
                        struct wh_report *ret, struct num_err *err) {
    struct run r = {
        .lf = longform, .pcm = pcm, .n_samples = n_samples, .listener = listener, .err = err};
    r.n_frames = n_samples / NUM_MEL_HOP;
    r.watch = (struct wh_watch){listener->cancelled, listener->ctx};
    size_t window = 2 * (size_t)longform->model->dims.n_audio_ctx;
    int32_t status = wh_options_check(longform->model, options, err);
    report_progress(&r, 0);
    if (!status)
        status = find_max(&r);
    if (!status)
        status = choose_prompt(&r, options);
    for (size_t seek = 0, advance; !status && seek < r.n_frames; seek += advance) {
        size_t n = r.n_frames - seek < window ? r.n_frames - seek : window;
        status = transcribe_window(&r, seek, n, &advance);
        if (status)
            break;
        report_progress(&r, seek + advance);
    }
    if (!status)
        *ret = r.report;
    return status;
}
