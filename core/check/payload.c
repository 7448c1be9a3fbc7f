/*
 * Payloads, see payload.h: one maker a type with a size, small and large, and hostile ones that are
 * made out of the typical one. The tone is a sine of 440 Hz at half scale; "random" bytes are those
 * of xorshift64 from a fixed seed.
 */
#include "check/payload.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <sluice/types.h>

#define RATE_HZ          16000
#define TONE_HZ          440.0
#define LARGE_ITEMS      20000
#define LARGE_SECONDS    120
#define LARGE_TEXT_BYTES (4 << 20)
#define RANDOM_BYTES     4096
#define NESTING          100000 /* levels of a JSON list */

static void add_u64(struct sl_str *s, uint64_t value) {
    sl_str_addn(s, (const char *)&value, sizeof value);
}

static void add_u32(struct sl_str *s, uint32_t value) {
    sl_str_addn(s, (const char *)&value, sizeof value);
}

static void add_u16(struct sl_str *s, uint16_t value) {
    sl_str_addn(s, (const char *)&value, sizeof value);
}

static double tone(int i) {
    return 0.5 * sin(2 * M_PI * TONE_HZ * i / RATE_HZ);
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static void add_header(struct sl_str *s, const char *header) {
    size_t padded = (strlen(header) + 7) / 8 * 8;
    add_u64(s, padded);
    sl_str_add(s, header);
    sl_str_pad(s, ' ', (int)(padded - strlen(header)));
}

static void add_audio(struct sl_str *s, int n_samples, bool silent) {
    sl_autostr struct sl_str header = {0};
    sl_str_addf(
        &header,
        "{\"__metadata__\":{\"sample_rate\":\"16000\",\"source\":\"made\",\"duration\":\"%.6f\"},"
        "\"pcm\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[0,%d]}}",
        n_samples / (double)RATE_HZ, n_samples, 4 * n_samples);
    add_header(s, sl_str_text(&header));
    for (int i = 0; i < n_samples; i++) {
        float x = silent ? 0 : (float)tone(i);
        sl_str_addn(s, (const char *)&x, sizeof x);
    }
}

/* One F32 tensor [rows, 4] of small numbers; rows 0: no tensor. */
static void add_matrix(struct sl_str *s, const char *name, int rows) {
    sl_autostr struct sl_str header = {0};
    if (rows > 0)
        sl_str_addf(&header,
                    "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%d,4],\"data_offsets\":[0,%d]}}", name,
                    rows, 16 * rows);
    else
        sl_str_add(&header, "{}");
    add_header(s, sl_str_text(&header));
    for (int i = 0; i < 4 * rows; i++) {
        float x = (float)(i % 7) / 8;
        sl_str_addn(s, (const char *)&x, sizeof x);
    }
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* PCM, one channel, 16 bits. */
static void add_wav(struct sl_str *s, int seconds) {
    uint32_t data_len = (uint32_t)(2 * RATE_HZ * seconds);
    sl_str_addn(s, "RIFF", 4);
    add_u32(s, 36 + data_len);
    sl_str_addn(s, "WAVEfmt ", 8);
    add_u32(s, 16);
    add_u16(s, 1);
    add_u16(s, 1);
    add_u32(s, RATE_HZ);
    add_u32(s, 2 * RATE_HZ);
    add_u16(s, 2);
    add_u16(s, 16);
    sl_str_addn(s, "data", 4);
    add_u32(s, data_len);
    for (int i = 0; i < RATE_HZ * seconds; i++)
        add_u16(s, (uint16_t)(int16_t)lrint(32767 * tone(i)));
}

/* ---- Structures ------------------------------------------------------------------------------ */

static void add_regions(struct sl_str *s, int n) {
    sl_str_add(s, "{\"regions\":[");
    for (int i = 0; i < n; i++)
        sl_str_addf(s, "%s{\"start\":%d.25,\"end\":%d.75,\"score\":0.9}", i ? "," : "", i, i);
    sl_str_add(s, "]}");
}

static void add_turn_list(struct sl_str *s, const char *name, int n) {
    sl_str_addf(s, "\"%s\":[", name);
    for (int i = 0; i < n; i++)
        sl_str_addf(s, "%s{\"start\":%d.0,\"end\":%d.5,\"speaker\":\"SPEAKER_%02d\"}", i ? "," : "",
                    i, i, i % 3);
    sl_str_add(s, "]");
}

static void add_turns(struct sl_str *s, int n) {
    sl_str_add(s, "{");
    add_turn_list(s, "turns", n);
    sl_str_add(s, ",");
    add_turn_list(s, "exclusive", n);
    sl_str_add(s, "}");
}

static void add_segment(struct sl_str *s, int i) {
    sl_str_addf(
        s,
        "{\"id\":%d,\"start\":%d.0,\"end\":%d.9,\"text\":\" Größe %d, said "
        "Ada.\",\"tokens\":[1,2,3],"
        "\"temperature\":0.0,\"avg_logprob\":-0.25,\"compression_ratio\":1.1,\"no_speech_prob\":0."
        "01,"
        "\"words\":[{\"word\":\" Größe\",\"start\":%d.0,\"end\":%d.5,\"probability\":0.9}]}",
        i, i, i, i, i, i);
}

static void add_transcript(struct sl_str *s, int n) {
    sl_str_addf(s, "{\"language\":\"en\",\"duration\":%d.0,\"text\":\"%s\",\"segments\":[", n,
                n ? " Größe 0, said Ada." : "");
    for (int i = 0; i < n; i++) {
        sl_str_add(s, i ? "," : "");
        add_segment(s, i);
    }
    sl_str_add(s, "]}");
}

static void add_json(struct sl_str *s, int n) {
    sl_str_add(s, "{\"numbers\":[");
    for (int i = 0; i < n; i++)
        sl_str_addf(s, "%s%d", i ? "," : "", i);
    sl_str_add(s, "],\"text\":\"Größe\",\"none\":null,\"yes\":true,\"half\":0.5}");
}

static void add_text(struct sl_str *s, int len) {
    static const char sentence[] = "Ada met Bob in Köln, and Bob left early. ";
    while (s->len < (size_t)len)
        sl_str_add(s, sentence);
    sl_str_add(s, "\n");
}

/* ---- By type --------------------------------------------------------------------------------- */

static void add_tone(struct sl_str *s, int n_samples) {
    add_audio(s, n_samples, false);
}

static void add_silence(struct sl_str *s, int n_samples) {
    add_audio(s, n_samples, true);
}

static void add_attention(struct sl_str *s, int rows) {
    add_matrix(s, "segment_0", rows);
}

static void add_embeddings(struct sl_str *s, int rows) {
    add_matrix(s, "embeddings", rows);
}

static void add_null(struct sl_str *s, int n) {
    (void)n;
    sl_str_add(s, "null");
}

static void add_empty_object(struct sl_str *s, int n) {
    (void)n;
    sl_str_add(s, "{}");
}

static void add_word(struct sl_str *s, int n) {
    (void)n;
    sl_str_add(s, "Ada");
}

static void add_nothing(struct sl_str *s, int n) {
    (void)n;
    sl_str_add(s, "");
}

/* A payload by its maker and what that takes as a size: samples, elements, rows, bytes or seconds.
 */
struct made {
    const char *what;
    void (*make)(struct sl_str *s, int n);
    int n;
};

static const struct kind {
    const char *type;
    struct made valid[5]; /* up to the first without a name */
    struct made large;
    bool json, tensors;
} kinds[] = {
    {
        SLUICE_TYPE_AUDIO,
        {{"no samples", add_silence, 0},
         {"one sample", add_tone, 1},
         {"0.1 s of silence", add_silence, RATE_HZ / 10},
         {"1 s of a tone", add_tone, RATE_HZ}},
        {"120 s of a tone", add_tone, LARGE_SECONDS *RATE_HZ},
        .tensors = true,
    },
    {
        SLUICE_TYPE_REGIONS,
        {{"no region", add_regions, 0}, {"one region", add_regions, 1}},
        {"20,000 regions", add_regions, LARGE_ITEMS},
        .json = true,
    },
    {
        SLUICE_TYPE_TURNS,
        {{"no turn", add_turns, 0}, {"two turns", add_turns, 2}},
        {"20,000 turns", add_turns, LARGE_ITEMS},
        .json = true,
    },
    {
        SLUICE_TYPE_TRANSCRIPT,
        {{"no segment", add_transcript, 0},
         {"one segment", add_transcript, 1},
         {"three segments", add_transcript, 3}},
        {"20,000 segments", add_transcript, LARGE_ITEMS},
        .json = true,
    },
    {
        SLUICE_TYPE_ATTENTION,
        {{"no tensor", add_attention, 0}, {"one tensor", add_attention, 3}},
        {"a large tensor", add_attention, LARGE_ITEMS},
        .tensors = true,
    },
    {
        SLUICE_TYPE_EMBEDDINGS,
        {{"no tensor", add_embeddings, 0}, {"two rows", add_embeddings, 2}},
        {"20,000 rows", add_embeddings, LARGE_ITEMS},
        .tensors = true,
    },
    {
        SLUICE_TYPE_JSON,
        {{"null", add_null, 0},
         {"an empty object", add_empty_object, 0},
         {"an object", add_json, 3}},
        {"a list of 20,000", add_json, LARGE_ITEMS},
        .json = true,
    },
    {
        SLUICE_TYPE_TEXT,
        {{"an empty text", add_nothing, 0},
         {"a word", add_word, 0},
         {"a few sentences", add_text, 100}},
        {"4 MiB of text", add_text, LARGE_TEXT_BYTES},
    },
    {
        SLUICE_TYPE_FILE,
        {{"an empty file", add_nothing, 0},
         {"a text file", add_text, 100},
         {"a WAV file of 1 s", add_wav, 1}},
        {"a WAV file of 120 s", add_wav, LARGE_SECONDS},
    },
};

static const struct kind *find_kind(const char *type) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].type, type) == 0)
            return &kinds[i];
    return NULL;
}

