/*
 * sluice doctor: what this machine offers, and what is in the way. One finding a line; those that
 * ask for something to be done say what. Each look_at_* is one area. What could crash or hang is
 * asked in processes of their own: the driver and the libraries of CUDA by the helper of
 * proc/gpu.h, plugins by the registry.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/units.h"
#include "cli/cli.h"
#include "proc/gpu.h"
#include "proc/limits.h"
#include "proc/machine.h"

#define LEAST_CAPABILITY 80 /* of the CUDA kernels: docs/cuda.md */
#define LEAST_STATE_FREE ((uint64_t)1 << 30)

enum level { LEVEL_OK, LEVEL_NOTE, LEVEL_WARN, LEVEL_ERROR };
static const char *const LEVELS[] = {"ok", "note", "warn", "error"};

struct doctor {
    const struct sl_words *plugin_folders;
    const char *worker;
    bool json;
    int n_errors;
};

/* `todo`: what to do about it, or NULL. */
__attribute__((format(printf, 5, 6))) static void
say(struct doctor *d, enum level level, const char *area, const char *todo, const char *fmt, ...) {
    sl_autostr struct sl_str text = {0};
    va_list args;
    va_start(args, fmt);
    sl_str_vaddf(&text, fmt, args);
    va_end(args);
    d->n_errors += level == LEVEL_ERROR;
    if (!d->json) {
        printf("%-6s%-12s%s\n", LEVELS[level], area, sl_str_text(&text));
        if (todo)
            printf("%18s%s\n", "", todo);
        return;
    }
    sl_autojson json_t *o = json_object();
    sl_json_set(o, "level", json_string(LEVELS[level]));
    sl_json_set(o, "area", json_string(area));
    sl_json_set(o, "text", sl_json_text(sl_str_text(&text)));
    sl_json_set(o, "todo", todo ? sl_json_text(todo) : NULL);
    sl_autofree char *line = sl_json_line(o);
    puts(line);
}

/* ---- The installation ------------------------------------------------------------------------ */

