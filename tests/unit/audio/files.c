/*
 * Every file of the shared collection: its length to the sample, its place in time, or why it is
 * refused.
 *
 * The lengths are worked out from what the container states, not from what a decoder gave:
 *   pcm, flac       samples in the header, or in the file
 *   adpcm           samples in the `fact` chunk
 *   mp3             with a LAME header: frames * samples a frame - delay - padding;
 *                   without: all frames, because nothing else is stated
 *   mp4, m4a        edit list
 *   opus            last granule - pre-skip
 *   vorbis          last granule
 *   wma             blocks * block length, which is the duration in the header
 *   adts aac        all blocks: the stream states no delay
 */
#include <dirent.h>
#include <sys/stat.h>
#include <time.h>

#include "collect.h"

#define DATA SHARED_DIR "/data/"

static void need_data(void) {
    struct stat st;
    if (stat(DATA "formats", &st) != 0)
        SKIP("no shared test files");
}

static struct collected decode(const char *name) {
    char path[512];
    snprintf(path, sizeof path, DATA "%s", name);
    return collect_file(path, -1, -1);
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- lengths ---- */

/* `n` samples at `rate` in the source. */
static const struct length {
    const char *name;
    int64_t n;
    int rate;
} lengths[] = {
    {"formats/derived/jfk4_16k.au", 64000, 16000},
    {"formats/derived/jfk4_16k.caf", 64000, 16000},
    {"formats/derived/jfk4_16k.w64", 64000, 16000},
    {"formats/derived/jfk4_22k.aiff", 88200, 22050},
    {"formats/derived/jfk4_24bit_44k_stereo.flac", 176400, 44100},
    {"formats/derived/jfk4_alaw_8k.wav", 32000, 8000},
    {"formats/derived/jfk4_f32_16k.wav", 64000, 16000},
    {"formats/derived/jfk4_ima_adpcm_16k.wav", 65312, 16000}, /* fact: 0xff20 */
    {"formats/derived/jfk4_ms_adpcm_16k.wav", 65152, 16000},  /* fact: 0xfe80 */
    {"formats/derived/jfk4_mulaw_8k.wav", 32000, 8000},
    {"formats/derived/jfk4_rf64_16k.wav", 64000, 16000},
    {"formats/derived/jfk4_s16_48k_stereo.wav", 192000, 48000},
    {"formats/derived/jfk4_s16_8k.wav", 32000, 8000},
    {"formats/derived/jfk4_s24_16k.wav", 64000, 16000},
    {"formats/derived/jfk4_s32_16k.wav", 64000, 16000},
    {"formats/derived/jfk4_u8_8k.wav", 32000, 8000},
    {"formats/derived/jfk_16k.flac", 176000, 16000},
    {"formats/derived/jfk_8k.mp3", 88000, 8000}, /* raw 11.16 s */
    {"formats/derived/jfk_aac.aac", 173 * 1024, 16000},
    {"formats/derived/jfk_aac.m4a", 176000, 16000},
    {"formats/derived/jfk_cbr_44k_stereo.mp3", 485100, 44100}, /* raw 11.05 s */
    {"formats/derived/jfk_opus.opus", 528312 - 312, 48000},
    {"formats/derived/jfk_opus.webm", 528000, 48000},
    {"formats/derived/jfk_vbr_16k.mp3", 176000, 16000}, /* raw 11.09 s */
    {"formats/derived/jfk_video.mp4", 176000, 16000},
    {"formats/derived/jfk_vorbis_16k.ogg", 176000, 16000},
    {"formats/derived/jfk_wma.wma", 344 * 512, 16000},
    {"formats/hound/nonstandard-01.wav", 1, 48000},
    {"formats/hound/nonstandard-02.wav", 2, 48000},
    {"formats/hound/pcmwaveformat-16bit-44100Hz-mono-extra.wav", 4, 44100},
    {"formats/hound/pcmwaveformat-16bit-44100Hz-mono.wav", 4, 44100},
    {"formats/hound/pcmwaveformat-24bit-4byte-48kHz-stereo.wav", 2, 48000},
    {"formats/hound/pcmwaveformat-8bit-44100Hz-mono.wav", 4, 44100},
    {"formats/hound/pop.wav", 100, 44100},
    {"formats/hound/waveformatex-16bit-44100Hz-mono-extra.wav", 4, 44100},
    {"formats/hound/waveformatex-16bit-44100Hz-mono.wav", 4, 44100},
    {"formats/hound/waveformatex-16bit-44100Hz-stereo.wav", 4, 44100},
    {"formats/hound/waveformatex-8bit-11025Hz-mono.wav", 4, 11025},
    {"formats/hound/waveformatex-ieeefloat-44100Hz-mono.wav", 4, 44100},
    {"formats/hound/waveformatextensible-24bit-192kHz-mono.wav", 4, 192000},
    {"formats/hound/waveformatextensible-24bit-4byte-48kHz-stereo.wav", 2, 48000},
    {"formats/hound/waveformatextensible-32bit-48kHz-stereo.wav", 2, 48000},
    {"formats/hound/waveformatextensible-ieeefloat-44100Hz-mono.wav", 4, 44100},
    {"formats/flac/subset14_wasted_bits.flac", 218101, 44100},
    {"formats/flac/subset21_22050.flac", 109266, 22050},
    {"formats/flac/subset38_3ch.flac", 168210, 44100},
    {"formats/flac/subset41_6ch.flac", 357223, 44100},
    {"formats/flac/subset60_mono.flac", 227247, 44100},
    {"formats/flac/uncommon04_changing_bitdepth.flac", 120 * 4096 + 3712,
     44100}, /* frames in the file */
    {"formats/lhotse/mono_c0.opus", 24312 - 52, 48000},
    {"formats/lhotse/mono_c0.wav", 4000, 8000},
    {"formats/lhotse/stereo.mp3", 8000, 8000},
    {"formats/lhotse/stereo.opus", 48312 - 52, 48000},
    {"formats/lhotse/stereo.sph", 8000, 8000},
    {"formats/lhotse/stereo.wav", 8000, 8000},
    {"formats/minimp3/M2L3_bitrate_22_all.bit", 476 * 576, 22050},
    {"formats/minimp3/l3-he_mode.bit", 128 * 1152, 44100},
    {"formats/common_voice_en_651325.mp3", 99 * 1152, 48000},
    {"formats/mfa_dummy.mp3", 30 * 576, 16000},
    {"formats/pyannote_empty.wav", 16000, 16000},
    {"asr/jfk/jfk.wav", 176000, 16000},
    {"asr/jfk/jfk.flac", 485100, 44100},
    {"asr/jfk/jfk.mp3", 176000, 16000},
    {"asr/common-voice/common_voice_en_22058264.mp3", 171 * 1152, 48000},
    {"asr/common-voice/common_voice_en_22058266.mp3", 98 * 1152, 48000},
    {"asr/faster-whisper/hotwords.mp3", 176400, 44100},
    {"asr/faster-whisper/multilingual.mp3", 1437600, 24000},
    {"asr/faster-whisper/stereo_diarization.wav", 80000, 16000},
    {"asr/misc/LJ002-0020.wav", 33949, 22050},
    {"asr/misc/vosk-test-digits.wav", 132928, 16000},
};

/* Times 16000 / rate, halves up, at least one sample. */
static int64_t at_16k(int64_t n, int rate) {
    int64_t samples = (2 * n * 16000 + rate) / (2 * rate);
    return samples ? samples : 1;
}

TEST(lengths_are_exact_to_the_sample) {
    need_data();
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const struct length *want = &lengths[i];
        struct collected c = decode(want->name);
        int64_t n = at_16k(want->n, want->rate);
        if (c.status != SLUICE_OK || c.n != n) {
            fprintf(stderr, "%s: status %d, %d samples, not %d: %s\n", want->name, c.status,
                    (int)c.n, (int)n, c.err.text);
            n_wrong++;
        }
        CHECK(c.status != SLUICE_OK ||
              fabs(c.result.duration_s - (double)want->n / want->rate) < 1e-6);
    }
    CHECK_INT(n_wrong, 0);
}

