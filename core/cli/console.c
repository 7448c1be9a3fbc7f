/*
 * Progress for people, on stderr. On a terminal: lines that stay (items that ended, retries,
 * warnings) and below them a block that is redrawn, a bar for each stage at work and a line of
 * totals. Elsewhere: plain lines only. With one item, segments are printed as they are found.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/cli.h"

#define MAX_LIVE    32
#define BAR_COLUMNS 24
#define REDRAW_MS   100
#define MAX_LOGS    20 /* of one task in a row */

/* A stage at work. */
struct live {
    int item, stage;
    double fraction;
    char text[64];
    int64_t began_ms;
};

struct sl_console {
    const struct sl_plan *plan;
    const struct sl_item *items;
    int n_items;
    const char *run_id;
    struct sl_outlet *out;
    int n_left_out;               /* lines, since the last that was not */
    bool watching;                /* items come in; n_items is the most there can be */
    bool quiet, terminal, colour; /* colour: NO_COLOR is not set (no-color.org) */
    struct live live[MAX_LIVE];
    int n_live, drawn; /* lines of the block on the screen */
    int64_t began_ms, drawn_ms;
    int64_t *item_began_ms;
    double *item_audio_s; /* duration of the recording, where a stage said it */
    bool *item_explained; /* the reason of its failure was printed */
    int n_ok, n_failed, n_cancelled;
    int log_item, log_stage, n_logs; /* who logged last, and how often in a row */
};

struct sl_console *sl_console_create(const struct sl_plan *plan, const struct sl_item *items,
                                     int n_items, bool watching, const char *run_id, bool quiet,
                                     struct sl_outlet *out) {
    struct sl_console *c = sl_xcalloc(1, sizeof *c);
    const char *term = getenv("TERM");
    *c = (struct sl_console){.plan = plan,
                             .items = items,
                             .n_items = n_items,
                             .run_id = run_id,
                             .quiet = quiet,
                             .watching = watching,
                             .out = out};
    const char *no_color = getenv("NO_COLOR");
    c->terminal = !quiet && isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    c->colour = c->terminal && !(no_color && *no_color);
    c->item_began_ms = sl_xcalloc((size_t)n_items, sizeof *c->item_began_ms);
    c->item_audio_s = sl_xcalloc((size_t)n_items, sizeof *c->item_audio_s);
    c->item_explained = sl_xcalloc((size_t)n_items, sizeof *c->item_explained);
    c->began_ms = sl_now_ms();
    return c;
}

/* ---- the block that is redrawn ---- */

static void erase_block(struct sl_console *c, struct sl_str *out) {
    if (c->drawn)
        sl_str_addf(out, "\r\x1b[%dA\x1b[J", c->drawn);
    c->drawn = 0;
}

static int screen_columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/* Adds a line cut to the screen's width: a wrapped one would break the count of lines. */
static void add_line(struct sl_str *out, const char *line, int columns) {
    sl_str_addn(out, line, sl_utf8_prefix(line, columns - 1));
    sl_str_add(out, "\n");
}

static void add_bar(struct sl_str *line, double fraction) {
    int full = (int)(fraction * BAR_COLUMNS + 0.5);
    for (int i = 0; i < BAR_COLUMNS; i++)
        sl_str_add(line, i < full ? "\u2588" : "\u2591");
    sl_str_addf(line, " %3.0f %%", fraction * 100);
}

static void add_live(const struct sl_console *c, const struct live *l, struct sl_str *line) {
    double elapsed = (double)(sl_now_ms() - l->began_ms) / 1000, audio = c->item_audio_s[l->item];
    char took[32];
    sl_str_add(line, "  ");
    sl_str_add_column(line, c->items[l->item].name, 20);
    sl_str_add(line, " ");
    sl_str_add_column(line, c->plan->stages[l->stage].name, 10);
    sl_str_add(line, " ");
    if (l->fraction >= 0)
        add_bar(line, l->fraction);
    else
        sl_str_pad(line, ' ', BAR_COLUMNS + 6);
    sl_str_addf(line, "  %s", sl_format_duration(elapsed, took, sizeof took));
    if (l->fraction > 0 && audio > 0 && elapsed > 0.5)
        sl_str_addf(line, "  %.1fx", l->fraction * audio / elapsed);
    if (*l->text)
        sl_str_addf(line, "  %s", l->text);
}

