/*
 * Decoding of files made here: every rate, depth and channel count, headers that lie, timestamps
 * with gaps, overlaps and resets, and hosts that cancel, run full or lose their disk.
 */
#include <errno.h>

#include "collect.h"
#include "make.h"

static struct wav wav;

/* Largest difference between `c` from output sample `first` on and the signal from time `t0`, over
 * `n`. */
static double worst(const struct collected *c, int64_t first, double t0, int64_t n) {
    double most = 0;
    CHECK(first + n <= c->n);
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(c->pcm[first + i] - make_signal(t0 + (double)i / AD_RATE)));
    return most;
}

static int is_silent(const struct collected *c, int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; i++)
        if (fabsf(c->pcm[i]) > 1e-6f)
            return 0;
    return 1;
}

/* ---- WAV ---- */

TEST(every_rate_keeps_time) {
    static const int rates[] = {8000,  11025, 16000, 22050, 24000, 32000,
                                44100, 48000, 88200, 96000, 192000};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        int n = rates[r] + 17;
        wav_header(&wav, 1, (uint32_t)rates[r], 1, 16, (uint32_t)n * 2);
        for (int i = 0; i < n; i++)
            wav_sample(&wav, 16, make_signal((double)i / rates[r]));
        struct collected c = collect_memory(wav.bytes, wav.len);
        CHECK_INT(c.status, SLUICE_OK);
        CHECK_INT(c.n, (2 * (int64_t)n * 16000 + rates[r]) / (2 * rates[r]));
        CHECK(worst(&c, 400, 400.0 / AD_RATE, 15000) < 0.003);
        CHECK_STR(c.warnings, "");
    }
}

TEST(every_depth_is_scaled) {
    static const unsigned depths[] = {8, 16, 24, 32};
    for (size_t d = 0; d < 4; d++) {
        unsigned bits = depths[d];
        wav_header(&wav, 1, AD_RATE, 1, bits, 3 * bits / 8);
        wav_sample(&wav, bits, -1);
        wav_sample(&wav, bits, 0.5);
        wav_sample(&wav, bits, 1 - 1 / ldexp(1, (int)bits - 1));
        struct collected c = collect_memory(wav.bytes, wav.len);
        CHECK_INT(c.n, 3);
        CHECK_NEAR(c.pcm[0], -1, 0);
        CHECK_NEAR(c.pcm[1], 0.5, 0);
        CHECK_NEAR(c.pcm[2], 1 - 1 / ldexp(1, (int)bits - 1), 1e-7);
    }
}

TEST(float_is_bounded) {
    static const float in[] = {0.25f, 3.0f, -7.0f, NAN, INFINITY, -INFINITY};
    static const float want[] = {0.25f, 1, -1, 0, 1, -1};
    wav_header(&wav, 3, AD_RATE, 1, 32, sizeof in);
    memcpy(wav.bytes + wav.len, in, sizeof in);
    struct collected c = collect_memory(wav.bytes, wav.len + sizeof in);
    CHECK_INT(c.n, 6);
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(c.pcm[i], want[i], 0);
}

static struct collected decode_six_channels(int channel) {
    struct collected c = {0};
    struct ad_memory memory;
    wav_header(&wav, 1, AD_RATE, 6, 24, 6 * 3 * 1000);
    for (int i = 0; i < 1000; i++)
        for (int k = 0; k < 6; k++)
            wav_sample(&wav, 24, 0.1 * k - 0.2);
    ad_memory_init(&memory, wav.bytes, wav.len);
    collect_source(&memory.source, "six", -1, channel, &c);
    return c;
}

TEST(six_channels_count_the_same) {
    struct collected mean = decode_six_channels(-1);
    CHECK_INT(mean.n, 1000);
    CHECK_NEAR(mean.pcm[500], 0.05, 1e-6);
    for (int k = 0; k < 6; k++)
        CHECK_NEAR(decode_six_channels(k).pcm[500], 0.1 * k - 0.2, 1e-6);
    struct collected none = decode_six_channels(6);
    CHECK_INT(none.status, SLUICE_INPUT);
    CHECK_HAS(none.err.text, "six: has no channel 6, only 6 channels");
}

static void check_refused(const struct collected *c, const char *says) {
    CHECK_INT(c->status, SLUICE_INPUT);
    CHECK_HAS(c->err.text, says);
    CHECK_INT(c->n, 0);
}

