/* Known speakers: files and folders of voices, diarize/enrol and diarize/identify through a
 * host. */
#include "unit/test.h"
#include "unit/fakehost.h"

#include <sys/stat.h>

#include "diarize/voices.h"
#include "num/safetensors.h"

/* An embeddings/1 of n rows of `size` values; the caller frees it. */
static char *make_file(const char *names, const char *kind, const float *rows, size_t n,
                       size_t size, size_t *ret_len) {
    struct num_tensor t = {.name = "embeddings", .dtype = NUM_F32, .n_dims = 2, .shape = {n, size}};
    struct num_meta meta[] = {{"speakers", names}, {"kind", kind}};
    void *header = NULL;
    size_t len = 0;
    CHECK_INT(num_safetensors_header(&t, 1, meta, 2, 0, &header, &len, NULL), SLUICE_OK);
    char *data = realloc(header, len + n * size * sizeof *rows);
    memcpy(data + len, rows, n * size * sizeof *rows);
    *ret_len = len + n * size * sizeof *rows;
    return data;
}

static void write_file(const char *folder, const char *name, const void *data, size_t len) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(data, 1, len, file) == len && fclose(file) == 0);
}

static void write_voice(const char *folder, const char *name, const char *kind, float x, float y,
                        float z) {
    float row[] = {x, y, z};
    size_t len = 0;
    char *file = make_file("[\"whoever\"]", kind, row, 1, 3, &len);
    write_file(folder, name, file, len);
    free(file);
}

TEST(voices_are_read_and_written) {
    float rows[] = {3, 4, 0, 0, 0, 2};
    size_t len = 0, again_len = 0;
    char *file = make_file("[\"A\", \"B\"]", "k", rows, 2, 3, &len);
    dz_autovoices voices = {0}, again = {0};
    void *one = NULL;
    CHECK_INT(dz_voices_read(file, len, "f", &voices, NULL), SLUICE_OK);
    CHECK_INT(voices.n, 2);
    CHECK_NEAR(voices.rows[0], 0.6, 1e-6);
    CHECK_STR(voices.names[1], "B");
    CHECK_INT(dz_voices_write(&voices, 0, "Zoë", &one, &again_len, NULL), SLUICE_OK);
    CHECK_INT(dz_voices_read(one, again_len, "f", &again, NULL), SLUICE_OK);
    CHECK_INT(again.n, 1);
    CHECK_STR(again.names[0], "Zoë");
    CHECK_STR(again.kind, "k");
    CHECK_NEAR(again.rows[1], 0.8, 1e-6);
    free(one);
    free(file);
}

TEST(what_is_wrong_with_a_file_is_said) {
    static const char *const names[] = {"[\"A\"]", "{}", "[\"A\", \"\"]", "[1, 2]", "["};
    float rows[6] = {1};
    for (size_t i = 0; i < 5; i++) {
        size_t len = 0;
        char *file = make_file(names[i], "k", rows, 2, 3, &len);
        dz_autovoices voices = {0};
        struct num_err err = {0};
        CHECK_INT(dz_voices_read(file, len, "voices.x", &voices, &err), SLUICE_INPUT);
        CHECK_HAS(err.text, "voices.x");
        CHECK_INT(dz_voices_read(file, len - 1, "voices.x", &voices, &err), SLUICE_INPUT);
        free(file);
    }
}

#define TURNS                                                                                      \
    "{\"turns\": [{\"start\": 0, \"end\": 2, \"speaker\": \"S0\"}, {\"start\": 1, \"end\": 3, "    \
    "\"speaker\": \"S1\"}, {\"start\": 4, \"end\": 5, \"speaker\": \"S2\"}],"                      \
    "\"exclusive\": [{\"start\": 0, \"end\": 2, \"speaker\": \"S0\"}]}"

static const float three_rows[] = {1, 0, 0, 0, 1, 0.1f, 0, 0.1f, 1};

static int32_t identify(struct fake_host *h, const char *kind, const char *threshold) {
    size_t len = 0;
    char *file = make_file("[\"S0\", \"S1\", \"S2\"]", kind, three_rows, 3, 3, &len);
    fake_input(h, "turns", SLUICE_TYPE_TURNS, TURNS, strlen(TURNS));
    fake_input(h, "embeddings", SLUICE_TYPE_EMBEDDINGS, file, len);
    fake_param(h, "threshold", threshold);
    free(file);
    return fake_run(h);
}

