/* The table-driven reader through its users: retry, timeout, resources, device. */
#include "config/schema.h"

#include "base/err.h"
#include "config/policy_read.h"
#include "unit/test.h"

static struct sl_arena arena;
static struct sl_diags diags = {.file = "f"};

static const struct sl_yaml *parse(const char *text) {
    const struct sl_yaml *root = sl_yaml_parse(text, strlen(text), &arena, &diags);
    CHECK(root);
    return root;
}

static const char *printed(void) {
    static struct sl_str out;
    sl_str_clear(&out);
    sl_diags_print(&diags, &out);
    return sl_str_text(&out);
}

TEST(retry_reads_every_key) {
    struct sl_retry_policy p = sl_retry_default();
    sl_retry_read("stage \"a\"",
                  parse("{attempts: 5, backoff: 500ms, factor: 1.5, max_backoff: 1m, on: [crash, "
                        "timeout], then: ignore, "
                        "grow: {memory: 2, gpu_memory: 1.5}}"),
                  &p, &diags);
    CHECK_STR(printed(), "");
    CHECK_INT(p.attempts, 5);
    CHECK_NEAR(p.backoff_s, 0.5, 0);
    CHECK_NEAR(p.factor, 1.5, 0);
    CHECK_NEAR(p.max_backoff_s, 60, 0);
    CHECK_INT(p.on, SL_RETRY_BIT(SL_CRASH) | SL_RETRY_BIT(SL_TIMEOUT));
    CHECK(p.ignore);
    CHECK_NEAR(p.grow_memory, 2, 0);
    CHECK_NEAR(p.grow_gpu_memory, 1.5, 0);
}

TEST(defaults_are_those_of_the_format) {
    struct sl_retry_policy p = sl_retry_default();
    struct sl_timeouts t = sl_timeouts_default();
    CHECK_INT(p.attempts, 3);
    CHECK_NEAR(p.backoff_s, 1, 0);
    CHECK_NEAR(p.max_backoff_s, 30, 0);
    CHECK_INT(p.on, SL_RETRY_BIT(SL_CRASH) | SL_RETRY_BIT(SL_TIMEOUT) |
                        SL_RETRY_BIT(SLUICE_TRANSIENT) | SL_RETRY_BIT(SLUICE_RESOURCE) |
                        SL_RETRY_BIT(SLUICE_INTERNAL));
    CHECK(!p.ignore);
    CHECK_NEAR(t.start_s, 120, 0);
    CHECK_NEAR(t.total_s, 7200, 0);
}

TEST(mistakes_leave_the_member_and_go_on) {
    struct sl_retry_policy p = sl_retry_default();
    sl_retry_read("stage \"a\"",
                  parse("attempts: 0\nbackoff: soon\nfactor: 0.5\non: [crash, oops]\nthen: "
                        "ignor\ntrys: 4\ngrow: 2\n"),
                  &p, &diags);
    CHECK_STR(printed(),
              "f:1:11: error: stage \"a\": retry: attempts: expected an integer from 1 to 100, "
              "found integer 0\n"
              "f:2:10: error: stage \"a\": retry: backoff: expected a duration such as 90s, 1h30m "
              "or 2h, found text "
              "\"soon\"\n"
              "f:3:9: error: stage \"a\": retry: factor: expected a number from 1 to 100, found "
              "number 0.5\n"
              "f:4:13: error: stage \"a\": retry: on: expected one of crash, timeout, transient, "
              "resource or internal, "
              "found text \"oops\"\n"
              "f:5:7: error: stage \"a\": retry: then: expected one of fail or ignore (did you "
              "mean \"ignore\"?), found "
              "text \"ignor\"\n"
              "f:6:1: error: stage \"a\": retry: unknown key \"trys\"; accepted: attempts, "
              "backoff, factor, max_backoff, "
              "on, then, grow and quarantine\n"
              "f:7:7: error: stage \"a\": retry: grow: expected a map, found integer 2\n");
    CHECK_INT(p.attempts, 3);
    CHECK_NEAR(p.backoff_s, 1, 0);
}

