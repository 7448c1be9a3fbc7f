/*
 * From a transcript to stretches of sound and their tokens, and from paths back to words.
 *
 * A stretch is one or more segments. Its text is a row of tokens; each different one has a column
 * of the emission, so that a vocabulary of hundreds costs no more than what the text uses. The
 * star's column is the largest of the frame less STAR_COST: it fits everything that is said, and
 * loses against the blank where nothing is.
 */
#include "align/ctc_words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "align/ctc.h"
#include "align/dictionary.h"
#include "align/language.h"
#include "num/audio.h"

#define STAR_COST     0.05f
#define LONGEST_GAP_S 2.0 /* between segments of a stretch */

struct al_ctc_words {
    struct al_config config;
    struct al_ctc_options options;
    struct al_vocab vocab;
    struct al_dictionary dictionary; /* without words: none */
    const struct al_backend *backend;
    void *net;              /* the backend's */
    size_t window, context; /* frames */
};

/* ---- Windows --------------------------------------------------------------------------------- */

int32_t al_net_windows(const struct al_backend *backend, void *net, size_t n_frames, size_t n_vocab,
                       size_t window, size_t context, const struct al_taker *taker,
                       const struct num_watch *watch, struct num_err *err) {
    size_t whole = n_frames < window ? n_frames : window, core = window - 2 * context;
    float *logp = malloc((whole * n_vocab + 1) * sizeof *logp);
    int32_t status =
        logp ? SLUICE_OK : num_fail_memory(err, "the network's output", whole * n_vocab * 4);
    for (size_t at = 0, n; !status && at < n_frames; at += n) {
        size_t first = n_frames <= window || at < context ? 0 : at - context;
        size_t end = first + window < n_frames ? first + window : n_frames;
        n = end == n_frames ? n_frames - at : at == 0 ? window - context : core;
        status = backend->run(net, first, end - first, watch, logp, err);
        if (!status)
            status = taker->take(taker->ctx, at, n, logp + (at - first) * n_vocab);
    }
    free(logp);
    return status;
}

/* ---- Model ----------------------------------------------------------------------------------- */

static int32_t load_sizes(const char *folder, struct al_ctc_words *self, struct num_err *err) {
    char *config = NULL, *pre = NULL;
    size_t config_len = 0, pre_len = 0;
    int32_t status =
        num_file_read(folder, "config.json", false, AL_MODEL_WANTED, &config, &config_len, err);
    if (!status)
        status = num_file_read(folder, "preprocessor_config.json", true, AL_MODEL_WANTED, &pre,
                               &pre_len, err);
    if (!status)
        status = al_config_parse(config, config_len, pre, pre_len, &self->config, err);
    free(config);
    free(pre);
    return status;
}

/* That of a language without weights is as large as it likes: al_language_check() says that they
 * are missing. */
static int32_t load_vocab(const char *folder, const struct al_language *language, bool adapted,
                          struct al_ctc_words *self, struct num_err *err) {
    char *vocab = NULL;
    size_t len = 0;
    bool missing = language->asked && !language->own && !adapted;
    int32_t status = num_file_read(folder, "vocab.json", false, AL_MODEL_WANTED, &vocab, &len, err);
    if (!status)
        status =
            al_vocab_parse(vocab, len, language->name, missing ? INT32_MAX : self->config.n_vocab,
                           self->config.pad, &self->vocab, err);
    free(vocab);
    return status;
}

/* Sizes, weight files and vocabulary, those of the language that is asked for. */
static int32_t load_files(const char *folder, struct al_ctc_words *self, struct al_files *files,
                          struct num_err *err) {
    const char *asked = self->options.language ? self->options.language : "";
    struct al_language language = {0};
    bool adapted = false;
    int32_t status = load_sizes(folder, self, err);
    if (!status)
        status = al_language_choose(folder, asked, &language, err);
    if (!status)
        status = al_files_open(folder, files, err);
    if (!status)
        status = al_language_adapt(&language, folder, files, &self->config, &adapted, err);
    if (!status)
        status = load_vocab(folder, &language, adapted, self, err);
    return status ? status : al_language_check(&language, &self->vocab, adapted, err);
}

