/*
 * The cards, see gpu.h: the answer as data, and the helper that asks the driver. What the helper
 * says is checked like anything from outside: a driver may be of any age.
 */
#include "proc/gpu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "ipc/channel.h"
#include "proc/spawn.h"

#define MAX_ANSWER    (512u << 10)
#define REAP_LIMIT_MS 200
#define REAP_PAUSE_MS 2

/* ---- An answer ------------------------------------------------------------------------------- */

static uint64_t bytes_of(const json_t *o, const char *key) {
    json_int_t n = json_integer_value(json_object_get(o, key));
    return n > 0 ? (uint64_t)n : 0;
}

static void copy_text(const json_t *o, const char *key, char *ret, size_t size) {
    const char *text = sl_json_str(o, key, "");
    size_t len = strlen(text) < size ? strlen(text) : size - 1;
    memcpy(ret, text, len);
    ret[len] = 0;
    sl_make_printable(ret);
}

static void read_processes(const json_t *list, struct sl_gpu *g) {
    size_t n =
        json_array_size(list) < SL_GPU_MAX_PROCESSES ? json_array_size(list) : SL_GPU_MAX_PROCESSES;
    g->processes = sl_xcalloc(n + 1, sizeof *g->processes);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        json_int_t pid = json_integer_value(json_array_get(one, 0)),
                   used = json_integer_value(json_array_get(one, 1));
        if (pid > 0 && pid <= INT32_MAX && used >= 0)
            g->processes[g->n_processes++] = (struct sl_gpu_process){(pid_t)pid, (uint64_t)used};
    }
}

static char *unusable(const json_t *o, const struct sl_gpu *g) {
    const char *error = sl_json_str(o, "error", NULL);
    if (error)
        return sl_make_printable(sl_xstrdup(error));
    if (g->divided)
        return sl_xstrdup("it is divided into MIG instances, which are not supported");
    if (!*g->uuid || g->capacity == 0)
        return sl_xstrdup("the driver does not say which it is, or how much memory it has");
    return NULL;
}

static void read_card(const json_t *o, struct sl_gpu *g) {
    uint64_t total = bytes_of(o, "total"), reserved = bytes_of(o, "reserved");
    *g = (struct sl_gpu){.index = (int)(bytes_of(o, "index") & 0xffff),
                         .free = bytes_of(o, "free"),
                         .capacity = total > reserved ? total - reserved : 0,
                         .capability = (int)(bytes_of(o, "capability") & 0xffff),
                         .persistent = json_is_true(json_object_get(o, "persistence")),
                         .divided = json_is_true(json_object_get(o, "divided"))};
    if (g->free > g->capacity)
        g->free = g->capacity;
    copy_text(o, "uuid", g->uuid, sizeof g->uuid);
    copy_text(o, "name", g->name, sizeof g->name);
    read_processes(json_object_get(o, "processes"), g);
    g->error = unusable(o, g);
}

int sl_gpus_parse(const char *text, size_t len, struct sl_gpus *ret, struct sl_err *err) {
    sl_autojson json_t *root = NULL;
    *ret = (struct sl_gpus){0};
    int rc = sl_json_parse(text, len, &root, err);
    if (rc < 0)
        return sl_err_wrap(err, "the answer about the cards");
    const char *error = sl_json_str(root, "error", NULL);
    const json_t *cards = json_object_get(root, "cards");
    if (!error && !json_is_array(cards))
        return sl_err_set(err, SLUICE_INTERNAL, "the answer about the cards names none");
    if (error) {
        ret->error = sl_make_printable(sl_xstrdup(error));
        return 0;
    }
    copy_text(root, "driver", ret->driver, sizeof ret->driver);
    ret->cuda = (int)(bytes_of(root, "cuda") & 0xfffff);
    size_t n =
        json_array_size(cards) < SL_GPU_MAX_CARDS ? json_array_size(cards) : SL_GPU_MAX_CARDS;
    ret->cards = sl_xcalloc(n + 1, sizeof *ret->cards);
    for (size_t i = 0; i < n; i++)
        read_card(json_array_get(cards, i), &ret->cards[ret->n++]);
    return 0;
}

