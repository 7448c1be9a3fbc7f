/*
 * Reads the parameters from JSON with jansson and copies what it needs, so that nothing of the tree
 * stays. Each list and map goes through one function that knows how to say what was found instead.
 */
#include "exec/config.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/types.h>

#include "exec/refs.h"

static void json_drop(json_t **value) {
    json_decref(*value);
}
#define autojson __attribute__((cleanup(json_drop))) json_t

/* Parses parameter `name`; *ret is NULL where it is absent or null. */
static int parse(const char *name, const char *text, json_t **ret, struct cmd_err *err) {
    json_error_t where;
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, &where) : NULL;
    if (text && !value)
        return cmd_fail(err, SLUICE_UNSUPPORTED, "%s: not JSON: %s", name, where.text);
    if (json_is_null(value)) {
        json_decref(value);
        value = NULL;
    }
    *ret = value;
    return 0;
}

/* A string, or a whole number's digits, as an owned string; `where` and `key` name it if not. */
static int to_string(const json_t *value, const char *where, const char *key, char **ret,
                     struct cmd_err *err) {
    char *text = NULL;
    if (json_is_string(value))
        text = strdup(json_string_value(value));
    else if (json_is_integer(value)) {
        if (asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0)
            text = NULL;
    } else
        return cmd_fail(err, SLUICE_UNSUPPORTED,
                        "%s%s: expected a string; put quotes around it where it looks like "
                        "something else",
                        where, key);
    if (!text)
        return cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    *ret = text;
    return 0;
}

static int read_argv(const json_t *list, struct cmd_config *config, struct cmd_err *err) {
    if (!json_is_array(list) || json_array_size(list) == 0)
        return cmd_fail(err, SLUICE_UNSUPPORTED,
                        "argv: expected a list: the program and its arguments, such as "
                        "[sort, -o, \"${out.text}\", \"${in.text}\"]");
    config->argv = calloc(json_array_size(list), sizeof *config->argv);
    if (!config->argv)
        return cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    for (size_t i = 0; i < json_array_size(list); i++) {
        char key[32];
        snprintf(key, sizeof key, "[%zu]", i);
        int status = to_string(json_array_get(list, i), "argv", key, &config->argv[i], err);
        if (status < 0)
            return status;
        config->n_argv++;
    }
    if (!*config->argv[0])
        return cmd_fail(err, SLUICE_UNSUPPORTED, "argv[0]: the program's name is empty");
    return 0;
}

static int read_map(const char *name, json_t *map, struct cmd_pair **ret, size_t *ret_n,
                    struct cmd_err *err) {
    if (!map)
        return 0;
    if (!json_is_object(map))
        return cmd_fail(err, SLUICE_UNSUPPORTED, "%s: expected a map", name);
    *ret = calloc(json_object_size(map) + 1, sizeof **ret);
    if (!*ret)
        return cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    char where[32];
    snprintf(where, sizeof where, "%s.", name);
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value) {
        struct cmd_pair *pair = &(*ret)[(*ret_n)++];
        int status = to_string(value, where, key, &pair->value, err);
        if (status < 0)
            return status;
        pair->name = strdup(key);
        if (!pair->name)
            return cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    }
    return 0;
}

static int read_exit_codes(json_t *map, struct cmd_exit_codes *codes, struct cmd_err *err) {
    if (map && !json_is_object(map))
        return cmd_fail(err, SLUICE_UNSUPPORTED, "exit_codes: expected a map of status to class");
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value) {
        char *end;
        unsigned long status = strtoul(key, &end, 10);
        int32_t meaning;
        if (*end || end == key || !(*key >= '0' && *key <= '9') || status > 255)
            return cmd_fail(err, SLUICE_UNSUPPORTED,
                            "exit_codes: \"%s\" is no exit status; expected 0 to 255", key);
        if (!json_is_string(value) || !cmd_class_by_name(json_string_value(value), &meaning))
            return cmd_fail(
                err, SLUICE_UNSUPPORTED,
                "exit_codes.%s: expected ok, input, unsupported, resource, transient or "
                "internal",
                key);
        codes->classes[status] = (int8_t)meaning;
    }
    return 0;
}

static int check_outputs(const struct cmd_config *config, struct cmd_err *err) {
    for (size_t i = 0; i < config->n_outputs; i++)
        if (strcmp(config->outputs[i].value, SLUICE_TYPE_FILE) == 0)
            return cmd_fail(err, SLUICE_UNSUPPORTED,
                            "outputs.%s: file/1 is for files of the user's; expected the type of "
                            "what is in it, such as text/1 or json/1",
                            config->outputs[i].name);
    return 0;
}

static int check_env(const struct cmd_config *config, struct cmd_err *err) {
    for (size_t i = 0; i < config->n_env; i++)
        if (!*config->env[i].name || strchr(config->env[i].name, '='))
            return cmd_fail(err, SLUICE_UNSUPPORTED,
                            "env: \"%s\" cannot be the name of an environment variable",
                            config->env[i].name);
    return 0;
}

