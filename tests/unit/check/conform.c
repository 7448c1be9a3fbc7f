/*
 * Conformance: good plugins pass, and each kind of bad manners fails the test that is there for it.
 * The results of one run are collected and looked up by name.
 */
#include "unit/test.h"

#include "base/mem.h"
#include "base/str.h"
#include "check/conform.h"

#define MAX_RESULTS 400
#define FIXTURES    BUILD_DIR "/tests/plugins/"
#define BAD         BUILD_DIR "/tests/plugins-bad/"
#define CHECKED     BUILD_DIR "/tests/plugins-check/"

struct results {
    struct {
        char name[128], why[512];
        enum sl_conform_outcome outcome;
    } items[MAX_RESULTS];
    int n;
    struct sl_conform_summary summary;
};

static struct sl_err err;

static void collect(void *to, const struct sl_conform_result *r) {
    struct results *all = to;
    CHECK(all->n < MAX_RESULTS);
    snprintf(all->items[all->n].name, 128, "%s%s%s", r->stage ? r->stage : "", r->stage ? ":" : "",
             r->test);
    snprintf(all->items[all->n].why, 512, "%s", r->why);
    all->items[all->n++].outcome = r->outcome;
}

static struct results check(const char *plugin, const char *only,
                            const struct sl_conform_with *with) {
    static struct results all;
    all.n = 0;
    struct sl_conform_options options = {.plugin = plugin,
                                         .worker = WORKER,
                                         .share = BUILD_DIR "/share/sluice",
                                         .only = &only,
                                         .n_only = only != NULL,
                                         .with = with,
                                         .n_with = with != NULL,
                                         .limit_s = 5,
                                         .stop_fd = -1,
                                         .report = collect,
                                         .to = &all};
    if (sl_conform_run(&options, &all.summary, &err) < 0)
        TEST_FAIL("%s", err.msg);
    return all;
}

/* The one result of a test, as "FAIL: why". */
static const char *one(const char *plugin, const char *test) {
    static char text[600];
    struct results r = check(plugin, test, NULL);
    for (int i = 0; i < r.n; i++)
        if (strcmp(r.items[i].name, test) == 0) {
            snprintf(text, sizeof text, "%s: %s", sl_conform_outcome_name(r.items[i].outcome),
                     r.items[i].why);
            return text;
        }
    TEST_FAIL("%s was not run", test);
}

static void all_pass(const char *plugin) {
    struct results r = check(plugin, NULL, NULL);
    for (int i = 0; i < r.n; i++)
        if (r.items[i].outcome == SL_CONFORM_FAIL && !*SANITIZE)
            TEST_FAIL("%s: %s", r.items[i].name, r.items[i].why);
    CHECK(r.summary.counts[SL_CONFORM_OK] >= 20);
}

TEST(the_examples_pass) {
    all_pass(FIXTURES "minimal.so");
    all_pass(FIXTURES "recommended.so");
}

TEST(plugins_that_do_not_load) {
    CHECK_HAS(one(BAD "undefined_symbol.so", "load.opens"), "FAIL: ");
    CHECK_HAS(one(BAD "undefined_symbol.so", "load.opens"),
              "undefined symbol: a_function_that_nobody_has");
    CHECK_HAS(one(BAD "constructor_crash.so", "load.opens"),
              "FAIL: loading it crashed (Segmentation fault)");
    CHECK_HAS(one(BAD "constructor_hang.so", "load.opens"),
              "FAIL: loading it took longer than 5 s");
    CHECK_HAS(one(BAD "constructor_crash.so", "describe.valid"), "skip: ");
}

TEST(plugins_that_describe_themselves_wrongly) {
    CHECK_HAS(one(BAD "no_entry.so", "elf.exports"),
              "FAIL: it does not export sluice_plugin_entry");
    CHECK_HAS(one(BAD "no_entry.so", "load.opens"), "ok: ");
    CHECK_HAS(one(BAD "wrong_major.so", "describe.valid"), "FAIL: ");
    CHECK_HAS(one(BAD "wrong_major.so", "describe.valid"), "abi_major is 2, expected 1");
    CHECK_HAS(one(BAD "no_process.so", "describe.valid"), "process is NULL");
    CHECK_HAS(one(BAD "bad_default.so", "describe.valid"), "default \"many\"");
    CHECK_HAS(one(CHECKED "manners.so", "describe.docs"),
              "FAIL: manners/remembers: its summary is no sentence");
}