/* ---- every file is in a table ---- */

static const struct damaged {
    const char *name;
    int64_t n;        /* samples at 16 kHz, or 0: refused */
    const char *says; /* part of the error, or of the warning; NULL: neither */
} damaged[] = {
    {"bad/empty_file.wav", 0, "is empty"},
    {"bad/flac_64_bytes_flipped.flac", 176000, "1 damaged part could not be decoded"},
    {"bad/flac_faulty01_wrong_max_blocksize.flac", 67999, NULL}, /* 101999 at 24 kHz */
    {"bad/flac_faulty03_wrong_bit_depth.flac", 59935, NULL},     /* 89903 at 24 kHz */
    {"bad/flac_truncated_60pct.flac", 102528, "truncated"},
    {"bad/hound_crash-24728523ef4be15c838293b676f6853e73723bf4.wav", 0, "no 'data' tag found"},
    {"bad/hound_crash-b8447179832529c48f9c6bf17feab6337bbc78ea.wav", 0, "not an audio file"},
    {"bad/hound_crash-cbd757427cea12bd8a21f86cd8cf74d98ce56bee.wav", 0, "not an audio file"},
    {"bad/hound_crash-e5471f5b58397287b509db7d026e95f1724454f5.wav", 1, NULL}, /* 4 at 44100 Hz */
    {"bad/hound_crash-e879de4eb4d206c59e21f0e01def16457af80fdc.wav", 0, "not an audio file"},
    {"bad/hound_oom-48ae4cd061ff8578ad3f23dc87624bd365cf5216.wav", 0, "not an audio file"},
    {"bad/m4a_64_bytes_flipped.m4a", 176000,
     "1 damaged part could not be decoded, the first at 3.4"},
    {"bad/m4a_truncated_60pct.m4a", 0, "moov atom not found"},
    {"bad/minimp3_l3-compl-cut.mp3", 0, "not an audio file"},
    {"bad/mp3_64_bytes_flipped.mp3", 176000, NULL},
    {"bad/mp3_truncated_60pct.mp3", 106031, "truncated"},
    {"bad/ogg_64_bytes_flipped.ogg", 176000, "filled with 0.992 s of silence"},
    {"bad/ogg_truncated_60pct.ogg", 96640, NULL}, /* granule of the last whole page */
    {"bad/opus_64_bytes_flipped.opus", 176000, "filled with 1.000 s of silence"},
    {"bad/opus_truncated_60pct.opus", 95896, NULL}, /* (288000 - 312) / 3 */
    {"bad/pocketsphinx_awful.wav", 0, "sample rate of 1092676 Hz"},
    {"bad/pocketsphinx_bad.wav", 0, "not an audio file"},
    {"bad/pocketsphinx_evil.wav", 0, "only a WAV header"},
    {"bad/pocketsphinx_null.wav", 0, "holds no audio"},
    {"bad/text_named_wav.wav", 0, "not an audio file"},
    {"bad/wav_data_size_ffffffff.wav", 16000, NULL},
    {"bad/wav_header_cut.wav", 0, "not an audio file"},
    {"bad/wav_huge_fmt_chunk.wav", 0, "not an audio file"},
    {"bad/wav_no_samples.wav", 0, "only a WAV header"},
    {"bad/wav_odd_truncated.wav", 49961, "1 damaged part"},
    {"bad/wav_sizes_zero_streamed.wav", 16000, NULL},
    {"bad/wav_zero_bits.wav", 0, "names no known audio coding"},
    {"bad/wav_zero_channels.wav", 0, "gives 0 channels"},
    {"bad/wav_zero_rate.wav", 0, "Invalid sample rate: 0"},
    {"minimp3/ILL2_mono.bit", 0, "not an audio file"},          /* one frame: not recognisable */
    {"minimp3/ILL2_mono.pcm", 0, "not an audio file"},          /* no header */
    {"minimp3/ILL4_wrong_length1.bit", 0, "not an audio file"}, /* one frame */
    {"minimp3/l3-nonstandard-id3v1-apetag.bit", 0, "not an audio file"},
    {"minimp3/l3-nonstandard-id3v2.bit", 0, "not an audio file"},
};

