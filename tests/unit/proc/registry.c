/* The registry on the fixtures: descriptions, reasons of broken plugins, the cache, folders, and
 * probes that hang. */
#include "unit/test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "proc/probe.h"
#include "proc/registry.h"

static char home[TEST_PATH];
static struct sl_err err;

/* A private cache folder, and a worker that counts its starts in the file "starts". */
static char *counting_worker(void) {
    make_test_folder(home);
    setenv("SLUICE_CACHE", home, 1);
    unsetenv("SLUICE_PLUGIN_PATH");
    char *script = sl_path_join(home, "worker");
    sl_autofree char *text =
        sl_xasprintf("#!/bin/sh\necho x >> %s/starts\nexec %s \"$@\"\n", home, WORKER);
    CHECK_INT(sl_write_file(script, text, strlen(text), &err), 0);
    CHECK_INT(chmod(script, 0755), 0);
    return script;
}

static int count_starts(void) {
    sl_autofree char *path = sl_path_join(home, "starts");
    struct stat st;
    return stat(path, &st) == 0 ? (int)st.st_size / 2 : 0;
}

static const struct sl_plugin_desc *find(const struct sl_catalog *c, const char *name) {
    for (int i = 0; i < c->n_plugins; i++)
        if (strcmp(c->plugins[i]->name, name) == 0)
            return c->plugins[i];
    TEST_FAIL("no plugin %s", name);
}

static int load(const char *folder, const char *worker, bool no_cache, struct sl_catalog *ret) {
    const char *folders[] = {folder};
    struct sl_registry_options options = {folders, 1, worker, no_cache};
    *ret = (struct sl_catalog){0};
    return sl_registry_load(&options, ret, &err);
}

TEST(describes_once_and_remembers) {
    sl_autofree char *worker = counting_worker();
    struct sl_catalog c;
    CHECK_INT(load(PLUGINS, worker, false, &c), 0);
    int first = count_starts();
    CHECK(first >= 3);
    const struct sl_plugin_desc *fixture = find(&c, "fixture");
    CHECK(!fixture->broken);
    CHECK_INT(fixture->abi_major, SLUICE_ABI_MAJOR);
    CHECK_STR(fixture->path, PLUGINS "/fixture.so");
    const struct sl_stage_desc *stage = sl_catalog_stage(&c, "fixture/batcher");
    CHECK(stage != NULL);
    CHECK_INT(stage->max_jobs, 4);
    CHECK_INT(stage->n_params, 3);
    CHECK_INT(stage->params[0].kind, SLUICE_PARAM_INT);
    CHECK_STR(stage->params[0].default_value, "20");
    CHECK_INT(stage->inputs[0].optional, true);
    sl_catalog_finish(&c);

    CHECK_INT(load(PLUGINS, worker, false, &c), 0);
    CHECK_INT(count_starts(), first);
    CHECK(sl_catalog_stage(&c, "fixture/batcher") != NULL);
    for (int i = 1; i < c.n_plugins; i++)
        CHECK(strcmp(c.plugins[i - 1]->name, c.plugins[i]->name) <= 0);
    sl_catalog_finish(&c);

    CHECK_INT(load(PLUGINS, worker, true, &c), 0); /* no_cache */
    CHECK_INT(count_starts(), 2 * first);
    sl_catalog_finish(&c);

    sl_autofree char *cache = sl_path_join(home, "plugins.json");
    CHECK_INT(sl_write_file(cache, "{\"sum\":\"damaged", 15, &err), 0);
    CHECK_INT(load(PLUGINS, worker, false, &c), 0);
    CHECK_INT(count_starts(), 3 * first);
    CHECK(sl_catalog_stage(&c, "minimal/hello") != NULL);
    sl_catalog_finish(&c);
    sl_remove_tree(home, NULL);
}

/* Copies the bad plugins that do not hang into `folder`. */
static void copy_bad(const char *folder, const char *const *names) {
    CHECK_INT(sl_make_dirs(folder, &err), 0);
    for (; *names; names++) {
        sl_autofree char *from = sl_xasprintf("%s/%s.so", BAD_PLUGINS, *names);
        sl_autofree char *to = sl_xasprintf("%s/%s.so", folder, *names);
        sl_autofree char *data = NULL;
        size_t len;
        CHECK_INT(sl_read_file(from, 64 << 20, &data, &len, &err), 0);
        CHECK_INT(sl_write_file(to, data, len, &err), 0);
    }
}

