/*
 * Word times from attention that is made by hand: each token looks at known positions.
 */
#include "unit/test.h"

#include "align/attention.h"
#include "num/safetensors.h"

enum { HEADS = 2, FRAMES = 50, MAX_BYTES = 1 << 20 };

/* attention/1 of the test: tensors are added one by one. */
struct file {
    struct num_tensor tensors[8];
    struct num_meta meta[8];
    char names[16][32];
    uint16_t values[MAX_BYTES / 2];
    size_t n_tensors, n_meta, n_names, n_values;
};

static const char *name_of(struct file *f, const char *format, int id) {
    snprintf(f->names[f->n_names], sizeof f->names[0], format, id);
    return f->names[f->n_names++];
}

/* A segment whose token i looks at positions [at[i], at[i] + 4), with less on both sides. */
static void add(struct file *f, int id, const char *start, const int *at, size_t n_tokens,
                const int *counts, size_t n_words) {
    const uint16_t half = 0x3800, quarter_of_it = 0x3000;
    f->tensors[f->n_tensors++] = (struct num_tensor){.name = name_of(f, "segment_%d", id),
                                                     .dtype = NUM_F16,
                                                     .n_dims = 3,
                                                     .shape = {HEADS, n_tokens, FRAMES}};
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < n_tokens; i++)
            for (int t = 0; t < FRAMES; t++)
                f->values[f->n_values++] = t >= at[i] && t < at[i] + 4       ? half
                                           : t >= at[i] - 3 && t < at[i] + 6 ? quarter_of_it
                                                                             : 0;
    f->tensors[f->n_tensors++] = (struct num_tensor){.name = name_of(f, "segment_%d.words", id),
                                                     .dtype = NUM_U16,
                                                     .n_dims = 1,
                                                     .shape = {n_words}};
    for (size_t i = 0; i < n_words; i++)
        f->values[f->n_values++] = (uint16_t)counts[i];
    f->meta[f->n_meta++] = (struct num_meta){name_of(f, "segment_%d.start", id), start};
}

static size_t finish(struct file *f, char *to) {
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(f->tensors, f->n_tensors, f->meta, f->n_meta, 0, &header, &len,
                                     NULL),
              0);
    memcpy(to, header, len);
    memcpy(to + len, f->values, 2 * f->n_values);
    free(header);
    return len + 2 * f->n_values;
}

static const char transcript[] =
    "{\"segments\": [{\"id\": 0, \"start\": 10, \"end\": 10.5, \"text\": \" a bc\", \"words\": "
    "[{\"word\": \" a\", \"start\": 10, \"end\": 10.1}, {\"word\": \" bc\", \"start\": 10.1, "
    "\"end\": 10.5}]}, {\"id\": 1, \"start\": 10.5, \"end\": 11, \"text\": \" d\", \"words\": "
    "[{\"word\": \" d\", \"start\": 10.5, \"end\": 11}]}, {\"id\": 2, \"start\": 11, \"end\": "
    "11.5, \"text\": \" e\", \"words\": [{\"word\": \" e\", \"start\": 11, \"end\": 11.5}]}]}";

static int32_t run(struct file *f, struct al_script *s, struct al_attention_report *report,
                   struct num_err *err) {
    char *data = malloc(MAX_BYTES);
    size_t len = finish(f, data);
    CHECK_INT(al_script_read(transcript, sizeof transcript - 1, NULL, s, err), 0);
    int32_t status = al_attention_align(data, len, s, NULL, report, err);
    free(data);
    return status;
}