static void draw_block(struct sl_console *c, struct sl_str *out) {
    int columns = screen_columns();
    sl_autostr struct sl_str line = {0};
    char took[32];
    for (int i = 0; i < c->n_live; i++) {
        sl_str_clear(&line);
        add_live(c, &c->live[i], &line);
        add_line(out, sl_str_text(&line), columns);
    }
    sl_str_clear(&line);
    sl_str_addf(&line, "  %d", c->n_ok + c->n_failed + c->n_cancelled);
    if (!c->watching)
        sl_str_addf(&line, " of %d", c->n_items);
    sl_str_add(&line, " done");
    if (c->n_failed)
        sl_str_addf(&line, ", %d failed", c->n_failed);
    sl_str_addf(&line, ", %s",
                sl_format_duration((double)(sl_now_ms() - c->began_ms) / 1000, took, sizeof took));
    add_line(out, sl_str_text(&line), columns);
    c->drawn = c->n_live + 1;
    c->drawn_ms = sl_now_ms();
}

/* `drawn`: lines of the block on the screen, if this is left out. */
static void put(struct sl_console *c, const struct sl_str *out, int drawn) {
    if (sl_outlet_put(c->out, sl_str_text(out), out->len))
        return;
    c->n_left_out++;
    c->drawn = drawn;
}

static void redraw(struct sl_console *c) {
    if (!c->terminal || sl_now_ms() - c->drawn_ms < REDRAW_MS || sl_outlet_is_behind(c->out))
        return;
    sl_autostr struct sl_str out = {0};
    int drawn = c->drawn;
    erase_block(c, &out);
    draw_block(c, &out);
    put(c, &out, drawn);
}

/* A line that stays. */
static void say(struct sl_console *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct sl_console *c, const char *fmt, ...) {
    sl_autostr struct sl_str out = {0};
    int drawn = c->drawn;
    va_list args;
    erase_block(c, &out);
    if (c->n_left_out && !sl_outlet_is_full(c->out)) {
        sl_str_addf(&out, "(%d lines were left out)\n", c->n_left_out);
        c->n_left_out = 0;
    }
    va_start(args, fmt);
    sl_str_vaddf(&out, fmt, args);
    va_end(args);
    sl_str_add(&out, "\n");
    if (drawn > 0)
        draw_block(c, &out);
    put(c, &out, drawn);
}

/* ---- events ---- */

#define GREEN  "\x1b[32m"
#define YELLOW "\x1b[33m"
#define RED    "\x1b[31m"
#define PLAIN  "\x1b[0m"

static const char *paint(const struct sl_console *c, const char *colour) {
    return c->colour ? colour : "";
}

static struct live *find_live(struct sl_console *c, const struct sl_event *ev) {
    for (int i = 0; i < c->n_live; i++)
        if (c->live[i].item == ev->item && c->live[i].stage == ev->stage)
            return &c->live[i];
    return NULL;
}

static void drop_live(struct sl_console *c, const struct sl_event *ev) {
    struct live *l = find_live(c, ev);
    if (!l)
        return;
    int at = (int)(l - c->live);
    memmove(l, l + 1, (size_t)(--c->n_live - at) * sizeof *l);
}

static const char *item_name(const struct sl_console *c, const struct sl_event *ev) {
    return c->items[ev->item].name;
}

static const char *stage_name(const struct sl_console *c, const struct sl_event *ev) {
    return c->plan->stages[ev->stage].name;
}

