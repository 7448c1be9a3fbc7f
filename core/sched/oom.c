/* The next step after a failure for lack of memory, see oom.h. */
#include "sched/oom.h"

#include <stdio.h>

#include "base/units.h"

/* The limit after `limit`, or 0 where it cannot grow. */
static uint64_t grown(uint64_t limit, uint64_t most, double factor) {
    double next = (double)limit * (factor > 1 ? factor : SL_OOM_FACTOR);
    if (limit == 0 || limit >= most)
        return 0;
    return next < (double)most ? (uint64_t)next : most;
}

/* Fills in what the step changes; false: nothing. */
static bool take(enum sl_oom_step step, const struct sl_oom_case *c, struct sl_oom_decision *d) {
    switch (step) {
    case SL_OOM_SHRINK:
        d->batch = c->batch / 2;
        return c->batch > 1;
    case SL_OOM_OTHER_GPU:
        return c->on_gpu && c->card && c->other_cards > 0;
    case SL_OOM_GROW:
        if (c->host)
            d->memory = grown(c->memory, c->memory_max, c->grow_memory);
        if (c->card && c->on_gpu)
            d->gpu_memory = grown(c->gpu_memory, c->gpu_memory_max, c->grow_gpu_memory);
        return d->memory || d->gpu_memory;
    case SL_OOM_CPU:
        return c->on_gpu && c->card;
    default:
        return false;
    }
}

struct sl_oom_decision sl_oom_next(const struct sl_oom_policy *policy,
                                   const struct sl_oom_case *c) {
    for (int i = 0; c->n_steps < SL_OOM_MAX_STEPS && i < policy->n; i++) {
        struct sl_oom_decision d = {.step = policy->steps[i]};
        if (take(d.step, c, &d))
            return d;
    }
    return (struct sl_oom_decision){.step = SL_OOM_NONE};
}

const char *sl_oom_text(const struct sl_oom_decision *d, char *buf, size_t size) {
    char memory[32] = "", gpu[32] = "";
    if (d->memory)
        sl_format_size(d->memory, memory, sizeof memory);
    if (d->gpu_memory)
        sl_format_size(d->gpu_memory, gpu, sizeof gpu);
    if (d->step == SL_OOM_SHRINK)
        snprintf(buf, size, "batch_size %d", d->batch);
    else if (d->step == SL_OOM_OTHER_GPU)
        snprintf(buf, size, "another card");
    else if (d->step == SL_OOM_CPU)
        snprintf(buf, size, "the CPU");
    else if (d->step == SL_OOM_GROW && d->memory && d->gpu_memory)
        snprintf(buf, size, "limits of %s of memory and %s of GPU memory", memory, gpu);
    else if (d->step == SL_OOM_GROW)
        snprintf(buf, size, "a limit of %s of %smemory", d->memory ? memory : gpu,
                 d->memory ? "" : "GPU ");
    else
        snprintf(buf, size, "nothing");
    return buf;
}
