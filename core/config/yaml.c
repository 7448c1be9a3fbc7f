/*
 * Composes libyaml's events into the tree of yaml.h; the only user of libyaml.
 *
 * One recursive function, bounded by SL_YAML_MAX_DEPTH, follows the events. An anchor is entered
 * when its node begins and becomes usable when it ends, so an alias inside its own node is seen for
 * what it is. Aliases and merges share subtrees; each adds the full weight of what it names to a
 * running count, so the number of nodes that any reader can visit is bounded before anybody visits
 * them.
 *
 * Bytes are checked for UTF-8 and control characters first: libyaml's reader reports those without
 * a position. What scalars mean is in yaml_scalar.c.
 */
#include "config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/io.h"

struct anchor {
    const char *name;
    const struct sl_yaml *node; /* NULL while it is being composed */
};

struct composer {
    yaml_parser_t parser;
    struct sl_arena *arena;
    struct sl_diags *diags;
    const char *bytes;
    size_t len;
    struct anchor anchors[SL_YAML_MAX_ANCHORS];
    int n_anchors;
    int n_nodes; /* composed, and followed through aliases */
};

#define autoevent __attribute__((cleanup(yaml_event_delete)))

static const struct sl_yaml *compose(struct composer *c, yaml_event_t *event, int depth);

static struct sl_pos pos_of(yaml_mark_t mark) {
    return (struct sl_pos){(int)mark.line + 1, (int)mark.column + 1};
}

static struct sl_yaml *node_new(struct sl_arena *arena, enum sl_yaml_kind kind, struct sl_pos pos) {
    struct sl_yaml *node = sl_arena_alloc(arena, sizeof *node);
    *node = (struct sl_yaml){.kind = kind, .pos = pos, .weight = 1};
    return node;
}

struct sl_yaml *sl_yaml_scalar(struct sl_arena *arena, struct sl_pos pos, enum sl_yaml_style style,
                               const char *text) {
    struct sl_yaml *node = node_new(arena, SL_YAML_SCALAR, pos);
    node->style = style;
    node->text = sl_arena_strdup(arena, text);
    return node;
}

struct sl_yaml *sl_yaml_bad(struct sl_arena *arena, struct sl_pos pos) {
    return node_new(arena, SL_YAML_BAD, pos);
}

/* ---- Syntax errors -------------------------------------------------------------------------- */

/* Where libyaml stopped, as a pointer into the bytes; NULL at their end. */
static const char *byte_at(const struct composer *c, yaml_mark_t mark) {
    const char *at = c->bytes, *end = c->bytes + c->len;
    for (size_t i = 0; at < end && i < mark.index; i++)
        for (at++; at < end && (*at & 0xc0) == 0x80;)
            at++;
    return at < end ? at : NULL;
}

static void report_syntax(struct composer *c) {
    const yaml_parser_t *p = &c->parser;
    const char *at = byte_at(c, p->problem_mark);
    struct sl_pos pos = pos_of(p->problem_mark);
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (at && *at == '\t')
        sl_diag_error(c->diags, pos,
                      "a tab stands where only spaces may: YAML is indented with spaces");
    else if (at && at > c->bytes && at[-1] == '$' && *at == '{')
        sl_diag_error(c->diags, pos, "inside { } and [ ] a reference must be quoted: \"${...}\"");
    else if (p->context && p->context_mark.line != p->problem_mark.line)
        sl_diag_error(c->diags, pos, "not valid YAML: %s (%s that begins at line %zu, column %zu)",
                      problem, p->context, p->context_mark.line + 1, p->context_mark.column + 1);
    else
        sl_diag_error(c->diags, pos, "not valid YAML: %s%s%s%s", problem, p->context ? " (" : "",
                      p->context ? p->context : "", p->context ? ")" : "");
}

static int next_event(struct composer *c, yaml_event_t *event) {
    if (yaml_parser_parse(&c->parser, event))
        return 0;
    report_syntax(c);
    return -1;
}

/* ---- Bounds --------------------------------------------------------------------------------- */

static int count_nodes(struct composer *c, int more, struct sl_pos pos) {
    c->n_nodes += more;
    if (c->n_nodes <= SL_YAML_MAX_NODES)
        return 0;
    sl_diag_error(c->diags, pos, "more than %d values once aliases are followed",
                  SL_YAML_MAX_NODES);
    return -1;
}

