/* See weights.h: paths, the config through jansson, tensors checked against what is expected. */
#include "diarize/weights.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "num/json.h"

#define MAX_CONFIG_BYTES (64 << 10)
#define MAX_SIZE         65536

static int32_t check_config(struct dz_weights *w, const char *type, struct num_err *err) {
    const char *found = json_string_value(json_object_get(w->config, "model_type"));
    if (!json_is_object(w->config))
        return num_fail(err, SLUICE_INPUT, "config.json is not a JSON object");
    if (!found || strcmp(found, type) != 0)
        return num_fail(err, SLUICE_INPUT,
                        "model_type in config.json is \"%.60s\", and \"%s\" is wanted here; "
                        "tools/convert_diarization makes such models",
                        found ? found : "", type);
    return SLUICE_OK;
}

int32_t dz_weights_parse(const void *data, size_t len, const char *config, size_t config_len,
                         const char *type, struct dz_weights *ret, struct num_err *err) {
    struct dz_weights w = {0};
    int32_t status = num_json_parse(config, config_len, 0, "config.json", NULL, &w.config, err);
    if (status == SLUICE_OK)
        status = check_config(&w, type, err);
    if (status == SLUICE_OK)
        status = num_safetensors_parse(data, len, "model.safetensors", &w.file, err);
    if (status != SLUICE_OK) {
        dz_weights_close(&w);
        return status;
    }
    *ret = w;
    return SLUICE_OK;
}

static int32_t read_config(const char *path, json_t **ret, struct num_err *err) {
    char text[MAX_CONFIG_BYTES];
    FILE *file = fopen(path, "rbe");
    if (!file)
        return num_fail(err, SLUICE_INPUT, "%.300s: %s", path, strerror(errno));
    size_t len = fread(text, 1, sizeof text, file);
    int failed = ferror(file);
    fclose(file);
    if (failed || len == sizeof text)
        return num_fail(err, SLUICE_INPUT, "%.300s: not a model's config", path);
    return num_json_parse(text, len, 0, path, NULL, ret, err);
}

/* The two files of a folder, or of a safetensors file. */
static int32_t find_files(const char *path, char **ret_weights, char **ret_config,
                          struct num_err *err) {
    struct stat at;
    if (stat(path, &at) != 0)
        return num_fail(err, SLUICE_INPUT, "%.300s: %s", path, strerror(errno));
    const char *slash = strrchr(path, '/');
    int folder_len = slash ? (int)(slash - path) + 1 : 0, n;
    if (S_ISDIR(at.st_mode)) {
        n = asprintf(ret_weights, "%s/model.safetensors", path);
        n = n < 0 ? n : asprintf(ret_config, "%s/config.json", path);
    } else {
        n = asprintf(ret_weights, "%s", path);
        n = n < 0 ? n : asprintf(ret_config, "%.*sconfig.json", folder_len, path);
    }
    return n < 0 ? num_fail_memory(err, "the model's path", strlen(path)) : SLUICE_OK;
}

int32_t dz_weights_open(const char *path, const char *type, struct dz_weights *ret,
                        struct num_err *err) {
    struct dz_weights w = {0};
    char *weights = NULL, *config = NULL;
    int32_t status = find_files(path, &weights, &config, err);
    if (status == SLUICE_OK)
        status = read_config(config, &w.config, err);
    if (status == SLUICE_OK && (status = check_config(&w, type, err)) != SLUICE_OK)
        num_fail_in(err, "%.200s", config);
    if (status == SLUICE_OK)
        status = num_safetensors_open(weights, &w.file, err);
    free(weights);
    free(config);
    if (status != SLUICE_OK) {
        dz_weights_close(&w);
        return status;
    }
    *ret = w;
    return SLUICE_OK;
}

void dz_weights_close(struct dz_weights *weights) {
    num_safetensors_close(&weights->file);
    json_decref(weights->config);
    *weights = (struct dz_weights){0};
}

int32_t dz_weights_number(const struct dz_weights *weights, const char *key, double least,
                          double most, double otherwise, double *ret, struct num_err *err) {
    const json_t *value = json_object_get(weights->config, key);
    double number = value ? json_number_value(value) : otherwise;
    if ((value && !json_is_number(value)) || !(number >= least && number <= most))
        return num_fail(err, SLUICE_INPUT, "%s in config.json has to be a number from %g to %g",
                        key, least, most);
    *ret = number;
    return SLUICE_OK;
}

static int32_t check_shape(const struct num_tensor *t, size_t n_dims, size_t *shape,
                           struct num_err *err) {
    char text[96];
    num_shape_text(t->shape, t->n_dims, text, sizeof text);
    if (!num_tensor_is_float(t))
        return num_fail(err, SLUICE_INPUT, "%.80s is %s; F32, F16 and BF16 can be read", t->name,
                        num_dtype_name(t->dtype));
    int fits = t->n_dims == n_dims;
    for (size_t i = 0; fits && i < n_dims; i++)
        fits = shape[i] ? t->shape[i] == shape[i] : t->shape[i] >= 1 && t->shape[i] <= MAX_SIZE;
    if (!fits) {
        uint64_t wanted[NUM_MAX_DIMS];
        char wish[96];
        for (size_t i = 0; i < n_dims; i++)
            wanted[i] = shape[i];
        num_shape_text(wanted, (uint32_t)n_dims, wish, sizeof wish);
        return num_fail(err, SLUICE_INPUT, "%.80s has the shape %s, %s is expected (0: any)",
                        t->name, text, wish);
    }
    for (size_t i = 0; i < n_dims; i++)
        shape[i] = t->shape[i];
    return SLUICE_OK;
}

int32_t dz_weights_take(const struct dz_weights *weights, size_t n_dims, size_t *shape, float **ret,
                        struct num_err *err, const char *format, ...) {
    char name[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    const struct num_tensor *t = num_safetensors_find(&weights->file, name);
    if (!t)
        return num_fail(err, SLUICE_INPUT, "the tensor %s is missing", name);
    int32_t status = check_shape(t, n_dims, shape, err);
    if (status != SLUICE_OK)
        return status;
    float *values = malloc(t->n_elements * sizeof *values);
    if (!values)
        return num_fail_memory(err, name, t->n_elements * sizeof *values);
    num_tensor_to_f32(t, values);
    *ret = values;
    return SLUICE_OK;
}

int dz_weights_has(const struct dz_weights *weights, const char *format, ...) {
    char name[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return num_safetensors_find(&weights->file, name) != NULL;
}
