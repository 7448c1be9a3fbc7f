/*
 * Method ctc: word times from models of random weights. What the network hears in these sounds
 * means nothing; that every word gets times in order, and windows their frames, does not depend on
 * it.
 */
#include "unit/align/random_model.h"

#include "align/ctc_words.h"
#include "align/net.h"

static const char letters[] = "{\"<pad>\": 0, \"<s>\": 1, \"|\": 2, \"a\": 3, \"b\": 4, \"c\": 5, "
                              "\"d\": 6, \"e\": 7, \"f\": 8, "
                              "\"'\": 9, \"\u00e9\": 10, \"o\": 11, \"r\": 12, \"s\": 13, \"t\": "
                              "14, \"u\": 15, \"[UNK]\": 16, "
                              "\"a\u026a\": 17, \"n\": 18, \"i\": 19}";

/* ---- Words ----------------------------------------------------------------------------------- */

static struct al_ctc_words *create_on(struct random_model *m, double window_s,
                                      const struct al_backend *backend) {
    const struct al_ctc_options options = {NUM_COMPUTE_F32, 2, window_s, 1,    0.5,
                                           backend,         0, 0,        NULL, NULL};
    struct al_ctc_words *self = NULL;
    struct num_err err = {0};
    rm_init(m, "layer");
    rm_write(m, "vocab.json", letters, sizeof letters - 1, "wb");
    if (al_ctc_words_create(m->folder, &options, &self, &err))
        TEST_FAIL("%s", err.text);
    return self;
}

static struct al_ctc_words *create(struct random_model *m, double window_s) {
    return create_on(m, window_s, NULL);
}

static struct al_script script_of(const char *json) {
    struct al_script s;
    CHECK_INT(al_script_read(json, strlen(json), NULL, &s, NULL), 0);
    return s;
}

TEST(every_word_that_is_said_gets_times) {
    struct random_model m;
    size_t n;
    float *pcm = rm_audio(5, 9, &n);
    for (int long_one = 0; long_one < 2; long_one++) {
        struct al_ctc_words *self = create(&m, long_one ? 5 : 30);
        struct al_ctc_report report;
        struct al_script s = script_of(
            "{\"segments\": [{\"start\": 0.5, \"end\": 7, \"text\": \" Bad, it costs $25 \u2014 "
            "see?\"},"
            "{\"start\": 7.5, \"end\": 8.5, \"text\": \" not so\"}, {\"start\": 8.5, \"end\": 9, "
            "\"text\": \"\"}]}");
        CHECK_INT(al_ctc_words_align(self, pcm, n, &s, NULL, &report, NULL), 0);
        CHECK_INT(report.n_words, 7);
        CHECK_INT(report.n_others, 1); /* the dash */
        CHECK_INT(report.n_stars, 1);
        CHECK(s.words[3].timed && !s.words[4].timed);
        al_script_settle(&s);
        for (size_t i = 0; i < s.n_words; i++) {
            CHECK(s.words[i].start >= 0 && s.words[i].end >= s.words[i].start);
            CHECK(i == 0 || i == 6 || s.words[i].start >= s.words[i - 1].end - 1e-9);
            CHECK(s.words[i].end <= 9);
            if (i != 4)
                CHECK(s.words[i].probability > 0 && s.words[i].probability <= 1);
        }
        al_script_finish(&s);
        al_ctc_words_destroy(self);
        rm_finish(&m);
    }
    free(pcm);
}