static void card_finish(struct sl_gpu *g) {
    free(g->error);
    free(g->processes);
}

void sl_gpus_finish(struct sl_gpus *g) {
    for (int i = 0; i < g->n; i++)
        card_finish(&g->cards[i]);
    free(g->cards);
    free(g->error);
    *g = (struct sl_gpus){0};
}

/* ---- CUDA_VISIBLE_DEVICES -------------------------------------------------------------------- */

static bool is_named(const struct sl_gpu *g, const char *word, size_t len) {
    char digits[16];
    snprintf(digits, sizeof digits, "%d", g->index);
    if (strlen(digits) == len && strncmp(word, digits, len) == 0)
        return true;
    return len > 4 && strncmp(word, "GPU-", 4) == 0 && strncmp(word, g->uuid, len) == 0;
}

static int find_named(const struct sl_gpus *g, const char *word, size_t len) {
    for (int i = 0; i < g->n; i++)
        if (is_named(&g->cards[i], word, len))
            return i;
    return -1;
}

/* Moves card `from` to place `to`, before those between. */
static void move_card(struct sl_gpus *g, int from, int to) {
    struct sl_gpu card = g->cards[from];
    memmove(&g->cards[to + 1], &g->cards[to], (size_t)(from - to) * sizeof card);
    g->cards[to] = card;
}

void sl_gpus_restrict(struct sl_gpus *g, const char *visible) {
    int n = 0;
    if (!visible || g->error)
        return;
    bool parts = sl_starts_with(visible, "MIG-");
    while (!parts && *visible) {
        size_t len = strcspn(visible, ",");
        int at = find_named(g, visible, len);
        if (at < n) /* none, or twice */
            break;
        move_card(g, at, n++);
        visible += len + (visible[len] == ',');
    }
    for (int i = n; i < g->n; i++)
        card_finish(&g->cards[i]);
    g->n = n;
    if (n == 0)
        g->error =
            sl_xstrdup(parts ? "CUDA_VISIBLE_DEVICES names MIG instances, which are not supported"
                             : "CUDA_VISIBLE_DEVICES names no card of this machine");
}

/* ---- The helper ------------------------------------------------------------------------------ */