static int check_depth(struct composer *c, int depth, struct sl_pos pos) {
    if (depth <= SL_YAML_MAX_DEPTH)
        return 0;
    sl_diag_error(c->diags, pos, "nested deeper than %d levels", SL_YAML_MAX_DEPTH);
    return -1;
}

/* ---- Anchors and aliases -------------------------------------------------------------------- */

/* Enters an anchor and returns its index, -1 where there is none, -2 after a mistake. */
static int anchor_open(struct composer *c, const yaml_char_t *name, struct sl_pos pos) {
    if (!name)
        return -1;
    if (c->n_anchors == SL_YAML_MAX_ANCHORS) {
        sl_diag_error(c->diags, pos, "more than %d anchors", SL_YAML_MAX_ANCHORS);
        return -2;
    }
    c->anchors[c->n_anchors].name = sl_arena_strdup(c->arena, (const char *)name);
    return c->n_anchors++;
}

static void anchor_close(struct composer *c, int index, const struct sl_yaml *node) {
    if (index >= 0)
        c->anchors[index].node = node;
}

static const struct sl_yaml *alias_unknown(struct composer *c, const char *name,
                                           struct sl_pos pos) {
    const char *names[SL_YAML_MAX_ANCHORS];
    for (int i = 0; i < c->n_anchors; i++)
        names[i] = c->anchors[i].name;
    const char *near = sl_nearest(name, names, (size_t)c->n_anchors);
    sl_diag_error(c->diags, pos, "alias *%s: there is no anchor &%s before it%s%s%s", name, name,
                  near ? " (did you mean *" : "", near ? near : "", near ? "?)" : "");
    return NULL;
}

/* The node an alias names; the anchor entered last wins, as YAML has it. */
static const struct sl_yaml *compose_alias(struct composer *c, const char *name, struct sl_pos pos,
                                           int depth) {
    int i = c->n_anchors - 1;
    while (i >= 0 && strcmp(c->anchors[i].name, name) != 0)
        i--;
    if (i < 0)
        return alias_unknown(c, name, pos);
    const struct sl_yaml *node = c->anchors[i].node;
    if (!node) {
        sl_diag_error(c->diags, pos, "alias *%s stands inside the value that it names", name);
        return NULL;
    }
    if (check_depth(c, depth + node->height, pos) < 0 || count_nodes(c, node->weight, pos) < 0)
        return NULL;
    return node;
}

/* ---- Scalars and lists ---------------------------------------------------------------------- */

/* Whether a tag is one of the core schema; others are reported. `!!str` makes a scalar text. */
static bool check_tag(struct composer *c, const yaml_char_t *tag, const char *const *known,
                      struct sl_pos pos) {
    static const char prefix[] = "tag:yaml.org,2002:";
    const char *text = (const char *)tag;
    if (!text || strcmp(text, "!") == 0)
        return true;
    for (; *known && sl_starts_with(text, prefix); known++)
        if (strcmp(text + sizeof prefix - 1, *known) == 0)
            return true;
    sl_diag_error(c->diags, pos,
                  "tag \"%.60s\" is not supported here; write the value without a tag", text);
    return false;
}

static const struct sl_yaml *compose_scalar(struct composer *c, const yaml_event_t *event,
                                            struct sl_pos pos) {
    static const char *const tags[] = {"str", "int", "float", "bool", "null", NULL};
    const char *text = (const char *)event->data.scalar.value,
               *tag = (const char *)event->data.scalar.tag;
    if (!check_tag(c, event->data.scalar.tag, tags, pos))
        return sl_yaml_bad(c->arena, pos);
    if (event->data.scalar.length > SL_YAML_MAX_TEXT) {
        sl_diag_error(c->diags, pos, "text longer than %u KiB", SL_YAML_MAX_TEXT >> 10);
        return sl_yaml_bad(c->arena, pos);
    }
    if (strlen(text) != event->data.scalar.length) {
        sl_diag_error(c->diags, pos, "text holds a NUL character (\\0)");
        return sl_yaml_bad(c->arena, pos);
    }
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag)
        plain = !sl_ends_with(tag, ":str") && strcmp(tag, "!") != 0;
    return sl_yaml_scalar(c->arena, pos, plain ? SL_YAML_PLAIN : SL_YAML_QUOTED, text);
}