static void on_task_begin(struct sl_console *c, const struct sl_event *ev) {
    drop_live(c, ev);
    if (!c->item_began_ms[ev->item])
        c->item_began_ms[ev->item] = sl_now_ms();
    if (c->n_live < MAX_LIVE)
        c->live[c->n_live++] = (struct live){
            .item = ev->item, .stage = ev->stage, .fraction = -1, .began_ms = sl_now_ms()};
    redraw(c);
}

static void on_progress(struct sl_console *c, const struct sl_event *ev) {
    struct live *l = find_live(c, ev);
    if (!l)
        return;
    l->fraction = ev->fraction;
    snprintf(l->text, sizeof l->text, "%s", ev->text ? ev->text : "");
    redraw(c);
}

/* "[00:01.20 --> 00:03.40] text" of a segment. */
static void on_part(struct sl_console *c, const struct sl_event *ev) {
    sl_autojson json_t *segment = NULL;
    if (c->quiet || c->n_items > 1 || sl_json_parse(ev->text, ev->len, &segment, NULL) < 0)
        return;
    const char *said = sl_json_str(segment, "text", NULL);
    double start = sl_json_num(segment, "start", 0), end = sl_json_num(segment, "end", 0);
    if (!said)
        return;
    sl_autofree char *text = sl_make_printable(sl_xstrdup(said));
    say(c, "[%02.0f:%05.2f --> %02.0f:%05.2f] %s", floor(start / 60), fmod(start, 60),
        floor(end / 60), fmod(end, 60), text + (*text == ' '));
}

static void on_log(struct sl_console *c, const struct sl_event *ev) {
    bool again = c->n_logs > 0 && c->log_item == ev->item && c->log_stage == ev->stage;
    c->log_item = ev->item;
    c->log_stage = ev->stage;
    c->n_logs = again ? c->n_logs + 1 : 1;
    if ((c->quiet && ev->level < SLUICE_LOG_ERROR) || c->n_logs > MAX_LOGS)
        return;
    say(c, "%s%s%s: %s: %s", ev->item >= 0 ? item_name(c, ev) : "", ev->item >= 0 ? ": " : "",
        stage_name(c, ev), sl_log_level_name(ev->level),
        c->n_logs < MAX_LOGS ? ev->text : "further messages are in the log of the run");
}

static void on_retry(struct sl_console *c, const struct sl_event *ev) {
    char delay[32];
    drop_live(c, ev);
    sl_format_duration(ev->seconds, delay, sizeof delay);
    if (!c->quiet)
        say(c, "%s: %s: %sattempt %d failed%s (%s): %s; trying again%s%s", item_name(c, ev),
            stage_name(c, ev), paint(c, YELLOW), ev->attempt, paint(c, PLAIN),
            sl_class_name(ev->cls), ev->text, ev->seconds > 0 ? " in " : "",
            ev->seconds > 0 ? delay : "");
}

static void on_task_end(struct sl_console *c, const struct sl_event *ev) {
    char took[32];
    drop_live(c, ev);
    if (ev->state == SL_TASK_ABSENT)
        say(c, "%s: %s: %sleft out%s: %s", item_name(c, ev), stage_name(c, ev), paint(c, YELLOW),
            paint(c, PLAIN), ev->text);
    else if (ev->state == SL_TASK_FAILED) {
        say(c, "%s: %s %sfailed%s: %s", item_name(c, ev), stage_name(c, ev), paint(c, RED),
            paint(c, PLAIN), ev->text);
        c->item_explained[ev->item] = true;
    } else if (ev->state == SL_TASK_DONE && !c->quiet && !c->terminal &&
               !c->plan->stages[ev->stage].is_output)
        say(c, "%s: %s %s%s%s%s", item_name(c, ev), stage_name(c, ev),
            ev->reused ? "reused" : "done in ",
            ev->reused ? "" : sl_format_duration(ev->seconds, took, sizeof took),
            ev->text ? " after on_oom: " : "", ev->text ? ev->text : "");
    redraw(c);
}