int sl_gpu_helper_start(const char *worker_program, struct sl_gpu_helper *ret, struct sl_err *err) {
    const char *const argv[] = {worker_program, "--gpu", "3", NULL};
    sl_autoclose int ours = -1, theirs = -1, log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int size = MAX_ANSWER;
    *ret = (struct sl_gpu_helper){.pid = -1, .pidfd = -1, .socket = -1};
    int rc = sl_channel_pair(&ours, &theirs, err);
    if (rc < 0)
        return rc;
    setsockopt(theirs, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    struct sl_spawn spec = {.program = worker_program,
                            .argv = argv,
                            .log_fd = log_fd,
                            .channel_fd = theirs,
                            .stdin_fd = -1,
                            .containment = SL_CONTAIN_KEEPER}; /* no init of ours */
    rc = sl_spawn_start(&spec, &ret->pid, &ret->pidfd, err);
    if (rc == 0)
        ret->socket = sl_steal_fd(&ours);
    return rc;
}

void sl_gpu_helper_stop(struct sl_gpu_helper *h) {
    sl_close(&h->socket);
    if (h->pidfd < 0)
        return;
    syscall(SYS_pidfd_send_signal, h->pidfd, SIGKILL, NULL, 0);
    for (int waited = 0; waited < REAP_LIMIT_MS; waited += REAP_PAUSE_MS) {
        pid_t got = waitpid(h->pid, NULL, WNOHANG);
        if (got == h->pid || (got < 0 && errno != EINTR))
            break;
        usleep(REAP_PAUSE_MS * 1000);
    }
    sl_close(&h->pidfd);
    h->pid = -1;
}

static int request(const struct sl_gpu_helper *h, const char *what, struct sl_err *err) {
    if (h->socket >= 0 && send(h->socket, what, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
        return 0;
    return sl_err_set(err, SL_CRASH, "the helper that asks the NVIDIA driver is gone");
}

/* 1: *ret is the answer, owned; 0: none yet. */
static int receive(const struct sl_gpu_helper *h, char **ret, size_t *ret_len, struct sl_err *err) {
    sl_autofree char *buf = sl_xmalloc(MAX_ANSWER);
    ssize_t n = h->socket < 0 ? 0 : recv(h->socket, buf, MAX_ANSWER, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return sl_err_set(err, SL_CRASH, "the helper that asks the NVIDIA driver has crashed");
    *ret = sl_steal(&buf);
    *ret_len = (size_t)n;
    return 1;
}

static int wait_for(const struct sl_gpu_helper *h, int limit_ms, char **ret, size_t *ret_len,
                    struct sl_err *err) {
    int64_t limit = sl_now_ms() + limit_ms;
    for (;;) {
        struct pollfd p = {h->socket, POLLIN, 0};
        int64_t left = limit - sl_now_ms();
        if (left <= 0)
            return sl_err_set(err, SL_TIMEOUT, "the NVIDIA driver does not answer within %d s",
                              limit_ms / 1000);
        poll(&p, 1, (int)left);
        int rc = receive(h, ret, ret_len, err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
}

static int read_answer(const char *text, size_t len, struct sl_gpus *ret, struct sl_err *err) {
    int rc = sl_gpus_parse(text, len, ret, err);
    if (rc == 0)
        sl_gpus_restrict(ret, getenv("CUDA_VISIBLE_DEVICES"));
    return rc;
}

int sl_gpu_helper_ask(const struct sl_gpu_helper *h, struct sl_err *err) {
    return request(h, "?", err);
}

int sl_gpu_helper_receive(const struct sl_gpu_helper *h, struct sl_gpus *ret, struct sl_err *err) {
    sl_autofree char *text = NULL;
    size_t len;
    int rc = receive(h, &text, &len, err);
    if (rc != 1)
        return rc;
    rc = read_answer(text, len, ret, err);
    return rc < 0 ? rc : 1;
}

int sl_gpu_helper_query(const struct sl_gpu_helper *h, int limit_ms, struct sl_gpus *ret,
                        struct sl_err *err) {
    sl_autofree char *text = NULL;
    size_t len;
    int rc = request(h, "?", err);
    if (rc == 0)
        rc = wait_for(h, limit_ms, &text, &len, err);
    return rc < 0 ? rc : read_answer(text, len, ret, err);
}

void sl_gpus_look(const char *worker_program, struct sl_gpus *ret) {
    struct sl_gpu_helper h;
    struct sl_err err = {0};
    *ret = (struct sl_gpus){0};
    int rc = sl_gpu_helper_start(worker_program, &h, &err);
    if (rc == 0)
        rc = sl_gpu_helper_query(&h, SL_GPU_FIRST_LIMIT_MS, ret, &err);
    sl_gpu_helper_stop(&h);
    if (rc < 0)
        ret->error = sl_xstrdup(err.msg);
}

int sl_gpu_libraries(const char *worker_program, json_t **ret, struct sl_err *err) {
    struct sl_gpu_helper h;
    sl_autofree char *text = NULL;
    size_t len;
    int rc = sl_gpu_helper_start(worker_program, &h, err);
    if (rc == 0)
        rc = request(&h, "l", err);
    if (rc == 0)
        rc = wait_for(&h, SL_GPU_FIRST_LIMIT_MS, &text, &len, err);
    sl_gpu_helper_stop(&h);
    return rc < 0 ? rc : sl_json_parse(text, len, ret, err);
}