TEST(what_happens_at_load) {
    CHECK_HAS(one(CHECKED "bad_load.so", "load.time"), "FAIL: loading takes ");
    CHECK_HAS(one(CHECKED "bad_load.so", "load.threads"),
              strcmp(SANITIZE, "thread") == 0 ? "FAIL: loading it starts 2 threads"
                                              : "FAIL: loading it starts 1 threads");
    CHECK_HAS(one(CHECKED "bad_load.so", "load.files"),
              "FAIL: loading it leaves 1 files open: /dev/null");
    CHECK_HAS(one(CHECKED "bad_load.so", "load.output"), "FAIL: loading it prints 25 bytes");
    CHECK_HAS(one(CHECKED "bad_load.so", "elf.segments"), "FAIL: it asks for an executable stack");
    CHECK_HAS(one(CHECKED "bad_load.so", "elf.search_path"),
              "warn: it looks for libraries in /home/someone/build");
    CHECK_HAS(one(CHECKED "bad_load.so", "elf.exports"), "bad_load_second_symbol");
    CHECK_HAS(one(WORKER, "elf.format"), "FAIL: it is a program");
}

TEST(what_is_needed_at_load) {
    CHECK_HAS(one(CHECKED "needs_cuda.so", "elf.needed"), "FAIL: it needs libcuda.so.1");
    CHECK_HAS(one(CHECKED "needs_cuda.so", "load.libraries"), "FAIL: loading it maps ");
    CHECK_HAS(one(CHECKED "needs_cuda.so", "elf.search_path"),
              "FAIL: it looks for libraries in \"lib\"");
}

TEST(descriptions_that_are_hard_to_use) {
    CHECK_HAS(one(CHECKED "bad_docs.so", "describe.docs"),
              "FAIL: fine_docs/stage: the doc of input text has no text");
    CHECK_HAS(one(CHECKED "bad_docs.so", "describe.defaults"),
              "warn: fine_docs/stage: the default of number, -1, lies outside");
    CHECK_HAS(one(CHECKED "bad_docs.so", "describe.names"),
              "FAIL: fine_docs/stage: parameter choice has the choice \"a\" twice");
}

#define MANNERS(test) one(CHECKED "manners.so", "manners/" test)

TEST(leaks) {
    static const struct sl_conform_with fd = {"leaks.what", "fd"},
                                        thread = {"manners/leaks.what", "thread"};
    CHECK_HAS(check(CHECKED "manners.so", "manners/leaks:repeat.leaks", &fd).items[0].why,
              "descriptors open");
    CHECK_HAS(check(CHECKED "manners.so", "manners/leaks:repeat.leaks", &thread).items[0].why,
              "threads behind");
    if (*SANITIZE)
        SKIP("under a sanitizer memory is not measured");
    CHECK_HAS(MANNERS("leaks:repeat.leaks"), "FAIL: each job leaves ");
}

TEST(inputs) {
    CHECK_HAS(MANNERS("bad_utf8:inputs.typical"),
              "FAIL: all inputs: the message of a job is not valid UTF-8");
    CHECK_HAS(MANNERS("speechless:inputs.typical"),
              "FAIL: all inputs: it fails as input without a message");
    CHECK_HAS(MANNERS("internal:inputs.hostile"), "warn: text: random bytes: it fails as internal");
    CHECK_HAS(MANNERS("remembers:inputs.empty"),
              "FAIL: a typical input after them ends as input, before as ok");
    CHECK_HAS(one(FIXTURES "fixture.so", "fixture/crash:inputs.typical"),
              "FAIL: all inputs: its process crashed");
    CHECK_HAS(one(FIXTURES "fixture.so", "fixture/garbage:inputs.typical"), "FAIL: ");
    CHECK_HAS(one(FIXTURES "fixture.so", "fixture/no_commit:inputs.typical"),
              "\"text\" was not committed");
    CHECK_HAS(one(FIXTURES "fixture.so", "fixture/silent:inputs.typical"),
              "did not end within 5 s");
}

