/* What the stages of a run came to, over all items. Every item has the same stages in the same
 * order. */
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void add_attempt(struct sl_stage_sum *sum, const json_t *attempt) {
    double wall = fmax(sl_json_num(attempt, "wall_s", 0), 0);
    sum->attempts++;
    sum->retries += json_object_get(attempt, "retry_delay_s") != NULL;
    sum->wall_s += wall;
    sum->wall_max_s = fmax(sum->wall_max_s, wall);
    sum->cpu_s += sl_json_num(attempt, "cpu_s", 0);
    sum->peak_bytes = fmax(sum->peak_bytes, sl_json_num(attempt, "peak_bytes", 0));
    sum->memory_limit = fmax(sum->memory_limit, sl_json_num(attempt, "memory_limit", 0));
    sum->gpu_peak_bytes = fmax(sum->gpu_peak_bytes, sl_json_num(attempt, "gpu_peak_bytes", 0));
    sum->gpu_memory_limit =
        fmax(sum->gpu_memory_limit, sl_json_num(attempt, "gpu_memory_limit", 0));
}

static void add_stage(struct sl_stage_sum *sum, const json_t *stage) {
    const char *state = sl_json_str(stage, "state", "");
    json_t *attempt;
    size_t i;
    sum->name = sl_json_str(stage, "name", "");
    sum->use = sl_json_str(stage, "use", "");
    sum->is_output = json_is_true(json_object_get(stage, "output"));
    sum->n++;
    if (strcmp(state, "done") == 0)
        sum->done++;
    else if (strcmp(state, "absent") == 0)
        sum->absent++;
    else if (strcmp(state, "failed") == 0)
        sum->failed++;
    else
        sum->open++;
    json_array_foreach(json_object_get(stage, "attempts"), i, attempt) add_attempt(sum, attempt);
}

size_t sl_report_sums(const json_t *state, struct sl_stage_sum **ret) {
    const json_t *items = json_object_get(state, "items");
    size_t n = json_array_size(json_object_get(json_array_get(items, 0), "stages"));
    struct sl_stage_sum *sums = sl_xcalloc(n + 1, sizeof *sums);
    json_t *item, *stage;
    size_t i, s;
    json_array_foreach(items, i, item)
        json_array_foreach(json_object_get(item, "stages"), s, stage) if (s < n)
            add_stage(&sums[s], stage);
    *ret = sums;
    return n;
}
