/*
 * Progress of a download on standard error: on a terminal one line that is redrawn, elsewhere a
 * plain line for each file and for every tenth of a large one.
 */
#ifndef FETCH_PROGRESS_H
#define FETCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct sl_progress {
    uint64_t total;      /* bytes of all files; 0: not known */
    uint64_t before;     /* bytes of the files that are done */
    uint64_t start_have; /* bytes that were there when the clock was started */
    double start, drawn; /* times in seconds; `drawn` of the last line */
    int tenths;          /* of the present file, said so far */
    uint64_t size;       /* of the present file; UINT64_MAX: not known */
    const char *file;    /* its name; NULL: none */
    bool terminal;
};

void sl_progress_init(struct sl_progress *p, uint64_t total);
void sl_progress_file(struct sl_progress *p, const char *name, uint64_t size, uint64_t have);
void sl_progress_have(void *progress, uint64_t have); /* of the present file */
void sl_progress_done(struct sl_progress *p, uint64_t size);
void sl_progress_note(struct sl_progress *p, const char *text); /* a line of its own */
void sl_progress_clear(struct sl_progress *p);                  /* before other output */

#endif
