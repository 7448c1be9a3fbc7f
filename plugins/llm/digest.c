/*
 * Map-reduce over a transcript: see digest.h. Texts are lists of pieces with their numbers of
 * tokens, first of segments, then of notes; windows are ranges of them. Notes take at most a
 * quarter of a window, so that each round halves the text at least.
 */
#include "llm/digest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "num/buf.h"

#define LEAST_ROOM   64 /* tokens of text in a window */
#define PIECE_TOKENS 2  /* what stands between pieces, at most */
#define MARGIN       16 /* one in so many tokens: the whole may take more than its parts */
#define MAX_ROUNDS   12
#define MAX_SPEAKER  200 /* bytes of a name that are shown */
#define TOKEN_BYTES  16  /* a cut begins its search with so many for each token */
#define MAX_NOTES    512 /* tokens of notes on a window */

struct piece {
    char *text; /* owned */
    size_t len;
    const char *speaker; /* borrowed, NULL: none */
    bool turn;           /* it begins a line */
    uint32_t n_tokens;
};

struct pieces {
    struct piece *items; /* [n] */
    size_t n, room;
};

static void pieces_finish(struct pieces *p) {
    for (size_t i = 0; i < p->n; i++)
        free(p->items[i].text);
    free(p->items);
    *p = (struct pieces){0};
}

static int32_t append(struct pieces *p, const char *text, size_t len, struct piece piece,
                      struct num_err *err) {
    int32_t status = num_grow(&p->items, p->n, &p->room, sizeof piece, "pieces of a text", err);
    if (status != SLUICE_OK)
        return status;
    piece.text = malloc(len + 1);
    if (!piece.text)
        return num_fail_memory(err, "a piece of a text", len);
    memcpy(piece.text, text, len);
    piece.text[len] = '\0';
    piece.len = len;
    p->items[p->n++] = piece;
    return SLUICE_OK;
}

/* Where to cut at about `at`: behind a blank in the second half before it, else between
 * characters. */