struct mentions {
    const struct cmd_config *config;
    bool *mentioned; /* [n_outputs] */
};

static const char *note_mention(void *context, bool is_output, const char *port,
                                struct cmd_err *err) {
    struct mentions *m = context;
    if (!is_output)
        return "";
    for (size_t i = 0; i < m->config->n_outputs; i++) {
        if (strcmp(m->config->outputs[i].name, port) == 0) {
            m->mentioned[i] = true;
            return "";
        }
    }
    char known[256] = "";
    for (size_t i = 0, at = 0; i < m->config->n_outputs && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "",
                               m->config->outputs[i].name);
    cmd_fail(err, 0, "${out.%s}: no such output; `outputs` declares %s", port,
             *known ? known : "none");
    return NULL;
}

static int note_text(const char *text, struct mentions *mentions, struct cmd_err *err) {
    char *expanded = NULL;
    int status = cmd_refs_expand(text, note_mention, mentions, &expanded, err);
    free(expanded);
    return status;
}

static int check_refs(const struct cmd_config *config, struct cmd_err *err) {
    struct mentions m = {config, calloc(config->n_outputs + 1, sizeof(bool))};
    int status = m.mentioned ? 0 : cmd_fail(err, SLUICE_RESOURCE, "out of memory");
    for (size_t i = 0; status == 0 && i < config->n_argv; i++)
        status = note_text(config->argv[i], &m, err);
    for (size_t i = 0; status == 0 && i < config->n_env; i++)
        status = note_text(config->env[i].value, &m, err);
    for (size_t i = 0; status == 0 && i < config->n_outputs; i++)
        if (!m.mentioned[i])
            status =
                cmd_fail(err, SLUICE_UNSUPPORTED,
                         "outputs.%s: the program cannot know where to write it; put ${out.%s} "
                         "into argv or env",
                         config->outputs[i].name, config->outputs[i].name);
    free(m.mentioned);
    return status;
}

static int read_all(const char *const texts[4], struct cmd_config *config, struct cmd_err *err) {
    autojson *argv = NULL, *outputs = NULL, *env = NULL, *exit_codes = NULL;
    int status = parse("argv", texts[0], &argv, err);
    if (status == 0)
        status = parse("outputs", texts[1], &outputs, err);
    if (status == 0)
        status = parse("env", texts[2], &env, err);
    if (status == 0)
        status = parse("exit_codes", texts[3], &exit_codes, err);
    if (status == 0)
        status = read_argv(argv, config, err);
    if (status == 0)
        status = read_map("outputs", outputs, &config->outputs, &config->n_outputs, err);
    if (status == 0)
        status = read_map("env", env, &config->env, &config->n_env, err);
    if (status == 0)
        status = read_exit_codes(exit_codes, &config->exit_codes, err);
    if (status == 0)
        status = check_outputs(config, err);
    if (status == 0)
        status = check_env(config, err);
    return status == 0 ? check_refs(config, err) : status;
}

int cmd_config_read(const char *argv, const char *outputs, const char *env, const char *exit_codes,
                    struct cmd_config *ret, struct cmd_err *err) {
    struct cmd_config config = {0};
    cmd_exit_codes_init(&config.exit_codes);
    int status = read_all((const char *const[]){argv, outputs, env, exit_codes}, &config, err);
    if (status < 0) {
        cmd_config_finish(&config);
        return status;
    }
    *ret = config;
    return 0;
}

static void free_pairs(struct cmd_pair *pairs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(pairs[i].name);
        free(pairs[i].value);
    }
    free(pairs);
}

void cmd_config_finish(struct cmd_config *config) {
    for (size_t i = 0; i < config->n_argv; i++)
        free(config->argv[i]);
    free(config->argv);
    free_pairs(config->outputs, config->n_outputs);
    free_pairs(config->env, config->n_env);
    *config = (struct cmd_config){0};
}

const char *cmd_config_output(const struct cmd_config *config, const char *name) {
    for (size_t i = 0; i < config->n_outputs; i++)
        if (strcmp(config->outputs[i].name, name) == 0)
            return config->outputs[i].value;
    return NULL;
}

const char *cmd_type_extension(const char *type) {
    static const struct {
        const char *type, *extension;
    } table[] = {
        {SLUICE_TYPE_TEXT, ".txt"},
        {SLUICE_TYPE_JSON, ".json"},
        {SLUICE_TYPE_TRANSCRIPT, ".json"},
        {SLUICE_TYPE_REGIONS, ".json"},
        {SLUICE_TYPE_TURNS, ".json"},
        {SLUICE_TYPE_AUDIO, ".safetensors"},
        {SLUICE_TYPE_ATTENTION, ".safetensors"},
        {SLUICE_TYPE_EMBEDDINGS, ".safetensors"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].type, type) == 0)
            return table[i].extension;
    return ".bin";
}