TEST(timeouts_have_a_short_form) {
    struct sl_timeouts t = sl_timeouts_default();
    sl_timeouts_read("", parse("10m"), &t, &diags);
    CHECK_NEAR(t.total_s, 600, 0);
    CHECK_NEAR(t.idle_s, 120, 0);
    sl_timeouts_read("", parse("{start: 5, idle: 0, total: 1h30m}"), &t, &diags);
    CHECK_NEAR(t.start_s, 5, 0);
    CHECK_NEAR(t.idle_s, 0, 0);
    CHECK_NEAR(t.total_s, 5400, 0);
    CHECK_STR(printed(), "");
    sl_timeouts_read("defaults", parse("[1]"), &t, &diags);
    sl_timeouts_read("defaults", parse("{idle: -3}"), &t, &diags);
    CHECK_HAS(printed(), "f:1:1: error: defaults: timeout: expected a duration such as 90s, 1h30m "
                         "or 2h, or a map of "
                         "start, idle and total, found a list\n");
    CHECK_HAS(printed(), "f:1:8: error: defaults: timeout: idle: expected a duration");
}

TEST(keep_is_a_word_a_duration_or_a_map) {
    struct sl_keep k = sl_keep_default();
    CHECK_INT(k.kind, SL_KEEP_AUTO);
    sl_keep_read("", parse("none"), &k, &diags);
    CHECK_INT(k.kind, SL_KEEP_NONE);
    sl_keep_read("", parse("batch"), &k, &diags);
    CHECK_INT(k.kind, SL_KEEP_BATCH);
    sl_keep_read("", parse("5m"), &k, &diags);
    CHECK_INT(k.kind, SL_KEEP_FOR);
    CHECK_NEAR(k.idle_s, 300, 0);
    CHECK_INT(k.growth, 1ll << 30);
    sl_keep_read("", parse("{for: batch, workers: 2, uses: 100, growth: 64MiB}"), &k, &diags);
    CHECK_INT(k.kind, SL_KEEP_BATCH);
    CHECK_INT(k.workers, 2);
    CHECK_INT(k.uses, 100);
    CHECK_INT(k.growth, 64 << 20);
    sl_keep_read("", parse("{uses: 7}"), &k, &diags);
    CHECK_INT(k.uses, 7);
    CHECK_INT(k.workers, 2); /* kept */
    CHECK_STR(printed(), "");
}

TEST(what_keep_cannot_be_is_told) {
    struct sl_keep k = sl_keep_default();
    sl_keep_read("stage \"a\"", parse("bach"), &k, &diags);
    sl_keep_read("stage \"b\"", parse("0s"), &k, &diags);
    sl_keep_read("stage \"c\"", parse("{for: [1], use: 3, workers: -1}"), &k, &diags);
    CHECK_STR(printed(),
              "f:1:1: error: stage \"a\": keep: expected none, batch or a duration such as 5m, or "
              "a map of "
              "for, workers, uses and growth (did you mean \"batch\"?), found text \"bach\"\n"
              "f:1:1: error: stage \"b\": keep: expected none, batch or a duration such as 5m, or "
              "a map of "
              "for, workers, uses and growth, found text \"0s\"\n"
              "f:1:7: error: stage \"c\": keep: for: expected none, batch or a duration such as "
              "5m, found a list\n"
              "f:1:12: error: stage \"c\": keep: unknown key \"use\" (did you mean \"uses\"?)\n"
              "f:1:29: error: stage \"c\": keep: workers: expected an integer from 0 to 1000, "
              "found integer -1\n");
    CHECK_INT(k.kind, SL_KEEP_AUTO);
}