/* Words that the dictionary lacks are stars. */
TEST(words_are_said_as_a_dictionary_says) {
    struct random_model m;
    struct al_ctc_words *self = NULL;
    struct al_ctc_report report;
    struct num_err err = {0};
    char path[128];
    size_t n;
    float *pcm = rm_audio(5, 4, &n);
    rm_init(&m, "layer");
    rm_write(&m, "vocab.json", letters, sizeof letters - 1, "wb");
    rm_write(&m, "words.txt", "eye\ta\u026a\nsee\ts i\n", 17, "wb");
    snprintf(path, sizeof path, "%s/words.txt", m.folder);
    const struct al_ctc_options options = {NUM_COMPUTE_F32, 2, 30, 3, 0.5, NULL, 0, 0, NULL, path};
    if (al_ctc_words_create(m.folder, &options, &self, &err))
        TEST_FAIL("%s", err.text);
    struct al_script s =
        script_of("{\"segments\": [{\"start\": 0.5, \"end\": 3, \"text\": \" Eye, see the "
                  "bees \u2014\"}]}");
    CHECK_INT(al_ctc_words_align(self, pcm, n, &s, NULL, &report, NULL), 0);
    CHECK_INT(report.n_words, 4);
    CHECK_INT(report.n_stars, 2);
    CHECK_INT(report.n_others, 1);
    al_script_finish(&s);
    al_ctc_words_destroy(self);
    rm_finish(&m);
    free(pcm);
}

/* Stretches apart, one of which cannot be spelt and one has no sound, whose paths are found one by
 * one and two at a time. */
TEST(texts_that_are_aligned_together_do_not_know_of_each_other) {
    static const char json[] = "{\"segments\": [{\"start\": 0.2, \"end\": 1, \"text\": \"see\"}, "
                               "{\"start\": 4, \"end\": 5, "
                               "\"text\": \"bad tea\"}, {\"start\": 8, \"end\": 8.5, \"text\": "
                               "\"\u2014\"}, {\"start\": 11, \"end\": 12, "
                               "\"text\": \"not so\"}, {\"start\": 14.5, \"end\": 15, \"text\": "
                               "\"a bee\"}, {\"start\": 40, \"end\": "
                               "41, \"text\": \"gone\"}]}";
    struct al_backend together = al_backend_cpu;
    struct al_ctc_report reports[2];
    struct al_script scripts[2];
    size_t n;
    float *pcm = rm_audio(5, 16, &n);
    together.n_texts = 2;
    for (size_t i = 0; i < 2; i++) {
        struct random_model m;
        struct al_ctc_words *self = create_on(&m, 30, i ? &together : NULL);
        scripts[i] = script_of(json);
        CHECK_INT(al_ctc_words_align(self, pcm, n, &scripts[i], NULL, &reports[i], NULL), 0);
        al_ctc_words_destroy(self);
        rm_finish(&m);
    }
    CHECK_INT(reports[0].n_words, 7);
    CHECK_INT(reports[0].n_others, 2);
    CHECK(memcmp(&reports[0], &reports[1], sizeof reports[0]) == 0);
    for (size_t i = 0; i < scripts[0].n_words; i++) {
        const struct al_word *a = &scripts[0].words[i], *b = &scripts[1].words[i];
        CHECK(a->timed == b->timed && a->start == b->start && a->end == b->end);
    }
    al_script_finish(&scripts[0]);
    al_script_finish(&scripts[1]);
    free(pcm);
}

TEST(text_without_sound_keeps_a_place) {
    struct random_model m;
    struct al_ctc_report report;
    struct al_ctc_words *self = create(&m, 30);
    static const float quiet[1600];
    struct al_script s =
        script_of("{\"segments\": [{\"start\": 0, \"end\": 0.1, \"text\": \"see the "
                  "bees and the sea\"}, {\"start\": 50, \"end\": 60, \"text\": \"a\"}]}");
    CHECK_INT(al_ctc_words_align(self, quiet, 1600, &s, NULL, &report, NULL), 0);
    CHECK_INT(report.n_words, 0);
    CHECK_INT(report.n_others, 7);
    al_script_settle(&s);
    CHECK_NEAR(s.words[5].end, 0.1, 1e-9);
    al_script_finish(&s);
    s = script_of("{\"segments\": []}");
    CHECK_INT(al_ctc_words_align(self, NULL, 0, &s, NULL, &report, NULL), 0);
    al_script_finish(&s);
    al_ctc_words_destroy(self);
    rm_finish(&m);
}

/* ---- Windows --------------------------------------------------------------------------------- */

enum { FRAMES = 354, WINDOW = 100, CONTEXT = 20 };

struct joined {
    float *logp;
    size_t next;
};

