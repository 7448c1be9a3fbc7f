/* sluice cache: what is kept of earlier runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/units.h"
#include "cli/cli.h"
#include "run/results.h"

static const char help[] =
    "ls lists results that are kept for later runs, the one that was used last first: when that "
    "was,\n"
    "size, stage and item. prune removes those that were not used for AGE (\"7d\"), and the oldest "
    "until\n"
    "the rest is at most SIZE (\"5GiB\"); without an option, what is over the usual limits: 30 "
    "days and\n"
    "10 GiB (SLUICE_CACHE_AGE, SLUICE_CACHE_SIZE). Runs prune by themselves.";

struct arguments {
    struct sl_words rest;
    const char *max_size, *max_age;
    int limit;
    bool json;
};

static void print_entry(const char *root, const struct sl_result_info *info, bool as_json) {
    sl_autojson json_t *entry = sl_result_find(root, info->key);
    char used[SL_TIME_SIZE], size[32];
    sl_format_time((double)info->used_s, used);
    if (!entry)
        return;
    if (as_json) {
        sl_json_set(entry, "key", json_string(info->key));
        sl_json_set(entry, "bytes", json_integer((json_int_t)info->bytes));
        sl_json_set(entry, "used", json_string(used));
        sl_autofree char *line = sl_json_line(entry);
        puts(line);
        return;
    }
    sl_autofree char *item = sl_make_printable(sl_xstrdup(sl_json_str(entry, "item", "")));
    printf("%.10s %.8s  %10s  %-22s %-12s %s\n", used, used + 11,
           sl_format_size(info->bytes, size, sizeof size), sl_json_str(entry, "use", ""),
           sl_json_str(entry, "stage", ""), item);
}

static int list(const struct arguments *a, const char *root) {
    struct sl_result_list all = sl_results_list(root);
    char size[32];
    for (int i = 0; i < all.n && (!a->limit || i < a->limit); i++)
        print_entry(root, &all.items[i], a->json);
    if (!a->json)
        fprintf(stderr, "%d results, %s, in %s\n", all.n,
                sl_format_size(all.bytes, size, sizeof size), root);
    sl_result_list_finish(&all);
    return SL_EXIT_OK;
}

static int bad_value(const char *option, const char *value, const char *example) {
    fprintf(stderr, "sluice: --%s %s: expected %s\n", option, value, example);
    return SL_EXIT_USAGE;
}

static int prune(const struct arguments *a, const char *root) {
    bool plain = !a->max_size && !a->max_age;
    uint64_t max_bytes = plain ? sl_results_max_bytes() : UINT64_MAX;
    double max_age = plain ? sl_results_max_age_s() : -1;
    char removed[32], left[32];
    if (a->max_size && !sl_parse_size(a->max_size, &max_bytes))
        return bad_value("max-size", a->max_size, "a size, such as 5GiB");
    if (a->max_age && !sl_parse_duration(a->max_age, &max_age))
        return bad_value("max-age", a->max_age, "a duration, such as 7d");
    struct sl_result_pruned p = sl_results_prune(root, max_bytes, max_age);
    if (a->json)
        printf("{\"removed\":%d,\"removed_bytes\":%llu,\"left\":%d,\"left_bytes\":%llu}\n", p.n,
               (unsigned long long)p.bytes, p.n_left, (unsigned long long)p.bytes_left);
    else
        printf("removed %d results, %s; %d are left, %s\n", p.n,
               sl_format_size(p.bytes, removed, sizeof removed), p.n_left,
               sl_format_size(p.bytes_left, left, sizeof left));
    return SL_EXIT_OK;
}

int sl_cmd_cache(const struct sl_command *self, int argc, char **argv) {
    struct arguments a = {0};
    const struct sl_option table[] = {
        {"max-size", 0, SL_OPT_TEXT, &a.max_size, "SIZE", "prune: keep at most so much"},
        {"max-age", 0, SL_OPT_TEXT, &a.max_age, "AGE",
         "prune: remove what was not used for so long"},
        {"limit", 'n', SL_OPT_INT, &a.limit, "N", "ls: the N that were used last"},
        {"json", 0, SL_OPT_FLAG, &a.json, NULL, "print JSON, for ls one object a result and line"},
        {0},
    };
    int status = sl_cli_parse(self, help, table, argc, argv, &a.rest);
    const char *what = a.rest.n == 1 ? a.rest.items[0] : "";
    sl_autofree char *root = sl_results_root();
    if (status < 0 && strcmp(what, "ls") != 0 && strcmp(what, "prune") != 0) {
        fprintf(stderr, "sluice: expected ls or prune\nusage: sluice %s\n", self->usage);
        status = SL_EXIT_USAGE;
    }
    if (status < 0 && !root) {
        fprintf(stderr, "sluice: there is no cache: neither SLUICE_CACHE nor HOME is set\n");
        status = SL_EXIT_FAILED;
    }
    if (status < 0)
        status = strcmp(what, "ls") == 0 ? list(&a, root) : prune(&a, root);
    free(a.rest.items);
    return status;
}