TEST(on_oom_is_a_list_of_steps) {
    struct sl_oom_policy p = {0};
    sl_on_oom_read("", parse("[shrink, other_gpu, grow, cpu]"), &p, &diags);
    CHECK_STR(printed(), "");
    CHECK_INT(p.n, 4);
    CHECK_INT(p.steps[0], SL_OOM_SHRINK);
    CHECK_INT(p.steps[3], SL_OOM_CPU);
    sl_on_oom_read("s", parse("[grow, grov, grow]"), &p, &diags);
    sl_on_oom_read("s", parse("grow"), &p, &diags);
    CHECK_STR(
        printed(),
        "f:1:1: error: s: on_oom: expected a list such as [shrink, grow, cpu], found text "
        "\"grow\"\n"
        "f:1:8: error: s: on_oom: expected one of shrink, other_gpu, grow or cpu (did you mean "
        "\"grow\"?), found text \"grov\"\n"
        "f:1:14: error: s: on_oom: grow is named twice; a step is repeated for as long as it "
        "changes "
        "something\n");
    sl_on_oom_read("", parse("[]"), &p, &diags);
    CHECK_INT(p.n, 0);
}

TEST(resources_and_devices) {
    struct sl_resources r = {0};
    struct sl_device d = {SL_DEVICE_AUTO, -1};
    sl_resources_read("", parse("{memory: 4GiB, gpu_memory: 1.5GB, cpus: 2.5}"), &r, &diags);
    CHECK_INT(r.memory, 4ll << 30);
    CHECK_INT(r.gpu_memory, 1500000000);
    CHECK_NEAR(r.cpus, 2.5, 0);
    sl_resources_read(
        "",
        parse("{cpu_time: 1h30m, open_files: 256, processes: 8, file_size: 1GiB, scratch: 2GB}"),
        &r, &diags);
    CHECK_NEAR(r.cpu_time_s, 5400, 0);
    CHECK_INT(r.open_files, 256);
    CHECK_INT(r.processes, 8);
    CHECK_INT(r.file_size, 1 << 30);
    CHECK_INT(r.scratch, 2000000000);
    CHECK_NEAR(r.cpus, 2.5, 0); /* kept */
    sl_resources_read("", parse("{processes: 0}"), &r, &diags);
    CHECK_INT(r.processes, 0);
    sl_device_read("", parse("cuda:12"), &d, &diags);
    CHECK_INT(d.kind, SL_DEVICE_CUDA);
    CHECK_INT(d.index, 12);
    sl_device_read("", parse("cuda"), &d, &diags);
    CHECK_INT(d.index, -1);
    sl_device_read("", parse("cpu"), &d, &diags);
    CHECK_INT(d.kind, SL_DEVICE_CPU);
    CHECK_STR(printed(), "");
    sl_device_read("stage \"a\"", parse("cuda:x"), &d, &diags);
    sl_device_read("stage \"b\"", parse("[gpu]"), &d, &diags);
    sl_resources_read("stage \"c\"", parse("{memory: lots, disk: 1GiB}"), &r, &diags);
    CHECK_HAS(printed(),
              "stage \"a\": device: expected auto, cpu, cuda or cuda:N, found text \"cuda:x\"\n");
    CHECK_HAS(printed(), "stage \"b\": device: expected auto, cpu, cuda or cuda:N, found a list\n");
    CHECK_HAS(printed(), "f:1:10: error: stage \"c\": resources: memory: expected a size such as "
                         "512MiB or 4GiB, found "
                         "text \"lots\"\n");
    CHECK_HAS(printed(), "f:1:16: error: stage \"c\": resources: unknown key \"disk\"; accepted: "
                         "memory, gpu_memory");
    CHECK_INT(d.kind, SL_DEVICE_CPU);
}

