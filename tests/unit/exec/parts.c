/* The pure parts of exec: statuses, parameters, references, the tail of a stream, finding a
 * program. */
#include "unit/test.h"

#include <sys/stat.h>

#include <sluice/types.h>

#include "exec/config.h"
#include "exec/program.h"
#include "exec/refs.h"
#include "exec/tail.h"

static struct cmd_err err;

TEST(statuses_have_classes) {
    struct cmd_exit_codes codes;
    cmd_exit_codes_init(&codes);
    CHECK_INT(cmd_exit_codes_class(&codes, 0), SLUICE_OK);
    CHECK_INT(cmd_exit_codes_class(&codes, 1), SLUICE_INTERNAL);
    CHECK_INT(cmd_exit_codes_class(&codes, 75), SLUICE_TRANSIENT);
    CHECK_INT(cmd_exit_codes_class(&codes, 137), SLUICE_RESOURCE);
    CHECK_INT(cmd_exit_codes_class(&codes, 139), SLUICE_INTERNAL);
    CHECK_INT(cmd_exit_codes_class(&codes, 255), SLUICE_INTERNAL);
    CHECK_INT(cmd_exit_codes_class(&codes, 256), SLUICE_INTERNAL);
    CHECK_INT(cmd_exit_codes_class(&codes, -1), SLUICE_INTERNAL);
}

TEST(classes_have_names) {
    int32_t class = 99;
    CHECK(cmd_class_by_name("ok", &class) && class == SLUICE_OK);
    CHECK(cmd_class_by_name("input", &class) && class == SLUICE_INPUT);
    CHECK(cmd_class_by_name("transient", &class) && class == SLUICE_TRANSIENT);
    CHECK(!cmd_class_by_name("cancelled", &class));
    CHECK(!cmd_class_by_name("", &class));
}

TEST(a_configuration_is_read) {
    struct cmd_config c = {0};
    CHECK_INT(cmd_config_read("[\"prog\", 3, \"-o${out.text}\"]", "{\"text\": \"text/1\"}",
                              "{\"A\": \"x\", \"N\": 7, \"J\": \"${out.j}\"}", "{\"3\": \"input\"}",
                              &c, &err),
              SLUICE_UNSUPPORTED);
    CHECK_HAS(err.message, "${out.j}: no such output; `outputs` declares text");
    CHECK_INT(cmd_config_read("[\"prog\", 3, \"-o${out.text}\"]", "{\"text\": \"text/1\"}",
                              "{\"A\": \"x\", \"N\": 7}", "{\"3\": \"input\"}", &c, &err),
              0);
    CHECK_INT(c.n_argv, 3);
    CHECK_STR(c.argv[1], "3");
    CHECK_STR(cmd_config_output(&c, "text"), "text/1");
    CHECK(cmd_config_output(&c, "other") == NULL);
    CHECK_INT(c.n_env, 2);
    CHECK_STR(c.env[1].value, "7");
    CHECK_INT(c.exit_codes.classes[3], SLUICE_INPUT);
    cmd_config_finish(&c);
}

TEST(absent_maps_are_empty) {
    struct cmd_config c = {0};
    CHECK_INT(cmd_config_read("[\"true\"]", NULL, "null", "{}", &c, &err), 0);
    CHECK_INT(c.n_outputs + c.n_env, 0);
    cmd_config_finish(&c);
}

#define CHECK_REFUSED(a, o, e, x, part)                                                            \
    do {                                                                                           \
        struct cmd_config c_ = {0};                                                                \
        CHECK_INT(cmd_config_read(a, o, e, x, &c_, &err), SLUICE_UNSUPPORTED);                     \
        CHECK_HAS(err.message, part);                                                              \
        CHECK(c_.argv == NULL);                                                                    \
    } while (0)

