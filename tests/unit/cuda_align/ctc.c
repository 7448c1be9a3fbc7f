/*
 * Paths of many texts at once on a card: those of the processor, to the frame.
 */
#include "unit/cuda_encoder/device.h"

#include "align/cuda/ctc.h"

enum { TEXTS = 24, MAX_TOKENS = 300, MAX_FRAMES = 700, COLUMNS = 6 };

static uint32_t state = 1;

static uint32_t next_random(void) {
    state = state * 1664525 + 1013904223;
    return state >> 8;
}

struct text {
    struct al_ctc ctc;
    uint32_t tokens[MAX_TOKENS];
    float *logp;
    struct al_span spans[MAX_TOKENS];
};

/* Repeated tokens among few columns; log probabilities that are often equal where `steps` is small;
 * the last column is the largest of the others, as the star's is. */
static void make(struct text *t, size_t n, size_t more, uint32_t steps) {
    for (size_t k = 0; k < n; k++)
        t->tokens[k] = 1 + next_random() % (COLUMNS - 1);
    t->ctc = (struct al_ctc){.n_columns = COLUMNS, .tokens = t->tokens, .n_tokens = n};
    t->ctc.n_frames = al_ctc_frames(t->tokens, n) + more;
    CHECK(t->ctc.n_frames <= MAX_FRAMES);
    t->logp = keep(malloc(t->ctc.n_frames * COLUMNS * sizeof(float)));
    for (size_t f = 0; f < t->ctc.n_frames; f++) {
        float *row = t->logp + f * COLUMNS, most = -INFINITY;
        for (size_t c = 0; c + 1 < COLUMNS; c++) {
            row[c] = -(float)(next_random() % steps + 1) * 8 / (float)steps;
            most = fmaxf(most, row[c]);
        }
        row[COLUMNS - 1] = most - 0.05f;
    }
    t->ctc.logp = t->logp;
}

/* All texts in one launch. */
static void run(struct text *texts, size_t n) {
    struct al_cuda_text on_card[TEXTS];
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += al_cuda_text_bytes(&texts[i].ctc);
    char *at = device_room(bytes), *block = at;
    for (size_t i = 0; i < n; i++) {
        const struct al_ctc *c = &texts[i].ctc;
        al_cuda_text_place(c, at, &on_card[i]);
        at += al_cuda_text_bytes(c);
        CHECK_CUDA(cudaMemcpy((void *)on_card[i].logp, c->logp,
                              c->n_frames * COLUMNS * sizeof(float), cudaMemcpyHostToDevice));
        CHECK_CUDA(cudaMemcpy((void *)on_card[i].tokens, c->tokens, c->n_tokens * sizeof(uint32_t),
                              cudaMemcpyHostToDevice));
    }
    CHECK(at == block + bytes);
    struct al_cuda_text *list = device_copy(on_card, n * sizeof *on_card);
    CHECK_CUDA(al_cuda_ctc_run(list, n, NULL));
    CHECK_CUDA(cudaDeviceSynchronize());
    for (size_t i = 0; i < n; i++)
        CHECK_CUDA(cudaMemcpy(texts[i].spans, on_card[i].spans,
                              texts[i].ctc.n_tokens * sizeof(struct al_span),
                              cudaMemcpyDeviceToHost));
}

static void check(struct text *texts, size_t n) {
    struct al_span want[MAX_TOKENS];
    run(texts, n);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(al_ctc_align(&texts[i].ctc, NULL, want, NULL), SLUICE_OK);
        for (size_t k = 0; k < texts[i].ctc.n_tokens; k++)
            if (want[k].first != texts[i].spans[k].first || want[k].end != texts[i].spans[k].end)
                TEST_FAIL("text %zu, token %zu: [%u, %u), not [%u, %u)", i, k,
                          texts[i].spans[k].first, texts[i].spans[k].end, want[k].first,
                          want[k].end);
    }
}

TEST(paths_are_those_of_the_processor) {
    struct text *texts = keep(calloc(TEXTS, sizeof *texts));
    for (size_t i = 0; i < TEXTS; i++)
        make(&texts[i], 1 + next_random() % 40, next_random() % 60, i % 3 ? 1u << 20 : 4);
    check(texts, TEXTS);
}

/* More tokens than a block has threads, more frames than are traced at a time, and nothing to
 * spare. */
TEST(long_and_tight_texts) {
    struct text *texts = keep(calloc(3, sizeof *texts));
    make(&texts[0], MAX_TOKENS, 60, 1u << 20);
    make(&texts[1], MAX_TOKENS, 0, 4);
    make(&texts[2], 1, 100, 1u << 20);
    check(texts, 3);
}

TEST_MAIN()