TEST(limits_are_read) {
    struct sl_resources r = {0};
    sl_resources_read(
        "", parse("{cpu_time: 10m, open_files: 64, processes: 8, file_size: 1GiB, scratch: 2GiB}"),
        &r, &diags);
    CHECK_STR(printed(), "");
    CHECK_NEAR(r.cpu_time_s, 600, 0);
    CHECK_INT(r.open_files, 64);
    CHECK_INT(r.processes, 8);
    CHECK_INT(r.file_size, 1ll << 30);
    CHECK_INT(r.scratch, 2ll << 30);
    sl_resources_read("stage \"a\"", parse("{open_files: 3, processes: -1}"), &r, &diags);
    CHECK_HAS(
        printed(),
        "f:1:14: error: stage \"a\": resources: open_files: expected at least 32, or 0 for no "
        "limit, found integer 3\n");
    CHECK_HAS(printed(),
              "f:1:28: error: stage \"a\": resources: processes: expected an integer from 0 to");
    CHECK_INT(r.open_files, 64);
}

TEST(limits_are_checked) {
    struct sl_resources r = {.open_files = 99};
    sl_resources_read(
        "s", parse("{open_file: 99, open_files: 31, processes: -1, cpu_time: x, file_size: []}"),
        &r, &diags);
    CHECK_HAS(printed(),
              "s: resources: unknown key \"open_file\" (did you mean \"open_files\"?)\n");
    CHECK_HAS(
        printed(),
        "s: resources: open_files: expected at least 32, or 0 for no limit, found integer 31\n");
    CHECK_HAS(printed(),
              "s: resources: processes: expected an integer from 0 to 4194304, found integer -1\n");
    CHECK_HAS(printed(), "s: resources: cpu_time: expected a duration");
    CHECK_HAS(printed(), "s: resources: file_size: expected a size");
    CHECK_INT(r.open_files, 99);
    CHECK_INT(r.processes, 0);
}

TEST(bools_have_hints) {
    struct sl_retry_policy p = sl_retry_default();
    sl_optional_read("stage \"a\"", parse("yes"), &p, &diags);
    sl_optional_read("stage \"b\"", parse("Off"), &p, &diags);
    sl_optional_read("stage \"c\"", parse("1"), &p, &diags);
    CHECK_HAS(printed(),
              "stage \"a\": optional: expected true or false, found text \"yes\" (write true)\n");
    CHECK_HAS(printed(), "found text \"Off\" (write false)\n");
    CHECK_HAS(printed(), "found integer 1\n");
    sl_optional_read("", parse("true"), &p, &diags);
    CHECK(p.ignore);
}

TEST(quoted_numbers_have_hints) {
    struct sl_retry_policy p = sl_retry_default();
    sl_retry_read("", parse("{attempts: \"5\"}"), &p, &diags);
    CHECK_HAS(printed(), "retry: attempts: expected an integer from 1 to 100, found text \"5\" "
                         "(write it without quotes)");
}

TEST(the_same_mistake_is_printed_once_and_in_order) {
    struct sl_diags d = {.file = "g"};
    sl_autostr struct sl_str out = {0};
    sl_diag_error(&d, (struct sl_pos){9, 1}, "last");
    sl_diag_warn(&d, (struct sl_pos){2, 5}, "second");
    sl_diag_error(&d, (struct sl_pos){2, 3}, "first");
    sl_diag_error(&d, (struct sl_pos){2, 3}, "first");
    sl_diag_error(&d, (struct sl_pos){0, 0}, "before all");
    sl_diags_print(&d, &out);
    CHECK_STR(
        out.data,
        "g: error: before all\ng:2:3: error: first\ng:2:5: warning: second\ng:9:1: error: last\n");
    CHECK_INT(d.n_errors, 4);
    sl_diags_finish(&d);
}

TEST(mistakes_are_bounded) {
    struct sl_diags d = {.file = "g"};
    sl_autostr struct sl_str out = {0};
    for (int i = 0; i < 5000; i++)
        sl_diag_error(&d, (struct sl_pos){i + 1, 1}, "mistake");
    sl_diags_print(&d, &out);
    CHECK_INT(d.n_errors, 5000);
    CHECK_HAS(out.data,
              "g:1000:1: error: mistake\ng: error: too many mistakes; the first 1000 are shown\n");
    CHECK(!strstr(out.data, "g:1001:1"));
    sl_diags_finish(&d);
}

TEST_MAIN()