static void check_refused(const struct damaged *want, const struct collected *c) {
    CHECK_INT(c->status, SLUICE_INPUT);
    CHECK_HAS(c->err.text, strrchr(want->name, '/') + 1);
    CHECK_HAS(c->err.text, want->says);
    CHECK(!strchr(c->err.text, '\n'));
}

TEST(damaged_files_end_as_defined) {
    need_data();
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char name[256];
        snprintf(name, sizeof name, "formats/%s", damaged[i].name);
        double before = seconds_now();
        struct collected c = decode(name);
        printf("  %s: %s%s", damaged[i].name, c.status ? c.err.text : "decoded\n",
               c.status ? "\n" : c.warnings);
        CHECK(seconds_now() - before < 1);
        if (damaged[i].n == 0) {
            check_refused(&damaged[i], &c);
            continue;
        }
        CHECK_INT(c.status, SLUICE_OK);
        CHECK_INT(c.n, damaged[i].n);
        if (damaged[i].says)
            CHECK_HAS(c.warnings, damaged[i].says);
        else
            CHECK_STR(c.warnings, "");
    }
}

static int is_in_a_table(const char *name) {
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++)
        if (strcmp(damaged[i].name, name) == 0)
            return 1;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        if (strcmp(lengths[i].name + strlen("formats/"), name) == 0)
            return 1;
    return 0;
}

