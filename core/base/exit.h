/* The end of a process that skips the teardown of libraries. */
#ifndef BASE_EXIT_H
#define BASE_EXIT_H

#include <unistd.h>

#ifdef SLUICE_COVERAGE
void __gcov_dump(void); /* libgcov: writes the counts, which it otherwise does in exit() */
#endif

/* _exit(code). In builds that measure coverage the counts are written before. */
static inline _Noreturn void sl_exit(int code) {
#ifdef SLUICE_COVERAGE
    __gcov_dump();
#endif
    _exit(code);
}

#endif
