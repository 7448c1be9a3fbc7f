/*
 * The stage audio/decode against a host in memory: a well-formed artifact, parameters, failures in
 * words.
 */
#include "make.h"
#include "num/safetensors.h"
#include "unit/test.h"

#include "unit/fakehost.h"

static struct wav wav;

/* A stereo WAV of `n` samples at 16 kHz: left 0.25, right -0.75. */
static const char *make_stereo(const char *name, int n) {
    const char *path = make_path(name);
    wav_header(&wav, 1, 16000, 2, 16, (uint32_t)n * 4);
    for (int i = 0; i < n; i++) {
        wav_sample(&wav, 16, 0.25);
        wav_sample(&wav, 16, -0.75);
    }
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(wav.bytes, 1, wav.len, f) == wav.len);
    CHECK_INT(fclose(f), 0);
    return path;
}

static void open_host(struct fake_host *h, const char *path) {
    fake_host_init(h, fake_stage("audio/decode"));
    fake_input_file(h, "file", path);
}

static void parse(struct fake_host *h, struct num_safetensors *st) {
    struct num_err err;
    const char *data = fake_output(h, "audio");
    CHECK(data != NULL);
    CHECK_INT(num_safetensors_parse(data, fake_output_len(h, "audio"), "audio", st, &err),
              SLUICE_OK);
}

static float sample(const struct num_tensor *pcm, size_t i) {
    float x;
    memcpy(&x, (const char *)pcm->data + i * sizeof x, sizeof x);
    return x;
}

TEST(artifact_is_as_the_type_says) {
    static struct fake_host h;
    struct num_safetensors st;
    open_host(&h, make_stereo("a \"b\" \xc3\xa9.wav", 12345));
    CHECK_INT(fake_run(&h), SLUICE_OK);
    parse(&h, &st);
    const struct num_tensor *pcm = num_safetensors_find(&st, "pcm");
    CHECK(pcm != NULL);
    CHECK_INT(st.n_tensors, 1);
    CHECK_INT(pcm->dtype, NUM_F32);
    CHECK_INT(pcm->n_dims, 1);
    CHECK_INT(pcm->shape[0], 12345);
    CHECK_NEAR(sample(pcm, 0), -0.25, 0);
    CHECK_NEAR(sample(pcm, 12344), -0.25, 0);
    CHECK_STR(num_safetensors_meta(&st, "sample_rate"), "16000");
    CHECK_STR(num_safetensors_meta(&st, "source"), "a \"b\" \xc3\xa9.wav");
    CHECK_STR(num_safetensors_meta(&st, "duration"), "0.771563");
    CHECK(h.n_progress > 0);
    num_safetensors_close(&st);
    fake_host_finish(&h);
    make_clean();
}

TEST(same_input_same_bytes) {
    static struct fake_host a, b;
    const char *path = make_stereo("same.wav", 5000);
    open_host(&a, path);
    open_host(&b, path);
    CHECK_INT(fake_run(&a), SLUICE_OK);
    CHECK_INT(fake_run(&b), SLUICE_OK);
    CHECK_INT(fake_output_len(&a, "audio"), fake_output_len(&b, "audio"));
    CHECK(memcmp(fake_output(&a, "audio"), fake_output(&b, "audio"),
                 fake_output_len(&a, "audio")) == 0);
    fake_host_finish(&a);
    fake_host_finish(&b);
    make_clean();
}

TEST(channel_is_taken) {
    for (int channel = 0; channel < 2; channel++) {
        static struct fake_host h;
        struct num_safetensors st;
        open_host(&h, make_stereo("two.wav", 100));
        fake_param(&h, "channel", channel ? "1" : "0");
        CHECK_INT(fake_run(&h), SLUICE_OK);
        parse(&h, &st);
        CHECK_NEAR(sample(num_safetensors_find(&st, "pcm"), 50), channel ? -0.75 : 0.25, 0);
        num_safetensors_close(&st);
        fake_host_finish(&h);
    }
    make_clean();
}

static void check_fails(const char *path, const char *param, const char *value, const char *says) {
    static struct fake_host h;
    open_host(&h, path);
    if (param)
        fake_param(&h, param, value);
    CHECK_INT(fake_run(&h), SLUICE_INPUT);
    CHECK_STR(h.message, says);
    CHECK(fake_output(&h, "audio") == NULL);
    fake_host_finish(&h);
}

TEST(failures_name_the_file_and_the_reason) {
    check_fails(make_path("gone.wav"), NULL, NULL,
                "gone.wav: cannot be opened: No such file or directory");
    check_fails("/tmp", NULL, NULL, "tmp: is a folder, not a file");
    check_fails(make_stereo("none.wav", 0), NULL, NULL, "none.wav: holds no audio samples");
    check_fails(make_stereo("two.wav", 9), "channel", "2",
                "two.wav: has no channel 2, only 2 channels (0 is the first)");
    check_fails(make_stereo("two.wav", 9), "stream", "1",
                "two.wav: has no audio track 1, only tracks 0 to 0");
    make_clean();
}

TEST(bad_bytes_in_the_name_become_valid_utf8) {
    check_fails("/nowhere/b\xff"
                "ad.wav",
                NULL, NULL,
                "b\xef\xbf\xbd"
                "ad.wav: cannot be opened: No such file or directory");
}

TEST(cancelling_is_heard) {
    static struct fake_host h;
    open_host(&h, make_stereo("long.wav", 200000));
    h.cancel_at_s = 1; /* long ago */
    CHECK_INT(fake_run(&h), SLUICE_CANCELLED);
    CHECK(fake_output(&h, "audio") == NULL);
    fake_host_finish(&h);
    make_clean();
}

/* A host without room beyond `limit` bytes. */
static uint64_t limit;

static int32_t grow_to_limit(struct sluice_job *job, const char *port, uint64_t capacity,
                             void **ret_data) {
    return capacity > limit ? SLUICE_RESOURCE : fake_output_grow(job, port, capacity, ret_data);
}

TEST(a_full_disk_is_a_lack_of_resources) {
    static struct fake_host h;
    limit = 300000;
    open_host(&h, make_stereo("long.wav", 100000));
    h.host.output_grow = grow_to_limit;
    CHECK_INT(fake_run(&h), SLUICE_RESOURCE);
    CHECK_HAS(h.message, "long.wav: no room for its samples (4.");
    fake_host_finish(&h);
    open_host(&h, make_stereo("short.wav",
                              70000)); /* fits exactly, though not in the first step of growth */
    limit = 4096 + 70000 * 4;
    h.host.output_grow = grow_to_limit;
    CHECK_INT(fake_run(&h), SLUICE_OK);
    fake_host_finish(&h);
    make_clean();
}

TEST_MAIN()