TEST(no_file_is_left_out) {
    need_data();
    static const char *const folders[] = {"bad", "derived", "flac", "hound", "lhotse", "minimp3"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[512];
        snprintf(path, sizeof path, DATA "formats/%s", folders[i]);
        DIR *dir = opendir(path);
        CHECK(dir != NULL);
        for (struct dirent *e; (e = readdir(dir));) {
            char name[512];
            snprintf(name, sizeof name, "%s/%s", folders[i], e->d_name);
            if (e->d_name[0] != '.' && !is_in_a_table(name))
                TEST_FAIL("%s is in no table", name);
        }
        closedir(dir);
    }
}

/* ---- place in time ---- */

/* Lag of `c` against `ref` where their correlation over 40000 samples is highest. */
static int best_lag(const struct collected *ref, const struct collected *c,
                    double *ret_correlation) {
    int best = 0;
    *ret_correlation = -1;
    for (int lag = -1200; lag <= 1200; lag++) {
        double xy = 0, xx = 1e-9, yy = 1e-9;
        for (int64_t i = 4000; i < 44000; i++) {
            double x = ref->pcm[i], y = c->pcm[i + lag];
            xy += x * y;
            xx += x * x;
            yy += y * y;
        }
        double r = xy / sqrt(xx * yy);
        if (r > *ret_correlation) {
            *ret_correlation = r;
            best = lag;
        }
    }
    return best;
}

TEST(content_is_where_it_was) {
    need_data();
    struct collected ref = decode("asr/jfk/jfk.wav");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const char *name = lengths[i].name;
        if (!strstr(name, "/jfk"))
            continue;
        struct collected c = decode(name);
        CHECK_INT(c.status, SLUICE_OK);
        double correlation;
        int lag = best_lag(&ref, &c, &correlation);
        /* ADTS states no delay: that of the encoder, one block of 1024, stays in. */
        int want = strstr(name, ".aac") ? 1024 : 0;
        if (lag != want || correlation < 0.98)
            TEST_FAIL("%s: lag %d, correlation %.4f", name, lag, correlation);
    }
}

TEST(lossless_files_are_bit_exact) {
    need_data();
    struct collected ref = decode("asr/jfk/jfk.wav");
    static const char *const same[] = {"jfk4_16k.au",      "jfk4_16k.caf",     "jfk4_16k.w64",
                                       "jfk4_f32_16k.wav", "jfk4_s24_16k.wav", "jfk4_rf64_16k.wav",
                                       "jfk4_s32_16k.wav", "jfk_16k.flac"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char name[128];
        snprintf(name, sizeof name, "formats/derived/%s", same[i]);
        struct collected c = decode(name);
        CHECK_INT(c.status, SLUICE_OK);
        CHECK(memcmp(ref.pcm, c.pcm, (size_t)c.n * sizeof(float)) == 0);
    }
}

TEST(damage_does_not_move_what_follows) {
    need_data();
    static const char *const names[] = {"flac_64_bytes_flipped.flac", "m4a_64_bytes_flipped.m4a",
                                        "ogg_64_bytes_flipped.ogg", "opus_64_bytes_flipped.opus",
                                        "mp3_64_bytes_flipped.mp3"};
    struct collected ref = decode("asr/jfk/jfk.wav");
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        char name[128];
        snprintf(name, sizeof name, "formats/bad/%s", names[f]);
        struct collected c = decode(name);
        double xy = 0, xx = 0, yy = 0;
        for (int64_t i = 120000; i < 170000; i++) { /* the damage is before 4.1 s */
            xy += (double)ref.pcm[i] * c.pcm[i];
            xx += (double)ref.pcm[i] * ref.pcm[i];
            yy += (double)c.pcm[i] * c.pcm[i];
        }
        if (xy / sqrt(xx * yy) < 0.98)
            TEST_FAIL("%s: correlation %.4f after the damage", names[f], xy / sqrt(xx * yy));
    }
}

/* ---- channels ---- */

TEST(one_channel_or_the_mean) {
    need_data();
    const char *path = DATA "asr/faster-whisper/stereo_diarization.wav";
    struct collected left = collect_file(path, -1, 0), right = collect_file(path, 0, 1);
    struct collected mean = collect_file(path, -1, -1);
    CHECK_INT(left.n, 80000);
    for (int64_t i = 0; i < mean.n; i++)
        CHECK_NEAR(mean.pcm[i], (left.pcm[i] + right.pcm[i]) / 2, 1e-7);
    struct collected none = collect_file(path, -1, 2);
    CHECK_INT(none.status, SLUICE_INPUT);
    CHECK_HAS(none.err.text, "has no channel 2, only 2 channels");
    none = collect_file(path, 1, -1);
    CHECK_INT(none.status, SLUICE_INPUT);
    CHECK_HAS(none.err.text, "has no audio track 1");
}

TEST_MAIN()