int32_t al_ctc_words_create(const char *folder, const struct al_ctc_options *options,
                            struct al_ctc_words **ret, struct num_err *err) {
    struct al_ctc_words *self = calloc(1, sizeof *self);
    struct al_files files = {0};
    if (!self)
        return num_fail_memory(err, "the model", sizeof *self);
    self->options = *options;
    self->backend = options->backend ? options->backend : &al_backend_cpu;
    int32_t status = load_files(folder, self, &files, err);
    if (!status && options->dictionary && *options->dictionary)
        status = al_dictionary_load(options->dictionary, &self->dictionary, err);
    self->options.language = self->options.dictionary = NULL;
    if (!status) {
        double frames_per_s = NUM_AUDIO_RATE_HZ / (double)al_config_stride(&self->config);
        self->window = (size_t)(options->window_s * frames_per_s) + 1;
        self->context = (size_t)(options->context_s * frames_per_s);
        if (4 * self->context > self->window)
            self->context = self->window / 4;
        struct al_net_options net = {options->compute, options->n_threads, (uint32_t)self->window,
                                     options->device, options->device_memory};
        status = self->backend->create(&files, &self->config, &net, &self->net, err);
    }
    al_files_close(&files);
    if (status) {
        num_fail_in(err, "model %.300s", folder);
        al_ctc_words_destroy(self);
    } else {
        *ret = self;
    }
    return status;
}

void al_ctc_words_destroy(struct al_ctc_words *self) {
    if (!self)
        return;
    self->backend->destroy(self->net);
    al_vocab_finish(&self->vocab);
    al_dictionary_finish(&self->dictionary);
    free(self);
}

bool al_ctc_words_device(const struct al_ctc_words *self, struct al_device_info *ret) {
    if (self->backend->info)
        self->backend->info(self->net, ret);
    return self->backend->info != NULL;
}

/* ---- Stretches ------------------------------------------------------------------------------- */

/* The tokens of a word: [first, first + n) of the stretch's. */
struct spelling {
    size_t first, n;
    bool star;
    const char *phonemes; /* the dictionary's; NULL: none */
};

struct stretch {
    struct al_ctc_words *self;
    const struct num_watch *watch;
    struct num_err *err;
    struct al_word *words;
    size_t n_words, n_tokens, n_columns;
    double start; /* of its sound, seconds */
    size_t n_frames;
    struct spelling *spellings; /* [n_words] */
    uint32_t *tokens;           /* [n_tokens]: columns */
    int32_t *column_ids;        /* [n_columns]: of the vocabulary, or AL_STAR */
    float *emission;            /* (n_frames, n_columns) */
    struct al_span *spans;      /* [n_tokens] */
};

static void stretch_finish(struct stretch *s) {
    free(s->spellings);
    free(s->tokens);
    free(s->column_ids);
    free(s->emission);
    free(s->spans);
}

/* The column of a token, a new one where there is none yet. `columns` has room for AL_STAR. */
static uint32_t column_of(struct stretch *s, int32_t id, uint32_t *columns) {
    uint32_t *column = &columns[id - AL_STAR];
    if (*column == 0) {
        s->column_ids[s->n_columns] = id;
        *column = (uint32_t)s->n_columns++;
    }
    return *column;
}

/* With a dictionary, a word that it does not have is one star. */
static size_t spell_word(const struct al_ctc_words *self, const struct al_word *word,
                         const char *phonemes, int32_t *ids, size_t room) {
    if (phonemes)
        return al_dictionary_spell(&self->vocab, phonemes, ids, room);
    size_t n = al_vocab_spell(&self->vocab, word->text, ids, room);
    if (n == 0 || self->dictionary.n_entries == 0)
        return n;
    ids[0] = AL_STAR;
    return 1;
}

/* Spells all words, delimiters between them. */
static void spell(struct stretch *s, int32_t *ids, uint32_t *columns, size_t room) {
    const struct al_vocab *v = &s->self->vocab;
    s->column_ids[s->n_columns++] = v->blank;
    for (size_t i = 0; i < s->n_words; i++) {
        struct spelling *word = &s->spellings[i];
        size_t n = spell_word(s->self, &s->words[i], word->phonemes, ids, room);
        if (n && s->n_tokens && v->delimiter >= 0)
            s->tokens[s->n_tokens++] = column_of(s, v->delimiter, columns);
        word->first = s->n_tokens;
        word->n = n;
        for (size_t k = 0; k < n; k++) {
            s->tokens[s->n_tokens++] = column_of(s, ids[k], columns);
            word->star = word->star || ids[k] == AL_STAR;
        }
    }
}