TEST(broken_plugins_are_listed_with_the_real_reason) {
    static const char *const names[] = {"constructor_crash", "undefined_symbol", "bad_magic",
                                        "wrong_major",       "newer_minor",      "no_process",
                                        "no_entry",          "bad_default",      NULL};
    sl_autofree char *worker = counting_worker();
    sl_autofree char *folder = sl_path_join(home, "plugins");
    struct sl_catalog c;
    copy_bad(folder, names);
    sl_autofree char *junk = sl_path_join(folder, "junk.so");
    CHECK_INT(sl_write_file(junk, "not an object\n", 14, &err), 0);
    CHECK_INT(load(folder, worker, false, &c), 0);
    CHECK_INT(c.n_plugins, 9);
    CHECK_HAS(find(&c, "constructor_crash")->broken,
              "crashed while it was loaded (Segmentation fault)");
    CHECK_HAS(find(&c, "constructor_crash")->broken, "last line: \"about to crash\"");
    CHECK_HAS(find(&c, "undefined_symbol")->broken,
              "undefined_symbol.so: undefined symbol: a_function_that_nobody_has");
    CHECK_HAS(find(&c, "bad_magic")->broken, "magic is 0x12345678, expected 0x4543554c");
    CHECK_HAS(find(&c, "wrong_major")->broken, "abi_major is 2, expected 1");
    CHECK_HAS(find(&c, "newer_minor")->broken, "abi_minor is 7, expected at most 0");
    CHECK_HAS(find(&c, "no_process")->broken, "stage no_process/stage: process is NULL");
    CHECK_HAS(find(&c, "no_entry")->broken, "does not export sluice_plugin_entry");
    CHECK_HAS(find(&c, "bad_default")->broken, "beams");
    CHECK_HAS(find(&c, "junk")->broken, "junk.so: ");
    CHECK_INT(count_starts(), 9);
    sl_catalog_finish(&c);
    /* What may be cured from outside is tried again: the crash, the symbol, the junk. */
    CHECK_INT(load(folder, worker, false, &c), 0);
    CHECK_INT(count_starts(), 12);
    CHECK_HAS(find(&c, "bad_magic")->broken, "magic is 0x12345678");
    sl_catalog_finish(&c);
    sl_remove_tree(home, NULL);
}

TEST(one_that_hangs_is_left_alone_for_a_while) {
    static const char *const names[] = {"constructor_hang", NULL};
    sl_autofree char *worker = counting_worker();
    sl_autofree char *folder = sl_path_join(home, "plugins");
    const char *folders[] = {folder};
    struct sl_registry_options options = {folders, 1, worker, .limit_ms = 300};
    int starts[] = {1, 1, 2, 2};
    copy_bad(folder, names);
    for (int i = 0; i < 4; i++) {
        struct sl_catalog c = {0};
        options.refresh = i == 2;
        CHECK_INT(sl_registry_load(&options, &c, &err), 0);
        CHECK_STR(c.plugins[0]->broken,
                  "took longer than 0.3 s to load (not tried again for an hour; "
                  "`sluice plugins --refresh` does)");
        CHECK_INT(count_starts(), starts[i]);
        sl_catalog_finish(&c);
    }
    sl_remove_tree(home, NULL);
}

TEST(one_file_by_its_path) {
    struct sl_registry_options options = {.worker = WORKER};
    struct sl_catalog c = {0};
    CHECK_INT(sl_registry_probe(&options, BAD_PLUGINS "/wrong_major.so", &c, &err), 0);
    CHECK_HAS(c.plugins[0]->broken, "abi_major");
    CHECK_INT(sl_registry_probe(&options, PLUGINS "/minimal.so", &c, &err), 0);
    CHECK(sl_catalog_stage(&c, "minimal/hello") != NULL);
    CHECK_INT(sl_registry_probe(&options, "/nowhere/x.so", &c, &err), SLUICE_INPUT);
    CHECK_STR(err.msg, "/nowhere/x.so: no such file");
    sl_catalog_finish(&c);
}

TEST(a_plugin_that_hangs_costs_its_time_limit_once) {
    struct sl_probe probes[] = {{.path = BAD_PLUGINS "/constructor_hang.so"},
                                {.path = PLUGINS "/minimal.so"},
                                {.path = BAD_PLUGINS "/constructor_hang.so"}};
    int64_t begin = sl_now_ms();
    CHECK_INT(sl_probe_run(WORKER, probes, 3, 3000, &err), 0);
    int64_t took = sl_now_ms() - begin;
    CHECK(took >= 2900 && took < 15000);
    CHECK_STR(probes[0].reason, "took longer than 3 s to load");
    CHECK(!probes[0].lasting);
    CHECK(probes[1].json != NULL && probes[1].reason == NULL);
    CHECK_STR(probes[2].reason, "took longer than 3 s to load");
    for (int i = 0; i < 3; i++)
        sl_probe_finish(&probes[i]);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

TEST(a_missing_worker_is_an_error_of_the_system) {
    struct sl_catalog c;
    CHECK(load(PLUGINS, "/nowhere/sluice-worker", true, &c) < 0);
    CHECK_HAS(err.msg, "/nowhere/sluice-worker: cannot be run");
    sl_catalog_finish(&c);
}

TEST(folders_in_order_and_never_the_working_directory) {
    sl_autofree char *worker = counting_worker();
    sl_autofree char *first = sl_path_join(home, "first");
    static const char *const names[] = {"no_entry", NULL};
    struct sl_catalog c;
    copy_bad(first, names);
    sl_autofree char *shadow = sl_path_join(first, "minimal.so");
    CHECK_INT(sl_write_file(shadow, "junk", 4, &err), 0);
    setenv("SLUICE_PLUGIN_PATH", "::/nowhere:" PLUGINS, 1);
    CHECK_INT(chdir(BAD_PLUGINS), 0);
    CHECK_INT(load(first, worker, true, &c), 0);
    CHECK(find(&c, "minimal")->broken != NULL); /* the first folder wins */
    CHECK(!find(&c, "fixture")->broken);
    for (int i = 0; i < c.n_plugins; i++)
        CHECK(strcmp(c.plugins[i]->name, "bad_magic") != 0);
    sl_catalog_finish(&c);
    CHECK_INT(load("/nowhere/at/all", worker, true, &c), SL_USAGE);
    CHECK_HAS(err.msg, "/nowhere/at/all: cannot be read as a folder of plugins");
    sl_catalog_finish(&c);
    sl_remove_tree(home, NULL);
}

TEST_MAIN()
