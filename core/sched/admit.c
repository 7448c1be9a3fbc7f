/* Admission by processors, see admit.h. */
#include "sched/admit.h"

#include <math.h>

int sl_admit_cpus(int total, int used, double declared, int ready) {
    int free_cpus = total - used;
    if (declared > 0) {
        int want = (int)ceil(declared);
        if (want > total)
            want = total;
        return want <= free_cpus || used == 0 ? want : 0;
    }
    if (free_cpus < 1)
        return 0;
    int share = free_cpus / (ready > 0 ? ready : 1);
    return share > 0 ? share : 1;
}
