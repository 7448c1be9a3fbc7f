/* The command line: one file a command, all listed in main.c. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/options.h"
#include "cli/outlet.h"
#include "graph/plan.h"
#include "sched/event.h"
#include "sched/inject.h"
#include "run/items.h"
#include "run/rundir.h"

/* Exit statuses; docs/README and --help name them. */
enum {
    SL_EXIT_OK = 0,         /* all items ok */
    SL_EXIT_FAILED = 1,     /* some item failed */
    SL_EXIT_USAGE = 2,      /* bad usage or pipeline */
    SL_EXIT_CANCELLED = 130 /* cancelled by a signal */
};

struct sl_command {
    const char *name;
    const char *usage;   /* after "sluice " */
    const char *summary; /* one line */
    int (*run)(const struct sl_command *self, int argc, char **argv);
};

int sl_cmd_run(const struct sl_command *self, int argc, char **argv);
int sl_cmd_check(const struct sl_command *self, int argc, char **argv);
int sl_cmd_graph(const struct sl_command *self, int argc, char **argv);
int sl_cmd_plugins(const struct sl_command *self, int argc, char **argv);
int sl_cmd_plugin(const struct sl_command *self, int argc, char **argv);
int sl_cmd_stage(const struct sl_command *self, int argc, char **argv);
int sl_cmd_runs(const struct sl_command *self, int argc, char **argv);
int sl_cmd_cache(const struct sl_command *self, int argc, char **argv);
int sl_cmd_resume(const struct sl_command *self, int argc, char **argv);
int sl_cmd_show(const struct sl_command *self, int argc, char **argv);
int sl_cmd_report(const struct sl_command *self, int argc, char **argv);
int sl_cmd_logs(const struct sl_command *self, int argc, char **argv);
int sl_cmd_models(const struct sl_command *self, int argc, char **argv);
int sl_cmd_doctor(const struct sl_command *self, int argc, char **argv);
int sl_cmd_version(const struct sl_command *self, int argc, char **argv);
int sl_cmd_completion(const struct sl_command *self, int argc, char **argv);
int sl_cmd_help(const struct sl_command *self, int argc, char **argv);

/* The table of commands, in main.c. */
const struct sl_command *sl_commands(int *ret_n);

/* Prints "sluice: <message>" to stderr. */
void sl_cli_error(const struct sl_err *err);
/* Parses options; -1: go on; else the exit status (help was printed, or the error). */
int sl_cli_parse(const struct sl_command *self, const char *help, const struct sl_option *table,
                 int argc, char **argv, struct sl_words *rest);

/* Whether a command got more words than it takes. -1: no; else it was said, and this is the exit
 * status. */
int sl_cli_at_most(const struct sl_command *self, const struct sl_words *rest, int max_words);

/* Where this installation keeps its things; owned strings. */
struct sl_install {
    char *worker, *share;
};
struct sl_install sl_install_find(void);
void sl_install_finish(struct sl_install *in);

/* A pipeline, checked against the plugins that are there. */
struct sl_loaded {
    struct sl_catalog catalog;
    struct sl_pipeline *pipeline;
    struct sl_plan *plan;
};

/* Fills the catalog; prints the error. 0 or an exit status. `refresh`: without the cache of
 * descriptions. */
int sl_cli_load_catalog(const struct sl_words *folders, bool refresh, struct sl_catalog *ret);

/* Loads and checks; prints every diagnostic to stderr. 0 or an exit status. `text` NULL: from the
 * file `name`, else the pipeline itself, which was written by us (its positions mean nothing). */
int sl_cli_load_plan(const char *name, const char *text, const struct sl_words *folders,
                     const struct sl_words *settings, struct sl_loaded *ret);
void sl_loaded_finish(struct sl_loaded *l);

/* Opens the run that the first of at most `max_words` words names. -1: go on; else the exit
 * status. */
int sl_cli_find_run(const struct sl_command *self, const struct sl_words *rest, int max_words,
                    struct sl_rundir *dir);
/* And reads its state. */
int sl_cli_open_run(const struct sl_command *self, const struct sl_words *rest, int max_words,
                    struct sl_rundir *dir, json_t **state);

/* The words of --set as the plan wants them; *ret is the caller's to free with
 * sl_cli_settings_free(). */
int sl_cli_settings(const struct sl_words *words, struct sl_setting **ret, struct sl_err *err);
void sl_cli_settings_free(struct sl_setting *settings, int n);

/* Words that a journal keeps, such as those of --set: borrowed texts in an array for free(). */
struct sl_words sl_cli_words(const json_t *list);

/* Splits "name=value" in place of a copy; SL_USAGE with `option` in the message. */
int sl_cli_split(const char *word, const char *option, char **ret_name, const char **ret_value,
                 struct sl_err *err);

/* Words of --wrap, split at blanks, the program found in PATH; NULL-terminated, in `arena`. */
const char **sl_cli_wrap(const char *text, struct sl_arena *arena);

/* Observers of a run: progress for people, and JSON lines. `watching`: n_items is the most that
 * there can be. `out` is borrowed until the run has ended. */
struct sl_console;
struct sl_console *sl_console_create(const struct sl_plan *plan, const struct sl_item *items,
                                     int n_items, bool watching, const char *run_id, bool quiet,
                                     struct sl_outlet *out);
struct sl_observer sl_console_observer(struct sl_console *c);
void sl_console_destroy(struct sl_console *c);

struct sl_jsonl {
    const struct sl_plan *plan;
    const struct sl_item *items;
    const char *run_id;
    struct sl_outlet *out;
    /* progress, metrics and parts that were left out because the reader was behind */
    int n_dropped;
};
struct sl_observer sl_jsonl_observer(struct sl_jsonl *j);

/* A run, from the plan to the exit status: makes the folder, watches, runs, prints. */
struct sl_cli_run {
    const struct sl_plan *plan;
    const char *pipeline_file, *out_dir; /* may be NULL */
    struct sl_item *items;
    int n_items, max_items;             /* max_items: of a run that watches, else 0 */
    const struct sl_variants *variants; /* may be NULL */
    const char *watch_dir;              /* absolute; may be NULL */
    const char *const *inputs;
    const char *const *wrap;
    bool json, quiet, fail_fast, keep_artifacts, outputs_by_port;
    bool cache; /* results of earlier runs are used and kept */
    int jobs;
    const struct sl_injection *injections;
    int n_injections;
    /* Kept, so that `sluice resume` can make the same plan. */
    const char *pipeline_text; /* where it is no file; may be NULL */
    const struct sl_words *settings, *plugins;
};
int sl_cli_execute(const struct sl_cli_run *spec);

/* Goes on with a run that was opened and locked; with `retry_failed` also with items that
 * failed. */
struct sl_replay;
int sl_cli_execute_rest(const struct sl_cli_run *spec, const struct sl_rundir *dir,
                        const struct sl_replay *replay, bool retry_failed);

/* A column of text padded to `columns` terminal columns; longer text stays whole. */
void sl_str_add_column(struct sl_str *s, const char *text, int columns);

#endif