TEST(headers_out_of_bounds_are_refused) {
    static const struct {
        uint32_t rate;
        unsigned n_ch, bits;
        const char *says;
    } headers[] = {
        {0, 1, 16, "made: "},           {1, 1, 16, "sample rate of 1 Hz; 1000 to 768000"},
        {999, 1, 16, "999 Hz"},         {768001, 1, 16, "768001 Hz"},
        {0xffffffff, 1, 16, "made: "},  {16000, 0, 16, "0 channels; 1 to 64"},
        {16000, 65, 16, "65 channels"}, {16000, 65535, 16, "made: "},
        {16000, 1, 0, "made: "},        {16000, 1, 13, NULL},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        wav_header(&wav, 1, headers[i].rate, headers[i].n_ch, headers[i].bits, 4000);
        memset(wav.bytes + wav.len, 7, 4000);
        struct collected c = collect_memory(wav.bytes, wav.len + 4000);
        printf("  %u Hz, %u ch, %u bit: %s\n", headers[i].rate, headers[i].n_ch, headers[i].bits,
               c.err.text);
        if (headers[i].says)
            check_refused(&c, headers[i].says);
    }
}

TEST(nothing_in_it_is_said) {
    struct collected c = collect_memory("", 0);
    check_refused(&c, "made: is empty (0 bytes)");
    wav_header(&wav, 1, 16000, 1, 16, 0);
    c = collect_memory(wav.bytes, wav.len);
    check_refused(&c, "made: holds no audio");
    c = collect_memory("just words, nothing to hear", 27);
    check_refused(&c, "not an audio");
}

TEST(playlists_and_references_are_refused) {
    static const char *const texts[] = {
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile:///etc/"
        "passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '/etc/passwd'\nduration 1\n",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP "
        "0\r\n",
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
        "type=\"static\"></MPD>",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct collected c = collect_memory(texts[i], strlen(texts[i]));
        printf("  %s\n", c.err.text);
        check_refused(&c, "made: is not an audio");
    }
}

/* ---- containers with timestamps ---- */

static struct collected decode_made(const char *name) {
    struct collected c = collect_file(make_path(name), -1, -1);
    if (c.status != SLUICE_OK)
        printf("  %s\n", c.err.text);
    printf("  %s", c.warnings);
    return c;
}

TEST(gap_in_matroska_is_silence) {
    struct maker m;
    CHECK(maker_open(&m, make_path("gap.mkv"), "matroska", "pcm_s16le", 16000, 0, NULL));
    maker_write(&m, 16000, 0);
    maker_write(&m, 16000, 8000); /* half a second is missing */
    maker_close(&m);
    struct collected c = decode_made("gap.mkv");
    CHECK_INT(c.n, 40000);
    CHECK(worst(&c, 0, 0, 16000) < 1e-4);
    CHECK(is_silent(&c, 16000, 8000));
    CHECK(worst(&c, 24000, 1, 16000) < 1e-4);
    CHECK_HAS(
        c.warnings,
        "1 gap in its timestamps filled with 0.500 s of silence, the first change is at 1.000 s");
    make_clean();
}

TEST(overlap_in_matroska_is_dropped) {
    struct maker m;
    CHECK(maker_open(&m, make_path("over.mkv"), "matroska", "pcm_s16le", 16000, 0, NULL));
    m.block = 16000; /* the muxer wants rising timestamps, so in one piece */
    maker_write(&m, 16000, 0);
    m.n -= 3200; /* the same 0.2 s once more, as after a dropped connection */
    maker_write(&m, 16000, 0);
    maker_close(&m);
    struct collected c = decode_made("over.mkv");
    CHECK_INT(c.n, 32000 - 3200);
    CHECK(worst(&c, 0, 0, c.n) < 1e-4);
    CHECK_HAS(c.warnings, "0.200 s of repeated audio dropped");
    make_clean();
}

TEST(rounded_timestamps_change_nothing) { /* blocks of 882 samples at 44.1 kHz are not whole
                                             milliseconds */
    struct maker m;
    CHECK(maker_open(&m, make_path("round.mkv"), "matroska", "pcm_s16le", 44100, 0, NULL));
    maker_write(&m, 44100 * 30, 0);
    maker_close(&m);
    struct collected c = decode_made("round.mkv");
    CHECK_INT(c.n, 16000 * 30);
    CHECK(worst(&c, 400, 400.0 / AD_RATE, c.n - 800) < 0.003);
    CHECK_STR(c.warnings, "");
    make_clean();
}

