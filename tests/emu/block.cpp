/*
 * Runs the blocks of a grid, one after the other, and the threads of a block as fibers.
 *
 * Each warp keeps its lanes in bit sets: not started, runnable, waiting, ended. A thread that has
 * to wait picks the next one itself (most often a lane of its own warp) and switches to it
 * directly. A thread that ends on a stack goes on with the next that has not started, so a kernel
 * without barriers needs one stack. With a seed, the order of blocks, warps and lanes is random and
 * changes at every wait; with seed 0 it is ascending.
 *
 * With a seed, a block may also stand still behind an atomic operation while others run to their
 * end (one at a time, with stacks of their own; shared memory is put aside): what a block tells
 * others by counting has to be there when it counts.
 *
 * Found here: a barrier that some threads reach and others do not (they ended, or wait elsewhere),
 * one that threads reach in different lines, and masks that disagree.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fiber.h"
#include "internal.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

struct thread : emu_lane {
    struct emu_fiber fiber;
    char *stack;           /* NULL where it has not started */
    struct emu_site *site; /* what it waits for */
    emu_complete *complete;
    void *args;
    unsigned mask;
    int barrier; /* the number of the barrier, or -1 */
    void *tsan;
};

struct warp {
    uint32_t lanes;   /* which exist */
    uint32_t fresh;   /* not started */
    uint32_t ready;   /* started and able to go on */
    uint32_t meeting; /* at an operation of the warp */
    uint32_t stopped; /* at a barrier of the block */
    uint32_t ended;
};

struct barrier {
    unsigned n_arrived, n_threads;
    struct emu_site *site;
    uint32_t waiting[EMU_BLOCK_THREADS / EMU_WARP];
    char clock;
};

struct machine {
    const struct emu_grid *grid;
    struct thread threads[EMU_BLOCK_THREADS];
    struct warp warps[EMU_BLOCK_THREADS / EMU_WARP];
    struct barrier barriers[EMU_BARRIERS];
    unsigned n_threads, n_warps, n_ended, warp;
    int n_votes[2], votes_turn;
    char *stacks, *free_stacks[EMU_BLOCK_THREADS];
    unsigned n_free;
    struct emu_fiber host;
    void *host_tsan, *clock;
    uint64_t random;
    /* all blocks, of any stream, use the same shared memory one after the other */
    char shared_clock;
    char fence_clock, warp_clocks[EMU_BLOCK_THREADS / EMU_WARP];
    char *shared, *shared_end;
    struct emu_site *places; /* those known by file and line only */
    const char *drop, *sites_path;
    char *other_stacks; /* of a block that runs while one stands still */
};

/* The blocks of the grid that are still to start. */
struct queue {
    uint64_t n_blocks, n_started, first;
    bool down;
    unsigned n_overtaken; /* times that one stood still */
};
enum { MAX_OVERTAKEN = 2 };

static struct machine m;
static struct queue blocks;
struct emu_lane *emu_self;
uint3 emu_block_idx;
dim3 emu_block_dim, emu_grid_dim;

extern "C" {
extern char __start_emu_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_emu_shared[] __attribute__((weak, visibility("hidden")));
}

/* ---- what is said ---- */

bool emu_in_kernel(void) {
    return emu_self != nullptr;
}

void emu_describe_running(char *text, size_t size) {
    text[0] = '\0';
    if (emu_self)
        snprintf(text, size, "block (%u,%u,%u), thread (%u,%u,%u)", blockIdx.x, blockIdx.y,
                 blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
}

void emu_die(const char *format, ...) {
    char where[160];
    emu_describe_running(where, sizeof where);
    fprintf(stderr, "emulated card: ");
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "%s%s\n", where[0] ? ", " : "", where);
    abort();
}

/* ---- chance ---- */

void emu_seed_random(uint64_t seed) {
    m.random = seed ? seed * 0x9e3779b97f4a7c15u | 1 : 0;
}

uint32_t emu_random(void) {
    if (m.random == 0)
        return 0;
    m.random ^= m.random << 13; /* Marsaglia's xorshift64 */
    m.random ^= m.random >> 7;
    m.random ^= m.random << 17;
    return (uint32_t)(m.random >> 32);
}

