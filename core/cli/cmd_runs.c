/* sluice runs, show and logs: what was run before, from the journals. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/units.h"
#include "cli/cli.h"
#include "run/rundir.h"
#include "run/state.h"

/* "2026-01-31 08:15" of "2026-01-31T08:15:42.123Z". */
static void print_when(const char *time) {
    printf("%.10s %.8s  ", time, strlen(time) > 19 ? time + 11 : "");
}

static void print_line(const json_t *state, size_t n_items, const char *id) {
    char took[32] = "";
    double seconds = sl_json_num(state, "seconds", -1);
    if (seconds >= 0)
        sl_format_duration(seconds, took, sizeof took);
    print_when(sl_json_str(state, "started", ""));
    printf("%-21s %-10s %5zu files %9s  %s\n", id, sl_json_str(state, "state", "?"), n_items, took,
           sl_json_str(state, "pipeline", ""));
}

/* The summary of a run: the object of `show` without its items. */
static void print_json_line(json_t *state, size_t n_items, const char *id) {
    sl_json_set(state, "id", json_string(id));
    sl_json_set(state, "n_items", json_integer((json_int_t)n_items));
    sl_autofree char *line = sl_json_line(state);
    puts(line);
}

struct listed {
    const char *id;
    bool json;
};

static void print_listed(void *ctx, json_t *state, size_t n_items) {
    const struct listed *l = ctx;
    if (l->json)
        print_json_line(state, n_items, l->id);
    else
        print_line(state, n_items, l->id);
}

static void list_run(const char *root, const char *id, bool json) {
    sl_autofree char *path = sl_path_join(root, id);
    struct listed l = {id, json};
    struct sl_err err;
    if (sl_state_visit(path, &(struct sl_state_visitor){print_listed, NULL, &l}, &err) == 0)
        return;
    sl_autojson json_t *state = json_pack("{s:s,s:s}", "state", "unreadable", "message", err.msg);
    print_listed(&l, state, 0);
}

int sl_cmd_runs(const struct sl_command *self, int argc, char **argv) {
    struct sl_words rest = {0};
    struct sl_err err = {0};
    bool json = false;
    int limit = 0, n = 0;
    char **ids = NULL;
    const struct sl_option table[] = {
        {"json", 0, SL_OPT_FLAG, &json, NULL, "one JSON object a run and line, key \"id\""},
        {"limit", 'n', SL_OPT_INT, &limit, "N", "the newest N only"},
        {0},
    };
    int status = sl_cli_parse(self, "Lists runs, newest first.", table, argc, argv, &rest);
    if (status < 0)
        status = sl_cli_at_most(self, &rest, 0);
    if (status < 0 && sl_rundir_list(&ids, &n, &err) < 0) {
        sl_cli_error(&err);
        status = SL_EXIT_FAILED;
    }
    sl_autofree char *root = sl_runs_root();
    for (int i = 0; status < 0 && i < n && (!limit || i < limit); i++)
        list_run(root, ids[i], json);
    if (status < 0 && n == 0 && !json)
        fprintf(stderr, "no runs yet in %s\n", root);
    sl_rundir_list_free(ids, n);
    free(rest.items);
    return status < 0 ? SL_EXIT_OK : status;
}

/* ---- show ---- */

/* Makes every text in it fit for a terminal: names of files can be anything. */
static void make_printable(json_t *value) {
    const char *key;
    json_t *one;
    size_t i;
    if (json_is_string(value)) {
        sl_autofree char *text = sl_make_printable(sl_xstrdup(json_string_value(value)));
        json_string_set(value, text);
    }
    json_object_foreach(value, key, one) make_printable(one);
    json_array_foreach(value, i, one) make_printable(one);
}

static void print_card(const json_t *attempt) {
    double bytes = sl_json_num(attempt, "gpu_peak_bytes", 0);
    char peak[32];
    printf("   on a card");
    if (bytes > 0)
        printf(", %s of it", sl_format_size((uint64_t)bytes, peak, sizeof peak));
}