static void look_at_installation(struct doctor *d) {
    if (access(d->worker, X_OK) == 0)
        say(d, LEVEL_OK, "sluice", NULL, "version %s, plugin ABI %u.%u", SLUICE_VERSION,
            SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    else
        say(d, LEVEL_ERROR, "sluice", "install Sluice again, with its libexec folder",
            "version %s; %s cannot be run: %s", SLUICE_VERSION, d->worker, strerror(errno));
}

static void look_at_state(struct doctor *d) {
    static const char todo[] = "set SLUICE_STATE to a folder of yours, on a disk with room";
    sl_autofree char *runs = sl_runs_root();
    struct sl_err err = {0};
    struct statvfs fs;
    char left[32];
    if (sl_make_dirs(runs, &err) < 0) {
        say(d, LEVEL_ERROR, "state", todo, "%s", err.msg);
    } else if (access(runs, W_OK | X_OK) < 0 || statvfs(runs, &fs) < 0) {
        say(d, LEVEL_ERROR, "state", todo, "%s: %s", runs, strerror(errno));
    } else {
        uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        bool little = bytes < LEAST_STATE_FREE;
        say(d, little ? LEVEL_WARN : LEVEL_OK, "state", little ? todo : NULL, "%s, %s free", runs,
            sl_format_size(bytes, left, sizeof left));
    }
}

/* ---- The machine ----------------------------------------------------------------------------- */

static void look_at_machine(struct doctor *d) {
    struct sl_machine_room room;
    struct utsname name = {0};
    cpu_set_t set;
    char capacity[32], available[32];
    sl_machine_room(&room);
    uname(&name);
    say(d, LEVEL_OK, "machine", NULL, "%d processors, %s of memory%s, %s available; Linux %s",
        sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1,
        sl_format_size(room.capacity, capacity, sizeof capacity),
        room.in_group ? " (by its control group)" : "",
        sl_format_size(room.available, available, sizeof available), name.release);
}

static void look_at_containment(struct doctor *d) {
    if (sl_containment_detect() == SL_CONTAIN_PIDNS)
        say(d, LEVEL_OK, "processes", NULL, "each worker has a PID namespace of its own");
    else
        say(d, LEVEL_NOTE, "processes", "permit user namespaces, or run it as root",
            "no PID namespaces are permitted; keeper processes end what a worker leaves behind");
}

static void look_at_limits(struct doctor *d) {
    struct sl_limiter limiter;
    sl_limiter_init(&limiter);
    bool kernel = limiter.tree != NULL;
    say(d, kernel ? LEVEL_OK : LEVEL_NOTE, "limits",
        kernel ? NULL
               : "for limits that the kernel keeps: systemd-run --user --scope -p Delegate=yes "
                 "sluice run ...",
        "%s", limiter.text);
    sl_limiter_finish(&limiter);
}

static void look_at_sandbox(struct doctor *d) {
    struct sl_confinement c = sl_confinement_detect();
    bool whole = c.landlock && c.seccomp;
    say(d, whole ? LEVEL_OK : LEVEL_WARN, "sandbox",
        whole ? NULL
              : "use Linux 5.13 or later with Landlock and seccomp; until then run only stages "
                "that you trust",
        "%s", sl_confinement_text(&c));
}

/* ---- Cards ----------------------------------------------------------------------------------- */

/* A driver that is there and cannot be used is worth more words than none. */
static void look_at_no_driver(struct doctor *d, const char *error) {
    bool none = sl_starts_with(error, "no NVIDIA driver");
    bool mismatch = strstr(error, "version mismatch") != NULL;
    say(d, none ? LEVEL_NOTE : LEVEL_ERROR, "driver",
        none       ? NULL
        : mismatch ? "load the kernel module of the installed driver: restart the machine, or "
                     "reload nvidia"
                   : "look at `nvidia-smi` and at `dmesg`",
        "%s%s", error, none ? "; stages run on the processor" : "");
}

static void look_at_card(struct doctor *d, int i, const struct sl_gpu *g) {
    char area[24], capacity[32], left[32];
    snprintf(area, sizeof area, "card %d", i);
    if (g->error) {
        say(d, g->divided ? LEVEL_WARN : LEVEL_ERROR, area,
            g->divided ? "switch MIG off for it, or use another card"
                       : "look at `nvidia-smi` and at `dmesg`",
            "%s %s: %s", g->name, g->uuid, g->error);
        return;
    }
    say(d, LEVEL_OK, area, NULL, "%s, compute capability %d.%d, %s, %s free, %d processes; %s",
        g->name, g->capability / 10, g->capability % 10,
        sl_format_size(g->capacity, capacity, sizeof capacity),
        sl_format_size(g->free, left, sizeof left), g->n_processes, g->uuid);
    if (g->capability && g->capability < LEAST_CAPABILITY)
        say(d, LEVEL_WARN, area, "use device: cpu, or a newer card",
            "it is older than compute capability %d.%d, which the kernels need",
            LEAST_CAPABILITY / 10, LEAST_CAPABILITY % 10);
    if (!g->persistent)
        say(d, LEVEL_WARN, area, "nvidia-smi -pm 1, or the service nvidia-persistenced",
            "persistence mode is off: the first worker of a run waits for the card to be set up");
}

/* False: there is no card that could be used. */
static bool look_at_cards(struct doctor *d) {
    struct sl_gpus gpus;
    bool any = false;
    sl_gpus_look(d->worker, &gpus);
    if (gpus.error) {
        look_at_no_driver(d, gpus.error);
    } else {
        say(d, LEVEL_OK, "driver", NULL, "NVIDIA %s, for programs of CUDA %d.%d and earlier",
            *gpus.driver ? gpus.driver : "(no version)", gpus.cuda / 1000, gpus.cuda % 1000 / 10);
        if (gpus.n == 0)
            say(d, LEVEL_NOTE, "cards", NULL, "there is none");
    }
    for (int i = 0; i < gpus.n; i++) {
        look_at_card(d, i, &gpus.cards[i]);
        any |= !gpus.cards[i].error;
    }
    sl_gpus_finish(&gpus);
    return any;
}

static bool is_found(const json_t *libraries, const char *beginning) {
    size_t i;
    json_t *one;
    json_array_foreach(libraries, i, one) {
        if (sl_starts_with(sl_json_str(one, "name", ""), beginning) &&
            !json_object_get(one, "error"))
            return true;
    }
    return false;
}

static void look_at_library(struct doctor *d, const json_t *one) {
    const char *error = sl_json_str(one, "error", NULL);
    if (error)
        say(d, LEVEL_NOTE, "library", NULL, "%s is not found", sl_json_str(one, "name", "?"));
    else
        say(d, LEVEL_OK, "library", NULL, "%s, version %s, %s", sl_json_str(one, "name", "?"),
            sl_json_str(one, "version", "unknown"), sl_json_str(one, "path", ""));
}

/* What a stage on a card opens. Without a card it is not asked for. */
static void look_at_libraries(struct doctor *d) {
    sl_autojson json_t *libraries = NULL;
    struct sl_err err = {0};
    size_t i;
    json_t *one;
    if (sl_gpu_libraries(d->worker, &libraries, &err) < 0) {
        say(d, LEVEL_ERROR, "libraries", "look at `nvidia-smi`; install CUDA's libraries again",
            "%s", err.msg);
        return;
    }
    json_array_foreach(libraries, i, one) look_at_library(d, one);
    if (!is_found(libraries, "libcuda."))
        say(d, LEVEL_ERROR, "CUDA",
            "install libcuda1, or start the container with the driver's compute part",
            "the driver's part for CUDA is missing: stages refuse the card");
    if (!is_found(libraries, "libcublasLt."))
        say(d, LEVEL_ERROR, "cuBLAS",
            "install cuBLAS 13 or 12, or set LD_LIBRARY_PATH to where it is",
            "no cuBLASLt is found: stages refuse the card");
    if (!is_found(libraries, "libcudnn."))
        say(d, LEVEL_WARN, "cuDNN", "install cuDNN 9 for faster convolutions",
            "no cuDNN is found: convolutions run as matrix products");
}

/* ---- Plugins --------------------------------------------------------------------------------- */

static void look_at_plugin(struct doctor *d, const struct sl_plugin_desc *p, bool have_card) {
    sl_autostr struct sl_str cuda = {0};
    if (p->broken) {
        say(d, LEVEL_WARN, "plugin", "`sluice plugin check` says more", "%s cannot be used: %s",
            p->path, p->broken);
        return;
    }
    for (int i = 0; i < p->n_stages; i++)
        if (p->stages[i].flags & SLUICE_STAGE_CUDA)
            sl_str_addf(&cuda, "%s%s", cuda.len ? ", " : "", p->stages[i].id);
    if (!cuda.len)
        say(d, LEVEL_OK, "plugin", NULL, "%s %s, on the processor", p->name, p->version);
    else
        say(d, LEVEL_OK, "plugin", NULL, "%s %s, on the processor%s: %s", p->name, p->version,
            have_card ? " and on cards" : "; on cards too, where there is one", sl_str_text(&cuda));
}

static void look_at_plugins(struct doctor *d, bool have_card) {
    struct sl_catalog catalog = {0};
    if (sl_cli_load_catalog(d->plugin_folders, false, &catalog) != 0) {
        d->n_errors++;
        return;
    }
    if (catalog.n_plugins == 0)
        say(d, LEVEL_ERROR, "plugins", "install Sluice again, or set SLUICE_PLUGIN_PATH",
            "no plugin is found");
    for (int i = 0; i < catalog.n_plugins; i++)
        look_at_plugin(d, catalog.plugins[i], have_card);
    sl_catalog_finish(&catalog);
}

int sl_cmd_doctor(const struct sl_command *self, int argc, char **argv) {
    struct sl_words plugins = {0}, rest = {0};
    struct sl_install install = sl_install_find();
    struct doctor d = {.plugin_folders = &plugins, .worker = install.worker};
    const struct sl_option table[] = {
        {"json", 0, SL_OPT_FLAG, &d.json, NULL,
         "one JSON object a finding: level, area, text, todo"},
        {"plugins", 0, SL_OPT_LIST, &plugins, "DIR", "look for plugins here first"},
        {0},
    };
    int status = sl_cli_parse(self,
                              "Says what this machine offers to stages and what is in the way: "
                              "memory, limits, cards and\n"
                              "their driver, libraries of CUDA, plugins. A finding is ok, note, "
                              "warn or error; what can be\n"
                              "done about it stands below. Exit status: 0 without errors, else 1.",
                              table, argc, argv, &rest);
    if (status < 0)
        status = sl_cli_at_most(self, &rest, 0);
    if (status < 0) {
        look_at_installation(&d);
        look_at_state(&d);
        look_at_machine(&d);
        look_at_containment(&d);
        look_at_limits(&d);
        look_at_sandbox(&d);
        bool have_card = look_at_cards(&d);
        if (have_card)
            look_at_libraries(&d);
        look_at_plugins(&d, have_card);
        status = d.n_errors ? SL_EXIT_FAILED : SL_EXIT_OK;
    }
    sl_install_finish(&install);
    free(plugins.items);
    free(rest.items);
    return status;
}
