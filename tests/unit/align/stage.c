/*
 * The stage align/words through a host in memory: inputs, parameters, outputs and refusals.
 */
#include "unit/test.h"

#include "unit/fakeaudio.h"

enum { RATE = 16000, N = 2 * RATE };

static const char transcript[] =
    "{\"language\": \"en\", \"segments\": [{\"id\": 0, \"start\": 0, \"end\": 2, \"text\": \" "
    "go\", "
    "\"words\": [{\"word\": \" go\", \"start\": 0.0, \"end\": 2.0, \"probability\": 0.9}]}]}";

/* audio/1: a tone from 0.5 s to 1.0 s. */
static void add_audio(struct fake_host *h) {
    static float pcm[N];
    for (size_t i = RATE / 2; i < RATE; i++)
        pcm[i] = (float)(0.3 * sin(0.2 * (double)i));
    fake_input_audio(h, pcm, N, "16000");
}

/* attention/1 of one token that looks at positions from `first` on. */
static void add_attention(struct fake_host *h, size_t first) {
    enum { FRAMES = 100 };
    struct num_tensor tensors[] = {
        {.name = "segment_0", .dtype = NUM_F16, .n_dims = 3, .shape = {1, 1, FRAMES}},
        {.name = "segment_0.words", .dtype = NUM_U16, .n_dims = 1, .shape = {1}}};
    struct num_meta meta = {"segment_0.start", "0.00"};
    void *header;
    size_t len;
    CHECK_INT(num_safetensors_header(tensors, 2, &meta, 1, 0, &header, &len, NULL), 0);
    char *data = calloc(1, len + 2 * (FRAMES + 1));
    memcpy(data, header, len);
    const uint16_t half = 0x3800, one = 1;
    for (size_t t = first; t < first + 2; t++)
        memcpy(data + len + 2 * t, &half, 2);
    memcpy(data + len + 2 * FRAMES, &one, 2);
    fake_input(h, "attention", SLUICE_TYPE_ATTENTION, data, len + 2 * (FRAMES + 1));
    free(header);
    free(data);
}

static void start(struct fake_host *h) {
    fake_host_init(h, sluice_plugin_entry.stages[0]);
    add_audio(h);
    fake_input(h, "transcript", SLUICE_TYPE_TRANSCRIPT, transcript, strlen(transcript));
}

TEST(words_begin_where_attention_and_sound_do) {
    struct fake_host h;
    start(&h);
    add_attention(&h, 20);
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_HAS(fake_output(&h, "transcript"), "\"start\":0.49");
    CHECK_HAS(fake_output(&h, "transcript"), "\"end\":1.0");
    CHECK_HAS(fake_output(&h, "transcript"), "\"probability\":0.9");
    fake_host_finish(&h);
}

TEST(edges_can_stay_as_attention_says) {
    struct fake_host h;
    start(&h);
    add_attention(&h, 20);
    fake_param(&h, "edges", "method");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_HAS(fake_output(&h, "transcript"), "\"start\":0.4,\"end\":2.0");
    fake_host_finish(&h);
}

TEST(without_attention_it_says_what_to_connect) {
    struct fake_host h;
    start(&h);
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, "connect that of whisper/transcribe");
    fake_host_finish(&h);
}

TEST(method_ctc_wants_a_model) {
    struct fake_host h;
    start(&h);
    fake_param(&h, "method", "ctc");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "method ctc needs `model`");
    fake_param(&h, "model", "/nowhere");
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.error, "model /nowhere: cannot open /nowhere/config.json");
    CHECK_HAS(h.error, "wav2vec2 or HuBERT model with a CTC head");
    fake_host_finish(&h);
}

TEST(a_bad_transcript_is_refused) {
    struct fake_host h;
    fake_host_init(&h, sluice_plugin_entry.stages[0]);
    add_audio(&h);
    fake_input(&h, "transcript", SLUICE_TYPE_TRANSCRIPT, "{}", 2);
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_HAS(h.message, "no list of segments");
    fake_host_finish(&h);
}

TEST_MAIN()
