/*
 * Chat templates rendered as jinja2 renders them: the templates of tests/data/chat with several
 * conversations, and snippets, with what tools/reference/chat.py stored. Then limits and messages.
 */
#include <time.h>

#include "unit/test.h"

#include "llm/template.h"

/* Less than by default, so that what runs into a limit does so at once. */
static const struct lm_template_limits limits = {
    .max_steps = 2 << 20, .max_memory = 32 << 20, .max_output = 4 << 20, .now = 1730000000};

static int32_t render(const char *source, const json_t *variables, struct num_buf *out,
                      struct num_err *err) {
    struct lm_template *t = NULL;
    int32_t status = lm_template_parse(source, strlen(source), "template", &t, err);
    if (status == SLUICE_OK)
        status = lm_template_render(t, variables, &limits, out, err);
    lm_template_destroy(t);
    return status;
}

static char *slurp(const char *path) {
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    CHECK(f && text);
    CHECK(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

TEST(equals_jinja2) {
    json_error_t where;
    json_t *root = json_load_file(TESTS_DIR "/data/expected/chat.json", 0, &where), *c;
    size_t i, wrong = 0, n_texts = 0;
    setenv("TZ", "UTC", 1);
    tzset();
    CHECK(root);
    json_array_foreach(json_object_get(root, "cases"), i, c) {
        const char *file = json_string_value(json_object_get(c, "file"));
        const char *want = json_string_value(json_object_get(c, "text"));
        char path[512];
        snprintf(path, sizeof path, TESTS_DIR "/data/chat/%s", file ? file : "");
        num_autotext *source =
            file ? slurp(path) : strdup(json_string_value(json_object_get(c, "source")));
        num_autobuf out = {0};
        struct num_err err = {0};
        int32_t status = render(source, json_object_get(c, "variables"), &out, &err);
        n_texts += want != NULL;
        if ((status == SLUICE_OK) == (want != NULL) &&
            (!want || strcmp(num_buf_text(&out), want) == 0))
            continue;
        wrong++;
        printf("  %s\n    got  \"%s\" (%s)\n    want \"%s\"\n",
               json_string_value(json_object_get(c, "name")), num_buf_text(&out), err.text,
               want ? want : "an error");
    }
    printf("  %zu cases, %zu texts\n", i, n_texts);
    json_decref(root);
    CHECK(n_texts > 150);
    CHECK_INT(wrong, 0);
}

TEST(what_is_not_supported_is_named) {
    static const struct {
        const char *source;
        int32_t status;
        const char *says;
    } cases[] = {
        {"a\nb {% include 'x' %}", SLUICE_UNSUPPORTED,
         "template, line 2, column 6: the statement `include`"},
        {"{{ 1 | batch(2) }}", SLUICE_UNSUPPORTED, "line 1, column 8: the filter `batch`"},
        {"{{ 1 is sameas(1) }}", SLUICE_UNSUPPORTED, "the test `sameas`"},
        {"{{ 'a'.format(1) }}", SLUICE_UNSUPPORTED, "no function or method `format`"},
        {"{{ '%s' % 1 }}", SLUICE_UNSUPPORTED, "formatting"},
        {"{{ f(*a) }}", SLUICE_UNSUPPORTED, "unpacked"},
        {"{% for x in y recursive %}{% endfor %}", SLUICE_UNSUPPORTED, "recursive"},
        {"{{ 9223372036854775807 + 1 }}", SLUICE_UNSUPPORTED, "too large"},
        {"{{ raise_exception('tools? no') }}", SLUICE_INPUT, "the template says: tools? no"},
        {"ä{{ x.y.z }}", SLUICE_INPUT, "line 1, column 7: x is undefined"},
        {"{% if x %}", SLUICE_INPUT, "expected {% elif %}"},
        {"{{ (1, }}", SLUICE_INPUT, "expected"},
        {"{{ \xff }}", SLUICE_INPUT, "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        num_autobuf out = {0};
        struct num_err err = {0};
        json_t *variables = json_object();
        int32_t status = render(cases[i].source, variables, &out, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].says))
            TEST_FAIL("%s: %d, %s", cases[i].source, (int)status, err.text);
        CHECK_INT(out.len, 0);
        json_decref(variables);
    }
}

/* Templates that would hang, or take all memory or the stack. */
TEST(hostile_templates_end) {
    static const char *const sources[] = {
        "{% for i in range(1000000000000) %}x{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{{ 'x' * 1000000 }}{% endfor %}",
        "{% set x = 'x' * 100000000 %}{{ x * 100000000 }}",
        "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% "
        "endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x + [1] "
        "%}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}{{ ns.x | tojson }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}{{ ns.x == [ns.x] }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% set x = 'ab' * 1000000 %}{% for i in range(100000) %}{% if 'ba' * 1000 + 'c' in x %}{% "
        "endif %}{% endfor %}",
        "{% set x = 'a' * 10000000 %}{% for i in range(100000) %}{{ x[5] }}{% endfor %}",
        "{% set x = ' ' * 10000000 %}{% for i in range(100000) %}{{ x.strip() }}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        num_autobuf out = {0};
        struct num_err err = {0};
        json_t *variables = json_object();
        if (render(sources[i], variables, &out, &err) != SLUICE_RESOURCE)
            TEST_FAIL("%s: %s", sources[i], err.text);
        json_decref(variables);
    }
}

TEST(deep_templates_end) {
    static const char *const parts[] = {"(",  "[",  "-",  "not ", "{% if 1 %}",
                                        "1+", "x|", "a.", "1 if "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        num_autobuf source = {0}, out = {0};
        struct num_err err = {0};
        json_t *variables = json_object();
        num_buf_adds(&source, *parts[i] == '{' ? "" : "{{ ");
        for (int n = 0; n < 100000; n++)
            num_buf_adds(&source, parts[i]);
        num_buf_adds(&source, *parts[i] == '{' ? "" : "1 }}");
        CHECK(render(source.data, variables, &out, &err) < 0);
        json_decref(variables);
    }
}

TEST_MAIN()