static void node_add_child(struct sl_yaml *node, const struct sl_yaml *child) {
    node->weight += child->weight;
    if (child->height >= node->height)
        node->height = child->height + 1;
}

static const struct sl_yaml *compose_list(struct composer *c, struct sl_yaml *list, int depth) {
    sl_autofree const struct sl_yaml **items = NULL;
    int cap = 0;
    for (;;) {
        autoevent yaml_event_t event = {0};
        if (next_event(c, &event) < 0)
            return NULL;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            break;
        const struct sl_yaml *item = compose(c, &event, depth + 1);
        if (!item)
            return NULL;
        SL_PUSH_ROOM(items, list->n, cap);
        items[list->n++] = item;
        node_add_child(list, item);
    }
    list->items = sl_arena_alloc(c->arena, (size_t)list->n * sizeof *items);
    if (list->n)
        memcpy(list->items, items, (size_t)list->n * sizeof *items);
    return list;
}

/* ---- Maps ----------------------------------------------------------------------------------- */

/* A map while it is read: explicit pairs in order, then those of merge keys. */
struct map_build {
    struct entry {
        struct sl_yaml_pair pair;
        int order; /* as found */
        bool merged;
        bool dropped;
    } * entries;
    int n, cap;
    const struct sl_yaml *merge; /* value of `<<` */
};

static void map_add(struct map_build *m, struct sl_yaml_pair pair, bool merged) {
    SL_PUSH_ROOM(m->entries, m->n, m->cap);
    m->entries[m->n] = (struct entry){.pair = pair, .order = m->n, .merged = merged};
    m->n++;
}

static int compare_keys(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    int by_key = strcmp(x->pair.key, y->pair.key);
    return by_key ? by_key : x->order - y->order;
}

static int compare_order(const void *a, const void *b) {
    return ((const struct entry *)a)->order - ((const struct entry *)b)->order;
}

/* Adds the pairs of one merged map. */
static int merge_one(struct composer *c, struct map_build *m, const struct sl_yaml *from) {
    if (from->kind != SL_YAML_MAP) {
        sl_diag_error(c->diags, from->pos, "<< takes a map or a list of maps");
        return 0;
    }
    if (count_nodes(c, from->weight, from->pos) < 0)
        return -1;
    for (int i = 0; i < from->n; i++)
        map_add(m, from->pairs[i], true);
    return 0;
}

static int merge_all(struct composer *c, struct map_build *m) {
    const struct sl_yaml *from = m->merge;
    if (!from || from->kind == SL_YAML_BAD)
        return 0;
    if (from->kind != SL_YAML_LIST)
        return merge_one(c, m, from);
    for (int i = 0; i < from->n; i++)
        if (merge_one(c, m, from->items[i]) < 0)
            return -1;
    return 0;
}

/* Of equal keys the first counts: explicit ones stand before merged ones. Two explicit ones are a
 * mistake. */
static void drop_repeated(struct composer *c, struct map_build *m) {
    int first = 0;
    for (int i = 1; i < m->n; i++) {
        struct entry *e = &m->entries[i], *was = &m->entries[first];
        if (strcmp(e->pair.key, was->pair.key) != 0) {
            first = i;
            continue;
        }
        e->dropped = true;
        if (!e->merged)
            sl_diag_error(c->diags, e->pair.pos,
                          "key \"%s\" was given before, at line %d, column %d", e->pair.key,
                          was->pair.pos.line, was->pair.pos.column);
    }
}

static const struct sl_yaml *map_finish(struct composer *c, struct map_build *m,
                                        struct sl_yaml *map) {
    if (merge_all(c, m) < 0)
        return NULL;
    if (m->n)
        qsort(m->entries, (size_t)m->n, sizeof *m->entries, compare_keys);
    drop_repeated(c, m);
    if (m->n)
        qsort(m->entries, (size_t)m->n, sizeof *m->entries, compare_order);
    struct sl_yaml_pair *pairs = sl_arena_alloc(c->arena, (size_t)m->n * sizeof *pairs);
    for (int i = 0; i < m->n; i++)
        if (!m->entries[i].dropped) {
            pairs[map->n++] = m->entries[i].pair;
            node_add_child(map, m->entries[i].pair.value);
        }
    map->pairs = pairs;
    return map;
}