static const char *make(const struct made *m, struct sl_str *ret) {
    if (m->what)
        m->make(ret, m->n);
    return m->what;
}

const char *sl_payload_valid(const char *type, int i, struct sl_str *ret) {
    const struct kind *k = find_kind(type);
    return k && i < (int)(sizeof k->valid / sizeof *k->valid) ? make(&k->valid[i], ret) : NULL;
}

const char *sl_payload_typical(const char *type, struct sl_str *ret) {
    const struct kind *k = find_kind(type);
    int last = 0;
    while (k && k->valid[last].what)
        last++;
    return k ? make(&k->valid[last - 1], ret) : NULL;
}

const char *sl_payload_large(const char *type, struct sl_str *ret) {
    const struct kind *k = find_kind(type);
    return k ? make(&k->large, ret) : NULL;
}

/* ---- Hostile --------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static const char *random_bytes(const struct kind *k, struct sl_str *ret) {
    uint64_t state = 0x9e3779b97f4a7c15u;
    (void)k;
    for (int i = 0; i < RANDOM_BYTES / 8; i++)
        add_u64(ret, next_random(&state));
    return "random bytes";
}

static const char *ones(const struct kind *k, struct sl_str *ret) {
    (void)k;
    sl_str_pad(ret, (char)0xff, 64);
    return "bytes 0xFF";
}

static const char *zeros(const struct kind *k, struct sl_str *ret) {
    static const char none[64];
    (void)k;
    sl_str_addn(ret, none, sizeof none);
    return "bytes 0";
}

static const char *half(const struct kind *k, struct sl_str *ret) {
    if (!k)
        return NULL;
    sl_payload_typical(k->type, ret);
    ret->len /= 2;
    ret->data[ret->len] = 0;
    return "half of a valid payload";
}

/* One byte in 29 is another one. */
static const char *changed(const struct kind *k, struct sl_str *ret) {
    uint64_t state = 88172645463325252u;
    if (!k)
        return NULL;
    sl_payload_typical(k->type, ret);
    for (size_t i = 5; i < ret->len; i += 29)
        ret->data[i] = (char)next_random(&state);
    return "a valid payload with bytes changed";
}