TEST(mistakes_in_a_configuration_are_named) {
    CHECK_REFUSED(NULL, NULL, NULL, NULL, "argv: expected a list");
    CHECK_REFUSED("[]", NULL, NULL, NULL, "argv: expected a list");
    CHECK_REFUSED("\"ls -l\"", NULL, NULL, NULL, "argv: expected a list");
    CHECK_REFUSED("[\"\"]", NULL, NULL, NULL, "argv[0]: the program's name is empty");
    CHECK_REFUSED("[\"a\", 1.5]", NULL, NULL, NULL, "argv[1]: expected a string");
    CHECK_REFUSED("[\"a\", true]", NULL, NULL, NULL, "argv[1]: expected a string");
    CHECK_REFUSED("[\"a\", [1]]", NULL, NULL, NULL, "argv[1]: expected a string");
    CHECK_REFUSED("[\"a\"]", "[]", NULL, NULL, "outputs: expected a map");
    CHECK_REFUSED("[\"a\"]", "{\"t\": {}}", NULL, NULL, "outputs.t: expected a string");
    CHECK_REFUSED("[\"a\"]", "{\"t\": \"text/1\"}", NULL, NULL, "put ${out.t} into argv or env");
    CHECK_REFUSED("[\"a\", \"${out.t}\"]", "{\"t\": \"file/1\"}", NULL, NULL, "outputs.t: file/1");
    CHECK_REFUSED("[\"a\", \"${out.t}\"]", NULL, NULL, NULL, "`outputs` declares none");
    CHECK_REFUSED("[\"a\", \"${in.}\"]", NULL, NULL, NULL, "a reference is written");
    CHECK_REFUSED("[\"a\"]", NULL, "{\"A=B\": \"\"}", NULL, "env: \"A=B\"");
    CHECK_REFUSED("[\"a\"]", NULL, NULL, "{\"256\": \"ok\"}", "\"256\" is no exit status");
    CHECK_REFUSED("[\"a\"]", NULL, NULL, "{\"x\": \"ok\"}", "\"x\" is no exit status");
    CHECK_REFUSED("[\"a\"]", NULL, NULL, "{\"-1\": \"ok\"}", "\"-1\" is no exit status");
    CHECK_REFUSED("[\"a\"]", NULL, NULL, "{\"1\": \"bad\"}", "exit_codes.1: expected ok, input");
}

/* Resolves every port but "none" to <in:NAME> or <out:NAME>. */
static const char *fake_resolve(void *context, bool is_output, const char *port,
                                struct cmd_err *e) {
    static char path[100];
    (void)context;
    if (strcmp(port, "none") == 0) {
        cmd_fail(e, 0, "no port none");
        return NULL;
    }
    snprintf(path, sizeof path, "<%s:%s>", is_output ? "out" : "in", port);
    return path;
}

static const char *expanded(const char *text) {
    static char result[sizeof err.message];
    char *ret = NULL;
    int status = cmd_refs_expand(text, fake_resolve, NULL, &ret, &err);
    snprintf(result, sizeof result, "%s", status == 0 ? ret : err.message);
    free(ret);
    return result;
}

TEST(references_are_replaced) {
    CHECK_STR(expanded("${in.audio}"), "<in:audio>");
    CHECK_STR(expanded("--in=${in.a}:${out.b_2}."), "--in=<in:a>:<out:b_2>.");
    CHECK_STR(expanded("${in.a}${in.b}"), "<in:a><in:b>");
    CHECK_STR(expanded(""), "");
}

TEST(other_dollars_stay) {
    CHECK_STR(expanded("$"), "$");
    CHECK_STR(expanded("$HOME ${x} $$ ${params.x} ${in}"), "$HOME ${x} $$ ${params.x} ${in}");
    CHECK_STR(expanded("$${in.a}"), "$<in:a>");
}

TEST(malformed_references_are_refused) {
    CHECK_HAS(expanded("${in.A}"), "a reference is written ${in.PORT}");
    CHECK_HAS(expanded("${in.a"), "a reference is written ${in.PORT}");
    CHECK_HAS(expanded("${out.../../etc}"), "a reference is written ${in.PORT}");
    CHECK_HAS(expanded("${out.}"), "a reference is written ${in.PORT}");
    CHECK_HAS(expanded("${in.none}"), "no port none");
    char longest[120] = "${in.";
    memset(longest + 5, 'a', 100);
    strcpy(longest + 105, "}");
    CHECK_HAS(expanded(longest), "a reference is written");
}

static const char *last_line(const char *data, size_t len, size_t size) {
    static char line[400];
    static struct cmd_tail tail;
    tail.len = 0;
    cmd_tail_add(&tail, data, len);
    cmd_tail_last_line(&tail, line, size);
    return line;
}

