/* Installed and known models: see models.h. */
#include "fetch/models.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"

#define MAX_MANIFEST_BYTES (1u << 20)

/* ---- Known names ----------------------------------------------------------------------------- */

#define WHISPER_CPP "ggerganov/whisper.cpp"

static const struct sl_known_model known[] = {
    {"tiny", "openai/whisper-tiny", NULL, 154},
    {"tiny.en", "openai/whisper-tiny.en", NULL, 154},
    {"base", "openai/whisper-base", NULL, 293},
    {"base.en", "openai/whisper-base.en", NULL, 293},
    {"small", "openai/whisper-small", NULL, 970},
    {"small.en", "openai/whisper-small.en", NULL, 970},
    {"medium", "openai/whisper-medium", NULL, 3060},
    {"medium.en", "openai/whisper-medium.en", NULL, 3060},
    {"large-v1", "openai/whisper-large", NULL, 6180},
    {"large-v2", "openai/whisper-large-v2", NULL, 6180},
    {"large-v3", "openai/whisper-large-v3", NULL, 3090},
    {"turbo", "openai/whisper-large-v3-turbo", NULL, 1620},
    {"distil-small.en", "distil-whisper/distil-small.en", NULL, 340},
    {"distil-medium.en", "distil-whisper/distil-medium.en", NULL, 790},
    {"distil-large-v2", "distil-whisper/distil-large-v2", NULL, 1520},
    {"distil-large-v3", "distil-whisper/distil-large-v3", NULL, 1520},
    {"tiny-q5_1", WHISPER_CPP, "ggml-tiny-q5_1.bin", 32},
    {"tiny-q8_0", WHISPER_CPP, "ggml-tiny-q8_0.bin", 44},
    {"base-q5_1", WHISPER_CPP, "ggml-base-q5_1.bin", 60},
    {"base-q8_0", WHISPER_CPP, "ggml-base-q8_0.bin", 82},
    {"small-q5_1", WHISPER_CPP, "ggml-small-q5_1.bin", 190},
    {"small-q8_0", WHISPER_CPP, "ggml-small-q8_0.bin", 264},
    {"medium-q5_0", WHISPER_CPP, "ggml-medium-q5_0.bin", 539},
    {"medium-q8_0", WHISPER_CPP, "ggml-medium-q8_0.bin", 823},
    {"large-v3-q5_0", WHISPER_CPP, "ggml-large-v3-q5_0.bin", 1081},
    {"turbo-q5_0", WHISPER_CPP, "ggml-large-v3-turbo-q5_0.bin", 574},
    {"turbo-q8_0", WHISPER_CPP, "ggml-large-v3-turbo-q8_0.bin", 874},
    {0},
};

const struct sl_known_model *sl_known_models(void) {
    return known;
}

