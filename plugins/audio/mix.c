/*
 * Any sample format and channel count to one channel of floats.
 *
 * The mix is the plain mean: every microphone or speaker counts the same, whatever layout the
 * header claims. Rules for loudspeaker layouts (centre louder, LFE dropped) would lose a microphone
 * of a meeting recorder whose file says "5.1". For stereo both give (left + right) / 2. Sums are
 * doubles, so the mean is exact for all integer formats. Values are neither clipped nor dithered
 * here.
 */
#include "mix.h"

#include <libavutil/samplefmt.h>

/* One loop per sample type; `stride` is 1 for planar frames and the channel count for interleaved
 * ones. */
#define DEFINE_MIX(name, type, zero, full_scale)                                                   \
    static void mix_##name(uint8_t *const *planes, int planar, int first, int last, int n_ch,      \
                           int64_t skip, int64_t n, float *ret) {                                  \
        int64_t stride = planar ? 1 : n_ch;                                                        \
        double scale = 1.0 / ((full_scale) * (double)(last - first));                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            double sum = 0;                                                                        \
            for (int c = first; c < last; c++) {                                                   \
                const type *at = (const type *)(const void *)planes[planar ? c : 0];               \
                sum += (double)at[(skip + i) * stride + (planar ? 0 : c)] - (zero);                \
            }                                                                                      \
            ret[i] = (float)(sum * scale);                                                         \
        }                                                                                          \
    }

DEFINE_MIX(u8, uint8_t, 128.0, 128.0)
DEFINE_MIX(s16, int16_t, 0.0, 32768.0)
DEFINE_MIX(s32, int32_t, 0.0, 2147483648.0)
DEFINE_MIX(s64, int64_t, 0.0, 9223372036854775808.0)
DEFINE_MIX(flt, float, 0.0, 1.0)
DEFINE_MIX(dbl, double, 0.0, 1.0)

typedef void (*mix_fn)(uint8_t *const *, int, int, int, int, int64_t, int64_t, float *);

static mix_fn mix_for(enum AVSampleFormat format) {
    switch (av_get_packed_sample_fmt(format)) {
    case AV_SAMPLE_FMT_U8:
        return mix_u8;
    case AV_SAMPLE_FMT_S16:
        return mix_s16;
    case AV_SAMPLE_FMT_S32:
        return mix_s32;
    case AV_SAMPLE_FMT_S64:
        return mix_s64;
    case AV_SAMPLE_FMT_FLT:
        return mix_flt;
    case AV_SAMPLE_FMT_DBL:
        return mix_dbl;
    default:
        return 0;
    }
}

int ad_mix(const AVFrame *frame, int channel, int64_t skip, int64_t n, float *ret) {
    mix_fn mix = mix_for(frame->format);
    if (!mix)
        return -1;
    int n_ch = frame->ch_layout.nb_channels;
    int first = channel < 0 ? 0 : channel, last = channel < 0 ? n_ch : channel + 1;
    int planar = av_sample_fmt_is_planar(frame->format);
    mix(frame->extended_data, planar, first, last, n_ch, skip, n, ret);
    return 0;
}
