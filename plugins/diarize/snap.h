/* Changes of speakers move to ends of sentences. */
#ifndef DIARIZE_SNAP_H
#define DIARIZE_SNAP_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/*
 * chosen[i] is the speaker of words[i] of a segment, objects with a text `word`. A change in the
 * middle of a sentence moves to the nearest end of a sentence, or to the start of the segment, at
 * most `most` words away and within the two speakers' words; backwards where both are as near.
 * Returns how many words change hands.
 */
size_t dz_snap(const json_t *words, uint32_t *chosen, size_t most);

#endif
