/*
 * Reads five boxes of an MP4 file by offset: no allocation, bounded loops, nothing is trusted.
 *
 *     moov > mvhd                               movie time scale
 *     moov > trak > tkhd                        track id
 *                 > edts > elst                 start and length of the presentation
 *                 > mdia > mdhd                 track time scale
 *                        > minf > stbl > stts   durations of the packets, run-length coded
 *
 * Layout: ISO/IEC 14496-12, sections 8.2 to 8.6.
 */
#include "mp4.h"

#include <string.h>

#define BOXES_MAX   1024      /* in one box */
#define ENTRIES_MAX (1 << 20) /* of a table */
#define LENGTH_MAX  (INT64_C(1) << 50)

struct box {
    int64_t begin, end; /* of the payload, in the file */
    char type[4];
};

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const uint8_t *p) {
    return (uint64_t)be32(p) << 32 | be32(p + 4);
}

static int read_exactly(const struct ad_source *source, int64_t at, uint8_t *data, int len) {
    return source->read_at(source->ctx, at, data, len) == len;
}

/* The box at `at` within `outer`. */
static int box_at(const struct ad_source *source, const struct box *outer, int64_t at,
                  struct box *ret) {
    uint8_t head[16];
    if (at + 8 > outer->end || !read_exactly(source, at, head, 8))
        return 0;
    uint64_t len = be32(head), head_len = 8;
    if (len == 1) {
        if (!read_exactly(source, at + 8, head + 8, 8))
            return 0;
        len = be64(head + 8);
        head_len = 16;
    }
    if (len == 0)
        len = (uint64_t)(outer->end - at);
    if (len < head_len || len > (uint64_t)(outer->end - at))
        return 0;
    memcpy(ret->type, head + 4, 4);
    ret->begin = at + (int64_t)head_len;
    ret->end = at + (int64_t)len;
    return 1;
}

/* The nth box of `type` within `outer`. */
static int find_nth(const struct ad_source *source, const struct box *outer, const char *type,
                    int nth, struct box *ret) {
    struct box box;
    int64_t at = outer->begin;
    for (int i = 0; i < BOXES_MAX && box_at(source, outer, at, &box); i++, at = box.end)
        if (memcmp(box.type, type, 4) == 0 && nth-- == 0) {
            *ret = box;
            return 1;
        }
    return 0;
}

static int find(const struct ad_source *source, const struct box *outer, const char *type,
                struct box *ret) {
    return find_nth(source, outer, type, 0, ret);
}

/* The field behind two times in mvhd, mdhd and tkhd: the time scale, or the track's id. */
static uint32_t field_after_times(const struct ad_source *source, const struct box *outer,
                                  const char *type) {
    struct box box;
    uint8_t data[24];
    if (!find(source, outer, type, &box) || !read_exactly(source, box.begin, data, 24))
        return 0;
    return data[0] == 1 ? be32(data + 20) : be32(data + 12);
}

/* Sum of the packets' durations; 0 where there are none or the table is damaged. */
static int64_t sum_durations(const struct ad_source *source, const struct box *mdia) {
    struct box box;
    uint8_t data[8];
    if (!find(source, mdia, "minf", &box) || !find(source, &box, "stbl", &box) ||
        !find(source, &box, "stts", &box) || !read_exactly(source, box.begin, data, 8))
        return 0;
    uint32_t n = be32(data + 4);
    if (n > ENTRIES_MAX || box.begin + 8 + (int64_t)n * 8 > box.end)
        return 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n && sum < LENGTH_MAX; i++) {
        if (!read_exactly(source, box.begin + 8 + (int64_t)i * 8, data, 8))
            return 0;
        sum += (uint64_t)be32(data) * (be32(data + 4) & 0x7fffffff);
        if (sum > LENGTH_MAX)
            return 0;
    }
    return (int64_t)sum;
}

struct edit {
    int64_t start;  /* ticks of the track */
    int64_t length; /* ticks of the movie, 0: to the end */
};

/* The one edit of the track; without a list it is the whole. 0: several edits, or damaged. Empty
 * edits only delay the track and are left out. */
static int read_edit(const struct ad_source *source, const struct box *trak, struct edit *ret) {
    struct box box;
    uint8_t data[20];
    *ret = (struct edit){0};
    if (!find(source, trak, "edts", &box) || !find(source, &box, "elst", &box))
        return 1;
    if (!read_exactly(source, box.begin, data, 8))
        return 0;
    int entry_len = data[0] == 1 ? 20 : 12, n_edits = 0;
    uint32_t n = be32(data + 4);
    for (uint32_t i = 0; i < n && i < 16; i++) {
        int64_t at = box.begin + 8 + (int64_t)i * entry_len;
        if (at + entry_len > box.end || !read_exactly(source, at, data, entry_len))
            return 0;
        int wide = entry_len == 20;
        int64_t length = wide ? (int64_t)be64(data) : be32(data);
        int64_t start = wide ? (int64_t)be64(data + 8) : (int32_t)be32(data + 4);
        if (start == -1)
            continue;
        if (start < 0 || start > LENGTH_MAX || length < 0 || length > LENGTH_MAX || n_edits++ > 0)
            return 0;
        *ret = (struct edit){start, length};
    }
    return n <= 16;
}

static int find_track(const struct ad_source *source, const struct box *moov, uint32_t id,
                      struct box *ret) {
    for (int i = 0; find_nth(source, moov, "trak", i, ret); i++)
        if (field_after_times(source, ret, "tkhd") == id)
            return 1;
    return 0;
}

int64_t ad_mp4_track_length(const struct ad_source *source, uint32_t id) {
    struct box file = {0, source->size, "file"}, moov, trak, mdia;
    struct edit edit;
    if (!find(source, &file, "moov", &moov) || !find_track(source, &moov, id, &trak) ||
        !find(source, &trak, "mdia", &mdia) || !read_edit(source, &trak, &edit))
        return 0;
    int64_t movie_scale = field_after_times(source, &moov, "mvhd");
    int64_t scale = field_after_times(source, &mdia, "mdhd");
    int64_t rest = sum_durations(source, &mdia) - edit.start;
    if (movie_scale == 0 || scale == 0 || rest <= 0)
        return 0;
    __int128 stated = (__int128)edit.length * scale, whole = (__int128)rest * movie_scale;
    if (edit.length == 0 || stated > whole - scale) /* longer, or shorter by less than a tick */
        return rest;
    return (int64_t)(stated / movie_scale);
}