static void start(struct fake_host *h, char folder[256]) {
    fake_host_init(h, fake_stage("diarize/identify"));
    snprintf(folder, 256, "%s/known", h->folder);
    CHECK_INT(mkdir(folder, 0700), 0);
    fake_param(h, "enrolment", folder);
}

TEST(known_speakers_get_their_names) {
    struct fake_host h;
    char folder[256], bens[300];
    start(&h, folder);
    snprintf(bens, sizeof bens, "%s/Ben Bow", folder);
    CHECK_INT(mkdir(bens, 0700), 0);
    write_voice(folder, "Anna.safetensors", "k", 5, 0.2f, 0);
    write_voice(bens, "one.safetensors", "k", 0, 1, 0.4f);
    write_voice(bens, "two.safetensors", "k", 0, 2, -0.3f);
    write_file(folder, "notes.txt", "x", 1);
    CHECK_INT(identify(&h, "k", "0.8"), SLUICE_OK);
    const char *turns = fake_output(&h, "turns");
    CHECK_HAS(turns, "\"Anna\"");
    CHECK_HAS(turns, "\"Ben Bow\"");
    CHECK_HAS(turns, "\"S2\"");
    CHECK(!strstr(turns, "\"S0\"") && !strstr(turns, "\"S1\""));
    CHECK_HAS(strstr(turns, "exclusive"), "Anna");
    fake_host_finish(&h);
}

TEST(two_known_speakers_that_are_alike_leave_it_open) {
    struct fake_host h;
    char folder[256];
    start(&h, folder);
    write_voice(folder, "Anna.safetensors", "k", 1, 0, 0);
    write_voice(folder, "Hanna.safetensors", "k", 1, 0.01f, 0);
    CHECK_INT(identify(&h, "k", "0.8"), SLUICE_OK);
    CHECK(!strstr(fake_output(&h, "turns"), "nna"));
    fake_host_finish(&h);
}

TEST(an_empty_folder_changes_nothing) {
    struct fake_host h;
    char folder[256];
    start(&h, folder);
    CHECK_INT(identify(&h, "k", "0"), SLUICE_OK);
    CHECK_HAS(fake_output(&h, "turns"), "\"S0\"");
    fake_host_finish(&h);
}

TEST(what_cannot_be_compared_is_refused) {
    struct fake_host h;
    char folder[256];
    start(&h, folder);
    write_voice(folder, "Anna.safetensors", "other", 1, 0, 0);
    CHECK_INT(identify(&h, "k", "0"), SLUICE_INPUT);
    CHECK_HAS(h.message, "enrol them again");
    fake_host_finish(&h);

    start(&h, folder);
    CHECK_INT(identify(&h, "cepstra", "0"), SLUICE_INPUT);
    CHECK_HAS(h.message, "neural");
    fake_host_finish(&h);

    start(&h, folder);
    write_file(folder, "Anna.safetensors", "junk", 4);
    CHECK_INT(identify(&h, "k", "0"), SLUICE_INPUT);
    CHECK_HAS(h.error, "Anna.safetensors");
    fake_host_finish(&h);

    start(&h, folder);
    fake_param(&h, "enrolment", "/nonexistent");
    CHECK_INT(identify(&h, "k", "0"), SLUICE_INPUT);
    CHECK_HAS(h.error, "enrolment: /nonexistent");
    fake_host_finish(&h);
}

static int32_t enrol(struct fake_host *h, size_t n) {
    size_t len = 0;
    char *file = make_file(n == 1 ? "[\"S0\"]" : "[\"S0\", \"S1\"]", "k", three_rows, n, 3, &len);
    fake_host_init(h, fake_stage("diarize/enrol"));
    fake_input(h, "embeddings", SLUICE_TYPE_EMBEDDINGS, file, len);
    free(file);
    return fake_run(h);
}

TEST(one_voice_is_enrolled_under_the_items_name) {
    struct fake_host h;
    dz_autovoices voices = {0};
    CHECK_INT(enrol(&h, 1), SLUICE_OK);
    CHECK_INT(
        dz_voices_read(fake_output(&h, "voice"), fake_output_len(&h, "voice"), "v", &voices, NULL),
        SLUICE_OK);
    CHECK_STR(voices.names[0], "item");
    fake_host_finish(&h);
    CHECK_INT(enrol(&h, 2), SLUICE_INPUT);
    CHECK_HAS(h.message, "2 speakers");
    fake_host_finish(&h);
}

TEST_MAIN()
