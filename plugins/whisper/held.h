/*
 * Segments of clips that wait until those of all clips before them are handed out.
 */
#ifndef WH_HELD_H
#define WH_HELD_H

#include "whisper/longform.h"

/* A segment and all that it points to, but for its language, in one block. */
struct wh_held_segment {
    struct wh_held_segment *next;
    struct wh_segment segment;
};

/* What is held of one clip; zeroed: nothing. */
struct wh_held {
    struct wh_held_segment *first, *last;
    bool over; /* the clip's last segment is here */
};

/* Copies the segment behind those that are held. */
int32_t wh_held_add(struct wh_held *held, const struct wh_segment *segment, struct num_err *err);
/* The first one, to be freed by the caller; NULL: none. */
struct wh_held_segment *wh_held_take(struct wh_held *held);
void wh_held_finish(struct wh_held *held);

#endif