const struct sl_known_model *sl_known_model_find(const char *name) {
    for (const struct sl_known_model *k = known; k->name; k++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

bool sl_model_name_ok(const char *name) {
    int slashes = 0;
    for (const char *c = name; *c; c++) {
        bool part_start = c == name || c[-1] == '/';
        slashes += *c == '/';
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./", *c) ||
            (part_start && (*c == '.' || *c == '/')))
            return false;
    }
    size_t len = strlen(name);
    return len > 0 && len < 200 && name[len - 1] != '/' && slashes < 2;
}

/* ---- Folders --------------------------------------------------------------------------------- */

char *sl_models_folder(void) {
    const char *set = getenv("SLUICE_MODELS"), *data = getenv("XDG_DATA_HOME"),
               *home = getenv("HOME");
    if (set && *set)
        return sl_path_absolute(set);
    if (data && *data)
        return sl_path_join(data, "sluice/models");
    return home && *home ? sl_path_join(home, ".local/share/sluice/models") : NULL;
}

/* DIR/NAME, DIR/NAME.bin or DIR/ggml-NAME.bin; NULL: none is there. */
static char *find_in(const char *dir, const char *name) {
    static const char *const patterns[] = {"%s/%s", "%s/%s.bin", "%s/ggml-%s.bin"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char *path = sl_xasprintf(patterns[i], dir, name);
        if (sl_path_exists(path))
            return path;
        free(path);
    }
    return NULL;
}

char *sl_model_find(const char *model, const char *share) {
    const char *name = strcmp(model, SL_MODEL_EMBEDDED) == 0 ? SL_MODEL_EMBEDDED_NAME : model;
    if (strchr(model, '/') && sl_path_exists(model))
        return sl_path_absolute(model);
    if (!sl_model_name_ok(name))
        return NULL;
    sl_autofree char *installed = sl_path_join(share, "models"), *mine = sl_models_folder();
    char *found = find_in(installed, name);
    return found || !mine ? found : find_in(mine, name);
}

int sl_model_manifest(const char *folder, json_t **ret, struct sl_err *err) {
    sl_autofree char *path = sl_path_join(folder, SL_MODEL_MANIFEST), *text = NULL;
    sl_autojson json_t *manifest = NULL;
    size_t len = 0;
    if (!sl_path_exists(path))
        return sl_err_set(
            err, SLUICE_INPUT,
            "%s has no %s: it was not installed by `sluice models get`, so there is nothing to "
            "compare it with",
            folder, SL_MODEL_MANIFEST);
    if (sl_read_file(path, MAX_MANIFEST_BYTES, &text, &len, err) < 0)
        return err->cls;
    if (sl_json_parse(text, len, &manifest, err) < 0)
        return sl_err_wrap(err, "%s", path);
    if (!json_is_array(json_object_get(manifest, "files")))
        return sl_err_set(err, SLUICE_INPUT, "%s: it has no list \"files\"", path);
    *ret = sl_steal(&manifest);
    return 0;
}

/* ---- Listing --------------------------------------------------------------------------------- */

/* Bytes of a file, or of the files right in a folder; links count as what they lead to. */
static uint64_t bytes_of(const char *path) {
    struct stat info;
    uint64_t sum = 0;
    if (stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
        return stat(path, &info) < 0 ? 0 : (uint64_t)info.st_size;
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        sl_autofree char *file = sl_path_join(path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(file, &info) == 0 && S_ISREG(info.st_mode))
            sum += (uint64_t)info.st_size;
    }
    if (dir)
        closedir(dir);
    return sum;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_model(const char *path) {
    sl_autofree char *config = sl_path_join(path, "config.json");
    sl_autofree char *manifest = sl_path_join(path, SL_MODEL_MANIFEST);
    return is_folder(path) ? sl_path_exists(config) || sl_path_exists(manifest)
                           : sl_ends_with(path, ".bin");
}

/* The card in a model's folder; NULL where there is none that can be read. */
static json_t *read_card(const char *folder) {
    sl_autofree char *path = sl_path_join(folder, SL_MODEL_CARD), *text = NULL;
    struct sl_err err = {0};
    json_t *card = NULL;
    size_t len = 0;
    if (!sl_path_exists(path) || sl_read_file(path, MAX_MANIFEST_BYTES, &text, &len, &err) < 0 ||
        sl_json_parse(text, len, &card, &err) < 0)
        return NULL;
    return card;
}

/* Appends what stands between two parts, and the text without control characters. */
static void add_part(struct sl_str *line, const char *between, const char *text) {
    sl_str_add(line, line->len ? between : "");
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c >= ' ' && *c != 0x7f)
            sl_str_addf(line, "%c", *c);
}

char *sl_model_card_line(const json_t *card) {
    sl_autostr struct sl_str line = {0};
    json_t *language, *figure;
    const char *name;
    size_t i;
    add_part(&line, "", sl_json_str(card, "licence", ""));
    json_array_foreach(json_object_get(card, "languages"), i, language) {
        if (json_is_string(language))
            add_part(&line, i ? ", " : "; ", json_string_value(language));
    }
    size_t n = 0;
    json_object_foreach(json_object_get(card, "figures"), name, figure) {
        if (!json_is_string(figure))
            continue;
        add_part(&line, n++ ? ", " : "; ", name);
        add_part(&line, " ", json_string_value(figure));
    }
    return sl_xstrdup(sl_str_text(&line));
}

/* Adds the models in `dir`; folders that are none are looked into once, for "owner/repo". */
static void add_from(struct sl_model_list *list, const char *dir, const char *owner) {
    DIR *d = opendir(dir);
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = sl_path_join(dir, entry->d_name);
        if (is_model(path)) {
            bool embedded = !owner && strcmp(entry->d_name, SL_MODEL_EMBEDDED_NAME) == 0;
            SL_PUSH_ROOM(list->items, list->n, list->cap);
            list->items[list->n++] = (struct sl_model_entry){
                .name = owner ? sl_xasprintf("%s/%s", owner, entry->d_name)
                              : sl_xstrdup(embedded ? SL_MODEL_EMBEDDED : entry->d_name),
                .path = path,
                .bytes = bytes_of(path),
                .card = read_card(path),
            };
            continue;
        }
        if (!owner && is_folder(path))
            add_from(list, path, entry->d_name);
        free(path);
    }
    if (d)
        closedir(d);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct sl_model_entry *)a)->name,
                  ((const struct sl_model_entry *)b)->name);
}

struct sl_model_list sl_models_list(const char *share) {
    struct sl_model_list list = {0};
    sl_autofree char *installed = sl_path_join(share, "models"), *mine = sl_models_folder();
    add_from(&list, installed, NULL);
    if (mine)
        add_from(&list, mine, NULL);
    if (list.n)
        qsort(list.items, (size_t)list.n, sizeof *list.items, by_name);
    return list;
}

void sl_model_list_finish(struct sl_model_list *list) {
    for (int i = 0; i < list->n; i++) {
        free(list->items[i].name);
        free(list->items[i].path);
        json_decref(list->items[i].card);
    }
    free(list->items);
    *list = (struct sl_model_list){0};
}