TEST(words_start_at_half_of_the_largest_attention) {
    struct file *f = calloc(1, sizeof *f);
    struct al_script s;
    struct al_attention_report report = {0};
    struct num_err err = {0};
    add(f, 0, "10.00", (const int[]){5, 14, 20}, 3, (const int[]){1, 2}, 2);
    add(f, 1, "10.00", (const int[]){30}, 1, (const int[]){1}, 1);
    CHECK_INT(run(f, &s, &report, &err), 0);
    CHECK_INT(report.n_words, 3);
    CHECK_INT(report.n_others, 1); /* segment 2 has no attention */
    CHECK_NEAR(s.words[0].start, 10.1, 1e-9);
    CHECK_NEAR(s.words[0].end, 10.28, 1e-9);
    CHECK_NEAR(s.words[1].start, 10.28, 1e-9);
    CHECK_NEAR(s.words[1].end, 10.6, 1e-9);
    CHECK_NEAR(s.words[2].start, 10.6, 1e-9);
    CHECK_NEAR(s.words[2].end, 11, 1e-9); /* the window's end */
    CHECK_NEAR(s.words[3].start, 11, 1e-9);
    al_script_finish(&s);
    free(f);
}

TEST(a_word_may_take_tokens_of_the_next_segment) {
    struct file *f = calloc(1, sizeof *f);
    struct al_script s;
    struct al_attention_report report;
    add(f, 0, "10", (const int[]){5, 14}, 2, (const int[]){1, 2}, 2);
    add(f, 1, "10", (const int[]){22, 30}, 2, (const int[]){1}, 1);
    CHECK_INT(run(f, &s, &report, NULL), 0);
    CHECK_NEAR(s.words[2].start, 10.6, 1e-9); /* its token is the fourth, not the third */
    al_script_finish(&s);
    free(f);
}

TEST(segments_that_changed_keep_their_times) {
    struct file *f = calloc(1, sizeof *f);
    struct al_script s;
    struct al_attention_report report;
    add(f, 0, "10", (const int[]){5, 14}, 2, (const int[]){2}, 1); /* one word; now there are two */
    add(f, 1, "10", (const int[]){30}, 1, (const int[]){1}, 1);
    CHECK_INT(run(f, &s, &report, NULL), 0);
    CHECK_INT(report.n_words, 1);
    CHECK_INT(report.n_others, 3);
    CHECK_NEAR(s.words[1].start, 10.1, 1e-9);
    CHECK_NEAR(s.words[2].start, 10.6, 1e-9);
    al_script_finish(&s);
    free(f);
}

TEST(more_tokens_than_positions_keep_their_times) {
    struct file *f = calloc(1, sizeof *f);
    struct al_script s;
    struct al_attention_report report;
    int at[FRAMES + 1] = {0};
    add(f, 0, "10", at, FRAMES + 1, (const int[]){1, FRAMES}, 2);
    CHECK_INT(run(f, &s, &report, NULL), 0);
    CHECK_INT(report.n_others, 4);
    CHECK_NEAR(s.words[0].end, 10.1, 1e-9);
    al_script_finish(&s);
    free(f);
}

static void check_refused(struct file *f, const char *why) {
    struct al_script s;
    struct al_attention_report report;
    struct num_err err = {0};
    CHECK_INT(run(f, &s, &report, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, why);
    al_script_finish(&s);
    free(f);
}

TEST(what_does_not_belong_is_refused) {
    struct file *f = calloc(1, sizeof *f);
    check_refused(f, "no tensor for any of the 3 segments");
    f = calloc(1, sizeof *f);
    add(f, 0, "soon", (const int[]){5}, 1, (const int[]){1}, 1);
    f->meta[0].value = "-3";
    check_refused(f, "no segment_0.start");
    f = calloc(1, sizeof *f);
    add(f, 0, "1", (const int[]){5}, 1, (const int[]){1}, 1);
    f->tensors[0].dtype = NUM_U16;
    check_refused(f, "segment_0 is not F16");
    f = calloc(1, sizeof *f);
    add(f, 0, "1", (const int[]){5}, 1, (const int[]){1}, 1);
    f->tensors[1].name = "other";
    check_refused(f, "no tensor segment_0.words");
}

TEST_MAIN()
