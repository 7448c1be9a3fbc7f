/* What a model's name means, in folders made for the purpose. */
#include "num/resolve.h"

#include "unit/test.h"

static char root[TEST_PATH], path[512];
static struct num_err err;

static void make(const char *name) {
    char command[400];
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s/%s')\" && touch '%s/%s'", root,
             name, root, name);
    CHECK_INT(system(command), 0);
}

static void begin(void) {
    make_test_folder(root);
    make("share/models/whisper-synth/config.json");
    make("share/models/both/config.json");
    make("mine/both/config.json");
    make("mine/base.bin");
    make("mine/ggml-tiny.bin");
    make("mine/owner/repo/config.json");
    make("mine/.hidden.part/config.json");
    unsetenv("XDG_DATA_HOME");
    snprintf(path, sizeof path, "%s/mine", root);
    setenv("SLUICE_MODELS", path, 1);
}

static int32_t find(const char *name) {
    char share[128];
    snprintf(share, sizeof share, "%s/share", root);
    return num_model_resolve(name, "whisper-synth", share, path, sizeof path, &err);
}

static void leads_to(const char *name, const char *expected) {
    char full[256];
    CHECK_INT(find(name), 0);
    snprintf(full, sizeof full, "%s/%s", root, expected);
    CHECK_STR(path, full);
}

TEST(names) {
    begin();
    leads_to("embedded", "share/models/whisper-synth");
    leads_to("both", "share/models/both");
    leads_to("base", "mine/base.bin");
    leads_to("base.bin", "mine/base.bin");
    leads_to("tiny", "mine/ggml-tiny.bin");
    leads_to("owner/repo", "mine/owner/repo");
    remove_test_files(root);
}

TEST(paths) {
    char own[128];
    begin();
    snprintf(own, sizeof own, "%s/mine/.hidden.part", root);
    leads_to(own, "mine/.hidden.part");
    CHECK_INT(find("/no/such/model"), SLUICE_INPUT);
    CHECK_HAS(err.text, "\"/no/such/model\": No such file");
    CHECK_INT(find("./x"), SLUICE_INPUT);
    CHECK_HAS(err.text, "No such file");
    remove_test_files(root);
}

TEST(names_that_are_not_there) {
    static const char *const wrong[] = {"",         ".",      "..",   ".hidden.part",
                                        "owner/.x", "owner/", "a//b", "owner/../both"};
    begin();
    CHECK_INT(find("large-v3"), SLUICE_INPUT);
    CHECK_HAS(err.text, "installed are embedded, ");
    CHECK_HAS(err.text, "base.bin");
    CHECK_HAS(err.text, "sluice models get large-v3");
    CHECK(!strstr(err.text, "hidden"));
    CHECK_INT(chdir(root), 0);
    CHECK_INT(find("mine"), SLUICE_INPUT);
    CHECK_HAS(err.text, "write \"./mine\"");
    CHECK_INT(find("./mine"), 0);
    CHECK_STR(path, "./mine");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_INT(find(wrong[i]), SLUICE_INPUT);
    remove_test_files(root);
}

TEST(the_users_folder) {
    begin();
    unsetenv("SLUICE_MODELS");
    make("data/sluice/models/x/config.json");
    make(".local/share/sluice/models/y/config.json");
    setenv("HOME", root, 1);
    leads_to("y", ".local/share/sluice/models/y");
    char data[128];
    snprintf(data, sizeof data, "%s/data", root);
    setenv("XDG_DATA_HOME", data, 1);
    leads_to("x", "data/sluice/models/x");
    CHECK_INT(find("y"), SLUICE_INPUT);
    unsetenv("XDG_DATA_HOME");
    unsetenv("HOME");
    CHECK_INT(find("y"), SLUICE_INPUT);
    leads_to("embedded", "share/models/whisper-synth");
    remove_test_files(root);
}

/* For parameters that take any path: it is not judged here. */
TEST(paths_and_names) {
    char share[128], room[NUM_MODEL_PATH], name[] = "both";
    const char *found;
    begin();
    snprintf(share, sizeof share, "%s/share", root);
    CHECK_INT(num_model_find("/no/such/file", share, room, &found, &err), 0);
    CHECK_STR(found, "/no/such/file");
    CHECK_INT(num_model_find("/", share, room, &found, &err), 0);
    CHECK_STR(found, "/");
    CHECK_INT(num_model_find(name, share, room, &found, &err), 0);
    CHECK(found == room && strstr(room, "/share/models/both"));
    CHECK_INT(num_model_find("embedded", share, room, &found, &err), SLUICE_INPUT);
    CHECK_INT(num_model_find("missing", share, room, &found, &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "base.bin");
    remove_test_files(root);
}

TEST_MAIN()
