/* What every processor of the architecture has, and the choice among the tables. */
#define CELLS dz_cells_base
#include "diarize/cells.inc"

#include "num/cpu/kernels.h"

extern const struct dz_cells dz_cells_avx2, dz_cells_avx512;

/* The sets are those of num_kernels(), so that SLUICE_CPU chooses both. */
const struct dz_cells *dz_cells(void) {
#ifdef __x86_64__
    const char *name = num_kernels()->name;
    if (strcmp(name, "avx2") == 0)
        return &dz_cells_avx2;
    if (strcmp(name, "sse2") != 0)
        return &dz_cells_avx512;
#endif
    return &dz_cells_base;
}