static int32_t make_tokens(struct stretch *s) {
    size_t room = 0, longest = 1, V = s->self->config.n_vocab;
    s->spellings = calloc(s->n_words + 1, sizeof *s->spellings);
    for (size_t i = 0; s->spellings && i < s->n_words; i++) {
        const char *text = s->words[i].text;
        const char *phonemes = al_dictionary_find(&s->self->dictionary, text);
        s->spellings[i].phonemes = phonemes;
        size_t len = strlen(phonemes ? phonemes : text);
        room += len + 1;
        longest = len > longest ? len : longest;
    }
    int32_t *ids = malloc(longest * sizeof *ids);
    uint32_t *columns = calloc(V + 1, sizeof *columns);
    s->tokens = malloc((room + 1) * sizeof *s->tokens);
    s->column_ids = malloc((V + 2) * sizeof *s->column_ids);
    int32_t status = SLUICE_OK;
    if (ids && columns && s->spellings && s->tokens && s->column_ids)
        spell(s, ids, columns, longest);
    else
        status = num_fail_memory(s->err, "the tokens of a text", room * sizeof *s->tokens);
    free(ids);
    free(columns);
    return status;
}

/* Keeps what the text's tokens need of n frames. */
static int32_t take_frames(void *ctx, size_t first, size_t n, const float *logp) {
    struct stretch *s = ctx;
    size_t V = s->self->config.n_vocab;
    for (size_t t = 0; t < n; t++) {
        const float *row = logp + t * V;
        float *to = s->emission + (first + t) * s->n_columns, most = -INFINITY;
        for (size_t v = 0; v < V; v++)
            most = row[v] > most ? row[v] : most;
        if (!(most <= 0))
            return num_fail(s->err, SLUICE_INPUT,
                            "the model's output is not a number: its weights are damaged, or too "
                            "large for the chosen compute");
        for (size_t c = 0; c < s->n_columns; c++)
            to[c] = s->column_ids[c] == AL_STAR ? most - STAR_COST : row[s->column_ids[c]];
    }
    return SLUICE_OK;
}

static int32_t make_emission(struct stretch *s) {
    struct al_ctc_words *self = s->self;
    const struct al_taker taker = {s, take_frames};
    s->emission = malloc((s->n_frames * s->n_columns + 1) * sizeof *s->emission);
    s->spans = malloc((s->n_tokens + 1) * sizeof *s->spans);
    if (!s->emission || !s->spans)
        return num_fail_memory(s->err, "the output for a text", s->n_frames * s->n_columns * 4);
    return al_net_windows(self->backend, self->net, s->n_frames, self->config.n_vocab, self->window,
                          self->context, &taker, s->watch, s->err);
}

/* A word's time from its tokens' frames, and the mean probability of those. */
static void set_word(const struct stretch *s, struct al_word *w, const struct spelling *spelling) {
    double frame_s = al_config_stride(&s->self->config) / (double)NUM_AUDIO_RATE_HZ, sum = 0;
    size_t last = spelling->first + spelling->n - 1, n = 0;
    for (size_t k = spelling->first; k <= last; k++)
        for (size_t t = s->spans[k].first; t < s->spans[k].end; t++, n++)
            sum += (double)s->emission[t * s->n_columns + s->tokens[k]];
    w->start = s->start + frame_s * s->spans[spelling->first].first;
    w->end = s->start + frame_s * s->spans[last].end;
    w->probability = exp(sum / (double)n);
    w->timed = true;
}

/* Tokens and emission of a stretch; without tokens, or with too little sound for them, its n_tokens
 * is 0. */
static int32_t prepare_stretch(struct stretch *s, const float *pcm, size_t n_samples) {
    int32_t status = make_tokens(s);
    s->n_frames = al_config_frames(&s->self->config, n_samples);
    if (!status && s->n_tokens && al_ctc_frames(s->tokens, s->n_tokens) > s->n_frames)
        s->n_tokens = 0;
    if (status || s->n_tokens == 0)
        return status;
    status = s->self->backend->listen(s->self->net, pcm, n_samples, s->err);
    return status ? status : make_emission(s);
}

static void set_words(const struct stretch *s, struct al_ctc_report *report) {
    for (size_t i = 0; i < s->n_words; i++) {
        bool spelt = s->n_tokens && s->spellings[i].n;
        if (spelt)
            set_word(s, &s->words[i], &s->spellings[i]);
        report->n_others += !spelt;
        report->n_words += spelt;
        report->n_stars += spelt && s->spellings[i].star;
    }
}

/* ---- Batches --------------------------------------------------------------------------------- */

#define MOST_TEXTS 64

/* Stretches whose paths are found together. */
struct batch {
    struct stretch stretches[MOST_TEXTS];
    size_t n, n_frames;
};