/* One of the bits that are set. */
static unsigned pick_bit(uint32_t set, unsigned by) {
    uint32_t turned = by ? set >> by | set << (32 - by) : set;
    return ((unsigned)__builtin_ctz(turned) + by) & 31;
}

/* ---- places ---- */

static void site_write(const struct emu_site *site) {
    FILE *f = m.sites_path ? fopen(m.sites_path, "a") : NULL;
    if (!f)
        return;
    fprintf(f, "%s:%d %s\n", site->file, site->line, site->kind);
    fclose(f);
}

/* Whether the barrier at this place is left out. `norm.cu:45` names it, with any folder before
 * it. */
static bool site_dropped(struct emu_site *site) {
    if (site->state)
        return site->state == 2;
    char name[512];
    snprintf(name, sizeof name, "%s:%d", site->file, site->line);
    size_t length = strlen(name), wanted = m.drop ? strlen(m.drop) : 0;
    bool tail = wanted && wanted <= length && strcmp(name + length - wanted, m.drop) == 0;
    site->state = tail ? 2 : 1;
    site_write(site);
    return tail;
}

bool emu_place_dropped(const char *file, int line, const char *kind) {
    struct emu_site **at = &m.places;
    while (*at && ((*at)->line != line || strcmp((*at)->file, file) != 0))
        at = &(*at)->next;
    if (!*at)
        *at = new emu_site{file, line, kind, 0, nullptr};
    return site_dropped(*at);
}

/* ---- who runs ---- */

static struct thread *self(void) {
    return static_cast<struct thread *>(emu_self);
}

static uint32_t runnable(const struct warp *w) {
    return w->fresh | w->ready;
}

[[noreturn]] static void stuck(void) {
    unsigned n_waiting = 0;
    struct thread *example = NULL;
    for (unsigned i = 0; i < m.n_threads; i++) {
        struct warp *w = &m.warps[i / EMU_WARP];
        if ((w->meeting | w->stopped) >> (i % EMU_WARP) & 1) {
            n_waiting++;
            example = &m.threads[i];
        }
    }
    emu_self = example;
    emu_die(
        "%u of %u threads wait for ever and %u have ended; one waits at %s in %s:%d with mask %08x",
        n_waiting, m.n_threads, m.n_ended, example->site->kind, example->site->file,
        example->site->line, example->mask);
}

/* The next thread to run, or NULL where all have ended. `stay`: rather in the same warp. */
static struct thread *pick(bool stay) {
    unsigned at = m.warp;
    uint32_t random = emu_random();
    if (!stay || !runnable(&m.warps[at]) || (random >> 5 & 7) == 1) {
        unsigned start = m.random ? (random >> 8) % m.n_warps : at, n = 0;
        for (at = start; n < m.n_warps && !runnable(&m.warps[at]); n++)
            at = at + 1 == m.n_warps ? 0 : at + 1;
        if (n == m.n_warps) {
            if (m.n_ended == m.n_threads)
                return NULL;
            stuck();
        }
    }
    m.warp = at;
    return &m.threads[at * EMU_WARP + pick_bit(runnable(&m.warps[at]), random & 31)];
}

static void thread_main(void);

/* Leaves the running thread, whose state is set, for another one. */
static void go_on(struct thread *from, struct thread *to) {
    if (to == from)
        return;
    struct warp *w = &m.warps[to->warp];
    uint32_t bit = 1u << to->lane;
    if (w->fresh & bit) {
        w->fresh &= ~bit;
        w->ready |= bit;
        to->stack = m.free_stacks[--m.n_free];
#ifdef EMU_TSAN
        to->stack = m.stacks + (to - m.threads) * (size_t)EMU_STACK_BYTES;
#endif
        emu_fiber_prepare(&to->fiber, to->stack, thread_main);
    }
    emu_self = to;
    EMU_BECOME(to->tsan);
    emu_fiber_switch(from ? &from->fiber : &m.host, &to->fiber);
}

static void thread_run(struct thread *t) {
    EMU_ACQUIRE(m.clock);
    m.grid->run();
    if (t->n_copies)
        emu_die("a thread ends while a cp.async of its own is under way");
    EMU_RELEASE(m.clock);
    EMU_RELEASE(&m.shared_clock);
    struct warp *w = &m.warps[t->warp];
    w->ready &= ~(1u << t->lane);
    w->ended |= 1u << t->lane;
    m.n_ended++;
}