TEST(late_audio_fits_the_picture) {
    struct maker m;
    for (int video = 0; video < 2; video++) {
        CHECK(maker_open(&m, make_path("late.mkv"), "matroska", "pcm_s16le", 16000, video, NULL));
        maker_write(&m, 16000, 8000);
        maker_close(&m);
        struct collected c = decode_made("late.mkv");
        int64_t lead = video ? 8000 : 0; /* without a picture the first sound is time 0 */
        CHECK_INT(c.n, 16000 + lead);
        CHECK(is_silent(&c, 0, lead));
        CHECK(worst(&c, lead, 0, 16000) < 1e-4);
    }
    make_clean();
}

TEST(second_track_can_be_taken) {
    struct maker m;
    CHECK(maker_open(&m, make_path("a.mka"), "matroska", "pcm_s16le", 16000, 1, NULL));
    maker_write(&m, 8000, 0);
    maker_close(&m);
    struct collected c = collect_file(make_path("a.mka"), 0, -1);
    CHECK_INT(c.n, 8000);
    c = collect_file(make_path("a.mka"), 1, -1); /* the video does not count */
    check_refused(&c, "a.mka: has no audio track 1, only tracks 0 to 0");
    make_clean();
}

/* ---- encoders ---- */

/* Codecs that delay the signal, in containers that say so: nothing may move, nothing be added. */
static const struct coded {
    const char *muxer, *encoder, *options;
    int rate;
    double tolerance; /* of the correlation: 1 - r */
} coded[] = {
    {"flac", "flac", NULL, 44100, 1e-4},      {"ogg", "flac", NULL, 48000, 1e-4},
    {"ipod", "aac", NULL, 44100, 0.02},       {"mp4", "aac", NULL, 48000, 0.02},
    {"mov", "aac", NULL, 16000, 0.02},        {"ipod", "alac", NULL, 44100, 1e-4},
    {"mp3", "libmp3lame", NULL, 44100, 0.02}, {"mp3", "libmp3lame", NULL, 16000, 0.02},
    {"ogg", "libopus", NULL, 48000, 0.02},    {"webm", "libopus", NULL, 48000, 0.02},
    {"mp4", "libopus", NULL, 48000, 0.02},    {"ogg", "libvorbis", NULL, 44100, 0.02},
    {"mp4", "libmp3lame", NULL, 44100, 0.02}, {"wv", "wavpack", NULL, 44100, 1e-4},
    {"caf", "alac", NULL, 44100, 1e-4},       {"tta", "tta", NULL, 44100, 1e-4},
};

/* WMA states whole blocks only: in place, and up to one block longer. */
TEST(wma_is_in_place) {
    static const int rates[] = {16000, 22050, 44100};
    for (size_t i = 0; i < 3; i++) {
        struct maker m;
        if (!maker_open(&m, make_path("a.wma"), "asf", "wmav2", rates[i], 0, NULL))
            SKIP("no encoder");
        int block = rates[i] == 16000 ? 512 : rates[i] == 22050 ? 1024 : 2048;
        int64_t n = INT64_C(40) * block;
        maker_write(&m, n, 0);
        maker_close(&m);
        struct collected c = decode_made("a.wma");
        CHECK_INT(c.n, (2 * n * 16000 + rates[i]) / (2 * rates[i]));
        CHECK(worst(&c, 2000, 2000.0 / AD_RATE, c.n - 4000) < 0.1);
        CHECK_STR(c.warnings, "");
    }
    make_clean();
}

/* Correlation with the signal at `lag` samples. */
static double correlation(const struct collected *c, int lag) {
    static double signal[20000];
    if (signal[2000] == 0)
        for (int64_t i = 0; i < 20000; i++)
            signal[i] = make_signal((double)i / AD_RATE);
    double xy = 0, xx = 1e-9, yy = 1e-9;
    for (int64_t i = 2000; i < 20000; i++) {
        double x = signal[i], y = c->pcm[i + lag];
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    return xy / sqrt(xx * yy);
}

static void check_coded(const struct coded *k) {
    struct maker m;
    int64_t n = k->rate * 2 + 123;
    if (!maker_open(&m, make_path("coded"), k->muxer, k->encoder, k->rate, 0, k->options)) {
        printf("  %s in %s: no encoder\n", k->encoder, k->muxer);
        return;
    }
    maker_write(&m, n, 0);
    maker_close(&m);
    struct collected c = decode_made("coded");
    printf("  %s in %s: %d samples, correlation %.5f\n", k->encoder, k->muxer, (int)c.n,
           correlation(&c, 0));
    CHECK_INT(c.status, SLUICE_OK);
    CHECK_INT(c.n, (2 * n * 16000 + k->rate) / (2 * k->rate));
    CHECK(correlation(&c, 0) > 1 - k->tolerance);
    for (int lag = -1200; lag <= 1200; lag++)
        CHECK(correlation(&c, lag) <= correlation(&c, 0));
    CHECK_STR(c.warnings, "");
}

TEST(encoder_delay_is_removed) {
    for (size_t i = 0; i < sizeof coded / sizeof *coded; i++)
        check_coded(&coded[i]);
    make_clean();
}

/* ---- M4A with an iTunSMPB tag instead of an edit list ---- */

static void put_u32(FILE *f, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8)
        fputc((int)(v >> shift & 0xff), f);
}