/* Whatever is written to the worker's socket is found, or at least changes nothing. */
TEST(intruders) {
    static const struct {
        const char *how, *finding;
    } rows[] = {
        {"junk", "not its own"},         {"counts", "not its own"}, {"foreign_job", "not its own"},
        {"foreign_port", "not its own"}, {"ready", "not its own"},  {"refused", "not its own"},
        {"exit", "not its own"},         {"fds", "not its own"},    {"shut", "its process"},
        {"done", "all inputs: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sl_conform_with how = {"intruder.how", rows[i].how};
        struct results r = check(FIXTURES "fixture.so", "fixture/intruder:inputs.typical", &how);
        CHECK_INT(r.n, 1);
        if (r.items[0].outcome != SL_CONFORM_FAIL || !strstr(r.items[0].why, rows[i].finding))
            TEST_FAIL("%s: %s", rows[i].how, r.items[0].why);
    }
}

TEST(time_and_order) {
    CHECK_HAS(MANNERS("random:repeat.bytes"), "FAIL: ");
    CHECK_HAS(MANNERS("deaf:cancel.working"), "FAIL: a cancelled job ends after ");
    CHECK_HAS(MANNERS("worse_together:batch.mixed"),
              "ends as unsupported, alone as ok: one at a time, please");
    CHECK_HAS(MANNERS("exits:create.destroy"), "FAIL: it ended its process (exit status 9)");
    CHECK_HAS(one(FIXTURES "fixture.so", "fixture/batcher:batch.mixed"), "ok: ");
}

TEST(memory) {
    if (*SANITIZE)
        SKIP("under a sanitizer memory cannot be limited");
    CHECK_HAS(MANNERS("starves:memory.process"),
              "FAIL: with 512.0 KiB left: its process crashed (Segmentation fault)");
}

TEST(create_at_the_bounds) {
    static const struct sl_conform_with in_create = {"fixture/crash.when", "create"};
    CHECK_HAS(one(FIXTURES "fixture.so", "fixture/echo:create.bounds"), "ok: ");
    CHECK_HAS(one(FIXTURES "fixture.so", "fixture/sleepy:create.bounds"),
              "starting = 1000000000.0: create() did not end");
    struct results r = check(FIXTURES "fixture.so", "fixture/crash:create", &in_create);
    CHECK_STR(r.items[0].name, "fixture/crash:create.defaults");
    CHECK_HAS(r.items[0].why, "default parameters: in create(), its process crashed");
    CHECK_INT(r.items[1].outcome, SL_CONFORM_SKIP);
}

TEST(mistakes_of_the_caller) {
    static const char *const unknown = "inputs.full";
    static const struct sl_conform_with no_parameter = {"redact.masks", "x"},
                                        no_value = {"redact.min_length", "many"};
    struct sl_conform_summary s;
    struct sl_conform_options o = {.plugin = FIXTURES "recommended.so",
                                   .worker = WORKER,
                                   .share = "",
                                   .limit_s = 5,
                                   .stop_fd = -1};
    o.only = &unknown;
    o.n_only = 1;
    CHECK_INT(sl_conform_run(&o, &s, &err), SL_USAGE);
    CHECK_HAS(err.msg, "no test or stage \"inputs.full\"");
    o.n_only = 0;
    o.with = &no_parameter;
    o.n_with = 1;
    CHECK_INT(sl_conform_run(&o, &s, &err), SL_USAGE);
    CHECK_HAS(err.msg, "no such parameter");
    o.with = &no_value;
    CHECK_INT(sl_conform_run(&o, &s, &err), SL_USAGE);
    CHECK_HAS(err.msg, "expected an integer from 1 to 100");
    o.plugin = "/no/such/plugin.so";
    CHECK_INT(sl_conform_run(&o, &s, &err), SLUICE_INPUT);
}

TEST(the_list_of_tests) {
    const char *what;
    bool per_stage;
    int n = 0;
    for (const char *name; (name = sl_conform_test(n, &what, &per_stage)); n++)
        CHECK(strchr(name, '.') && *what);
    CHECK(n >= 25);
}

TEST_MAIN()