static void on_item_end(struct sl_console *c, const struct sl_event *ev) {
    int64_t began_ms = c->item_began_ms[ev->item];
    double seconds = (double)(sl_now_ms() - began_ms) / 1000, audio = c->item_audio_s[ev->item];
    char took[32], speed[48] = "";
    *(ev->item_state == SL_ITEM_OK       ? &c->n_ok
      : ev->item_state == SL_ITEM_FAILED ? &c->n_failed
                                         : &c->n_cancelled) += 1;
    if (ev->item_state == SL_ITEM_FAILED && !c->item_explained[ev->item])
        say(c, "%s: %sfailed%s%s%s", item_name(c, ev), paint(c, RED), paint(c, PLAIN),
            ev->text ? ": " : "", ev->text ? ev->text : "");
    if (ev->item_state != SL_ITEM_OK || c->quiet)
        return;
    if (!began_ms) { /* no process ran for it */
        say(c, "%s: %sok%s, reused", item_name(c, ev), paint(c, GREEN), paint(c, PLAIN));
        return;
    }
    if (audio > 0 && seconds > 0)
        snprintf(speed, sizeof speed, ", %.1f times real time", audio / seconds);
    say(c, "%s: %sok%s in %s%s", item_name(c, ev), paint(c, GREEN), paint(c, PLAIN),
        sl_format_duration(seconds, took, sizeof took), speed);
}

static void on_run_end(struct sl_console *c, const struct sl_event *ev) {
    sl_autostr struct sl_str out = {0};
    char took[32];
    int drawn = c->drawn;
    erase_block(c, &out);
    put(c, &out, drawn);
    c->terminal = false;
    if (c->quiet && c->n_failed + c->n_cancelled == 0)
        return;
    sl_str_clear(&out);
    sl_str_addf(&out, "%d ok", c->n_ok);
    if (c->n_failed)
        sl_str_addf(&out, ", %d failed", c->n_failed);
    if (c->n_cancelled)
        sl_str_addf(&out, ", %d cancelled", c->n_cancelled);
    say(c, "%s in %s; `sluice show %s` has the details", sl_str_text(&out),
        sl_format_duration(ev->seconds, took, sizeof took), c->run_id);
}

static void on_event(void *console, const struct sl_event *ev) {
    struct sl_console *c = console;
    switch (ev->type) {
    case SL_EVENT_TASK_BEGIN:
        on_task_begin(c, ev);
        break;
    case SL_EVENT_PROGRESS:
        on_progress(c, ev);
        break;
    case SL_EVENT_METRIC:
        if (strcmp(ev->port, "audio_s") == 0)
            c->item_audio_s[ev->item] = ev->fraction;
        break;
    case SL_EVENT_PART:
        on_part(c, ev);
        break;
    case SL_EVENT_LOG:
        on_log(c, ev);
        break;
    case SL_EVENT_RETRY:
        on_retry(c, ev);
        break;
    case SL_EVENT_TASK_END:
        on_task_end(c, ev);
        break;
    case SL_EVENT_ITEM_END:
        on_item_end(c, ev);
        break;
    case SL_EVENT_NOTE:
        if (!c->quiet || ev->level >= SLUICE_LOG_ERROR)
            say(c, "%s%s", ev->level >= SLUICE_LOG_WARN ? "warning: " : "", ev->text);
        break;
    case SL_EVENT_CANCELLING:
        say(c, "cancelling: %s (Ctrl-C again kills)", ev->text);
        break;
    case SL_EVENT_RUN_END:
        on_run_end(c, ev);
        break;
    default:
        break;
    }
}

static void on_attach(void *console, struct sl_loop *loop, const struct sl_log *log) {
    sl_outlet_attach(((struct sl_console *)console)->out, loop, log);
}

struct sl_observer sl_console_observer(struct sl_console *c) {
    return (struct sl_observer){.event = on_event, .attach = on_attach, .ctx = c};
}

void sl_console_destroy(struct sl_console *c) {
    if (!c)
        return;
    free(c->item_began_ms);
    free(c->item_audio_s);
    free(c->item_explained);
    free(c);
}
