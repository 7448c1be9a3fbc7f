/*
 * Models on this machine and those known by name: where they are kept and how they are found. Used
 * by the command line and by the program that downloads; knows nothing of networks.
 *
 * A model is a folder or a file in one of two folders: SHARE/models (came with Sluice), and the
 * user's: $SLUICE_MODELS, or $XDG_DATA_HOME/sluice/models, or ~/.local/share/sluice/models. The
 * same rules hold for the parameter `model` of a stage (plugins/num/resolve.h).
 */
#ifndef FETCH_MODELS_H
#define FETCH_MODELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

#define SL_MODEL_EMBEDDED      "embedded"      /* the name for users ... */
#define SL_MODEL_EMBEDDED_NAME "whisper-synth" /* ... and of the folder */
#define SL_MODEL_MANIFEST                                                                          \
    "sluice-model.json"               /* in a folder that was downloaded: what it should hold */
#define SL_MODEL_CARD     "card.json" /* in a folder: licence, languages and figures */
#define SL_MODEL_ENDPOINT "https://huggingface.co"

struct sl_known_model {
    const char *name; /* "tiny" */
    const char *repo; /* "openai/whisper-tiny" */
    /* of whisper.cpp, the one that is the model; NULL: a folder of Hugging Face */
    const char *file;
    uint32_t mbytes; /* about what is downloaded, in units of 10^6 bytes */
};

/* Ends with {0}. */
const struct sl_known_model *sl_known_models(void);
const struct sl_known_model *sl_known_model_find(const char *name);

/* "tiny", "owner/repo": parts of letters, digits, ".", "_" and "-" that do not begin with a dot; at
 * most one slash. */
bool sl_model_name_ok(const char *name);

/* The user's folder; owned. NULL: the environment has no HOME either. */
char *sl_models_folder(void);

/* The path of an installed model, or of a path that is there; owned; NULL: there is none. */
char *sl_model_find(const char *model, const char *share);

/* The manifest of a model's folder; *ret is owned. SLUICE_INPUT: it has none, or it cannot be used.
 */
int sl_model_manifest(const char *folder, json_t **ret, struct sl_err *err);

/* An installed model, for listing. */
struct sl_model_entry {
    char *name, *path; /* owned */
    uint64_t bytes;
    json_t *card; /* owned; NULL: the folder has none */
};
struct sl_model_list {
    struct sl_model_entry *items;
    int n, cap;
};

/* All models in both folders, sorted by name; hidden files and downloads that are not complete are
 * left out. */
struct sl_model_list sl_models_list(const char *share);
void sl_model_list_finish(struct sl_model_list *list);

/*
 * A card in a line: "MIT; en; word error rate 2.0 %, ..."; owned. Anything that is not as it should
 * be (licence a text, languages a list of texts, figures an object of texts) is left out, and so
 * are control characters.
 */
char *sl_model_card_line(const json_t *card);

#endif