static int32_t take(void *ctx, size_t first, size_t n, const float *logp) {
    struct joined *j = ctx;
    CHECK(first == j->next && n > 0 && first + n <= FRAMES);
    memcpy(j->logp + first * RM_V, logp, n * RM_V * sizeof *logp);
    j->next += n;
    return SLUICE_OK;
}

static struct al_net *make_net(const struct random_model *m, uint32_t max_frames) {
    struct al_config config;
    struct al_files files;
    struct al_net *net;
    char *text;
    size_t len;
    CHECK_INT(num_file_read(m->folder, "config.json", false, "", &text, &len, NULL), 0);
    CHECK_INT(al_config_parse(text, len, NULL, 0, &config, NULL), 0);
    CHECK_INT(al_files_open(m->folder, &files, NULL), 0);
    struct al_net_options options = {
        .compute = NUM_COMPUTE_F32, .n_threads = 2, .max_frames = max_frames};
    CHECK_INT(al_net_create(&files, &config, &options, &net, NULL), 0);
    al_files_close(&files);
    free(text);
    return net;
}

/* Each frame comes once, from the window in which it has CONTEXT frames around it; one window is
 * one run. */
TEST(windows_join_at_frames) {
    struct random_model m;
    size_t n;
    float *pcm = rm_audio(1, 7.1, &n);
    struct joined windows = {malloc(sizeof(float) * FRAMES * RM_V), 0},
                  whole = {malloc(sizeof(float) * FRAMES * RM_V), 0};
    float *run = malloc(sizeof *run * FRAMES * RM_V);
    rm_init(&m, "group");
    struct al_net *net = make_net(&m, FRAMES);
    al_net_listen(net, pcm, n);
    CHECK_INT(al_net_windows(&al_backend_cpu, net, FRAMES, RM_V, WINDOW, CONTEXT,
                             &(struct al_taker){&windows, take}, NULL, NULL),
              0);
    CHECK_INT(al_net_windows(&al_backend_cpu, net, FRAMES, RM_V, FRAMES, CONTEXT,
                             &(struct al_taker){&whole, take}, NULL, NULL),
              0);
    CHECK(windows.next == FRAMES && whole.next == FRAMES);
    CHECK_INT(al_net_run(net, 0, FRAMES, NULL, run, NULL), 0);
    CHECK(memcmp(run, whole.logp, sizeof *run * FRAMES * RM_V) == 0);
    for (size_t at = 0; at < FRAMES; at++) {
        size_t index =
            at < WINDOW - CONTEXT ? 0 : (at - (WINDOW - CONTEXT)) / (WINDOW - 2 * CONTEXT) + 1;
        size_t first = index * (WINDOW - 2 * CONTEXT);
        if (first + WINDOW > FRAMES + WINDOW - 2 * CONTEXT || at % 7)
            continue;
        size_t end = first + WINDOW < FRAMES ? first + WINDOW : FRAMES;
        CHECK_INT(al_net_run(net, first, end - first, NULL, run, NULL), 0);
        for (size_t v = 0; v < RM_V; v++)
            CHECK(run[(at - first) * RM_V + v] == windows.logp[at * RM_V + v]);
    }
    al_net_destroy(net);
    rm_finish(&m);
    free(pcm);
    free(run);
    free(windows.logp);
    free(whole.logp);
}

static bool always(void *ctx) {
    (void)ctx;
    return true;
}

TEST(work_can_be_cancelled) {
    struct random_model m;
    struct al_ctc_report report;
    struct al_ctc_words *self = create(&m, 30);
    static const float quiet[32000];
    const struct num_watch watch = {.cancelled = always};
    struct al_script s = script_of("{\"segments\": [{\"start\": 0, \"end\": 2, \"text\": \"a\"}]}");
    CHECK_INT(al_ctc_words_align(self, quiet, 32000, &s, &watch, &report, NULL), SLUICE_CANCELLED);
    al_script_finish(&s);
    al_ctc_words_destroy(self);
    rm_finish(&m);
}

/* ---- Folders --------------------------------------------------------------------------------- */

