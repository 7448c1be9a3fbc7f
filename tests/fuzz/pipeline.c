/* Any bytes as a pipeline file: what can be planned can be drawn. The size says whether there are
 * settings. */
#include "unit/graph/fixture.h"

#include "graph/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void draw(const struct sl_plan *plan) {
    sl_autostr struct sl_str out = {0};
    sl_render_text(plan, &out);
    sl_render_dot(plan, &out);
    sl_render_svg(plan, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sl_catalog catalog;
    static const struct sl_setting settings[] = {{"model", "[1, {a: 2}]"}, {"n", "5"}};
    struct sl_diags diags = {.file = "fuzz.yaml"};
    struct sl_pipeline *pipeline = NULL;
    struct sl_plan *plan = NULL;
    sl_autostr struct sl_str out = {0};
    if (catalog.n_plugins == 0)
        fixture_catalog(&catalog);
    if (sl_pipeline_parse((const char *)data, size, &diags, &pipeline) == 0)
        sl_plan_make(pipeline, &catalog, settings, size % 3 ? 0 : 2, &diags, &plan);
    sl_pipeline_destroy(pipeline);
    if (plan)
        draw(plan);
    sl_diags_print(&diags, &out);
    sl_plan_destroy(plan);
    sl_diags_finish(&diags);
    return 0;
}