static bool is_merge_key(const struct sl_yaml *key) {
    return key->style == SL_YAML_PLAIN && strcmp(key->text, "<<") == 0;
}

/* One key and its value; `event` is the key's. */
static int compose_pair(struct composer *c, struct map_build *m, yaml_event_t *event, int depth) {
    struct sl_pos pos = pos_of(event->start_mark);
    const struct sl_yaml *key = compose(c, event, depth);
    if (!key)
        return -1;
    if (key->kind == SL_YAML_LIST || key->kind == SL_YAML_MAP) {
        sl_diag_error(c->diags, pos, "a key must be text, not a list or a map");
        return -1;
    }
    autoevent yaml_event_t value_event = {0};
    if (next_event(c, &value_event) < 0)
        return -1;
    const struct sl_yaml *value = compose(c, &value_event, depth);
    if (!value)
        return -1;
    if (key->kind == SL_YAML_BAD)
        return 0;
    if (is_merge_key(key) && !m->merge)
        m->merge = value;
    else if (is_merge_key(key))
        sl_diag_error(c->diags, pos,
                      "<< was given before in this map; use one << with a list of aliases");
    else
        map_add(m, (struct sl_yaml_pair){.key = key->text, .pos = pos, .value = value}, false);
    return 0;
}

static const struct sl_yaml *compose_map(struct composer *c, struct sl_yaml *map, int depth) {
    struct map_build m = {0};
    const struct sl_yaml *done = NULL;
    for (;;) {
        autoevent yaml_event_t event = {0};
        if (next_event(c, &event) < 0)
            break;
        if (event.type == YAML_MAPPING_END_EVENT) {
            done = map_finish(c, &m, map);
            break;
        }
        if (compose_pair(c, &m, &event, depth + 1) < 0)
            break;
    }
    free(m.entries);
    return done;
}

/* ---- Documents ------------------------------------------------------------------------------ */

static const struct sl_yaml *compose_collection(struct composer *c, yaml_event_t *event,
                                                struct sl_pos pos, int depth) {
    static const char *const list_tags[] = {"seq", NULL}, *const map_tags[] = {"map", NULL};
    bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    const yaml_char_t *tag =
        is_list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    bool good = check_tag(c, tag, is_list ? list_tags : map_tags, pos);
    struct sl_yaml *node = node_new(c->arena, is_list ? SL_YAML_LIST : SL_YAML_MAP, pos);
    const struct sl_yaml *done =
        is_list ? compose_list(c, node, depth) : compose_map(c, node, depth);
    return !done || good ? done : sl_yaml_bad(c->arena, pos);
}

/* The node that begins with `event`; NULL after a mistake that ends the reading. */
static const struct sl_yaml *compose(struct composer *c, yaml_event_t *event, int depth) {
    struct sl_pos pos = pos_of(event->start_mark);
    if (event->type == YAML_ALIAS_EVENT)
        return compose_alias(c, (const char *)event->data.alias.anchor, pos, depth);
    if (check_depth(c, depth, pos) < 0 || count_nodes(c, 1, pos) < 0)
        return NULL;
    bool is_scalar = event->type == YAML_SCALAR_EVENT;
    const yaml_char_t *name = is_scalar ? event->data.scalar.anchor
                              : event->type == YAML_SEQUENCE_START_EVENT
                                  ? event->data.sequence_start.anchor
                                  : event->data.mapping_start.anchor;
    int anchor = anchor_open(c, name, pos);
    if (anchor == -2)
        return NULL;
    const struct sl_yaml *node =
        is_scalar ? compose_scalar(c, event, pos) : compose_collection(c, event, pos, depth);
    anchor_close(c, anchor, node);
    return node;
}

/* The only document of the stream. */
static const struct sl_yaml *compose_stream(struct composer *c) {
    const struct sl_yaml *root = NULL;
    for (;;) {
        autoevent yaml_event_t event = {0};
        if (next_event(c, &event) < 0)
            return NULL;
        if (event.type == YAML_STREAM_END_EVENT)
            break;
        if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT ||
            (event.type == YAML_DOCUMENT_START_EVENT && !root))
            continue;
        if (root) {
            sl_diag_error(c->diags, pos_of(event.start_mark),
                          "a second document begins here; one is read");
            return NULL;
        }
        root = compose(c, &event, 1);
        if (!root)
            return NULL;
    }
    if (!root)
        sl_diag_error(c->diags, (struct sl_pos){0}, "the file is empty");
    return root;
}