static void print_attempt(const json_t *a) {
    char took[32] = "-", peak[32] = "";
    double wall = sl_json_num(a, "wall_s", -1), bytes = sl_json_num(a, "peak_bytes", 0);
    if (wall >= 0)
        sl_format_duration(wall, took, sizeof took);
    if (bytes > 0)
        sl_format_size((uint64_t)bytes, peak, sizeof peak);
    printf("    attempt %-2.0f %-11s %9s", sl_json_num(a, "attempt", 0),
           sl_json_str(a, "class", "unfinished"), took);
    if (bytes > 0)
        printf("   cpu %.1f s   peak %s", sl_json_num(a, "cpu_s", 0), peak);
    if (strcmp(sl_json_str(a, "device", ""), "cuda") == 0)
        print_card(a);
    if (json_object_get(a, "miss"))
        printf("\n      no earlier result: %s", sl_json_str(a, "miss", ""));
    if (json_object_get(a, "message"))
        printf("\n      %s", sl_json_str(a, "message", ""));
    if (strcmp(sl_json_str(a, "class", ""), "ok") != 0)
        printf("\n      log: %s", sl_json_str(a, "log", ""));
    putchar('\n');
}

static void print_stage(const json_t *stage) {
    json_t *attempt;
    size_t i;
    const char *message = sl_json_str(stage, "message", NULL);
    const json_t *reused = json_object_get(stage, "reused");
    printf("  %-14s %-20s %s%s%s\n", sl_json_str(stage, "name", ""), sl_json_str(stage, "use", ""),
           sl_json_str(stage, "state", ""), reused ? " by the result of run " : "",
           sl_json_str(reused, "from_run", ""));
    if (message && json_array_size(json_object_get(stage, "attempts")) == 0)
        printf("      %s\n", message);
    json_array_foreach(json_object_get(stage, "attempts"), i, attempt) print_attempt(attempt);
}

static void print_item(const json_t *item) {
    json_t *one;
    size_t i;
    printf("\n%s: %s\n", sl_json_str(item, "name", ""), sl_json_str(item, "state", ""));
    json_array_foreach(json_object_get(item, "stages"), i, one) print_stage(one);
    json_array_foreach(json_object_get(item, "outputs"), i, one)
        printf("  -> %s\n", json_string_value(one));
}

static void print_run(const struct sl_rundir *dir, const json_t *state) {
    char took[32] = "";
    double seconds = sl_json_num(state, "seconds", -1);
    json_t *item;
    size_t i;
    if (seconds >= 0)
        sl_format_duration(seconds, took, sizeof took);
    printf("run %s: %s%s%s\n", dir->id, sl_json_str(state, "state", ""), *took ? " in " : "", took);
    printf("  pipeline     %s%s%s%s\n", sl_json_str(state, "pipeline", ""),
           json_object_get(state, "file") ? " (" : "", sl_json_str(state, "file", ""),
           json_object_get(state, "file") ? ")" : "");
    printf("  started      %s\n", sl_json_str(state, "started", ""));
    json_array_foreach(json_object_get(state, "resumed"), i, item)
        printf("  resumed      %s, %.0f items open\n", sl_json_str(item, "time", ""),
               sl_json_num(item, "open_items", 0));
    printf("  containment  %s\n", sl_json_str(state, "containment", ""));
    if (json_object_get(state, "limits"))
        printf("  limits       %s\n", sl_json_str(state, "limits", ""));
    if (json_object_get(state, "sandbox"))
        printf("  sandbox      %s\n", sl_json_str(state, "sandbox", ""));
    printf("  folder       %s\n", dir->path);
}

struct shown {
    const struct sl_rundir *dir;
    bool json;
    size_t n; /* items so far */
};

static void show_run(void *ctx, json_t *run, size_t n_items) {
    const struct shown *s = ctx;
    sl_autofree char *line = s->json ? sl_json_line(run) : NULL;
    (void)n_items;
    if (s->json) {
        printf("%.*s,\"items\":[", (int)strlen(line) - 1, line); /* goes on */
        return;
    }
    make_printable(run);
    print_run(s->dir, run);
}

static void show_item(void *ctx, json_t *item) {
    struct shown *s = ctx;
    sl_autofree char *line = s->json ? sl_json_line(item) : NULL;
    if (s->json) {
        printf("%s%s", s->n++ ? "," : "", line);
        return;
    }
    make_printable(item);
    print_item(item);
}