static uint32_t get_u32(FILE *f, long at) {
    uint32_t v = 0;
    fseek(f, at, SEEK_SET);
    for (int i = 0; i < 4; i++)
        v = v << 8 | (uint32_t)fgetc(f);
    return v;
}

static void put_box(FILE *f, uint32_t len, const char *type) {
    put_u32(f, len);
    fwrite(type, 1, 4, f);
}

/* moov is the last box: appends udta/meta/ilst/---- with the tag and makes moov longer by it. */
static void add_itunsmpb(const char *path, const char *value) {
    uint32_t text = (uint32_t)strlen(value);
    uint32_t data = 16 + text, tag = 8 + 28 + 20 + data, ilst = 8 + tag, hdlr = 33,
             meta = 12 + hdlr + ilst;
    FILE *f = fopen(path, "r+b");
    CHECK(f != NULL);
    fseek(f, 0, SEEK_END);
    long end = ftell(f), at = 0;
    while (at + (long)get_u32(f, at) < end)
        at += get_u32(f, at);
    uint32_t moov = get_u32(f, at);
    fseek(f, at, SEEK_SET);
    put_box(f, moov + 8 + meta, "moov");
    fseek(f, 0, SEEK_END);
    put_box(f, 8 + meta, "udta");
    put_box(f, meta, "meta");
    put_u32(f, 0);
    put_box(f, hdlr, "hdlr");
    fwrite("\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0", 1, 25, f);
    put_box(f, ilst, "ilst");
    put_box(f, tag, "----");
    put_box(f, 28, "mean");
    fwrite("\0\0\0\0com.apple.iTunes", 1, 20, f);
    put_box(f, 20, "name");
    fwrite("\0\0\0\0iTunSMPB", 1, 12, f);
    put_box(f, data, "data");
    put_u32(f, 1);
    put_u32(f, 0);
    fwrite(value, 1, text, f);
    CHECK_INT(fclose(f), 0);
}

TEST(itunsmpb_gives_the_length) {
    struct maker m;
    CHECK(maker_open(&m, make_path("tag.m4a"), "mov", "aac", 44100, 0, "use_editlist=0"));
    maker_write(&m, 44 * 1024, 0); /* whole blocks: the container alone states them all */
    maker_close(&m);
    char tag[128]; /* the real audio ends 300 samples earlier */
    snprintf(tag, sizeof tag, " 00000000 %08X %08X %016X 00000000 00000000", 1024, 300,
             44 * 1024 - 300);
    add_itunsmpb(make_path("tag.m4a"), tag);
    struct collected c = decode_made("tag.m4a");
    CHECK_INT(c.status, SLUICE_OK);
    CHECK_INT(c.n, (2 * (44 * 1024 - 300) * INT64_C(16000) + 44100) / (2 * 44100));
    double best = 0;
    for (int64_t i = 4000; i < 12000; i++)
        best = fmax(best, fabs(c.pcm[i] - make_signal((double)i / AD_RATE)));
    CHECK(best < 0.1);
    make_clean();
}

/* ---- streams put one behind the other ---- */

static void make_stream(const char *name, const char *muxer, const char *encoder, int rate,
                        int64_t n) {
    struct maker m;
    if (!maker_open(&m, make_path(name), muxer, encoder, rate, 0, NULL))
        SKIP("no encoder %s", encoder);
    maker_write(&m, n, 0);
    maker_close(&m);
}

TEST(rate_may_change_in_the_middle) {
    make_stream("first.aac", "adts", "aac", 16000, 16 * 1024);
    char first[256];
    snprintf(first, sizeof first, "%s", make_path("first.aac"));
    make_stream("second.aac", "adts", "aac", 48000, 48 * 1024);
    make_append(first, make_path("second.aac"));
    struct collected c = decode_made("first.aac");
    CHECK_INT(c.status, SLUICE_OK);
    /* each with its block of encoder delay, which ADTS does not state */
    CHECK_INT(c.n, 17 * 1024 + (2 * 49 * 1024 + 3) / 6);
    make_clean();
}

