/*
 * Parsers of /proc and cgroup text, see proctext.h. All work on a span that need not end in NUL:
 * lines are cut out first, then words, then numbers. Formats: proc(5), and "Control Group v2" of
 * the kernel's documentation.
 */
#include "proc/proctext.h"

#include <string.h>

struct span {
    const char *at, *end;
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n';
}

/* Cuts the next line off; false at the end. */
static bool next_line(struct span *rest, struct span *ret) {
    if (rest->at == rest->end)
        return false;
    const char *nl = memchr(rest->at, '\n', (size_t)(rest->end - rest->at));
    *ret = (struct span){rest->at, nl ? nl : rest->end};
    rest->at = nl ? nl + 1 : rest->end;
    return true;
}

/* Cuts the next word off; empty at the end. */
static struct span next_word(struct span *rest) {
    while (rest->at < rest->end && is_blank(*rest->at))
        rest->at++;
    struct span word = {rest->at, rest->at};
    while (rest->at < rest->end && !is_blank(*rest->at))
        rest->at++;
    word.end = rest->at;
    return word;
}

static bool word_is(struct span word, const char *text) {
    size_t len = strlen(text);
    return (size_t)(word.end - word.at) == len && memcmp(word.at, text, len) == 0;
}

/* The whole word as an unsigned number. */
static bool word_number(struct span word, uint64_t *ret) {
    uint64_t value = 0;
    if (word.at == word.end)
        return false;
    for (; word.at < word.end; word.at++) {
        if (*word.at < '0' || *word.at > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*word.at - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool sl_proc_stat_parse(const char *text, size_t len, struct sl_proc_stat *ret) {
    struct span rest = {text, text + len};
    const char *name_end = len ? memrchr(text, ')', len) : NULL;
    if (!name_end)
        return false;
    rest.at = name_end + 1;
    struct span state = next_word(&rest);
    uint64_t field[15] = {0}; /* by the numbers of proc(5), less 3: [1] is ppid */
    for (int i = 1; i < 15; i++) {
        struct span word = next_word(&rest);
        if (i == 5) /* tpgid, which may be -1 */
            continue;
        if (!word_number(word, &field[i]))
            return false;
    }
    if (state.end - state.at != 1 || field[1] > INT32_MAX)
        return false;
    *ret = (struct sl_proc_stat){.state = *state.at, .parent = (pid_t)field[1]};
    for (int i = 11; i <= 14; i++) /* utime, stime, cutime, cstime */
        if (__builtin_add_overflow(ret->ticks, field[i], &ret->ticks))
            return false;
    return true;
}

bool sl_proc_key(const char *text, size_t len, const char *key, uint64_t *ret) {
    struct span rest = {text, text + len}, line;
    while (next_line(&rest, &line)) {
        uint64_t value;
        if (!word_is(next_word(&line), key))
            continue;
        if (!word_number(next_word(&line), &value))
            return false;
        bool kib = word_is(next_word(&line), "kB");
        return !__builtin_mul_overflow(value, kib ? 1024u : 1u, ret);
    }
    return false;
}

int sl_proc_pids(const char *text, size_t len, pid_t *ret, int max) {
    struct span rest = {text, text + len};
    int n = 0;
    while (n < max) {
        uint64_t pid;
        struct span word = next_word(&rest);
        if (word.at == word.end)
            break;
        if (word_number(word, &pid) && pid > 0 && pid <= INT32_MAX)
            ret[n++] = (pid_t)pid;
    }
    return n;
}

bool sl_proc_has_word(const char *text, size_t len, const char *word) {
    struct span rest = {text, text + len};
    for (;;) {
        struct span one = next_word(&rest);
        if (one.at == one.end)
            return false;
        if (word_is(one, word))
            return true;
    }
}

static bool copy(struct span s, char *ret, size_t size) {
    size_t len = (size_t)(s.end - s.at);
    if (len == 0 || len >= size || memchr(s.at, 0, len))
        return false;
    memcpy(ret, s.at, len);
    ret[len] = 0;
    return true;
}

bool sl_proc_cgroup_path(const char *text, size_t len, char *ret, size_t size) {
    struct span rest = {text, text + len}, line;
    while (next_line(&rest, &line))
        if (line.end - line.at > 3 && memcmp(line.at, "0::", 3) == 0)
            return copy((struct span){line.at + 3, line.end}, ret, size);
    return false;
}

/* Undoes the kernel's \040 for a blank, in place. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from; to++) {
        bool octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
                     from[2] <= '7' && from[3] >= '0' && from[3] <= '7';
        *to = octal ? (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0')) : *from;
        from += octal ? 4 : 1;
    }
    *to = 0;
}

/* "36 35 98:0 /root /point options [fields] - type source options" */
static bool cgroup2_line(struct span line, struct span *ret_root, struct span *ret_point) {
    for (int i = 0; i < 3; i++)
        next_word(&line);
    *ret_root = next_word(&line);
    *ret_point = next_word(&line);
    struct span word;
    do
        word = next_word(&line);
    while (word.at < word.end && !word_is(word, "-"));
    return word_is(next_word(&line), "cgroup2");
}

bool sl_proc_cgroup_mount(const char *text, size_t len, char *ret_root, char *ret_point,
                          size_t size) {
    struct span rest = {text, text + len}, line, root, point;
    while (next_line(&rest, &line)) {
        if (!cgroup2_line(line, &root, &point))
            continue;
        if (!copy(root, ret_root, size) || !copy(point, ret_point, size))
            return false;
        unescape(ret_root);
        unescape(ret_point);
        return true;
    }
    return false;
}