/* -1, or an exit status. */
static int show(const struct sl_rundir *dir, bool json) {
    struct shown s = {.dir = dir, .json = json};
    struct sl_err err = {0};
    int rc = sl_state_visit(dir->path, &(struct sl_state_visitor){show_run, show_item, &s}, &err);
    if (rc < 0) {
        sl_cli_error(&err);
        return rc == SLUICE_INPUT ? SL_EXIT_USAGE : SL_EXIT_FAILED;
    }
    if (json)
        puts("]}");
    return -1;
}

int sl_cmd_show(const struct sl_command *self, int argc, char **argv) {
    struct sl_words rest = {0};
    struct sl_rundir dir = {.lock_fd = -1};
    bool json = false;
    const struct sl_option table[] = {
        {"json", 0, SL_OPT_FLAG, &json, NULL, "the same as one JSON object"},
        {0},
    };
    int status = sl_cli_parse(
        self,
        "Shows what a run did: every item, stage and attempt. RUN is an id, the beginning\n"
        "of one, or \"last\".",
        table, argc, argv, &rest);
    if (status < 0)
        status = sl_cli_find_run(self, &rest, 1, &dir);
    if (status < 0)
        status = show(&dir, json);
    sl_rundir_finish(&dir);
    free(rest.items);
    return status < 0 ? SL_EXIT_OK : status;
}

/* ---- logs ---- */

#define OFF_MAX ((off_t)INT64_MAX)

static void copy_log(const char *run_path, const json_t *item, const json_t *stage,
                     const json_t *attempt) {
    sl_autofree char *path = sl_path_join(run_path, sl_json_str(attempt, "log", ""));
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    char chunk[16384];
    ssize_t n;
    /* Of the log of a worker that took one task after the other: the part of this one. A log that
     * was cut is shown whole. */
    off_t from = (off_t)sl_json_num(attempt, "log_from", 0),
          to = (off_t)sl_json_num(attempt, "log_to", -1), left = to >= from ? to - from : OFF_MAX;
    if (fd >= 0 && left != OFF_MAX)
        lseek(fd, from, SEEK_SET);
    printf("==> %s/%s attempt %.0f (%s) <==\n", sl_json_str(item, "name", ""),
           sl_json_str(stage, "name", ""), sl_json_num(attempt, "attempt", 0),
           sl_json_str(attempt, "class", "unfinished"));
    for (; fd >= 0 && left > 0; left -= n) {
        n = read(fd, chunk, left < (off_t)sizeof chunk ? (size_t)left : sizeof chunk);
        if (n <= 0)
            break;
        fwrite(chunk, 1, (size_t)n, stdout);
    }
}

/* Prints the logs of one stage, or of all; returns how many attempts there were. */
static int print_logs(const char *run_path, const json_t *state, const char *only) {
    json_t *item, *stage, *attempt;
    size_t i, s, a;
    int n = 0;
    json_array_foreach(json_object_get(state, "items"), i, item)
        json_array_foreach(json_object_get(item, "stages"), s, stage) {
        if (only && strcmp(only, sl_json_str(stage, "name", "")) != 0)
            continue;
        json_array_foreach(json_object_get(stage, "attempts"), a, attempt) {
            copy_log(run_path, item, stage, attempt);
            n++;
        }
    }
    return n;
}

int sl_cmd_logs(const struct sl_command *self, int argc, char **argv) {
    struct sl_words rest = {0};
    struct sl_rundir dir = {.lock_fd = -1};
    sl_autojson json_t *state = NULL;
    const struct sl_option none[] = {{0}};
    int status = sl_cli_parse(
        self,
        "Prints what the stages of a run wrote to their standard output and error, attempt\n"
        "by attempt. RUN is an id, the beginning of one, or \"last\".",
        none, argc, argv, &rest);
    if (status < 0)
        status = sl_cli_open_run(self, &rest, 2, &dir, &state);
    if (status < 0 && print_logs(dir.path, state, rest.n > 1 ? rest.items[1] : NULL) == 0 &&
        rest.n > 1) {
        fprintf(stderr, "sluice: run %s has no attempt of a stage \"%s\"\n", dir.id, rest.items[1]);
        status = SL_EXIT_USAGE;
    }
    sl_rundir_finish(&dir);
    free(rest.items);
    return status < 0 ? SL_EXIT_OK : status;
}
