/*
 * Which of NVIDIA's libraries a stage on a card would find, for `sluice doctor`. They are loaded to
 * be asked for their versions, so this belongs into a process that ends soon.
 *
 * The answer is a JSON array: [{"name": "libcublasLt.so.13", "path": "...", "version": "13.0.2"} or
 * {"name": "...", "error": "..."}].
 */
#ifndef WORKER_LIBRARIES_H
#define WORKER_LIBRARIES_H

/* Owned text. */
char *sl_libraries_text(void);

#endif