TEST(chained_streams_are_joined) {
    make_stream("chain.ogg", "ogg", "flac", 16000, 24000);
    char first[256];
    snprintf(first, sizeof first, "%s", make_path("chain.ogg"));
    make_stream("link.ogg", "ogg", "flac", 16000, 24000);
    make_append(first, make_path("link.ogg"));
    struct collected c = decode_made("chain.ogg");
    CHECK_INT(c.status, SLUICE_OK);
    CHECK_INT(c.n, 48000);
    CHECK(worst(&c, 0, 0, 24000) < 1e-4);
    CHECK(worst(&c, 24000, 0, 24000) < 1e-4);
    make_clean();
}

/* ---- hosts and disks ---- */

static struct collected decode_long(int64_t cancel_at, int64_t fail_at) {
    struct collected c = {.cancel_at = cancel_at, .fail_at = fail_at};
    struct ad_memory memory;
    wav_header(&wav, 1, 16000, 1, 16, 500000);
    memset(wav.bytes + wav.len, 0, 500000);
    ad_memory_init(&memory, wav.bytes, wav.len + 500000);
    collect_source(&memory.source, "long", -1, -1, &c);
    return c;
}

TEST(cancelling_stops_at_once) {
    struct collected c = decode_long(50000, 0);
    CHECK_INT(c.status, SLUICE_CANCELLED);
    CHECK(c.n < 60000);
    c = decode_long(0, 50000);
    CHECK_INT(c.status, SLUICE_RESOURCE);
    c = decode_long(0, 0);
    CHECK_INT(c.n, 250000);
    CHECK(c.n_progress > 10);
    CHECK_NEAR(c.progress, 1, 0.01);
}

static int cancelled_after(void *ctx) {
    int *calls_left = ctx;
    return --*calls_left < 0;
}

static int drop_samples(void *ctx, const float *samples, int64_t n) {
    (void)ctx, (void)samples, (void)n;
    return SLUICE_OK;
}

TEST(cancelling_anywhere_is_no_success) {
    wav_header(&wav, 1, 16000, 1, 16, 500000);
    memset(wav.bytes + wav.len, 0, 500000);
    int n_done = 0;
    for (int calls = 0; calls < 400; calls++) {
        int calls_left = calls;
        struct ad_memory memory;
        struct ad_options options = {-1, -1};
        struct ad_sink sink = {
            .ctx = &calls_left, .write = drop_samples, .cancelled = cancelled_after};
        struct ad_result result;
        struct num_err err;
        ad_memory_init(&memory, wav.bytes, wav.len + 500000);
        int status = ad_decode(&memory.source, "long", &options, &sink, &result, &err);
        CHECK_INT(status, calls_left < 0 ? SLUICE_CANCELLED : SLUICE_OK);
        n_done += status == SLUICE_OK;
    }
    CHECK(n_done > 0 && n_done < 399);
}

struct failing {
    struct ad_memory memory;
    int64_t good; /* bytes before reads fail */
};

static int failing_read_at(void *ctx, int64_t offset, uint8_t *data, int len) {
    struct failing *f = ctx;
    return offset + len > f->good ? -EIO : f->memory.source.read_at(&f->memory, offset, data, len);
}

TEST(a_failing_disk_is_transient) {
    static const int64_t good[] = {0, 20, 70000, 300000};
    for (size_t i = 0; i < 4; i++) {
        struct collected c = {0};
        struct failing f = {.good = good[i]};
        wav_header(&wav, 1, 16000, 1, 16, 500000);
        ad_memory_init(&f.memory, wav.bytes, wav.len + 500000);
        struct ad_source source = {&f, failing_read_at, f.memory.source.size};
        collect_source(&source, "far.wav", -1, -1, &c);
        CHECK_INT(c.status, SLUICE_TRANSIENT);
        CHECK_HAS(c.err.text, "far.wav: cannot be read: Input/output error");
    }
}

TEST(paths_that_are_no_files) {
    struct collected c = collect_file(make_path("missing.wav"), -1, -1);
    check_refused(&c, "missing.wav: cannot be opened: No such file or directory");
    c = collect_file("/tmp", -1, -1);
    check_refused(&c, "tmp: is a folder, not a file");
    c = collect_file("/dev/null", -1, -1);
    check_refused(&c, "null: is a device or pipe, not a file");
    make_clean();
}

TEST_MAIN()