/* Line and column (in characters) of a byte. */
static struct sl_pos pos_of_byte(const char *bytes, size_t at) {
    struct sl_pos pos = {1, 1};
    for (size_t i = 0; i < at; i++) {
        if (bytes[i] == '\n')
            pos = (struct sl_pos){pos.line + 1, 1};
        else if ((bytes[i] & 0xc0) != 0x80)
            pos.column++;
    }
    return pos;
}

/* Offset of the first control character that YAML forbids (also U+0080 to U+009F, U+FFFE, U+FFFF),
 * or `len`. */
static size_t find_control(const char *bytes, size_t len) {
    const unsigned char *b = (const unsigned char *)bytes;
    for (size_t i = 0; i < len; i++) {
        bool low = (b[i] < 0x20 && b[i] != '\t' && b[i] != '\n' && b[i] != '\r') || b[i] == 0x7f;
        bool c1 = b[i] == 0xc2 && i + 1 < len && b[i + 1] < 0xa0 && b[i + 1] != 0x85;
        bool none = b[i] == 0xef && i + 2 < len && b[i + 1] == 0xbf && b[i + 2] >= 0xbe;
        if (low || c1 || none)
            return i;
    }
    return len;
}

static bool check_bytes(const char *bytes, size_t len, struct sl_diags *diags) {
    size_t at = sl_utf8_valid(bytes, len), control = find_control(bytes, at);
    if (len >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0))
        sl_diag_error(diags, (struct sl_pos){1, 1}, "the file is UTF-16; save it as UTF-8");
    else if (control < at)
        sl_diag_error(diags, pos_of_byte(bytes, control),
                      "control character 0x%02X: only text is allowed here",
                      (unsigned char)bytes[control] == 0xc2 ? (unsigned char)bytes[control + 1]
                                                            : (unsigned char)bytes[control]);
    else if (at < len)
        sl_diag_error(diags, pos_of_byte(bytes, at),
                      "byte 0x%02X is not UTF-8; save the file as UTF-8", (unsigned char)bytes[at]);
    else
        return true;
    return false;
}

const struct sl_yaml *sl_yaml_parse(const char *bytes, size_t len, struct sl_arena *arena,
                                    struct sl_diags *diags) {
    if (len > SL_YAML_MAX_BYTES) {
        sl_diag_error(diags, (struct sl_pos){0}, "larger than the limit of %u MiB",
                      SL_YAML_MAX_BYTES >> 20);
        return NULL;
    }
    if (len >= 3 &&
        memcmp(bytes, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark says nothing about UTF-8 */
        bytes += 3;
        len -= 3;
    }
    if (!check_bytes(bytes, len, diags))
        return NULL;
    sl_autofree struct composer *c = sl_xcalloc(1, sizeof *c);
    c->arena = arena;
    c->diags = diags;
    c->bytes = bytes;
    c->len = len;
    if (!yaml_parser_initialize(&c->parser)) {
        sl_diag_error(diags, (struct sl_pos){0}, "cannot be read: out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&c->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&c->parser, (const unsigned char *)bytes, len);
    const struct sl_yaml *root = compose_stream(c);
    yaml_parser_delete(&c->parser);
    return root;
}

/* Why `path` cannot be a pipeline file, or NULL; looks before anything is read. */
static const char *refuse_file(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? "there is no such file" : strerror(errno);
    if (S_ISDIR(st.st_mode))
        return "is a folder, not a file";
    if (!S_ISREG(st.st_mode))
        return "is not a regular file";
    return st.st_size > SL_YAML_MAX_BYTES ? "larger than the limit of 8 MiB" : NULL;
}

const struct sl_yaml *sl_yaml_load(const char *path, struct sl_arena *arena,
                                   struct sl_diags *diags) {
    sl_autofree char *bytes = NULL;
    size_t len;
    struct sl_err err;
    const char *why = refuse_file(path);
    if (!why && sl_read_file(path, SL_YAML_MAX_BYTES, &bytes, &len, &err) < 0)
        why = err.sys_errno ? strerror(err.sys_errno) : err.msg;
    if (why) {
        sl_diag_error(diags, (struct sl_pos){0}, "%s", why);
        return NULL;
    }
    return sl_yaml_parse(bytes, len, arena, diags);
}