#define LAST(text) last_line(text, sizeof text - 1, 100)

TEST(the_last_line_is_found) {
    CHECK_STR(LAST(""), "");
    CHECK_STR(LAST("\n \n"), "");
    CHECK_STR(LAST("one"), "one");
    CHECK_STR(LAST("one\ntwo\n\n"), "two");
    CHECK_STR(LAST("10 %\r20 %\r"), "20 %");
    CHECK_STR(LAST("a\x1b[31mb\0c"), "a?[31mb?c");
    CHECK_STR(LAST("caf\xc3\xa9 \xff\xc3"), "café ??");
    CHECK_STR(last_line("abcé", 5, 5), "abc");
}

TEST(the_tail_keeps_the_end_of_much) {
    static struct cmd_tail tail;
    char line[100], chunk[100];
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(chunk, sizeof chunk, "line %d\n", i);
        cmd_tail_add(&tail, chunk, (size_t)n);
    }
    CHECK_INT(tail.len, CMD_TAIL_BYTES);
    cmd_tail_last_line(&tail, line, sizeof line);
    CHECK_STR(line, "line 999");
    char big[3 * CMD_TAIL_BYTES];
    memset(big, 'x', sizeof big);
    memcpy(big + sizeof big - 4, "\nend", 4);
    cmd_tail_add(&tail, big, sizeof big);
    CHECK_INT(tail.len, CMD_TAIL_BYTES);
    cmd_tail_last_line(&tail, line, sizeof line);
    CHECK_STR(line, "end");
}

TEST(the_environment_is_clean) {
    setenv("SECRET", "x", 1);
    setenv("HOME", "/home/me", 1);
    const struct cmd_pair pairs[] = {{"HOME", "/else"}, {"A", "1"}, {"A", "2"}};
    char **env = cmd_env_make("/tmp/s", pairs, 3);
    CHECK(env != NULL);
    CHECK(cmd_env_get(env, "SECRET") == NULL);
    CHECK_STR(cmd_env_get(env, "HOME"), "/else");
    CHECK_STR(cmd_env_get(env, "A"), "2");
    CHECK_STR(cmd_env_get(env, "TMPDIR"), "/tmp/s");
    CHECK(cmd_env_get(env, "PATH") && cmd_env_get(env, "LANG"));
    size_t n = 0;
    while (env[n])
        n++;
    CHECK_INT(n, 5);
    cmd_env_free(env);
}

TEST(programs_are_found_as_a_shell_finds_them) {
    char *file = NULL;
    CHECK_INT(cmd_program_find("sh", "/nowhere::/bin", &file, &err), 0);
    CHECK_STR(file, "/bin/sh");
    free(file);
    CHECK_INT(cmd_program_find("/bin/sh", "", &file, &err), 0);
    CHECK_STR(file, "/bin/sh");
    free(file);
}

TEST(programs_that_cannot_run_are_explained) {
    char *file = NULL, folder[TEST_PATH], path[64];
    CHECK_INT(cmd_program_find("no-such-program", "/bin:/usr/bin", &file, &err),
              SLUICE_UNSUPPORTED);
    CHECK_STR(err.message,
              "no-such-program: not found in PATH (/bin:/usr/bin); install it or give its "
              "full path");
    CHECK_INT(cmd_program_find("/no/such", "/bin", &file, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.message, "/no/such: cannot be run: No such file");
    CHECK_INT(cmd_program_find("/tmp", "/bin", &file, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.message, "Is a directory");
    make_test_folder(folder);
    snprintf(path, sizeof path, "%s/data", folder);
    fclose(fopen(path, "w"));
    chmod(path, 0644);
    CHECK_INT(cmd_program_find("data", folder, &file, &err), SLUICE_UNSUPPORTED);
    CHECK_HAS(err.message, "data: cannot be run: Permission denied");
    unlink(path);
    rmdir(folder);
    CHECK(file == NULL);
}

TEST(types_have_extensions) {
    CHECK_STR(cmd_type_extension("text/1"), ".txt");
    CHECK_STR(cmd_type_extension("transcript/1"), ".json");
    CHECK_STR(cmd_type_extension("audio/1"), ".safetensors");
    CHECK_STR(cmd_type_extension("mine/2"), ".bin");
}

TEST_MAIN()