static const char *nested(const struct kind *k, struct sl_str *ret) {
    if (!k || !k->json)
        return NULL;
    sl_str_pad(ret, '[', NESTING);
    return "JSON lists 100,000 deep";
}

static const char *numbers_out_of_range(const struct kind *k, struct sl_str *ret) {
    if (!k || !k->json)
        return NULL;
    sl_str_add(ret, "{\"language\":\"\",\"duration\":-1e308,\"text\":\"\\u0000\",\"segments\":[{"
                    "\"id\":1e300,\"start\":1e308,"
                    "\"end\":-1e308,\"text\":\"\\ud800\",\"tokens\":[-1]}],\"regions\":[{\"start\":"
                    "1e308,\"end\":-1,"
                    "\"score\":9e99}],\"turns\":[{\"start\":-5,\"end\":1e308,\"speaker\":\"\"}],"
                    "\"exclusive\":{}}");
    return "JSON with numbers out of range";
}

static const char *huge_header(const struct kind *k, struct sl_str *ret) {
    if (!k || !k->tensors)
        return NULL;
    add_u64(ret, UINT64_MAX - 7);
    sl_str_add(ret, "{\"pcm\":{\"dtype\":\"F32\"");
    return "a header of 2^64 bytes";
}

static const char *far_offsets(const struct kind *k, struct sl_str *ret) {
    if (!k || !k->tensors)
        return NULL;
    add_header(ret, "{\"__metadata__\":{\"sample_rate\":\"16000\"},\"pcm\":{\"dtype\":\"F32\","
                    "\"shape\":[4611686018427387904],\"data_offsets\":[0,18446744073709551612]}}");
    return "a tensor larger than its file";
}

const char *sl_payload_hostile(const char *type, int i, struct sl_str *ret) {
    static const char *(*const makers[])(const struct kind *, struct sl_str *) = {
        random_bytes,         ones,        zeros,      half, changed, nested,
        numbers_out_of_range, huge_header, far_offsets};
    const struct kind *k = find_kind(type);
    for (size_t m = 0; m < sizeof makers / sizeof *makers; m++) {
        const char *what = makers[m](k, ret);
        if (what && i-- == 0)
            return what;
        sl_str_clear(ret);
    }
    return NULL;
}