static size_t cut_at(const char *text, size_t at) {
    for (size_t i = at; i > at / 2; i--)
        if (text[i - 1] == ' ')
            return i;
    while (at > 1 && ((uint8_t)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

/* Appends a text, cut where it takes more than `most` tokens. */
static int32_t add_text(const struct lm_session *s, struct pieces *p, const char *text, size_t len,
                        const char *speaker, uint32_t most, bool turn, struct num_err *err) {
    uint32_t n_speaker = 0;
    int32_t status = SLUICE_OK;
    if (speaker)
        status = lm_session_count(s, speaker, strnlen(speaker, MAX_SPEAKER), &n_speaker, err);
    if (n_speaker > most / 2) {
        speaker = NULL;
        n_speaker = 0;
    }
    for (size_t at = 0, n; at < len && status == SLUICE_OK; at += n, turn = false) {
        struct piece piece = {.speaker = speaker, .turn = turn};
        n = len - at;
        if (n > (size_t)most * TOKEN_BYTES)
            n = cut_at(text + at, (size_t)most * TOKEN_BYTES);
        status = lm_session_count(s, text + at, n, &piece.n_tokens, err);
        while (status == SLUICE_OK && n > 1 && piece.n_tokens + n_speaker > most) {
            n = cut_at(text + at, n / 2);
            status = lm_session_count(s, text + at, n, &piece.n_tokens, err);
        }
        piece.n_tokens += n_speaker + PIECE_TOKENS;
        if (status == SLUICE_OK)
            status = append(p, text + at, n, piece, err);
    }
    return status;
}

static int32_t add_transcript(const struct lm_session *s, const struct lm_transcript *t,
                              uint32_t most, struct pieces *ret, struct num_err *err) {
    const struct lm_segment *before = NULL;
    int32_t status = SLUICE_OK;
    for (size_t i = 0; i < t->n_segments && status == SLUICE_OK; i++) {
        const struct lm_segment *g = &t->segments[i];
        if (g->len == 0)
            continue;
        bool turn = !before || !lm_same_speaker(before, g);
        status = add_text(s, ret, g->text, g->len, g->speaker, most, turn, err);
        before = g;
    }
    return status;
}

static void print(const struct pieces *p, size_t first, size_t last, struct num_buf *out) {
    for (size_t i = first; i < last; i++) {
        const struct piece *piece = &p->items[i];
        if (i > first)
            num_buf_addc(out, piece->turn ? '\n' : ' ');
        if (piece->speaker && (piece->turn || i == first))
            num_buf_addf(out, "%.*s: ", MAX_SPEAKER, piece->speaker);
        num_buf_add(out, piece->text, piece->len);
    }
    num_buf_addc(out, '\n');
}

/* The end of the window that begins at `first`. */
static size_t window_end(const struct pieces *p, size_t first, uint32_t room) {
    uint64_t sum = 0;
    size_t end = first;
    while (end < p->n && (end == first || sum + p->items[end].n_tokens <= room))
        sum += p->items[end++].n_tokens;
    for (size_t i = end; end < p->n && i > first + (end - first) / 2; i--)
        if (p->items[i].turn)
            return i;
    return end;
}

/* ---- Questions ------------------------------------------------------------------------------ */

struct run {
    struct lm_session *session;
    const struct lm_digest *digest;
    struct lm_digest_report report;
    uint32_t room, notes; /* tokens of a window's text, and of notes on it */
};

/* The user's text of a question about pieces [first, last), owned by the caller. */
static char *question_text(const char *question, const struct pieces *p, size_t first, size_t last,
                           size_t *ret_len) {
    struct num_buf user = {0};
    num_buf_adds(&user, question);
    num_buf_adds(&user, "\n\n");
    print(p, first, last, &user);
    *ret_len = user.len;
    return num_buf_steal(&user);
}

static void account(struct run *r, const struct lm_answer *answer) {
    r->report.n_prompt += answer->n_prompt;
    r->report.n_tokens += answer->n_tokens;
}

/* What a window may hold, from the context and what the questions take. */
static int32_t plan(struct run *r, struct num_err *err) {
    const struct lm_digest *d = r->digest;
    uint32_t context = r->session->context, max = d->ask.max_tokens;
    size_t longest = 0;
    const char *const questions[] = {d->whole, d->part};
    for (int i = 0; i < 2; i++) {
        uint32_t n = 0;
        int32_t status = lm_session_frame(r->session, d->ask.system, questions[i],
                                          strlen(questions[i]), &n, err);
        if (status != SLUICE_OK)
            return status;
        longest = n > longest ? n : longest;
    }
    uint64_t taken = longest + 2 * PIECE_TOKENS + max, room = taken < context ? context - taken : 0;
    room -= room / MARGIN;
    if (room < LEAST_ROOM)
        return num_fail(err, SLUICE_INPUT,
                        "a context of %" PRIu32 " tokens is too small for a question of %zu and an "
                        "answer of %" PRIu32
                        ": lower max_tokens, or give the model a longer context",
                        context, longest, max);
    r->room = (uint32_t)room;
    r->notes = r->room / 4 < MAX_NOTES ? r->room / 4 : MAX_NOTES;
    return SLUICE_OK;
}

/* The windows of a round: questions that ask for notes, and their texts. */
struct windows {
    struct lm_question *questions; /* [n] */
    char **texts;                  /* [n], owned */
    size_t n;
    struct run *run;
};

static void windows_finish(struct windows *w) {
    for (size_t i = 0; w->texts && i < w->n; i++)
        free(w->texts[i]);
    free(w->texts);
    lm_questions_free(w->questions, w->n);
}

static size_t n_windows(const struct run *r, const struct pieces *p) {
    size_t n = 0;
    for (size_t at = 0; at < p->n; at = window_end(p, at, r->room))
        n++;
    return n;
}

static int32_t windows_make(struct run *r, const struct pieces *p, struct windows *w,
                            struct num_err *err) {
    size_t n = n_windows(r, p), i = 0;
    w->run = r;
    w->questions = calloc(n + 1, sizeof *w->questions);
    w->texts = calloc(n + 1, sizeof *w->texts);
    if (!w->questions || !w->texts)
        return num_fail_memory(err, "windows", n * sizeof *w->questions);
    w->n = n;
    for (size_t at = 0, end; at < p->n; at = end, i++) {
        struct lm_ask *ask = &w->questions[i].ask;
        end = window_end(p, at, r->room);
        *ask = r->digest->ask;
        ask->grammar = NULL;
        ask->schema = NULL;
        ask->gbnf = NULL;
        ask->text = NULL;
        ask->max_tokens = r->notes;
        w->texts[i] = question_text(r->digest->part, p, at, end, &ask->user_len);
        ask->user = w->texts[i];
        if (!ask->user)
            return num_fail_memory(err, "a question", ask->user_len);
    }
    return SLUICE_OK;
}

static void on_notes(void *ctx, size_t n_done) {
    const struct windows *w = ctx;
    const struct lm_digest *d = w->run->digest;
    if (d->progress)
        d->progress(d->ask.ctx, 0.9 * (double)n_done / (double)w->n);
}

/* Notes on every window of `p`, in their order. */
static int32_t take_notes(struct run *r, const struct pieces *p, struct pieces *ret,
                          struct num_err *err) {
    struct windows w = {0};
    int32_t status = windows_make(r, p, &w, err);
    if (status == SLUICE_OK)
        status = lm_session_ask_all(r->session, w.questions, w.n, on_notes, &w, err);
    for (size_t i = 0; status == SLUICE_OK && i < w.n; i++) {
        const struct num_buf *out = &w.questions[i].out;
        account(r, &w.questions[i].answer);
        status =
            add_text(r->session, ret, num_buf_text(out), out->len, NULL, r->room / 2, true, err);
    }
    if (r->report.n_rounds == 0)
        r->report.n_windows = (uint32_t)w.n;
    r->report.n_rounds++;
    windows_finish(&w);
    return status;
}

/* The question that the digest is about, of pieces [0, end). */
static int32_t ask_whole(struct run *r, const struct pieces *p, size_t end, struct num_buf *out,
                         struct num_err *err) {
    struct lm_ask ask = r->digest->ask;
    struct lm_answer answer = {0};
    num_autotext *text = question_text(r->digest->whole, p, 0, end, &ask.user_len);
    if (!text)
        return num_fail_memory(err, "a question", ask.user_len);
    ask.user = text;
    int32_t status = lm_session_ask(r->session, &ask, out, &answer, err);
    account(r, &answer);
    r->report.cut = answer.end == LM_END_LENGTH;
    return status;
}

/* Rounds of notes until they fit; notes that do not shrink are cut to what fits. */
static int32_t answer(struct run *r, struct pieces *p, struct num_buf *out, struct num_err *err) {
    int32_t status = SLUICE_OK;
    size_t end = window_end(p, 0, r->room);
    for (int round = 0; end < p->n && round < MAX_ROUNDS && status == SLUICE_OK; round++) {
        struct pieces notes = {0};
        status = take_notes(r, p, &notes, err);
        pieces_finish(p);
        *p = notes;
        end = window_end(p, 0, r->room);
    }
    if (r->report.n_rounds == 0)
        r->report.n_windows = 1;
    if (status == SLUICE_OK && (p->n || r->digest->ask.grammar))
        status = ask_whole(r, p, end, out, err);
    return status;
}

int32_t lm_digest_run(struct lm_session *s, const struct lm_transcript *transcript,
                      const struct lm_digest *digest, struct num_buf *out,
                      struct lm_digest_report *ret, struct num_err *err) {
    struct run r = {.session = s, .digest = digest};
    struct pieces pieces = {0};
    int32_t status = plan(&r, err);
    if (status == SLUICE_OK)
        status = add_transcript(s, transcript, r.room / 2, &pieces, err);
    if (status == SLUICE_OK)
        status = answer(&r, &pieces, out, err);
    pieces_finish(&pieces);
    if (status == SLUICE_OK)
        *ret = r.report;
    return status;
}