/* Runs the thread that emu_self names, then, on the same stack, others that have not started. */
static void thread_main(void) {
    for (;;) {
        struct thread *t = self();
        thread_run(t);
        struct thread *next = pick(true);
        m.free_stacks[m.n_free++] = t->stack;
        if (!next) {
            emu_self = NULL;
            EMU_BECOME(m.host_tsan);
            emu_fiber_switch(&t->fiber, &m.host);
        }
#ifndef EMU_TSAN
        struct warp *w = &m.warps[next->warp];
        if (w->fresh >> next->lane & 1) {
            w->fresh &= ~(1u << next->lane);
            w->ready |= 1u << next->lane;
            next->stack = m.free_stacks[--m.n_free];
            emu_self = next;
            continue;
        }
#endif
        go_on(t, next);
    }
}

void emu_pause(void) {
    go_on(self(), pick(false));
}

void emu_fence(void) {
    EMU_RELEASE(&m.fence_clock);
    EMU_ACQUIRE(&m.fence_clock);
}

unsigned emu_active_mask(void) {
    const struct warp *w = &m.warps[emu_self->warp];
    return w->lanes & ~w->ended;
}

void *emu_dynamic_shared(void) {
    return m.shared;
}

void emu_check_shared(const void *p, size_t size, const char *what) {
    const char *at = (const char *)p;
    bool dynamic = at >= m.shared && at + size <= m.shared_end;
    bool fixed = __start_emu_shared && at >= __start_emu_shared && at + size <= __stop_emu_shared;
    if (!(dynamic || fixed) || (uintptr_t)p % size)
        emu_die("%s: %p is not in shared memory, or no multiple of %zu", what, p, size);
}

/* ---- waiting for each other ---- */

static void barrier_open(struct barrier *b) {
    for (unsigned i = 0; i < m.n_warps; i++) {
        m.warps[i].stopped &= ~b->waiting[i];
        m.warps[i].ready |= b->waiting[i];
        b->waiting[i] = 0;
    }
    b->n_arrived = 0;
}

void emu_barrier(struct emu_site *site, int id, unsigned n_threads) {
    if (site_dropped(site))
        return;
    struct thread *t = self();
    struct barrier *b = &m.barriers[id];
    if (n_threads == 0)
        n_threads = m.n_threads;
    if (b->n_arrived == 0) {
        b->site = site;
        b->n_threads = n_threads;
    }
    if (b->site->line != site->line || b->n_threads != n_threads)
        emu_die("threads of a block meet at different barriers: %s:%d and %s:%d", b->site->file,
                b->site->line, site->file, site->line);
    EMU_RELEASE(&b->clock);
    t->site = site;
    t->mask = 0;
    uint32_t bit = 1u << t->lane;
    b->waiting[t->warp] |= bit;
    m.warps[t->warp].ready &= ~bit;
    m.warps[t->warp].stopped |= bit;
    if (++b->n_arrived == n_threads)
        barrier_open(b);
    go_on(t, pick(true));
    EMU_ACQUIRE(&b->clock);
}

int emu_barrier_count(struct emu_site *site, bool vote) {
    /* Two turns: a thread may count for the next barrier before another has read this one's sum. */
    int turn = m.votes_turn;
    if (m.barriers[0].n_arrived == 0)
        m.n_votes[turn] = 0;
    m.n_votes[turn] += vote;
    if (m.barriers[0].n_arrived + 1 == m.n_threads)
        m.votes_turn = !turn;
    emu_barrier(site, 0, 0);
    return m.n_votes[turn];
}