/* Finds the paths of all and sets their words; the batch is empty then. */
static int32_t align_batch(struct al_ctc_words *self, struct batch *b,
                           const struct num_watch *watch, struct al_ctc_report *report,
                           struct num_err *err) {
    struct al_ctc texts[MOST_TEXTS];
    struct al_span *spans[MOST_TEXTS];
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct stretch *s = &b->stretches[i];
        if (s->n_tokens == 0)
            continue;
        texts[n] = (struct al_ctc){s->emission, s->n_frames, s->n_columns, s->tokens, s->n_tokens};
        spans[n++] = s->spans;
    }
    int32_t status = self->backend->align(self->net, texts, spans, n, watch, err);
    for (size_t i = 0; i < b->n && !status; i++)
        set_words(&b->stretches[i], report);
    return status;
}

static void empty(struct batch *b) {
    for (size_t i = 0; i < b->n; i++)
        stretch_finish(&b->stretches[i]);
    b->n = b->n_frames = 0;
}

/* Whether the batch is what the backend takes at once, in texts or in frames. */
static bool is_full(const struct al_ctc_words *self, const struct batch *b) {
    size_t most = self->backend->n_texts < MOST_TEXTS ? self->backend->n_texts : MOST_TEXTS;
    return b->n >= most || b->n_frames >= most * self->window;
}

/* ---- All ------------------------------------------------------------------------------------- */

/* The segments from `first` on that are one stretch: up to *ret_end, which is also its end in
 * seconds. */
static size_t find_stretch(const struct al_ctc_words *self, const struct al_script *script,
                           size_t first, double *ret_end_s) {
    const struct al_segment *s = script->segments;
    double end_s = s[first].end, most = self->options.window_s - 2 * self->options.padding_s;
    size_t end = first + 1;
    for (; end < script->n_segments; end++) {
        if (s[end].start < s[end - 1].start || s[end].start > end_s + LONGEST_GAP_S ||
            fmax(end_s, s[end].end) - s[first].start > most)
            break;
        end_s = fmax(end_s, s[end].end);
    }
    *ret_end_s = end_s;
    return end;
}

/* Segments [at, end) as the batch's next stretch. */
static int32_t add_stretch(struct al_ctc_words *self, struct batch *b, const float *pcm,
                           size_t n_samples, const struct al_script *script, size_t at, size_t end,
                           double end_s, const struct num_watch *watch, struct num_err *err) {
    const struct al_segment *first = &script->segments[at], *last = &script->segments[end - 1];
    double from = fmax(0, first->start - self->options.padding_s) * NUM_AUDIO_RATE_HZ;
    double to = (end_s + self->options.padding_s) * NUM_AUDIO_RATE_HZ;
    size_t start = from < (double)n_samples ? (size_t)from : n_samples;
    size_t stop = to < (double)n_samples ? (size_t)to : n_samples;
    struct stretch *s = &b->stretches[b->n++];
    *s = (struct stretch){.self = self, .watch = watch, .err = err};
    s->words = script->words + first->first;
    s->n_words = last->first + last->n - first->first;
    s->start = (double)start / NUM_AUDIO_RATE_HZ;
    int32_t status = prepare_stretch(s, pcm + start, stop - start);
    b->n_frames += s->n_frames;
    return status;
}

static int32_t align_all(struct al_ctc_words *self, struct batch *b, const float *pcm,
                         size_t n_samples, const struct al_script *script,
                         const struct num_watch *watch, struct al_ctc_report *report,
                         struct num_err *err) {
    int32_t status = SLUICE_OK;
    double end_s = 0;
    for (size_t at = 0, end; !status && at < script->n_segments; at = end) {
        end = find_stretch(self, script, at, &end_s);
        if (num_cancelled(watch))
            return num_fail(err, SLUICE_CANCELLED, "cancelled");
        status = add_stretch(self, b, pcm, n_samples, script, at, end, end_s, watch, err);
        if (!status && (is_full(self, b) || end == script->n_segments)) {
            status = align_batch(self, b, watch, report, err);
            empty(b);
        }
        num_progress(watch, (double)end / (double)script->n_segments);
    }
    return status;
}

int32_t al_ctc_words_align(struct al_ctc_words *self, const float *pcm, size_t n_samples,
                           struct al_script *script, const struct num_watch *watch,
                           struct al_ctc_report *ret_report, struct num_err *err) {
    struct al_ctc_report report = {0};
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return num_fail_memory(err, "the texts", sizeof *b);
    for (size_t i = 0; i < script->n_words; i++)
        script->words[i].timed = false;
    int32_t status = align_all(self, b, pcm, n_samples, script, watch, &report, err);
    empty(b);
    free(b);
    if (!status)
        *ret_report = report;
    return status;
}