static void check_folder(const char *more, int32_t status, const char *why) {
    const struct al_ctc_options options = {NUM_COMPUTE_F32, 1, 30, 3, 0.5, NULL, 0, 0, NULL, NULL};
    struct random_model m;
    struct al_ctc_words *self;
    struct num_err err = {0};
    rm_init(&m, "group");
    rm_write(&m, "vocab.json", letters, sizeof letters - 1, "wb");
    rm_write_config(&m, more);
    CHECK_INT(al_ctc_words_create(m.folder, &options, &self, &err), status);
    CHECK_HAS(err.text, why);
    CHECK_HAS(err.text, m.folder);
    rm_finish(&m);
}

static int32_t create_many(struct random_model *m, const char *language, bool adapter,
                           struct al_ctc_words **ret, struct num_err *err) {
    static const char vocab[] =
        "{\"one\": {\"<pad>\": 0, \"|\": 1, \"a\": 2}, \"other\": {\"<pad>\": 0, \"|\": 1, "
        "\"b\": 23}, \"third\": {\"<pad>\": 0, \"c\": 1}}";
    const struct al_ctc_options options = {NUM_COMPUTE_F32, 1,   30, 3, 0.5, NULL, 0, 0,
                                           language,        NULL};
    rm_init(m, "languages");
    rm_write(m, "vocab.json", vocab, sizeof vocab - 1, "wb");
    char path[128];
    snprintf(path, sizeof path, "%s/adapter.other.safetensors", m->folder);
    CHECK(adapter || unlink(path) == 0);
    return al_ctc_words_create(m->folder, &options, ret, err);
}

TEST(the_language_of_a_model_of_many_is_chosen) {
    static const char *const languages[] = {"one", NULL, "other"};
    size_t n;
    float *pcm = rm_audio(5, 4, &n);
    for (size_t i = 0; i < 3; i++) {
        struct random_model m;
        struct al_ctc_words *self = NULL;
        struct al_ctc_report report;
        struct num_err err = {0};
        struct al_script s =
            script_of("{\"segments\": [{\"start\": 0.5, \"end\": 3, \"text\": \" a b aa\"}]}");
        if (create_many(&m, languages[i], true, &self, &err))
            TEST_FAIL("%s", err.text);
        CHECK_INT(al_ctc_words_align(self, pcm, n, &s, NULL, &report, NULL), 0);
        CHECK_INT(report.n_words, 3);
        CHECK_INT(report.n_stars, i < 2 ? 1 : 2); /* letters of the other language */
        al_script_finish(&s);
        al_ctc_words_destroy(self);
        rm_finish(&m);
    }
    free(pcm);
}

static void check_language(const char *language, bool adapter, const char *why) {
    struct random_model m;
    struct al_ctc_words *self = NULL;
    struct num_err err = {0};
    CHECK_INT(create_many(&m, language, adapter, &self, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, why);
    rm_finish(&m);
}

TEST(languages_that_are_not_there_are_refused) {
    check_language("oth", true, "no vocabulary of the language \"oth\"; of the 3 that it has");
    check_language("third", true, "no adapter.third.safetensors");
    check_language("other", false, "no adapter.other.safetensors");
    check_language("../one", true, "are called eng, deu");
}

TEST(other_networks_are_refused) {
    check_folder(", \"model_type\": \"wavlm\"", SLUICE_UNSUPPORTED, "model_type is \"wavlm\"");
    check_folder(", \"hidden_act\": \"relu\"", SLUICE_UNSUPPORTED, "an activation is not gelu");
    check_folder(", \"add_adapter\": true", SLUICE_UNSUPPORTED, "add_adapter");
    check_folder(", \"hidden_size\": 65", SLUICE_UNSUPPORTED, "multiple of 32");
    check_folder(", \"num_attention_heads\": 0", SLUICE_INPUT, "num_attention_heads must be");
    check_folder(", \"intermediate_size\": 128", SLUICE_INPUT,
                 "where config.json asks for [128, 64]");
    check_folder(", \"num_hidden_layers\": 3", SLUICE_INPUT, "no tensor wav2vec2.encoder.layers.2");
    check_folder(", \"conv_stride\": [5, 2]", SLUICE_INPUT, "conv_stride must be a list of 7");
}

TEST_MAIN()