static void meet(struct warp *w, struct thread *last, unsigned mask) {
    void *args[EMU_WARP];
    for (unsigned rest = mask; rest; rest &= rest - 1) {
        struct thread *t = &m.threads[last->warp * EMU_WARP + (unsigned)__builtin_ctz(rest)];
        if (t->mask != mask || t->complete != last->complete || t->site->line != last->site->line)
            emu_die("lanes of a warp meet at different operations: %s in %s:%d, mask %08x, and %s "
                    "in %s:%d, "
                    "mask %08x",
                    last->site->kind, last->site->file, last->site->line, mask, t->site->kind,
                    t->site->file, t->site->line, t->mask);
        args[t->lane] = t->args;
    }
    w->meeting &= ~mask;
    w->ready |= mask;
    if (!last->complete)
        return;
#ifdef EMU_TSAN
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
    last->complete(args, mask);
#ifdef EMU_TSAN
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

void emu_together(struct emu_site *site, unsigned mask, emu_complete *complete, void *args,
                  bool order) {
    if (order && site_dropped(site))
        return;
    struct thread *t = self();
    struct warp *w = &m.warps[t->warp];
    uint32_t bit = 1u << t->lane;
    t->site = site;
    t->mask = mask;
    t->complete = complete;
    t->args = args;
    if (!(mask & bit))
        emu_die("%s in %s:%d: lane %u is not in its own mask %08x", site->kind, site->file,
                site->line, t->lane, mask);
    mask &= w->lanes; /* the lanes of a last, smaller warp */
    t->mask = mask;
    if (mask & w->ended)
        emu_die("%s in %s:%d waits for lanes that have ended (mask %08x, ended %08x)", site->kind,
                site->file, site->line, mask, w->ended);
    if (order)
        EMU_RELEASE(&m.warp_clocks[t->warp]);
    w->ready &= ~bit;
    w->meeting |= bit;
    if ((mask & ~w->meeting) == 0)
        meet(w, t, mask);
    go_on(t, pick(true));
    if (order)
        EMU_ACQUIRE(&m.warp_clocks[t->warp]);
}

/* ---- a block, a grid ---- */

static void poison_shared(size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    m.shared = m.shared_end - ((bytes + 127) & ~(size_t)127);
#if defined(__SANITIZE_ADDRESS__)
    char *start = m.shared_end - 256 * 1024;
    ASAN_POISON_MEMORY_REGION(start, (size_t)(m.shared - start));
    ASAN_UNPOISON_MEMORY_REGION(m.shared, (size_t)(m.shared_end - m.shared));
#endif
    memset(m.shared, 0xff, (size_t)(m.shared_end - m.shared));
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(m.shared + bytes, (size_t)(m.shared_end - m.shared) - bytes);
#endif
    /* Static arrays with the red zones between them, which hold nothing. */
    for (char *p = __start_emu_shared; p && p < __stop_emu_shared; p++)
        *(volatile char *)p = (char)0xff;
}

static void block_prepare(unsigned n_threads) {
    m.n_threads = n_threads;
    m.n_warps = (n_threads + EMU_WARP - 1) / EMU_WARP;
    m.n_ended = 0;
    m.warp = m.random ? emu_random() % m.n_warps : 0;
    memset(m.warps, 0, sizeof m.warps);
    memset(m.barriers, 0, sizeof m.barriers);
    for (unsigned i = 0; i < n_threads; i++) {
        struct thread *t = &m.threads[i];
        unsigned width = emu_block_dim.x, height = emu_block_dim.y;
        t->thread_idx = {i % width, i / width % height, i / width / height};
        t->lane = i % EMU_WARP;
        t->warp = i / EMU_WARP;
        t->n_copies = t->n_groups = 0;
        m.warps[t->warp].lanes |= 1u << t->lane;
    }
    for (unsigned i = 0; i < m.n_warps; i++)
        m.warps[i].fresh = m.warps[i].lanes;
}

static char *map_guarded(size_t bytes) {
    char *p = (char *)mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p + bytes, 4096, PROT_NONE) != 0) {
        perror("emulated card: mmap");
        abort();
    }
    return p;
}

static char *map_stacks(void) {
    char *stacks = map_guarded((size_t)EMU_STACK_BYTES * EMU_BLOCK_THREADS);
    for (int i = 0; i < EMU_BLOCK_THREADS; i++)
        mprotect(stacks + (size_t)i * EMU_STACK_BYTES, 4096, PROT_NONE);
    return stacks;
}

static void machine_start(void) {
    if (m.stacks)
        return;
    m.stacks = map_stacks();
    m.other_stacks = map_stacks();
    m.shared_end = map_guarded(256 * 1024) + 256 * 1024;
    m.drop = getenv("SLUICE_EMU_DROP");
    m.sites_path = getenv("SLUICE_EMU_SITES");
}

bool emu_is_stack_guard(const void *at) {
    size_t offset = (size_t)((const char *)at - m.stacks);
    return m.stacks && offset < (size_t)EMU_STACK_BYTES * EMU_BLOCK_THREADS &&
           offset % EMU_STACK_BYTES < 4096;
}

