/* audio/1 and regions/1 as engines see them. */
#include "unit/test.h"

#include "num/audio.h"
#include "num/safetensors.h"

/* An audio/1 of four samples, in a buffer whose samples lie at an address of the given
 * remainder. */
static char *make_audio(const char *name, enum num_dtype dtype, const char *rate, size_t *ret_len) {
    struct num_tensor pcm = {.name = name, .dtype = dtype, .n_dims = 1, .shape = {4}};
    struct num_meta meta = {"sample_rate", rate};
    void *header = NULL;
    size_t len = 0, bytes = 4 * num_dtype_size(dtype);
    float samples[] = {0.5f, -0.5f, 0.25f, 1};
    CHECK_INT(num_safetensors_header(&pcm, 1, &meta, 1, 0, &header, &len, NULL), SLUICE_OK);
    char *file = malloc(len + bytes + 1);
    CHECK(file);
    memcpy(file, header, len);
    memcpy(file + len, samples, bytes);
    free(header);
    *ret_len = len + bytes;
    return file;
}

TEST(samples_are_borrowed_where_they_are_aligned_and_copied_where_not) {
    size_t len;
    char *file = make_audio("pcm", NUM_F32, "16000", &len);
    for (size_t shift = 0; shift < 2; shift++) {
        struct num_audio audio = {0};
        memmove(file + shift, file, len);
        CHECK_INT(num_audio_open(file + shift, len, &audio, NULL), SLUICE_OK);
        CHECK_INT(audio.n, 4);
        CHECK_NEAR(audio.pcm[2], 0.25, 0);
        CHECK((audio.copy != NULL) == (shift != 0));
        num_audio_close(&audio);
    }
    free(file);
}

TEST(other_tensors_and_rates_are_refused) {
    static const struct {
        const char *name, *rate, *says;
        enum num_dtype dtype;
    } table[] = {{"samples", "16000", "no tensor pcm", NUM_F32},
                 {"pcm", "16000", "type F32", NUM_F16},
                 {"pcm", "44100", "44100 samples a second", NUM_F32}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        size_t len;
        struct num_audio audio = {0};
        struct num_err err = {0};
        char *file = make_audio(table[i].name, table[i].dtype, table[i].rate, &len);
        CHECK_INT(num_audio_open(file, len, &audio, &err), SLUICE_INPUT);
        CHECK_HAS(err.text, table[i].says);
        free(file);
    }
}

static size_t regions_of(const char *json, struct num_region *ret) {
    struct num_region *regions = NULL;
    size_t n = 0;
    struct num_err err = {0};
    if (num_regions_read(json, strlen(json), 160000, NULL, &regions, &n, &err) != SLUICE_OK)
        TEST_FAIL("%s", err.text);
    memcpy(ret, regions, n * sizeof *ret);
    free(regions);
    return n;
}

TEST(regions_are_ordered_joined_and_cut) {
    struct num_region r[8];
    CHECK_INT(regions_of("{\"regions\": [{\"start\": 5, \"end\": 6}, {\"start\": 1, \"end\": 2},"
                         "{\"start\": 1.5, \"end\": 3}, {\"start\": 3, \"end\": 3.5},"
                         "{\"start\": 9, \"end\": 12}, {\"start\": 11, \"end\": 12},"
                         "{\"start\": 4, \"end\": 4}]}",
                         r),
              3);
    CHECK_INT(r[0].start, 16000);
    CHECK_INT(r[0].end, 56000);
    CHECK_INT(r[1].start, 80000);
    CHECK_INT(r[2].end, 160000);
    CHECK_INT(regions_of("{\"regions\": []}", r), 0);
}

TEST(what_is_no_regions_is_refused_with_its_place) {
    static const struct {
        const char *json, *says;
    } table[] = {{"", "not JSON"},
                 {"{}", "regions: expected a list"},
                 {"{\"regions\": [{\"start\": 0}]}", "regions[0].end"},
                 {"{\"regions\": [{\"start\": 2, \"end\": 1}]}", "regions[0].end is before"},
                 {"{\"regions\": [{\"start\": -1, \"end\": 1}]}", "regions[0].start"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct num_region *regions = NULL;
        size_t n;
        struct num_err err = {0};
        CHECK_INT(
            num_regions_read(table[i].json, strlen(table[i].json), 100, NULL, &regions, &n, &err),
            SLUICE_INPUT);
        CHECK_HAS(err.text, table[i].says);
        CHECK(regions == NULL);
    }
}

TEST_MAIN()