static void block_run(unsigned n_threads, size_t shared_bytes) {
    block_prepare(n_threads);
    EMU_ACQUIRE(m.clock);
    EMU_ACQUIRE(&m.shared_clock);
    poison_shared(shared_bytes);
    EMU_RELEASE(m.clock);
    m.n_free = 0;
    for (unsigned i = n_threads; i-- > 0;)
        m.free_stacks[m.n_free++] = m.stacks + (size_t)i * EMU_STACK_BYTES;
#ifdef EMU_TSAN
    m.host_tsan = __tsan_get_current_fiber();
    for (unsigned i = 0; i < n_threads; i++)
        if (!m.threads[i].tsan)
            m.threads[i].tsan = __tsan_create_fiber(0);
#endif
    go_on(NULL, pick(true));
    for (int i = 0; i < EMU_BARRIERS; i++)
        if (m.barriers[i].n_arrived)
            emu_die("a block ends while threads wait at a barrier");
}

static void next_block_run(void) {
    const dim3 grid = m.grid->grid, block = m.grid->block;
    const uint64_t n = blocks.n_blocks, i = blocks.n_started++;
    const uint64_t at = (blocks.down ? n - 1 - i + blocks.first : i + blocks.first) % n;
    emu_block_idx = {(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y),
                     (unsigned)(at / grid.x / grid.y)};
    block_run(block.x * block.y * block.z, m.grid->shared_bytes);
}

void emu_run_grid(const struct emu_grid *grid, void *clock) {
    machine_start();
    m.grid = grid;
    m.clock = clock;
    emu_block_dim = grid->block;
    emu_grid_dim = grid->grid;
    blocks = {(uint64_t)grid->grid.x * grid->grid.y * grid->grid.z, 0, 0, false, 0};
    blocks.first = m.random ? emu_random() % blocks.n_blocks : 0;
    blocks.down = emu_random() & 1;
    while (blocks.n_started < blocks.n_blocks)
        next_block_run();
}

/* Shared memory of the block, static arrays first, from or to `kept`. */
static void shared_copy(std::vector<char> *kept, bool back) {
    const size_t fixed = __start_emu_shared ? (size_t)(__stop_emu_shared - __start_emu_shared) : 0;
    const size_t dynamic = (size_t)(m.shared_end - m.shared);
    kept->resize(fixed + dynamic);
    if (back && fixed)
        memcpy(__start_emu_shared, kept->data(), fixed);
    else if (fixed)
        memcpy(kept->data(), __start_emu_shared, fixed);
    if (back)
        memcpy(m.shared, kept->data() + fixed, dynamic);
    else
        memcpy(kept->data() + fixed, m.shared, dynamic);
}

/* All of it but the threads that the block does not have. */
static void machine_copy(struct machine *to, const struct machine *from) {
    const char *begin = (const char *)from, *end = (const char *)(from + 1);
    const size_t used = (size_t)((const char *)&from->threads[from->n_threads] - begin);
    const size_t rest = (size_t)((const char *)from->warps - begin);
    memcpy((void *)to, begin, used);
    memcpy((char *)to + rest, begin + rest, (size_t)(end - begin) - rest);
}

void emu_overtake(void) {
#if defined(EMU_TSAN) || defined(__SANITIZE_ADDRESS__)
    return; /* they know of one block's stacks and memory at a time */
#endif
    const bool stands_still = m.stacks == m.other_stacks;
    if (!emu_self || m.random == 0 || stands_still || blocks.n_started == blocks.n_blocks ||
        blocks.n_overtaken == MAX_OVERTAKEN || (emu_random() & 1))
        return;
    blocks.n_overtaken++;
    std::vector<char> shared;
    static struct machine *const kept = new struct machine;
    struct emu_lane *self = emu_self;
    const uint3 block = emu_block_idx;
    machine_copy(kept, &m);
    shared_copy(&shared, false);
    m.stacks = m.other_stacks;
    for (uint64_t n = 1 + emu_random() % 4; n > 0 && blocks.n_started < blocks.n_blocks; n--)
        next_block_run();
    kept->places = m.places;
    kept->random = m.random;
    machine_copy(&m, kept);
    shared_copy(&shared, true);
    emu_self = self;
    emu_block_idx = block;
}
